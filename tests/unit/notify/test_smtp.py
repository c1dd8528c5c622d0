"""Mail through real sinks on the loopback: what is accepted, what may be tried again, and TLS."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import socket
import ssl
import threading
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from email import message_from_bytes
from email.policy import default
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from failwell.core.errors import InputError
from failwell.identity import keys
from failwell.notify.smtp import SmtpNotifier, SmtpSettings
from failwell.ports.notifier import Mail, Notifier, NotifyFailed

NOW_US = 1_795_410_000_000_000
MAIL = Mail(
    to="ann@shop.example",
    subject="[Failwell] refund-bot suspended",
    text="It is stopped.\nZürich — done.\n",
    message_id="<incident-1.page-1@failwell.example>",
)


class FixedClock:
    def boot(self) -> str:
        return "0" * 32

    def mono_us(self) -> int:
        return 0

    def wall_us(self) -> int:
        return NOW_US


@dataclass
class Sink:
    """A mail server's other side: keeps what it accepts, answers as told, remembers how it was reached."""

    answers: dict[str, str] = field(default_factory=dict)
    accepted: list[Envelope] = field(default_factory=list)
    tls: list[bool] = field(default_factory=list)
    logins: list[tuple[bytes, bytes]] = field(default_factory=list)

    async def handle_RCPT(
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        answer = self.answers.get("RCPT", "250 OK")
        if answer.startswith("250"):
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(self, _server: SMTP, session: Session, envelope: Envelope) -> str:
        answer = self.answers.get("DATA", "250 2.0.0 queued as 4711")
        if answer.startswith("250"):
            self.accepted.append(envelope)
            self.tls.append(session.ssl is not None)
        return answer

    def authenticate(
        self, _server: SMTP, _session: Session, _envelope: Envelope, mechanism: str, data: Any
    ) -> AuthResult:
        assert mechanism in {"LOGIN", "PLAIN"}
        assert isinstance(data, LoginPassword)
        self.logins.append((data.login, data.password))
        return AuthResult(success=data.password == b"s3cret words", handled=False)


def content(envelope: Envelope) -> bytes:
    assert isinstance(envelope.content, bytes)
    return envelope.content


def notifier(number: int, **changes: Any) -> Notifier:
    fields: dict[str, Any] = {
        "host": "127.0.0.1",
        "port": number,
        "sender": "failwell@shop.example",
        "security": "none",
        "timeout_s": 10.0,
        "deadline_s": 20.0,
    }
    return SmtpNotifier(SmtpSettings(**{**fields, **changes}), FixedClock(), keys.read_private)


class FreePort(Controller):
    """Listens on a port of the system's choice; its trial connection speaks no TLS."""

    def _trigger_server(self) -> None:
        assert isinstance(self.server, asyncio.Server)
        self.port = self.server.sockets[0].getsockname()[1]
        with socket.create_connection((self.hostname, self.port), timeout=5):
            pass


@contextlib.contextmanager
def serving(sink: Sink, **options: Any) -> Generator[int]:
    controller = FreePort(sink, hostname="127.0.0.1", port=0, **options)
    controller.start()
    try:
        yield controller.port
    finally:
        controller.stop()


@contextlib.contextmanager
def talking(conversation: Callable[[socket.socket], None]) -> Generator[int]:
    """A server that speaks bytes of its own to the first caller."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                line, _ = server.accept()
                with line:
                    conversation(line)

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
    thread.join(timeout=30)
    assert not thread.is_alive()


@dataclass(frozen=True)
class Authority:
    ca_file: Path
    context: ssl.SSLContext


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """A certificate for localhost that its own file vouches for."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    directory = tmp_path_factory.mktemp("tls")
    pem, key_file = directory / "ca.pem", directory / "key.pem"
    pem.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, key_file)
    return Authority(pem, context)


@pytest.fixture
def sink() -> Sink:
    return Sink()


@pytest.fixture
def port(sink: Sink) -> Iterator[int]:
    with serving(sink) as number:
        yield number


def test_a_mail_arrives_and_the_receipt_quotes_the_server(sink: Sink, port: int) -> None:
    receipt = notifier(port).send(MAIL)
    assert receipt.accepted
    assert receipt.detail == "250 2.0.0 queued as 4711"
    assert receipt.at == "2026-11-23T05:00:00.000000Z"
    (envelope,) = sink.accepted
    assert envelope.mail_from == "failwell@shop.example"
    assert envelope.rcpt_tos == ["ann@shop.example"]
    got = message_from_bytes(content(envelope), policy=default)
    assert got["Message-ID"] == MAIL.message_id
    text = got.get_body(("plain",))
    assert text is not None
    assert text.get_content().replace("\r\n", "\n") == MAIL.text


