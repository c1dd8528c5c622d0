"""A page queued before the node died is sent by the next, over real SMTP, with the newest checkpoint (R10)."""

from __future__ import annotations

import email
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller

from failwell.core import kinds
from failwell.core.records import decode_entry
from failwell.core.rows import Page
from failwell.node import audit
from failwell.node.clock import SystemClock
from failwell.node.outbox import Outbox
from failwell.notify.smtp import SmtpNotifier, SmtpSettings
from failwell.response import account as accounts
from failwell.response.letters import Letter, incident_letter
from tests.simulate.sink import plain
from tests.unit.verify import ledgers


class Mailbox:
    """What a mail server was given."""

    def __init__(self) -> None:
        self.mails: list[tuple[list[str], bytes]] = []
        self.came = threading.Event()

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.mails.append((envelope.rcpt_tos, envelope.content))
        self.came.set()
        return "250 kept"


@pytest.fixture
def mailbox() -> Iterator[tuple[Mailbox, int]]:
    box = Mailbox()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    controller = Controller(box, hostname="127.0.0.1", port=port)
    controller.start()
    try:
        yield box, port
    finally:
        controller.stop()


def send_due(made: ledgers.Made, port: int, box: Mailbox) -> None:
    """An outbox as a node has it, until the mail has come and its attempt is on record."""

    def compose(page: Page) -> Letter:
        state = made.book.state
        incident = page.incident or 0
        row = state.incident[incident]
        since = [decode_entry(stored.data) for stored in made.book.storage.entries(row.onset_first, 10_000)]
        told = accounts.account(incident, row, state.agent[row.agent], since, stated_ms=50, reveal=lambda token: token)
        return incident_letter(told, made.sealed())

    settings = SmtpSettings(
        host="127.0.0.1", port=port, sender="failwell@shop.example", security="none", username=None,
        password_file=None, ca_file=None,
    )  # fmt: skip
    notifier = SmtpNotifier(settings, SystemClock(), lambda path: b"")
    outbox = Outbox(made.writer, notifier, compose, made.origin)
    outbox.start()
    try:
        outbox.wake()
        assert box.came.wait(20)
        for _ in range(1000):
            if "NOTIFIED" in made.book.state.incident[1].marks:
                return
            threading.Event().wait(0.02)
        raise AssertionError("the attempt is not on record")
    finally:
        outbox.close()


def suspended(made: ledgers.Made) -> None:
    ledgers.begin(made)
    run = made.run()
    for number in range(4):
        made.refund(run, f"c{number}", "A-1")
    ledgers._contain(made)


@pytest.mark.requirement("R10.3", "R10.6")
def test_a_page_queued_before_the_node_died_is_sent_by_the_next_with_the_newest_checkpoint(
    tmp_path: Path, mailbox: tuple[Mailbox, int]
) -> None:
    box, port = mailbox
    path = tmp_path / "w"
    with ledgers.fresh(path) as made:
        suspended(made)
        clock = made.clock
    assert box.mails == []
    with ledgers.reopened(path, clock) as made:
        assert [page.state for page in made.book.state.page.values()] == ["queued"]
        newest = made.sealed()
        send_due(made, port, box)
        entries = [decode_entry(row.data) for row in made.book.storage.entries(0, 10_000)]
    recipients, content = box.mails[0]
    assert (len(box.mails), recipients) == (1, ["olga@shop.example"])
    text = plain(email.message_from_bytes(content)).encode()
    assert "incident 1" in str(email.message_from_bytes(content)["Subject"])
    assert newest is not None
    assert newest in text
    attempt = next(entry.body for entry in entries if isinstance(entry.body, kinds.PageAttempted))
    assert (attempt.accepted, attempt.attempt) == (True, 1)
    assert b"olga@shop.example" not in b"".join(file.read_bytes() for file in path.rglob("*") if file.is_file())
    # The mail is evidence: it finds a ledger out that was cut after it was sent.
    report = audit.verify_workspace(path, checkpoints=[content])
    assert report.ok, report.findings
