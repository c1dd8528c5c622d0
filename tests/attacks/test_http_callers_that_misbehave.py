"""Attack: whoever reaches the HTTP door and does not behave: slow, large, endless, two requests in one, many at once.

With real sockets against the server that the doors are served by; what stands behind it here is an application that
counts what it is given.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from failwell.core.errors import InputError
from failwell.web import app
from failwell.web.connection import Limits
from failwell.web.lanes import Lane, LaneOf, prompt
from failwell.web.serving import serve

QUICK = Limits(header_s=0.3, body_s=0.3, keep_alive_s=1, unread_s=0.3, body_bytes=10_000, grace_s=0.3)
HEAD = b"POST / HTTP/1.1\r\nHost: x\r\n"


class Behind:
    """The application: it answers with the length of the body, once `may` is set."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self.at_once = self.most = 0
        self.may = asyncio.Event()
        self.may.set()
        self.large = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = (await receive())["body"]
        self.asked.append(body)
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        await self.may.wait()
        self.at_once -= 1
        if scope["path"] == "/fault":
            raise RuntimeError("what a caller must not read")
        told = b"x" * self.large or str(len(body)).encode()
        length = str(len(told)).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
        await send({"type": "http.response.body", "body": told})


class Place:
    """Where it is served."""

    def __init__(self, port: int, behind: Behind) -> None:
        self.port = port
        self.behind = behind

    async def say(self, data: bytes, *, within_s: float = 3.0) -> bytes:
        """What is heard until the door hangs up; b"(open)" where it does not."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(data)
            async with asyncio.timeout(within_s):
                return await reader.read()
        except TimeoutError:
            return b"(open)"
        except ConnectionResetError:
            return b"(reset)"
        finally:
            writer.close()


@asynccontextmanager
async def served(limits: Limits = QUICK, lane: LaneOf = prompt) -> AsyncIterator[Place]:
    behind, until = Behind(), asyncio.Event()
    ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    serving = asyncio.ensure_future(
        serve(behind, "127.0.0.1:0", None, limits, ready.set_result, lane=lane, until=until)
    )
    both: set[asyncio.Future[Any]] = {ready, serving}
    await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    try:
        yield Place(int((await ready).rpartition(":")[2]), behind)
    finally:
        behind.may.set()
        until.set()
        await serving


def during(work: Callable[[Place], Awaitable[None]], limits: Limits = QUICK, lane: LaneOf = prompt) -> None:
    async def whole() -> None:
        async with served(limits, lane) as place:
            await work(place)

    asyncio.run(whole())


def problem(answer: bytes) -> tuple[int, str]:
    """Status and code of a refusal, which is a problem document on a connection that ends."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"content-type: application/problem+json" in head, answer
    assert b"connection: close" in head
    told = json.loads(body)
    assert int(head.split(b" ")[1]) == told["status"]
    return told["status"], told["code"]


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"\r\n",
        b"GET / HTTP/1.1\r\nHost",
        HEAD + b"Content-Length: 9\r\n\r\n123",
        HEAD + b"Content-Length: 9\r\n\r\n",
    ],
    ids=["nothing", "an-empty-line", "half-a-head", "half-a-body", "no-body"],
)
@pytest.mark.requirement("R28.14")
def test_whoever_does_not_go_on_is_hung_up_on_in_time(said: bytes) -> None:
    async def work(place: Place) -> None:
        began = time.monotonic()
        assert problem(await place.say(said)) == (408, "slow")
        assert time.monotonic() - began < 2
        assert place.behind.asked == []

    during(work)


@pytest.mark.requirement("R28.14")
def test_a_byte_now_and_then_buys_no_time() -> None:
    async def work(place: Place) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", place.port)

        async def drip() -> None:
            for byte in b"GET / HTTP/1.1\r\nHost: a-very-long-name.example\r\n":
                writer.write(bytes([byte]))
                await asyncio.sleep(0.02)

        dripping = asyncio.ensure_future(drip())
        began = time.monotonic()
        assert problem(await reader.read()) == (408, "slow")
        assert time.monotonic() - began < 1.5
        dripping.cancel()
        writer.close()

    during(work)


@pytest.mark.parametrize(
    ("said", "refused"),
    [
        (HEAD + b"Content-Length: 10001\r\n\r\n", (413, "too-large")),
        (
            HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"1000\r\n" + b"x" * 4096 + b"\r\n1800\r\n" + b"x" * 6144,
            (413, "too-large"),
        ),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + (b"1;" + b"e" * 3000 + b"\r\nx\r\n") * 60, (413, "too-large")),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 101 + b"\r\n", (431, "headers")),
        (b"GET / HTTP/1.1\r\nA: " + b"b" * 40_000, (431, "headers")),
        (b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", (431, "headers")),
    ],
    ids=["announced", "chunked", "framing", "many-fields", "a-long-field", "a-long-target"],
)
def test_what_is_too_large_is_refused_before_it_has_come(said: bytes, refused: tuple[int, str]) -> None:
    async def work(place: Place) -> None:
        assert problem(await place.say(said)) == refused
        assert place.behind.asked == []

    during(work)


