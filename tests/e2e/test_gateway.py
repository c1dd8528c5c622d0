"""The gateway as agents' clients start it, with the protocol's own client and one that has never heard of it, in front
of a real node with real tool servers: one of ours that does as it is told, and a published one.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import sys
import warnings
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from chuk_mcp.protocol.messages import send_initialize, send_tools_call, send_tools_list  # type: ignore[import-untyped]
from chuk_mcp.transports.stdio import StdioParameters, StdioTransport  # type: ignore[import-untyped]
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.stdio import stdio_client

from failwell.core import contract as contracts
from failwell.mcp.definitions import read_definition
from tests.simulate import upstreams
from tests.simulate.house import House, apply, await_true, scene

AGENTS = tuple(f"bot-{number:02d}" for number in range(12))
#: The third way, auto, is what all other tests begin in.
MODES = ("legacy", "2026-07-28")
CONTRACT = """
contract: {agent}
version: 3
agent: spiffe://shop.example/agent/{agent}
owner: anna
purpose: Use tool servers through the gateway.
tools:
  - {{tool: desk.echo, effect: reversible, executor: supervised, custody: none, deadline: 20s,
     arguments: {{text: "string(0..2000000)"}}}}
  - {{tool: desk.wait, effect: reversible, executor: supervised, custody: none, deadline: 20s,
     arguments: {{millis: "int(0..60000)", how?: "string(0..20)"}}}}
  - {{tool: desk.misbehave, effect: reversible, executor: supervised, custody: none, deadline: 20s,
     arguments: {{how: "string(0..20)"}}}}
  - {{tool: desk.resources/read, effect: read, executor: supervised, custody: none, deadline: 20s,
     arguments: {{uri: "string(1..200)"}}}}
  - {{tool: time.get_current_time, effect: read, executor: supervised, custody: none, deadline: 20s,
     arguments: {{timezone: "string(1..64)"}}}}
clauses:
  - {{id: no-shouting, deny: desk.echo, when: context.args.text == "SHOUT", because: "Nobody likes that."}}
  - {{id: ask-first, escalate: desk.echo, when: context.args.text == "please", because: "A person decides."}}
"""
TIME = [sys.executable, "-m", "mcp_server_time", "--local-timezone", "UTC"]


async def _pins_of_time() -> dict[str, str]:
    async with Client(StdioServerParameters(command=TIME[0], args=TIME[1:]), mode="legacy") as client:
        listed = await client.list_tools()
    raws = [each.model_dump_json(by_alias=True, exclude_unset=True).encode() for each in listed.tools]
    return {found.name: found.digest for found in map(read_definition, raws)}


@pytest.fixture(scope="module")
def shop() -> Iterator[House]:
    with contextlib.ExitStack() as keep, scene(keep) as root:
        house = upstreams.furnish(root / "house", ())
        try:
            for agent in AGENTS:
                made = contracts.load(CONTRACT.format(agent=agent), name=agent)
                house.hand("bert").adopt_contract(made, house.hand("anna").sign_contract(made))
            box = [sys.executable, "-I", "-S", str(house.root / "toolbox.py"), str(upstreams.log_of(house, "desk"))]
            ours = ", ".join(f'"{name}" = "{digest}"' for name, digest in upstreams.pins().items())
            pinned = ", ".join(f'{name} = "{digest}"' for name, digest in asyncio.run(_pins_of_time()).items())
            apply(
                house,
                f"[node]\nidle_s = 0\n[upstreams.desk]\ncommand = {json.dumps(box)}\ntools = {{{ours}}}\n"
                "output_cap_bytes = 800000\n"
                f"[upstreams.time]\ncommand = {json.dumps(TIME)}\ntools = {{{pinned}}}\n",
            )
            yield house
        finally:
            house.tear_down()


def command(house: House, agent: str, *servers: str, more: tuple[str, ...] = ()) -> list[str]:
    """How a client starts it. Who names no server names the contract, which has the agent's name here."""
    named = [word for server in servers for word in ("--server", server)]
    whose = "--agent" if servers else "--contract"
    return ["-m", "failwell", "gateway", "--workspace", str(house.workspace.path), whose, agent, *named, *more]


