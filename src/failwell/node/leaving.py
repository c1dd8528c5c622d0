"""Leave to act by oneself: a verdict for a caller whose act nobody here runs, and the permit that a server checks.

INVARIANT: what leaves was told to the fence first. Under its lock an action is either told, and a stop finds it as one
of which nobody can say that it stopped, or its leave is refused and it is blocked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

from failwell.core.errors import FailwellError, InputError, Refused
from failwell.gate.verdicts import Verdict
from failwell.node.guarding import sealed
from failwell.node.informed import Judged
from failwell.node.permits import Leave
from failwell.node.requests import Act

if TYPE_CHECKING:
    from failwell.node.door import Connection
    from failwell.node.service import Node


async def give_leave(node: Node, connection: Connection, request: Act, decided: Awaitable[Judged]) -> Any:
    """The verdict for a caller that acts by itself, with `how="permit"` a permit beside it, or none.

    An ALLOW of what cannot be undone leaves sealed, or never. A permit leaves once: asked again there is none.
    """
    judged = await decided
    verdict = judged.verdict
    fence = node.fence
    if verdict.repeated and verdict.state == "open" and not fence.has_left(verdict.entry):
        # Attack: ask twice. The first question waits for its seal, the second carries the leave off without one.
        raise Refused("this call is still under way, or was stopped", hint="Ask again what came of it.", code="busy")
    if verdict.repeated or not verdict.may_start:
        return _answer(request, verdict, None)
    permit = fence.grant(verdict.entry, verdict.agent, verdict.epoch, verdict.chain, verdict.scopes)
    leave = None
    try:
        await node.wait_for_orders()
        node.preparer.check_forwarded(verdict)
        if request.how == "permit":
            leave = await _permit(node, judged, request.audience)
        elif verdict.irreversible:
            await sealed(node.writer.seals, verdict.entry)
        await connection.still(verdict)
        fence.tell(permit)  # before it leaves: whoever has it may act on it
    except FailwellError as error:
        fence.take(verdict.entry)
        await asyncio.wrap_future(node.runner.block(verdict.entry, error.message))
        raise
    return _answer(request, verdict, leave)


async def _permit(node: Node, judged: Judged, audience: str | None) -> Leave:
    if not audience:
        raise InputError("a permit is for one server", hint='Name it as the settings do: audience="...".')
    await node.preparer.prepare(*judged, "permit", None)
    return await node.permits.issue(judged.verdict, audience)


def _answer(request: Act, verdict: Verdict, leave: Leave | None) -> Any:
    return {"verdict": verdict, "result": None, "permit": leave} if request.how == "permit" else verdict