def test_with_an_inbox_answers_and_what_comes_back_go_there(sink: Sink, port: int) -> None:
    notifier(port, answers="answers@shop.example").send(MAIL)
    (envelope,) = sink.accepted
    assert envelope.mail_from == "answers@shop.example"
    got = message_from_bytes(content(envelope), policy=default)
    assert (got["From"], got["Reply-To"]) == ("failwell@shop.example", "answers@shop.example")


def test_every_attempt_carries_the_same_message_id(sink: Sink, port: int) -> None:
    notifier(port).send(MAIL)
    notifier(port).send(MAIL)
    ids = {message_from_bytes(content(one))["Message-ID"] for one in sink.accepted}
    assert len(sink.accepted) == 2
    assert ids == {MAIL.message_id}


@pytest.mark.parametrize("step", ["RCPT", "DATA"])
@pytest.mark.parametrize(
    ("answer", "temporary"),
    [("451 greylisted, come back", True), ("550 no such person", False), ("552 too large", False)],
)
def test_a_refusal_says_whether_trying_again_can_help(
    sink: Sink, port: int, step: str, answer: str, temporary: bool
) -> None:
    sink.answers[step] = answer
    with pytest.raises(NotifyFailed) as caught:
        notifier(port).send(MAIL)
    assert caught.value.temporary is temporary
    assert answer[4:] in caught.value.message
    assert sink.accepted == []


def test_nobody_listening_is_temporary() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        free = server.getsockname()[1]
    with pytest.raises(NotifyFailed, match="did not take the message") as caught:
        notifier(free).send(MAIL)
    assert caught.value.temporary


def test_a_server_that_hangs_up_after_the_text_is_temporary_since_nobody_knows() -> None:
    def conversation(line: socket.socket) -> None:
        stream = line.makefile("rb")
        line.sendall(b"220 sink\r\n")
        for raw in stream:
            if raw.lower().startswith(b"data"):
                line.sendall(b"354 go on\r\n")
            elif raw == b".\r\n":
                line.shutdown(socket.SHUT_RDWR)
                return
            elif raw[:4].lower() in {b"ehlo", b"helo", b"mail", b"rcpt"}:
                line.sendall(b"250 OK\r\n")

    with talking(conversation) as number, pytest.raises(NotifyFailed) as caught:
        notifier(number).send(MAIL)
    assert caught.value.temporary


def test_a_server_that_turns_callers_away_at_the_door_is_a_refusal() -> None:
    with (
        talking(lambda line: line.sendall(b"554 not you\r\n")) as number,
        pytest.raises(NotifyFailed) as caught,
    ):
        notifier(number).send(MAIL)
    assert not caught.value.temporary
    assert "554 not you" in caught.value.message


def test_a_server_that_drips_bytes_cannot_hold_the_page_for_ever() -> None:
    stop = threading.Event()

    def conversation(line: socket.socket) -> None:
        line.sendall(b"220-")
        while not stop.wait(0.05):
            line.sendall(b"x\r\n220-")

    with talking(conversation) as number:
        began = time.monotonic()
        with pytest.raises(NotifyFailed) as caught:
            notifier(number, timeout_s=1.0, deadline_s=1.0).send(MAIL)
        stop.set()
    assert caught.value.temporary
    assert time.monotonic() - began < 20


def test_a_server_that_drips_a_tls_handshake_cannot_hold_the_page_either(authority: Authority) -> None:
    stop = threading.Event()

    def conversation(line: socket.socket) -> None:
        line.sendall(b"\x16\x03\x03\x3f\xff")  # the head of one long handshake record, its body byte by byte
        while not stop.wait(0.05):
            line.sendall(b"\x00")

    with talking(conversation) as number:
        began = time.monotonic()
        with pytest.raises(NotifyFailed) as caught:
            notifier(number, security="tls", ca_file=authority.ca_file, timeout_s=1.0, deadline_s=1.0).send(MAIL)
        stop.set()
    assert caught.value.temporary
    assert time.monotonic() - began < 20


def test_answers_of_the_server_stay_one_short_line() -> None:
    def conversation(line: socket.socket) -> None:
        line.sendall(b"554 \x1b[2J\xff" + b"y" * 500 + b"\r\n")

    with talking(conversation) as number, pytest.raises(NotifyFailed) as caught:
        notifier(number).send(MAIL)
    assert caught.value.message.replace("\ufffd", "").isprintable()
    assert len(caught.value.message) < 300


