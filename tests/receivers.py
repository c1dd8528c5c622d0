"""Real HTTP receivers on loopback that behave as badly as those out there: slow, hanging, lying, redirecting, failing.

`Receiver(behave)` listens on a port of its own; `behave` says how the next request is answered and may change at any
time. What was received stands in `received`. TLS with an authority of its own: `authority(directory)`.
"""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Behave = Callable[["Handler"], None]


@dataclass
class Received:
    """One request as it came."""

    path: str
    headers: dict[str, str]
    body: bytes
    method: str = "POST"
    at_s: float = field(default_factory=time.monotonic)

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Handler(BaseHTTPRequestHandler):
    """Reads the request, then does what its receiver says."""

    server: Any
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        length = int(self.headers.get("content-length", "0"))
        body = self.rfile.read(length)
        self.server.owner.received.append(
            Received(self.path, {name.lower(): value for name, value in self.headers.items()}, body, self.command)
        )
        with contextlib.suppress(OSError):
            self.server.owner.behave(self)

    do_GET = do_PATCH = do_POST  # noqa: N815  the library calls it so

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: what came is in `received`."""

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("content-length", str(len(body)))
        self.send_header("connection", "close")
        self.end_headers()
        self.wfile.write(body)


def fine(handler: Handler) -> None:
    handler.answer(200, b"ok")


def status(code: int, body: bytes = b"no", **headers: str) -> Behave:
    return lambda handler: handler.answer(code, body, **headers)


def echo(code: int) -> Behave:
    """Say back what came, as services do that explain what they did not like."""

    def behave(handler: Handler) -> None:
        came = handler.server.owner.received[-1]
        handler.answer(code, json.dumps({"path": came.path, "body": came.body.decode()}).encode())

    return behave


def pagerduty(handler: Handler) -> None:
    """As the Events API answers."""
    event = json.loads(handler.server.owner.received[-1].body)
    told = {"status": "success", "message": "Event processed", "dedup_key": event["dedup_key"]}
    handler.answer(202, json.dumps(told).encode())


def drip(pause_s: float = 0.2, pieces: int = 1000) -> Behave:
    """One byte at a time, each before any timeout of a single read."""

    def behave(handler: Handler) -> None:
        for byte in b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n" + b"." * pieces:
            handler.wfile.write(bytes([byte]))
            handler.wfile.flush()
            if handler.server.owner.over.wait(pause_s):
                return

    return behave


def hang(handler: Handler) -> None:
    """Take it and say nothing."""
    handler.server.owner.over.wait(60)


def cut(handler: Handler) -> None:
    """Take it and hang up without a word."""
    handler.connection.shutdown(socket.SHUT_RDWR)


class Receiver:
    """Listens until `close`."""

    def __init__(self, behave: Behave = fine, *, tls: ssl.SSLContext | None = None) -> None:
        self.behave = behave
        self.received: list[Received] = []
        self.over = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.owner = self  # type: ignore[attr-defined]
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a refused handshake is a test's aim
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def close(self) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextlib.contextmanager
def receiving(behave: Behave = fine, *, tls: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    receiver = Receiver(behave, tls=tls)
    try:
        yield receiver
    finally:
        receiver.close()


@contextlib.contextmanager
def mumbling(first: bytes = b"", pause_s: float = 0.1) -> Iterator[int]:
    """The port of a listener that takes connections, says `first` and then one zero byte at a time for ever."""
    over = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))

    def talk(line: socket.socket) -> None:
        with contextlib.suppress(OSError), line:
            line.sendall(first)
            while not over.wait(pause_s):
                line.sendall(b"\0")

    def take() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=talk, args=(listener.accept()[0],), daemon=True).start()

    taking = threading.Thread(target=take, daemon=True)
    taking.start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        over.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        taking.join()


def authority(directory: Path, name: str = "hooks.example") -> tuple[ssl.SSLContext, Path]:
    """A server's TLS for `name` and 127.0.0.1, and the file of the authority that issued it."""
    now = datetime.now(UTC)
    key, ca_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
    ca = (
        _built(ca_name, ca_name, ca_key.public_key(), now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    own_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    names = x509.SubjectAlternativeName([x509.DNSName(name), x509.IPAddress(ip_address("127.0.0.1"))])
    own = _built(own_name, ca_name, key.public_key(), now).add_extension(names, critical=False)
    (directory / "ca.pem").write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    (directory / "own.pem").write_bytes(
        own.sign(ca_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "own.pem")
    return context, directory / "ca.pem"


def _built(name: x509.Name, issuer: x509.Name, key: Any, now: datetime) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
    )
