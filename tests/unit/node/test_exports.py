"""Exports: only what is sealed and leads to the signed root, into directories that only grow."""

from __future__ import annotations

import fcntl
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw
import pytest

from failwell.core import merkle, records, tiles
from failwell.core.errors import Corrupt, FailwellError, InputError, NotFound, Unhealthy
from failwell.core.note import Checkpoint, SignedNote, sign
from failwell.core.tiles import ENTRIES, Tile
from failwell.core.tlog_proof import open_proof
from failwell.core.tlog_witness import open_growth
from failwell.node import exports
from failwell.node.workspace import Lock
from tests.peers.logs import Log, some_entries


@pytest.fixture
def log(tmp_path: Path, rng: random.Random) -> Iterator[Log]:
    with Log(tmp_path / "ws") as log:
        log.grow(some_entries(rng, 600))
        yield log


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def export(log: Log, out: Path) -> exports.Exported:
    return exports.export_tiles(log.path, out, lambda done, size: None)


def refused(kind: type[FailwellError], call: Callable[[], object]) -> FailwellError:
    with pytest.raises(kind) as caught:
        call()
    return caught.value


def files_in(directory: Path) -> dict[str, bytes]:
    return {
        path.relative_to(directory).as_posix(): path.read_bytes() for path in directory.rglob("*") if path.is_file()
    }


def check_whole(out: Path, log: Log, size: int) -> None:
    """The directory holds the tree and the entries of the first `size`, and a checkpoint over them."""
    held = files_in(out)
    assert held["checkpoint"] == log.note(size)
    for tile in tiles.tiles_of(size):
        data = held[tile.path()]
        if tile.level == ENTRIES:
            wanted = log.entries[tile.begin : tile.begin + tile.width]
            assert list(tiles.parse_bundle(data, tile.width)) == wanted
        else:
            assert len(tiles.parse_hashes(data, tile.width)) == tile.width
    read = tiles.subtrees(size, lambda tile: held[tile.path()])
    assert merkle.range_root(0, size, read) == log.root(size)


def tamper(log: Log, sql: str, *bindings: object) -> None:
    connection = apsw.Connection(str(log.workspace.ledger))
    connection.execute(sql, bindings)
    connection.close()


def workspace_state(log: Log) -> dict[str, tuple[int, int]]:
    found = {}
    for path in log.path.rglob("*"):
        status = path.stat()
        found[str(path)] = (status.st_size, status.st_mtime_ns)
    return found


# ---- what leaves


def test_the_whole_log_leaves_and_nothing_is_written_in_the_workspace(log: Log, out: Path) -> None:
    before = workspace_state(log)
    made = export(log, out)
    assert workspace_state(log) == before
    check_whole(out, log, 600)
    assert (made.written, made.kept, made.sealed.unsealed) == (len(files_in(out)), 0, 0)
    assert set(files_in(out)) == {"checkpoint", *(tile.path() for tile in tiles.tiles_of(600))}


@pytest.mark.parametrize("size", [1, 255, 256, 257, 512])
def test_every_shape_of_tree_leaves_whole(size: int, tmp_path: Path, rng: random.Random) -> None:
    with Log(tmp_path / "ws") as log:
        log.grow(some_entries(rng, size, 20))
        export(log, tmp_path / "out")
        check_whole(tmp_path / "out", log, size)


def test_a_second_level_of_tiles_is_made(tmp_path: Path) -> None:
    with Log(tmp_path / "ws") as log:
        log.grow(b"%d" % number for number in range(65_536 + 3))
        export(log, tmp_path / "out")
        check_whole(tmp_path / "out", log, 65_539)
        assert (tmp_path / "out/tile/2/000.p/1").read_bytes() == log.root(65_536)


def test_the_largest_entry_that_the_ledger_takes_is_just_what_a_bundle_holds(tmp_path: Path) -> None:
    assert records.MAX_ENTRY_BYTES == tiles.MAX_ENTRY_BYTES == 65_535
    with Log(tmp_path / "ws") as log:
        log.grow([b"a", b"x" * 65_535, b""])
        export(log, tmp_path / "out")
        check_whole(tmp_path / "out", log, 3)
        log.grow([b"x" * 65_536])  # no ledger of ours holds one
        refused(InputError, lambda: export(log, tmp_path / "out"))
        check_whole(tmp_path / "out", log, 3)


