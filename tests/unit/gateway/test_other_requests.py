"""Resources and prompts of several servers behind one door, and a backend whose connection is lost and made anew."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from failwell.core.errors import FailwellError, Unreachable
from failwell.gateway.backend import Call, Outcome
from failwell.gateway.reopening import Connected, Reopening
from tests.simulate.backend import HouseBackend, outcome, server, tool
from tests.unit.gateway.test_session import House, of, says_hello

METHODS = ("prompts/get", "prompts/list", "resources/list", "resources/read")
PAGES: dict[str, dict[str, Any]] = {
    "a.resources/list": {"resources": [{"uri": "file:///a", "name": "a"}, {"uri": "file:///both", "name": "x"}]},
    "b.resources/list": {"resources": [{"uri": "file:///both", "name": "y"}], "nextCursor": "more"},
    "a.prompts/list": {"prompts": [{"name": "ask", "description": "d", "arguments": []}]},
    "b.prompts/list": {"prompts": []},
}


async def library(call: Call) -> Outcome:
    page = PAGES.get(call.tool, {"contents": [], "messages": []})
    if b"more" in call.arguments:
        page = {"resources": [{"uri": "file:///late", "name": "z"}]}
    return outcome(json.dumps(page).encode())


def two() -> HouseBackend:
    return of(server("a", methods=METHODS), server("b", methods=METHODS), run=library)


def test_a_listing_of_several_servers_is_one_and_each_page_asks_those_that_have_more() -> None:
    async def main() -> None:
        house = await House(two(), single=False).begin()
        first = (await house.ask("resources/list"))["result"]
        assert [each["uri"] for each in first["resources"]] == ["file:///a", "file:///both", "file:///both"]
        second = (await house.ask("resources/list", {"cursor": first["nextCursor"]}))["result"]
        assert [each["uri"] for each in second["resources"]] == ["file:///late"]
        assert "nextCursor" not in second
        assert [(call.tool, call.arguments) for call in house.backend.calls[2:]] == [
            ("b.resources/list", b'{"cursor":"more"}')
        ]
        assert (await house.ask("resources/list", {"cursor": "theirs"}))["error"]["code"] == -32602

    asyncio.run(main())


def test_what_is_read_goes_to_who_listed_it_and_what_two_list_to_neither() -> None:
    async def main() -> None:
        house = await House(two(), single=False).begin()
        await house.ask("resources/list")
        await house.ask("resources/read", {"uri": "file:///a"})
        assert house.backend.calls[-1].tool == "a.resources/read"
        # Attack: a server lists another's resource, to be asked for it.
        both = (await house.ask("resources/read", {"uri": "file:///both"}))["error"]
        assert both["data"] == {"code": "ambiguous", "servers": ["a", "b"]}
        assert (await house.ask("resources/read", {"uri": "file:///x"}))["error"]["data"]["code"] == "not-found"
        await house.ask("resources/read", {"uri": "file:///both"}, {"failwell/server": "b"})
        assert house.backend.calls[-1].tool == "b.resources/read"

    asyncio.run(main())


def test_prompts_of_several_servers_have_names_that_say_whose_they_are() -> None:
    async def main() -> None:
        house = await House(two(), single=False).begin()
        listed = (await house.ask("prompts/list"))["result"]
        assert [each["name"] for each in listed["prompts"]] == ["a__ask"]
        await house.ask("prompts/get", {"name": "a__ask", "arguments": {"x": "y"}})
        call = house.backend.calls[-1]
        assert (call.tool, json.loads(call.arguments)) == ("a.prompts/get", {"name": "ask", "arguments": {"x": "y"}})
        assert (await house.ask("prompts/get", {"name": "ask"}))["error"]["code"] == -32602

    asyncio.run(main())


def test_what_no_contract_has_is_not_announced_and_not_asked() -> None:
    async def main() -> None:
        house = House(of())
        begun = (await house.ask("initialize", {"protocolVersion": "2025-11-25"}))["result"]
        assert set(begun["capabilities"]) == {"tools", "logging"}
        assert (await house.ask("resources/list"))["error"]["code"] == -32601
        assert house.backend.calls == []

    asyncio.run(main())


def test_a_denied_reading_is_an_error_that_says_why() -> None:
    async def main() -> None:
        backend = HouseBackend(server("a", methods=METHODS), run=library, rule=lambda call: "DENY")
        house = await House(backend).begin()
        error = (await house.ask("resources/read", {"uri": "file:///a"}))["error"]
        assert (error["code"], error["data"]["code"]) == (-32010, "denied")

    asyncio.run(main())


# ---- a connection that is lost -------------------------------------------------------------------------------


def test_a_lost_connection_is_made_anew_for_later_calls_and_no_call_is_made_twice() -> None:
    async def main() -> None:
        made: list[tuple[HouseBackend, asyncio.Future[FailwellError]]] = []

        async def connect() -> Connected:
            backend = HouseBackend(server("files", tool("files.read")), run=says_hello)
            made.append((backend, asyncio.get_running_loop().create_future()))
            return Connected(*made[-1])

        notes: list[str] = []
        house = await House(Reopening(connect, notes.append)).begin()  # type: ignore[arg-type]
        await house.call("read")
        made[0][0].fails = Unreachable("the node is gone")
        assert (await house.call("read"))["error"]["code"] == -32013
        made[0][1].set_result(Unreachable("the node is gone"))
        assert "result" in await house.call("read")
        assert [len(backend.calls) for backend, _ in made] == [1, 1]
        assert len(notes) == 1
        await house.session.close()
        assert (await house.call("read"))["error"]["code"] == -32013

    asyncio.run(main())
