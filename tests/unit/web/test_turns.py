"""What comes from a crowd is taken up a bounded amount at a time, in the order of its coming, whole, and never lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from failwell.web import turns
from failwell.web.connection import Limits
from failwell.web.serving import serve
from failwell.web.turns import Turns


def taker(name: int, taken: list[tuple[int, bytes]], busy_s: float = 0.0) -> Callable[[bytes], None]:
    def take(data: bytes) -> None:
        time.sleep(busy_s)
        taken.append((name, data))

    return take


def test_a_crowd_is_taken_up_in_order_and_others_get_their_turn_in_between() -> None:
    taken: list[tuple[int, bytes]] = []
    between: list[int] = []

    async def whole() -> None:
        waiting = Turns(asyncio.get_running_loop(), ())
        for number in range(200):
            waiting.wait(taker(number, taken, 0.0005), b"asked")
        while len(taken) < 200:
            between.append(len(taken))
            await asyncio.sleep(0)

    asyncio.run(whole())
    assert [name for name, _ in taken] == list(range(200))
    most = max(after - before for before, after in pairwise(between))
    # Each piece takes half a millisecond: where a turn took too long, less is taken up in the next one.
    assert most <= 10


def test_what_comes_in_pieces_meanwhile_is_taken_up_whole_and_once() -> None:
    taken: list[tuple[int, bytes]] = []

    async def whole() -> None:
        waiting = Turns(asyncio.get_running_loop(), ())
        first, second = taker(1, taken), taker(2, taken)
        waiting.wait(first, b"POST ")
        waiting.wait(second, b"GET ")
        waiting.wait(first, b"/v1")
        for _ in range(4):
            await asyncio.sleep(0)

    asyncio.run(whole())
    assert taken == [(1, b"POST /v1"), (2, b"GET ")]


def test_nothing_is_taken_up_of_whoever_is_gone() -> None:
    taken: list[tuple[int, bytes]] = []

    async def whole() -> None:
        waiting = Turns(asyncio.get_running_loop(), ())
        gone = taker(1, taken)
        waiting.wait(gone, b"asked")
        waiting.forget(gone)
        waiting.forget(gone)
        waiting.wait(taker(2, taken), b"asked")
        for _ in range(4):
            await asyncio.sleep(0)

    asyncio.run(whole())
    assert taken == [(2, b"asked")]


def test_bytes_without_end_do_not_wait_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "MAX_WAITING_BYTES", 100)
    taken: list[tuple[int, bytes]] = []

    async def whole() -> None:
        waiting = Turns(asyncio.get_running_loop(), ())
        waiting.wait(taker(1, taken), bytes(60))
        waiting.wait(taker(2, taken), bytes(60))
        # Taken up at once, to be counted and refused as a body; what was there before keeps its place.
        assert taken == [(2, bytes(60))]
        waiting.wait(taker(3, taken), bytes(30))
        assert len(taken) == 1
        while len(taken) < 3:
            await asyncio.sleep(0)

    asyncio.run(whole())
    assert [name for name, _ in taken] == [2, 1, 3]


@pytest.mark.requirement("R8.36")
def test_a_stop_that_comes_last_of_a_crowd_is_worked_on_first() -> None:
    worked_on: list[str] = []

    async def behind(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        worked_on.append(scope["path"])
        time.sleep(0.001)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    async def whole() -> None:
        until, ready = asyncio.Event(), asyncio.get_running_loop().create_future()
        serving = asyncio.ensure_future(
            serve(behind, "127.0.0.1:0", None, Limits(), ready.set_result, first=(b"POST /stop ",), until=until)
        )
        port = int((await ready).rpartition(":")[2])
        links = [await asyncio.open_connection("127.0.0.1", port) for _ in range(60)]
        paths = ["ask"] * 59 + ["stop"]
        for (_, writer), path in zip(links, paths, strict=True):
            writer.write(f"POST /{path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode())
        for reader, _ in links:
            assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
        for _, writer in links:
            writer.close()
        until.set()
        await serving

    asyncio.run(whole())
    assert len(worked_on) == 60
    assert worked_on.index("/stop") < 5
