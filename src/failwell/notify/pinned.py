"""One question to an address that was checked: the address that is spoken to is the one that was looked at.

Attack: a name that leads to a public address when it is checked and to 169.254.169.254 when it is connected to; a
server that redirects there; a proxy that the environment names; a server that sends one byte a second for ever. So
the name is looked up once, every address that it has is judged, one of those is connected to, the certificate is
checked for the name, no redirect is followed, no proxy asked, and one deadline bounds all of it, the lookup included.
"""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from failwell.notify.message import clean_line
from failwell.ports.addresses import Address, parse_address
from failwell.ports.notifier import NotifyFailed

MAX_ANSWER_BYTES: Final = 65_536
MAX_DETAIL: Final = 200
_TEMPORARY: Final = frozenset({408, 421, 425, 429})
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
#: Not public whatever the library of this Python says: what clouds tell their machines (Azure, Oracle), the site-local
#: addresses of old, documentation, and relays that lead anywhere.
_NEVER: Final = tuple(
    ipaddress.ip_network(text)
    for text in ("168.63.129.16/32", "192.0.0.0/24", "192.88.99.0/24", "fec0::/10", "3fff::/20")
)
#: A provider that asks for more is asked again all the same: the page is not its to put off.
MAX_RETRY_AFTER_S: Final = 300
_MAX_SAID: Final = 4096
_RUN: Final = re.compile(r"[A-Za-z0-9_-]{8,}")
_TELLING: Final = re.compile(r"[0-9]|[a-z][A-Z]|^[A-Z_-]+$")

Ip = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
#: (host, port) -> its addresses, as text. OSError where there are none.
Resolve = Callable[[str, int], tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the other side said; header names in small letters, at most MAX_ANSWER_BYTES of its body. `sent` is what it
    was told, secrets included.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    sent: str = ""

    def said(self) -> str:
        """Status and body in one line, as the record may have it.

        Attack: a receiver that repeats what it was sent, so that a key, or the link that answers a page, comes to
        stand in an entry that others may read.
        """
        text = self.body[:_MAX_SAID].decode("utf-8", "replace")
        for run in sorted(set(_RUN.findall(self.sent)), key=len, reverse=True):
            if _TELLING.search(run) and run in text:
                text = text.replace(run, "...")
        return clean_line(f"{self.status} {text}", MAX_DETAIL)

    def retry_after_s(self) -> int | None:
        """How long the other side wants to be left alone, as far as we let it."""
        text = self.headers.get("retry-after", "").strip()
        return min(int(text), MAX_RETRY_AFTER_S) if re.fullmatch("[0-9]{1,9}", text) else None


def look_up(host: str, port: int) -> tuple[str, ...]:
    """Every address of a name."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(each[4][0]) for each in found))


class Endpoint:
    """Where a channel posts to. `allow` are private networks that it may be in all the same.

    Raises InputError for a URL that is none, or is plain HTTP to another machine.
    """

    def __init__(
        self, url: str, *, allow: tuple[Network, ...] = (), ca_file: Path | None = None, deadline_s: float = 10.0,
        resolve: Resolve = look_up,
    ) -> None:  # fmt: skip
        self._address: Address = parse_address(url, allow_remote=True)
        self._allow = allow
        self._ca_file = ca_file
        self._deadline_s = deadline_s
        self._resolve = resolve

    @property
    def where(self) -> str:
        """The other side, as people and the record may read it: the path can be a secret."""
        return f"{self._address.host}:{self._address.port}"

    def post(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Post once. NotifyFailed where nothing was answered, or the address must not be spoken to."""
        return self.ask("POST", body, headers)

    def ask(self, method: str, body: bytes, headers: Mapping[str, str], *, under: str = "") -> Answer:
        """The same by another method, and of a page `under` the address. The same errors."""
        ends_s = time.monotonic() + self._deadline_s
        path = self._address.path.rstrip("/") + under if under else self._address.path
        with _failures(self.where):
            addresses = self._checked(self._addresses(ends_s))
            return self._spoken(addresses, (method, path), body, headers, ends_s)

    def _addresses(self, ends_s: float) -> tuple[str, ...]:
        """The addresses of the name, by the deadline: the system's own lookup has none."""
        found: list[Any] = []

        def ask() -> None:
            try:
                found.append(self._resolve(self._address.host, self._address.port))
            except (OSError, UnicodeError) as error:
                found.append(error)

        asking = threading.Thread(target=ask, name="lookup", daemon=True)
        asking.start()
        asking.join(max(0.0, ends_s - time.monotonic()))
        if not found:
            raise TimeoutError("its name was not looked up in time")
        if isinstance(found[0], BaseException):
            raise found[0]
        addresses: tuple[str, ...] = found[0]
        if not addresses:
            raise OSError("its name has no address")
        return addresses

    def _checked(self, addresses: tuple[str, ...]) -> tuple[str, ...]:
        """The same addresses, if we may speak to every one of them."""
        for text in addresses:
            address = ipaddress.ip_address(text.partition("%")[0])
            if not self._may(address):
                raise NotifyFailed(
                    f"{self.where} is at {address}, which is no public address",
                    temporary=False,
                    hint="Where that is meant, name its network in allow_private.",
                )
        return addresses

    def _may(self, address: Ip) -> bool:
        if any(address in network for network in self._allow if network.version == address.version):
            return True
        return self._address.secure and is_public(address)

    def _spoken(
        self, addresses: tuple[str, ...], asked: tuple[str, str], body: bytes, headers: Mapping[str, str], ends_s: float
    ) -> Answer:
        line = _Line(self._address, addresses, self._tls(), ends_s)
        method, path = asked
        try:
            line.request(method, path, body=body or None, headers={**headers, "Connection": "close"})
            answer = line.getresponse()
            text = answer.read(MAX_ANSWER_BYTES)
            if time.monotonic() >= ends_s:
                # Attack: what the deadline cut off in its header reads like an answer that ended there.
                raise TimeoutError("its time was over before it had answered")
            sent = "\n".join((path, *headers.values(), body.decode("utf-8", "replace")))
            return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, text, sent)
        finally:
            line.let_go()

    def _tls(self) -> ssl.SSLContext | None:
        if not self._address.secure:
            return None
        try:
            return ssl.create_default_context(cafile=None if self._ca_file is None else str(self._ca_file))
        except OSError as error:  # a certificate that is none is an OSError too
            raise NotifyFailed(f"ca_file {self._ca_file} cannot be read: {error}", temporary=False) from error


