"""Early indicators: what was noticed of agents without a case of its own, told to their owner once a day.

They are counted as they come, on the row of the agent; a digest tells them and begins anew. So whoever reads the
record counts the same.
"""

from __future__ import annotations

from typing import Any

from failwell.core import kinds, rows
from failwell.core.errors import Corrupt, InputError
from failwell.core.escalation.calendars import local_us
from failwell.core.escalation.path import EMAIL
from failwell.core.following import Fold, Reaction
from failwell.core.hours import DAY_US, MINUTE_US
from failwell.core.projections import Projections
from failwell.core.records import Draft, Entry

ACTOR = "response"
DIGEST = "digest"
#: A case in which the gate held and nothing had an effect (`core.incidents.catches`).
NEAR_MISS = "near-miss"
#: Different signals of one agent that are counted apart; what is more is counted as one.
APART = 64
OTHERS = "others"
#: Lines of one digest: those that came most often.
LINES = 100
#: Ways in which somebody says that they have it; by a signed order, or by what the message itself carried.
BY_ORDER, BY_ANSWER = "order", frozenset({"link", "reply"})


def noted(row: rows.Agent, signal: str, at_us: int) -> dict[str, Any]:
    """The fields of an agent's row after one more early indicator."""
    name = signal if signal in row.early or len(row.early) < APART else OTHERS
    return {
        "early": {**row.early, name: row.early.get(name, 0) + 1}, "early_us": row.early_us if row.early else at_us,
    }  # fmt: skip


def early(state: Projections, person: str) -> tuple[tuple[tuple[str, str, int], ...], int]:
    """(agent, signal, how often) of all that a person is to be told, most often first; and how many more there are."""
    found = [
        (name, signal, times)
        for name, row in state.agent.items()
        if row.early and state.reachable(row.owner) == person
        for signal, times in row.early.items()
    ]
    found.sort(key=lambda each: (-each[2], each[0], each[1]))
    return tuple(found[:LINES]), max(0, len(found) - LINES)


def owed(state: Projections, now_us: int) -> tuple[str, ...]:
    """The persons who are to be told by now: something was noticed before the newest time at which it is told."""
    told_us = _newest_time(state, now_us)
    if told_us is None:
        return ()
    persons = {state.reachable(row.owner) for row in state.agent.values() if row.early and row.early_us < told_us}
    return tuple(sorted(person for person in persons if state.enrolled(person)))


def drafted(state: Projections, person: str, number: int, until: int) -> Draft:
    """The digest of a person: the next but `number` of this commit, as entry `until`."""
    counts, more = early(state, person)
    body = kinds.DigestMade(
        digest=len(state.digest) + 1 + number, person=person, since=_since(state, person), until=until, counts=counts,
        more=more,
    )  # fmt: skip
    return Draft(body=body, actor="node")


def _newest_time(state: Projections, now_us: int) -> int | None:
    escalating = state.workspace[1].escalation if state.workspace else None
    if escalating is None or not escalating.digest:
        return None
    here_us = local_us(state, escalating.zone, now_us)
    time_us = minute_of(escalating.digest) * MINUTE_US
    ago_us = (here_us % DAY_US - time_us) % DAY_US
    return now_us - ago_us


def minute_of(text: str) -> int:
    """The minute of the day of `08:00`. InputError where it is none."""
    hours, colon, minutes = text.partition(":")
    if not (colon and hours.isdigit() and minutes.isdigit() and int(hours) < 24 and int(minutes) < 60):
        raise InputError(f"{text!r} is no time of the day", hint="Write it like 08:00.")
    return int(hours) * 60 + int(minutes)


def _since(state: Projections, person: str) -> int:
    return max((row.until for row in state.digest.values() if row.person == person), default=0)


# ---- from entries to rows ------------------------------------------------------------------------------------


def _made(state: Projections, entry: Entry[Any], body: kinds.DigestMade, at_us: int) -> None:
    counts, more = early(state, body.person)
    told = (body.digest, body.since, body.until, body.counts, body.more)
    if not counts or told != (len(state.digest) + 1, _since(state, body.person), entry.seq, counts, more):
        raise Corrupt(f"entry {entry.seq} tells {body.person} of other early indicators than there were")
    row = rows.Digest(person=body.person, made=entry.seq, since=body.since, until=body.until)
    state.put("digest", body.digest, row)
    for name, agent in list(state.agent.items()):
        if agent.early and state.reachable(agent.owner) == body.person:
            state.change("agent", name, early={}, early_us=0)


def _received(state: Projections, entry: Entry[Any], body: kinds.DigestReceived, at_us: int) -> None:
    row = state.digest.get(body.digest)
    if row is None or row.received is not None or row.person != body.person:
        raise Corrupt(f"entry {entry.seq} says that {body.person} has digest {body.digest}, which cannot be")
    answered = body.how in BY_ANSWER and body.token != "" and body.token == row.token
    if not answered and (body.how, body.token) != (BY_ORDER, ""):
        raise Corrupt(f"entry {entry.seq} receives digest {body.digest} by what was not sent with it")
    state.change("digest", body.digest, received=entry.seq)


def sent(state: Projections, page: rows.Page, token: str | None) -> None:
    """A page was tried that brings a digest: what travelled with it answers it."""
    if page.digest is not None and token is not None and page.digest in state.digest:
        state.change("digest", page.digest, token=token)


def _after_made(state: Projections, entry: Entry[Any], body: kinds.DigestMade) -> tuple[Draft, ...]:
    page = kinds.PageQueued4(
        page=state.pages + 1, incident=None, person=body.person, channel=EMAIL, step=1, due_us=state.last_at_us,
        why=f"digest {body.digest}", ticket=None, about=DIGEST, cycle=0, round=1, persons=(body.person,),
        digest=body.digest,
    )  # fmt: skip
    return (Draft(body=page, actor=ACTOR, refs=(entry.seq,)),)


def near_miss(state: Projections, agent: str, body: kinds.IncidentOpened, at_us: int) -> None:
    """A case in which the gate held and nothing had an effect is an early indicator too."""
    if body.kind == NEAR_MISS and agent in state.agent:
        state.change("agent", agent, **noted(state.agent[agent], NEAR_MISS, at_us))


FOLDS: dict[type, Fold] = {kinds.DigestMade: _made, kinds.DigestReceived: _received}
REACTIONS: dict[type, Reaction] = {kinds.DigestMade: _after_made}
