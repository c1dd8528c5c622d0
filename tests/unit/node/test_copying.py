"""Copies of where an agent works: all that is there, nothing that is not, and no way to read the house's own files."""

from __future__ import annotations

import io
import json
import os
import secrets
import socket
import tarfile
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from failwell.core.errors import Corrupt
from failwell.node import copying
from failwell.node.copy_file import CHUNK, MAGIC, CopyWriter, copy_fault, copy_path, digest_of, read_copy
from failwell.node.copying import Bounds, Ended, copy_directory, own_directories

KEY = b"k" * 32


@pytest.fixture
def work(tmp_path: Path) -> Path:
    made = tmp_path / "work"
    (made / "notes" / "deep").mkdir(parents=True)
    (made / "plan.txt").write_text("send it to everybody")
    (made / "notes" / "deep" / "memory.json").write_text("{}")
    (made / "empty").write_bytes(b"")
    return made


def bounds(**more: Any) -> Bounds:
    return Bounds(**{"files": 1000, "most_bytes": 2**24, "until": time.monotonic() + 60, **more})


def copied(directory: Path, **more: Any) -> tuple[copying.Taken, dict[str, bytes]]:
    """What was taken, and what the archive holds by its names."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w|", format=tarfile.PAX_FORMAT) as archive:
        taken = copy_directory(str(directory), archive, bounds(**more))
    buffer.seek(0)
    held: dict[str, bytes] = {}
    with tarfile.open(fileobj=buffer) as archive:
        for member in archive:
            file = archive.extractfile(member)
            assert file is not None, "nothing but files is in a copy"
            held[member.name] = file.read()
    return taken, held


# ---- what is taken -----------------------------------------------------------------------------------------------


def test_a_copy_holds_every_file_and_a_listing_of_them_by_size_and_digest(work: Path) -> None:
    taken, held = copied(work)
    assert held.keys() == {"files/plan.txt", "files/notes/deep/memory.json", "files/empty", "listing.json"}
    assert held["files/plan.txt"] == b"send it to everybody"
    listing = json.loads(held["listing.json"])
    assert listing["files"] == sorted(
        [name, len(held[f"files/{name}"]), sha256(held[f"files/{name}"]).hexdigest()]
        for name in ("empty", "notes/deep/memory.json", "plan.txt")
    )
    assert (taken.words(), taken.size) == ((), 22)


@pytest.mark.requirement("R9.22")
def test_no_link_is_followed_and_nothing_special_is_opened_and_each_is_named(work: Path, tmp_path: Path) -> None:
    """Attack: where the agent works it lays a link to the house's keys, and a pipe on which a reader waits for ever."""
    (tmp_path / "log.key").write_text("SECRET")
    (work / "innocent").symlink_to(tmp_path / "log.key")
    (work / "elsewhere").symlink_to(tmp_path, target_is_directory=True)
    os.mkfifo(work / "waits")
    with socket.socket(socket.AF_UNIX) as made:
        here = Path.cwd()
        os.chdir(work)
        made.bind("sock")
        os.chdir(here)
    taken, held = copied(work)
    assert not any(b"SECRET" in data for name, data in held.items())
    listing = json.loads(held["listing.json"])
    assert listing["links"] == [["elsewhere", str(tmp_path)], ["innocent", str(tmp_path / "log.key")]]
    assert listing["special"] == [["sock", "socket"], ["waits", "pipe"]]
    assert taken.words() == ()


def test_a_link_in_the_place_of_the_directory_itself_is_not_followed(work: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(work, target_is_directory=True)
    with pytest.raises(OSError, match=r"Not a directory|symbolic"):
        copied(link)


@pytest.mark.requirement("R9.24")
def test_our_own_workspace_is_not_copied_into_itself(work: Path) -> None:
    (work / "shop").mkdir()
    (work / "shop" / "ledger.db").write_bytes(b"record")
    taken, held = copied(work, ours=own_directories(work / "shop"))
    assert "files/shop/ledger.db" not in held
    assert taken.words() == ("1 directories of our own workspace",)


def test_names_of_any_bytes_are_told_apart_and_kept(work: Path) -> None:
    for name in (b"\xff\xfe", b"\\xff", "ü\n../../etc".replace("/", "-").encode()):
        (work / os.fsdecode(name)).write_bytes(name)
    taken, held = copied(work)
    assert taken.words() == ()
    assert len(held) == 7


# ---- what changes, and what is too much --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("meanwhile", "kept"),
    [
        (lambda path: os.truncate(path, 3), b"sen" + bytes(17)),
        (lambda path: path.write_text("send it to everybody, and more"), b"send it to everybody"),
        (lambda path: path.write_text("SEND IT TO EVERYBODY"), b"SEND IT TO EVERYBODY"),
    ],
    ids=["cut off", "grown", "written over"],
)
@pytest.mark.requirement("R9.23")
def test_what_is_written_while_it_is_read_is_kept_as_it_was_read_and_said(
    work: Path, monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[[Path], Any], kept: bytes
) -> None:
    whole = os.read

    def read(file: int, size: int) -> bytes:
        if os.fstat(file).st_size == 20 and not done:
            done.append(True)
            meanwhile(work / "plan.txt")
            os.utime(work / "plan.txt", ns=(1, 1))
        return whole(file, size)

    done: list[bool] = []
    monkeypatch.setattr(os, "read", read)
    taken, held = copied(work)
    assert held["files/plan.txt"] == kept
    assert taken.words() == ("1 files that were written while they were read",)
    listing = json.loads(held["listing.json"])
    assert listing["missing"] == [["plan.txt", copying.CHANGED]]
    assert [name for name, _, digest in listing["files"] if digest == sha256(kept).hexdigest()] == ["plan.txt"]


