"""A call that was cut off and is made again: judged anew, and run again only where that allows it (D6).

Whatever else the new judgment comes to, the caller is told what became of the first one, and nothing is recorded: who
asks what became of a call has done nothing that could be denied.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from failwell.core import kinds, rows
from failwell.core.resumed import harmless
from failwell.core.state import State
from failwell.ledger.jobs import Plan, Turn

if TYPE_CHECKING:
    from failwell.gate.verdicts import Proposal

ANEW = "The same action is judged anew under a new call id."


def another_call(turn: Turn, seq: int, row: rows.Action, proposal: Proposal) -> str | None:
    """Why a call is not the one of that decision, whatever its id says; None where it is the same."""
    if row.tool != proposal.tool:
        return f"Call {proposal.call} was decided for another tool."
    secret = turn.secret(seq)
    if secret is None:
        return f"What call {proposal.call} was decided for was erased since: nobody can say that it is the same."
    if secret["received"] != hashlib.sha256(proposal.arguments).hexdigest():
        return f"Call {proposal.call} was decided for other arguments."
    return None


def denied_by(turn: Turn, seq: int, row: rows.Action) -> tuple[str, ...]:
    """The clauses that held an earlier call up. Their words were the contract's of that day, and are not told again."""
    entry = None if row.verdict == "ALLOW" else turn.entry(seq)
    return () if entry is None else tuple(clause.id for clause in entry.body.clauses)


def run_again(turn: Turn, first: rows.Action, told: Plan[Any], judge: Callable[[], Plan[Any]]) -> Plan[Any]:
    """`told` is what became of the `first` action; `judge` plans its new decision, or what has to be asked first."""
    if not _resumable(turn.state, first):
        return told
    judged = judge()
    decision = judged.drafts[-1].body if judged.drafts else None
    if decision is None or (isinstance(decision, kinds.Decision) and decision.verdict == "ALLOW"):
        return judged
    turn.minted.clear()
    return told


def first_of(state: State, run: int | None, call: str, verdict: str) -> int | None:
    """The decision that a new one of the same call takes the place of."""
    calls = None if run is None else state.calls.get(run)
    return calls.get(call) if calls is not None and verdict == "ALLOW" else None


def cited(*entries: int | None) -> tuple[int, ...]:
    """Those of the entries that there are."""
    return tuple([entry for entry in entries if entry is not None])


def _resumable(state: State, first: rows.Action) -> bool:
    allowed = first.verdict == "ALLOW" and first.governed
    return allowed and first.cut and harmless(state, first.agent, first.chain, first.tool)