@pytest.mark.parametrize(
    "said",
    [
        HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n1\r\nx\r\n0\r\n\r\n",
        HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nX-Forwarded-User: anna\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT elsewhere:1 HTTP/1.1\r\nHost: x\r\n\r\n",
        HEAD + b"Transfer-Encoding: identity, chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
        b"POST / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
        b"GET http://evil.example/ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /#part HTTP/1.1\r\nHost: x\r\n\r\n",
        HEAD + b"Content-Length: 1, 1\r\n\r\nx",
    ],
    ids=[
        "two-lengths",
        "another-length",
        "a-trailer",
        "no-http",
        "no-ascii",
        "connect",
        "two-encodings",
        "chunks-of-1.0",
        "two-servers",
        "a-fragment",
        "a-list-of-lengths",
    ],
)
@pytest.mark.requirement("R28.16")
def test_what_two_readers_could_read_differently_is_not_read(said: bytes) -> None:
    async def work(place: Place) -> None:
        assert problem(await place.say(said)) == (400, "malformed")
        assert place.behind.asked == []

    during(work)


@pytest.mark.requirement("R28.17")
def test_a_second_request_before_the_first_answer_is_not_taken_and_answers_nothing() -> None:
    async def work(place: Place) -> None:
        place.behind.may.clear()
        assert await place.say(b"GET /1 HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\n\r\n") == b""
        assert len(place.behind.asked) <= 1

    during(work)


