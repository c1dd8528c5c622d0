"""A tool server that is reached by HTTP, seen from the relay: what it can do to who asks, and where secrets go."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from failwell.core.errors import InputError
from failwell.mcp import messages
from failwell.relay.__main__ import headers_from
from failwell.relay.carrying import Carrier
from failwell.relay.elsewhere import Elsewhere
from failwell.relay.events import Event, Events
from failwell.relay.routing import Routing, annotated
from tests.unit.sources.test_http import certificate

MOST = 100_000
CALL = messages.request(1, "tools/call", b'{"name":"t"}')
GOOD = b'{"jsonrpc":"2.0","id":1,"result":{"ok":true}}'
JSON, EVENTS = "application/json", "text/event-stream"

Handler = Callable[[dict[str, str], bytes, asyncio.StreamWriter], Awaitable[None]]


def reply(body: bytes, kind: str = JSON, status: str = "200 OK", more: str = "") -> bytes:
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{more}Connection: close\r\n\r\n"
    )
    return head.encode() + body


def event(data: bytes, **fields: str) -> bytes:
    return "".join(f"{name}: {value}\n" for name, value in fields.items()).encode() + b"data: " + data + b"\n\n"


def events(*parts: bytes) -> bytes:
    """A stream that is cut off after these parts."""
    return f"HTTP/1.1 200 OK\r\nContent-Type: {EVENTS}\r\nConnection: close\r\n\r\n".encode() + b"".join(parts)


class Hostile:
    """Answers with bytes, one set for each request in its order, the last one from then on."""

    def __init__(self, *answers: bytes) -> None:
        self._answers = list(answers)
        self.heard: list[tuple[str, dict[str, str], bytes]] = []

    async def __call__(self, reading: asyncio.StreamReader, writing: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reading.readuntil(b"\r\n\r\n")).decode()
            first, *lines = head.strip().split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
            body = await reading.readexactly(int(headers.get("content-length", "0")))
            self.heard.append((first.split()[0], headers, body))
            answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
            writing.write(answer)
            await writing.drain()
        writing.close()


class Relayed:
    """A carrier with a server, and what it wrote."""

    def __init__(self, server: Elsewhere) -> None:
        self.server = server
        self.said: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.over: list[str] = []
        self.carrier = Carrier(server, self._write, self.over.append, MOST)

    async def _write(self, line: bytes) -> None:
        assert b"\n" not in line
        await self.said.put(json.loads(line))

    async def asks(self, line: bytes = CALL) -> dict[str, Any]:
        await self.carrier.take(line)
        return await self.said.get()


@contextlib.asynccontextmanager
async def relayed(hostile: Hostile, **more: Any) -> AsyncIterator[Relayed]:
    listening = await asyncio.start_server(hostile, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    server = Elsewhere(f"http://localhost:{port}/mcp", headers=more.pop("headers", {}), max_bytes=MOST, **more)
    here = Relayed(server)
    try:
        yield here
    finally:
        await here.carrier.close()
        await server.leave()
        listening.close()


def attack(hostile: Hostile, play: Callable[[Relayed], Awaitable[None]], **more: Any) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20), relayed(hostile, **more) as here:
            await play(here)

    asyncio.run(bounded())


def ask_once(*answers: bytes) -> dict[str, Any]:
    found: dict[str, Any] = {}

    async def play(here: Relayed) -> None:
        found.update(await here.asks())
        assert here.said.empty()

    attack(Hostile(*answers), play)
    return found


def test_an_answer_comes_as_json_or_as_events_and_is_passed_on_as_one_line() -> None:
    for answer in (reply(b'{"jsonrpc":"2.0",\r\n"id":1,\n"result":{"ok":true}}'), events(event(GOOD))):
        assert ask_once(answer) == json.loads(GOOD)


LIES = [
    (reply(b'{"jsonrpc":"2.0","id":2,"result":{}}'), "before there was one", True),
    (reply(b'{"jsonrpc":"2.0","id":"1","result":{}}'), "before there was one", True),
    (events(event(b'{"jsonrpc":"2.0","id":2,"result":{}}')), "before there was one", True),
    (events(b"data: " + GOOD), "before there was one", True),
    (reply(b"[" + GOOD + b"]"), "no message", True),
    (reply(b"<html>"), "no message", True),
    (reply(b"{}" * MOST), "more than", True),
    (events(b"data: " + b"x" * (MOST + 1)), "more than", True),
    (events(b"data: x\n" * MOST), "more than", True),
    (reply(gzip.compress(GOOD), more="Content-Encoding: gzip\r\n"), "compresses", True),
    (reply(GOOD, kind="text/html"), "neither JSON nor events", True),
    (reply(b"", status="202 Accepted"), "before there was one", True),
    (reply(GOOD)[:-10], "before its answer was whole", True),
    (b"nonsense", "before its answer was whole", True),
    (reply(b"", status="502 Bad Gateway"), "status 502", True),
    (reply(b'{"error":"no"}', status="401 Unauthorized"), "status 401", False),
    (reply(GOOD, status="404 Not Found"), "status 404", False),
    (
        reply(b"", status="307 Temporary Redirect", more="Location: http://169.254.169.254/\r\n"),
        "nobody follows",
        False,
    ),
]


@pytest.mark.parametrize(("answer", "words", "lost"), LIES)
@pytest.mark.requirement("R3.28")
@pytest.mark.requirement("R28.23")
@pytest.mark.requirement("R30.8")
def test_what_is_no_answer_ends_the_request_and_says_whether_it_may_have_been_done(
    answer: bytes, words: str, lost: bool
) -> None:
    error = ask_once(answer)["error"]
    assert words in error["message"]
    assert (error.get("data") == messages.LOST) == lost
    assert ("may have been done" in error["message"]) == lost


def test_an_error_that_comes_with_a_status_is_the_servers_own() -> None:
    for number in (b"1", b"null"):
        body = b'{"jsonrpc":"2.0","id":%b,"error":{"code":-32022,"message":"no"}}' % number
        assert ask_once(reply(body, status="400 Bad Request")) == {
            "jsonrpc": "2.0", "id": 1, "error": {"code": -32022, "message": "no"},
        }  # fmt: skip


@pytest.mark.requirement("R3.28")
def test_nobody_is_followed_elsewhere_and_no_other_address_hears_a_secret() -> None:
    async def play(here: Relayed) -> None:
        trap = Hostile(reply(GOOD))
        listening = await asyncio.start_server(trap, "127.0.0.1", 0)
        place = f"Location: http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/\r\n"
        hostile._answers[:] = [reply(b"", status="308 Permanent Redirect", more=place)]
        assert "nobody follows" in (await here.asks())["error"]["message"]
        listening.close()
        assert trap.heard == []

    hostile = Hostile(b"")
    attack(hostile, play, headers={"Authorization": "Bearer s3cret"})
    assert [headers["authorization"] for _, headers, _ in hostile.heard] == ["Bearer s3cret"]


@pytest.mark.requirement("R3.29")
def test_no_proxy_of_the_environment_hears_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert ask_once(reply(GOOD)) == json.loads(GOOD)


@pytest.mark.requirement("R3.30")
def test_a_localhost_that_leads_to_another_machine_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 80))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    with pytest.raises(InputError, match="another machine"):
        Elsewhere("http://localhost/mcp", headers={}, max_bytes=MOST)


@pytest.mark.parametrize("url", [
    "http://192.0.2.1/mcp", "https://tools.example/mcp", "ftp://localhost/", "http://u:p@localhost/",
])  # fmt: skip
def test_another_machine_is_not_asked_unless_it_is_allowed(url: str) -> None:
    with pytest.raises(InputError):
        Elsewhere(url, headers={}, max_bytes=MOST)
    if url.startswith("http:"):
        with pytest.raises(InputError):
            Elsewhere(url, headers={}, max_bytes=MOST, allow_remote=True)


@pytest.mark.parametrize("trusted", [True, False])
def test_a_certificate_that_nobody_vouches_for_is_sent_no_request(tmp_path: Path, trusted: bool) -> None:
    import ssl

    path = certificate(tmp_path / "cert.pem", "127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)

    async def play() -> None:
        hostile = Hostile(reply(GOOD))
        listening = await asyncio.start_server(hostile, "127.0.0.1", 0, ssl=context)
        url = f"https://127.0.0.1:{listening.sockets[0].getsockname()[1]}/"
        here = Relayed(Elsewhere(url, headers={}, max_bytes=MOST, ca_file=str(path) if trusted else None))
        said = await here.asks()
        assert ("result" in said) == trusted
        if not trusted:
            assert "certificate does not verify" in said["error"]["message"]
            assert hostile.heard == []
        await here.server.leave()
        listening.close()

    asyncio.run(asyncio.wait_for(play(), 20))


def test_a_session_is_kept_as_it_was_first_named_and_its_end_ends_the_relay() -> None:
    began = b'{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2025-06-18"}}'
    hostile = Hostile(
        reply(began, more="Mcp-Session-Id: first\r\n"), reply(GOOD, more="Mcp-Session-Id: second\r\n"),
        reply(b"", status="404 Not Found"),
    )  # fmt: skip

    async def play(here: Relayed) -> None:
        await here.asks(messages.request(1, "initialize", b"{}"))
        await here.asks()
        assert "ended the session" in (await here.asks())["error"]["message"]
        await asyncio.sleep(0)
        assert here.over == ["it has ended the session"]

    attack(hostile, play)
    sent = [(headers.get("mcp-session-id"), headers.get("mcp-protocol-version")) for _, headers, _ in hostile.heard]
    assert sent[:3] == [(None, None), ("first", "2025-06-18"), ("first", "2025-06-18")]
    assert hostile.heard[-1][0] == "DELETE"


def test_a_stream_that_ends_early_is_taken_up_where_the_server_says_so_and_not_for_ever() -> None:
    again = events(event(b"", id="7", retry="1"))
    hostile = Hostile(again, events(event(GOOD)))

    async def play(here: Relayed) -> None:
        assert await here.asks() == json.loads(GOOD)

    attack(hostile, play)
    assert [(method, headers.get("last-event-id")) for method, headers, _ in hostile.heard] == [
        ("POST", None), ("GET", "7"),
    ]  # fmt: skip
    assert ask_once(again)["error"]["data"] == messages.LOST


@pytest.mark.requirement("R30.8")
def test_what_is_said_beside_the_answers_is_passed_on_but_never_an_answer() -> None:
    note = b'{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}'
    began = b'{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2025-06-18"}}'
    hostile = Hostile(
        reply(began, more="Mcp-Session-Id: s\r\n"), reply(b"", status="202 Accepted"), events(event(GOOD), event(note))
    )

    async def play(here: Relayed) -> None:
        await here.asks(messages.request(1, "initialize", b"{}"))
        assert (await here.asks(messages.notification("notifications/initialized")))["method"].endswith("list_changed")

    attack(hostile, play)


def test_to_cancel_a_stateless_request_is_to_close_its_connection() -> None:
    meta = b'{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"},"name":"t"}'
    closed = asyncio.Event()
    heard: list[bytes] = []

    async def play() -> None:
        async def never(reading: asyncio.StreamReader, writing: asyncio.StreamWriter) -> None:
            heard.append(await reading.readuntil(b"\r\n\r\n"))
            writing.write(events())
            await reading.read(10_000)
            await reading.read()
            closed.set()
            writing.close()

        listening = await asyncio.start_server(never, "127.0.0.1", 0)
        port = listening.sockets[0].getsockname()[1]
        here = Relayed(Elsewhere(f"http://127.0.0.1:{port}/", headers={}, max_bytes=MOST))
        await here.carrier.take(messages.request(5, "tools/call", meta))
        while not heard:
            await asyncio.sleep(0.01)
        await here.carrier.take(messages.notification("notifications/cancelled", b'{"requestId":5}'))
        await closed.wait()
        await here.carrier.close()
        await here.server.leave()
        listening.close()
        assert len(heard) == 1

    asyncio.run(asyncio.wait_for(play(), 20))
    assert b"mcp-method: tools/call\r\n" in heard[0].lower()
    assert b"mcp-name: t\r\n" in heard[0].lower()


def test_a_secret_is_a_header_from_the_environment_and_nothing_that_the_protocol_says_itself() -> None:
    assert headers_from(["X-Api-Key"], {"X-Api-Key": "k"}) == {"X-Api-Key": "k"}
    for name, value in {
        "X-Api-Key": None, "Host": "x", "Mcp-Session-Id": "x", "Content-Length": "1", "A B": "x", "A:": "x",
        "X-A": "a\r\nHost: b", "X-B": "é",
    }.items():  # fmt: skip
        with pytest.raises(InputError):
            headers_from([name], {} if value is None else {name: value})


def test_the_relay_ends_with_its_input_and_says_what_it_cannot_do() -> None:
    command = [sys.executable, "-I", "-m", "failwell.relay"]
    refused = subprocess.run(
        [*command, "http://192.0.2.1/"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    assert refused.returncode == 2
    assert "not this machine" in refused.stderr
    assert "Traceback" not in refused.stderr
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}/"
        ended = subprocess.run(
            [*command, url, "--header", "X-Key"], input=CALL + b"\n", capture_output=True, check=False, timeout=20,
            env={**os.environ, "X-Key": "s3cret"},
        )  # fmt: skip
    assert ended.returncode == 0
    assert b"s3cret" not in ended.stdout + ended.stderr


def test_events_are_read_in_whatever_pieces_they_come() -> None:
    text = b"\xef\xbb\xbf: hello\r\n\r\ndata: a\rdata:b\r\rid: 9\nretry: 99999999\nevent: other\ndata: c\n\ndata: d\n"
    for size in (1, 2, 3, 1000):
        reader = Events(1000)
        found = [each for place in range(0, len(text), size) for each in reader.feed(text[place : place + size])]
        assert found == [Event(b"a b", b"message"), Event(b"c", b"other")]
        assert (reader.last_id, reader.retry_ms) == ("9", 5_000)


def test_arguments_are_repeated_in_headers_only_where_the_schema_names_them_well() -> None:
    def schema(**properties: object) -> dict[str, Any]:
        return {"type": "object", "properties": properties}

    region = {"type": "string", "x-mcp-header": "Region"}
    nested = schema(region=region, deep=schema(n={"type": "integer", "x-mcp-header": "N"}))
    assert annotated(nested) == {("region",): "Region", ("deep", "n"): "N"}
    for bad in (
        schema(a=region, b={"type": "string", "x-mcp-header": "region"}), {"x-mcp-header": "R"},
        schema(a={"type": "number", "x-mcp-header": "R"}), schema(a={"type": "string", "x-mcp-header": "R\r\nX"}),
    ):  # fmt: skip
        assert annotated(bad) == {}
    routing = Routing()
    tool = {"name": "t", "inputSchema": nested}
    routing.learn(json.dumps({"tools": [7, tool]}).encode())
    meta = {"_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}}
    params = {**meta, "name": "t", "arguments": {"region": "a\r\nHost: evil", "deep": {"n": 7}}}
    headers = routing.headers(messages.Request(1, "tools/call", json.dumps(params).encode()))
    assert headers["Mcp-Param-Region"] == "=?base64?YQ0KSG9zdDogZXZpbA==?="
    assert headers["Mcp-Param-N"] == "7"
    assert routing.headers(messages.Request(1, "tools/call", b'{"name":"t"}')) == {}
