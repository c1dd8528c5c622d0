"""Reactions: `react(state, entry) -> drafts`, run by the writer in that entry's own transaction (D4).

A verdict and the suspension that it causes are one commit: no crash point lies between "decided" and "suspended".
Pure, so that a replay of the ledger gives the same reactions (I6). Which response a signal asks for is decided by
the contract's `response` rules (first match wins) and below them by the default ladder.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from failwell.core import asking, credentials, kinds, owing, stops, undoing
from failwell.core import contract as contracts
from failwell.core.contract import COMPENSATE, Rule
from failwell.core.errors import ContractError
from failwell.core.machines import worse
from failwell.core.orders import parse_order
from failwell.core.records import Draft, Entry
from failwell.core.state import State
from failwell.core.stops import INTERRUPTED_AT_ONCE

ACTOR = "response"

#: signal prefix -> (at least, within, response) by severity: what happens when no rule of the contract matches.
#: A denial had no effect: one is worth a record, a burst of them means an agent that no longer knows its bounds.
_MINUTE_US = 60 * 1_000_000
CONTAIN: tuple[str, ...] = ("interrupt", "suspend", "hold", "notify")
LOOK_AT: tuple[str, ...] = ("hold", "notify")
DEFAULT_LADDER: dict[tuple[str, str], tuple[tuple[int, int, tuple[str, ...]], ...]] = {
    ("denied", "critical"): ((1, 0, CONTAIN),),
    ("denied", "major"): ((3, 10 * _MINUTE_US, CONTAIN),),
    ("denied", "minor"): ((20, 10 * _MINUTE_US, CONTAIN),),
    ("executor.unconfirmed", "critical"): ((1, 0, CONTAIN),),
    ("bypass", "critical"): ((1, 0, CONTAIN),),
    # A permitted act after which the world is not as promised had an effect, and is told later than a denial.
    ("ensure", "critical"): ((1, 0, CONTAIN),),
    ("ensure", "major"): ((3, 60 * _MINUTE_US, CONTAIN),),
    # What was not undone is no new misdeed of the agent: the record is locked, and people hear of it.
    ("compensate", "critical"): ((1, 0, LOOK_AT),),
    ("compensate", "major"): ((1, 0, LOOK_AT),),
}

#: Denials because Failwell itself was not healthy, or people stopped everything: a dead guard suspends nobody.
NOT_THE_AGENTS = frozenset(f"denied({clause})" for clause in contracts.NOT_THE_AGENTS)

_SIGNAL_OF_THEN = {"deny": "denied", "escalate": "escalated", "record": "recorded"}


def react(state: State, entry: Entry[Any]) -> tuple[Draft, ...]:
    """What follows from `entry`, which `state` already includes. Called for every entry, reactions included."""
    reaction = _REACTIONS.get(type(entry.body))
    return () if reaction is None else reaction(state, entry, entry.body)


# ---- noticing ------------------------------------------------------------------------------------------------


def _after_decision(state: State, entry: Entry[Any], body: kinds.Decision) -> tuple[Draft, ...]:
    """What its clauses said, and the question that an ESCALATE leaves: in its own commit, so that none is lost."""
    signals = tuple(
        draft_signal(state, entry, f"{_SIGNAL_OF_THEN[clause.then]}({clause.id})", clause.severity)
        for clause in body.clauses
    )
    ticket = asking.ticket_of(state, entry, body) if isinstance(body, kinds.Decision2) else None
    if ticket is None:
        return signals
    return (*signals, Draft(body=ticket, actor=ACTOR, agent=entry.agent, run=entry.run, refs=(entry.seq,)))


def _after_ticket(state: State, entry: Entry[Any], body: kinds.TicketOpened) -> tuple[Draft, ...]:
    """Those who are asked are written to, once."""
    return tuple(
        Draft(body=mail, actor=ACTOR, agent=entry.agent, run=entry.run, refs=(entry.seq,))
        for mail in asking.mails_of(state, entry, body)
    )


def _after_unconfirmed(state: State, entry: Entry[Any], body: kinds.InterruptUnconfirmed) -> tuple[Draft, ...]:
    if entry.agent not in state.agent:
        return ()
    return (draft_signal(state, entry, "executor.unconfirmed", "critical"),)


def _after_effect(state: State, entry: Entry[Any], body: kinds.EffectWitnessed) -> tuple[Draft, ...]:
    """An effect without a verdict went round the gate: the hard form of silent failure (R5).

    A detect-only agent has no gate to go round: its effects are counted as not governed.
    """
    if body.decision is not None or entry.agent not in state.agent or state.agent[entry.agent].detect_only:
        return ()
    return (draft_signal(state, entry, "bypass", "critical"),)


def _after_revoked(state: State, entry: Entry[Any], body: kinds.AccessRevoked) -> tuple[Draft, ...]:
    """An agent that keeps its access is not stopped, whatever was ordered."""
    if body.state == "confirmed" or entry.agent not in state.agent:
        return ()
    return (draft_signal(state, entry, "executor.unconfirmed", "critical"),)


def _after_ensured(state: State, entry: Entry[Any], body: kinds.Ensured) -> tuple[Draft, ...]:
    """The world is not as a permitted act promised, or nobody can say that it is: both are noticed (R5)."""
    if body.state == "held":
        return ()
    return (draft_signal(state, entry, owing.signal_of(body.check), body.severity),)


def _after_outcome(state: State, entry: Entry[Any], body: kinds.Outcome) -> tuple[Draft, ...]:
    """What was stopped on its way is undone, where its contract says how (D28)."""
    return undoing.after_outcome(state, entry, ACTOR)


def _after_compensated(state: State, entry: Entry[Any], body: kinds.Compensated) -> tuple[Draft, ...]:
    """What was not undone is noticed, and told to who answers for the agent: also where it is contained already."""
    if body.state == undoing.REVERSED or entry.agent not in state.agent:
        return ()
    name = f"{COMPENSATE}({body.tool})"
    raised = draft_signal(state, entry, name, undoing.severity_of(body.state))
    opens = isinstance(raised.body, kinds.Signal) and raised.body.applied
    if opens and state.agent[entry.agent].incident is None:  # the case that it opens tells of it
        return (raised,)
    page = kinds.PageQueued(
        page=state.pages + 1, incident=None, person=state.reachable(state.agent[entry.agent].owner), channel="email",
        step=1, due_us=state.last_at_us, why=undoing.told(body),
    )  # fmt: skip
    return (raised, Draft(body=page, actor=ACTOR, agent=entry.agent, refs=(entry.seq,)))


def _after_order(state: State, entry: Entry[Any], body: kinds.Order) -> tuple[Draft, ...]:
    """A person's suspension takes the same road as a rule's: a signal, a case, containment (I8: it never waits)."""
    if body.order in credentials.KEY_ORDERS:
        key = credentials.key_after(state, entry, body)
        return () if key is None else (Draft(body=key, actor=ACTOR, agent=entry.agent, refs=(entry.seq,)),)
    if body.order == stops.ORDER:
        return stops.after_order(state, entry, body, ACTOR)
    if body.order != "agent.suspend" or entry.agent not in state.agent:
        return ()
    signal = kinds.Signal(
        by=f"person:{body.person}", signal="order(agent.suspend)", severity="major", about=entry.seq, count=1,
        rule=f"order: {parse_order(body.text).details.reason}", response=CONTAIN, applied=True,
    )  # fmt: skip
    return (Draft(body=signal, actor=ACTOR, agent=entry.agent, refs=(entry.seq,)),)


def _after_left(state: State, entry: Entry[Any], body: kinds.PersonLeft) -> tuple[Draft, ...]:
    """Nobody answers for their agents now: what may act does so restricted, and the successor is asked to take each."""
    drafts: list[Draft] = []
    page = state.pages
    for name, row in sorted(state.agent.items()):
        if row.owner != body.person or row.authority == "RETIRED":
            continue
        why = f"{body.person}, who owned it, has left: {body.why}"
        if row.orphaned and row.authority != "RESTRICTED":
            restricted = kinds.AuthorityChanged(
                was=row.authority, now="RESTRICTED", epoch=row.epoch + 1, why=why, incident=None, by=entry.actor
            )
            drafts.append(Draft(body=restricted, actor=ACTOR, agent=name, refs=(entry.seq,)))
        page += 1
        asked = kinds.PageQueued(
            page=page, incident=None, person=state.reachable(body.person), channel="email", step=1,
            due_us=state.last_at_us, why=why,
        )  # fmt: skip
        drafts.append(Draft(body=asked, actor=ACTOR, agent=name, refs=(entry.seq,)))
    return tuple(drafts)


def _after_joined(state: State, entry: Entry[Any], body: Any) -> tuple[Draft, ...]:
    """Whoever comes within what people stopped is stopped like the others."""
    return stops.after_joined(state, entry, ACTOR)


def draft_signal(state: State, about: Entry[Any], signal: str, severity: str) -> Draft:
    """The signal that `about` raises, with the response that the rules ask for."""
    agent = str(about.agent)
    now_us = state.last_at_us
    row = state.agent.get(agent)
    rule, at_least, response = _respond(state, agent, signal, severity, now_us)
    acts = row is not None and state.mode == "live" and _governed(row.authority, about.body)
    applied = acts and bool(set(response) - {"record"})
    body = kinds.Signal(
        by=ACTOR, signal=signal, severity=severity, about=about.seq, count=at_least, rule=rule, response=response,
        applied=applied,
    )  # fmt: skip
    return Draft(body=body, actor=ACTOR, agent=agent, run=about.run, refs=(about.seq,))


def _governed(authority: str, about: Any) -> bool:
    """Whether rules act on what `about` tells. Of an OBSERVED agent they record what they would have done (D25)."""
    if isinstance(about, kinds.Decision2):
        return about.governed
    return authority != "OBSERVED"


def _respond(
    state: State, agent: str, signal: str, severity: str, now_us: int
) -> tuple[str, int, tuple[str, ...]]:  # fmt: skip
    """(which rule, how many of the signal so far with this one, response): contract rules, then the default ladder."""
    row = state.agent.get(agent)
    if row is not None and row.authority in ("SUSPENDED", "RETIRED"):
        return (
            "already contained",
            1,
            ("record",),
        )  # what a stopped agent still asks for sets nothing more in motion
    if signal in NOT_THE_AGENTS:
        return "no fault of the agent", 1, ("record",)
    rules = _rules(state, agent)
    seen = 0
    for number, rule in enumerate(rules, 1):
        if rule.signal != signal:
            continue
        seen = 1 + state.signals_within(agent, signal, now_us, rule.within_us)
        if seen >= rule.at_least:
            return f"response[{number}]", seen, rule.do
    if any(rule.signal == signal for rule in rules):
        return "response: below its count", seen, ("record",)
    for at_least, within_us, response in DEFAULT_LADDER.get((signal.split("(", maxsplit=1)[0], severity), ()):
        seen = 1 + state.signals_within(agent, signal, now_us, within_us)
        if seen >= at_least:
            return "default ladder", seen, response
    return "default ladder", max(seen, 1), ("record",)


def _rules(state: State, agent: str) -> tuple[Rule, ...]:
    """The contract's response rules. One that cannot be read keeps no denial and no failed stop from being recorded."""
    try:
        contract = state.contract_of(agent)
    except ContractError:
        return ()
    return () if contract is None else contract.response


