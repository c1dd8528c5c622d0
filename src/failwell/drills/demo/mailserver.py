"""The mail server: `python -m failwell.drills.demo.mailserver DIRECTORY`, in a process of its own, on loopback.

Real SMTP (RFC 5321, by aiosmtpd). Mail to customers becomes one JSON line in the log of the account that sent it,
written before the mail is confirmed; all other mail is kept whole, as the mailboxes of the people would keep it.
It prints its port, and ends when its standard input does, so that it never outlives who started it.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from failwell.core.instants import format_at
from failwell.drills.demo import story

MAX_MAIL_BYTES = 1_048_576


def _now() -> str:
    return format_at(time.time_ns() // 1000)


class Mailroom:
    """What is done with mail that came in whole (the handler of aiosmtpd)."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._kept = 0
        self._accounts = {account for account, _ in story.MAIL_LOGS.values()}

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 (aiosmtpd's name)
        """Log or keep one mail; the answer is the SMTP reply."""
        for recipient in envelope.rcpt_tos:
            customer, _, domain = str(recipient).partition("@")
            if domain == story.CUSTOMER_DOMAIN:
                account = str(envelope.mail_from).partition("@")[0]
                if account not in self._accounts:
                    return "550 5.7.1 no such account"
                self._log(account, customer, envelope.content, server.started_at)
            else:
                self._keep(envelope.content)
        return "250 2.0.0 taken"

    def _log(self, account: str, customer: str, content: bytes, started_at: str) -> None:
        mail = message_from_bytes(content, _class=EmailMessage, policy=policy.default)
        line = {
            "at": started_at,
            "taken_at": _now(),
            "id": mail.get(story.NOTICE_HEADER),
            "customer": customer,
            "failwell_action": mail.get(story.ACTION_HEADER),
        }
        with open(self._directory / f"{account}.jsonl", "ab") as log:
            log.write(json.dumps(line).encode() + b"\n")

    def _keep(self, content: bytes) -> None:
        self._kept += 1
        path = self._directory / f"kept-{self._kept}.eml"
        part = path.with_suffix(".part")
        part.write_bytes(content)
        part.rename(path)  # whoever waits for the mail never sees half of it


async def serve(directory: Path) -> None:
    """Serve until standard input ends or SIGTERM."""
    from aiosmtpd.smtp import SMTP

    class Server(SMTP):
        started_at = ""

        async def smtp_DATA(self, arg: str) -> None:  # noqa: N802 (aiosmtpd's name)
            # The instant of a mail is when its sender was last known to live: it waits for our "354" to go on. A
            # mail that was under way when its sender was killed is taken in a moment after that.
            self.started_at = _now()
            await super().smtp_DATA(arg)

    handler = Mailroom(directory)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Server(handler, hostname="mail.shop.example", data_size_limit=MAX_MAIL_BYTES), "127.0.0.1", 0
    )
    over = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, over.set)
    loop.add_reader(0, lambda: None if os.read(0, 4096) else over.set())
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)  # noqa: T201
    await over.wait()
    loop.remove_reader(0)
    server.close()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
