"""Orders over HTTP: a person's signed word is taken from whoever brings it, as at every door (I7).

A stop whose node does not answer is left in the workspace and sent to the supervisors by this door, once the signature
holds with a key that the node has told before: a stranger's order stops nobody (I8, D2).
"""

from __future__ import annotations

import asyncio
import contextlib

import msgspec

from failwell.client.powers import RESTRICTING, leave_stop
from failwell.core.errors import FailwellError, InputError, NotFound, Refused, Unhealthy
from failwell.core.orders import SignedOrder, parse_order
from failwell.web import shapes
from failwell.web.door import Asked, Door


async def give(door: Door, asked: Asked) -> shapes.Given | shapes.Left:
    """Have orders carried out."""
    fields = {name: value for name, value in msgspec.to_builtins(asked.body).items() if value is not None}
    signed = [SignedOrder(**each) for each in fields["orders"]]
    restricts = parse_order(signed[-1].order).order in RESTRICTING
    line = door.stops if restricts else door.node
    known = door.persons.know(signed[-1])
    if not known and door.strangers.locked():
        # Attack: forged orders without end, so that the one that counts finds no place.
        raise Unhealthy("more orders of nobody that is known here come than are looked at", code="crowded")
    try:
        async with contextlib.nullcontext() if known else door.strangers:
            answer = await line.call("order", **fields)
        door.persons.answered(signed[-1])
        return shapes.Given(answer=answer)
    except (Refused, NotFound, InputError):
        raise  # it was judged: given once more it would be judged the same
    except FailwellError as error:
        if not restricts:
            raise
        order = door.persons.signed(signed[-1])
        left = await asyncio.to_thread(leave_stop, door.workspace, signed[-1], order.details, error.message)
        return shapes.Left(confirmed=False, why=left.why or error.message, sent=sum(each.sent for each in left.sent))


async def sight(door: Door, asked: Asked) -> shapes.Sight:
    """What a person must be shown before they sign an order."""
    key = {"order": asked.body.order, "details": asked.body.details}
    return shapes.take(shapes.Sight, await door.ask(asked.caller, "sight", key))
