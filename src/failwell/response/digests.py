"""Digests of early indicators: made when their time comes, received by who they were made for (R5, R10)."""

from __future__ import annotations

from typing import Any

from failwell.core import kinds, rows
from failwell.core.errors import NotFound, Refused
from failwell.core.escalation import digests
from failwell.core.instants import format_at
from failwell.core.orders import SignedOrder, parse_order
from failwell.core.records import Draft
from failwell.ledger.jobs import Job, Plan, Turn
from failwell.ledger.orders import VerifyOrder, admit
from failwell.response.answers import Given
from failwell.response.case_orders import carried_out
from failwell.response.letters import Letter, sealed, size_of
from failwell.response.said import MakeJob

#: Digests of one turn; the next one makes the rest.
AT_ONCE = 20
_NODE = "node"


def make_digests(turn: Turn) -> Plan[int]:
    """Tell each owner what was noticed, where the time for it has come. Answers how many are told."""
    state = turn.state
    if state.mode != "live" or state.workspace[1].rules < 3:
        return Plan((), lambda entries: 0)
    persons = digests.owed(state, turn.now_us)[:AT_ONCE]
    # Each digest is followed by its page behind all of them, so its own entry is the next but so many.
    drafts = tuple(
        digests.drafted(state, person, number, turn.seq + number) for number, person in enumerate(persons)
    )  # fmt: skip
    return Plan(drafts, len)


def receive(signed: SignedOrder, verify: VerifyOrder) -> Job[int]:
    """A person has read their digest. Answers the entry that says so; the same where they said it before."""

    def job(turn: Turn) -> Plan[int]:
        number = parse_order(signed.order).details.digest
        row = _row(turn, number)
        order, draft = admit(turn, signed, verify, wanted="digest.receive", source=_NODE)
        if order.person != row.person:
            raise Refused(f"digest {number} was made for {row.person}", hint="failwell digest list")
        if row.received is not None:
            raise Refused(f"{row.person} has digest {number} already (entry {row.received})", code="answered")
        body = kinds.DigestReceived(digest=number, person=order.person, how=digests.BY_ORDER, token="")
        return carried_out(draft, Draft(body=body, actor=draft.actor, refs=(turn.seq, row.made)))

    return job


def receive_answer(given: Given, look: bool) -> Job[dict[str, Any]]:
    """The same by what came with the message. `look`: what it is about, and nothing else happens."""

    def job(turn: Turn) -> Plan[dict[str, Any]]:
        found = [(number, row) for number, row in turn.state.digest.items() if row.token == given.digest]
        if not found or (given.person and found[0][1].person != given.person):
            raise Refused("no digest waits for that answer", code="answer-refused", hint="failwell digest list")
        number, row = found[0]
        if not turn.state.enrolled(row.person):
            raise Refused(f"{row.person} has left", code="answer-refused")
        told = {"digest": number, "title": f"early indicators up to {_day(turn, row)}"}
        if look:
            return Plan((), lambda entries: told)
        if row.received is not None:
            raise Refused(f"{row.person} has digest {number} already", code="answer-refused")
        body = kinds.DigestReceived(digest=number, person=row.person, how=given.how, token=given.digest)
        draft = Draft(body=body, actor=_NODE, refs=(row.made,))
        return Plan((draft,), lambda entries: {**told, "entry": entries[0].seq})

    return job


def _day(turn: Turn, row: rows.Digest) -> str:
    entry = turn.entry(row.made)
    return "now" if entry is None else entry.at[:10]


def _row(turn: Turn, number: int) -> rows.Digest:
    row = turn.state.digest.get(number)
    if row is None:
        raise NotFound(f"there is no digest {number}", hint="failwell digest list")
    return row


def digest_letter(body: kinds.DigestMade, names: dict[str, str], at_us: int, checkpoint: bytes) -> Letter:
    """What an owner reads in the morning. `names`: agents by their ids."""
    agents = len({agent for agent, _, _ in body.counts})
    times = sum(count for _, _, count in body.counts)
    lines = [
        f"- {names.get(agent, agent)}: {signal}, {count} time{'' if count == 1 else 's'}"
        for agent, signal, count in body.counts
    ]
    more = [f"- and {body.more} more kinds: failwell digest show {body.digest}"] if body.more else []
    story = [
        f"{times} early indicator{'' if times == 1 else 's'} of {agents} of your agents since you were told last.",
        f"You are asked to: read them, and say so. Run: failwell digest receive {body.digest}",
        "",
        *lines,
        *more,
        "",
        f"Counted from entry {body.since} to {body.until}, told {format_at(at_us)[:16].replace('T', ' ')} UTC.",
        f"Everything: failwell digest show {body.digest}",
    ]
    subject = (
        f"[Failwell] early indicators: {times} of {agents} agent{'' if agents == 1 else 's'} (digest {body.digest})"
    )
    return Letter(subject, sealed(story, checkpoint), size_of(checkpoint))


#: What carries out the orders of this module.
JOBS: dict[str, MakeJob] = {"digest.receive": lambda signed, verify, said: receive(signed, verify)}
