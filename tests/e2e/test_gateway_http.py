"""MCP over HTTP, as clients of both eras use it: the kit's own client, and one that says each byte itself."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import http.client
import ipaddress
import json
import os
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from mcp import ClientSession
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client

from failwell.identity import keys
from failwell.identity.credential import credential_text
from tests.simulate.fixtures import stage
from tests.simulate.gateway_http import (
    STATELESS,
    GatewayProcess,
    HttpClient,
    events,
    furnish_well,
    gateway,
    passed_on,
    register_host,
    token,
)  # fmt: skip
from tests.simulate.house import ROOT, House, await_true
from tests.simulate.upstreams import logged

__all__ = ["stage"]

AGENTS = ("refund-bot", "other-bot", "bot-00")


@pytest.fixture(scope="module")
def door(stage: Path) -> Iterator[GatewayProcess]:
    house = furnish_well(stage / "house", AGENTS)
    try:
        with gateway(house, "--server", "other") as made:
            yield made
        house.hold_true()
    finally:
        house.tear_down()


def opened(house: House, run: int) -> dict[str, Any]:
    found: dict[str, Any] = next(each for each in house.entries("run.opened") if each["seq"] == run)
    return found


def newest_run(house: House, agent: str) -> dict[str, Any]:
    return house.entries("run.opened", agent)[-1]


# -- both eras, by the kit ----------------------------------------------------------------------------------------


def test_the_kits_client_opens_a_session_lists_calls_and_ends_it(door: GatewayProcess) -> None:
    async def use() -> None:
        fields = {"authorization": f"Bearer {token(door.house)}"}
        async with (
            httpx2.AsyncClient(headers=fields, timeout=30) as asking,
            streamable_http_client(door.url, http_client=asking) as (reading, writing, *_),
            ClientSession(reading, writing) as session,
        ):
            begun = await session.initialize()
            assert begun.server_info.name == "failwell-gateway"
            assert [tool.name for tool in (await session.list_tools()).tools] == ["echo", "wait", "misbehave"]
            answer = await session.call_tool("echo", {"text": "hello"})
            assert [part.text for part in answer.content] == ["hello"]  # type: ignore[union-attr]
            heard = []

            async def progress(progress: float, total: float | None, message: str | None) -> None:
                heard.append(message)

            await session.call_tool("wait", {"millis": 200}, progress_callback=progress)
            assert heard

    asyncio.run(use())
    await_true(lambda: not door.house.alive())


def test_the_kits_client_of_the_stateless_era_is_served_too(door: GatewayProcess) -> None:
    async def use() -> None:
        fields = {"authorization": f"Bearer {token(door.house, 'other-bot')}"}
        async with httpx2.AsyncClient(headers=fields, timeout=30) as asking:
            transport = streamable_http_client(door.url, http_client=asking)
            async with Client(transport) as client:
                assert client.protocol_version == STATELESS
                answer = await client.call_tool("echo", {"text": "hello"})
                assert [part.text for part in answer.content] == ["hello"]  # type: ignore[union-attr]

    asyncio.run(use())


# -- answers ------------------------------------------------------------------------------------------------------


def test_the_answer_of_a_call_whose_connection_broke_is_fetched_and_the_call_is_made_once(door: GatewayProcess) -> None:
    client = door.client()
    client.open()
    before = len(logged(door.house, "other", "called"))
    connection, response = client.begin(
        "POST", client.message("tools/call", {"name": "wait", "arguments": {"millis": 1100}})
    )
    first = response.readline().decode()
    assert response.getheader("content-type") == "text/event-stream"
    assert first.startswith("id: ")
    connection.close()
    rest = client.send("GET", None, {"last-event-id": first[4:].strip()})
    assert json.loads(events(rest.body)[-1][1])["result"]["content"][0]["text"] == "waited"
    assert len(logged(door.house, "other", "called")) == before + 1
    again = client.send("GET", None, {"last-event-id": "s999-1"})
    assert again.status == 400
    assert client.send("DELETE").status == 204


@pytest.mark.requirement("R6.28")
def test_hanging_up_cancels_in_the_stateless_era(door: GatewayProcess) -> None:
    client = door.client("other-bot")
    before = len(logged(door.house, "other", "called"))
    body, headers = client.alone_parts("tools/call", {"name": "wait", "arguments": {"millis": 60_000}})
    hung: list[Any] = []
    address = door.address.partition("://")[2].rpartition(":")

    async def hang_up() -> None:
        _, writing = await asyncio.open_connection(address[0], int(address[2]))
        data = json.dumps(body).encode()
        fields = {"host": "".join(address), "content-type": "application/json", "content-length": str(len(data)),
                  "accept": "*/*", **client.fields, **headers}  # fmt: skip
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        writing.write(f"POST /mcp HTTP/1.1\r\n{head}\r\n".encode() + data)
        await asyncio.to_thread(await_true, lambda: len(logged(door.house, "other", "called")) > before)
        writing.close()
        hung.append(time.monotonic())

    asyncio.run(hang_up())
    ended = await_true(
        lambda: [each for each in door.house.entries("outcome", "other-bot") if "interrupted" in each["body"]["state"]]
    )
    assert ended


def test_clients_of_one_agent_that_number_their_requests_alike_share_a_tool_server_and_no_answer(
    door: GatewayProcess,
) -> None:
    clients = [door.client("bot-00") for _ in range(8)]
    told: dict[int, str] = {}

    def ask(place: int, client: HttpClient) -> None:
        told[place] = client.alone("tools/call", {"name": "echo", "arguments": {"text": f"for {place}"}}).text

    threads = [threading.Thread(target=ask, args=pair) for pair in enumerate(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told == {place: f"for {place}" for place in range(8)}
    runs = door.house.entries("run.opened", "bot-00")
    assert len(runs) == 1


# -- sessions: which run, on whose behalf -------------------------------------------------------------------------


def test_without_a_hosts_word_the_run_is_for_nobody_and_is_closed_with_its_session(door: GatewayProcess) -> None:
    client = door.client()
    client.open()
    run = newest_run(door.house, "refund-bot")
    body = run["body"]
    assert (body["principal_provenance"], body["request_provenance"], body["host"]) == ("absent", "absent", None)
    assert client.call("echo", {"text": "x"}).text == "x"
    assert client.send("DELETE").status == 204
    assert client.ask("tools/list").status == 404
    closed = await_true(lambda: [each for each in door.house.entries("run.closed") if each["run"] == run["seq"]])
    assert len(closed) == 1


def test_a_run_that_a_host_opened_is_worked_in_by_its_own_agent_while_it_is_open(door: GatewayProcess) -> None:
    house = door.house
    register_host(house, "desk", "refund-bot")
    gate = house.gate()
    gate.prove("host", "desk")
    run = gate.wire.call("run.open", agent=house.full("refund-bot"), principal="customer:8841", request="refund")
    client = door.client()
    assert client.open(failwell_run=str(run)).status == 200
    assert client.call("echo", {"text": "in it"}).text == "in it"
    assert house.entries("decision", "refund-bot")[-1]["run"] == run
    assert opened(house, run)["body"]["principal_provenance"] == "verified"
    assert client.send("DELETE").status == 204
    assert not [each for each in house.entries("run.closed") if each["run"] == run]
    assert door.client("other-bot").open(failwell_run=str(run)).status >= 400
    assert door.client().open(failwell_run="999999").status >= 400
    gate.wire.close()


def test_a_registered_host_passes_on_its_agents_request_and_says_on_whose_behalf(door: GatewayProcess) -> None:
    house = door.house
    key = register_host(house, "proxy", "refund-bot")
    begin = HttpClient(door, {}).message(
        "initialize", {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "p", "version": "1"}}
    )
    behalf = {"failwell-agent": token(house), "failwell-principal": "customer:17", "failwell-request": "Where is it?"}
    answer = passed_on(door, key, "proxy", begin, behalf)
    assert answer.status == 200, answer
    body = newest_run(house, "refund-bot")["body"]
    assert (body["host"], body["principal_provenance"], body["request_provenance"]) == ("proxy", "verified", "verified")
    # The session is of the agent as that host passes it on: the agent alone does not get into it.
    alone = door.client()
    alone.session = answer.headers["mcp-session-id"]
    assert alone.ask("tools/list").status == 404
    # Attack: a principal that the host's signature does not cover; another host's agent.
    assert passed_on(door, key, "proxy", begin, behalf, signed={}).status == 401
    changed = {**behalf, "failwell-principal": "customer:18"}
    assert passed_on(door, key, "proxy", begin, changed, signed=behalf).status == 401
    other = {**behalf, "failwell-agent": token(house, "other-bot")}
    assert passed_on(door, key, "proxy", begin, other).status == 403
    assert passed_on(door, key, "proxy", begin, {"failwell-principal": "customer:17"}).status == 403


def test_a_gateway_started_with_a_hosts_key_believes_headers_and_has_that_host_open_the_run(
    door: GatewayProcess,
) -> None:
    house = door.house
    register_host(house, "front", "other-bot")
    with gateway(house, "--server", "other", "--host", "front", "--trust-headers") as trusting:
        client = trusting.client("other-bot")
        assert client.open(failwell_principal="customer:5", failwell_request="=?base64?UHLDvGZlbg==?=").status == 200
        body = newest_run(house, "other-bot")["body"]
        assert (body["host"], body["principal_provenance"], body["principal_kind"]) == ("front", "verified", "customer")
        assert trusting.client("refund-bot").open(failwell_principal="customer:5").status == 403


def test_what_a_person_is_asked_about_is_answered_with_a_ticket_and_runs_once_it_is_approved(
    door: GatewayProcess,
) -> None:
    client = door.client("bot-00")
    client.open()
    asked = client.call("echo", {"text": "maybe"}).told["result"]
    assert asked["isError"] is True
    details = asked["_meta"]["failwell/refused"]
    assert details["ticket"]
    # Attack: another agent's client, which read the number somewhere.
    other = door.client("refund-bot")
    other.open()
    theirs = {"failwell/ticket": details["ticket"]}
    assert other.call("echo", {"text": "maybe"}, theirs).told["result"]["isError"] is True
    door.house.hand("anna").approve_ticket(int(details["ticket"]), "Fine.")
    assert other.call("echo", {"text": "maybe"}, theirs).told["result"]["isError"] is True
    assert client.call("echo", {"text": "maybe"}).text == "maybe"
    # Attack: one answer of a person's, used for two calls; by the session that knows the ticket, and by its number.
    again = client.call("echo", {"text": "maybe"}).told["result"]["_meta"]["failwell/refused"]
    assert again["ticket"] not in (None, details["ticket"])
    assert client.call("echo", {"text": "maybe"}, theirs).told["result"]["isError"] is True
    ran = [line for line in logged(door.house, "other", "called") if line["arguments"] == {"text": "maybe"}]
    assert len(ran) == 1


# -- ends ---------------------------------------------------------------------------------------------------------


def test_sessions_side_by_side_each_get_their_own_answers(door: GatewayProcess) -> None:
    async def one(asking: httpx2.AsyncClient, number: int) -> None:
        agent = AGENTS[number % 2]
        fields = {"authorization": f"Bearer {tokens[agent]}", "accept": "application/json, text/event-stream"}
        params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}

        async def ask(number: int, method: str, params: Any) -> Any:
            body = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
            return await asking.post(door.url, json=body, headers=fields)

        begun = await ask(1, "initialize", params)
        fields["mcp-session-id"] = begun.headers["mcp-session-id"]
        for turn in range(2):
            text = f"{number} {turn}"
            told = (await ask(turn + 2, "tools/call", {"name": "echo", "arguments": {"text": text}})).json()
            assert told["result"]["content"][0]["text"] == text
        assert (await asking.delete(door.url, headers=fields)).status_code == 204

    async def all_of_them() -> None:
        async with httpx2.AsyncClient(timeout=60, limits=httpx2.Limits(max_connections=8)) as asking:
            await asyncio.gather(*(one(asking, number) for number in range(8)))

    tokens = {agent: token(door.house, agent) for agent in AGENTS}
    asyncio.run(all_of_them())


def test_a_killed_gateway_leaves_no_process(door: GatewayProcess) -> None:
    house = door.house
    killed = GatewayProcess(house, "--server", "other")
    client = killed.client("bot-00")
    before = len(house.alive())
    client.open()
    assert len(house.alive()) == before + 1
    threading.Thread(target=hung_up_on, args=(client,), daemon=True).start()
    await_true(lambda: len(house.alive()) == before + 2)
    killed.kill()
    await_true(lambda: len(house.alive()) == before)


def hung_up_on(client: HttpClient) -> None:
    with contextlib.suppress(OSError, http.client.HTTPException):
        client.call("wait", {"millis": 60_000, "how": "family"})


def test_a_token_from_the_command_line_is_good_for_the_agent_and_what_has_no_place_is_said(
    door: GatewayProcess,
) -> None:
    house = door.house
    own = {**os.environ, "FAILWELL_CONFIG": str(house.config)}

    def run(*arguments: str) -> tuple[int, dict[str, Any]]:
        command = [sys.executable, "-m", "failwell", "gateway", *arguments, "--workspace", str(house.workspace.path)]
        done = subprocess.run([*command, "--json"], capture_output=True, text=True, cwd=ROOT, env=own, check=False)
        return done.returncode, json.loads(done.stdout)

    code, made = run("token", "--agent", "refund-bot", "--hours", "1")
    assert (code, made["schema"], made["agent"]) == (0, "failwell/gateway-token/1", house.full("refund-bot"))
    client = HttpClient(door, {"authorization": f"Bearer {made['token']}"})
    assert client.open().status == 200
    assert client.send("DELETE").status == 204
    code, refused = run("token", "--agent", "refund-bot", "--hours", "25")
    assert (code, refused["error"]["code"]) == (2, "input")


def of_the_gateway(directory: Path) -> tuple[Path, Path]:
    """A server's certificate for this machine that vouches for itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "gateway")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    certificate, private = directory / "gateway.crt", directory / "gateway.key"
    certificate.write_bytes(made.public_bytes(Encoding.PEM))
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    private.chmod(0o600)
    return certificate, private


