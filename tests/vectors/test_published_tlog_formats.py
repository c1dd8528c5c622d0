"""Cosignatures, witness requests and tlog-proofs as others publish them: C2SP, transparency.dev, a sigsum log."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from failwell.core import cosignature
from failwell.core.cosignature import Cosignature, CosignerKey
from failwell.core.errors import FailwellError, InputError
from failwell.core.note import VerifierKey, open_checkpoint, open_note
from failwell.core.tlog_proof import TlogProof
from failwell.core.tlog_witness import AddCheckpoint
from failwell.identity.keys import verify

HERE = Path(__file__).parent
VECTORS: dict[str, Any] = json.loads((HERE / "tlog_formats.json").read_text())
SUMDB: dict[str, str] = json.loads((HERE / "signed_note.json").read_text())["sumdb"]
COSIGNED: dict[str, Any] = VECTORS["cosignature"]
SIGSUM: dict[str, str] = VECTORS["sigsum"]
CHECKPOINT = SUMDB["checkpoint"].encode()


@pytest.mark.parametrize(("line", "timestamp"), COSIGNED["lines"])
def test_published_cosignature_lines_are_read_and_written(line: str, timestamp: int | None) -> None:
    read = Cosignature.parse(line)
    assert read.line() == line
    assert timestamp in (None, read.timestamp)  # in the examples of a witness's answer the bytes are random


@pytest.mark.parametrize("line", COSIGNED["beyond_the_last_time"])
def test_examples_whose_random_time_the_standard_itself_forbids_are_refused(line: str) -> None:
    with pytest.raises(InputError, match="the timestamp is not"):
        Cosignature.parse(line)


def test_a_logs_own_signature_is_no_cosignature() -> None:
    with pytest.raises(InputError):
        Cosignature.parse(COSIGNED["plain_signature"])


def test_the_message_is_the_standards_example() -> None:
    assert cosignature.message(COSIGNED["text"], 1_679_315_147) == COSIGNED["message"].encode()


def test_published_witness_keys_are_read_and_written() -> None:
    assert CosignerKey.parse(COSIGNED["vkey"]).text() == COSIGNED["vkey"]
    assert VerifierKey.parse(COSIGNED["log_vkey"]).text() == COSIGNED["log_vkey"]
    for bad in [*COSIGNED["bad_vkeys"], COSIGNED["log_vkey"]]:
        with pytest.raises(InputError):
            CosignerKey.parse(bad)


def test_the_standards_witness_request_is_read_and_written() -> None:
    data = VECTORS["add_checkpoint"]["request"].encode()
    read = AddCheckpoint.parse(data)
    assert (read.old, len(read.path), read.encode()) == (20_852_014, 4, data)
    # The example shows the Go checksum database's signature under another name.
    renamed = read.checkpoint.replace(b"example.com/behind-the-sofa\n", b"go.sum database tree\n").replace(
        b"example.com/behind-the-sofa", b"sum.golang.org"
    )
    assert open_note(renamed, [(VerifierKey.parse(SUMDB["vkey"]), verify)]).text.encode() in CHECKPOINT


def test_a_sigsum_logs_checkpoint_verifies_in_its_witness_request() -> None:
    data = SIGSUM["request"].encode()
    read = AddCheckpoint.parse(data)
    key = VerifierKey(SIGSUM["name"], bytes.fromhex(SIGSUM["public"]))
    assert (read.old, read.path, read.encode()) == (0, (), data)
    assert open_checkpoint(read.checkpoint, key.name, [(key, verify)]).size == 1
    with pytest.raises(FailwellError):
        open_checkpoint(read.checkpoint.replace(b"\n1\n", b"\n2\n"), key.name, [(key, verify)])


@pytest.mark.parametrize("case", VECTORS["tlog_proof"]["heads"])
def test_tlog_proofs_are_written_as_transparency_dev_writes_them(case: dict[str, Any]) -> None:
    hashes = [hashlib.sha256(each.encode()).digest() for each in case["hashed"]]
    proof = TlogProof(case["index"], tuple(hashes), CHECKPOINT, case["extra"].encode())
    head: str = case["head"].format(*(base64.b64encode(each).decode() for each in hashes))
    assert proof.encode() == head.encode() + CHECKPOINT
    assert TlogProof.parse(proof.encode()) == proof


@pytest.mark.parametrize("head", VECTORS["tlog_proof"]["bad"])
def test_the_proofs_that_transparency_dev_refuses_are_refused(head: str) -> None:
    for rest in (CHECKPOINT, b"checkpoint\n"):
        with pytest.raises(InputError):
            TlogProof.parse(head.encode() + rest)
