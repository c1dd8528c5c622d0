"""The gateway on two descriptors: clients that send what is no message, do not read, or are gone."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from failwell.gateway import messages, stdio
from failwell.gateway.backend import Call, Outcome
from tests.simulate.backend import HouseBackend, outcome, server, tool

HELLO = b'{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}\n'
PING = b'{"jsonrpc":"2.0","id":%d,"method":"ping"}\n'
CALL = b'{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"read","arguments":{"n":%d}}}\n'


async def says_hello(call: Call) -> Outcome:
    return outcome(b'{\n  "content": []\n}')


class Line:
    """A gateway on two pipes, and the client's ends of them."""

    def __init__(self, run: Callable[[Call], Awaitable[Outcome]] = says_hello) -> None:
        self.backend = HouseBackend(server("files", tool("files.read", effect="read")), run=run)
        theirs_in, self.write_to = os.pipe()
        self.read_from, theirs_out = os.pipe()
        self.theirs = (theirs_in, theirs_out)
        os.set_blocking(self.read_from, False)
        self.buffer = b""

    def start(self) -> asyncio.Task[None]:
        reading, writing = self.theirs
        return asyncio.ensure_future(
            stdio.serve(self.backend, single=True, note=lambda line: None, reading=reading, writing=writing)
        )

    def send(self, data: bytes) -> None:
        os.write(self.write_to, data)

    async def hear(self) -> Any:
        while b"\n" not in self.buffer:
            await asyncio.sleep(0.001)
            try:
                more = os.read(self.read_from, 1 << 20)
            except BlockingIOError:
                continue
            assert more, "it hung up"
            self.buffer += more
        line, _, self.buffer = self.buffer.partition(b"\n")
        return json.loads(line)

    def close(self) -> None:
        for descriptor in (*self.theirs, self.write_to, self.read_from):
            try:
                os.close(descriptor)
            except OSError:
                continue


@pytest.fixture
def line() -> Any:
    made = Line()
    yield made
    made.close()


def test_what_is_no_message_or_too_long_is_an_error_and_the_next_one_is_read(line: Line) -> None:
    async def main() -> None:
        serving = line.start()
        line.send(HELLO)
        assert (await line.hear())["id"] == 0
        line.send(b"\n  \nnonsense\n")
        assert (await line.hear())["error"]["code"] == messages.PARSE_ERROR
        for _ in range(messages.MAX_MESSAGE_BYTES // 65_536 + 2):
            await asyncio.to_thread(line.send, b"x" * 65_536)
        line.send(b"\n" + PING % 1)
        assert (await line.hear())["error"]["code"] == messages.INVALID_REQUEST
        assert (await line.hear())["id"] == 1
        # A result that its server wrote on several lines is one message all the same.
        line.send(CALL % (2, 1))
        assert (await line.hear())["result"]["content"] == []
        os.close(line.write_to)
        await asyncio.wait_for(serving, 5)
        assert line.backend.closed

    asyncio.run(main())


def test_a_client_that_closes_its_end_hears_what_is_done_soon_and_has_the_rest_stopped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stdio, "GRACE_S", 0.1)

    async def run(call: Call) -> Outcome:
        await asyncio.sleep(0.02 if b"1" in call.arguments else 60)
        return outcome(b'{"content":[]}')

    async def main() -> None:
        line = Line(run)
        serving = line.start()
        line.send(HELLO + CALL % (1, 1) + CALL % (2, 2))
        os.close(line.write_to)
        assert [(await line.hear())["id"] for _ in range(2)] == [0, 1]
        await asyncio.wait_for(serving, 5)
        assert [why for _, why in line.backend.cancelled] == ["the client hung up"]
        line.close()

    asyncio.run(main())


@pytest.mark.requirement("R28.18")
def test_a_client_that_does_not_read_is_not_read_from_until_it_does() -> None:
    large = json.dumps({"content": [{"type": "text", "text": "x" * 300_000}]}).encode()

    async def run(call: Call) -> Outcome:
        return outcome(large)

    async def main() -> None:
        line = Line(run)
        serving = line.start()
        line.send(HELLO)
        assert (await line.hear())["id"] == 0
        sent = 200

        def flood() -> None:
            for number in range(1, sent + 1):
                line.send((CALL % (number, number)).replace(b'"read"', b'"read"' + b" " * 2000))

        flooding = asyncio.ensure_future(asyncio.to_thread(flood))
        await asyncio.sleep(0.2)
        before = len(line.backend.calls)
        await asyncio.sleep(0.1)
        # Attack: answers pile up in memory. What was read when the bound was reached is answered, and no more is read.
        assert before == len(line.backend.calls) < sent
        heard = [(await line.hear())["id"] for _ in range(sent)]
        assert sorted(heard) == list(range(1, sent + 1))
        await flooding
        os.close(line.write_to)
        await asyncio.wait_for(serving, 5)
        line.close()

    asyncio.run(main())


def test_a_client_that_is_gone_ends_the_gateway(line: Line) -> None:
    async def main() -> None:
        serving = line.start()
        line.send(HELLO)
        await line.hear()
        os.close(line.read_from)
        line.send(PING % 1)
        await asyncio.wait_for(serving, 5)
        assert line.backend.closed

    asyncio.run(main())


def test_messages_from_a_plain_file_are_answered_into_one(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(HELLO + CALL % (1, 1))

    async def main() -> None:
        made = Line()
        reading, writing = os.open(tmp_path / "in", os.O_RDONLY), os.open(tmp_path / "out", os.O_WRONLY | os.O_CREAT)
        await stdio.serve(made.backend, single=True, note=lambda line: None, reading=reading, writing=writing)
        for descriptor in (reading, writing):
            os.close(descriptor)
        made.close()

    asyncio.run(main())
    answers = [json.loads(line) for line in (tmp_path / "out").read_bytes().splitlines()]
    assert [answer["id"] for answer in answers] == [0, 1]
