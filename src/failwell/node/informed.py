"""A verdict on facts that had to be asked for: decide, ask the trusted sources, decide again (D23).

Two turns of the writer with the asking between them, so that a slow source holds up nobody but who waits for it. What
was asked is good only for the contracts that asked it; the second turn judges everything else anew, so that a stop, a
limit or another contract that came meanwhile counts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TYPE_CHECKING

from failwell.gate.verdicts import Asked, Proposal, Unanswered, Verdict

if TYPE_CHECKING:
    from failwell.node.service import Node

#: How often contracts may change while trusted sources are asked for one action's facts; then they are not to be had.
MAX_ASKED = 3
CHANGED = Asked(answers={}, contract="", missing="its contract changed while it was asked")


def decide_informed(node: Node, proposal: Proposal) -> Awaitable[Verdict]:
    """The verdict on a proposal. It is queued at once; what is awaited is the rest."""
    return _informed(node, proposal, node.writer.submit_async(node.gate.decide(proposal)))


async def _informed(node: Node, proposal: Proposal, decided: asyncio.Future[Verdict | Unanswered]) -> Verdict:
    for asked in range(MAX_ASKED + 1):
        found = await decided
        if isinstance(found, Verdict):
            return found
        answers = CHANGED if asked == MAX_ASKED else await node.sources.ask(proposal.agent, found)
        decided = node.writer.submit_async(node.gate.decide(proposal, answers))
    verdict = await decided
    assert isinstance(verdict, Verdict)  # what is missing is not asked for again
    return verdict
