"""The client's side of the node's socket: frames, request ids, and a node that is started when it is absent.

Standard library and `cryptography` only: this runs inside the agent's process.
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Protocol

from failwell.core.errors import Corrupt, FailwellError, InputError, NotFound, Refused, Unhealthy, Unreachable
from failwell.identity import agents
from failwell.identity.keys import SigningKey

START_TIMEOUT_S = 20.0
#: What the threads are called that listen to a node.
THREAD = "failwell-wire"
#: What became of tools that a node ran which is gone.
GONE = "What it ran is stopped all the same. The next command starts a node, which records how: failwell ledger tail"
#: What can be done about a node that answers nothing.
CLOSED, CLOSED_HINT = "this connection was closed here", "failwell.connect() opens one."
SILENT_HINT = "A stop works without it: failwell agent suspend. To see why: failwell doctor"
_ERRORS: dict[str, type[FailwellError]] = {
    "input": InputError,
    "contract": InputError,
    "not-found": NotFound,
    "refused": Refused,
    "unauthenticated": Refused,
    "fenced": Refused,
    "replayed": Refused,
    "not-open": Refused,
    "unhealthy": Unhealthy,
    "busy": Unhealthy,
    "storage-full": Unhealthy,
    "storage-failed": Unhealthy,
    # A record that must not be written to, by its code; whoever stops somebody leaves the order in the workspace then.
    "behind-guard": Unhealthy,
    "guard-failed": Unhealthy,
    "guard-lost": Unhealthy,
    "guard-refused": Unhealthy,
    "unsealed": Unhealthy,
    "corrupt": Corrupt,
    "stopping": Unreachable,
}


#: Nodes that this process started: they outlive the call, and their handles must not be collected as forgotten.
_started: list[subprocess.Popen[bytes]] = []


class Greeted(Protocol):
    """A connection that knows whom it speaks with."""

    greeting: dict[str, Any]


class Line(Greeted, Protocol):
    """What a proof of identity needs of a connection."""

    def call(self, do: str, *, timeout_s: float | None = None, **fields: Any) -> Any:
        """Ask and wait."""
        ...


class Asking(Line, Protocol):
    """What a gate needs of a connection: `Wire`, or `client.http_wire`'s."""

    on_push: Callable[[dict[str, Any]], None]

    def ask(self, do: str, **fields: Any) -> Future[Any]:
        """Send one request; the future gives the answer or raises its error."""
        ...

    def close(self) -> None:
        """Hang up; requests still waiting fail."""
        ...


