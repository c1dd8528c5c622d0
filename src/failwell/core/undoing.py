"""What an action owes to its undoing: from the contract that declares the step to how the step ended (D28).

Ordered by rule where an action was stopped on its way, in its outcome's own commit (`core.react`), or by a person.
An undoing is owed, begun, and then reversed, partly, not, or unknown. Part of `core.folds`, which enters these with
all others: a step that begins twice, or ends without having begun, does not fold. Who runs it is the node's; what is
undone here is never the agent's limits, which stay used (D6).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from failwell.core import kinds, rows, stops
from failwell.core.contract import Compensate
from failwell.core.errors import ContractError, Corrupt
from failwell.core.projections import Projections
from failwell.core.records import Draft, Entry

replace = msgspec.structs.replace

REVERSED, PARTLY, NOT, UNKNOWN = "reversed", "partly", "not", "unknown"
ENDS = (REVERSED, PARTLY, NOT, UNKNOWN)
#: Who asks for what nobody ordered.
BY_RULE = "interrupt"
#: Who settles what a dead node left, and by what it was stopped.
RECOVERY = "recovery"
#: An action that ended so was stopped on its way, whoever or whatever stopped it.
CUT_SHORT = frozenset({"interrupted_confirmed", "interrupted_unconfirmed", "completed_after_interrupt"})
#: An action that ended so may have done something. `blocked` was proved not to have started.
STARTED = CUT_SHORT | {"completed", "failed", "unknown"}
#: Nobody can say that it has ended: what is undone while it goes on is done again afterwards.
MAY_GO_ON = "interrupted_unconfirmed"
#: How long an undoing waits for the proof that its action has ended.
WAITS_US = 10 * 60 * 1_000_000
#: Steps begun for one order: a node that dies with each of them goes on dying.
MOST_TRIES = 3


# ---- what contracts declare ----------------------------------------------------------------------------------


def step_of(state: Projections, contract: str, tool: str) -> Compensate | None:
    """The step that the contract of this digest declares for a tool."""
    known = state.undoings.get(contract)
    if known is None:
        try:
            found = state.contract_at(contract)
        except ContractError:  # of an earlier release, or damaged: it allows nothing either
            found = None
        tools = () if found is None else found.tools
        known = {tool.tool: tool.compensate for tool in tools if tool.compensate is not None}
        state.undoings[contract] = known
    return known.get(tool)


def declared_by(state: Projections, agent: str, chain: tuple[str, ...], tool: str) -> str | None:
    """The contract in force by which an action would be undone: the agent's own, then the nearest delegator's.

    Attack: work that is handed to an agent whose own contract undoes nothing. A backtest runs nothing, and undoes
    nothing.
    """
    if state.mode != "live":
        return None
    for name in (agent, *reversed(chain)):
        row = state.agent.get(name)
        if row is not None and row.contract is not None and step_of(state, row.contract, tool) is not None:
            return row.contract
    return None


def harmless(state: Projections, contract: str, step: str) -> bool:
    """Whether the contract says of a step that running it twice does no harm."""
    try:
        found = state.contract_at(contract)
    except ContractError:
        return False
    return found is not None and any(tool.tool == step and tool.idempotent for tool in found.tools)


# ---- what is to be undone ------------------------------------------------------------------------------------


def ordered_to_stop(state: Projections, body: kinds.InterruptAttempted) -> None:
    """An attempt to stop an action is on record: however it ends now, it was stopped on its way.

    What a dead node's sweep stopped nobody wanted stopped, unless it was ordered: it may be run again (`core.resumed`).
    """
    row = state.action.get(body.action)
    if row is None or row.undo is None or row.stopped:
        return
    waited = any(body.action in case.waiting for case in state.incident.values()) or stops.awaits(state, body.action)
    if waited or not body.method.endswith(RECOVERY):
        state.change("action", body.action, stopped=True)


def outcome_of(row: rows.Action, entry: Entry[Any]) -> int | None:
    """The entry by which an action ended, kept where it can be undone."""
    return None if row.undo is None else entry.seq


def ended(state: Projections, row: rows.Action, entry: Entry[Any]) -> None:
    """An action has its outcome; where it was stopped on its way its undoing follows in the same commit."""
    body: kinds.Outcome = entry.body
    stopped = row.stopped or (body.state in CUT_SHORT and body.by != RECOVERY)
    if row.undo is not None and stopped and body.state in STARTED:
        state.to_undo[body.decision] = replace(row, state=body.state, ended=entry.seq)


def after_outcome(state: Projections, entry: Entry[Any], actor: str) -> tuple[Draft, ...]:
    """The undoing that an outcome leads to."""
    row = state.to_undo.get(entry.body.decision)
    if row is None:
        return ()
    body = ordered(state, entry.body.decision, row, BY_RULE)
    return () if body is None else (Draft(body=body, actor=actor, agent=entry.agent, run=entry.run, refs=(entry.seq,)),)


def ordered(state: Projections, decision: int, row: rows.Action, by: str) -> kinds.CompensationOrdered | None:
    """What orders the undoing of an action that has ended; None where no contract in force declared how."""
    step = None if row.undo is None else step_of(state, row.undo, row.tool)
    if step is None or row.undo is None:
        return None
    return kinds.CompensationOrdered(
        decision=decision, tool=row.tool, step=step.tool, contract=row.undo, within_us=step.within_us,
        after=row.state, by=by,
    )  # fmt: skip


def confirmed(state: Projections, action: int) -> None:
    """An action has ended after all: its undoing need not wait any more."""
    row = state.compensation.get(action)
    if row is not None and row.waits:
        state.put("compensation", action, replace(row, waits=False))


def again(state: Projections, row: rows.Compensation) -> bool:
    """Whether a person may order an undoing once more that has ended so: what was undone in part, or nobody knows how
    far, is not undone a second time, unless that does no harm.
    """
    return row.state == NOT or (row.state in (PARTLY, UNKNOWN) and harmless(state, row.contract, row.step))


def may_begin(state: Projections, row: rows.Compensation) -> bool:
    """Whether the step may be started: for the first time, or once more after its node died with it."""
    if row.state == "owed":
        return not row.waits
    return row.state == "begun" and row.tries < MOST_TRIES and harmless(state, row.contract, row.step)


def severity_of(state: str) -> str:
    """How grave it is that an action was not reversed."""
    return "major" if state == PARTLY else "critical"


def told(body: kinds.Compensated) -> str:
    """What an undoing came to, for people."""
    word = {PARTLY: "undone only in part", NOT: "NOT undone", UNKNOWN: "perhaps not undone: nobody can say"}
    return f"action {body.decision} ({body.tool}) was stopped on its way and is {word[body.state]}: {body.detail}"[:500]


# ---- folds ---------------------------------------------------------------------------------------------------


def _ordered(state: Projections, entry: Entry[Any], body: kinds.CompensationOrdered, at_us: int) -> None:
    known = state.compensation.get(body.decision)
    cause = state.to_undo.pop(body.decision, None)
    by_rule = body.by == BY_RULE
    if known is not None and (by_rule or known.state != "owed" or not known.waits):
        raise Corrupt(f"entry {entry.seq} orders the undoing of action {body.decision} a second time")
    if by_rule and (cause is None or ordered(state, body.decision, cause, BY_RULE) != body):
        raise Corrupt(f"entry {entry.seq} orders an undoing of action {body.decision} that nothing asks for")
    step = step_of(state, body.contract, body.tool)
    if step is None or (step.tool, step.within_us) != (body.step, body.within_us) or body.after not in STARTED:
        raise Corrupt(f"entry {entry.seq} orders an undoing that contract {body.contract} does not declare")
    if not entry.refs:
        raise Corrupt(f"entry {entry.seq} orders the undoing of action {body.decision} and cites no outcome")
    waits = by_rule and body.after == MAY_GO_ON
    row = rows.Compensation(
        agent=str(entry.agent), tool=body.tool, step=body.step, contract=body.contract, within_us=body.within_us,
        ordered=entry.seq, by=body.by, after=body.after, state="owed", waits=waits,
        due_us=at_us + (WAITS_US if waits else 0), tries=0, begun=None,
        outcome=entry.refs[-1].seq, ended=None,
    )  # fmt: skip
    state.put("compensation", body.decision, row)


def _of(state: Projections, entry: Entry[Any], body: Any) -> rows.Compensation:
    row = state.compensation.get(body.decision)
    if row is None or (row.agent, row.tool, row.step) != (entry.agent, body.tool, body.step):
        raise Corrupt(f"entry {entry.seq} speaks of an undoing of action {body.decision}, which is not owed")
    return row


def _begun(state: Projections, entry: Entry[Any], body: kinds.CompensationBegun, at_us: int) -> None:
    row = _of(state, entry, body)
    if not may_begin(state, row) or body.tries != row.tries + 1:
        raise Corrupt(f"entry {entry.seq} begins the undoing of action {body.decision} once too often, or too early")
    state.put("compensation", body.decision, replace(row, state="begun", tries=body.tries, begun=entry.seq))


def _compensated(state: Projections, entry: Entry[Any], body: kinds.Compensated, at_us: int) -> None:
    row = _of(state, entry, body)
    if body.state not in ENDS or (row.state == "owed" and body.state != NOT):
        raise Corrupt(f"entry {entry.seq} says that action {body.decision} is {body.state!r}, and no step was begun")
    if row.waits and at_us < row.due_us:
        raise Corrupt(f"entry {entry.seq} gives the undoing of action {body.decision} up before its time")
    state.put("compensation", body.decision, replace(row, state=body.state, ended=entry.seq))
    state.forget("compensation", body.decision)


FOLDS: dict[type, Callable[[Projections, Entry[Any], Any, int], None]] = {
    kinds.CompensationOrdered: _ordered,
    kinds.CompensationBegun: _begun,
    kinds.Compensated: _compensated,
}
