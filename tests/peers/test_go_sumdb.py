"""The Go authors' sumdb/note and sumdb/tlog judge our checkpoints, proofs, cosignatures and tiles; and we theirs."""

from __future__ import annotations

import random
from base64 import b64encode
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from failwell.core import cosignature, merkle
from failwell.core.cosignature import CosignerKey, cosign, open_cosigned
from failwell.core.errors import FailwellError
from failwell.core.note import Checkpoint, VerifierKey, open_checkpoint, sign
from failwell.core.proof import verify_consistency, verify_inclusion
from failwell.core.tiles import ENTRIES, Tile
from failwell.core.tlog_proof import TlogProof, open_proof
from failwell.core.tlog_witness import AddCheckpoint, open_growth
from failwell.identity import keys
from failwell.node import exports
from tests.peers.cases import Case, Inclusion, all_faults, honest_cases
from tests.peers.conftest import GoJudge
from tests.peers.logs import Log, some_entries

# Compiling the judge takes a quarter of a minute where nothing of it is cached.
pytestmark = [pytest.mark.ci_must_run, pytest.mark.timeout(400)]

LEAST_CASES = 500
#: The words of sumdb/note and of sumdb/tlog.
SIGNED_WRONG = ("invalid signature for key", "note has no verifiable signatures")
PROVEN_WRONG = ("invalid transparency proof", "tlog: invalid inputs in Check")


def asked(case: Case) -> dict[str, Any]:
    given = {"Keys": [case.vkey], "Origin": case.origin, "Text": case.text()}
    if isinstance(case, Inclusion):
        return {**given, "Kind": "tlog-proof", "Leaf": merkle.leaf_hash(case.entry)}
    return {**given, "Kind": "add-checkpoint", "OldRoot": case.old_root}


def refused_by_us(case: Case) -> bool:
    known = [(VerifierKey.parse(case.vkey), keys.verify)]
    try:
        if isinstance(case, Inclusion):
            open_proof(TlogProof.parse(case.text()), merkle.leaf_hash(case.entry), case.origin, known)
        else:
            open_growth(AddCheckpoint.parse(case.text()), case.old_root, case.origin, known)
    except FailwellError:
        return True
    return False


def test_go_accepts_every_honest_case_and_rejects_every_corrupted_one(
    go_judge: GoJudge, tmp_path: Path, rng: random.Random, seed: int
) -> None:
    honest = honest_cases(tmp_path, rng)
    assert len(honest) >= LEAST_CASES
    accepted = [not verdict["why"] for verdict in go_judge(map(asked, honest))]
    assert all(accepted)
    assert not any(map(refused_by_us, honest))
    corrupted = all_faults(honest, rng)
    verdicts = go_judge(asked(fault.case) for fault in corrupted)
    missed = [fault for fault, verdict in zip(corrupted, verdicts, strict=True) if not verdict["why"]]
    assert not missed, missed[0]
    ours = [fault for fault in corrupted if not refused_by_us(fault.case)]
    assert not ours, ours[0]
    # Each is rejected for what is wrong with it, not for a mistake in how it is put to the judge.
    for fault, verdict in zip(corrupted, verdicts, strict=True):
        wrong = SIGNED_WRONG if fault.what.startswith("note") else PROVEN_WRONG
        assert verdict["why"].startswith(wrong), (fault, verdict["why"])
    kinds = Counter(fault.what.partition(":")[0] for fault in corrupted)
    assert min(kinds[kind] for kind in ("note", "path", "index", "leaf", "old size", "old root")) >= 500
    print(f"\nGo sumdb, seed {seed}: accepted {len(honest)}/{len(honest)}, rejected {len(corrupted)}/{len(corrupted)}")


def test_go_reads_what_we_say_in_a_checkpoint(go_judge: GoJudge, tmp_path: Path, rng: random.Random) -> None:
    with Log(tmp_path / "ws") as log:
        log.grow(some_entries(rng, 40))
        cases = [
            {"Kind": "checkpoint", "Note": log.note(size), "Keys": [log.vkey.text()], "Origin": log.origin}
            for size in range(1, 41)
        ]
        for size, verdict in enumerate(go_judge(cases), 1):
            assert (verdict["why"], verdict["size"], verdict["root"]) == ("", size, log.root(size))


def test_we_read_what_go_signs_and_proves(go_judge: GoJudge, rng: random.Random) -> None:
    entries = some_entries(rng, 70)
    leaves = [merkle.leaf_hash(each) for each in entries]
    cases: list[dict[str, Any]] = []
    for size in range(1, 71):
        cases.append({"Kind": "prove", "Entries": entries[:size], "Index": rng.randrange(size)})
        cases.append({"Kind": "prove", "Entries": entries[:size], "OldSize": rng.randrange(1, size + 1)})

    def get(level: int, index: int) -> bytes:
        return merkle.root_of(leaves[index << level : index + 1 << level])

    for case, made in zip(cases, go_judge(cases), strict=True):
        size, root, path = made["size"], made["root"], made["hashes"]
        assert root == merkle.root_of(leaves[:size])
        if old := case.get("OldSize"):
            assert merkle.consistency_path(old, size, get) == path
            verify_consistency(old, merkle.root_of(leaves[:old]), size, root, path)
        else:
            assert merkle.inclusion_path(case["Index"], size, get) == path
            verify_inclusion(leaves[case["Index"]], case["Index"], size, path, root)
    secret = rng.randbytes(32)
    key = keys.from_seed(secret)
    vkey = VerifierKey("go.example/log", key.public)
    checkpoint = Checkpoint(vkey.name, 70, merkle.root_of(leaves))
    encoded = b64encode(b"\x01" + secret).decode()
    skey = f"PRIVATE+KEY+{vkey.name}+{vkey.key_id.hex()}+{encoded}"
    (signed,) = go_judge([{"Kind": "sign", "Secret": skey, "Text": checkpoint.text().encode()}])
    assert open_checkpoint(signed["note"], vkey.name, [(vkey, keys.verify)]) == checkpoint
    assert signed["note"] == sign(checkpoint.text(), vkey.name, key.public, key.sign)