def test_a_fault_of_ours_is_said_to_be_one_and_tells_nothing_else() -> None:
    async def work(place: Place) -> None:
        told = await place.say(b"GET /fault HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert problem(told) == (500, "failed")
        assert b"must not read" not in told

    during(work)


def test_whoever_does_not_read_the_answer_is_cut_off() -> None:
    async def work(place: Place) -> None:
        place.behind.large = 30_000_000
        reader, writer = await asyncio.open_connection("127.0.0.1", place.port, limit=1024)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.sleep(1.0)  # nothing is read meanwhile
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await reader.readexactly(30_000_000)
        writer.close()

    during(work)


@pytest.mark.requirement("R28.15")
def test_more_than_is_worked_on_waits_and_more_than_may_wait_is_turned_away() -> None:
    limits = Limits(in_flight=4, queued=8, queue_s=5)

    async def work(place: Place) -> None:
        place.behind.may.clear()
        ask = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        asked = [asyncio.ensure_future(place.say(ask)) for _ in range(40)]
        await asyncio.sleep(0.3)
        turned = [each.result() for each in asked if each.done()]
        assert len(turned) == 40 - 4 - 8
        assert {problem(each) for each in turned} == {(429, "crowded")}
        assert all(b"retry-after: 1\r\n" in each for each in turned)
        place.behind.may.set()
        assert sum(each.startswith(b"HTTP/1.1 200") for each in await asyncio.gather(*asked)) == 12
        assert place.behind.most == 4
        assert len(place.behind.asked) == 12

    during(work, limits)


def test_whoever_waits_too_long_is_told_so_and_nothing_is_done_for_it_later() -> None:
    limits = Limits(in_flight=1, queued=8, queue_s=0.2)

    async def work(place: Place) -> None:
        place.behind.may.clear()
        ask = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        first = asyncio.ensure_future(place.say(ask))
        await asyncio.sleep(0.05)
        assert problem(await place.say(ask)) == (429, "crowded")
        place.behind.may.set()
        await first
        await asyncio.sleep(0.05)
        assert len(place.behind.asked) == 1

    during(work, limits)


def test_a_stop_gets_through_where_all_other_places_are_taken() -> None:
    limits = Limits(in_flight=2, queued=2, queue_s=5, lasting=2)

    def lane(scope: Any) -> Lane:
        return {"/stop": Lane.STOP, "/long": Lane.LASTING}.get(scope["path"], Lane.PROMPT)

    async def work(place: Place) -> None:
        place.behind.may.clear()
        for path in (b"/", b"/long"):
            ask = b"GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % path
            asked = [asyncio.ensure_future(place.say(ask)) for _ in range(20)]
            await asyncio.sleep(0.1)
            assert any(each.done() and problem(each.result()) == (429, "crowded") for each in asked)
        reached = len(place.behind.asked)
        stop = asyncio.ensure_future(place.say(b"POST /stop HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\ns"))
        await asyncio.sleep(0.1)
        assert place.behind.asked[reached:] == [b"s"]
        stop.cancel()

    during(work, limits, lane)


@pytest.mark.parametrize("query", [b"wait_s=30", b"wait%5Fs=30", b"%77ait_s=30", b"x=1&wait_s=30"])
@pytest.mark.requirement("R28.28")
def test_however_a_wait_is_spelled_it_takes_no_place_of_what_is_answered_at_once(query: bytes) -> None:
    assert app.lane({"path": "/v1/tickets/7", "query_string": query}) is Lane.LASTING
    assert app.lane({"path": "/v1/tickets/7", "query_string": b""}) is Lane.PROMPT


def test_slow_senders_hold_nobodys_place() -> None:
    limits = Limits(in_flight=1, queued=0, body_s=5, header_s=5)

    async def work(place: Place) -> None:
        slow = [asyncio.ensure_future(place.say(HEAD + b"Content-Length: 9\r\n\r\n12", within_s=1)) for _ in range(50)]
        await asyncio.sleep(0.1)
        told = await place.say(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert told.startswith(b"HTTP/1.1 200")
        await asyncio.gather(*slow)

    during(work, limits)


def test_connections_without_end_push_out_the_quiet_ones_and_not_who_asks() -> None:
    limits = Limits(connections=8, header_s=5, keep_alive_s=5)

    async def work(place: Place) -> None:
        place.behind.may.clear()
        asking = asyncio.ensure_future(place.say(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
        await asyncio.sleep(0.05)
        quiet = [await asyncio.open_connection("127.0.0.1", place.port) for _ in range(30)]
        await asyncio.sleep(0.2)
        ended = [reader.at_eof() or reader.exception() is not None for reader, _ in quiet]
        assert sum(ended) >= 30 - 8
        place.behind.may.set()
        assert (await asking).startswith(b"HTTP/1.1 200")
        for _, writer in quiet:
            writer.close()

    during(work, limits)


def test_bodies_together_take_no_more_memory_than_they_may() -> None:
    limits = Limits(body_bytes=10_000, buffered_bytes=25_000, body_s=2)

    async def work(place: Place) -> None:
        part = HEAD + b"Content-Length: 10000\r\n\r\n" + b"x" * 9000
        asked = [asyncio.ensure_future(place.say(part, within_s=0.5)) for _ in range(6)]
        told = await asyncio.gather(*asked)
        assert sum(each.startswith(b"HTTP/1.1 429") for each in told) == 4

    during(work, limits)


def _stops(scope: Any) -> Lane:
    return Lane.STOP if scope["path"] == "/stop" else Lane.PROMPT


@pytest.mark.requirement("R28.27")
def test_bodies_that_never_end_leave_room_for_a_stop() -> None:
    limits = Limits(body_bytes=10_000, buffered_bytes=18_000, body_s=5)
    part = b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 10000\r\n\r\n" + b"x" * 9000

    async def work(place: Place) -> None:
        held = [asyncio.ensure_future(place.say(part % path, within_s=2)) for path in (b"/", b"/", b"/stop", b"/stop")]
        await asyncio.sleep(0.1)
        crowded = await place.say(HEAD + b"Content-Length: 1\r\n\r\nx")
        assert problem(crowded) == (429, "crowded")
        ask = b"POST /stop HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nConnection: close\r\n\r\nstop"
        assert (await place.say(ask)).startswith(b"HTTP/1.1 200")
        assert place.behind.asked == [b"stop"]
        for each in held:
            each.cancel()

    during(work, limits, _stops)


@pytest.mark.parametrize("said", [b"POST /st", HEAD + b"Content-Length: 9\r\n\r\n1"], ids=["heads", "bodies"])
@pytest.mark.requirement("R28.29")
def test_requests_that_never_end_on_all_connections_leave_one_for_a_stop(said: bytes) -> None:
    limits = Limits(connections=8, header_s=5, body_s=5)

    async def work(place: Place) -> None:
        begun = [await asyncio.open_connection("127.0.0.1", place.port) for _ in range(8)]
        for _, writer in begun:
            writer.write(said)
        await asyncio.sleep(0.1)
        ask = b"POST /stop HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nConnection: close\r\n\r\nstop"
        assert (await place.say(ask)).startswith(b"HTTP/1.1 200")
        for _, writer in begun:
            writer.close()

    during(work, limits, _stops)


def test_other_machines_do_not_reach_it_unless_somebody_says_so() -> None:
    async def work() -> None:
        with pytest.raises(InputError, match="other machines"):
            await serve(Behind(), "0.0.0.0:0", None, Limits(), lambda address: None)
        with pytest.raises(InputError, match="no address"):
            await serve(Behind(), "localhost", None, Limits(), lambda address: None)

    asyncio.run(work())


def test_the_end_answers_what_was_asked_and_waits_for_no_one_for_ever() -> None:
    async def work() -> None:
        behind, until = Behind(), asyncio.Event()
        behind.may.clear()
        ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        limits = Limits(grace_s=0.5)
        serving = asyncio.ensure_future(serve(behind, "127.0.0.1:0", None, limits, ready.set_result, until=until))
        place = Place(int((await ready).rpartition(":")[2]), behind)
        asked = asyncio.ensure_future(place.say(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
        quiet = asyncio.ensure_future(place.say(b""))
        await asyncio.sleep(0.05)
        until.set()
        await asyncio.sleep(0.05)
        assert await quiet == b""
        behind.may.set()
        assert (await asked).startswith(b"HTTP/1.1 200")
        await serving
        with pytest.raises(OSError):
            await place.say(b"")

    asyncio.run(work())