# ---- the case ------------------------------------------------------------------------------------------------


def _after_signal(state: State, entry: Entry[Any], body: kinds.Signal) -> tuple[Draft, ...]:
    if not body.applied or _asks_by_ticket(body):
        return ()
    agent = state.agent[str(entry.agent)]
    if agent.incident is None:
        return (_open(state, entry, body),)
    row = state.incident[agent.incident]
    update = kinds.IncidentUpdated(
        incident=agent.incident, state=row.state, severity=worse(row.severity, body.severity), signal=entry.seq,
        note=f"further signal {body.signal}",
    )  # fmt: skip
    return (
        Draft(body=update, actor=ACTOR, agent=entry.agent, run=entry.run, refs=(entry.seq,)),
        *_contain(
            state,
            str(entry.agent),
            agent.incident,
            body.response,
            by=body.by,
            why=body.signal,
            cause=entry.seq,
        ),
    )


def _asks_by_ticket(signal: kinds.Signal) -> bool:
    """Whether a rule asks of people no more than the ticket does that the escalated action leaves: that is no case."""
    return signal.signal.startswith("escalated(") and set(signal.response) <= {"record", "ask"}


def _open(state: State, entry: Entry[Any], signal: kinds.Signal) -> Draft:
    agent = state.agent[str(entry.agent)]
    body = kinds.IncidentOpened(
        by=signal.by, incident=state.incidents + 1, kind="real", severity=signal.severity,
        title=_title(agent.name, signal), signal=entry.seq, onset_first=_began(state, entry, signal),
        onset_last=signal.about, response=signal.response,
    )  # fmt: skip
    return Draft(body=body, actor=ACTOR, agent=entry.agent, run=entry.run, refs=(entry.seq,))


