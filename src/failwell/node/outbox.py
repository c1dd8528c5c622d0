"""The outbox: pages that are due are sent, each attempt on record (R10).

A page is a durable row; a crash between sending and recording sends it again under the same Message-ID. One thread;
it waits until something is due or a new page is queued. It never gives up on its own account: temporary failures are
tried again with growing pauses, for ever, and each failure is an entry that people can see.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NamedTuple

from failwell.core import kinds
from failwell.core.errors import FailwellError
from failwell.core.records import Draft
from failwell.core.rows import Page
from failwell.core.stops import scope_of
from failwell.ledger.jobs import CONTAINMENT, Plan, Turn
from failwell.ledger.writer import Writer
from failwell.node import watch
from failwell.node.settings import MailSettings
from failwell.notify.smtp import SmtpNotifier, SmtpSettings
from failwell.ports.clock import Clock
from failwell.ports.notifier import Mail, Notifier, NotifyFailed
from failwell.response.letters import Letter, bare_letter

FIRST_PAUSE_US = 5_000_000
LONGEST_PAUSE_US = 300_000_000
LOOK_EVERY_S = 1.0
#: Tickets are mailed by a thread of their own and looked after less often: a question never delays an incident's page.
LOOK_FOR_TICKETS_S = 5.0
#: A first page waits so long for the stops it tells of: an owner who reads "not confirmed" of what is confirmed a
#: moment later is told something untrue, and composing it would take the processor from the stopping itself.
SETTLE_US = 1_000_000

#: The letter of a page, with the newest checkpoint in it (called in the outbox's thread).
Compose = Callable[[Page], Letter]


class _Due(NamedTuple):
    number: int
    page: Page
    agent: str | None
    address: str | None
    #: Nobody has to be told any more: the ticket is answered, or its time is over.
    over: bool


def mail_notifier(mail: MailSettings | None, place: Path, clock: Clock) -> SmtpNotifier | None:
    """The mail channel that the settings in force declare, None without one; files are named from `place`."""
    if mail is None:
        return None
    smtp = SmtpSettings(
        host=mail.host, port=mail.port, sender=mail.sender, security=mail.security, username=mail.username,
        password_file=None if mail.password_file is None else place / mail.password_file,
        ca_file=None if mail.ca_file is None else place / mail.ca_file,
    )  # fmt: skip
    return SmtpNotifier(smtp, clock, watch.read_secret)


class Outbox:
    """Sends due pages through `notifier`; None means that no channel is set up, which is recorded as a failure."""

    def __init__(self, writer: Writer, notifier: Notifier | None, compose: Compose, origin: str) -> None:
        self._writer = writer
        self.notifier = notifier
        self._compose = compose
        self._origin = origin
        self._wakes = {False: threading.Event(), True: threading.Event()}
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(tickets,), name="tickets" if tickets else "outbox", daemon=True)
            for tickets in self._wakes
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """A page was queued, or what a page waits for has come."""
        for wake in self._wakes.values():
            wake.set()

    def close(self) -> None:
        """End after the attempts under way; what is queued stays queued."""
        self._stop.set()
        self.wake()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(timeout=35)

    def _run(self, tickets: bool) -> None:
        wake = self._wakes[tickets]
        while not self._stop.is_set():
            wake.wait(LOOK_FOR_TICKETS_S if tickets else LOOK_EVERY_S)
            wake.clear()
            try:
                for due in self._due(tickets):
                    if self._stop.is_set():
                        return
                    self._attempt(due)
            except FailwellError:
                continue  # the ledger does not write: what is due stays due

    def _due(self, tickets: bool) -> list[_Due]:
        future: Future[list[_Due]] = self._writer.submit(lambda turn: _find_due(turn, tickets))
        return future.result()

    def _attempt(self, due: _Due) -> None:
        checkpoint, accepted, detail = 0, False, ""
        try:
            if due.over:
                raise NotifyFailed("nobody has to answer it any more", temporary=False)
            letter = self._write(due.page)
            checkpoint = letter.checkpoint
            detail = self._send(due, letter)
            accepted = True
        except FailwellError as error:
            detail = error.message
        except Exception as error:  # noqa: BLE001  a fault of ours is one failed attempt, not the end of all pages
            detail = f"{type(error).__name__} while sending"
        if due.address is not None:  # a mail server repeats whom it was asked to reach; that is no entry's to tell
            detail = re.sub(re.escape(due.address), "the recipient", detail, flags=re.IGNORECASE)
        # Who cannot be written to finds a ticket in the list; of an incident somebody is told, however long it takes.
        final = due.over or (due.page.ticket is not None and (self.notifier is None or due.address is None))
        pause_us = min(FIRST_PAUSE_US * 2 ** min(due.page.attempts, 10), LONGEST_PAUSE_US)

        def job(turn: Turn) -> Plan[None]:
            body = kinds.PageAttempted(
                page=due.number, attempt=due.page.attempts + 1, accepted=accepted, detail=detail[:300],
                checkpoint=checkpoint, next_due_us=None if accepted or final else turn.now_us + pause_us,
            )  # fmt: skip
            return Plan((Draft(body=body, actor="node", agent=due.agent),), _nothing)

        self._writer.submit(job, CONTAINMENT).result()

    def _write(self, page: Page) -> Letter:
        """The letter; a bare one when the account cannot be made: the owner is told in any case."""
        if page.ticket is not None:
            return self._compose(page)  # where it fails, the ticket has ended, or is tried again
        try:
            return self._compose(page)
        except Exception as error:  # noqa: BLE001  no fault of ours may keep the owner from being told
            return bare_letter(page.incident or 0, f"{type(error).__name__}: {error}")

    def _send(self, due: _Due, letter: Letter) -> str:
        if self.notifier is None:
            raise NotifyFailed("no mail server is set up", temporary=True, hint="Set [mail] in failwell.toml.")
        if due.address is None:
            raise NotifyFailed(f"{due.page.person} has no mail address", temporary=True, hint="Enrol with --email.")
        # The same id at every attempt: a receiver can tell a repetition from a second incident.
        local = hashlib.sha256(f"{self._origin}/{due.number}".encode()).hexdigest()[:24]
        mail = Mail(
            to=due.address,
            subject=letter.subject,
            text=letter.text,
            message_id=f"<page-{local}@failwell.invalid>",
        )
        receipt = self.notifier.send(mail)
        return receipt.detail


def _find_due(turn: Turn, tickets: bool) -> Plan[list[_Due]]:
    """Pages about tickets, or all others, whose time has come, with the address of whom they are for."""
    found = []
    for number, page in turn.state.page.items():
        incident = None if page.incident is None else turn.state.incident.get(page.incident)
        stop = turn.state.stop.get(scope_of(page) or "")
        waits = (incident is not None and incident.waiting) or (stop is not None and stop.waiting)
        settles_us = SETTLE_US if waits and not page.attempts else 0
        if (page.ticket is not None) != tickets or page.state != "queued" or page.due_us + settles_us > turn.now_us:
            continue
        # Attack: pages to a mailbox that nobody reads any more, because its owner left.
        person = turn.state.person.get(turn.state.reachable(page.person))
        secret = None if person is None else turn.secret(person.enrolled)
        address = None if secret is None else str(secret["email"])
        found.append(_Due(number, page, page.agent, address, _over(turn, page)))
    return Plan((), lambda _: found)


def _over(turn: Turn, page: Page) -> bool:
    if page.ticket is None:
        return False
    row, person = turn.state.ticket.get(page.ticket), turn.state.person.get(page.person)
    gone = person is None or person.left is not None  # who follows them was not asked
    return gone or row is None or row.state != "open" or turn.now_us >= row.expires_us


def _nothing(_: Any) -> None:
    return None
