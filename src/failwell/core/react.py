"""Reactions: `react(state, entry) -> drafts`, run by the writer in that entry's own transaction (D4).

A verdict and the suspension that it causes are one commit: no crash point lies between "decided" and "suspended".
Pure, so that a replay of the ledger gives the same reactions (I6). Which response a signal asks for is decided by
the contract's `response` rules (first match wins) and below them by the default ladder.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from failwell.core import asking, credentials, kinds, owing, stops, undoing
from failwell.core.contract import COMPENSATE
from failwell.core.escalation import folds as escalation
from failwell.core.incidents import cases, customers, failing, holding, noticing, releasing, work
from failwell.core.incidents.ladder import CONTAIN
from failwell.core.incidents.opening import ACTOR, after_opened, after_signal, draft_signal
from failwell.core.orders import parse_order
from failwell.core.records import Draft, Entry
from failwell.core.state import State

#: The rules that this release writes by. A ledger says from where on (`response.rules`); before, it is told by the
#: rules it was written by, or its past would read as tampered with.
RULES = 3

_SIGNAL_OF_THEN = {"deny": "denied", "escalate": "escalated", "record": "recorded"}


def react(state: State, entry: Entry[Any]) -> tuple[Draft, ...]:
    """What follows from `entry`, which `state` already includes. Called for every entry, reactions included."""
    kind = type(entry.body)
    reaction = _REACTIONS.get(kind)
    drafts = () if reaction is None else reaction(state, entry, entry.body)
    rules = state.workspace[1].rules if state.workspace else 1
    later = [each for since, table in _SINCE.items() if rules >= since for each in table.get(kind, ())]
    if not later:
        return drafts
    for each in later:
        drafts += each(state, entry, entry.body)
    return _numbered(state, drafts)


def _numbered(state: State, drafts: tuple[Draft, ...]) -> tuple[Draft, ...]:
    """Pages and holds are numbered through, whichever reaction asks for them."""
    pages, holds, found = state.pages, state.holds, []
    for draft in drafts:
        body = draft.body
        if isinstance(body, kinds.PageQueued):
            pages += 1
            body = msgspec.structs.replace(body, page=pages)
        elif isinstance(body, kinds.HoldPlaced):
            holds += 1
            body = msgspec.structs.replace(body, hold=holds)
        found.append(draft if body is draft.body else msgspec.structs.replace(draft, body=body))
    return tuple(found)


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
    kinds.Signal: after_signal,
    kinds.IncidentOpened: after_opened,
    kinds.AgentGrouped: _after_joined,
    kinds.ContractAdopted: _after_joined,
}
#: What follows besides, by the version of the rules since which it does.
_SINCE: dict[int, dict[type, tuple[_Reaction, ...]]] = {2: {}, 3: dict(escalation.REACTIONS)}
for _table in (noticing, cases, holding, work, failing, customers, releasing):
    for _kind, _reaction in _table.REACTIONS.items():
        _SINCE[2][_kind] = (*_SINCE[2].get(_kind, ()), _reaction)