def test_a_file_that_is_exchanged_between_two_looks_is_not_taken_for_the_other(
    work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack: a file is seen, and a link or a pipe is there when it is opened."""
    look = os.stat

    def stat(path: Any, *, dir_fd: int | None = None, follow_symlinks: bool = True) -> os.stat_result:
        found = look(path, dir_fd=dir_fd, follow_symlinks=follow_symlinks)
        if path == "plan.txt":
            (work / "plan.txt").unlink()
            os.mkfifo(work / "plan.txt")
        return found

    monkeypatch.setattr(os, "stat", stat)
    taken, held = copied(work)
    assert "files/plan.txt" not in held
    assert sum(taken.left.values()) == 1


@pytest.mark.parametrize(
    ("bound", "said"),
    [
        ({"files": 1}, "2 files beyond the most that are copied"),
        ({"most_bytes": 5}, "1 files beyond the bytes that are copied"),
        ({"until": 0.0}, "the rest: not in time"),
    ],
)
def test_beyond_its_bounds_a_copy_says_what_is_missing(work: Path, bound: dict[str, Any], said: str) -> None:
    taken, held = copied(work, **bound)
    assert taken.words() == (said,)
    assert "listing.json" in held


def test_directories_without_end_are_left_where_they_are(tmp_path: Path) -> None:
    """Attack: each directory that is walked takes a descriptor of the node; millions of names take its memory."""
    inner = tmp_path / "work"
    for _ in range(copying.DEEP + 3):
        inner /= "d"
    inner.mkdir(parents=True)
    before = len(os.listdir("/proc/self/fd"))
    taken, _ = copied(tmp_path / "work")
    assert taken.words() == ("1 directories that lie too deep",)
    assert len(os.listdir("/proc/self/fd")) == before


def test_of_more_names_than_are_looked_at_the_rest_is_said(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "LOOKS_BEYOND", 0)
    taken, _ = copied(work, files=1)
    assert copying.UNSEEN in taken.words()


def test_a_copy_whose_node_ends_is_no_copy(work: Path) -> None:
    with pytest.raises(Ended):
        copied(work, ended=lambda: True)


def test_an_archive_that_takes_no_more_is_an_error_and_not_a_directory_that_could_not_be_read(work: Path) -> None:
    class Full(io.RawIOBase):
        def write(self, data: Any) -> int:
            raise OSError(28, "No space left on device")

    with (
        pytest.raises(OSError, match="No space left"),
        tarfile.open(fileobj=Full(), mode="w|", bufsize=512) as archive,
    ):
        copy_directory(str(work), archive, bounds())


# ---- the file ----------------------------------------------------------------------------------------------------


def written(path: Path, data: bytes) -> str:
    writer = CopyWriter(path, KEY)
    for first in range(0, len(data), 700_001):
        writer.write(data[first:][:700_001])
    return writer.finish()


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK])
def test_a_copys_file_gives_back_what_was_written_and_shows_none_of_it(tmp_path: Path, size: int) -> None:
    path, data = tmp_path / "copy", secrets.token_bytes(size)
    digest = written(path, data)
    assert b"".join(read_copy(path, KEY)) == data
    assert digest == digest_of(path) == sha256(path.read_bytes()).hexdigest()
    assert path.stat().st_mode & 0o777 == 0o600
    assert size < 16 or data[:16] not in path.read_bytes()


@pytest.mark.parametrize(
    "forge",
    [
        lambda held: held[:-1],
        lambda held: held[: len(MAGIC) + CHUNK + 16],  # the last chunks are cut off, at their border
        lambda held: held[: len(MAGIC)] + held[len(MAGIC) + CHUNK + 16 :],
        lambda held: held[: len(MAGIC)] + held[len(MAGIC) + CHUNK + 16 :][: CHUNK + 16] + held[len(MAGIC) :],
        lambda held: held[:100] + bytes([held[100] ^ 1]) + held[101:],
        lambda held: b"x" + held[1:],
        lambda held: b"",
    ],
)
@pytest.mark.requirement("R9.25")
def test_a_copy_that_was_changed_or_cut_off_or_put_in_another_order_does_not_open(
    tmp_path: Path, forge: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / "copy"
    written(path, secrets.token_bytes(3 * CHUNK))
    path.write_bytes(forge(path.read_bytes()))
    with pytest.raises(Corrupt):
        list(read_copy(path, KEY))


def test_another_key_opens_nothing(tmp_path: Path) -> None:
    written(tmp_path / "copy", b"text")
    with pytest.raises(Corrupt, match="its key is another one"):
        list(read_copy(tmp_path / "copy", b"j" * 32))


def test_a_copy_that_is_missing_or_changed_is_said_by_its_name(tmp_path: Path) -> None:
    digest = written(tmp_path / "copy", b"text")
    assert copy_fault(tmp_path, digest) == "is missing"
    (tmp_path / "copy").rename(copy_path(tmp_path, digest))
    assert copy_fault(tmp_path, digest) is None
    with copy_path(tmp_path, digest).open("ab") as file:
        file.write(b"x")
    assert copy_fault(tmp_path, digest) == "was changed"
