"""HTTP connections of a client to a door elsewhere: each request signed, answered or said to be lost, never redirected.

A request goes out again only where that cannot do twice what was meant once: the door did not take it (429), it was
signed for a door that has begun anew since, or its caller says that it may. Standard library and `cryptography` only.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import secrets
import select
import socket
import ssl
import threading
import time
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from failwell.core.errors import InputError, Unreachable
from failwell.identity import http_signatures
from failwell.identity.http_signatures import Stamp
from failwell.identity.keys import SigningKey

#: The field by which a door tells its name (`web.replays`).
DOOR: Final = "Failwell-Door"
CA_FILE: Final = "FAILWELL_CA_FILE"
_LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")
_PORTS: Final = {"http": 80, "https": 443}
_MAX_BYTES: Final = 512 * 1024 * 1024
#: A connection that was not used for so long is not trusted to be open still.
_STALE_S: Final = 20.0
_TRIES: Final = 4
_MAX_PAUSE_S: Final = 5.0


class Signer(NamedTuple):
    """Whose request it is, and the key that says so; `certificate` (DER) where the key is a certificate's."""

    role: str
    name: str
    key: SigningKey
    certificate: bytes | None = None


class Answer(NamedTuple):
    """What a door answered; `told` is its JSON."""

    status: int
    told: Any


class Holder:
    """A request that is under way, and can be given up."""

    def __init__(self) -> None:
        self._line: http.client.HTTPConnection | None = None
        self._lock = threading.Lock()
        self.given_up = False

    def take(self, line: http.client.HTTPConnection | None) -> None:
        with self._lock:
            self._line = line
            if self.given_up:
                _cut(line)

    def give_up(self) -> None:
        """Hang up on the door: what it had started for this is stopped."""
        with self._lock:
            self.given_up = True
            _cut(self._line)


class Streamed:
    """An answer that goes on, line by line, for one thread that reads it; `cut` ends that from another."""

    def __init__(self, line: http.client.HTTPConnection, answer: http.client.HTTPResponse) -> None:
        self._line = line
        self._answer = answer
        self.status = answer.status

    def readline(self) -> bytes:
        return self._answer.readline(65_536)

    def rest(self) -> Answer:
        """What was answered instead of a stream."""
        data = self._answer.read(65_536)
        self.close()
        return Answer(self.status, _read(data))

    def cut(self) -> None:
        _cut(self._line)

    def close(self) -> None:
        self._answer.close()
        self._line.close()


