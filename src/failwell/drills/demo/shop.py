"""The shop: its own database, and the two tools that its agent is given. Knows nothing of Failwell but one variable.

Each notice is a real mail over SMTP and a row that the tool writes when the mail server has taken it. The rows are
the shop's own record: a witness, whatever the agent says. The bulk send forks a child that does the sending, as
many do, so that stopping the process that was started would stop nothing.
"""

from __future__ import annotations

import json
import os
import smtplib
import sqlite3
import time
import uuid
from contextlib import closing
from email.message import EmailMessage
from pathlib import Path

from failwell.core.instants import format_at
from failwell.drills.demo import story

_FILE = "shop.json"
#: The provider's pace of a bulk send: it keeps one running for seconds.
BULK_PAUSE_S = 0.07
_TABLE = """
CREATE TABLE {table} (
  id TEXT NOT NULL, customer TEXT NOT NULL, notice TEXT NOT NULL, sent_at TEXT NOT NULL, failwell_action TEXT
)
"""


def open_shop(directory: Path, smtp_port: int) -> None:
    """Set up a shop in `directory`: its database, and where its mail server listens on loopback."""
    with closing(sqlite3.connect(directory / story.SHOP_DATABASE)) as database:
        database.execute("PRAGMA journal_mode = wal")  # a tool that is killed must not lock out who reads
        for table, _ in story.SHOP_LOGS.values():
            database.execute(_TABLE.format(table=table))
        database.commit()
    (directory / _FILE).write_text(json.dumps({"smtp_port": smtp_port}) + "\n", encoding="utf-8")


def send_notice(customer_id: str, notice: str) -> dict[str, str]:
    """The tool `notices.send`: tell one customer."""
    return {"sent": _Shop("notices", "notice").tell(customer_id, notice)}


def send_bulk(customer_ids: list[str], notice: str) -> dict[str, int]:
    """The tool `notices.send_bulk`: tell a list of customers, at the provider's pace, from a child process."""
    child = os.fork()
    if child == 0:
        done = 1
        try:
            shop = _Shop("bulk", "bulk_notice")
            for customer in customer_ids:
                shop.tell(customer, notice)
                time.sleep(BULK_PAUSE_S)
            done = 0
        finally:
            os._exit(done)  # whatever happens, a child must not go on as if it were the tool
    _, status = os.waitpid(child, 0)
    if status:
        raise RuntimeError("the bulk send failed")
    return {"sent": len(customer_ids)}


class _Shop:
    """The shop as its tools see it: `account` at the mail server, `table` of its own record."""

    def __init__(self, account: str, table: str) -> None:
        self._here = Path.cwd()
        self._port = json.loads((self._here / _FILE).read_text(encoding="utf-8"))["smtp_port"]
        self._account = account
        self._table = table
        self._action = os.environ.get("FAILWELL_ACTION")

    def tell(self, customer: str, notice: str) -> str:
        """Send one mail and note it; returns the notice's number."""
        number = uuid.uuid4().hex
        mail = EmailMessage()
        mail["From"] = f"{self._account}@shop.example"
        mail["To"] = f"{customer}@{story.CUSTOMER_DOMAIN}"
        mail["Subject"] = "Your parcel will be late"
        mail[story.NOTICE_HEADER] = number
        if self._action is not None:
            mail[story.ACTION_HEADER] = self._action
        mail.set_content(f"Dear customer {customer},\n\nyour parcel will be late. We are sorry. ({notice})\n")
        with smtplib.SMTP("127.0.0.1", self._port, local_hostname="shop.example", timeout=10) as server:
            server.send_message(mail)
        row = (number, customer, notice, format_at(time.time_ns() // 1000), self._action)
        with closing(sqlite3.connect(self._here / story.SHOP_DATABASE, timeout=10)) as database:
            database.execute(f"INSERT INTO {self._table} VALUES (?, ?, ?, ?, ?)", row)  # noqa: S608
            database.commit()
        return number