def test_exporting_again_writes_nothing_and_later_only_what_is_new(log: Log, out: Path, rng: random.Random) -> None:
    export(log, out)
    before = files_in(out)
    times = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    again = export(log, out)
    assert (again.written, again.kept) == (0, len(before))
    log.grow(some_entries(rng, 300))
    later = export(log, out)
    check_whole(out, log, 900)
    # Bundles and leaves: one full and one partial each; the level above them: one partial; the checkpoint.
    assert later.written == 2 * 2 + 1 + 1
    after = files_in(out)
    assert all(after[name] == data for name, data in before.items() if name != "checkpoint")
    assert all(path.stat().st_mtime_ns == at for path, at in times.items() if path.name != "checkpoint")


def test_entries_beyond_the_checkpoint_stay_and_are_counted(log: Log, out: Path) -> None:
    log.grow([b"unsealed"] * 7, sealed=False)
    made = export(log, out)
    assert made.sealed.unsealed == 7
    check_whole(out, log, 600)
    refused(NotFound, lambda: exports.export_proof(log.path, 600))
    assert exports.export_checkpoint(log.path).unsealed == 7


def test_checkpoint_proof_and_growth_leave_for_readers_with_the_key_alone(log: Log) -> None:
    sealed = exports.export_checkpoint(log.path)
    assert sealed.note == log.note(600)
    proof = exports.export_proof(log.path, 599).proof
    assert open_proof(proof, merkle.leaf_hash(proof.extra), log.origin, log.verifiers).size == 600
    for old in (257, log.note(257), b"Subject: kept\n\n> " + log.note(257).replace(b"\n", b"\n> ")):
        grown = exports.export_growth(log.path, old)
        assert open_growth(grown.growth, log.root(257), log.origin, log.verifiers).size == 600
        assert grown.old_root == (None if old == 257 else log.root(257))


def test_beside_a_running_node_the_live_ledger_is_read(log: Log, out: Path, rng: random.Random) -> None:
    before = {path.relative_to(log.path) for path in log.path.rglob("*")}
    lock = Lock(log.workspace)

    def write_on(done: int, size: int) -> None:
        log.grow(some_entries(rng, 50))

    exports.export_tiles(log.path, out, write_on)
    check_whole(out, log, 600)
    assert exports.export_proof(log.path, log.size - 1).sealed.checkpoint.size == log.size == 750
    lock.release()
    assert {path.relative_to(log.path) for path in log.path.rglob("*")} - before == {Path("node.lock")}


def test_a_log_that_has_not_sealed_anything_exports_nothing(tmp_path: Path) -> None:
    with Log(tmp_path / "ws") as log:
        log.grow([b"one"], sealed=False)
        for call in (
            lambda: exports.export_checkpoint(log.path), lambda: exports.export_proof(log.path, 0),
            lambda: exports.export_growth(log.path, 0), lambda: export(log, tmp_path / "out"),
        ):  # fmt: skip
            assert refused(Unhealthy, call).code == "not-sealed"
        assert not (tmp_path / "out").exists()


# ---- interruptions


def test_an_export_that_was_cut_off_anywhere_is_finished_by_the_next(log: Log, out: Path, rng: random.Random) -> None:
    export(log, out)
    whole = files_in(out)
    for number in range(6):
        for name in rng.sample(sorted(whole), number + 1):
            (out / name).unlink(missing_ok=True)
        (out / "checkpoint").unlink(missing_ok=True)
        torn = out / "tile/0/.000.unfinished"
        torn.write_bytes(b"torn")
        export(log, out)
        assert {name: data for name, data in files_in(out).items() if not name.endswith(".unfinished")} == whole


def test_the_checkpoint_comes_after_everything_under_it(log: Log, out: Path) -> None:
    """A reader who finds the checkpoint finds its tiles: stop an export after each of its bundles."""

    class Cut(Exception):
        pass

    for stop in (256, 512, 600):

        def cut(done: int, size: int, stop: int = stop) -> None:
            if done == stop:
                raise Cut

        with pytest.raises(Cut):
            exports.export_tiles(log.path, out, cut)
        assert not (out / "checkpoint").exists()
    assert export(log, out).written > 0
    check_whole(out, log, 600)


