"""Attacks on the gateway over HTTP: by nobody, by web pages, by other agents, by headers that say another thing.

Whatever is turned away has changed nothing: no run, no tool server, no action; and the record has a count of it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from failwell.client import powers
from tests.simulate.fixtures import stage
from tests.simulate.gateway_http import GatewayProcess, HttpClient, furnish_well, gateway, register_host, token
from tests.simulate.house import House, await_true
from tests.simulate.upstreams import logged

__all__ = ["stage"]
AGENTS = ("refund-bot", "other-bot", "bot-00")
INITIALIZE = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}


@pytest.fixture(scope="module")
def door(stage: Path) -> Iterator[GatewayProcess]:
    house = furnish_well(stage / "house", AGENTS)
    try:
        with gateway(house, "--server", "other") as made:
            yield made
        house.hold_true()
    finally:
        house.tear_down()


def done(house: House) -> tuple[int, int, int]:
    """What was begun by anybody: runs, decisions, tool servers."""
    kinds = [entry["kind"] for entry in house.entries()]
    return kinds.count("run.opened"), kinds.count("decision"), len(logged(house, "other", "started"))


def begin(client: HttpClient, **fields: str | None) -> Any:
    named = {name.replace("_", "-"): value for name, value in fields.items()}
    return client.send("POST", client.message("initialize", INITIALIZE), {"mcp-protocol-version": None, **named})


# -- by nobody ----------------------------------------------------------------------------------------------------


def test_whoever_shows_nothing_is_told_what_to_show_and_nothing_is_done(door: GatewayProcess) -> None:
    before = done(door.house)
    for shown in (None, "", "Bearer", "Bearer x.y.z", "Basic YTpi", "Bearer " + "A" * 3000):
        for method in ("POST", "GET", "DELETE", "PUT"):
            client = HttpClient(door, {})
            body = client.message("initialize", INITIALIZE) if method == "POST" else None
            answer = client.send(method, body, {"authorization": shown})
            assert answer.status == 401
            assert "Bearer" in answer.headers["www-authenticate"]
            assert "mcp-session-id" not in answer.headers
    assert done(door.house) == before


def test_a_token_that_is_not_the_agents_own_or_not_of_this_time_or_ledger_shows_nobody(door: GatewayProcess) -> None:
    house = door.house
    forged = House(house.root, house.persons, {"refund-bot": house.agent_keys["other-bot"]})
    for text in (
        token(forged),
        token(house, issued_s=int(time.time()) - 7200),
        token(house, issued_s=int(time.time()) + 3600),
    ):
        assert begin(HttpClient(door, {"authorization": f"Bearer {text}"})).status == 401


# -- by web pages -------------------------------------------------------------------------------------------------


PAGES: tuple[tuple[dict[str, str | None], int], ...] = (
    ({"host": "evil.example"}, 421), ({"host": "evil.example:80"}, 421), ({"host": "127.0.0.1"}, 421),
    ({"origin": "http://evil.example"}, 403), ({"origin": "null"}, 403), ({"origin": "http://127.0.0.1:1"}, 403),
    ({"content-type": "text/plain"}, 415), ({"content-type": "application/x-www-form-urlencoded"}, 415),
    ({"accept": "text/html"}, 406), ({"accept": "application/json"}, 406),
)  # fmt: skip


@pytest.mark.requirement("R30.4")
def test_a_page_in_the_operators_browser_calls_nothing(door: GatewayProcess) -> None:
    before = done(door.house)
    client = door.client()
    for fields, status in PAGES:
        answer = client.send("POST", client.message("initialize", INITIALIZE), fields)
        assert answer.status == status, fields
        assert not [name for name in answer.headers if name.startswith("access-control")]
    assert done(door.house) == before


def test_a_preflight_is_answered_as_anybody_is(door: GatewayProcess) -> None:
    answer = HttpClient(door, {}).send("OPTIONS", None, {"origin": "http://evil.example"})
    assert answer.status == 403


# -- by other agents ----------------------------------------------------------------------------------------------


@pytest.mark.requirement("R3.22")
def test_another_agents_session_is_not_there_for_anybody_else_and_goes_on(door: GatewayProcess) -> None:
    house = door.house
    mine, theirs = door.client("refund-bot"), door.client("other-bot")
    mine.open()
    assert mine.session is not None
    assert len(mine.session) >= 43
    theirs.session = mine.session
    before = done(house)
    for answer in (
        theirs.ask("tools/list"),
        theirs.call("echo", {"text": "x"}),
        theirs.send("GET"),
        theirs.send("DELETE"),
    ):
        assert answer.status == 404
    assert done(house) == before
    assert mine.call("echo", {"text": "still here"}).text == "still here"
    mine.send("DELETE")


def test_two_agents_share_no_session_no_server_no_ticket_and_no_result(door: GatewayProcess) -> None:
    house = door.house
    mine, theirs = door.client("refund-bot"), door.client("other-bot")
    started = len(logged(house, "other", "started"))
    alive = len(house.alive())
    mine.open()
    theirs.open()
    assert mine.session != theirs.session
    # Tool servers: one process each.
    assert len(logged(house, "other", "started")) == started + 2
    assert len(house.alive()) == alive + 2
    # Results: the same number, the same tool, the same words of which call it is.
    ours = {"failwell/call": "call-of-a-name"}
    assert mine.call("echo", {"text": "mine"}, ours).text == "mine"
    assert theirs.call("echo", {"text": "theirs"}, ours).text == "theirs"
    # Tickets: one agent's question is no other one's leave, whether it names it or only asks the same.
    asked = mine.call("echo", {"text": "maybe"}).told["result"]["_meta"]["failwell/refused"]
    named = theirs.call("echo", {"text": "maybe"}, {"failwell/ticket": asked["ticket"]}).told
    assert named["result"]["isError"] is True
    unnamed = theirs.call("echo", {"text": "maybe"}).told["result"]["_meta"]["failwell/refused"]
    assert unnamed["ticket"] != asked["ticket"]
    # Streams: what one was answered nobody else fetches by the name of an event.
    assert theirs.send("GET", None, {"last-event-id": "s2-0"}).body.find(b"mine") == -1
    mine.send("DELETE")
    assert theirs.call("echo", {"text": "still here"}).text == "still here"
    theirs.send("DELETE")
    assert len(house.alive()) == alive


def test_stateless_requests_of_two_agents_share_nothing_either(door: GatewayProcess) -> None:
    house = door.house
    alive = len(house.alive())
    first = door.client("refund-bot").alone("tools/call", {"name": "echo", "arguments": {"text": "a"}})
    second = door.client("other-bot").alone("tools/call", {"name": "echo", "arguments": {"text": "b"}})
    assert (first.text, second.text) == ("a", "b")
    assert len(house.alive()) == alive + 2
    assert "mcp-session-id" not in first.headers
    # What may be kept of a listing may be kept for one agent only.
    listed = door.client("refund-bot").alone("tools/list").told["result"]
    assert listed["cacheScope"] == "private"


# -- by headers ---------------------------------------------------------------------------------------------------


UNLIKE: tuple[dict[str, str | None], ...] = (
    {"mcp_name": "wait"}, {"mcp_method": "tools/list"}, {"mcp_protocol_version": "2027-01-01"}, {"mcp_name": None},
    {"mcp_method": None}, {"mcp_name": "=?base64?d2FpdA==?="},
)  # fmt: skip


def test_a_request_whose_headers_say_another_thing_than_its_body_is_not_done(door: GatewayProcess) -> None:
    before = done(door.house)
    for fields in UNLIKE:
        answer = door.client().alone("tools/call", {"name": "echo", "arguments": {"text": "x"}}, **fields)
        assert (answer.status, answer.told["error"]["code"]) == (400, -32020), fields
    assert done(door.house) == before


CLAIMS: tuple[tuple[dict[str, str | None], int], ...] = (
    ({"failwell_principal": "customer:1"}, 403), ({"failwell_request": "refund it"}, 403),
    ({"failwell_run": "x"}, 400), ({"failwell_run": "1"}, 403), ({"failwell_principle": "customer:1"}, 400),
    ({"failwell_agent": "x"}, 400), ({"failwell_run": "17", "failwell_principal": "customer:1"}, 400),
)  # fmt: skip


def test_an_agent_that_says_itself_on_whose_behalf_it_works_gets_no_session(door: GatewayProcess) -> None:
    before = done(door.house)
    for fields, status in CLAIMS:
        assert begin(door.client(), **fields).status == status, fields
        assert door.client().alone("tools/list", None, **fields).status == status, fields
    assert done(door.house) == before


def test_a_session_does_not_come_to_work_for_somebody_else(door: GatewayProcess) -> None:
    client = door.client()
    client.open()
    run = door.house.entries("run.opened", "refund-bot")[-1]["seq"]
    assert client.call("echo", {"text": "x"}, failwell_run=str(run)).status == 409
    assert client.call("echo", {"text": "x"}, failwell_principal="customer:2").status == 403
    client.send("DELETE")


def test_a_host_that_is_not_registered_for_an_agent_opens_no_run_for_it(door: GatewayProcess) -> None:
    house = door.house
    register_host(house, "narrow", "other-bot")
    with gateway(house, "--server", "other", "--host", "narrow", "--trust-headers") as trusting:
        before = done(house)
        assert begin(trusting.client("refund-bot"), failwell_principal="customer:1").status == 403
        assert done(house) == before


# -- by those who are none any more -------------------------------------------------------------------------------


def test_an_agent_whose_key_is_revoked_loses_its_sessions_and_what_runs_in_them_at_once(door: GatewayProcess) -> None:
    house = door.house
    client = door.client("bot-00")
    client.open()
    alive = len(house.alive())
    told: list[Any] = []
    waiting = threading.Thread(target=lambda: told.append(client.call("wait", {"millis": 60_000})))
    called = len(logged(house, "other", "called"))
    waiting.start()
    await_true(lambda: len(logged(house, "other", "called")) > called)
    powers.revoke(house.workspace, house.persons["bert"], house.full("bot-00"), "its key was found")
    waiting.join(10)
    assert told
    assert "error" in told[0].told or told[0].told["result"]["isError"] is True
    await_true(lambda: len(house.alive()) == alive - 1)
    assert client.call("echo", {"text": "x"}).status == 401


def test_what_is_too_long_or_too_deep_is_turned_away_and_a_session_can_still_be_ended(door: GatewayProcess) -> None:
    client = door.client()
    client.open()
    answer = client.send("POST", b"x" * 9_000_000)
    assert answer.status == 413
    deep = b'{"jsonrpc":"2.0","id":1,"method":"tools/list","params":' + b'{"a":' * 5000 + b"1" + b"}" * 5001
    assert client.send("POST", deep).status == 400
    assert client.send("DELETE").status == 204


def test_whoever_was_turned_away_is_counted_on_record(door: GatewayProcess) -> None:
    nobody, other = HttpClient(door, {}), door.client("other-bot")
    nobody.ask("tools/list")
    mine = door.client()
    mine.open()
    other.session = mine.session
    other.ask("tools/list")
    reasons = {"no proof over HTTP", "another identity's session"}

    def counted() -> bool:
        told = [entry["body"] for entry in door.house.entries("refusals")]
        return reasons <= {body["reason"] for body in told if body["source"] == "door:gateway"}

    await_true(counted)
    mine.send("DELETE")