class Wire:
    """One connection. Thread-safe: requests may be made from many threads, replies are matched by id."""

    def __init__(self, path: Path, *, timeout_s: float = 5.0) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(timeout_s)
        try:
            self._socket.connect(str(path))
            self.greeting = self._read(time.monotonic() + timeout_s)
        except TimeoutError as error:
            self._socket.close()
            raise Unreachable(
                f"the node takes calls and does not answer within {timeout_s:g} s", code="silent",
                hint=SILENT_HINT,
            ) from error  # fmt: skip
        except (OSError, EOFError, ValueError) as error:
            self._socket.close()
            raise Unreachable(f"the node at {path} does not answer: {error}") from error
        self._socket.settimeout(None)
        self._ids = itertools.count(1)
        self._write = threading.Lock()
        self._waiting: dict[int, Future[Any]] = {}
        self._lost: FailwellError | None = None
        self.on_push: Callable[[dict[str, Any]], None] = lambda message: None
        self._thread = threading.Thread(target=self._listen, name=THREAD, daemon=True)
        self._thread.start()

    def ask(self, do: str, **fields: Any) -> Future[Any]:
        """Send one request; the future gives the node's answer or raises its error."""
        number = next(self._ids)
        future: Future[Any] = Future()
        self._waiting[number] = future
        data = json.dumps({"do": do, "id": number, **fields}).encode()
        try:
            with self._write:
                if self._lost is not None:
                    raise self._lost
                self._socket.sendall(len(data).to_bytes(4, "big") + data)
        except OSError as error:
            self._waiting.pop(number, None)
            raise Unreachable(f"the node is gone: {error}", hint=GONE) from error
        return future

    def call(self, do: str, *, timeout_s: float | None = None, **fields: Any) -> Any:
        """Ask and wait. Raises Unreachable when no answer comes within `timeout_s`."""
        try:
            return self.ask(do, **fields).result(timeout_s)
        except TimeoutError as error:
            raise Unreachable(f"the node did not answer within {timeout_s} s") from error

    def _read(self, until: float | None = None) -> dict[str, Any]:
        """The next message; TimeoutError where it is not here whole by `until`, however it comes in between."""
        length = int.from_bytes(self._exactly(4, until), "big")
        message: dict[str, Any] = json.loads(self._exactly(length, until))
        return message

    def _exactly(self, count: int, until: float | None) -> bytes:
        parts = bytearray()
        while len(parts) < count:
            if until is not None:
                # Attack: a byte now and then, so that no single wait is too long, and a stop waits for ever.
                self._socket.settimeout(max(until - time.monotonic(), 0.001))
            part = self._socket.recv(min(count - len(parts), 1 << 20))
            if not part:
                raise EOFError("the connection was closed")
            parts += part
        return bytes(parts)

    def _listen(self) -> None:
        try:
            while True:
                message = self._read()
                if "push" in message:
                    self.on_push(message)
                else:
                    self._settle(message)
        except (OSError, EOFError, ValueError) as error:
            self._lost = self._lost or Unreachable(f"the node is gone: {error}", hint=GONE)
        for future in list(self._waiting.values()):
            if not future.done():
                future.set_exception(self._lost)

    def _settle(self, message: dict[str, Any]) -> None:
        future = self._waiting.pop(message["id"], None)
        if future is None or future.done():
            return
        error = message.get("error")
        if error is None:
            future.set_result(message.get("ok"))
        else:
            future.set_exception(failure(error))

    def close(self) -> None:
        """Hang up; requests still waiting fail."""
        self._lost = self._lost or Unreachable(CLOSED, hint=CLOSED_HINT)
        with contextlib.suppress(OSError):  # the node hung up first
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(timeout=1)
        self._socket.close()


def failure(told: dict[str, Any]) -> FailwellError:
    """The error that an answer tells of: {code, message, hint}."""
    kind = _ERRORS.get(told["code"], FailwellError)
    return kind(told["message"], hint=told["hint"], code=told["code"])


def hello(wire: Line, role: str, name: str, key: SigningKey) -> str:
    """Prove an identity on this connection by signing the greeting's challenge; returns its full name."""
    greeting = wire.greeting
    challenge = bytes.fromhex(greeting["challenge"])
    proof = agents.prove(key, greeting["origin"], role, name, challenge, greeting["node"])
    answer = wire.call("hello", role=role, name=name, proof=base64.b64encode(proof).decode(), timeout_s=10)
    return str(answer["proved"])


def reach(socket_path: Path, workspace: Path, *, start: bool = True) -> Wire:
    """Connect to the workspace's node, starting one where none answers; Unreachable tells the node's own words."""
    try:
        return Wire(socket_path)
    except Unreachable as error:
        if not start or error.code == "silent":  # a node that stands still holds the workspace: another cannot start
            raise
    return _start(socket_path, workspace)


def _start(socket_path: Path, workspace: Path) -> Wire:
    """Start a node in a session of its own and wait for its socket; another client may win the race, that is fine."""
    log = socket_path.parent / "node.log"
    with open(log, "ab") as errors:
        os.chmod(log, 0o600)
        began = log.stat().st_size
        process = subprocess.Popen(
            [sys.executable, "-m", "failwell.node", "--workspace", str(workspace)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors, start_new_session=True, cwd="/",
        )  # fmt: skip
    _started.append(process)
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        try:
            return Wire(socket_path)
        except Unreachable as error:
            if error.code == "silent":
                raise
            ended = process.poll()
        if ended not in (None, 0):
            said = log.read_bytes()[began:].decode("utf-8", "replace").strip()
            if "holds this workspace" not in said:
                raise Unreachable(
                    f"the node did not start: {said[-500:] or f'exit code {ended}'}", hint="failwell doctor"
                )
        time.sleep(0.02)
    raise Unreachable(f"no node answered within {START_TIMEOUT_S:.0f} s", hint=f"Look into {log}.")
