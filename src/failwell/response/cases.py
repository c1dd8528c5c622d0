"""What people order about a case: write down, give and end tasks, hand over, raise, merge, reopen, resolve, close.

One person adds to a case and makes it graver. What takes from it (a lower severity, a false alarm, that nothing is
changed, not serious) stands in `response.agreeing`: that takes two.
"""

from __future__ import annotations

from failwell.core import kinds
from failwell.core.errors import InputError, Refused
from failwell.core.incidents.endings import BELIEVED_OVER, OVER, REHEARSED, left_open, unstopped
from failwell.core.instants import parse_at
from failwell.core.machines import worse
from failwell.core.orders import SignedOrder, parse_order
from failwell.core.records import Draft
from failwell.ledger.jobs import Job, Plan, Turn
from failwell.ledger.orders import VerifyOrder
from failwell.response import agreeing
from failwell.response.case_orders import about_case, carried_out, case, changed, need_holder, need_person, open_case
from failwell.response.said import MakeJob, Said


def report(signed: SignedOrder, verify: VerifyOrder, said: Said) -> Job[int]:
    """A person reports a failure. Answers the number of the case that this opens."""

    def job(turn: Turn) -> Plan[int]:
        details = parse_order(signed.order).details
        agent = None if details.agent is None else turn.state.agent_named(details.agent)
        if details.agent is not None and agent is None:
            raise InputError(f"no agent {details.agent} is registered here", hint="failwell agent list")
        first, last = details.first, details.last
        if last is not None and (first is None or last < first):
            raise InputError("the last entry that it is about comes before the first, which is said too")
        if (last if last is not None else first or 0) >= turn.seq:
            raise InputError(f"there is no entry {last if last is not None else first} that it could be about")
        if details.aware is not None and parse_at(details.aware) > turn.now_us:
            raise InputError("nobody can have learned of it later than now", hint="--aware is UTC.")
        order, draft = about_case(turn, signed, verify, "incident.report", agent)
        body = kinds.Noticed(
            by=f"person:{order.person}", signal="reported", severity=details.severity, evidence="asserted",
            kind=details.report, first=first, last=last, aware=details.aware, title=details.title, words=details.words,
        )  # fmt: skip
        noticed = Draft(body=body, actor=draft.actor, agent=agent, refs=(turn.seq,), secret=said.secret(details.words))
        number = turn.state.incidents + 1
        return Plan((draft, noticed), lambda entries: number)

    return job


def note(signed: SignedOrder, verify: VerifyOrder, said: Said) -> Job[int]:
    """A note, a finding or a factor. What is found cites what it was found in."""

    def job(turn: Turn) -> Plan[int]:
        details = parse_order(signed.order).details
        row = open_case(turn, details.incident)
        if details.sort != "note" and not details.cites:
            raise InputError("a finding cites the entries that it rests on", hint="--cites ENTRY,ENTRY")
        beyond = [seq for seq in details.cites if seq >= turn.seq]
        if beyond:
            raise Refused(f"there is no entry {beyond[0]} to cite")
        order, draft = about_case(turn, signed, verify, "incident.note", row.agent)
        body = kinds.IncidentNoted(
            incident=details.incident, note=row.notes + 1, sort=details.sort, person=order.person, words=details.words,
            cites=details.cites,
        )  # fmt: skip
        refs = (turn.seq, *dict.fromkeys(details.cites))
        noted = Draft(
            body=body, actor=draft.actor, agent=row.agent or None, refs=refs, secret=said.secret(details.words)
        )
        return carried_out(draft, noted)

    return job


def give_task(signed: SignedOrder, verify: VerifyOrder, said: Said) -> Job[int]:
    """Somebody is to do something about it."""

    def job(turn: Turn) -> Plan[int]:
        details = parse_order(signed.order).details
        row = open_case(turn, details.incident)
        need_person(turn, details.person)
        due_us = None if details.due is None else parse_at(details.due)
        if due_us is not None and due_us <= turn.now_us:
            raise InputError("a task is due later than now", hint="--due is UTC.")
        order, draft = about_case(turn, signed, verify, "incident.task", row.agent)
        body = kinds.IncidentTask(
            incident=details.incident, task=row.tasked + 1, person=details.person, by=f"person:{order.person}",
            due_us=due_us, words=details.words,
        )  # fmt: skip
        secret = said.secret(details.words)
        return carried_out(
            draft, Draft(body=body, actor=draft.actor, agent=row.agent or None, refs=(turn.seq,), secret=secret)
        )

    return job


