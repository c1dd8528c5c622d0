"""Whether a tool may be started by another supervisor: only on proof that the first one started nothing."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from failwell.execute import channel as channels
from failwell.execute.channel import Channel
from failwell.execute.frames import encode_frame
from failwell.ports.executor import Launch

LAUNCH = Launch(
    action=1, agent="a", tool="t", command=("true",), cwd=None, env={}, stdin=b"", deadline_us=None,
    output_cap_bytes=10, marker="m",
)  # fmt: skip
SLEEPS = "import time; time.sleep(30)"


@contextmanager
def supervisor(code: str = SLEEPS) -> Iterator[tuple[Channel, socket.socket]]:
    """A process that says nothing of its own; what it is to have written is written by the test."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    child = subprocess.Popen([sys.executable, "-I", "-S", "-c", code])
    try:
        yield Channel(LAUNCH, lambda _ended: None, child, ours, warm=True), theirs
    finally:
        child.kill()
        child.wait()
        ours.close()
        theirs.close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels, "START_BOUND_US", 0)


def test_one_that_says_that_it_starts_has_the_launch() -> None:
    with supervisor() as (channel, theirs):
        theirs.send(encode_frame({"kind": "starting"}))
        assert channel.await_start()
        with pytest.raises(subprocess.TimeoutExpired):
            channel.child.wait(0)


def test_one_that_is_silent_for_too_long_is_killed_before_another_gets_the_launch(impatient: None) -> None:
    with supervisor() as (channel, _theirs):
        assert not channel.await_start()
        assert channel.child.wait(5) == -9


@pytest.mark.requirement("R8.30")
def test_a_word_that_was_said_and_not_read_when_it_was_killed_counts(impatient: None) -> None:
    with supervisor() as (channel, theirs):
        theirs.send(encode_frame({"kind": "starting"}) + encode_frame({"kind": "started", "pid": 7}))
        assert channel.await_start(), "the tool may run"
        assert (channel.starting, channel.tool_pid) == (True, 7)


@pytest.mark.requirement("R8.29")
def test_one_that_ended_of_its_own_will_had_been_told_to_stop() -> None:
    with supervisor("") as (channel, theirs):
        channel.child.wait(10)
        theirs.close()
        assert channel.await_start(), "nobody else may start the tool"


@pytest.mark.parametrize(
    "nonsense", [b"\0\0\0\1x", encode_frame({"kind": "ended", "action": 2}, b"", b""), b"\xff\xff\xff\xff"]
)
def test_one_that_makes_no_sense_may_have_started_the_tool(nonsense: bytes) -> None:
    with supervisor() as (channel, theirs):
        theirs.send(nonsense)
        assert channel.await_start()
        assert channel.confused


def test_a_launch_larger_than_the_socket_takes_is_not_given_up_while_it_is_read() -> None:
    with supervisor() as (channel, theirs):
        whole = encode_frame({"kind": "launch"}, b"x" * 4_000_000)
        assert not channel.send(whole)

        def read_all() -> None:
            left = len(whole)
            while left:
                left -= len(theirs.recv(1 << 20))
            theirs.send(encode_frame({"kind": "starting"}))

        reader = threading.Thread(target=read_all)
        reader.start()
        assert channel.await_start()
        reader.join()
