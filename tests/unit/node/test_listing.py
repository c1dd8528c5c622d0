"""What lies in a directory after a kill: bounded, followed nowhere, and honest about what is not told."""

from __future__ import annotations

import os
import socket
import threading
import time
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from failwell.node import listing
from failwell.node.listing import list_directory


def digest(data: bytes) -> str:
    return sha256(data).hexdigest()


def test_every_file_is_told_by_path_size_and_digest(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "one").write_bytes(b"1" * 3_000_000)
    (tmp_path / "two").write_bytes(b"")
    found = list_directory(str(tmp_path))
    assert sorted(found.files) == [("a/one", 3_000_000, digest(b"1" * 3_000_000)), ("two", 0, digest(b""))]
    assert (found.missing, found.size) == ([], 3_000_000)
    assert b'"directory"' in found.text()


@pytest.mark.requirement("R9.8")
def test_nothing_is_followed_and_nothing_special_is_opened(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "secret").write_text("not of this directory")
    here = tmp_path / "here"
    here.mkdir()
    (here / "link").symlink_to(elsewhere / "secret")
    (here / "inner").symlink_to(elsewhere)
    os.mkfifo(here / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(here / "socket"))
        began = time.monotonic()
        found = list_directory(str(here))
    assert time.monotonic() - began < 1.5, "nobody waited for the other end of the pipe"
    assert found.files == []
    assert found.missing == ["4 links, pipes, sockets and devices, which are not opened"]


def test_what_is_beyond_a_bound_is_left_out_and_said(tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / f"{number:02}").write_bytes(b"x" * 100)
    few = list_directory(str(tmp_path), files=5)
    assert (len(few.files), few.missing) == (5, ["15 files beyond the most that are listed"])
    small = list_directory(str(tmp_path), most_bytes=1000)
    assert (len(small.files), small.missing) == (10, ["10 files beyond the bytes that are read"])
    late = list_directory(str(tmp_path), within_s=0)
    assert "the rest: not in time" in late.missing
    gone = list_directory(str(tmp_path / "none"))
    assert gone.missing == ["all of it: No such file or directory"]


def test_directories_in_directories_without_end_take_no_descriptors_without_end(tmp_path: Path) -> None:
    """Attack: a tool nests directories deeper than the node has descriptors, or Python has a stack."""
    here, deep = os.getcwd(), 400
    os.chdir(tmp_path)
    try:
        for _ in range(deep):
            os.mkdir("d")
            os.chdir("d")
        Path("bottom").write_text("x")
        before = len(os.listdir("/proc/self/fd"))
        found = list_directory(str(tmp_path))
        assert found.missing == ["1 directories that lie too deep"]
        assert len(os.listdir("/proc/self/fd")) <= before  # what others left open may close meanwhile
    finally:
        for _ in range(deep):
            os.chdir("..")
            Path("d/bottom").unlink(missing_ok=True)
            os.rmdir("d")
        os.chdir(here)


def test_two_names_of_any_bytes_are_never_one(tmp_path: Path) -> None:
    for name in (b"\xff", b"\xfe", "\u00ff".encode()):
        (tmp_path / os.fsdecode(name)).write_bytes(name)
    found = list_directory(str(tmp_path))
    assert len({path for path, _, _ in found.files}) == 3
    assert found.missing == []
    assert found.text()


def test_a_file_that_is_written_meanwhile_is_not_told_as_what_it_never_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "log").write_bytes(b"x" * 3_000_000)
    reading = os.read

    def read(file: int, size: int) -> bytes:
        data = reading(file, size)
        with (tmp_path / "log").open("ab") as more:
            more.write(b"y")
        return data

    monkeypatch.setattr(os, "read", read)
    assert list_directory(str(tmp_path)).missing == ["1 files that were written while they were read"]


def test_a_file_system_that_hangs_holds_up_nobody_for_long_and_not_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("x")
    hang, reading = threading.Event(), os.read

    def read(file: int, size: int) -> bytes:
        hang.wait(20)
        return reading(file, size)

    monkeypatch.setattr(os, "read", read)
    try:
        began = time.monotonic()
        found: list[Any] = [list_directory(str(tmp_path), within_s=0.05) for _ in range(listing.HANGING + 1)]
        assert time.monotonic() - began < 5
        assert {"the rest: not in time"} == {each for one in found[:-1] for each in one.missing}
        assert found[-1].missing == ["all of it: earlier looks at directories hang"]
    finally:
        hang.set()
    for thread in threading.enumerate():
        if thread.name == "listing":
            thread.join(5)
    monkeypatch.undo()
    assert list_directory(str(tmp_path)).missing == [], "what came back made room"
