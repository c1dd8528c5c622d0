"""A real SMTP server on the loopback that keeps what it accepts, and can be down."""

from __future__ import annotations

import contextlib
import email
import socket
from email.message import Message
from typing import Any

from aiosmtpd.controller import Controller


class Sink:
    """Mails in the order in which they were accepted. `start` and `stop` keep the port."""

    def __init__(self) -> None:
        with contextlib.closing(socket.socket()) as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.mails: list[Message] = []
        self._controller: Controller | None = None

    @property
    def settings(self) -> str:
        return (
            "[node]\nidle_s = 0\n[mail]\n"
            f'host = "127.0.0.1"\nport = {self.port}\nsender = "failwell@example.org"\nsecurity = "none"\n'
        )

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.mails.append(email.message_from_bytes(envelope.content))
        return "250 kept"

    def start(self) -> None:
        self._controller = Controller(self, hostname="127.0.0.1", port=self.port)
        self._controller.start()

    def stop(self) -> None:
        if self._controller is not None:
            self._controller.stop()
            self._controller = None

    def ids(self) -> list[str]:
        return [str(mail["Message-ID"]) for mail in self.mails]

    def texts(self) -> list[str]:
        return [plain(mail) for mail in self.mails]


def plain(mail: Message) -> str:
    """The plain text of a mail, which stands before the same as HTML."""
    part = next(each for each in mail.walk() if each.get_content_type() == "text/plain")
    content = part.get_payload(decode=True)
    assert isinstance(content, bytes)
    return content.decode().replace("\r\n", "\n")