class _Line(http.client.HTTPConnection):
    """A connection to a checked address, hung up at its deadline from outside, in a TLS handshake too."""

    def __init__(self, address: Address, checked: tuple[str, ...], tls: ssl.SSLContext | None, ends_s: float) -> None:
        if tls is not None:
            self.default_port = http.client.HTTPS_PORT  # so that the Host header names no port where none is needed
        super().__init__(address.host, address.port)
        self._checked = checked
        self._tls = tls
        self._ends_s = ends_s
        self._held: socket.socket | None = None
        self._alarm: threading.Timer | None = None

    def connect(self) -> None:
        plain = self._reached()
        try:
            self._held = plain.dup()  # wrapping into TLS detaches the one before
            self._alarm = threading.Timer(max(0.0, self._ends_s - time.monotonic()), self._hang_up)
            self._alarm.daemon = True
            self._alarm.start()
            self.sock = plain if self._tls is None else self._tls.wrap_socket(plain, server_hostname=self.host)
        except BaseException:
            plain.close()
            raise

    def _reached(self) -> socket.socket:
        """A connection to the first of the addresses that takes it; those before were sent nothing."""
        failed: OSError = TimeoutError("its time was over before it was reached")
        for place, ip in enumerate(self._checked):
            left_s = self._ends_s - time.monotonic()
            if left_s <= 0:
                break
            try:
                made = socket.create_connection((ip, self.port), left_s / (len(self._checked) - place))
            except OSError as error:
                failed = error
                continue
            made.settimeout(max(0.001, self._ends_s - time.monotonic()))
            return made
        raise failed

    def let_go(self) -> None:
        """Close it, and whatever would have hung it up."""
        if self._alarm is not None:
            self._alarm.cancel()
        self.close()
        if self._held is not None:
            self._held.close()

    def _hang_up(self) -> None:
        if self._held is not None:
            with contextlib.suppress(OSError):
                self._held.shutdown(socket.SHUT_RDWR)


def is_public(address: Ip) -> bool:
    """Whether an address is one of the public internet, by every way in which it can be written."""
    if address in _NAT64:  # how a network that speaks the newer protocol alone reaches the older
        return is_public(ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF))
    for inner in (address, *_within(address)):
        if not inner.is_global or inner.is_multicast or inner.is_reserved or inner.is_unspecified:
            return False
        if any(inner in network for network in _NEVER):
            return False
    return True


def _within(address: Ip) -> tuple[Ip, ...]:
    """Addresses of the older protocol inside one of the newer: mapped, 6to4, Teredo."""
    if isinstance(address, ipaddress.IPv4Address):
        return ()
    found: list[Ip] = [each for each in (address.ipv4_mapped, address.sixtofour) if each is not None]
    return (*found, *(address.teredo or ()))


def expect(answer: Answer, where: str, good: Callable[[Answer], bool]) -> str:
    """What the other side said, where that is good; NotifyFailed, temporary or not, where it is not."""
    said = answer.said()
    if good(answer):
        return said
    if 300 <= answer.status < 400:
        raise NotifyFailed(f"{where} sends elsewhere ({answer.status}); redirects are not followed", temporary=False)
    if 200 <= answer.status < 300:  # Attack: whatever stands there says yes to everything
        raise NotifyFailed(f"{where} did not take it as it should: {said}", temporary=True)
    temporary = answer.status >= 500 or answer.status in _TEMPORARY
    after_s = answer.retry_after_s() if temporary else None
    raise NotifyFailed(f"{where} refused: {said}", temporary=temporary, retry_after_s=after_s)


@contextlib.contextmanager
def _failures(where: str) -> Generator[None]:
    try:
        yield
    except ssl.SSLCertVerificationError as error:
        raise NotifyFailed(
            f"{where}: its certificate is not trusted ({error.verify_message})",
            temporary=False,
            hint="Set ca_file to the authority that issued it, or correct the url.",
        ) from error
    except (OSError, UnicodeError, http.client.HTTPException) as error:
        reason = clean_line(str(error) or type(error).__name__, MAX_DETAIL)
        raise NotifyFailed(f"{where} was not reached, or did not answer in time: {reason}", temporary=True) from error