def end_task(signed: SignedOrder, verify: VerifyOrder, said: Said) -> Job[int]:
    """It is done, or dropped: by whose task it is, who has the case, or an operator."""

    def job(turn: Turn) -> Plan[int]:
        details = parse_order(signed.order).details
        row = case(turn, details.incident)
        task = next((each for each in row.tasks if each.number == details.task), None)
        if task is None:
            raise Refused(
                f"incident {details.incident} has no open task {details.task}",
                hint=f"failwell incident show {details.incident} tells which are.",
            )
        order, draft = about_case(turn, signed, verify, "incident.finish", row.agent)
        if order.person != task.person:
            need_holder(turn, row, order.person, f"ending a task of {task.person}")
        body = kinds.IncidentTaskEnded(
            incident=details.incident, task=details.task, person=order.person, state=details.state, words=details.words
        )
        secret = said.secret(details.words)
        return carried_out(
            draft,
            Draft(body=body, actor=draft.actor, agent=row.agent or None, refs=(turn.seq, task.entry), secret=secret),
        )

    return job


def hand_over(signed: SignedOrder, verify: VerifyOrder, said: Said) -> Job[int]:
    """Ask another person to take it over. Until they acknowledge it, it stays where it is."""

    def job(turn: Turn) -> Plan[int]:
        details = parse_order(signed.order).details
        row = open_case(turn, details.incident)
        need_person(turn, details.to)
        if details.to == row.holder:
            raise Refused(f"{details.to} has incident {details.incident} already")
        order, draft = about_case(turn, signed, verify, "incident.hand", row.agent)
        need_holder(turn, row, order.person, "handing it over")
        if details.to == order.person:
            raise Refused(f"{order.person} takes it with: failwell incident acknowledge {details.incident}")
        body = kinds.IncidentOffered(incident=details.incident, person=order.person, to=details.to, words=details.words)
        secret = said.secret(details.words)
        return carried_out(
            draft, Draft(body=body, actor=draft.actor, agent=row.agent or None, refs=(turn.seq,), secret=secret)
        )

    return job


def raise_severity(signed: SignedOrder, verify: VerifyOrder, said: Said) -> Job[int]:
    """It is worse than it was taken for: one person's word is enough, and it never waits."""

    def job(turn: Turn) -> Plan[int]:
        details = parse_order(signed.order).details
        row = open_case(turn, details.incident)
        if details.severity == row.severity or worse(details.severity, row.severity) == row.severity:
            raise Refused(
                f"incident {details.incident} is {row.severity}, and {details.severity} is not worse",
                hint=f"Two persons lower it: failwell incident lower {details.incident} SEVERITY --because WHY",
            )
        _, draft = about_case(turn, signed, verify, "incident.raise", row.agent)
        return carried_out(
            draft,
            changed(turn, draft, details.incident, row, "severity", row.severity, details.severity, details.reason),
        )

    return job


def mark_serious(signed: SignedOrder, verify: VerifyOrder, said: Said) -> Job[int]:
    """A person's mark with legal consequence: from here on the record is locked before any fix."""

    def job(turn: Turn) -> Plan[int]:
        details = parse_order(signed.order).details
        row = open_case(turn, details.incident)
        if row.serious is not None:
            raise Refused(f"incident {details.incident} is marked as serious already (entry {row.serious})")
        _, draft = about_case(turn, signed, verify, "incident.serious", row.agent)
        return carried_out(draft, changed(turn, draft, details.incident, row, "serious", "no", "yes", details.reason))

    return job


def merge(signed: SignedOrder, verify: VerifyOrder, said: Said) -> Job[int]:
    """It is the same failure as another one, and told there from here on."""

    def job(turn: Turn) -> Plan[int]:
        details = parse_order(signed.order).details
        row, into = open_case(turn, details.incident), open_case(turn, details.into)
        if details.incident == details.into:
            raise InputError("an incident is not merged into itself")
        if row.state in BELIEVED_OVER:
            raise Refused(
                f"incident {details.incident} is {row.state}: what is thought to be over is not merged",
                hint=f"If it is not over: failwell incident reopen {details.incident}",
            )
        if into.state in BELIEVED_OVER:
            raise Refused(
                f"incident {details.into} is {into.state}: nobody would look into what is told there from here on",
                hint=f"It is not over, then: failwell incident reopen {details.into}",
            )
        if (row.kind in REHEARSED) != (into.kind in REHEARSED):
            # Attack: a real failure is told as part of a drill, where nobody counts it.
            raise Refused(f"a {row.kind} and a {into.kind} are never the same failure")
        order, draft = about_case(turn, signed, verify, "incident.merge", row.agent)
        body = kinds.IncidentMerged(
            incident=details.incident, into=details.into, person=order.person, why=details.reason
        )
        return carried_out(
            draft, Draft(body=body, actor=draft.actor, agent=row.agent or None, refs=(turn.seq, into.opened))
        )

    return job


