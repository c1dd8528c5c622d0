"""The operations of `/v1`, one line each: what is asked, what is answered, by whom, and by which lane.

The server and its description (`openapi`) are both made from this table, so that neither says what the other does not.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from failwell.response.whole import Whole
from failwell.web import acting, events, giving, reading, shapes
from failwell.web.door import AGENT, HOST, PERSON, Asked, Door
from failwell.web.lanes import Lane

JSON, METRICS = "application/json", "application/openmetrics-text; version=1.0.0; charset=utf-8"
EVERYBODY = frozenset({AGENT, HOST, PERSON})
AGENTS, PERSONS = frozenset({AGENT}), frozenset({PERSON})
NOBODY: frozenset[str] = frozenset()

Handle = Callable[[Door, Asked], Awaitable[Any]]
_S = HTTPStatus
#: What any request may be answered with: it is malformed, too slow or large, one of too many, or we are at fault.
_ALWAYS = (
    _S.BAD_REQUEST, _S.UNAUTHORIZED, _S.METHOD_NOT_ALLOWED, _S.REQUEST_TIMEOUT, _S.REQUEST_ENTITY_TOO_LARGE,
    _S.UNPROCESSABLE_ENTITY, _S.TOO_MANY_REQUESTS, _S.REQUEST_HEADER_FIELDS_TOO_LARGE, _S.INTERNAL_SERVER_ERROR,
    _S.SERVICE_UNAVAILABLE,
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """`who`: the roles that may ask, nobody: no proof is needed. `optional`: one may be given all the same."""

    method: str
    path: str
    name: str
    words: str
    handle: Handle
    answers: Any
    asks: type[Any] = shapes.Nothing
    query: type[Any] = shapes.Nothing
    who: frozenset[str] = EVERYBODY
    optional: bool = False
    lane: Lane = Lane.PROMPT
    status: HTTPStatus = _S.OK
    also: tuple[HTTPStatus, ...] = ()
    denies: bool = False
    media_type: str = JSON

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names in its path."""
        return tuple(part[1:-1] for part in self.path.split("/") if part.startswith("{"))

    @property
    def problems(self) -> tuple[HTTPStatus, ...]:
        """The statuses by which it may be refused."""
        found = {*_ALWAYS, *self.also}
        if self.who or self.optional:
            found.add(_S.FORBIDDEN)
        if self.parameters:
            found.add(_S.NOT_FOUND)
        if self.method == "POST":
            found |= {_S.UNSUPPORTED_MEDIA_TYPE, _S.FORBIDDEN, _S.NOT_FOUND, _S.CONFLICT}
        return tuple(sorted(found))


def _get(path: str, name: str, words: str, handle: Handle, answers: Any, **more: Any) -> Operation:
    return Operation(method="GET", path=path, name=name, words=words, handle=handle, answers=answers, **more)


def _post(path: str, name: str, words: str, handle: Handle, asks: type[Any], answers: Any, **more: Any) -> Operation:
    return Operation(
        method="POST", path=path, name=name, words=words, handle=handle, asks=asks, answers=answers, **more
    )  # fmt: skip


async def _streamed(door: Door, asked: Asked) -> None:
    """`events.serve` writes the answer itself."""
    raise AssertionError("an event stream is not answered at once")


OPERATIONS = (
    _get("/v1", "about", "What answers here.", reading.about, shapes.About, who=NOBODY),
    _get("/v1/health", "health", "Whether actions can be permitted; one word.", reading.health, shapes.Health,
         who=NOBODY, lane=Lane.ASIDE),
    _get("/v1/metrics", "metrics", "What can be counted (OpenMetrics): for persons, or anybody on this machine.",
         reading.metrics, str, who=NOBODY, optional=True, media_type=METRICS),
    _get("/v1/state", "state", "The workspace as it stands.", reading.state, shapes.State, who=PERSONS),
    _get("/v1/agents", "agents", "The agents that the caller may read of.", reading.agents, tuple[shapes.Agent, ...]),
    _get("/v1/agents/{agent}", "agent", "One agent, by its short name.", reading.agent, shapes.Agent),
    _post("/v1/runs", "openRun", "Open a run, or hand the work of one over.", acting.open_run, shapes.OpenRun,
          shapes.Opened, status=_S.CREATED),
    _get("/v1/runs/{run}", "run", "A run as it stands.", acting.read_run, shapes.Run),
    _post("/v1/runs/{run}/close", "closeRun", "Close a run whose actions have ended.", acting.close_run,
          shapes.CloseRun, shapes.Run, who=AGENTS),
    _post("/v1/actions/decide", "decide", "The verdict on an action, on record; nothing is executed. 200 for ALLOW, "
          "DENY and ESCALATE.", acting.decide, shapes.Propose, shapes.Decided, who=AGENTS),
    _post("/v1/actions/execute", "execute", "Have the node execute an action. 200: it was started, and has ended as "
          "`outcome` says; 403: it was not allowed.", acting.execute, shapes.Propose, shapes.Executed, who=AGENTS,
          lane=Lane.LASTING, denies=True),
    _post("/v1/actions/begin", "begin", "Leave to execute an action oneself, and to be asked to stop.", acting.begin,
          shapes.ProposeBegin, shapes.Decided, who=AGENTS, denies=True),
    _post("/v1/actions/permit", "permit", "A permit for a tool server that executes the action.", acting.permit,
          shapes.ProposePermit, shapes.Permit, who=AGENTS, denies=True),
    _get("/v1/actions/{action}", "action", "An action, what was decided and what came of it.", acting.read_action,
         shapes.Action),
    _post("/v1/actions/{action}/settle", "settle", "How an action ended that the caller executed.", acting.settle,
          shapes.Settle, shapes.Recorded, who=AGENTS),
    _post("/v1/actions/{action}/explain", "explain", "Why it was done, said afterwards.", acting.explain,
          shapes.Explain, shapes.Recorded, who=AGENTS, status=_S.CREATED),
    _get("/v1/events", "events", "The stream over which actions that the caller executes are asked to stop.",
         _streamed, str, who=AGENTS, lane=Lane.LASTING, media_type=events.MEDIA_TYPE),
    _get("/v1/tickets", "tickets", "Questions for persons.", reading.tickets, tuple[shapes.Ticket, ...],
         query=shapes.TicketsQuery),
    _get("/v1/tickets/{ticket}", "ticket", "How a ticket stands, where wanted once it was answered.", reading.ticket,
         shapes.Ticket, query=shapes.TicketQuery),
    _post("/v1/sights", "sight", "What a person must be shown before they sign an order.", giving.sight,
          shapes.AskSight, shapes.Sight, who=PERSONS),
    _post("/v1/orders", "giveOrders", "Have orders carried out: the signature in each says whose it is. 202: a stop "
          "that the node did not confirm, and that waits for it.", giving.give, shapes.GiveOrders, shapes.Given,
          who=NOBODY, lane=Lane.STOP, also=(_S.NOT_FOUND,)),
    _get("/v1/incidents", "incidents", "All cases.", reading.incidents, tuple[shapes.Incident, ...], who=PERSONS),
    _get("/v1/incidents/{incident}", "incident", "All that is known of a case.", reading.incident, Whole,
         who=PERSONS),
)  # fmt: skip