class Lines:
    """Connections to one door, as many as there are requests at once."""

    def __init__(self, address: str, ca_file: str | os.PathLike[str] | None = None) -> None:
        """`ca_file` (PEM) says whom to trust, by default $FAILWELL_CA_FILE, else what this machine trusts.

        InputError for an address that is none, or that would show to others what is asked.
        """
        parts = urlsplit(address)
        try:
            port = parts.port or _PORTS[parts.scheme]
        except (KeyError, ValueError) as error:
            raise InputError(f"{address!r} is no address of a door", hint="https://NAME:PORT") from error
        host = (parts.hostname or "").lower()
        if not host or parts.path not in ("", "/") or parts.query or parts.fragment or parts.username is not None:
            raise InputError(f"{address!r} is no address of a door", hint="https://NAME:PORT, and nothing behind it")
        # Attack: what an agent does, and whom for, read on its way.
        if parts.scheme == "http" and host not in _LOOPBACK:
            raise InputError(f"{address} would be spoken to in the clear", hint="https://, or a door on this machine")
        named = f"[{host}]" if ":" in host else host
        self.address = f"{parts.scheme}://{named}" + ("" if port == _PORTS[parts.scheme] else f":{port}")
        self._place = host, port
        self._context = None if parts.scheme == "http" else _context(ca_file or os.environ.get(CA_FILE))
        self._idle: list[tuple[float, http.client.HTTPConnection]] = []
        self._lock = threading.Lock()
        self._door = "-"
        self._closed = False

    def send(
        self, method: str, path: str, body: bytes = b"", signer: Signer | None = None, *, again: bool = False,
        timeout_s: float | None = 30.0, holder: Holder | None = None,
    ) -> Answer:  # fmt: skip
        """Ask, and await the answer. `again`: whether it may be asked twice. Unreachable where no answer came."""
        tries = 0
        while True:
            tries += 1
            signed_for = self._door
            try:
                status, fields, data = self._once(method, path, body, signer, timeout_s, holder or Holder())
            except (OSError, http.client.HTTPException) as error:
                given_up = holder is not None and holder.given_up
                if again and tries < _TRIES and not given_up and not isinstance(error, ssl.SSLError):
                    time.sleep(0.05 * 4**tries)
                    continue
                raise _lost(self.address, error) from error
            self._door = fields.get(DOOR) or self._door
            # It has begun anew since this was signed, or was not known yet: it says its name, to be signed for.
            if status == 401 and signer is not None and self._door != signed_for and tries < _TRIES:
                continue
            if status == 429 and tries < _TRIES and not (holder is not None and holder.given_up):
                time.sleep(_pause_s(fields.get("Retry-After"), tries))
                continue
            return Answer(status, _read(data))

    def open_stream(self, path: str, signer: Signer, timeout_s: float) -> Streamed:
        """The answer to a request that goes on being answered. Unreachable."""
        tries = 0
        while True:
            tries += 1
            signed_for, line = self._door, self._connect(timeout_s)
            try:
                line.request("GET", path, headers=self._fields("GET", path, b"", signer))
                answer = line.getresponse()
            except (OSError, http.client.HTTPException) as error:
                line.close()
                raise _lost(self.address, error) from error
            self._door = answer.headers.get(DOOR) or self._door
            if answer.status != 401 or self._door == signed_for or tries == _TRIES:
                return Streamed(line, answer)
            line.close()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for _, line in idle:
            line.close()

    # -- one exchange ------------------------------------------------------------------------------------------

    def _once(
        self, method: str, path: str, body: bytes, signer: Signer | None, timeout_s: float | None, holder: Holder
    ) -> tuple[int, Any, bytes]:  # fmt: skip
        line, kept = self._take(timeout_s), False
        holder.take(line)
        try:
            line.request(method, path, body or None, self._fields(method, path, body, signer))
            answer = line.getresponse()
            data = answer.read(_MAX_BYTES)
            kept = not answer.will_close
        finally:
            holder.take(None)
            if not kept:
                line.close()
        if kept:
            self._give_back(line)
        return answer.status, answer.headers, data

    def _fields(self, method: str, path: str, body: bytes, signer: Signer | None) -> dict[str, str]:
        fields = {"Accept": "application/json, text/event-stream"}
        if method == "POST":
            fields["Content-Type"] = "application/json"
        if signer is None:
            return fields
        stamp = Stamp(int(time.time()), f"{self._door}.{secrets.token_hex(16)}")
        target = f"{self.address}{path}"
        signed = http_signatures.sign(
            signer.key, signer.role, signer.name, method, target, body, stamp, signer.certificate
        )  # fmt: skip
        return {**fields, **signed}

    def _take(self, timeout_s: float | None) -> http.client.HTTPConnection:
        while True:
            with self._lock:
                used_s, line = self._idle.pop() if self._idle else (0.0, None)
            if line is None:
                return self._connect(timeout_s)
            if time.monotonic() - used_s < _STALE_S and line.sock is not None and not _readable(line.sock):
                line.sock.settimeout(timeout_s)
                return line
            line.close()

    def _give_back(self, line: http.client.HTTPConnection) -> None:
        with self._lock:
            if not self._closed:
                self._idle.append((time.monotonic(), line))
                return
        line.close()

    def _connect(self, timeout_s: float | None) -> http.client.HTTPConnection:
        host, port = self._place
        line = (
            http.client.HTTPConnection(host, port, timeout=10)
            if self._context is None
            else http.client.HTTPSConnection(host, port, timeout=10, context=self._context)
        )
        try:
            line.connect()
        except OSError as error:
            raise _lost(self.address, error) from error
        # A tool may take long: that the door is there still is seen by the kernel, not by a deadline.
        line.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 4)):
            if hasattr(socket, option):
                line.sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
        line.sock.settimeout(timeout_s)
        return line


def _context(ca_file: str | os.PathLike[str] | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=None if ca_file is None else os.fspath(ca_file))
    except (OSError, ssl.SSLError) as error:
        raise InputError(
            f"{ca_file} holds no certificates (PEM) to trust", hint="A workspace's lies in its authority.pem."
        ) from error


def _lost(address: str, error: Exception) -> Unreachable:
    if isinstance(error, Unreachable):
        return error
    hint = "Is the door open there? failwell serve --http"
    if isinstance(error, ssl.SSLCertVerificationError):
        hint = f"Trust its authority: ca_file=, or ${CA_FILE}; a workspace's lies in its authority.pem."
    return Unreachable(f"the door at {address} does not answer: {error}", hint=hint)


def _cut(line: http.client.HTTPConnection | None) -> None:
    if line is not None and line.sock is not None:
        with contextlib.suppress(OSError):
            line.sock.shutdown(socket.SHUT_RDWR)


def _readable(sock: socket.socket) -> bool:
    """Whether the door hung up on an idle connection, or says something that nobody asked for."""
    waiting = select.poll()
    waiting.register(sock, select.POLLIN | select.POLLHUP | select.POLLERR)
    return bool(waiting.poll(0))


def _pause_s(said: str | None, tries: int) -> float:
    wanted = float(said) if said is not None and said.isascii() and said.isdigit() else 0.1 * 2**tries
    return min(wanted, _MAX_PAUSE_S)


def _read(data: bytes) -> Any:
    try:
        return json.loads(data) if data else None
    except (ValueError, RecursionError):
        return None
