"""tlog-scales, an independent reader of tiled logs, judges our tiles, checkpoints and proofs, and we judge its."""

from __future__ import annotations

import contextlib
import io
import random
import sys
from pathlib import Path
from typing import Any

import pytest

from failwell.core import cosignature, merkle, tiles
from failwell.core.cosignature import CosignerKey, cosign
from failwell.core.note import Checkpoint, SignedNote, VerifierKey, open_checkpoint
from failwell.core.tlog_proof import TlogProof, open_proof
from failwell.identity import keys
from failwell.ledger.proofs import StoredTree
from failwell.node import exports
from tests.peers.cases import Case, Inclusion, all_faults, honest_cases
from tests.peers.conftest import need
from tests.peers.logs import Log, some_entries

pytestmark = pytest.mark.ci_must_run


@pytest.fixture(scope="module")
def scales() -> Any:
    """The package's modules, under one name."""
    need("tlog_scales", "tlog-scales")
    import tlog_scales.backend
    import tlog_scales.cli
    import tlog_scales.reader
    import tlog_scales.signing
    import tlog_scales.tlog

    return tlog_scales


def accepted(scales: Any, case: Case) -> bool:
    """What a reader does who trusts this package alone: signature, origin, then the proof."""
    try:
        checkpoint = scales.tlog.Checkpoint.from_text(case.note.decode())
        checkpoint.verify(scales.signing.Vkey.from_string(case.vkey))
        if checkpoint.origin != case.origin:
            return False
        if isinstance(case, Inclusion):
            proof = scales.tlog.InclusionProof(case.index, checkpoint.size, list(case.path))
            proof.check(merkle.leaf_hash(case.entry), checkpoint.root_hash)
        else:
            growth = scales.tlog.ConsistencyProof(case.old, checkpoint.size, list(case.path))
            growth.check(case.old_root, checkpoint.root_hash)
    except Exception:  # noqa: BLE001  the package raises many kinds; each is a rejection
        return False
    return True


@pytest.mark.requirement("R13.22")
def test_scales_accepts_every_honest_case_and_rejects_every_corrupted_one(
    scales: Any, tmp_path: Path, rng: random.Random, seed: int
) -> None:
    honest = honest_cases(tmp_path, rng)
    assert len(honest) >= 500
    assert all(accepted(scales, case) for case in honest)
    # Of the corrupted notes a tenth: what takes time is their signatures, and Go's package sees them all.
    corrupted = [fault for fault in all_faults(honest, rng) if fault.bare or rng.random() < 0.1]
    missed = [fault for fault in corrupted if accepted(scales, fault.case)]
    assert not missed, missed[0]
    assert len(corrupted) >= 10_000
    print(f"\ntlog-scales, seed {seed}: accepted {len(honest)}, rejected {len(corrupted)}/{len(corrupted)}")


@pytest.mark.parametrize("size", [1, 255, 256, 257, 700])
def test_our_tiles_are_read_whole_and_give_the_proofs_we_give(
    scales: Any, tmp_path: Path, rng: random.Random, size: int
) -> None:
    out = tmp_path / "out"
    with Log(tmp_path / "ws") as log:
        log.grow(some_entries(rng, size, 60))
        exports.export_tiles(log.path, out, lambda done, of: None)
        tree = StoredTree(log.storage.entry)
        reader = scales.reader.TilesReader(scales.backend.LocalBackend(out))
        checkpoint = reader.get_checkpoint()
        checkpoint.verify(scales.signing.Vkey.from_string(log.vkey.text()))
        assert (checkpoint.origin, checkpoint.size) == (log.origin, size)
        assert reader.calculate_root_hash() == checkpoint.root_hash == log.root(size)
        for index in {0, size - 1, *(rng.randrange(size) for _ in range(20))}:
            assert reader.get_entry(index) == log.entries[index]
            proof = reader.get_inclusion_proof(index, size)
            proof.check(log.leaves[index], checkpoint.root_hash)
            assert proof.node_hashes == tree.inclusion(index, size)
            old = rng.randrange(1, size + 1)  # it makes no proof from the empty tree, for there is nothing to prove
            assert reader.get_consistency_proof(old, size).node_hashes == tree.consistency(old, size)