def test_an_agents_certificate_over_tls_opens_its_session_and_without_one_there_is_none(
    door: GatewayProcess, tmp_path: Path
) -> None:
    house, held = door.house, tmp_path / "agent.pem"
    caller, key = house.caller(), keys.generate()
    told = caller.wire.call(
        "certify", agent=caller.agent, key=base64.b64encode(key.public).decode(), timeout_s=10
    )  # fmt: skip
    held.write_bytes(credential_text(key, told["certificate"], told["issuer"]))
    certificate, private = of_the_gateway(tmp_path)
    with gateway(house, "--server", "other", "--certificate", str(certificate), "--key", str(private)) as made:
        assert made.url.startswith("https://127.0.0.1:")

        def begin(shown: Path | None) -> int:
            context = ssl.create_default_context(cafile=str(certificate))
            if shown is not None:
                context.load_cert_chain(shown)
            line = http.client.HTTPSConnection("127.0.0.1", urlsplit(made.url).port or 0, context=context, timeout=20)
            body = {
                "jsonrpc": "2.0",
                "id": 1,
                "method": "initialize",
                "params": {
                    "protocolVersion": "2025-11-25",
                    "capabilities": {},
                    "clientInfo": {"name": "c", "version": "1"},
                },
            }
            line.request(
                "POST",
                "/mcp",
                json.dumps(body),
                {"content-type": "application/json", "accept": "application/json, text/event-stream"},
            )
            answer = line.getresponse()
            answer.read()
            line.close()
            return answer.status

        assert begin(None) == 401
        assert begin(held) == 200
    opened_by = [entry["agent"] for entry in house.entries("upstream.listed")]
    assert opened_by[-1] == caller.agent