def test_cosigned_checkpoints_open_in_gos_note_package(go_judge: GoJudge, tmp_path: Path, rng: random.Random) -> None:
    with Log(tmp_path / "ws") as log:
        log.grow(some_entries(rng, 9))
        note = log.note(9)
    witnesses = []
    for number in range(1, 4):
        key = keys.from_seed(bytes([100 + number]) * 32)
        witnesses.append(CosignerKey(f"witness.example/w{number}", key.public))
        note = cosignature.add(note, cosign(note, witnesses[-1], 1_795_000_000 + number, key.sign))
    case = {
        "Kind": "note", "Note": note, "Keys": [log.vkey.text()], "Witnesses": [each.text() for each in witnesses],
    }  # fmt: skip
    (verdict,) = go_judge([case])
    assert verdict["why"] == ""
    assert verdict["signers"] == [f"{each.name}+{each.key_id.hex()}" for each in (log.vkey, *witnesses)]
    assert verdict["times"] == [1_795_000_001, 1_795_000_002, 1_795_000_003]
    known = [(each, keys.verify) for each in witnesses]
    _, seen = open_cosigned(note, log.origin, log.verifiers, known)
    assert [each.timestamp for each in seen] == verdict["times"]
    # Every byte of the note, changed: neither of us lets a bad cosignature of a known witness stand as one.
    bent = [note[:at] + bytes([note[at] ^ 1]) + note[at + 1 :] for at in range(len(note))]
    for data, verdict in zip(bent, go_judge({**case, "Note": each} for each in bent), strict=True):
        theirs = None if verdict["why"] else len(verdict.get("times") or ())
        try:
            ours = len(open_cosigned(data, log.origin, log.verifiers, known)[1])
        except FailwellError:
            ours = None
        # Go's package is content with any one known signature, we ask for the log's.
        assert ours is None or ours == theirs
        assert theirs is None or theirs < 3 or ours is None


def test_tile_names_are_the_ones_go_computes(go_judge: GoJudge, rng: random.Random) -> None:
    tiles = [
        Tile(rng.choice([ENTRIES, *range(64)]), rng.randrange(10 ** rng.randrange(1, 18)), rng.randrange(1, 257))
        for _ in range(300)
    ]
    cases = [
        {"Kind": "tile-path", "Level": tile.level, "Index": tile.index, "Width": tile.width} for tile in tiles
    ]  # fmt: skip
    for tile, verdict in zip(tiles, go_judge(cases), strict=True):
        theirs = verdict["path"].replace("tile/8/", "tile/").replace("/data/", "/entries/")
        assert tile.path() == theirs


@pytest.mark.requirement("R13.22")
def test_go_authenticates_every_tile_we_export_and_rejects_every_changed_one(
    go_judge: GoJudge, tmp_path: Path, rng: random.Random, seed: int
) -> None:
    accepted = rejected = 0
    for size in (1, 255, 256, 257, 700):
        out = tmp_path / f"out-{size}"
        with Log(tmp_path / f"ws-{size}") as log:
            log.grow([*some_entries(rng, size - 1, 40), b"x" * 65_535])
            exports.export_tiles(log.path, out, lambda done, of: None)
            index = rng.randrange(size)
            path = exports.export_proof(log.path, index).proof.path
            case = {
                "Kind": "tiles", "Directory": str(out), "Keys": [log.vkey.text()], "Origin": log.origin, "Index": index,
            }  # fmt: skip
            (verdict,) = go_judge([case])
            assert (verdict["why"], verdict["size"], verdict["root"]) == ("", size, log.root(size))
            assert tuple(verdict["hashes"]) == path
        accepted += 1
        for file in sorted(each for each in out.rglob("*") if each.is_file()):
            honest = file.read_bytes()
            at = rng.randrange(len(honest))
            for bad in (honest[:at] + bytes([honest[at] ^ 2]) + honest[at + 1 :], honest[:-1], honest + b"\0", b""):
                file.write_bytes(bad)
                (verdict,) = go_judge([case])
                assert verdict["why"], file
                rejected += 1
            file.write_bytes(honest)
    assert rejected >= 4 * (5 + 3 * 5)
    print(f"\nGo sumdb, seed {seed}: {accepted} directories of tiles accepted, {rejected} changed ones rejected")
