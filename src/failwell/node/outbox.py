"""The outbox: pages that are due are sent, each attempt on record (R10).

A page is a durable row; a crash between sending and recording sends it again under the same key. Each way to people has
workers of its own, so that one that hangs delays no other, and each letter that must not wait goes before those that
may. Temporary failures are tried again with growing pauses; where the same again will not do, the escalation's next
step is due. Each failure is an entry that people can see.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Collection
from concurrent.futures import Future
from pathlib import Path
from typing import NamedTuple, Protocol

from failwell.core import kinds
from failwell.core.errors import FailwellError, InputError
from failwell.core.records import Draft
from failwell.core.rows import Page
from failwell.ledger.jobs import CONTAINMENT, Plan, Turn
from failwell.ledger.writer import Writer
from failwell.node import watch
from failwell.node.flood import Flood
from failwell.node.mail_headers import mail_headers
from failwell.node.mail_settings import MailSettings
from failwell.node.posting import (
    EMAIL,
    HOPELESS_PAUSE_US,
    TICKETS,
    Due,
    find_due,
    is_over,
    key_of,
    looked_up,
    message_of,
)
from failwell.notify.smtp import SmtpNotifier, SmtpSettings
from failwell.ports.clock import Clock
from failwell.ports.notifier import Channel, Mail, Notifier, NotifyFailed, Receipt
from failwell.response.answerable import Answerable, answered_by
from failwell.response.letters import Letter, bare_letter

FIRST_PAUSE_US = 5_000_000
LONGEST_PAUSE_US = 300_000_000
#: So many failures in a row, and a way is taken for down: of what failed before, one page is tried in this time.
DOWN, AGAIN_S = 3, 5.0
#: Who asks to be left alone for longer is not obeyed: an hour of silence is what a page is there to break.
LATEST_S = 600
LOOK_EVERY_S = 1.0
#: Tickets are mailed by a thread of their own and looked after less often: a question never delays an incident's page.
LOOK_FOR_TICKETS_S = 5.0
#: Mails that are on their way at once. Attack: a mail server that takes half a minute for each of a hundred pages.
MAILS_AT_ONCE = 4

#: The letter of a page, with the newest checkpoint in it (called in the outbox's threads).
Compose = Callable[[Page], Letter]


class Answers(Protocol):
    """How a page can be answered without a person's key."""

    def of(self, number: int, page: Page) -> Answerable | None:
        """None for a page that asks for nothing that can be answered so."""
        ...

    def returned(self, number: int) -> str | None:
        """What its mail bears, to be known if it comes back; None where nobody would read that."""
        ...


def mail_notifier(mail: MailSettings | None, place: Path, clock: Clock) -> SmtpNotifier | None:
    """The mail channel that the settings in force declare, None without one; files are named from `place`."""
    if mail is None:
        return None
    smtp = SmtpSettings(
        host=mail.host, port=mail.port, sender=mail.sender, security=mail.security, username=mail.username,
        password_file=None if mail.password_file is None else place / mail.password_file,
        ca_file=None if mail.ca_file is None else place / mail.ca_file,
        answers=None if mail.inbox is None else mail.inbox.address,
    )  # fmt: skip
    return SmtpNotifier(smtp, clock, watch.read_secret)


class _Tried(NamedTuple):
    """What came of one attempt. `hopeless`: the same again will not do; `later_s`: not before that, they said."""

    accepted: bool
    detail: str
    checkpoint: int
    token: str | None
    hopeless: bool = False
    later_s: int = 0


class Way(NamedTuple):
    """What a way to people did since this node started, ledger time. `failed` attempts came after the last accepted."""

    accepted_us: int = 0
    failed: int = 0
    failed_us: int = 0
    detail: str = ""

    def after(self, accepted: bool, detail: str, now_us: int) -> Way:
        """The same after one more attempt."""
        if accepted:
            return Way(accepted_us=now_us)
        return self._replace(failed=self.failed + 1, failed_us=now_us, detail=detail)


