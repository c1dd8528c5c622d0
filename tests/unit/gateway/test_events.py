"""An answer as events: framed so that nobody can write another one into it, and gone on with after a break."""

from __future__ import annotations

import asyncio

import pytest

from failwell.gateway import events
from failwell.gateway.events import Stream, Streams


def fields(raw: bytes) -> list[tuple[str, str]]:
    """As the specification of server-sent events reads lines: LF, CR and CRLF each end one."""
    text = raw.decode().replace("\r\n", "\n").replace("\r", "\n")
    return [(line.partition(":")[0], line.partition(":")[2].removeprefix(" ")) for line in text.split("\n") if line]


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
def test_a_server_that_breaks_its_json_writes_no_event_of_its_own(end: str) -> None:
    raw = f'{{"a":{end}1}}{end}{end}id: s9-9{end}event: evil{end}data: {{}}'.encode()
    read = fields(events.event(raw, "s1-1"))
    assert [value for name, value in read if name == "id"] == ["s1-1"]
    assert [value for name, value in read if name == "event"] == ["message"]
    told = "\n".join(value for name, value in read if name == "data")
    assert told.replace("\n", "") == raw.decode().replace("\r", "").replace("\n", "")


def test_an_id_that_is_none_of_ours_names_no_event() -> None:
    assert events.read_event_id("s12-3") == ("s12", 3)
    for other in ("", "s1", "s1-", "-1", "s1-1-1", "S1-1", "s1-x", "s1-1\n", "s" * 30 + "-1"):
        assert events.read_event_id(other) is None


async def collect(stream: Stream, after: int = 0) -> list[tuple[int, bytes] | None]:
    return [each async for each in stream.follow(after, 0.01)]


def test_who_comes_back_is_told_the_rest_and_nothing_twice() -> None:
    async def told() -> None:
        stream = Stream("s1", 1000)
        for text in (b"one", b"two", b"three"):
            stream.put(text)
        stream.end()
        assert await collect(stream, 1) == [(2, b"two"), (3, b"three")]
        assert await collect(stream, 3) == []
        assert stream.only() is None

    asyncio.run(told())


def test_the_newest_message_is_kept_whatever_came_before() -> None:
    async def told() -> None:
        stream = Stream("s1", 10)
        for number in range(50):
            stream.put(b"%9d" % number)
        stream.put(b"the answer, longer than all that may be kept")
        stream.end()
        assert stream.last == 51
        assert await collect(stream) == [(51, b"the answer, longer than all that may be kept")]
        assert stream.only() is None  # others came before it: this is not the whole of it

    asyncio.run(told())


def test_a_later_reader_takes_the_earlier_ones_place() -> None:
    async def told() -> None:
        stream = Stream("s1", 1000)
        first = asyncio.ensure_future(collect(stream))
        await asyncio.sleep(0)
        second = asyncio.ensure_future(collect(stream))
        await asyncio.sleep(0)
        stream.put(b"answer")
        stream.end()
        assert (1, b"answer") not in [each for each in await first if each]
        assert (1, b"answer") in await second
        assert not stream.being_read

    asyncio.run(told())


def test_a_reader_to_whom_nothing_is_said_is_told_that_it_goes_on() -> None:
    async def told() -> None:
        stream = Stream("s1", 1000)
        following = stream.follow(0, 0.001)
        assert await anext(following) is None
        stream.put(b"late")
        assert await anext(following) == (1, b"late")
        await following.aclose()

    asyncio.run(told())


def test_streams_that_ended_are_kept_by_number_and_size_and_open_ones_always() -> None:
    async def told() -> None:
        streams = Streams(100, keep=3)
        going_on = streams.new()
        ended = []
        for _ in range(5):
            stream = streams.new()
            stream.put(b"x" * 10)
            stream.end()
            ended.append(stream.name)
        large = streams.new()
        large.put(b"x" * 95)
        large.end()
        newest = streams.new()
        kept = {name for name in (*ended, large.name, going_on.name, newest.name) if streams.get(name)}
        assert kept == {going_on.name, large.name, newest.name}

    asyncio.run(told())
