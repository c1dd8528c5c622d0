"""Descriptors that come with a launch: both, or nothing starts."""

from __future__ import annotations

import os
import socket

import pytest

from failwell.execute.handing import receive, take_two


def test_what_was_sent_comes_with_the_first_byte_and_is_not_inherited() -> None:
    ours, theirs = socket.socketpair()
    reading, writing = os.pipe()
    with ours, theirs:
        socket.send_fds(ours, [b"launch"], [reading, writing])
        data, handles = receive(theirs.fileno(), 100)
        assert data == b"launch"
        assert not any(os.get_inheritable(handle) for handle in handles)
        os.write(handles[1], b"x")
        assert os.read(reading, 1) == b"x"
        ours.send(b"more")
        assert receive(theirs.fileno(), 100) == (b"more", [])
        assert theirs.fileno() >= 0, "it is not closed here"
    for handle in (*handles, reading, writing):
        os.close(handle)


@pytest.mark.parametrize("handles", [[], [5], [5, 6, 7]])
@pytest.mark.requirement("R6.32")
def test_a_launch_without_its_two_ends_starts_nothing(handles: list[int]) -> None:
    with pytest.raises(ValueError, match="did not come"):
        take_two(handles)
    assert take_two([5, 6]) == (5, 6)