def _title(name: str, signal: kinds.Signal) -> str:
    """A case in words: which agent, and which clause spoke or who stopped it why."""
    if signal.by == ACTOR:
        return f"{name}: {signal.signal}"
    person, reason = signal.by.removeprefix("person:"), signal.rule.removeprefix("order: ")
    return f"{name}: suspended by {person}: {reason}"[:200]


def _began(state: State, entry: Entry[Any], signal: kinds.Signal) -> int:
    """Where it began: the first signal about the tools that the deciding clause is for. A person's order is its own.

    What an agent did wrong with another tool is another story, and would date this one too early.
    """
    if signal.by != ACTOR:
        return signal.about
    onsets = state.agent[str(entry.agent)].onsets
    tools = {state.decided[1] if state.decided[0] == signal.about else "", *_covered(state, str(entry.agent), signal)}
    return min([signal.about, *(onsets[tool][0] for tool in tools if tool in onsets)])


def _covered(state: State, agent: str, signal: kinds.Signal) -> tuple[str, ...]:
    """The tools of the clause or limit that a signal is about."""
    try:
        contract = state.contract_of(agent)
    except ContractError:
        contract = None
    if contract is None:
        return ()
    named = [*((clause.id, clause.tools) for clause in contract.clauses)]
    named += [(limit.id, limit.tools) for limit in contract.limits]
    return tuple(tool for name, tools in named if f"({name})" in signal.signal for tool in tools)


