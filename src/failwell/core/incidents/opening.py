"""From a signal to its case: a new one, or one more signal of the case that the agent has.

A closed case never swallows a new signal. A case tells which agent, which clause spoke or who stopped it, and where it
began.
"""

from __future__ import annotations

from typing import Any

from failwell.core import kinds
from failwell.core.errors import ContractError
from failwell.core.incidents import catches, endings, reporting
from failwell.core.incidents.containing import contain
from failwell.core.incidents.ladder import About, effect_of, respond
from failwell.core.machines import worse
from failwell.core.projections import Projections
from failwell.core.records import Draft, Entry

ACTOR = "response"


def draft_signal(
    state: Projections, about: Entry[Any], signal: str, severity: str, *, agent: str | None = None,
    run: int | None = None,
) -> Draft:  # fmt: skip
    """The signal that `about` raises, with the response that the rules ask for.

    It is about the entry's own agent, unless another one is named.
    """
    agent, run = (about.agent, about.run) if agent is None else (agent, run)
    now_us = state.last_at_us
    row = state.agent.get(agent or "")
    rule, at_least, response = respond(state, agent or "", signal, severity, now_us, about_of(state, about))
    acts = state.mode == "live" and (_governed(row.authority, about.body) if row is not None else agent is None)
    applied = acts and bool(set(response) - {"record"})
    body = kinds.Signal(
        by=ACTOR, signal=signal, severity=severity, about=about.seq, count=at_least, rule=rule, response=response,
        applied=applied,
    )  # fmt: skip
    return Draft(body=body, actor=ACTOR, agent=agent, run=run, refs=(about.seq,))


def about_of(state: Projections, about: Entry[Any]) -> About:
    """What the ladder weighs of an entry that raises a signal."""
    body = about.body
    if isinstance(body, kinds.Noticed):
        return About(evidence=body.evidence)
    ended = state.lately.ended.get(about.seq)
    tool = body.tool if isinstance(body, kinds.Decision) else None if ended is None else ended.tool
    return About() if tool is None else About(effect_of(state, str(about.agent), tool))


def _governed(authority: str, about: Any) -> bool:
    """Whether rules act on what `about` tells. Of an OBSERVED agent they record what they would have done (D25)."""
    if isinstance(about, kinds.Decision2):
        return about.governed
    return authority != "OBSERVED"


def after_signal(state: Projections, entry: Entry[Any], body: kinds.Signal) -> tuple[Draft, ...]:
    """A case for what a response was asked for: a new one, or the one that the agent has."""
    # A report has a case of its own. Attack: the store failed under one that suspends, and what is made durable after
    # it stands behind no report any more: the fence would be up, and nothing on record would say so.
    reported = body.signal == reporting.REPORTED and body.about in state.lately.noticed
    if not body.applied or _asks_by_ticket(body) or reported:
        return ()
    number = endings.hears(state, str(entry.agent))
    if number is None:
        return (_open(state, entry, body),)
    row = state.incident[number]
    again = endings.reopened(number, row, f"further signal {body.signal}")
    update = kinds.IncidentUpdated(
        incident=number, state=row.state if again is None else again.now, severity=worse(row.severity, body.severity),
        signal=entry.seq, note=f"further signal {body.signal}",
    )  # fmt: skip
    return (
        *(
            Draft(body=each, actor=ACTOR, agent=entry.agent, run=entry.run, refs=(entry.seq,))
            for each in (again, update)
            if each is not None
        ),
        *contain(
            state,
            str(entry.agent),
            endings.held_for(state, str(entry.agent), number),
            body.response,
            by=body.by,
            why=body.signal,
            cause=entry.seq,
            run=entry.run,
        ),
    )


def _asks_by_ticket(signal: kinds.Signal) -> bool:
    """Whether a rule asks of people no more than the ticket does that the escalated action leaves: that is no case."""
    return signal.signal.startswith("escalated(") and set(signal.response) <= {"record", "ask"}


def _open(state: Projections, entry: Entry[Any], signal: kinds.Signal) -> Draft:
    agent, began = state.agent[str(entry.agent)], _began(state, entry, signal)
    kind = catches.kind_of(state, str(entry.agent), signal, began, _tools(state, entry, signal))
    body = kinds.IncidentOpened(
        by=signal.by, incident=state.incidents + 1, kind=kind, severity=signal.severity,
        title=_title(agent.name, signal), signal=entry.seq, onset_first=began,
        onset_last=signal.about, response=signal.response,
    )  # fmt: skip
    return Draft(body=body, actor=ACTOR, agent=entry.agent, run=entry.run, refs=(entry.seq,))


def _title(name: str, signal: kinds.Signal) -> str:
    """A case in words: which agent, and which clause spoke or who stopped it why."""
    if signal.by == ACTOR:
        return f"{name}: {signal.signal}"
    person, reason = signal.by.removeprefix("person:"), signal.rule.removeprefix("order: ")
    return f"{name}: suspended by {person}: {reason}"[:200]


def _began(state: Projections, entry: Entry[Any], signal: kinds.Signal) -> int:
    """Where it began: the first signal about the tools that the deciding clause is for. A person's order is its own.

    What an agent did wrong with another tool is another story, and would date this one too early.
    """
    told = state.lately.noticed.get(signal.about)
    if signal.by != ACTOR or told is not None:
        return signal.about if told is None or told.first is None else told.first
    onsets = state.agent[str(entry.agent)].onsets
    if signal.signal in onsets:  # a look at the world: it began with the act that it was about (`core.owing`)
        return min(signal.about, onsets[signal.signal][0])
    return min([signal.about, *(onsets[tool][0] for tool in _tools(state, entry, signal) if tool in onsets)])


def _tools(state: Projections, entry: Entry[Any], signal: kinds.Signal) -> frozenset[str]:
    """The tools that a signal is about, or its clause."""
    tool = state.decided[1] if state.decided[0] == signal.about else ""
    return frozenset({tool, *_covered(state, str(entry.agent), signal)})


def _covered(state: Projections, agent: str, signal: kinds.Signal) -> tuple[str, ...]:
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


def after_opened(state: Projections, entry: Entry[Any], body: kinds.IncidentOpened) -> tuple[Draft, ...]:
    """What the new case sets in motion."""
    if entry.agent not in state.agent:
        return reporting.after_opened(state, entry, body)
    return contain(
        state, str(entry.agent), body.incident, body.response, by=body.by, why=body.title, cause=entry.seq,
        run=entry.run,
    )  # fmt: skip
