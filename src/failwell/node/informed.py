"""A verdict on facts that had to be asked for: decide, ask the trusted sources, decide again (D23).

Two turns of the writer with the asking between them, so that a slow source holds up nobody but who waits for it. What
was asked is good only for the contracts that asked it; the second turn judges everything else anew, so that a stop, a
limit or another contract that came meanwhile counts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, NamedTuple

from failwell.core.contract import Tool
from failwell.core.errors import FailwellError
from failwell.core.records import Entry
from failwell.core.state import State
from failwell.gate.verdicts import Asked, Proposal, Unanswered, Verdict
from failwell.ledger.jobs import Job, Plan, Turn
from failwell.node.preparing import declared

if TYPE_CHECKING:
    from failwell.node.service import Node

#: How often contracts may change while trusted sources are asked for one action's facts; then they are not to be had.
MAX_ASKED = 3
CHANGED = Asked(answers={}, contract="", missing="its contract changed while it was asked")


class Judged(NamedTuple):
    """A verdict, and what the contracts that it was given by say of its tool; None where that was not to be read."""

    verdict: Verdict
    tools: tuple[Tool, ...] | None


def decide_informed(node: Node, proposal: Proposal) -> Awaitable[Judged]:
    """The verdict on a proposal. It is queued at once; what is awaited is the rest."""
    return _informed(node, proposal, node.writer.submit_async(_judged(node.gate.decide(proposal))))


async def _informed(node: Node, proposal: Proposal, decided: asyncio.Future[Judged | Unanswered]) -> Judged:
    for asked in range(MAX_ASKED + 1):
        found = await decided
        if isinstance(found, Judged):
            return found
        answers = CHANGED if asked == MAX_ASKED else await node.sources.ask(proposal.agent, found)
        decided = node.writer.submit_async(_judged(node.gate.decide(proposal, answers)))
    judged = await decided
    assert isinstance(judged, Judged)  # what is missing is not asked for again
    return judged


def _judged(decide: Job[Verdict | Unanswered]) -> Job[Judged | Unanswered]:
    """The same job, which answers what is needed to start the action too: that takes no further turn of the writer."""

    def job(turn: Turn) -> Plan[Judged | Unanswered]:
        drafts, answer = decide(turn)

        def judged(entries: tuple[Entry[Any], ...]) -> Judged | Unanswered:
            found = answer(entries)
            return Judged(found, _tools(turn.state, found)) if isinstance(found, Verdict) else found

        return Plan(drafts, judged)

    return job


def _tools(state: State, verdict: Verdict) -> tuple[Tool, ...] | None:
    if not verdict.may_start or verdict.repeated:
        return None
    try:
        return declared(state, verdict)
    except FailwellError:  # it is on record by now: who prepares the action is told, and blocks it
        return None
