"""Which pages are due by which way to people, in which order, and what a page is to a channel that is nobody's own."""

from __future__ import annotations

import hashlib
from typing import Literal, NamedTuple

from failwell.core.escalation.followup import AGAIN, OVER, TAKEN
from failwell.core.escalation.paging import URGENT, over
from failwell.core.escalation.proofs import PROOF, PROVEN
from failwell.core.rows import Page
from failwell.core.stops import scope_of
from failwell.ledger.jobs import Plan, Turn
from failwell.ports.notifier import Message
from failwell.response.letters import Letter

#: Lanes: mails, mails about tickets and digests; every other lane is a channel's name.
EMAIL, TICKETS = "email", "tickets"
_ACTIONS: dict[str, Literal["acknowledge", "resolve"]] = {
    TAKEN: "acknowledge", OVER: "resolve", AGAIN: "resolve", PROVEN: "resolve",
}  # fmt: skip
#: A first page waits so long for the stops it tells of: an owner who reads "not confirmed" of what is confirmed a
#: moment later is told something untrue, and composing it would take the processor from the stopping itself.
SETTLE_US = 1_000_000
#: How long after the same again will not do it is tried again all the same: somebody may have mended it elsewhere.
HOPELESS_PAUSE_US = 1_800_000_000


class Due(NamedTuple):
    """A page whose time has come; `channel` is None for a person's own address.

    The rest is found out as it goes out (`looked_up`): who is written to, and whether anybody has to be any more.
    """

    number: int
    page: Page
    channel: str | None = None
    address: str | None = None
    #: Nobody has to be told any more: it is answered, another has it, or its time is over.
    over: bool = False
    name: str = ""
    severity: str = "minor"
    at_us: int = 0

    @property
    def urgent(self) -> bool:
        """Whether it goes before what may wait."""
        return self.page.about in URGENT


def key_of(origin: str, page: int) -> str:
    """The key of a page, the same at every attempt: a receiver can tell a repetition from a second page."""
    return "page-" + hashlib.sha256(f"{origin}/{page}".encode()).hexdigest()[:24]


def thread_of(origin: str, incident: int, cycle: int = 1) -> str:
    """The key under which an on-call service knows a cycle of an incident."""
    first = f"failwell-{hashlib.sha256(f'{origin}/{incident}'.encode()).hexdigest()[:32]}"
    return first if cycle < 2 else f"{first}-{cycle}"


def proof_thread(origin: str, channel: str, person: str) -> str:
    """The key under which an on-call service knows that it was asked to show that it reaches somebody."""
    return f"failwell-proof-{hashlib.sha256(f'{origin}/{channel} {person}'.encode()).hexdigest()[:32]}"


def first_thread(thread: str) -> str:
    """The key of the first cycle of the same incident."""
    return "-".join(thread.split("-")[:2])


def find_due(turn: Turn, lane: str, declared: frozenset[str], mended_us: int = 0) -> Plan[list[Due]]:
    """The pages that `lane` is to send now, what must not wait first. A channel that is not declared any more is the
    mail lane's, which says so. What failed for good before `mended_us` is tried again: people changed the settings.
    """
    found = []
    for number, page in turn.state.page.items():
        if page.state != "queued" or lane_of(page, declared) != lane:
            continue
        mended = page.permanent and page.due_us - HOPELESS_PAUSE_US < mended_us
        if mended or _from_us(turn, page) <= turn.now_us:
            channel = None if page.channel == EMAIL else page.channel
            found.append(Due(number, page, channel, over=is_over(turn, page)))
    found.sort(key=lambda each: (not each.urgent, each.page.attempts, each.number))
    return Plan((), lambda _: found)


def looked_up(turn: Turn, due: Due) -> Plan[Due | None]:
    """The page as it goes out now; None where it does not: it was tried, or told by another one, meanwhile."""
    page = turn.state.page.get(due.number)
    found = None if page is None or page.attempts != due.page.attempts else _whole(turn, due.number, page)
    return Plan((), lambda _: found)


def lane_of(page: Page, declared: frozenset[str]) -> str:
    """The lane that a page goes out by."""
    if page.ticket is not None or page.digest is not None:
        return TICKETS
    return page.channel if page.channel in declared else EMAIL


def _from_us(turn: Turn, page: Page) -> int:
    incident = None if page.incident is None else turn.state.incident.get(page.incident)
    stop = turn.state.stop.get(scope_of(page) or "")
    waits = (incident is not None and incident.waiting) or (stop is not None and stop.waiting)
    return page.due_us + (SETTLE_US if waits and not page.attempts else 0)


def _whole(turn: Turn, number: int, page: Page) -> Due:
    # Attack: pages to a mailbox that nobody reads any more, because its owner left.
    person = turn.state.person.get(turn.state.reachable(page.person))
    own = page.channel == EMAIL
    secret = None if person is None or not own else turn.secret(person.enrolled)
    incident = None if page.incident is None else turn.state.incident.get(page.incident)
    agent = turn.state.agent.get(page.agent or "")
    return Due(
        number, page, None if own else page.channel, None if secret is None else str(secret["email"]),
        is_over(turn, page), "" if agent is None else agent.name, "minor" if incident is None else incident.severity,
        turn.now_us,
    )  # fmt: skip


def is_over(turn: Turn, page: Page) -> bool:
    """Whether nobody has to be told by a page any more."""
    if page.ticket is not None:
        row, person = turn.state.ticket.get(page.ticket), turn.state.person.get(page.person)
        gone = person is None or person.left is not None  # who follows them was not asked
        return gone or row is None or row.state != "open" or turn.now_us >= row.expires_us
    return over(turn.state, page)


def message_of(due: Due, letter: Letter, origin: str, key: str) -> Message:
    """The page as a channel is told it. No link goes to a room: whoever is in it could answer for another."""
    page = due.page
    text, _, rest = letter.text.partition("\n----- checkpoint")
    return Message(
        key=key,
        thread=_thread(page, origin, key),
        action=_ACTIONS.get(page.about, "trigger"),
        subject=letter.subject,
        text=text.rstrip("\n"),
        severity=due.severity,
        incident=page.incident,
        agent=due.name,
        persons=page.persons or (page.person,),
        origin=origin,
        checkpoint=_checkpoint(rest),
        at_us=due.at_us,
    )


def _thread(page: Page, origin: str, key: str) -> str:
    if page.about in (PROOF, PROVEN):
        return proof_thread(origin, page.channel, page.person)
    return key if page.incident is None else thread_of(origin, page.incident, page.cycle)


def _checkpoint(rest: str) -> str:
    """The signed note between its marks; "" where the letter has none yet."""
    return rest.partition("\n")[2].partition("\n----- end of checkpoint")[0]