class _Lane:
    """One way to people, with what its workers are about."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.wake = threading.Event()
        self.looking = threading.Lock()
        self.under_way: set[int] = set()
        self.again_s = 0.0


class Outbox:
    """Sends due pages: mails through `notifier` (None: no mail server is set up, which is recorded as a failure), all
    others through the channel that they name.
    """

    def __init__(
        self, writer: Writer, notifier: Notifier | None, compose: Compose, origin: str, *,
        channels: dict[str, Channel] | None = None, answers: Answers | None = None,
    ) -> None:  # fmt: skip
        self._writer = writer
        self.notifier = notifier
        self.channels = channels or {}
        self._compose = compose
        self._origin = origin
        self._answers = answers
        self._flood = Flood(writer)
        self._stop = threading.Event()
        self._lanes: dict[str, _Lane] = {}
        self._threads: list[threading.Thread] = []
        self._started = False
        #: Ledger time since which the settings are in force; None: it is taken with the next look.
        self._mended_us: int | None = None
        self.ways: dict[str, Way] = {}

    def start(self) -> None:
        self._started = True
        for lane in (EMAIL, TICKETS, *self.channels):
            self._work(lane)

    def take_settings(self, notifier: Notifier | None, channels: dict[str, Channel]) -> None:
        """Other ways to people are in force. A worker whose channel is gone has nothing to do any more."""
        self.notifier = notifier
        self.channels = channels
        self._mended_us = None
        if self._started:
            for lane in channels:
                self._work(lane)
            self.wake()

    def wake(self) -> None:
        """A page was queued, or what a page waits for has come."""
        for lane in list(self._lanes.values()):
            lane.wake.set()

    def close(self) -> None:
        """End after the attempts under way; what is queued stays queued."""
        self._stop.set()
        self.wake()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(timeout=35)

    def _work(self, name: str) -> None:
        if name in self._lanes:
            return
        lane = self._lanes[name] = _Lane(name)
        for number in range(MAILS_AT_ONCE if name == EMAIL else 1):
            thread = threading.Thread(target=self._run, args=(lane,), name=f"outbox {name} {number}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _run(self, lane: _Lane) -> None:
        while not self._stop.is_set():
            lane.wake.wait(LOOK_FOR_TICKETS_S if lane.name == TICKETS else LOOK_EVERY_S)
            lane.wake.clear()
            try:
                while not self._stop.is_set() and (due := self._next(lane)) is not None:
                    try:
                        self._attempt(due)
                    finally:
                        with lane.looking:
                            lane.under_way.discard(due.number)
            except FailwellError:
                continue  # the ledger does not write: what is due stays due

    def _next(self, lane: _Lane) -> Due | None:
        """What goes out next by this lane: looked up anew each time, since what must not wait may have come.

        INVARIANT: looked up and taken in one, or two workers would send what one of them has just sent.
        """
        with lane.looking:
            for each in self._due(lane.name, lane.under_way):
                if each.number not in lane.under_way and not self._rests(lane, each):
                    lane.under_way.add(each.number)
                    return each
        return None

    def _rests(self, lane: _Lane, due: Due) -> bool:
        """Whether a page waits because its way is down: one at a time finds out whether it works again, and what was
        never tried is not held up. Attack: a thousand pages to a server that is gone take the processor from stopping.
        """
        # What is over is sent nowhere and shows nothing of the way: it takes no turn from the page that stands for it.
        if due.over or not due.page.attempts or self.ways.get(due.channel or EMAIL, Way()).failed < DOWN:
            return False
        now_s = time.monotonic()
        if now_s - lane.again_s < AGAIN_S:
            return True
        lane.again_s = now_s
        return False

    def _due(self, lane: str, under_way: Collection[int] = ()) -> list[Due]:
        if not self._writer.book.state.page:
            return []  # mostly: nothing is asked of the writer for it
        declared = frozenset(self.channels)

        def job(turn: Turn) -> Plan[list[Due]]:
            if self._mended_us is None:
                self._mended_us = turn.now_us
            return find_due(turn, lane, declared, self._mended_us)

        due: list[Due] = self._writer.submit(job).result()
        return self._flood.held_back(due, under_way) if lane == EMAIL else due

    def _attempt(self, due: Due) -> None:
        whole: Due | None = self._writer.submit(lambda turn: looked_up(turn, due)).result()
        if whole is None:
            return
        tried = self._try(whole)
        now = self._record(whole, tried)
        self._note(whole, tried, now)

    def _try(self, due: Due) -> _Tried:
        """Write it and hand it over. Whatever goes wrong is what came of the attempt."""
        if due.over:
            return _Tried(
                False,
                "not sent: a later page asks the same person by the same way, or nobody has to answer any more",
                0,
                None,
            )
        answer, checkpoint = None, 0
        try:
            answer = None if self._answers is None else self._answers.of(due.number, due.page)
            letter = self._write(due.page)
            checkpoint = letter.checkpoint
            return _Tried(True, self._send(due, letter, answer), checkpoint, _token(due, answer))
        except NotifyFailed as error:
            detail, hopeless, later_s = error.message, not error.temporary, error.retry_after_s or 0
        except FailwellError as error:
            detail, hopeless, later_s = error.message, isinstance(error, InputError), 0
        except Exception as error:  # noqa: BLE001  a fault of ours is one failed attempt, not the end of all pages
            detail, hopeless, later_s = f"{type(error).__name__} while sending", False, 0
        if due.address is not None:  # a mail server repeats whom it was asked to reach; that is no entry's to tell
            detail = re.sub(re.escape(due.address), "the recipient", detail, flags=re.IGNORECASE)
        return _Tried(False, detail, checkpoint, _token(due, answer), hopeless, later_s)

    def _record(self, due: Due, tried: _Tried) -> int:
        """Put the attempt on record; answers when that was."""
        # Who cannot be written to finds a ticket in the list. Of an incident somebody is told, however long it takes:
        # where the same again will not do, its next step is due.
        unlisted = due.page.ticket is not None and (self.notifier is None or due.address is None)
        pause_us = min(FIRST_PAUSE_US * 2 ** min(due.page.attempts, 10), LONGEST_PAUSE_US)
        pause_us = HOPELESS_PAUSE_US if tried.hopeless else max(pause_us, min(tried.later_s, LATEST_S) * 1_000_000)
        provider = self._provider(due)

        def job(turn: Turn) -> Plan[int]:
            now_us = turn.now_us
            page = turn.state.page.get(due.number)
            if page is None or page.attempts != due.page.attempts:
                return Plan((), lambda entries: now_us)  # told by another letter meanwhile
            final = unlisted or is_over(turn, page)
            body = kinds.PageAttempted2(
                page=due.number, attempt=due.page.attempts + 1, accepted=tried.accepted, detail=tried.detail[:300],
                checkpoint=tried.checkpoint, next_due_us=None if tried.accepted or final else turn.now_us + pause_us,
                permanent=tried.hopeless, token=tried.token, provider=provider[:100],
            )  # fmt: skip
            return Plan((Draft(body=body, actor="node", agent=due.page.agent),), lambda entries: now_us)

        future: Future[int] = self._writer.submit(job, CONTAINMENT)
        return future.result()

    def _note(self, due: Due, tried: _Tried, now_us: int) -> None:
        if due.over:
            return
        name = due.channel or EMAIL
        self.ways[name] = self.ways.get(name, Way()).after(tried.accepted, tried.detail, now_us)
        if tried.accepted:
            self._flood.note(due)

    def _provider(self, due: Due) -> str:
        if due.channel is None:
            return "the mail server"
        channel = self.channels.get(due.channel)
        return due.channel if channel is None else channel.provider

    def _write(self, page: Page) -> Letter:
        """The letter; a bare one when the account cannot be made: the owner is told in any case."""
        if page.ticket is not None:
            return self._compose(page)  # where it fails, the ticket has ended, or is tried again
        try:
            return self._compose(page)
        except Exception as error:  # noqa: BLE001  no fault of ours may keep the owner from being told
            return bare_letter(page.incident or 0, f"{type(error).__name__}: {error}")

    def _send(self, due: Due, letter: Letter, answer: Answerable | None = None) -> str:
        """Hand it over, and say what was answered."""
        if due.channel is not None:
            channel = self.channels.get(due.channel)
            if channel is None:
                raise NotifyFailed(
                    f"there is no channel {due.channel} any more", temporary=False, hint="Declare it in [channels]."
                )
            return channel.tell(message_of(due, letter, self._origin, key_of(self._origin, due.number))).detail
        return self._mail(due, letter, answer).detail

    def _mail(self, due: Due, letter: Letter, answer: Answerable | None) -> Receipt:
        if self.notifier is None:
            raise NotifyFailed("no mail server is set up", temporary=False, hint="Set [mail] in failwell.toml.")
        if due.address is None:
            again = due.page.cycle == 0  # one who has none yet is written to once they have; a path does not wait
            raise NotifyFailed(f"{due.page.person} has no mail address", temporary=again, hint="Enrol with --email.")
        told = letter if answer is None else answered_by(letter, answer)
        key = key_of(self._origin, due.number)
        returned = None if self._answers is None else self._answers.returned(due.number)
        mail = Mail(
            to=due.address, subject=told.subject, text=told.text,
            message_id=f"<{key}@failwell.invalid>", headers=mail_headers(due, self._origin, returned),
            link=None if answer is None else answer.link,
        )  # fmt: skip
        return self.notifier.send(mail)


def _token(due: Due, answer: Answerable | None) -> str | None:
    """The digest of what answers a page. A channel that several read carries nothing that does."""
    return answer.digest if answer is not None and due.channel is None else None
