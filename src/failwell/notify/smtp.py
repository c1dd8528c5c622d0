"""Mail over SMTP (RFC 5321), with STARTTLS (RFC 3207), implicit TLS (RFC 8314) or, to a local relay, neither.

TLS is never given up: a server that does not offer what the settings ask for is an error, and certificates
are checked. One message is one connection with one deadline. When the connection is lost after the text was
sent, nobody knows whether it was taken over: that is a temporary failure, and the next attempt carries the
same Message-ID, by which receivers can tell a repetition. It does not queue, retry or choose recipients.
"""

from __future__ import annotations

import contextlib
import smtplib
import socket
import ssl
import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from failwell.core.errors import InputError
from failwell.core.instants import format_at
from failwell.notify.message import build_message, check_address, clean_line
from failwell.ports.clock import Clock
from failwell.ports.notifier import Mail, NotifyFailed, Receipt

MAX_DETAIL: Final = 200
_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True, kw_only=True)
class SmtpSettings:
    """Where mail goes out. `timeout_s` bounds each step, `deadline_s` all of it but the name lookup.

    Raises InputError for a setting that cannot work, or that would send a password in the clear.
    """

    host: str
    port: int
    sender: str
    security: Literal["starttls", "tls", "none"] = "starttls"
    username: str | None = None
    password_file: Path | None = None
    ca_file: Path | None = None
    answers: str | None = None
    timeout_s: float = 10.0
    deadline_s: float = 30.0

    def __post_init__(self) -> None:
        check_address(self.sender, "smtp sender")
        if self.answers is not None:
            check_address(self.answers, "address for answers")
        if not self.host or not self.host.isascii() or not self.host.isprintable() or " " in self.host:
            raise InputError(f"smtp host: {self.host[:80]!r} is not a host name")
        if not 0 < self.port < 65_536:
            raise InputError(f"smtp port: {self.port} is not a port")
        if self.security not in {"starttls", "tls", "none"}:
            raise InputError(f"smtp security: {self.security!r} is not starttls, tls or none")
        if not 0 < self.timeout_s <= self.deadline_s <= 600:
            raise InputError("smtp: a timeout is above 0 and at most the deadline, which is at most 600 s")
        if (self.username is None) != (self.password_file is None):
            raise InputError("smtp: a username and a password file are given together or not at all")
        if self.username is not None and self.security == "none" and self.host not in _LOOPBACK:
            raise InputError(
                "smtp: the password would cross the network in the clear",
                hint='Set security = "starttls" or "tls".',
            )


class SmtpNotifier:
    """Sends one mail at a time. `read_secret` reads the password file if only its owner can."""

    def __init__(self, settings: SmtpSettings, clock: Clock, read_secret: Callable[[Path], bytes]) -> None:
        self._settings = settings
        self._clock = clock
        self._read_secret = read_secret

    def send(self, mail: Mail) -> Receipt:
        """Hand the mail to the server; the receipt quotes its answer.

        Raises NotifyFailed (temporary: no answer, 4xx, connection lost; else 5xx, TLS or password refused)
        and InputError for a malformed mail or an unreadable password file.
        """
        settings = self._settings
        message = build_message(mail, settings.sender, self._clock.wall_us(), settings.answers)
        password = self._password()
        with _failures(settings), self._session() as client:
            self._secure(client, password)
            # Where what cannot be delivered is returned to (RFC 5321 4.4).
            _expect(client.mail(settings.answers or settings.sender), "sender")
            _expect(client.rcpt(mail.to), "recipient")
            code, reply = client.data(message.as_bytes())
            _expect((code, reply), "text")
        return Receipt(accepted=True, detail=_quote(code, reply), at=format_at(self._clock.wall_us()))

    def _password(self) -> str | None:
        if self._settings.password_file is None:
            return None
        try:
            return self._read_secret(self._settings.password_file).decode().rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise InputError(f"{self._settings.password_file} holds no password in UTF-8") from error

    def _secure(self, client: smtplib.SMTP, password: str | None) -> None:
        client.ehlo_or_helo_if_needed()
        if self._settings.security == "starttls":
            client.starttls(context=self._tls())  # raises where it is not offered: no way back to clear text
            client.ehlo_or_helo_if_needed()
        if self._settings.username is not None and password is not None:
            client.login(self._settings.username, password)

    def _tls(self) -> ssl.SSLContext:
        ca_file = self._settings.ca_file
        return ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))

    @contextlib.contextmanager
    def _session(self) -> Generator[smtplib.SMTP]:
        settings = self._settings
        # The name given in EHLO: asking the machine for its own would be a name lookup without a deadline.
        own = settings.sender.rpartition("@")[2]
        client = _Client(own, settings.timeout_s, self._tls() if settings.security == "tls" else None)
        # Attack: a server that sends one byte within each timeout would hold the page for ever.
        alarm = threading.Timer(settings.deadline_s, client.hang_up)
        alarm.daemon = True
        alarm.start()
        try:
            code, reply = client.connect(settings.host, settings.port)
            if code != 220:
                raise smtplib.SMTPConnectError(code, reply)
            yield client
            with contextlib.suppress(smtplib.SMTPException, OSError):
                client.quit()  # the message is taken over already: a failing goodbye changes nothing
        finally:
            alarm.cancel()
            client.close()
            client.forget_line()


