"""What is kept of processes that stand still: names and no values, within its bounds, and what is missing is said."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from failwell.core import canonical
from failwell.execute import snapshot
from failwell.execute.processes import Stat, boottime_us, read_stat
from failwell.execute.snapshot import LIMIT_BYTES, SCHEMA, take_snapshot

SECRET = "do-not-keep-this"


@pytest.fixture(autouse=True)
def unhurried() -> Iterator[None]:
    """A supervisor takes its one snapshot and ends; this process goes on."""
    before = sys.getswitchinterval()
    yield
    sys.setswitchinterval(before)


@pytest.fixture
def child() -> Iterator[Stat]:
    """A process with a secret in its environment, and a file."""
    code = "import sys, time; held = open('/etc/hostname'); print('up', flush=True); time.sleep(60)"
    environment = {"SHOP_KEY": SECRET, "PATH": "/usr/bin", "odd name": "x", "LONG" * 40: "y"}
    with subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", code, "--order", "a\nb"], stdout=subprocess.PIPE, env=environment
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        stat = read_stat(process.pid)
        assert stat is not None
        yield stat
        process.kill()


def take(stats: list[Stat], output: bytes = b"", errors: bytes = b"") -> Any:
    text = take_snapshot(stats, still=True, reason="ordered", output=output, errors=errors)
    assert len(text) <= LIMIT_BYTES
    return canonical.decode(text, max_bytes=LIMIT_BYTES)  # and it is canonical


def test_names_of_variables_are_kept_and_their_values_never(child: Stat, monkeypatch: pytest.MonkeyPatch) -> None:
    # This process has threads of other tests beside the one that reads: the time is another test's.
    for bound in ("READING_BOUND_US", "WRITING_BOUND_US"):
        monkeypatch.setattr(snapshot, bound, 5_000_000)
    text = take_snapshot([child], still=True, reason="ordered", output=b"", errors=b"")
    assert SECRET.encode() not in text
    body = canonical.decode(text)
    assert (body["schema"], body["stood_still"], body["reason"]) == (SCHEMA, True, "ordered")
    (process,) = body["processes"]
    assert {"SHOP_KEY", "PATH"} <= set(process["environment"])
    assert not {"odd name", "LONG" * 40} & set(process["environment"]), "what is no plain name may be a value"
    assert process["arguments"][-2:] == ["--order", "a\nb"]
    assert "/etc/hostname" in [file["to"] for file in process["files"]]
    assert (process["pid"], process["parent"], process["threads"]) == (child.pid, os.getpid(), 1)
    assert process["memory_kib"] > 1000
    assert "[stack]" in [mapped["of"] for mapped in process["memory_map"]]
    assert body["missing"] == []


def test_the_tail_of_what_was_written_is_kept_also_where_it_is_no_text() -> None:
    body = take([], b"x" * 5000 + b"last \xff\x00 words", b"\x1b[31m")
    assert len(body["output_tail"]) == 1024
    assert body["output_tail"].endswith("xlast \ufffd\x00 words")
    assert body["errors_tail"] == "\x1b[31m"


def test_a_large_family_fits_and_what_does_not_is_counted(child: Stat) -> None:
    """Attack: so many processes, arguments and files that the node chokes on what it is told."""
    for number in (90, 2000):
        body = take([child] * number)
        left_out = number - len(body["processes"])
        assert 0 < len(body["processes"]) <= 600
        said = f"{left_out} processes: no room in 65536 bytes"
        assert (said in body["missing"]) is (left_out > 0)
        bare = sum("files" not in process for process in body["processes"])
        assert bare == 0 or any("details of" in said or "not in time" in said for said in body["missing"])


def test_a_process_that_is_gone_is_kept_as_it_was_last_seen() -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    fields = ["R", "1", "0", "1", *["0"] * 13, "1", "0", "7", "0", "3"]
    body = take([Stat(gone.pid, "was", fields)])
    assert body["processes"][0]["name"] == "was"
    assert "files of 1 process: gone or not permitted" in body["missing"]


def test_a_process_whose_files_never_answer_delays_nothing(child: Stat, monkeypatch: pytest.MonkeyPatch) -> None:
    """Attack: a tool that holds the lock of its own memory: who reads its arguments waits in the kernel."""
    release = threading.Event()
    entered = threading.Event()

    def never(pid: int) -> tuple[list[object], bool]:
        entered.set()
        release.wait(20)
        return [], False

    monkeypatch.setattr(snapshot, "_variables", never)
    began = boottime_us()
    try:
        body = take([child])
        assert entered.is_set()
        assert boottime_us() - began < 1_000_000
        assert body["processes"][0]["files"], "what came before is there"
        assert "environment" not in body["processes"][0]
        assert body["missing"] == [
            "environment of 1 process: not in time",
            "arguments of 1 process: not in time",
            "memory_map of 1 process: not in time",
        ]
    finally:
        release.set()


def test_where_no_thread_can_be_started_the_processes_are_kept_alone(
    child: Stat, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack: a fork storm that uses up all that its user may start."""

    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("_thread.start_new_thread", refuse)
    body = take([child])
    assert [process["pid"] for process in body["processes"]] == [child.pid]
    assert "files of 1 process: no thread to read them" in body["missing"]