def environment(house: House) -> dict[str, str]:
    return {**os.environ, "FAILWELL_CONFIG": str(house.config)}


@contextlib.asynccontextmanager
async def client(
    house: House, agent: str, *servers: str, mode: str = "auto", more: tuple[str, ...] = (), **manners: Any
) -> AsyncIterator[Client]:  # fmt: skip
    """The protocol's own client, before a gateway of its own. What that says for people goes to a file."""
    asked = StdioServerParameters(
        command=sys.executable, args=command(house, agent, *servers, more=more), env=environment(house)
    )
    with open(house.root / f"{agent}.said", "ab") as said:
        async with Client(stdio_client(asked, errlog=said), mode=mode, **manners) as made:  # type: ignore[arg-type]
            yield made


def text(result: Any) -> str:
    return "\n".join(each.text for each in result.content)


def mark(result: Any) -> dict[str, Any]:
    found: dict[str, Any] = result.meta["failwell/result"]
    return found


def refused(result: Any) -> dict[str, Any]:
    assert result.is_error
    found: dict[str, Any] = result.meta["failwell/refused"]
    return found


@pytest.mark.parametrize("mode", MODES)
def test_the_protocols_client_lists_calls_and_is_refused_in_every_way_to_begin(shop: House, mode: str) -> None:
    async def main() -> None:
        async with client(shop, AGENTS[0], "desk", mode=mode) as desk:
            tools = {each.name: each for each in (await desk.list_tools()).tools}
            assert set(tools) == {"echo", "wait", "misbehave"}
            # What the contract does not have is not shown, and what it allows is narrower than what the server says.
            schema = tools["echo"].input_schema
            assert set(schema["properties"]) == {"text"}
            assert schema["additionalProperties"] is False
            answer = await desk.call_tool("echo", {"text": "hello"})
            assert (text(answer), bool(answer.is_error)) == ("hello", False)
            assert mark(answer)["untrusted"] is True
            assert (await desk.call_tool("echo", {"text": "fail"})).is_error
            denied = await desk.call_tool("echo", {"text": "SHOUT"})
            assert "Denied by no-shouting. Nobody likes that." in text(denied)
            assert refused(denied)["clauses"] == ["no-shouting"]
            for name, arguments in (("echo", {"text": "x", "loud": True}), ("unpinned", {}), ("resources/read", {})):
                assert refused(await desk.call_tool(name, arguments))["verdict"] == "DENY"
            read = await desk.read_resource("file:///page")
            assert read.contents[0].text == "a page"  # type: ignore[union-attr]
            with pytest.raises(MCPError, match="Denied") as caught:
                await desk.get_prompt("any")
            assert caught.value.error.data["code"] == "denied"

    asyncio.run(main())


def test_a_client_that_has_never_heard_of_us_works_as_with_any_server(shop: House) -> None:
    async def main() -> None:
        asked = StdioParameters(command=sys.executable, args=command(shop, AGENTS[1], "desk"), env=environment(shop))
        async with StdioTransport(asked) as transport:
            read, write = await transport.get_streams()
            begun = await send_initialize(read, write)
            assert begun.serverInfo.name == "failwell-gateway"
            listed = await send_tools_list(read, write)
            assert {each.name for each in listed.tools} == {"echo", "wait", "misbehave"}
            answer = await send_tools_call(read, write, "echo", {"text": "hello"})
            assert (answer.content[0]["text"], bool(answer.isError)) == ("hello", False)
            denied = await send_tools_call(read, write, "echo", {"text": "SHOUT"})
            assert denied.isError is True

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # it leaves streams of its own open
        asyncio.run(main())
        gc.collect()


