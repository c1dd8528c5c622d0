"""One connection to a guard's process, and the process behind it where that is ours. Deadlines are `time.monotonic`."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

from failwell.core.errors import InputError
from failwell.guard.frames import Frames

_READ_BYTES: Final = 65_536


class Link:
    """One connection, and the process behind it where that is ours."""

    def __init__(self, connection: socket.socket, child: subprocess.Popen[bytes] | None) -> None:
        self._socket = connection
        self._frames = Frames()
        self.child = child
        self.broken = False

    def is_broken(self) -> bool:
        """Whether an earlier question failed on it, or its other end is gone."""
        if not self.broken:
            try:
                self._socket.setblocking(False)
                self.broken = self._socket.recv(1, socket.MSG_PEEK) == b""
            except BlockingIOError:
                return False
            except OSError:
                self.broken = True
        return self.broken

    def send(self, data: bytes, deadline: float) -> None:
        """Send all of it; raises OSError."""
        self._socket.settimeout(_left_s(deadline))
        self._socket.sendall(data)

    def receive(self, number: int, deadline: float) -> dict[str, Any]:
        """The answer to question `number`; raises TimeoutError, another OSError, or InputError for any other answer."""
        while True:
            value = self._frames.take()
            if value is not None:
                # Attack: an answer to an earlier question passes for the one to this.
                if value["id"] == number or (value["id"] == 0 and "error" in value):
                    return value
                raise InputError(f"an answer to question {value['id']} came for question {number}")
            self._socket.settimeout(_left_s(deadline))
            data = self._socket.recv(_READ_BYTES)
            if not data:
                raise ConnectionResetError("it ended")
            self._frames.feed(data)

    def peer(self) -> tuple[int, int]:
        """Process and user id of the other end. Raises OSError."""
        pid, uid, _ = struct.unpack("3i", self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        return pid, uid

    def interrupt(self) -> None:
        """End whatever waits on it, from another thread."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # closed already

    def close(self) -> None:
        """Close our end; a child takes that for its node's end."""
        self._socket.close()


def start(directory: Path) -> Link:
    """Start the embedded guard. It shares our session, so that nobody takes it for a stray process of a tool, in a
    process group of its own, so that a terminal's Ctrl-C is not for it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with theirs:
        try:
            child = subprocess.Popen(
                [sys.executable, "-P", "-s", "-m", "failwell.guard", "--state", str(directory),
                 "--fd", str(theirs.fileno())],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, pass_fds=(theirs.fileno(),), process_group=0,
                cwd="/", env=_environment(),
            )  # fmt: skip
        except BaseException:
            ours.close()
            raise
    return Link(ours, child)


def _environment() -> dict[str, str]:
    """Nothing of ours but what its interpreter needs to load: what is not there can mislead nobody."""
    kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
    return {"PATH": os.defpath, "LC_ALL": "C.UTF-8", "PYTHONPATH": str(Path(__file__).parents[2]), **kept}


def connect(path: Path, deadline: float) -> Link:
    """Reach a guard that another user runs. Raises OSError."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(_left_s(deadline))
        connection.connect(str(path))
    except BaseException:
        connection.close()
        raise
    return Link(connection, None)


def bury(child: subprocess.Popen[bytes], patience_s: float) -> None:
    """Collect a child that was told to end, by force where it does not."""
    try:
        child.wait(patience_s)
    except subprocess.TimeoutExpired:
        child.kill()
        try:
            child.wait(patience_s)
        except subprocess.TimeoutExpired:
            return  # in the kernel's hands: looked for again later


def _left_s(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
