"""The gateway over HTTP without a gate, `python -m bench.bare_gateway`: the same proxy, and nobody who judges.

Everything between the client and the backend is the product's own code; the backend hands each call to a tool server
that it started itself. Whoever asks is taken for the agent that the header `Authorization` names. It is what the cost
of identity, contract, record and supervision is measured against, and belongs into no product.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from failwell.client.answers import Ticket
from failwell.core.errors import FailwellError, NotFound
from failwell.gateway.backend import Call, Called, LeftOut, Listener, Offered, Outcome, ToolOffered, UpstreamOffered
from failwell.gateway.http import McpOverHttp
from failwell.gateway.http_sessions import Bounds, Sessions
from failwell.gateway.origins import Names
from failwell.node.upstreams.speaking import Offer, Speaker
from failwell.web.callers import Caller
from failwell.web.connection import Limits
from failwell.web.lanes import Lane
from failwell.web.serving import serve

COMMAND = (sys.executable, "-I", "-S", str(Path(__file__).with_name("echo_server.py")))
CAP_BYTES = 1024 * 1024


class Bare:
    """A backend that asks its own tool server whatever it is asked."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._speaker: Speaker | None = None
        self._offer: Offer | None = None
        self._numbers = itertools.count(1)

    async def open(self, listener: Listener) -> Offered:
        self._process = process = subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert process.stdin is not None
        assert process.stdout is not None
        self._speaker = Speaker(
            "echo", os.dup(process.stdout.fileno()), os.dup(process.stdin.fileno()), cap_bytes=CAP_BYTES,
            changed=lambda: None, gone=lambda why: None,
        )  # fmt: skip
        process.stdin.close()
        process.stdout.close()
        self._offer = await self._speaker.begin(30)
        return await self.list()

    async def list(self) -> Offered:
        assert self._offer is not None
        tools = tuple(
            ToolOffered(tool=f"echo.{each.name}", definition=msgspec.json.decode(each.raw), effect="reversible")
            for each in self._offer.definitions
        )
        left: tuple[LeftOut, ...] = ()
        echo = UpstreamOffered(
            name="echo", kind="stdio", protocol=self._offer.protocol, server={}, tools=tools, methods=(), left_out=left
        )
        return Offered(session="bare", upstreams=(echo,), failed=())

    async def call(self, call: Call) -> Called:
        assert self._speaker is not None
        number = next(self._numbers)
        params = (
            b'{"name":' + msgspec.json.encode(call.tool.partition(".")[2]) + b',"arguments":' + call.arguments + b"}"
        )
        answer = await self._speaker.ask(number, "tools/call", params, None)
        code = 2 if answer.error else 1 if answer.failed else 0
        outcome = Outcome(
            state="completed", entry=number, output=answer.raw, truncated=answer.truncated, exit_code=code, why=None
        )
        return Called(verdict=None, outcome=outcome)

    async def cancel(self, call: str, why: str | None) -> None:
        """It goes on."""

    async def ticket(self, number: int) -> Ticket:
        raise NotFound("nobody is asked here")

    async def close(self) -> None:
        if self._speaker is not None:
            self._speaker.close()
        if self._process is not None:
            self._process.kill()
            await asyncio.to_thread(self._process.wait)


class Wire:
    """In the place of a connection to a node: there is none."""

    def __init__(self) -> None:
        self.listeners: set[Any] = set()
        self.ended: asyncio.Future[FailwellError] = asyncio.get_running_loop().create_future()

    async def call(self, do: str, **fields: Any) -> int:
        return 1


class Anybody:
    """In the place of those who prove who they are."""

    fields: dict[str, str] = {}  # noqa: RUF012  of one kind for all

    def __init__(self) -> None:
        self._wires: dict[str, Any] = {}

    async def of(self, scope: Mapping[str, Any], body: bytes) -> Caller:
        name = next(value for name, value in scope["headers"] if name == b"authorization").decode()
        if name not in self._wires:
            self._wires[name] = Wire()
        return Caller("agent", name, self._wires[name], "token")

    def turn_away(self, kind: str) -> None:
        """Nobody is."""


async def main() -> None:
    bounds = Bounds()
    sessions = Sessions(lambda line, agent, run: Bare(), bounds, single=True, note=lambda line: None)
    callers: Any = Anybody()
    app = McpOverHttp(callers, sessions, Names(frozenset()), bounds, None)

    def ready(address: str) -> None:
        app.names = Names.of(address)
        print(f"http://{address}/mcp", flush=True)

    await serve(app, "127.0.0.1:0", None, Limits(lasting=2048), ready, lane=lambda scope: Lane.LASTING)


if __name__ == "__main__":
    asyncio.run(main())