def test_a_file_that_cannot_be_written_ends_the_export_without_a_checkpoint(log: Log, out: Path) -> None:
    (out / "tile/entries/.001.unfinished").mkdir(parents=True)
    with pytest.raises(IsADirectoryError):
        export(log, out)
    assert not (out / "checkpoint").exists()
    (out / "tile/entries/.001.unfinished").rmdir()
    export(log, out)
    check_whole(out, log, 600)


def test_two_exports_do_not_write_to_one_directory(log: Log, out: Path) -> None:
    out.mkdir()
    handle = os.open(out, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    refused(Unhealthy, lambda: export(log, out))
    os.close(handle)
    export(log, out)


# ---- directories that hold something else


def test_a_directory_of_another_log_is_a_finding_and_stays(log: Log, out: Path, tmp_path: Path) -> None:
    with Log(tmp_path / "other", origin="failwell.example/other", seed=2) as other:
        other.grow(log.entries)
        export(other, out)
    before = files_in(out)
    assert refused(Corrupt, lambda: export(log, out)).code == "export-differs"
    assert files_in(out) == before


def test_a_directory_of_another_history_is_a_finding_and_stays(log: Log, out: Path, tmp_path: Path) -> None:
    with Log(tmp_path / "other") as other:
        other.grow([*log.entries[:300], b"forked", *log.entries[301:500]])
        export(other, out)
    before = files_in(out)
    error = refused(Corrupt, lambda: export(log, out))
    assert error.code == "export-differs"
    assert "signed with this log's key" in error.message
    assert files_in(out) == before
    (out / "checkpoint").unlink()  # also where only its tiles are left
    assert refused(Corrupt, lambda: export(log, out)).code == "export-differs"


def test_a_ledger_that_was_rolled_back_is_a_finding(log: Log, out: Path, tmp_path: Path) -> None:
    export(log, out)
    with Log(tmp_path / "backup") as backup:
        backup.grow(log.entries[:400])
        assert refused(Corrupt, lambda: export(backup, out)).code == "export-differs"
        (out / "checkpoint").unlink()
        assert refused(Corrupt, lambda: export(backup, out)).code == "export-differs"
        error = refused(Corrupt, lambda: exports.export_growth(backup.path, log.note(600)))
        assert "this ledger has sealed 400" in error.message


def test_one_tile_from_beyond_this_log_is_a_finding(log: Log, out: Path, tmp_path: Path) -> None:
    export(log, out)
    files = files_in(out)
    with Log(tmp_path / "backup") as backup:
        backup.grow(log.entries[:400])
        for name in ("tile/0/002.p/88", "tile/entries/002.p/88", "tile/1/000.p/2"):
            alone = tmp_path / "alone" / name.replace("/", "-")
            (alone / name).parent.mkdir(parents=True)
            (alone / name).write_bytes(files[name])
            assert refused(Corrupt, lambda alone=alone: export(backup, alone)).code == "export-differs"  # type: ignore[misc]


def test_every_tile_that_differs_is_a_finding_and_is_not_rewritten(log: Log, out: Path, rng: random.Random) -> None:
    export(log, out)
    log.grow(some_entries(rng, 100))
    export(log, out)  # the partial tiles of 600 are still there, and are compared too
    for name, data in files_in(out).items():
        if name == "checkpoint":
            continue
        at = rng.randrange(len(data))
        for bad in (data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :], data[:-1], data + b"\0", b""):
            (out / name).write_bytes(bad)
            error = refused(Corrupt, lambda: export(log, out))
            assert error.code == "export-differs"
            assert name in error.message
            assert (out / name).read_bytes() == bad
        (out / name).write_bytes(data)
    assert export(log, out).written == 0


def test_a_checkpoint_file_that_is_none_is_a_finding(log: Log, out: Path) -> None:
    out.mkdir()
    (out / "checkpoint").write_bytes(b"torn")
    assert refused(Corrupt, lambda: export(log, out)).code == "export-differs"


@pytest.mark.parametrize("name", ["README", "tile/0/000.p/256", "tile/0/0000", "tile/entries/x000/000", "tile/a"])
def test_a_directory_with_other_things_is_refused_untouched(log: Log, out: Path, name: str) -> None:
    (out / name).parent.mkdir(parents=True)
    (out / name).write_bytes(b"mine")
    refused(InputError, lambda: export(log, out))
    assert files_in(out) == {name: b"mine"}


