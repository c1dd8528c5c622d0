"""A source behind an address: whose certificate it must show, and how a question to it is given up."""

from __future__ import annotations

import datetime
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from failwell.ports.sources import Reply
from failwell.sources.http import HttpSource

SECOND_US = 1_000_000
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n4990"


def certificate(path: Path, host: str) -> Path:
    """A self-signed certificate for an address, with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "source")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(secret + made.public_bytes(serialization.Encoding.PEM))
    return path


class Server:
    """Answers every question with `says`, over TLS where it has a certificate; silent where it has nothing to say."""

    def __init__(self, says: bytes, cert: Path | None = None) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.heard: list[bytes] = []
        self._says = says
        self._context = None
        if cert is not None:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(cert)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                caller, _ = self._listener.accept()
                with self._context.wrap_socket(caller, server_side=True) if self._context else caller as talk:
                    talk.settimeout(20)
                    heard = talk.recv(65536)
                    while b"\r\n\r\n" in heard and not heard.endswith(b"}"):
                        heard += talk.recv(65536)
                    self.heard.append(heard)
                    if self._says:
                        talk.sendall(self._says)
                    else:
                        talk.recv(1)
            except OSError:
                if self._listener.fileno() < 0:
                    return

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def servers() -> Iterator[list[Server]]:
    made: list[Server] = []
    yield made
    for server in made:
        server.close()


def ask(url: str, **more: str) -> Reply:
    return HttpSource(url, ca_file=more.get("ca_file")).asking(b'{"order_id":"A-1"}', 5 * SECOND_US).run()


def test_what_is_sent_is_the_arguments_and_nothing_of_the_environment(
    servers: list[Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack: a proxy in the environment, that would see and answer every question."""
    servers += [Server(ANSWER), Server(ANSWER)]
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{servers[1].port}")
    reply = ask(f"http://127.0.0.1:{servers[0].port}/paid?shop=1")
    assert (reply.state, reply.text) == ("answered", b"4990")
    assert servers[1].heard == []
    head, _, sent = servers[0].heard[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /paid?shop=1 HTTP/1.1\r\n")
    assert sent == b'{"order_id":"A-1"}'


def test_over_tls_only_whom_the_named_file_vouches_for_is_believed(servers: list[Server], tmp_path: Path) -> None:
    own, other = certificate(tmp_path / "own.pem", "127.0.0.1"), certificate(tmp_path / "other.pem", "127.0.0.1")
    elsewhere = certificate(tmp_path / "elsewhere.pem", "127.0.0.2")
    servers += [Server(ANSWER, own), Server(ANSWER, elsewhere)]
    url = f"https://127.0.0.1:{servers[0].port}/"
    assert ask(url, ca_file=str(own)).state == "answered"
    for refused in (ask(url, ca_file=str(other)), ask(url)):
        assert (refused.state, refused.detail) == ("failed", "its certificate does not verify")
    assert ask(f"https://127.0.0.1:{servers[1].port}/", ca_file=str(elsewhere)).state == "failed"
    assert ask(url, ca_file=str(tmp_path / "absent.pem")).state == "failed"


@pytest.mark.parametrize("secure", [False, True])
def test_a_question_that_is_given_up_ends_at_once_whatever_the_other_side_does(
    servers: list[Server], tmp_path: Path, secure: bool
) -> None:
    cert = certificate(tmp_path / "own.pem", "127.0.0.1") if secure else None
    servers.append(Server(b"", cert))
    url = f"http{'s' if secure else ''}://127.0.0.1:{servers[0].port}/"
    asking = HttpSource(url, ca_file=None if cert is None else str(cert)).asking(b"{}", 30 * SECOND_US)
    replies: list[Reply] = []
    thread = threading.Thread(target=lambda: replies.append(asking.run()))
    thread.start()
    while not servers[0].heard:
        time.sleep(0.005)
    asking.stop()
    thread.join(5)
    assert [reply.state for reply in replies] == ["late"]
    asking.stop()


def test_one_that_is_given_up_before_it_was_put_is_never_put(servers: list[Server]) -> None:
    servers.append(Server(ANSWER))
    asking = HttpSource(f"http://127.0.0.1:{servers[0].port}/").asking(b"{}", SECOND_US)
    asking.stop()
    assert asking.run().state == "late"
    assert b"".join(servers[0].heard) == b"", "it may have been called, and was told nothing"


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    reply = ask(f"http://127.0.0.1:{port}/")
    assert (reply.state, reply.detail) == ("failed", "Connection refused")
