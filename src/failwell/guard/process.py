"""A guard as a process: it answers frames on sockets, one after the other, until nobody can ask it any more (D18).

Embedded, it has one connection, given by the node that started it, and ends with it. Under its own user it listens on
a socket file and answers those whose user id (SO_PEERCRED, unix(7)) it was told to. What it may sign is decided in
`sealing`; what a caller sends wrongly is told to it, and the caller is hung up on.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import stat
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from failwell.core.errors import FailwellError, InputError, Refused
from failwell.guard.frames import Frames, Shown, WaitingKey, frame, hash_of, wish
from failwell.guard.sealing import WAIT_S, LocalGuard
from failwell.guard.state import State
from failwell.ports.guard import GuardFailed

#: Connections at once: a node, its successor, and people who look. More are turned away.
MAX_CONNECTIONS: Final = 16
_READ_BYTES: Final = 65_536


def shown(state: State) -> Shown:
    """A guard's state without its private keys."""
    waiting = state.waiting
    return Shown(
        key=state.key, size=state.size, root=state.root, note=state.note, retired=state.retired,
        waiting=None if waiting is None else WaitingKey(waiting.pair.key, waiting.statement, waiting.since),
    )  # fmt: skip


def serve_connection(directory: Path, connection: socket.socket) -> None:
    """Be the embedded guard of `directory` until the other end of `connection` is closed.

    Raises FailwellError where the guard does not open; the other end has been told.
    """
    with connection:
        try:
            guard = LocalGuard.open(directory, wait_s=WAIT_S)
        except FailwellError as error:
            with contextlib.suppress(OSError):
                connection.sendall(frame(_failure(0, error, None)))
            raise
        _Desk(guard).serve(connection)
        guard.close()


def serve_socket(directory: Path, path: Path, uids: frozenset[int], ready: Callable[[], None]) -> None:
    """Be the guard of `directory` for everybody with one of `uids` (and its own user), at the socket `path`.

    Runs until SIGTERM or SIGINT; `ready` is called when it listens. Raises FailwellError where the guard does not open
    or the path is taken.
    """
    guard = LocalGuard.open(directory)
    wake, woken = socket.socketpair()
    try:
        with wake, woken, _listen(path, private=not uids) as listener:
            wake.setblocking(False)
            signal.set_wakeup_fd(wake.fileno())
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: None)  # what it does is wake the loop
            ready()
            _Desk(guard, uids | {os.geteuid()}).serve_listener(listener, woken)
            path.unlink(missing_ok=True)
    finally:
        guard.close()


def _listen(path: Path, *, private: bool) -> socket.socket:
    """A listening socket at `path`; one that nobody answers at any more is replaced."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _clear(path)
        listener.bind(str(path))
        # Who may connect is decided by SO_PEERCRED; the mode only spares strangers the way.
        path.chmod(0o600 if private else 0o666)
        listener.listen(MAX_CONNECTIONS)
    except OSError as error:
        listener.close()
        raise GuardFailed(f"the guard cannot listen at {path}: {error.strerror or error}") from error
    except BaseException:
        listener.close()
        raise
    listener.setblocking(False)
    return listener


def _clear(path: Path) -> None:
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise InputError(f"{path} is there already and is no socket")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()  # its process is gone
            return
        except OSError as error:
            raise GuardFailed(f"who listens at {path} cannot be told: {error}") from error
    raise GuardFailed(f"another process listens at {path}")


class _Desk:
    """Answers on any number of connections, one frame at a time."""

    def __init__(self, guard: LocalGuard, uids: frozenset[int] = frozenset()) -> None:
        self._guard = guard
        self._uids = uids
        self._selector = selectors.DefaultSelector()
        self._callers = 0

    def serve(self, connection: socket.socket) -> None:
        """Answer on this one connection until it ends."""
        self._greet(connection)
        while self._callers:
            self._turn()

    def serve_listener(self, listener: socket.socket, woken: socket.socket) -> None:
        """Answer everybody who may connect, until `woken` is."""
        self._selector.register(listener, selectors.EVENT_READ, None)
        self._selector.register(woken, selectors.EVENT_READ, None)
        while True:
            for ready in self._turn():
                if ready is woken:
                    return
                self._admit(listener)

    def _turn(self) -> list[Any]:
        """Wait and answer; the sockets that are not callers' and have something to tell."""
        others = []
        for key, _ in self._selector.select():
            if key.data is None:
                others.append(key.fileobj)
            else:
                assert isinstance(key.fileobj, socket.socket)
                self._hear(key.fileobj, key.data)
        return others

    def _admit(self, listener: socket.socket) -> None:
        try:
            connection, _ = listener.accept()
        except OSError:
            return  # the caller was faster
        _, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        # Attack: another user of this machine has the guard sign a head of their own.
        if uid not in self._uids:
            self._turn_away(connection, Refused(f"this guard does not answer user {uid}", code="guard-uid"))
        elif self._callers >= MAX_CONNECTIONS:
            self._turn_away(connection, Refused(f"{MAX_CONNECTIONS} others are connected already", code="busy"))
        else:
            self._greet(connection)

    def _greet(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self._selector.register(connection, selectors.EVENT_READ, Frames())
        self._callers += 1
        try:
            greeting = {"id": 0, "ok": shown(self._guard.state()).fields()}
        except FailwellError as error:
            greeting = _failure(0, error, None)
        self._say(connection, greeting)

    def _turn_away(self, connection: socket.socket, error: FailwellError) -> None:
        with connection:
            connection.setblocking(False)
            with contextlib.suppress(OSError):
                connection.send(frame(_failure(0, error, None)))

    def _hear(self, connection: socket.socket, frames: Frames) -> None:
        try:
            data = connection.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._hang_up(connection)
            return
        frames.feed(data)
        try:
            while (value := frames.take()) is not None:
                if not self._say(connection, self._answer(*wish(value))):
                    return
        except InputError as error:  # where the next frame begins is not known any more
            if self._say(connection, _failure(0, error, None)):
                self._hang_up(connection)

    def _answer(self, number: int, verb: str, given: dict[str, Any]) -> dict[str, Any]:
        guard = self._guard
        try:
            if verb == "seal":
                path = [hash_of(each) for each in given["path"]]
                guard.seal(given["size"], hash_of(given["root"]), path, since=given["since"])
            elif verb == "rotate":
                guard.rotate()
            elif verb == "confirm":
                guard.confirm(given["key"], given["size"])
            else:
                guard.retire(given["why"])
            return {"id": number, "ok": shown(guard.state()).fields()}
        except FailwellError as error:
            return _failure(number, error, self._shown())

    def _shown(self) -> dict[str, Any] | None:
        try:
            return shown(self._guard.state()).fields()
        except FailwellError:
            return None

    def _say(self, connection: socket.socket, value: dict[str, Any]) -> bool:
        """Send an answer; False for a caller that is gone or does not read its answers, who is hung up on."""
        data = frame(value)
        try:
            if connection.send(data) == len(data):
                return True
        except OSError:
            pass
        self._hang_up(connection)
        return False

    def _hang_up(self, connection: socket.socket) -> None:
        self._selector.unregister(connection)
        self._callers -= 1
        connection.close()


def _failure(number: int, error: FailwellError, state: dict[str, Any] | None) -> dict[str, Any]:
    told = {"code": error.code, "message": error.message, "hint": error.hint}
    return {"id": number, "error": told, "state": state}
