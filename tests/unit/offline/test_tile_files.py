"""A log in tiles, read back by the stand-alone verifier: whole, and with each of its files damaged or missing."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from failwell.core import note
from failwell.node import exports
from tests.unit.offline.conftest import Verify
from tests.unit.verify.forgery import Image
from tests.unit.verify.logs import Pair


@pytest.fixture
def tiles(made: Path, tmp_path: Path) -> Path:
    directory = tmp_path / "tiles"
    exports.export_tiles(made, directory, lambda done, size: None)
    return directory


@pytest.fixture
def key(made: Path) -> Path:
    return made / "keys" / "log.pub"


def test_an_export_verifies_and_says_what_is_not_part_of_it(tiles: Path, key: Path, made: Path, verify: Verify) -> None:
    run = verify(tiles, "--key", key, "--json")
    assert run.code == 0
    assert run.told["tree"] == verify(made, "--json").told["tree"]
    assert {run.state(step) for step in (2, 3, 4, 5, 6, 13, 14)} == {"proved"}
    assert {run.state(step) for step in (1, 11, 12)} == {"not checkable"}
    assert verify(tiles, "--key", key, "--hash-only").code == 0
    assert verify(tiles).code == 2


def test_every_file_of_an_export_missing_or_changed(tiles: Path, key: Path, verify: Verify, rng: random.Random) -> None:
    for path in sorted(each for each in tiles.rglob("*") if each.is_file()):
        honest = path.read_bytes()
        changed = bytearray(honest)
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
        for damaged in (bytes(changed), honest[:-1], honest + b"\0", b""):
            path.write_bytes(damaged)
            for mode in ((), ("--hash-only",)):
                assert verify(tiles, "--key", key, *mode).code == 1, (path, damaged[:20])
        path.unlink()
        assert verify(tiles, "--key", key).code == 1
        path.mkdir()
        assert verify(tiles, "--key", key).code == 1
        path.rmdir()
        path.write_bytes(honest)
    assert verify(tiles, "--key", key).code == 0


def test_a_checkpoint_over_more_or_fewer_entries_than_there_are(
    tiles: Path, key: Path, made: Path, verify: Verify
) -> None:
    image = Image(made)
    for size in (1, image.size - 1, image.size + 1, 2**40):
        text = note.Checkpoint(image.origin, size, bytes(32)).text()
        (tiles / "checkpoint").write_bytes(note.sign(text, image.origin, image.log.public, image.log.sign))
        assert verify(tiles, "--key", key).code == 1
        assert verify(tiles, "--key", key, "--hash-only").code == 1


def test_the_tiles_of_another_log_under_this_logs_checkpoint(
    tiles: Path, key: Path, tmp_path: Path, verify: Verify
) -> None:
    other = Path(shutil.copytree(tiles, tmp_path / "other"))
    for bundle in (other / "tile" / "entries").rglob("*"):
        if bundle.is_file():
            bundle.write_bytes(bundle.read_bytes().replace(b"refund", b"refunx"))
    assert verify(other, "--key", key).code == 1
    stranger = tmp_path / "stranger.pub"
    stranger.write_text(Pair(9).text)
    assert verify(tiles, "--key", stranger).code == 1