def test_nothing_is_exported_into_the_workspace(log: Log) -> None:
    for directory in (log.path, log.path / "out", log.path / "keys" / ".." / "x"):
        refused(InputError, lambda directory=directory: export(log, directory))  # type: ignore[misc]
    assert not (log.path / "out").exists()


# ---- ledgers that were tampered with


@pytest.mark.requirement("R16.5")
@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE entry SET data = CAST(data || x'00' AS BLOB) WHERE seq = 300",
        "UPDATE entry SET data = x'00' WHERE seq = 599",
        "DELETE FROM entry WHERE seq = 300",
        "UPDATE entry SET seq = 10000 WHERE seq = 300",
        "UPDATE entry SET nodes = substr(nodes, 33) WHERE seq = 255",
        "UPDATE entry SET leaf = zeroblob(32), data = x'00' WHERE seq = 598",
    ],
)
def test_nothing_false_leaves_a_tampered_ledger(log: Log, out: Path, sql: str) -> None:
    tamper(log, sql)
    refused(Corrupt, lambda: export(log, out))
    held = files_in(out)
    assert "checkpoint" not in held
    for name, data in held.items():
        tile = Tile.parse(name)
        if tile.level == ENTRIES:
            assert list(tiles.parse_bundle(data, tile.width)) == log.entries[tile.begin : tile.begin + tile.width]
        else:
            assert data == b"".join(log.leaves[tile.begin : tile.begin + tile.width])


@pytest.mark.requirement("R16.5")
def test_a_ledger_rewritten_whole_under_the_old_checkpoint_exports_nothing(log: Log, tmp_path: Path) -> None:
    """Every hash in it fits every other; only the signed root does not."""
    with Log(tmp_path / "forged") as forged:
        forged.grow([*log.entries[:300], b"forged", *log.entries[301:]])
        tamper(forged, "UPDATE checkpoint SET note = ?", log.note(600))
        for call in (
            lambda: export(forged, tmp_path / "out"), lambda: exports.export_proof(forged.path, 300),
            lambda: exports.export_proof(forged.path, 5), lambda: exports.export_growth(forged.path, 257),
        ):  # fmt: skip
            refused(Corrupt, call)
        assert files_in(tmp_path / "out") == {}


def test_a_view_in_the_place_of_a_table_is_a_finding(log: Log, out: Path) -> None:
    tamper(log, "ALTER TABLE entry RENAME TO real")
    tamper(log, "CREATE VIEW entry AS SELECT seq, data, leaf, nodes FROM real")
    for call in (lambda: export(log, out), lambda: exports.export_checkpoint(log.path)):
        assert "does not declare" in refused(Corrupt, call).message


@pytest.mark.parametrize("what", ["text", "signature", "stranger", "garbage"])
def test_a_checkpoint_that_does_not_hold_is_a_finding(log: Log, out: Path, what: str) -> None:
    note = log.note(600)
    other = Checkpoint("failwell.example/other", 600, log.root(600))
    made = {
        "text": note.replace(b"\n600\n", b"\n599\n"),
        "signature": SignedNote(SignedNote.parse(note).text, SignedNote.parse(log.note(599)).signatures).encode(),
        "stranger": sign(other.text(), other.origin, log.key.public, log.key.sign),
        "garbage": b"\xff\x00",
    }  # fmt: skip
    tamper(log, "UPDATE checkpoint SET note = ?", made[what])
    for call in (
        lambda: export(log, out), lambda: exports.export_checkpoint(log.path), lambda: exports.export_proof(log.path, 0)
    ):  # fmt: skip
        refused(Corrupt, call)


def test_growth_from_a_checkpoint_that_somebody_made_up_accuses_with_what_is_known(log: Log) -> None:
    false = Checkpoint(log.origin, 257, bytes(32))
    unsigned = sign(false.text(), log.origin, b"\1" * 32, lambda message: bytes(64))
    error = refused(Corrupt, lambda: exports.export_growth(log.path, unsigned))
    assert "key in force did not sign it" in error.message
    forked = sign(false.text(), log.origin, log.key.public, log.key.sign)
    error = refused(Corrupt, lambda: exports.export_growth(log.path, forked))
    assert "signed with this log's key" in error.message
