"""`ledger export` as a person and as a program meet it: files, streams, exit codes, and nothing ever overwritten."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from failwell.core import merkle
from failwell.core.tlog_proof import TlogProof, open_proof
from failwell.core.tlog_witness import AddCheckpoint, open_growth
from tests.integration.shell import Shell, open_shell
from tests.peers.logs import Log, some_entries

SIZE = 300


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    with open_shell(tmp_path) as opened:
        yield opened


@pytest.fixture
def log(shell: Shell, rng: random.Random) -> Iterator[Log]:
    with Log(shell.workspace) as log:
        log.grow(some_entries(rng, SIZE))
        log.grow([b"not sealed"], sealed=False)
        yield log


def test_each_thing_leaves_by_file_and_by_stream(shell: Shell, log: Log) -> None:
    to_file = shell("ledger", "export", "--checkpoint", "kept.note")
    assert "over 300 entries is in kept.note" in to_file.first
    assert "1 entry after it, not sealed yet" in to_file.err
    assert (shell.root / "kept.note").read_bytes() == log.note(SIZE)
    assert shell("ledger", "export", "--checkpoint", "-").out.encode() == log.note(SIZE)

    shell("ledger", "export", "--proof", "17", "--to", "17.tlog-proof")
    data = (shell.root / "17.tlog-proof").read_bytes()
    assert shell("ledger", "export", "--proof", "17").out.encode() == data
    proof = TlogProof.parse(data)
    assert proof.extra == log.entries[17]
    assert open_proof(proof, merkle.leaf_hash(proof.extra), log.origin, log.verifiers).size == SIZE

    (shell.root / "old.note").write_bytes(log.note(100))
    by_file, by_size = (shell("ledger", "export", "--consistency", old).out for old in ("old.note", "100"))
    assert by_file == by_size
    growth = AddCheckpoint.parse(by_file.encode())
    assert open_growth(growth, log.root(100), log.origin, log.verifiers).size == SIZE


def test_the_tiles_leave_once_and_programs_are_told_the_numbers(shell: Shell, log: Log) -> None:
    first = shell("ledger", "export", "--tiles", "log")
    assert "300 sealed entries in log: 6 files written, 0 there already" in first.first
    assert "Not exported: 1 entry" in first.out
    told = shell.json("ledger", "export", "--tiles", "log")
    assert told == {
        "schema": "failwell/ledger-export/1", "origin": log.origin, "size": SIZE, "root": log.root(SIZE).hex(),
        "unsealed": 1, "directory": "log", "written": 0, "kept": 6,
    }  # fmt: skip
    assert (shell.root / "log" / "checkpoint").read_bytes() == log.note(SIZE)


def test_programs_get_the_texts_inside_the_object(shell: Shell, log: Log) -> None:
    assert shell.json("ledger", "export", "--checkpoint", "-")["note"].encode() == log.note(SIZE)
    told = shell.json("ledger", "export", "--proof", "5", "--to", "5.tlog-proof")
    assert (told["entry"], told["file"]) == (5, "5.tlog-proof")
    assert told["proof"].encode() == (shell.root / "5.tlog-proof").read_bytes()
    told = shell.json("ledger", "export", "--consistency", "7")
    assert (told["old_size"], told["old_root"], json.dumps(told).count("old 7")) == (7, None, 1)


def test_what_was_kept_is_never_overwritten(shell: Shell, log: Log) -> None:
    (shell.root / "kept.note").write_bytes(b"what somebody kept")
    refused = shell("ledger", "export", "--checkpoint", "kept.note", code=2)
    assert "is there already" in refused.err
    assert (shell.root / "kept.note").read_bytes() == b"what somebody kept"
    assert sorted(path.name for path in shell.root.glob(".*unfinished")) == []


def test_findings_exit_with_one_and_wrong_inputs_with_two(shell: Shell, log: Log) -> None:
    for args, said in (
        (("--proof", "300"), "the newest seals 300 entries"),
        (("--proof", "-1"), "--proof"),
        (("--consistency", "301"), "seals 300 entries, not 301"),
        (("--consistency", "nowhere"), "neither a size nor a file"),
        (("--tiles", str(shell.workspace / "out")), "inside the workspace"),
        ((), "0 things to export were named"),
        (("--checkpoint", "-", "--proof", "1"), "2 things to export were named"),
    ):
        assert said in shell("ledger", "export", *args, code=2).err
    shell("ledger", "export", "--tiles", "log")
    (shell.root / "log" / "tile" / "0" / "000").write_bytes(bytes(8192))
    assert "differs from what this log holds" in shell("ledger", "export", "--tiles", "log", code=1).err
    assert shell.json("ledger", "export", "--tiles", "log", code=1)["error"]["code"] == "export-differs"
    with Log(shell.root / "other") as other:
        other.grow([b"forked", *log.entries[1:]])
        (shell.root / "other.note").write_bytes(other.note(100))
    assert "does not belong to this history" in shell("ledger", "export", "--consistency", "other.note", code=1).err