def test_two_servers_stand_behind_one_door_one_of_them_published(shop: House) -> None:
    async def main() -> None:
        async with client(shop, AGENTS[2]) as both:
            names = {each.name for each in (await both.list_tools()).tools}
            assert names == {"desk__echo", "desk__wait", "desk__misbehave", "time__get_current_time"}
            told = await both.call_tool("time__get_current_time", {"timezone": "Europe/Athens"})
            assert json.loads(text(told))["timezone"] == "Europe/Athens"
            wrong = await both.call_tool("time__get_current_time", {"timezone": "Nowhere/Land"})
            assert wrong.is_error
            assert mark(wrong)["untrusted"]  # its own word, not ours
            large = "x" * 700_000
            assert text(await both.call_tool("desk__echo", {"text": large})) == large
            cut = await both.call_tool("desk__echo", {"text": "x" * 900_000})
            assert "longer than" in text(cut)
            assert mark(cut)["truncated"] is True
            # One that dies takes its call with it, says so, and is there again for the next; the other never noticed.
            died = await both.call_tool("desk__misbehave", {"how": "die"})
            assert refused(died)["code"] == "unknown", text(died)
            assert text(await both.call_tool("desk__echo", {"text": "back"})) == "back"
            listed = shop.entries("upstream.listed", AGENTS[2])
            assert [entry["body"]["upstream"] for entry in listed].count("time") == 1
            assert [entry["body"]["upstream"] for entry in listed].count("desk") == 2

    asyncio.run(main())


def test_progress_is_told_and_a_call_that_is_cancelled_is_stopped(shop: House) -> None:
    async def main() -> None:
        told: list[float] = []

        async def told_of(progress: float, total: float | None, message: str | None) -> None:
            told.append(progress)

        before, millis = len(upstreams.logged(shop, "desk", "cancelled")), 50_003
        async with client(shop, AGENTS[3], "desk") as desk:
            await desk.call_tool("wait", {"millis": 200}, progress_callback=told_of)
            assert len(told) > 1
            waiting = asyncio.ensure_future(desk.call_tool("wait", {"millis": millis, "how": "polite"}))
            await reached(shop, "wait", millis)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            await asyncio.to_thread(await_true, lambda: len(upstreams.logged(shop, "desk", "cancelled")) > before)
            assert text(await desk.call_tool("echo", {"text": "still there"})) == "still there"

    asyncio.run(main())
    ends = [entry["body"]["state"] for entry in shop.entries("outcome", AGENTS[3])]
    assert any(state.startswith("interrupted") for state in ends), ends


async def reached(house: House, tool: str, millis: int) -> dict[str, Any]:
    """A long call has reached the server: its line in the server's own log."""

    def look() -> Any:
        lines = [line for line in upstreams.logged(house, "desk", "called") if line["tool"] == tool]
        return next((line for line in lines if line["arguments"].get("millis") == millis), None)

    found: dict[str, Any] = await asyncio.to_thread(await_true, look)
    return found


def test_a_call_that_a_person_approves_runs_once_when_it_is_made_again(shop: House) -> None:
    async def main() -> None:
        async with client(shop, AGENTS[4], "desk") as desk:
            ticket = refused(await desk.call_tool("echo", {"text": "please"}))["ticket"]
            again = await desk.call_tool("echo", {"text": "please"})
            assert refused(again)["ticket"] == ticket
            assert f"waits as ticket {ticket}" in text(again)
            await asyncio.to_thread(shop.hand("anna").approve_ticket, int(ticket), "Fine.")
            assert text(await desk.call_tool("echo", {"text": "please"})) == "please"
            assert refused(await desk.call_tool("echo", {"text": "please"}))["ticket"] != ticket

    asyncio.run(main())
    assert len([line for line in upstreams.logged(shop, "desk") if line.get("arguments") == {"text": "please"}]) == 1