def reopen(signed: SignedOrder, verify: VerifyOrder, said: Said) -> Job[int]:
    """It is not over: one person's word is enough."""

    def job(turn: Turn) -> Plan[int]:
        details = parse_order(signed.order).details
        row = case(turn, details.incident)
        if row.state == "MERGED":
            raise Refused(
                f"incident {details.incident} was merged into {row.merged_into}, and is told there",
                hint=f"failwell incident reopen {row.merged_into}",
            )
        if row.state not in BELIEVED_OVER | OVER:
            raise Refused(f"incident {details.incident} is {row.state}: it was never thought to be over")
        _, draft = about_case(turn, signed, verify, "incident.reopen", row.agent)
        return carried_out(
            draft, changed(turn, draft, details.incident, row, "state", row.state, "REOPENED", details.reason)
        )

    return job


def resolve(signed: SignedOrder, verify: VerifyOrder, said: Said) -> Job[int]:
    """Nothing more goes wrong, and it is known what contributed."""

    def job(turn: Turn) -> Plan[int]:
        details = parse_order(signed.order).details
        number, row = details.incident, open_case(turn, details.incident)
        order, draft = about_case(turn, signed, verify, "incident.resolve", row.agent)
        need_holder(turn, row, order.person, "resolving it")
        if row.state != "INVESTIGATING":
            raise Refused(
                f"incident {number} is {row.state}: what is investigated is resolved", hint=_next(number, row.state)
            )
        if not row.factors:
            raise Refused(
                f"nobody has said what contributed to incident {number}",
                hint=f'failwell incident find {number} "What contributed" --cites ENTRY --factor',
            )
        waiting, _ = unstopped(turn.state, number)
        if waiting:
            raise Refused(f"{len(waiting)} actions of incident {number} have not ended yet")
        return carried_out(draft, changed(turn, draft, number, row, "state", row.state, "RESOLVED", details.reason))

    return job


def _next(number: int, state: str) -> str:
    if state in ("OPEN", "REOPENED"):
        return f"Somebody takes it first: failwell incident acknowledge {number}"
    if state == "TRIAGED":
        return f'It begins with a finding: failwell incident find {number} "..." --cites ENTRY'
    return f"failwell incident show {number} tells what is next."


def claim(signed: SignedOrder, verify: VerifyOrder, said: Said) -> Job[int]:
    """Something was changed so that it does not happen again: claimed, and not proven by that."""

    def job(turn: Turn) -> Plan[int]:
        details = parse_order(signed.order).details
        row = open_case(turn, details.incident)
        if row.state == "LEARNED":
            raise Refused(f"two persons said of incident {details.incident} that nothing is to be changed")
        order, draft = about_case(turn, signed, verify, "incident.claim", row.agent)
        body = kinds.ChangeClaimed(
            incident=details.incident, change=details.change, person=order.person, words=details.words
        )
        secret = said.secret(details.words)
        return carried_out(
            draft, Draft(body=body, actor=draft.actor, agent=row.agent or None, refs=(turn.seq,), secret=secret)
        )

    return job


def close(signed: SignedOrder, verify: VerifyOrder, said: Said) -> Job[int]:
    """What two persons decided is done, and nothing is open any more."""

    def job(turn: Turn) -> Plan[int]:
        details = parse_order(signed.order).details
        number, row = details.incident, open_case(turn, details.incident)
        if row.state != "LEARNED":
            raise Refused(
                f"incident {number} is {row.state}: it is closed once two persons decided what is learned from it",
                hint=f"failwell incident close {number} --none WHY proposes that nothing is to be changed; "
                f"another person agrees: failwell incident close {number} --agree",
            )
        left = left_open(turn.state, number)
        if left:
            raise Refused(
                f"incident {number} is not closed while this is open: {'; '.join(left[:5])}",
                hint=f"failwell incident show {number} names the command for each.",
            )
        _, draft = about_case(turn, signed, verify, "incident.close", row.agent)
        return carried_out(
            draft, changed(turn, draft, number, row, "state", "LEARNED", "CLOSED", "nothing of it is open any more")
        )

    return job


JOBS: dict[str, MakeJob] = {
    "incident.report": report,
    "incident.note": note,
    "incident.task": give_task,
    "incident.finish": end_task,
    "incident.hand": hand_over,
    "incident.raise": raise_severity,
    "incident.serious": mark_serious,
    "incident.merge": merge,
    "incident.reopen": reopen,
    "incident.resolve": resolve,
    "incident.claim": claim,
    "incident.close": close,
    **agreeing.JOBS,
}