class _Client(smtplib.SMTP):
    """An SMTP client that another thread can hang up at any moment, in the middle of a TLS handshake too.

    Wrapping a socket into TLS detaches the one before, so the line is held by a duplicate of its own.
    """

    def __init__(self, own_name: str, timeout_s: float, tls: ssl.SSLContext | None) -> None:
        self._line: socket.socket | None = None
        self._implicit_tls = tls
        super().__init__(local_hostname=own_name, timeout=timeout_s)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        plain = socket.create_connection((host, port), timeout)
        self._line = plain.dup()
        self._host = host  # what `starttls` checks the certificate against
        if self._implicit_tls is None:
            return plain
        try:
            return self._implicit_tls.wrap_socket(plain, server_hostname=host)
        except BaseException:
            plain.close()
            raise

    def hang_up(self) -> None:
        if self._line is not None:
            with contextlib.suppress(OSError):
                self._line.shutdown(socket.SHUT_RDWR)

    def forget_line(self) -> None:
        if self._line is not None:
            self._line.close()


@contextlib.contextmanager
def _failures(settings: SmtpSettings) -> Generator[None]:
    where = f"{settings.host}:{settings.port}"
    try:
        yield
    except smtplib.SMTPNotSupportedError as error:
        raise NotifyFailed(
            f"mail server {where}: {clean_line(str(error), MAX_DETAIL)}",
            temporary=False,
            hint="The server does not offer what the settings ask for; nothing was sent in the clear.",
        ) from error
    except smtplib.SMTPResponseException as error:
        detail = _quote(error.smtp_code, error.smtp_error)
        temporary = error.smtp_code == -1 or 400 <= error.smtp_code < 500
        raise NotifyFailed(f"mail server {where} refused: {detail}", temporary=temporary) from error
    except ssl.SSLCertVerificationError as error:
        raise NotifyFailed(
            f"mail server {where}: its certificate is not trusted ({error.verify_message})",
            temporary=False,
            hint="Set ca_file to the authority that issued it, or correct the host.",
        ) from error
    except (smtplib.SMTPException, OSError) as error:
        reason = clean_line(str(error) or type(error).__name__, MAX_DETAIL)
        raise NotifyFailed(f"mail server {where} did not take the message: {reason}", temporary=True) from error


def _expect(answer: tuple[int, bytes], step: str) -> None:
    code, reply = answer
    if code not in {250, 251}:
        raise smtplib.SMTPResponseException(code, f"{step}: {_text(reply)}")


def _quote(code: int, reply: bytes | str) -> str:
    return clean_line(f"{code} {_text(reply)}", MAX_DETAIL)


def _text(reply: bytes | str) -> str:
    return reply if isinstance(reply, str) else reply.decode("ascii", "replace")
