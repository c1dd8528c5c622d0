"""Async agents whose own actions are to stop: the task is cancelled, and nothing is called stopped that goes on."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import failwell
from tests.simulate.fixtures import model, stage
from tests.simulate.house import House, await_true

__all__ = ["stage"]


@pytest.fixture(scope="module")
def house(stage: Path) -> Iterator[House]:
    made = model().copy(stage / "async")
    node = made.node(crashing=True)
    try:
        yield made
        made.end(node)
        made.hold_true()
        made.verify()
    finally:
        made.tear_down()


Tool = Callable[[], Any]


def stop(house: House, agent: str, tool: Tool) -> tuple[BaseException | None, str, str]:
    """Suspend an agent in the midst of a tool of its own: (what its caller hears, outcome, why it is unconfirmed)."""

    def suspend() -> None:
        began.wait(10)
        house.suspend(agent)

    began = threading.Event()
    suspending = threading.Thread(target=suspend)
    suspending.start()
    heard: BaseException | None = None
    with house.gate() as gate:

        @gate.tool("desk.ask")
        def ask(customer: str) -> Any:
            began.set()
            return tool()

        async def work() -> None:
            async with gate.run(agent=agent) as run:
                await run.call("desk.ask", customer="c1")

        try:
            asyncio.run(work())
        except failwell.Error as error:
            heard = error
        suspending.join()
        (outcome,) = await_true(lambda: house.entries("outcome", agent))
    (unconfirmed,) = house.entries("interrupt.unconfirmed", agent)
    return heard, outcome["body"]["state"], unconfirmed["body"]["why"]


def test_a_task_that_is_to_stop_is_cancelled_and_says_so(house: House) -> None:
    began = time.monotonic()
    heard, state, why = stop(house, "bot-01", lambda: asyncio.sleep(30))
    assert isinstance(heard, failwell.Interrupted)
    assert (state, why) == ("interrupted_unconfirmed", "only its own process says that it stopped")
    assert time.monotonic() - began < 15


def test_a_task_that_swallows_the_cancellation_is_not_said_to_have_stopped(house: House) -> None:
    async def deaf() -> None:
        until = time.monotonic() + 2.0
        while time.monotonic() < until:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0.05)

    heard, state, why = stop(house, "bot-02", deaf)
    assert isinstance(heard, failwell.Interrupted)
    assert (state, why) == ("interrupted_unconfirmed", "its process did not say that it stopped")


@pytest.mark.parametrize("how", ["a thread of the loop's pool", "a thread of its own"])
@pytest.mark.requirement("R6.17")
def test_a_body_that_goes_on_in_a_thread_is_said_to_go_on(house: House, how: str) -> None:
    go_on = threading.Event()

    async def in_pool() -> None:
        await asyncio.to_thread(go_on.wait, 5)

    async def in_thread() -> None:
        threading.Thread(target=go_on.wait, args=(5,)).start()
        await asyncio.sleep(30)

    body: Callable[[], Awaitable[None]] = in_pool if "pool" in how else in_thread
    released = threading.Timer(1.5, go_on.set)
    released.start()
    heard, state, why = stop(house, "bot-03" if "pool" in how else "bot-04", body)
    released.join()
    assert isinstance(heard, failwell.Interrupted)
    assert "still at work" in str(heard)
    assert (state, why) == ("interrupted_unconfirmed", "its own process says that it could not stop it")


def test_a_body_that_is_not_async_is_never_said_to_have_stopped(house: House) -> None:
    _, state, why = stop(house, "bot-05", lambda: time.sleep(1.5))
    assert (state, why) == ("interrupted_unconfirmed", "its process did not say that it stopped")
