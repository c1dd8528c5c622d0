"""What an act owes to a look at the world: `ensure` checks from the decision that allowed it to how each ended (D23).

Owed under the contracts that the action was decided under, its own and those of the agents that handed it over, from
the outcome that says it was done. Part of `core.folds`, which enters these with all others: a check that is not owed,
or ended before its time, does not fold.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from failwell.core import kinds, rows
from failwell.core.contract import Ensure
from failwell.core.errors import ContractError, Corrupt
from failwell.core.projections import Projections
from failwell.core.records import Entry

#: Outcomes after which the world must be as promised: the act came to its own end.
DONE = ("completed", "completed_after_interrupt")
ENDS = ("held", "missed", "unknown")
#: After a quiet day what is noticed next is a new beginning, not the continuation of an old one.
QUIET_US = 24 * 3600 * 1_000_000


def check_key(decision: int, name: str) -> str:
    """Where a check's row stands."""
    return f"{decision}/{name}"


def signal_of(name: str) -> str:
    """The signal that a check raises which did not hold."""
    return f"ensure({name})"


def ensures_of(state: Projections, contract: str, tool: str) -> tuple[Ensure, ...]:
    """The checks that the contract of this digest has for a tool."""
    known = state.ensures.get(contract)
    if known is None:
        try:
            found = state.contract_at(contract)
        except ContractError:  # of an earlier release, or damaged: it allows nothing either
            found = None
        known = {} if found is None else {each.tool: each.ensure for each in found.tools if each.ensure}
        state.ensures[contract] = known
    return known.get(tool, ())


def owed_by(state: Projections, agent: str, chain: tuple[str, ...], tool: str) -> tuple[rows.Owed, ...]:
    """The contracts whose checks an action owes once it is done. A backtest has nobody to ask, and owes none."""
    if state.mode != "live":
        return ()
    owed = []
    for name in (*chain, agent):
        row = state.agent.get(name)
        if row is not None and row.contract is not None and ensures_of(state, row.contract, tool):
            owed.append(rows.Owed("" if name == agent else f"{row.name}/", row.contract))
    return tuple(owed)


def owe(state: Projections, row: rows.Action, body: kinds.Outcome, at_us: int) -> None:
    """Note what the action owes, now that it is done."""
    if body.state not in DONE:
        return
    for owed in row.owes:
        for ensure in ensures_of(state, owed.contract, row.tool):
            check = rows.Check(
                agent=row.agent, decision=body.decision, name=owed.prefix + ensure.name, contract=owed.contract,
                tool=row.tool, severity=ensure.severity, since_us=at_us, due_us=at_us + ensure.within_us, state="owed",
            )  # fmt: skip
            state.put("check", check_key(body.decision, check.name), check)


def _ensured(state: Projections, entry: Entry[Any], body: kinds.Ensured, at_us: int) -> None:
    key = check_key(body.decision, body.check)
    row = state.check.get(key)
    if row is None or row.state != "owed" or row.agent != entry.agent:
        raise Corrupt(f"entry {entry.seq} ends check {key}, which is not owed")
    if body.state not in ENDS or body.severity != row.severity:
        raise Corrupt(f"entry {entry.seq} says of check {key} what its contract does not")
    if body.state != "held" and at_us < row.due_us:
        raise Corrupt(f"entry {entry.seq} gives check {key} up before its time")
    state.put("check", key, msgspec.structs.replace(row, state=body.state))
    state.forget("check", key)
    if body.state != "held" and state.workspace[1].rules >= 2:
        note_onset(state, row.agent, signal_of(body.check), body.decision, at_us)


def note_onset(state: Projections, name: str, signal: str, decision: int, at_us: int) -> None:
    """It began with the act, not with what told of it: or the record of the act would stand outside the hold."""
    agent = state.agent.get(name)
    if agent is None or agent.incident is not None:
        return
    began, noticed_us = agent.onsets.get(signal, (decision, at_us))
    began = decision if at_us - noticed_us > QUIET_US else min(began, decision)
    state.change("agent", name, onsets={**agent.onsets, signal: (began, at_us)})


FOLDS: dict[type, Callable[[Projections, Entry[Any], Any, int], None]] = {kinds.Ensured: _ensured}