def test_agent_text_never_becomes_a_second_recipient(sink: Sink, port: int) -> None:
    notifier(port).send(
        Mail(
            to=MAIL.to,
            subject="x\r\nBcc: eve@evil.example",
            text="\r\n.\r\nMAIL FROM:<eve@evil.example>\r\nRCPT TO:<eve@evil.example>\r\n",
            message_id=MAIL.message_id,
        )
    )
    (envelope,) = sink.accepted
    assert envelope.rcpt_tos == [MAIL.to]
    assert message_from_bytes(content(envelope))["Bcc"] is None


# ---- TLS and passwords -----------------------------------------------------------------------------------


def test_starttls_is_used_and_the_password_goes_only_behind_it(
    sink: Sink, authority: Authority, tmp_path: Path
) -> None:
    keys.write_private(tmp_path / "k" / "smtp", b"s3cret words\n")
    with serving(
        sink,
        tls_context=authority.context,
        require_starttls=True,
        auth_required=True,
        authenticator=sink.authenticate,
    ) as number:
        notifier(
            number,
            host="localhost",
            security="starttls",
            ca_file=authority.ca_file,
            username="failwell",
            password_file=tmp_path / "k" / "smtp",
        ).send(MAIL)
    assert sink.tls == [True]
    assert sink.logins == [(b"failwell", b"s3cret words")]


def test_a_wrong_password_is_not_tried_for_ever(sink: Sink, authority: Authority, tmp_path: Path) -> None:
    keys.write_private(tmp_path / "k" / "smtp", b"wrong")
    options = {"tls_context": authority.context, "auth_required": True, "authenticator": sink.authenticate}
    with serving(sink, **options) as number, pytest.raises(NotifyFailed) as caught:
        notifier(
            number,
            host="localhost",
            security="starttls",
            ca_file=authority.ca_file,
            username="failwell",
            password_file=tmp_path / "k" / "smtp",
        ).send(MAIL)
    assert not caught.value.temporary
    assert "wrong" not in caught.value.message
    assert sink.accepted == []


def test_a_server_stripped_of_starttls_gets_nothing(sink: Sink, port: int) -> None:
    with pytest.raises(NotifyFailed, match="STARTTLS") as caught:
        notifier(port, security="starttls").send(MAIL)
    assert not caught.value.temporary
    assert sink.accepted == []


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_certificate_nobody_vouches_for_gets_nothing(sink: Sink, authority: Authority, security: str) -> None:
    options = {"ssl_context" if security == "tls" else "tls_context": authority.context}
    with serving(sink, **options) as number, pytest.raises(NotifyFailed, match="not trusted") as caught:
        notifier(number, host="localhost", security=security).send(MAIL)
    assert not caught.value.temporary
    assert sink.accepted == []


def test_a_certificate_for_another_name_gets_nothing(sink: Sink, authority: Authority) -> None:
    with (
        serving(sink, tls_context=authority.context) as number,
        pytest.raises(NotifyFailed, match="not trusted"),
    ):
        notifier(number, host="127.0.0.1", security="starttls", ca_file=authority.ca_file).send(MAIL)
    assert sink.accepted == []


def test_implicit_tls_is_spoken_from_the_first_byte(sink: Sink, authority: Authority) -> None:
    with serving(sink, ssl_context=authority.context) as number:
        notifier(number, host="localhost", security="tls", ca_file=authority.ca_file).send(MAIL)
    assert len(sink.accepted) == 1


def test_a_password_file_that_others_can_read_is_not_used(sink: Sink, port: int, tmp_path: Path) -> None:
    path = tmp_path / "k" / "smtp"
    keys.write_private(path, b"s3cret words")
    path.chmod(0o644)
    with pytest.raises(InputError, match="0644"):
        notifier(port, username="failwell", password_file=path).send(MAIL)
    assert sink.accepted == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"host": "mail.example", "username": "u", "password_file": Path("/p")}, "in the clear"),
        ({"username": "u"}, "together"),
        ({"password_file": Path("/p")}, "together"),
        ({"host": ""}, "host"),
        ({"host": "a b"}, "host"),
        ({"host": "x\r\n"}, "host"),
        ({"port": 0}, "port"),
        ({"port": 70000}, "port"),
        ({"sender": "failwell"}, "sender"),
        ({"security": "ssl"}, "security"),
        ({"timeout_s": 0.0}, "timeout"),
        ({"timeout_s": 50.0}, "timeout"),
        ({"deadline_s": 10_000.0}, "timeout"),
    ],
)
def test_settings_that_cannot_be_safe_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        notifier(25, **changes)