def _after_opened(state: State, entry: Entry[Any], body: kinds.IncidentOpened) -> tuple[Draft, ...]:
    return _contain(state, str(entry.agent), body.incident, body.response, by=body.by, why=body.title, cause=entry.seq)


def _contain(
    state: State, agent: str, incident: int, response: tuple[str, ...], *, by: str, why: str, cause: int
) -> tuple[Draft, ...]:  # fmt: skip
    """Interrupt, authority, hold and page as the response asks, each once per incident, in one commit (D5)."""
    row = state.agent[agent]
    case = state.incident[incident]

    def draft(body: Any) -> Draft:
        return Draft(body=body, actor=ACTOR, agent=agent, refs=(cause,))

    drafts: list[Draft] = []
    if "interrupt" in response or "suspend" in response:
        running = tuple(seq for seq in state.running(agent) if seq not in case.waiting)
        if running or "ORDERED" not in case.marks:
            drafts += [
                draft(kinds.InterruptOrdered(incident=incident, actions=running[first:][:INTERRUPTED_AT_ONCE], why=why))
                for first in range(0, max(1, len(running)), INTERRUPTED_AT_ONCE)
            ]
    now = "SUSPENDED" if "suspend" in response else "RESTRICTED" if "restrict" in response else None
    if now is not None and row.authority not in (now, "SUSPENDED", "RETIRED"):
        drafts.append(
            draft(
                kinds.AuthorityChanged(
                    was=row.authority, now=now, epoch=row.epoch + 1, why=why, incident=incident, by=by
                )
            )
        )
    if "hold" in response and "HELD" not in case.marks:
        first = min(case.onset_first, case.opened)
        drafts.append(
            draft(kinds.HoldPlaced(hold=state.holds + 1, incident=incident, first=first, last=case.opened, why=why))
        )
    paged = any(page.incident == incident for page in state.page.values()) or "NOTIFIED" in case.marks
    told = () if paged else _told(state, agent, response)
    for number, person in enumerate(told, 1):
        page = kinds.PageQueued(
            page=state.pages + number, incident=incident, person=person, channel="email", step=1,
            due_us=state.last_at_us, why=why,
        )  # fmt: skip
        drafts.append(draft(page))
    return tuple(drafts)


def _told(state: State, agent: str, response: tuple[str, ...]) -> tuple[str, ...]:
    """Who is paged of a case: the owner, who answers for the agent; where a rule asks, also who answers its tickets."""
    if not {"notify", "ask"} & set(response):
        return ()
    owner = state.reachable(state.agent[agent].owner)
    others = asking.reviewers(state, agent) if "ask" in response else ()
    return (owner, *[person for person in others if person != owner][: asking.MAILED_AT_ONCE])


_Reaction = Callable[[State, Entry[Any], Any], tuple[Draft, ...]]
_REACTIONS: dict[type, _Reaction] = {
    kinds.Order: _after_order,
    kinds.Decision: _after_decision,
    kinds.Decision2: _after_decision,
    kinds.InterruptUnconfirmed: _after_unconfirmed,
    kinds.EffectWitnessed: _after_effect,
    kinds.Ensured: _after_ensured,
    kinds.Outcome: _after_outcome,
    kinds.Compensated: _after_compensated,
    kinds.PersonLeft: _after_left,
    kinds.TicketOpened: _after_ticket,
    kinds.AccessRevoked: _after_revoked,
    kinds.Signal: _after_signal,
    kinds.IncidentOpened: _after_opened,
    kinds.AgentGrouped: _after_joined,
    kinds.ContractAdopted: _after_joined,
}