def test_a_long_tool_that_is_stopped_mid_call_ends_with_its_grandchildren_and_the_client_is_told_who_did_it(
    shop: House,
) -> None:
    async def main() -> None:
        async with client(shop, AGENTS[5], "desk") as desk:
            waiting = asyncio.ensure_future(desk.call_tool("wait", {"millis": 50_005, "how": "family"}))
            await reached(shop, "wait", 50_005)
            assert await asyncio.to_thread(await_true, lambda: len(shop.alive()) >= 2)
            await asyncio.to_thread(shop.suspend, AGENTS[5])
            told = await waiting
            assert refused(told)["state"] == "interrupted_confirmed"
            # Who did it, and why: in the words of the order.
            assert f"{AGENTS[5]} was " in text(told)
            assert "suspended by bert: it misbehaves" in text(told)
            assert shop.alive() == []
            assert refused(await desk.call_tool("echo", {"text": "more"}))["verdict"] == "DENY"

    asyncio.run(main())


def test_a_tool_that_is_not_the_accepted_one_any_more_is_taken_back_and_denied(shop: House) -> None:
    async def main() -> None:
        changes: list[str] = []

        async def heard(message: Any) -> None:
            changes.append(getattr(message, "method", ""))

        async with client(shop, AGENTS[6], "desk", mode="legacy", message_handler=heard) as desk:
            assert "echo" in {each.name for each in (await desk.list_tools()).tools}
            await desk.call_tool("misbehave", {"how": "change"})
            await asyncio.to_thread(await_true, lambda: "notifications/tools/list_changed" in changes)
            listed = await desk.list_tools()
            assert "echo" not in {each.name for each in listed.tools}
            # Attack: the words of the changed definition reach the model all the same.
            assert "evil.example" not in listed.model_dump_json()
            assert refused(await desk.call_tool("echo", {"text": "x"}))["clauses"] == ["tool.changed"]

    asyncio.run(main())


def test_a_client_that_closes_its_end_mid_call_leaves_no_process_and_no_run_open(shop: House) -> None:
    async def main() -> None:
        process = await asyncio.create_subprocess_exec(
            sys.executable, *command(shop, AGENTS[7], "desk", more=("--principal", "customer:1", "--request", "Wait.")),
            env=environment(shop), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert process.stdin is not None
        hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}
        for number, (method, params) in enumerate(
            [("initialize", hello), ("tools/call", {"name": "wait", "arguments": {"millis": 50_007}})]
        ):
            message = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
            process.stdin.write(json.dumps(message).encode() + b"\n")
        await reached(shop, "wait", 50_007)
        process.stdin.close()
        said, words = await asyncio.wait_for(process.communicate(), 10)
        assert process.returncode == 0, words
        assert [json.loads(line)["id"] for line in said.splitlines()] == [0]

    asyncio.run(main())
    assert shop.alive() == []
    (opened,) = shop.entries("run.opened", AGENTS[7])
    assert opened["body"]["principal"] is not None
    assert len(shop.entries("run.closed", AGENTS[7])) == 1


def test_a_node_that_dies_mid_call_is_told_nothing_is_shown_as_done_and_later_calls_are_served(shop: House) -> None:
    async def main() -> None:
        async with client(shop, AGENTS[8], "desk") as desk:
            asked = {"failwell/call": "the-long-one"}
            waiting = asyncio.ensure_future(desk.call_tool("wait", {"millis": 50_008}, meta=asked))  # type: ignore[arg-type]
            await reached(shop, "wait", 50_008)
            shop.nodes[-1].kill()
            with pytest.raises(MCPError, match="the node is gone") as caught:
                await waiting
            assert caught.value.error.data["call"] == "the-long-one"
            await asyncio.to_thread(shop.node, crashing=True)
            assert text(await desk.call_tool("echo", {"text": "again"})) == "again"
            # The same id is told what became of it, and nothing runs for it again.
            told = await desk.call_tool("wait", {"millis": 50_008}, meta=asked)  # type: ignore[arg-type]
            assert refused(told)["state"] in ("interrupted_confirmed", "unknown")
            calls = [
                line for line in upstreams.logged(shop, "desk", "called") if line["arguments"].get("millis") == 50_008
            ]
            assert len(calls) == 1

    asyncio.run(main())
