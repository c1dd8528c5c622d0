"""Questions over HTTP: what this is, how it stands, agents, tickets, incidents, metrics. Nothing changes by them."""

from __future__ import annotations

import asyncio
import ipaddress
import time
from typing import Any

from failwell.core.errors import FailwellError, NotFound, Refused
from failwell.core.release import VERSION
from failwell.web import counts, shapes
from failwell.web.bodies import read_number
from failwell.web.callers import Caller
from failwell.web.door import Asked, Door

#: How often a ticket is looked at whose answer is awaited: soon at first, then each second.
_PAUSES_S = (0.05, 0.1, 0.2, 0.4)
#: Headers of a proxy: who stands behind it is not on this machine just because it is.
_FORWARDED = frozenset({b"forwarded", b"via", b"x-forwarded-for", b"x-real-ip"})


async def about(door: Door, asked: Asked) -> shapes.About:
    """What answers here."""
    greeting = (await door.node.wire()).greeting
    return shapes.About(
        product="failwell", version=VERSION, api="v1", origin=greeting["origin"], node=greeting["node"],
        protocol=greeting["protocol"],
    )  # fmt: skip


async def health(door: Door, asked: Asked) -> shapes.Health:
    """Whether actions can be permitted; one word, for whoever asks."""
    try:
        status = await door.node.ask("status")
    except FailwellError:
        return shapes.Health(health="failed")
    return shapes.Health(health="ok" if status["health"] == "ok" else "failed")


async def state(door: Door, asked: Asked) -> shapes.State:
    """The workspace as it stands."""
    return shapes.take(shapes.State, await door.ask(asked.caller, "status"))


# ---- agents --------------------------------------------------------------------------------------------------


async def agents(door: Door, asked: Asked) -> tuple[shapes.Agent, ...]:
    """The agents that the caller may read of, by name."""
    sees = await door.sees(asked.caller)
    rows = await door.ask(asked.caller, "agents")
    return tuple(shapes.take(shapes.Agent, row, agent=agent) for agent, row in sorted(rows.items()) if sees(agent))


async def agent(door: Door, asked: Asked) -> shapes.Agent:
    """One agent, by its short or full name."""
    named = asked.path["agent"]
    found = next((each for each in await agents(door, asked) if named in (each.agent, each.name)), None)
    if found is None:
        raise NotFound(f"there is no agent {named[:80]} that {asked.caller.role} {asked.caller.name} may read")
    return found


# ---- tickets -------------------------------------------------------------------------------------------------


async def tickets(door: Door, asked: Asked) -> tuple[shapes.Ticket, ...]:
    """Questions that wait for a person, oldest first."""
    sees = await door.sees(asked.caller)
    rows = await door.ask(asked.caller, "tickets", asked.query.live)
    return tuple(shapes.take(shapes.Ticket, row) for row in rows if sees(row["agent"]))


async def ticket(door: Door, asked: Asked) -> shapes.Ticket:
    """How a ticket stands, where wanted once it was answered."""
    number = read_number(asked.path["ticket"])
    until_s = time.monotonic() + asked.query.wait_s
    told = await door.read(asked.caller, "ticket", number)
    if told["state"] == "open" and asked.query.wait_s:
        with door.waiting(asked.caller):
            gone = asyncio.ensure_future(asked.gone())
            try:
                told = await _answered(door, asked.caller, told, until_s, gone)
            finally:
                gone.cancel()
    return shapes.take(shapes.Ticket, told)


async def _answered(door: Door, caller: Caller, told: Any, until_s: float, gone: asyncio.Future[None]) -> Any:
    number, turn = told["ticket"], 0
    while told["state"] == "open" and (left_s := until_s - time.monotonic()) > 0 and not gone.done():
        pause_s = _PAUSES_S[turn] if turn < len(_PAUSES_S) else 1.0
        await asyncio.wait({gone}, timeout=min(pause_s, left_s))
        told = await door.ask(caller, "ticket", number)
        turn += 1
    return told


# ---- incidents -----------------------------------------------------------------------------------------------


async def incidents(door: Door, asked: Asked) -> tuple[shapes.Incident, ...]:
    """All cases, by number."""
    rows = await door.ask(asked.caller, "incidents")
    return tuple(
        shapes.take(shapes.Incident, row, incident=int(number))
        for number, row in sorted(rows.items(), key=lambda each: int(each[0]))
    )


async def incident(door: Door, asked: Asked) -> dict[str, Any]:
    """All that is known of a case: what happened, what was done, how long it took, what escaped."""
    found: dict[str, Any] = await door.ask(asked.caller, "incident", read_number(asked.path["incident"]))
    return found


# ---- metrics -------------------------------------------------------------------------------------------------


def from_here(asked: Asked) -> bool:
    """Whether the caller is on this machine, and not behind a proxy that is."""
    client = asked.scope.get("client")
    headers = {name for name, _ in asked.scope["headers"]}
    return client is not None and ipaddress.ip_address(client[0]).is_loopback and not headers & _FORWARDED


async def metrics(door: Door, asked: Asked) -> str:
    """What can be counted, as OpenMetrics text."""
    if asked.caller is None and not from_here(asked):
        raise Refused("metrics are for persons, or for callers on this machine", code="unauthenticated")
    if asked.caller is not None and asked.caller.role != "person":
        raise Refused("metrics are for persons", hint="Ask from this machine without a signature.")
    status = await door.node.ask("status")
    values = {
        "failwell_healthy": (int(status["health"] == "ok"), "Whether actions can be permitted."),
        "failwell_entries": (status["entries"], "Entries in the record."),
        "failwell_sealed_entries": (status["sealed"], "Entries under a signed head."),
        "failwell_agents": (status["agents"], "Registered agents."),
        "failwell_agents_suspended": (len(status["suspended"]), "Agents that are suspended."),
        "failwell_agents_not_governed": (len(status["not_governed"]), "Agents that no contract binds."),
        "failwell_scopes_stopped": (len(status["stopped"]), "Scopes that people stopped."),
        "failwell_incidents_open": (len(status["incidents_open"]), "Cases that are not closed."),
        "failwell_unconfirmed_actions": (len(status["unconfirmed"]), "Actions not shown to have stopped."),
        "failwell_running_actions": (status["running"], "Actions that run now."),
        "failwell_http_streams": (len(door.streams), "Event streams that are open."),
    }
    return "\n".join((*counts.gauges(values), *door.counts.lines(), "# EOF", ""))
