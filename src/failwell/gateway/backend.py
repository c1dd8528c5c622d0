"""What a session of the gateway needs from whoever holds the tool servers: a protocol, and the records it speaks in.

`NodeBackend` (gateway.node_backend) is the product's. Nothing here reads or writes.
"""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from failwell.client.answers import Ticket, Verdict


class ToolOffered(msgspec.Struct, frozen=True, kw_only=True):
    """A tool that may be called: `tool` is its name in contracts, `definition` the accepted one, narrowed by them."""

    tool: str
    definition: dict[str, Any]
    effect: str


class LeftOut(msgspec.Struct, frozen=True, kw_only=True):
    """What is not offered, and why. INVARIANT: `name` may be a stranger's text; no agent is shown it."""

    name: str
    why: str


class UpstreamOffered(msgspec.Struct, frozen=True, kw_only=True):
    """What may be used of one tool server. `methods`: its other requests, such as resources/read."""

    name: str
    kind: str
    protocol: str
    server: dict[str, Any]
    tools: tuple[ToolOffered, ...]
    methods: tuple[str, ...]
    left_out: tuple[LeftOut, ...]


class Offered(msgspec.Struct, frozen=True, kw_only=True):
    """What may be used now. `failed`: servers that did not start, or that nobody can ask."""

    session: str
    upstreams: tuple[UpstreamOffered, ...]
    failed: tuple[LeftOut, ...]


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One action: `tool` as contracts name it, `arguments` the raw JSON text of its arguments, `call` its id."""

    call: str
    tool: str
    arguments: bytes
    reason: str | None = None
    ticket: int | None = None
    progress: bool = False


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How an action that was let through ended: `exit_code` 0 and 1: `output` is the result as the server wrote it
    (1: the tool says that it failed), 2: `output` is the server's error object. `erased`: why a recorded result is not
    there any more.
    """

    state: str
    entry: int
    output: bytes
    truncated: bool
    exit_code: int | None
    why: str | None
    erased: str | None = None


class Called(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a call. `verdict` is None only where nothing judges (a bench without a gate)."""

    verdict: Verdict | None
    outcome: Outcome | None


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a call is, by its server's word."""

    progress: float
    total: float | None = None
    message: str | None = None


class Listener(Protocol):
    """Who hears what nobody asked for. Called in the loop's thread; never blocks."""

    def progress(self, call: str, told: Progress) -> None: ...

    def listed(self) -> None:
        """What may be used is, or may be, another by now."""

    def ended(self, upstream: str, why: str) -> None:
        """A tool server of this session is gone."""


class Backend(Protocol):
    """The tool servers of one session of one agent. Every method raises FailwellErrors; Unreachable where whoever holds
    the servers is gone. INVARIANT: a call that raises has not been shown to be done, whatever has become of it.
    """

    async def open(self, listener: Listener) -> Offered:
        """Start the session's servers; once, before anything else."""
        ...

    async def list(self) -> Offered: ...

    async def call(self, call: Call) -> Called: ...

    async def cancel(self, call: str, why: str | None) -> None:
        """The caller does not want the answer any more: what runs for it is stopped, the call itself then returns."""

    async def ticket(self, number: int) -> Ticket: ...

    async def close(self) -> None:
        """End the session and its servers; calls that run are stopped. Never raises."""