def test_the_proofs_it_writes_from_our_tiles_are_ours(
    scales: Any, tmp_path: Path, rng: random.Random, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    with Log(tmp_path / "ws") as log:
        log.grow(some_entries(rng, 300))
        exports.export_tiles(log.path, out, lambda done, of: None)
        for index in (0, 17, 255, 256, 299):
            monkeypatch.setattr(sys, "argv", ["tlog-tiles", "gen-proof", str(out), str(index)])
            written = io.StringIO()
            with contextlib.redirect_stdout(written):
                scales.cli.main()
            theirs = TlogProof.parse(written.getvalue().encode())
            ours = exports.export_proof(log.path, index).proof
            assert open_proof(theirs, log.leaves[index], log.origin, log.verifiers).size == 300
            assert (theirs.index, theirs.path, theirs.checkpoint) == (ours.index, ours.path, ours.checkpoint)


def test_each_changed_tile_is_noticed_by_who_reads_it(scales: Any, tmp_path: Path, rng: random.Random) -> None:
    out = tmp_path / "out"
    with Log(tmp_path / "ws") as log:
        log.grow(some_entries(rng, 300, 40))
        exports.export_tiles(log.path, out, lambda done, of: None)

    def whole() -> bool:
        reader = scales.reader.TilesReader(scales.backend.LocalBackend(out))
        checkpoint = reader.get_checkpoint()
        try:
            for index in range(300):
                proof = reader.get_inclusion_proof(index, 300)
                proof.check(merkle.leaf_hash(reader.get_entry(index)), checkpoint.root_hash)
        except Exception:  # noqa: BLE001  whatever it raises, the change was noticed
            return False
        return True

    assert whole()
    for tile in tiles.tiles_of(300):
        file = out / tile.path()
        honest = file.read_bytes()
        at = rng.randrange(len(honest))
        file.write_bytes(honest[:at] + bytes([honest[at] ^ 16]) + honest[at + 1 :])
        assert not whole(), tile
        file.write_bytes(honest)


def test_cosignatures_are_verified_with_their_times(scales: Any, tmp_path: Path, rng: random.Random) -> None:
    with Log(tmp_path / "ws") as log:
        log.grow(some_entries(rng, 9))
        note = log.note(9)
    key = keys.from_seed(b"w" * 32)
    witness = CosignerKey("witness.example/w1", key.public)
    line = cosign(note, witness, 1_795_000_000, key.sign)
    vkey = scales.signing.Vkey.from_string(witness.text())
    assert vkey.key_id == int.from_bytes(witness.key_id, "big")

    def seen(data: bytes) -> list[int]:
        checkpoint = scales.tlog.Checkpoint.from_text(data.decode())
        found = scales.signing.VkeySet(vkey).verify(checkpoint.signatures, checkpoint)
        return [int.from_bytes(signature.payload[:8], "big") for _, signature in found]

    assert seen(cosignature.add(note, line)) == [1_795_000_000]
    for at in range(72):
        payload = bytearray(line.timestamp.to_bytes(8, "big") + line.signature)
        payload[at] ^= 1
        bent = SignedNote.parse(note)
        text = bent.text + "\n" + bent.signatures[0].line() + _line(scales, vkey, bytes(payload))
        assert seen(text.encode()) == []


def _line(scales: Any, vkey: Any, payload: bytes) -> str:
    text: str = scales.signing.NoteSignature.from_vkey_signature(vkey, payload).serialize()
    return text + "\n"


def test_we_read_the_checkpoints_it_signs(scales: Any, rng: random.Random) -> None:
    key = keys.from_seed(rng.randbytes(32))
    signer = scales.signing.PlainEd25519Signer("scales.example/log", key.private)
    made = scales.tlog.Checkpoint.make_signed("scales.example/log", 7, rng.randbytes(32), [signer])
    vkey = VerifierKey.parse(signer.vkey.serialize())
    read = open_checkpoint(made.serialize().encode(), "scales.example/log", [(vkey, keys.verify)])
    assert read == Checkpoint("scales.example/log", 7, made.root_hash)
