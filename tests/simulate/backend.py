"""A backend of the gateway without a node: tool servers that are functions, and a gate that is a rule of the test's."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import Any

from failwell.client.answers import Ticket, Verdict
from failwell.core.errors import FailwellError
from failwell.gateway.backend import Call, Called, LeftOut, Listener, Offered, Outcome, ToolOffered, UpstreamOffered

Ran = Callable[[Call], Awaitable[Outcome]]


def verdict(word: str, entry: int, **more: Any) -> Verdict:
    """A verdict as the node would tell it."""
    told: dict[str, Any] = {"clauses": (), "because": "", "hint": None, "ticket": None}
    return Verdict(verdict=word, entry=entry, **{**told, **more})


def outcome(output: bytes, state: str = "completed", **more: Any) -> Outcome:
    """The end of a call."""
    told: dict[str, Any] = {"entry": 99, "truncated": False, "exit_code": 0, "why": None}
    return Outcome(state=state, output=output, **{**told, **more})


def tool(name: str, effect: str = "reversible", **definition: Any) -> ToolOffered:
    """A tool as it is offered."""
    shown = {"name": name.partition(".")[2], "inputSchema": {"type": "object"}, **definition}
    return ToolOffered(tool=name, definition=shown, effect=effect)


def server(name: str, *tools: ToolOffered, methods: tuple[str, ...] = (), left_out: tuple[LeftOut, ...] = ()) -> Any:
    """A tool server as it is offered."""
    return UpstreamOffered(
        name=name, kind="stdio", protocol="2025-11-25", server={"name": name, "version": "1"}, tools=tools,
        methods=methods, left_out=left_out,
    )  # fmt: skip


class HouseBackend:
    """Runs `run` for each call that `rule` lets through; tickets are answered by `answer`."""

    def __init__(self, *servers: UpstreamOffered, run: Ran, rule: Callable[[Call], str] = lambda call: "ALLOW") -> None:
        self.servers = servers
        self.run, self.rule = run, rule
        self.calls: list[Call] = []
        self.cancelled: list[tuple[str, str | None]] = []
        self.tickets: dict[int, str] = {}
        self.decided: dict[str, Verdict] = {}
        self.fails: FailwellError | None = None
        self.failed: tuple[LeftOut, ...] = ()
        self.closed = False
        self.listener: Listener | None = None
        self._entries = itertools.count(100)

    async def open(self, listener: Listener) -> Offered:
        self.listener = listener
        return await self.list()

    async def list(self) -> Offered:
        if self.fails is not None:
            raise self.fails
        return Offered(session="one", upstreams=tuple(self.servers), failed=self.failed)

    async def call(self, call: Call) -> Called:
        await asyncio.sleep(0)
        if self.fails is not None:
            raise self.fails
        self.calls.append(call)
        if call.call in self.decided:
            return Called(verdict=self.decided[call.call], outcome=None)
        entry = next(self._entries)
        word = self.rule(call)
        if word == "ESCALATE" and call.ticket is not None and self.tickets.get(call.ticket) == "approved":
            self.tickets[call.ticket] = "used"
            word = "ALLOW"
        if word == "ESCALATE":
            self.tickets[entry] = "open"
        found = verdict(
            word, entry, clauses=() if word == "ALLOW" else ("rule",), because="The rule says so.",
            ticket=str(entry) if word == "ESCALATE" else None,
        )  # fmt: skip
        if word != "ALLOW":
            self.decided[call.call] = found
            return Called(verdict=found, outcome=None)
        return Called(verdict=found, outcome=await self.run(call))

    async def cancel(self, call: str, why: str | None) -> None:
        self.cancelled.append((call, why))

    async def ticket(self, number: int) -> Ticket:
        return Ticket(number=number, state=self.tickets[number], expires_at="", person=None, used_by=None)

    async def close(self) -> None:
        self.closed = True
