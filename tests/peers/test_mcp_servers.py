"""The protocol's own library judges what we say to a server: its servers, over pipes and over HTTP, in both eras."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
import uvicorn
from mcp.server.mcpserver import Context, MCPServer

from failwell.node.upstreams.speaking import Answer, Offer, Progress, Speaker

SERVER = f"import sys; sys.path[:0] = {sys.path!r}; from {__name__} import made; made().run()"
STATELESS_ONLY = (
    b'{"jsonrpc":"2.0","id":null,"error":{"code":-32022,"message":"no handshake here","data":{"supported":'
    b'["2026-07-28"],"requested":"2025-11-25"}}}'
)


def made() -> MCPServer:
    server = MCPServer("demo", version="7")

    @server.tool()
    def add(a: int, b: int) -> int:
        """Adds."""
        return a + b

    @server.tool()
    def fail() -> str:
        raise RuntimeError("as asked")

    @server.tool()
    async def long(context: Context[Any, Any]) -> str:
        for step in range(300):
            await context.report_progress(step + 1, 300, f"step {step}")
            await asyncio.sleep(0.1)
        return "never"

    @server.tool()
    async def grow(context: Context[Any, Any]) -> str:
        server.add_tool(lambda: "more", name="more", description="Was not there before.")
        await context.session.send_tool_list_changed()
        await context.notify_tools_changed()  # the same in the stateless revision
        return "grown"

    @server.resource("note://one")
    def note() -> str:
        return "a note"

    return server


class Here:
    """A speaker, and what it was told."""

    def __init__(self, command: list[str]) -> None:
        self.changed = asyncio.Event()
        theirs_in, writing = os.pipe()
        reading, theirs_out = os.pipe()
        self.process = subprocess.Popen(command, stdin=theirs_in, stdout=theirs_out, stderr=subprocess.DEVNULL)
        os.close(theirs_in)
        os.close(theirs_out)
        self.speaker = Speaker(
            "demo", reading, writing, cap_bytes=100_000, changed=self.changed.set, gone=lambda _: None
        )

    async def ask(self, tool: str, seen: list[Progress] | None = None, **arguments: object) -> Answer:
        params = json.dumps({"name": tool, "arguments": arguments}).encode()
        return await self.speaker.ask(1, "tools/call", params, None if seen is None else seen.append)

    async def close(self) -> None:
        """Close its input, on which it ends by itself."""
        self.speaker.close()
        assert await asyncio.to_thread(self.process.wait, 10) == 0


class StatelessOnly:
    """Refuses what the older revisions begin with, as a server will that has left them behind."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and dict(scope["headers"]).get(b"mcp-protocol-version") != b"2026-07-28":
            kind = [(b"content-type", b"application/json")]
            await send({"type": "http.response.start", "status": 400, "headers": kind})
            await send({"type": "http.response.body", "body": STATELESS_ONLY})
            return
        await self._app(scope, receive, send)


@contextlib.asynccontextmanager
async def listening(kind: str) -> AsyncIterator[str]:
    app: Any = made().streamable_http_app(json_response=kind == "json")
    if kind == "stateless":
        app = StatelessOnly(app)
    with socket.create_server(("127.0.0.1", 0)) as bound:
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="on", timeout_graceful_shutdown=1))
        serving = asyncio.create_task(server.serve([bound]))
        try:
            yield f"http://localhost:{bound.getsockname()[1]}/mcp"
        finally:
            server.should_exit = True
            await serving


@contextlib.asynccontextmanager
async def begun(kind: str) -> AsyncIterator[tuple[Here, Offer]]:
    async with contextlib.AsyncExitStack() as stack:
        command = [sys.executable, "-c", SERVER]
        if kind != "pipes":
            url = await stack.enter_async_context(listening(kind))
            command = [sys.executable, "-I", "-m", "failwell.relay", url]
        here = Here(command)
        stack.push_async_callback(here.close)
        yield here, await here.speaker.begin(20)


KINDS = {
    "pipes": "2025-11-25", "events": "2025-11-25", "json": "2025-11-25", "stateless": "2026-07-28",
}  # fmt: skip


async def tells_of_its_change(here: Here, offer: Offer) -> None:
    await here.ask("grow")
    try:
        await asyncio.wait_for(here.changed.wait(), 5)
    except TimeoutError:
        raise AssertionError("nobody was told") from None
    again = await here.speaker.offer(5)
    assert {each.name for each in again.definitions} - {each.name for each in offer.definitions} == {"more"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_of_the_library_is_listed_asked_and_cancelled_and_tells_of_changes(kind: str) -> None:
    async def play() -> None:
        async with begun(kind) as (here, offer):
            assert offer.protocol == KINDS[kind]
            assert offer.server == "demo"
            assert {each.name for each in offer.definitions} == {"add", "fail", "long", "grow"}
            assert "resources/read" in offer.methods

            sum_of = await here.ask("add", a=1, b=2)
            assert json.loads(sum_of.raw)["structuredContent"] == {"result": 3}
            failed = await here.ask("fail")
            assert failed.failed
            assert not failed.error
            assert (await here.ask("add", a="x")).failed
            note = await here.speaker.ask(2, "resources/read", b'{"uri":"note://one"}', None)
            assert json.loads(note.raw)["contents"][0]["text"] == "a note"
            unknown = await here.speaker.ask(2, "resources/read", b'{"uri":"note://two"}', None)
            assert unknown.error
            assert not unknown.lost

            seen: list[Progress] = []
            call = asyncio.ensure_future(here.ask("long", seen))
            await asyncio.sleep(0.1)
            while not seen and kind != "json":
                await asyncio.sleep(0.02)
            here.speaker.cancel(1, "no more")
            if kind in ("events", "json"):  # elsewhere nobody is left who would answer
                assert (await asyncio.wait_for(call, 5)).error
            call.cancel()
            if kind != "json":
                assert [each.message for each in seen][:1] == ["step 0"]  # the next ones may come too soon after it
                await tells_of_its_change(here, offer)

    asyncio.run(asyncio.wait_for(play(), 30))
