"""Calls that may run a second time: what was cut off, and whose contracts all say that running twice does no harm (D6).

A call id stands for one action. Only where nobody could say that the action came to its end, and every contract of its
chain declares the tool `idempotent`, may it be decided anew; that decision then stands for the call. Part of
`core.folds`: a second decision of a call that has no right to it does not fold.
"""

from __future__ import annotations

from failwell.core import kinds
from failwell.core.errors import ContractError, Corrupt
from failwell.core.projections import Projections
from failwell.core.records import Entry


def cut_off(outcome: kinds.Outcome) -> bool:
    """Whether an action ended without anybody's doing: its node or its supervisor died, or its caller did.

    One that was stopped by an order or its deadline came to the end that somebody wanted.
    """
    return outcome.state == "unknown" or (outcome.by == "recovery" and outcome.state == "interrupted_confirmed")


def harmless(state: Projections, agent: str, chain: tuple[str, ...], tool: str) -> bool:
    """Whether each contract in force, of the agent and of all who handed the work over, lets the tool run twice."""
    for name in (*chain, agent):
        try:
            contract = state.contract_of(name)
        except ContractError:
            return False
        tools = () if contract is None else contract.tools
        if not any(item.tool == tool and item.idempotent for item in tools):
            return False
    return True


def note_call(state: Projections, entry: Entry[kinds.Decision], tool: str, chain: tuple[str, ...]) -> None:
    """Let a decision stand for its call; Corrupt where another one does that has not been cut off.

    A denied re-use of a call id is recorded; it never takes the first one's place.
    """
    calls = None if entry.run is None else state.calls.get(entry.run)
    if calls is None or entry.run is None:
        return
    earlier, call = calls.get(entry.body.call), entry.body.call
    again = earlier is not None and entry.body.verdict != "DENY"
    if again and (earlier in state.action or not harmless(state, str(entry.agent), chain, tool)):
        raise Corrupt(f"entry {entry.seq} decides call {call!r} of run {entry.run} a second time")
    state.call(entry.run, call, entry.seq, again=again)
