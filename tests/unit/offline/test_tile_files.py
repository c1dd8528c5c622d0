"""A log in tiles, read back by the stand-alone verifier: whole, and with each of its files damaged or missing."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from failwell.core import merkle, note, tiles
from failwell.node import exports
from tests.unit.offline.conftest import Verify
from tests.unit.verify.forgery import Image
from tests.unit.verify.logs import Log, Pair


@pytest.fixture
def exported(made: Path, tmp_path: Path) -> Path:
    directory = tmp_path / "tiles"
    exports.export_tiles(made, directory, lambda done, size: None)
    return directory


@pytest.fixture
def key(made: Path) -> Path:
    return made / "keys" / "log.pub"


def test_an_export_verifies_and_says_what_is_not_part_of_it(
    exported: Path, key: Path, made: Path, verify: Verify
) -> None:
    run = verify(exported, "--key", key, "--json")
    assert run.code == 0
    assert run.told["tree"] == verify(made, "--json").told["tree"]
    assert {run.state(step) for step in (2, 3, 4, 5, 6, 13, 14)} == {"proved"}
    assert {run.state(step) for step in (1, 11, 12)} == {"not checkable"}
    assert verify(exported, "--key", key, "--hash-only").code == 0
    assert verify(exported).code == 2


def test_every_file_of_an_export_missing_or_changed(
    exported: Path, key: Path, verify: Verify, rng: random.Random
) -> None:
    for path in sorted(each for each in exported.rglob("*") if each.is_file()):
        honest = path.read_bytes()
        changed = bytearray(honest)
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
        for damaged in (bytes(changed), honest[:-1], honest + b"\0", b""):
            path.write_bytes(damaged)
            for mode in ((), ("--hash-only",)):
                assert verify(exported, "--key", key, *mode).code == 1, (path, damaged[:20])
        path.unlink()
        assert verify(exported, "--key", key).code == 1
        path.mkdir()
        assert verify(exported, "--key", key).code == 1
        path.rmdir()
        path.write_bytes(honest)
    assert verify(exported, "--key", key).code == 0


def test_a_checkpoint_over_more_or_fewer_entries_than_there_are(
    exported: Path, key: Path, made: Path, verify: Verify
) -> None:
    image = Image(made)
    for size in (1, image.size - 1, image.size + 1, 2**40):
        text = note.Checkpoint(image.origin, size, bytes(32)).text()
        (exported / "checkpoint").write_bytes(note.sign(text, image.origin, image.log.public, image.log.sign))
        assert verify(exported, "--key", key).code == 1
        assert verify(exported, "--key", key, "--hash-only").code == 1


def test_the_tiles_of_another_log_under_this_logs_checkpoint(
    exported: Path, key: Path, tmp_path: Path, verify: Verify
) -> None:
    other = Path(shutil.copytree(exported, tmp_path / "other"))
    for bundle in (other / "tile" / "entries").rglob("*"):
        if bundle.is_file():
            bundle.write_bytes(bundle.read_bytes().replace(b"refund", b"refunx"))
    assert verify(other, "--key", key).code == 1
    stranger = tmp_path / "stranger.pub"
    stranger.write_text(Pair(9).text)
    assert verify(exported, "--key", stranger).code == 1


def test_a_hash_above_the_leaves_that_is_not_that_of_the_tile_below(tmp_path: Path, verify: Verify) -> None:
    """Whoever computes proofs from the tiles would get them wrong; the entries alone would not show it."""
    log = Log()
    log.fill(600)
    leaves = [merkle.leaf_hash(data) for data in log.data]
    for tile in tiles.tiles_of(log.size):
        if tile.level == tiles.ENTRIES:
            data = tiles.encode_bundle(log.data[tile.begin : tile.begin + tile.width])
        else:
            wide = tiles.WIDTH**tile.level
            roots = [
                merkle.root_of(leaves[at * wide : (at + 1) * wide]) for at in range(tile.begin, tile.begin + tile.width)
            ]
            data = tiles.encode_hashes(roots)
        path = tmp_path / "log" / tile.path()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (tmp_path / "log" / "checkpoint").write_bytes(log.sign(log.size, log.pair))
    key = tmp_path / "log.pub"
    key.write_text(log.pair.text)
    assert verify(tmp_path / "log", "--key", key).code == 0
    above = tmp_path / "log" / "tile" / "1" / "000.p" / "2"
    for at in (0, 63):
        changed = bytearray(above.read_bytes())
        changed[at] ^= 1
        above.write_bytes(bytes(changed))
        run = verify(tmp_path / "log", "--key", key, "--json")
        assert (run.code, run.state(1)) == (1, "not proved")
        assert f"hash {at // 32} of tile/1/000.p/2" in run.told["findings"][0]["message"]
        changed[at] ^= 1
        above.write_bytes(bytes(changed))
