"""The wire of processes that speak for many: thousands of waiting calls, a node that goes, one that says nonsense."""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from failwell.client.async_wire import AsyncWire, prove
from failwell.core.errors import NotFound, Refused, Unreachable
from tests.simulate.fixtures import house, stage
from tests.simulate.house import SPIFFE, House

__all__ = ["house", "stage"]

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture
def place() -> Iterator[Path]:
    """A socket's path that is short enough."""
    with tempfile.TemporaryDirectory(prefix="fw-") as directory:
        yield Path(directory) / "node.sock"


def frame(message: Any) -> bytes:
    data = json.dumps(message).encode()
    return len(data).to_bytes(4, "big") + data


async def asked(reader: asyncio.StreamReader) -> dict[str, Any]:
    length = int.from_bytes(await reader.readexactly(4), "big")
    message: dict[str, Any] = json.loads(await reader.readexactly(length))
    return message


@contextlib.asynccontextmanager
async def served(place: Path, serve: Serve) -> AsyncIterator[None]:
    """A node that does as `serve` says with each caller, and hangs up."""
    over: list[asyncio.Task[Any]] = []

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        over.append(task)
        with contextlib.suppress(ConnectionError):
            await serve(reader, writer)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    async with await asyncio.start_unix_server(one, str(place)):
        yield
        await asyncio.gather(*over)


def against(place: Path, serve: Serve, work: Callable[[AsyncWire], Awaitable[Any]]) -> Any:
    """What `work` gives with a wire to a node that greets, and then does as `serve` says."""

    async def greets(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(frame({"origin": "here"}))
        await serve(reader, writer)

    async def whole() -> Any:
        async with served(place, greets):
            wire = await AsyncWire.open(place)
            assert wire.greeting == {"origin": "here"}
            try:
                async with asyncio.timeout(10):
                    return await work(wire)
            finally:
                await wire.close()

    return asyncio.run(whole())


def test_three_thousand_calls_are_each_given_their_own_answer_in_whatever_order(place: Path) -> None:
    async def backwards(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        numbers = [await asked(reader) for _ in range(3000)]
        for message in reversed(numbers):
            writer.write(frame({"id": message["id"], "ok": message["about"]}))
        await writer.drain()
        await reader.read()

    async def work(wire: AsyncWire) -> None:
        answers = await asyncio.gather(*(wire.call("ask", about=number) for number in range(3000)))
        assert answers == list(range(3000))
        assert wire.waiting == 0

    against(place, backwards, work)


def test_a_node_that_goes_fails_every_call_that_waits_and_every_later_one(place: Path) -> None:
    async def goes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(200):
            await asked(reader)

    async def work(wire: AsyncWire) -> None:
        calls = [asyncio.ensure_future(wire.call("act", number=number)) for number in range(200)]
        ended = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(error, Unreachable) and "the node is gone" in error.message for error in ended)
        assert len({id(error) for error in ended}) == 200
        assert isinstance(await wire.ended, Unreachable)
        with pytest.raises(Unreachable):
            await wire.call("ask")

    against(place, goes, work)


@pytest.mark.parametrize("nonsense", [b"\xff\xff\xff\xff", b"\0\0\0\1x", frame([]), frame({"no": "id"}), frame(None)])
def test_an_answer_that_is_none_ends_the_connection_and_leaves_nobody_waiting(place: Path, nonsense: bytes) -> None:
    async def babbles(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asked(reader)
        writer.write(nonsense)
        await reader.read()

    async def work(wire: AsyncWire) -> None:
        with pytest.raises(Unreachable, match="no answer"):
            await wire.call("ask")

    against(place, babbles, work)


def test_pushes_come_between_answers_and_errors_are_those_of_the_other_wire(place: Path) -> None:
    async def pushes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = (await asked(reader))["id"]
        told = {"code": "unauthenticated", "message": "no", "hint": "prove it"}
        writer.write(frame({"push": "interrupt", "action": 7}) + frame({"id": number, "error": told}))
        await reader.read()

    async def work(wire: AsyncWire) -> None:
        heard: list[dict[str, Any]] = []
        wire.on_push = heard.append
        with pytest.raises(Refused) as refused:
            await wire.call("act")
        assert (refused.value.code, refused.value.message, refused.value.hint) == ("unauthenticated", "no", "prove it")
        assert heard == [{"push": "interrupt", "action": 7}]

    against(place, pushes, work)


def test_a_call_that_was_given_up_takes_nobody_elses_answer(place: Path) -> None:
    async def late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first, second = await asked(reader), await asked(reader)
        writer.write(frame({"id": first["id"], "ok": "first"}) + frame({"id": second["id"], "ok": "second"}))
        await reader.read()

    async def work(wire: AsyncWire) -> None:
        with pytest.raises(Unreachable, match="did not answer within"):
            await wire.call("ask", timeout_s=0.01)
        assert await wire.call("ask") == "second"
        assert wire.waiting == 0

    against(place, late, work)


def test_a_greeting_that_drips_is_given_up_as_a_whole(place: Path) -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((1 << 20).to_bytes(4, "big"))
        while not reader.at_eof():
            writer.write(b" ")
            await writer.drain()  # raises where the caller hung up between: then the reader has no end, but an error
            await asyncio.sleep(0.02)

    async def whole() -> None:
        async with served(place, drip):
            with pytest.raises(Unreachable) as refused:
                await AsyncWire.open(place, timeout_s=0.1)
            assert refused.value.code == "silent"

    asyncio.run(whole())
    with pytest.raises(Unreachable):
        asyncio.run(AsyncWire.open(place))


def test_an_identity_is_proved_on_it_with_the_key_that_lies_in_the_configuration(house: House) -> None:
    house.node()

    async def whole() -> None:
        wire = await AsyncWire.open(house.workspace.socket)
        with pytest.raises(Refused):
            await wire.call("run.open", agent=f"{SPIFFE}refund-bot")
        assert (await prove(wire, house.config, "agent", "refund-bot")).full == f"{SPIFFE}refund-bot"
        assert await wire.call("run.open", agent=f"{SPIFFE}refund-bot") > 0
        with pytest.raises(NotFound):
            await prove(wire, house.config, "agent", "nobody")
        await wire.close()

    asyncio.run(whole())


@pytest.mark.requirement("R28.25")
def test_what_a_node_answered_before_it_went_is_told_to_all_who_waited(place: Path) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(frame({"origin": "o"}))
        numbers = [(await asked(reader))["id"] for _ in range(50)]
        writer.write(b"".join(frame({"id": number, "ok": number}) for number in numbers))

    async def whole() -> None:
        async with served(place, serve):
            wire = await AsyncWire.open(place)
            answers = await asyncio.gather(*(wire.call("ask") for _ in range(50)))
            assert answers == list(range(1, 51))
            await wire.close()

    asyncio.run(whole())
