"""Events as syslog messages (RFC 5424), each an OCSF event in JSON: by TLS (RFC 5425), TCP (RFC 6587), a local socket.

A line counts as taken once the other side has ended the connection after we have: then it has read all of it. UDP is
not spoken, nobody would know what is lost.
"""

from __future__ import annotations

import re
import socket
import ssl
import time
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from failwell.core.errors import InputError
from failwell.core.instants import format_at
from failwell.notify import ocsf
from failwell.notify.message import clean_line
from failwell.ports.clock import Clock
from failwell.ports.notifier import NotifyFailed
from failwell.ports.systems import Happening

#: Facility 13, log audit (RFC 5424 section 6.2.1).
FACILITY: Final = 13
_SEVERITY: Final = {"critical": 2, "major": 3, "minor": 4}
_NOTICE: Final = 5
_PORTS: Final = {"syslog+tls": 6514, "syslog+tcp": 601}
_HOST: Final = re.compile(r"[A-Za-z0-9._:-]{1,253}")


class Place(NamedTuple):
    """Where a syslog server listens: a host by TLS or TCP, or a socket of this machine."""

    host: str
    port: int
    tls: bool
    path: Path | None = None

    @property
    def where(self) -> str:
        """The other side, for people and the record."""
        return str(self.path) if self.path is not None else f"{self.host}:{self.port}"


def parse_place(text: str) -> Place:
    """`syslog+tls://host[:port]`, `syslog+tcp://host[:port]` on this machine, or `syslog:/dev/log`. InputError."""
    if text.startswith("syslog:/") and not text.startswith("syslog://"):
        return Place("", 0, False, Path(text.removeprefix("syslog:")))
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError as error:
        raise InputError(f"{text!r} is no syslog server: {error}") from error
    if parts.scheme not in _PORTS or not _HOST.fullmatch(host) or parts.path or parts.query or parts.username:
        raise InputError(
            f"{text!r} is no syslog server",
            hint="syslog+tls://HOST:6514, syslog+tcp://127.0.0.1:601 or syslog:/dev/log",
        )
    if parts.scheme == "syslog+tcp" and host not in {"localhost", "127.0.0.1", "::1"}:
        raise InputError(f"{host} is another machine and is told by syslog+tls only")
    return Place(host, port, parts.scheme == "syslog+tls")


class Syslog:
    """One connection for each message: an end that the other side has seen is all the answer that syslog has."""

    tickets = False

    def __init__(
        self, place: Place, origin: str, clock: Clock, *, ca_file: Path | None = None, deadline_s: float = 10.0
    ) -> None:
        self._place = place
        self._origin = origin
        self._clock = clock
        self._ca_file = ca_file
        self._deadline_s = deadline_s

    @property
    def provider(self) -> str:
        """Who takes it over."""
        return f"syslog at {self._place.where}"

    def take(self, happening: Happening, theirs: str | None) -> str | None:
        """Send one message. NotifyFailed where it is not known that it was read."""
        severity = _SEVERITY.get(happening.severity, _SEVERITY["major"])
        self._send(message(severity, happening.at_us, happening.kind, ocsf.line_of(ocsf.event_of(happening))))
        return None

    def probe(self) -> str:
        """Send a message that is about no incident."""
        at_us = self._clock.wall_us()
        self._send(message(_NOTICE, at_us, "probe", ocsf.line_of(ocsf.probe_of(self._origin, at_us))))
        return "it took a message and ended the connection"

    def _send(self, text: str) -> None:
        ends_s = time.monotonic() + self._deadline_s
        try:
            if self._place.path is not None:
                _send_here(self._place.path, text.encode("ascii"), self._deadline_s)
            else:
                self._send_there(text.encode("ascii"), ends_s)
        except ssl.SSLCertVerificationError as error:
            raise NotifyFailed(
                f"{self.provider}: its certificate is not trusted ({error.verify_message})", temporary=False,
                hint="Set ca_file to the authority that issued it, or correct to.",
            ) from error  # fmt: skip
        except (OSError, UnicodeError) as error:
            said = clean_line(str(error) or type(error).__name__, 200)
            raise NotifyFailed(f"{self.provider} did not take it: {said}", temporary=True) from error

    def _send_there(self, data: bytes, ends_s: float) -> None:
        plain = socket.create_connection((self._place.host, self._place.port), _left(ends_s))
        line: socket.socket = plain
        try:
            plain.settimeout(_left(ends_s))
            if self._place.tls:
                context = ssl.create_default_context(cafile=None if self._ca_file is None else str(self._ca_file))
                line = context.wrap_socket(plain, server_hostname=self._place.host)
                line.settimeout(_left(ends_s))
            line.sendall(f"{len(data)} ".encode() + data)
            _await_end(line, ends_s)
        finally:
            line.close()


def _await_end(line: socket.socket, ends_s: float) -> None:
    """End our half, and wait until the other side ends its own. OSError where it resets it or is silent."""
    if isinstance(line, ssl.SSLSocket):
        line.settimeout(_left(ends_s))
        try:
            line.unwrap()
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
            pass  # it ended the connection without ending TLS first, as many do
        except ssl.SSLError as error:
            raise OSError(str(error)) from error
        return
    line.shutdown(socket.SHUT_WR)
    while True:
        line.settimeout(_left(ends_s))
        if not line.recv(4096):
            return


def _left(ends_s: float) -> float:
    left_s = ends_s - time.monotonic()
    if left_s <= 0:
        raise TimeoutError("its time was over before it had taken it")
    return left_s


def _send_here(path: Path, data: bytes, deadline_s: float) -> None:
    """By the socket of this machine's own daemon: it took it where the kernel did."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.settimeout(deadline_s)
        line.connect(str(path))
        line.send(data)


def message(severity: int, at_us: int, code: str, text: str) -> str:
    """One message; `code` is its MSGID. `text` is ASCII without line ends."""
    host = re.sub(r"[^!-~]", "-", socket.gethostname())[:255] or "-"
    code = re.sub(r"[^!-~]", "-", code)[:32] or "-"
    return f"<{FACILITY * 8 + severity}>1 {format_at(at_us)} {host} failwell - {code} - {text}"
