"""What people order about duties to inform: that one applies, that somebody was informed, that it does not apply after
all. And what the clock says by itself: reminders, and what was missed (R17).
"""

from __future__ import annotations

from failwell.core import kinds, rows
from failwell.core.errors import NotFound, Refused
from failwell.core.escalation import clocks
from failwell.core.instants import parse_at
from failwell.core.orders import SignedOrder, parse_order
from failwell.core.projections import Projections
from failwell.core.records import Draft
from failwell.ledger.jobs import Job, Plan, Turn
from failwell.ledger.orders import VerifyOrder, admit, need_role
from failwell.response.legal_periods import named
from failwell.response.said import MakeJob, Said

#: How far ahead of ledger time somebody may say that something happened: clocks differ, promises do not count.
AHEAD_US = 300_000_000
#: What one turn writes down; each is followed by letters.
AT_ONCE = 20


def start(signed: SignedOrder, verify: VerifyOrder, said: Said) -> Job[int]:
    """A duty applies, as the data says that the person was shown. Answers the entry."""

    def job(turn: Turn) -> Plan[int]:
        details = parse_order(signed.order).details
        case = _incident(turn, details.incident)
        order, draft = admit(turn, signed, verify, wanted="clock.start", agent=case.agent or None, source="node")
        _may(turn, order.person, case)
        found = named(details.clock)
        aware_us = parse_at(details.aware)
        if found.digest != details.data or found.shown(aware_us) != details.deadlines:
            raise Refused(
                f"the data of {details.clock} is not what was shown: this node's is of another release",
                hint="failwell clock list shows what this node goes by.",
            )
        running = turn.state.clock.get(clocks.key_of(details.incident, details.clock))
        if running is not None and running.state == clocks.RUNNING:
            raise Refused(f"{details.clock} runs for incident {details.incident} already (entry {running.entry})")
        if aware_us > turn.now_us:
            raise Refused(f"{details.aware} is still to come: nobody knows of it yet")
        body = kinds.ClockStarted(
            incident=details.incident, clock=details.clock, title=found.period.title, source=found.period.law,
            data=found.digest, aware_us=aware_us, deadlines=found.due(aware_us), person=order.person,
        )  # fmt: skip
        started = Draft(body=body, actor=draft.actor, agent=case.agent or None, refs=(turn.seq, case.opened))
        return Plan((draft, started), lambda entries: entries[1].seq)

    return job


def meet(signed: SignedOrder, verify: VerifyOrder, said: Said) -> Job[int]:
    """Somebody was informed, by a person's word. Answers the entry."""

    def job(turn: Turn) -> Plan[int]:
        details = parse_order(signed.order).details
        case, row = _incident(turn, details.incident), running_clock(turn.state, details.incident, details.clock)
        order, draft = admit(turn, signed, verify, wanted="clock.meet", agent=case.agent or None, source="node")
        _may(turn, order.person, case)
        due = next((each for each in row.deadlines if each.deadline == details.deadline), None)
        if due is None:
            names = ", ".join(each.deadline for each in row.deadlines)
            raise NotFound(f"{details.clock} has no deadline {details.deadline}", hint=f"It has: {names}.")
        if any(name == details.deadline for name, _ in row.met):
            raise Refused(f"{details.deadline} of {details.clock} was met already", code="repeated")
        at_us = parse_at(details.at)
        if not row.aware_us <= at_us <= turn.now_us + AHEAD_US:
            raise Refused(f"{details.at} is before it was known of, or still to come")
        if not details.complete and not due.incomplete:
            raise Refused(
                f"{details.deadline} of {details.clock} may not be incomplete", hint="Say --complete once it is whole."
            )
        body = kinds.ClockMet(
            incident=details.incident, clock=details.clock, deadline=details.deadline, person=order.person,
            told=details.told, informed_at=details.at, complete=details.complete,
            late_us=max(0, at_us - due.due_us), words=details.words,
        )  # fmt: skip
        met = Draft(
            body=body, actor=draft.actor, agent=case.agent or None, refs=(turn.seq, row.entry),
            secret=said.secret(details.words),
        )  # fmt: skip
        return Plan((draft, met), lambda entries: entries[1].seq)

    return job


def end(signed: SignedOrder, verify: VerifyOrder, said: Said) -> Job[int]:
    """It does not apply after all, says an approver who did not start it. Answers the entry."""

    def job(turn: Turn) -> Plan[int]:
        details = parse_order(signed.order).details
        case, row = _incident(turn, details.incident), running_clock(turn.state, details.incident, details.clock)
        order, draft = admit(turn, signed, verify, wanted="clock.end", agent=case.agent or None, source="node")
        need_role(turn, order.person, "approver", "saying that a duty does not apply after all")
        people = turn.state.person
        if order.person == row.person or people[order.person].key == people[row.person].key:
            raise Refused(f"{order.person} started this clock: another person ends it")
        body = kinds.ClockEnded(incident=details.incident, clock=details.clock, person=order.person, why=details.reason)
        ended = Draft(body=body, actor=draft.actor, agent=case.agent or None, refs=(turn.seq, row.entry))
        return Plan((draft, ended), lambda entries: entries[1].seq)

    return job


def tick(turn: Turn) -> Plan[int]:
    """Remind people of what comes near, and write down what was missed. Answers how much that was."""
    state = turn.state
    if state.mode != "live" or not state.clock:
        return Plan((), lambda entries: 0)
    found = sorted(clocks.coming(state, turn.now_us))[:AT_ONCE]
    return Plan(tuple(_draft(state, each) for each in found), len)


def _draft(state: Projections, each: clocks.Coming) -> Draft:
    row = state.clock[clocks.key_of(each.incident, each.clock)]
    body: kinds.ClockMissed | kinds.ClockReminded
    if each.left_us is None:
        body = kinds.ClockMissed(incident=each.incident, clock=each.clock, deadline=each.deadline, due_us=each.due_us)
    else:
        body = kinds.ClockReminded(
            incident=each.incident, clock=each.clock, deadline=each.deadline, left_us=each.left_us
        )
    return Draft(body=body, actor="node", agent=state.incident[each.incident].agent or None, refs=(row.entry,))


def running_clock(state: Projections, incident: int, clock: str) -> rows.RunningClock:
    """A clock that runs; NotFound where there is none."""
    row = state.clock.get(clocks.key_of(incident, clock))
    if row is None or row.state != clocks.RUNNING:
        raise NotFound(f"no clock {clock} runs for incident {incident}", hint=f"failwell clock show {incident}")
    return row


def _incident(turn: Turn, number: int) -> rows.Incident:
    row = turn.state.incident.get(number)
    if row is None:
        raise NotFound(f"there is no incident {number}", hint="failwell incident list shows those there are.")
    return row


def _may(turn: Turn, person: str, case: rows.Incident) -> None:
    """Who answers for the agent, or for the whole."""
    agent = turn.state.agent.get(case.agent)
    if agent is not None and person == turn.state.reachable(agent.owner):
        return
    need_role(turn, person, "operator", "speaking of a duty to inform")


JOBS: dict[str, MakeJob] = {"clock.start": start, "clock.meet": meet, "clock.end": end}
