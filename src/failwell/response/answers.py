"""What an answer without a person's key does: it acknowledges, once, for whom its page was sent to, and nothing else.

Judged in the writer's turn, so that of a hundred answers that come at once one counts. It restricts nothing and permits
nothing: release, closing and all else that permits asks for a key as ever (R23).
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from failwell.core import kinds, rows
from failwell.core.errors import NotFound, Refused, Unhealthy
from failwell.core.escalation import due
from failwell.core.records import Draft
from failwell.ledger.jobs import Job, Plan, Turn

How = Literal["link", "reply", "pagerduty"]
ACTOR = "node"
#: The code of what is refused only because the attempt that carried it is not on record yet.
UNRECORDED = "unrecorded"


class Given(NamedTuple):
    """An answer as it came: `digest` is of the secret that its page carried (SHA-256, hex), `page` and `person` whom
    that was sent to, where the answer itself says so. `detail` is what is known of who gave it.
    """

    how: How
    digest: str
    page: int
    person: str
    detail: str


class Answered(NamedTuple):
    """The incident that was taken, by whom, and the entry that says so."""

    incident: int
    person: str
    entry: int


class Standing(NamedTuple):
    """How the page stands that somebody looks at: nothing is consumed by looking."""

    incident: int
    title: str
    severity: str
    person: str
    taken_by: tuple[str, ...]


def acknowledge(given: Given) -> Job[Answered]:
    """Take the incident of a page. Refused (code "answer-refused") for what is not, or no longer, an answer to it."""

    def job(turn: Turn) -> Plan[Answered]:
        number, row, told = find(turn, given)
        if told.token is None:
            raise Unhealthy("that it was sent is not on record yet", hint="Try again in a moment.", code=UNRECORDED)
        if row.state == due.TAKEN:
            raise _refused(f"{' and '.join(row.acknowledged)} took incident {number} already")
        return _taken(turn, number, given._replace(person=told.person))

    return job


def look(given: Given) -> Job[Standing]:
    """How the page stands. Changes nothing; Refused as `acknowledge`, but for one that somebody else took."""

    def job(turn: Turn) -> Plan[Standing]:
        number, row, told = find(turn, given)
        case = turn.state.incident[number]
        taken = row.acknowledged if row.state == due.TAKEN else ()
        standing = Standing(number, case.title, case.severity, told.person, taken)
        return Plan((), lambda entries: standing)

    return job


def find(turn: Turn, given: Given) -> tuple[int, rows.Escalation, rows.Told]:
    """The incident, its escalation and the page that an answer is for. Refused where there is no such page, or it is
    not to be answered any more.
    """
    for number, row in turn.state.escalation.items():
        for told in row.told:
            if told.page == given.page:
                _check(turn, number, row, told, given)
                return number, row, told
    raise _refused("what it was about is over, or is asked anew: a newer message answers it")


def sent_with(turn: Turn, digest: str) -> tuple[int, str]:
    """The page that carried a secret, and whom it was sent to. Refused where none did, or what it asked for is over."""
    for row in turn.state.escalation.values():
        for told in row.told:
            if told.token == digest:
                return told.page, told.person
    for key, asked in turn.state.channel.items():
        if asked.token == digest:
            return 0, key.partition(" ")[2]
    for made in turn.state.digest.values():
        if made.token == digest:
            return 0, made.person
    raise _refused("no message that still waits for an answer carried that")


def purpose_of(turn: Turn, digest: str) -> str:
    """What an answer with this secret does: acknowledge, prove or receive."""
    if any(told.token == digest for row in turn.state.escalation.values() for told in row.told):
        return "acknowledge"
    return "prove" if any(row.token == digest for row in turn.state.channel.values()) else "receive"


def bounce(body: kinds.PageBounced, notice: str) -> Job[bool]:
    """A page came back; `notice` (base64) says so and is kept for whoever may read it. Answers whether that was news.

    Unhealthy where the attempt itself is not on record yet: a report can be faster than the outbox.
    """

    def job(turn: Turn) -> Plan[bool]:
        told = [(number, each) for number, row in turn.state.escalation.items() for each in row.told]
        number, state = next(((number, each.state) for number, each in told if each.page == body.page), (0, ""))
        if state in ("bounced", "failed"):  # Attack: the same report again and again
            return Plan((), lambda entries: False)
        if body.page in turn.state.page:
            raise Unhealthy(f"page {body.page} is on its way: what came of it is judged after that")
        agent = turn.state.incident[number].agent or None if number else None
        return Plan((Draft(body=body, actor=ACTOR, agent=agent, secret={"notice": notice}),), lambda entries: True)

    return job


def _check(turn: Turn, number: int, row: rows.Escalation, told: rows.Told, given: Given) -> None:
    # Attack: another page's secret. Of one that was sent just now the attempt may not be on record yet: until it is,
    # it is only looked at.
    if told.token not in (None, given.digest) or told.person != given.person:
        raise _refused("it is not what was sent with that message")
    if told.answered is not None:
        raise _refused("it was answered already")
    if row.state == due.OVER:
        raise _refused(f"incident {number} is over")
    # Attack: the mailbox of one who has left.
    if not turn.state.enrolled(told.person):
        raise _refused(f"{told.person} has left")


def from_service(channel: str, incident: int, person: str, digest: str, detail: str) -> Job[Answered]:
    """Take an incident by the word of an on-call service: for the person that one of its users stands for, once for
    each of its events. Refused where that channel was not told in the running cycle.
    """

    def job(turn: Turn) -> Plan[Answered]:
        row = turn.state.escalation.get(incident)
        pages = [] if row is None else [each for each in row.told if each.channel == channel]
        if row is None or not pages:
            raise NotFound(f"{channel} was not told of incident {incident}")
        if not turn.state.enrolled(person):
            raise _refused(f"{person} is not enrolled, or has left")
        if any(each.token == digest for each in row.told):
            raise _refused("that event was heard already")
        if row.state != due.ASKING:
            raise _refused(f"incident {incident} waits for nobody")
        open_pages = [each for each in pages if each.answered is None]
        if not open_pages:
            raise _refused("it was answered already")
        return _taken(turn, incident, Given("pagerduty", digest, open_pages[-1].page, person, detail))

    return job


def _taken(turn: Turn, number: int, given: Given) -> Plan[Answered]:
    """The answer; that it takes the incident follows by rule, in the same commit (`core.escalation.answered`)."""
    body = kinds.PageAnswered(
        page=given.page, how=given.how, token=given.digest, person=given.person, detail=given.detail[:200]
    )
    draft = Draft(body=body, actor=ACTOR, agent=turn.state.incident[number].agent or None)
    return Plan((draft,), lambda entries: Answered(number, given.person, entries[0].seq))


def _refused(why: str) -> Refused:
    return Refused(why, code="answer-refused", hint="failwell incident list shows what waits for somebody.")
