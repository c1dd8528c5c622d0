"""Descriptors that come to a supervisor with its launch (SCM_RIGHTS, unix(7)): the two ends that its tool speaks over.

Standard library only, and the part of `socket` that is in C alone: all of it would take a supervisor milliseconds more
to load. It does not judge what the descriptors are.
"""

from __future__ import annotations

import _socket
import sys

#: What a tool is given: its input and its output.
COUNT = 2
_BYTES = 4


def receive(control: int, most: int) -> tuple[bytes, list[int]]:
    """Read from a stream socket, and take the descriptors that came with it; raises OSError as read(2) does."""
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, control)
    try:
        data, came, _, _ = sock.recvmsg(most, _socket.CMSG_LEN(COUNT * _BYTES), _socket.MSG_CMSG_CLOEXEC)
    finally:
        sock.detach()  # it is not ours to close
    handles = [
        int.from_bytes(held[at : at + _BYTES], sys.byteorder)
        for level, kind, held in came
        if (level, kind) == (_socket.SOL_SOCKET, _socket.SCM_RIGHTS)
        for at in range(0, len(held) - _BYTES + 1, _BYTES)
    ]
    return data, handles


def take_two(handles: list[int]) -> tuple[int, int]:
    """The input and the output that came; raises ValueError where they did not, and nothing may start then."""
    if len(handles) != COUNT:
        raise ValueError("the ends that it is to speak over did not come with its launch")
    return handles[0], handles[1]
