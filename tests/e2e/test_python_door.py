"""The Python door: calls made again, nodes that die mid-call, decorated functions of every kind, runs used wrongly."""

from __future__ import annotations

import asyncio
import inspect
import os
import signal
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import failwell
from failwell.client.run import CURRENT
from failwell.client.wire import Wire
from failwell.core.errors import InputError, Refused
from failwell.execute.function import ORIGINAL
from tests.simulate import streamers
from tests.simulate.fixtures import house, model, stage
from tests.simulate.gateway_http import register_host
from tests.simulate.house import House, NodeProcess, await_true

__all__ = ["house", "stage"]

SLOW = {"customer": "c1", "millis": 60_000}


@pytest.fixture(scope="module")
def shared(stage: Path) -> Iterator[House]:
    made = model().copy(stage / "door")
    node = made.node(crashing=True)
    try:
        yield made
        made.end(node)
        made.hold_true()
        made.verify()
    finally:
        made.tear_down()


@pytest.fixture(autouse=True)
def outside_of_runs() -> Iterator[None]:
    """Runs that a test leaves open are not those that the next one calls in."""
    yield
    CURRENT.set(None)


@pytest.fixture
def gate(shared: House) -> Iterator[failwell.Gate]:
    with shared.gate() as gate:
        yield gate


def write(customer: str, millis: int = 0) -> dict[str, str]:
    return {"wrote": customer}


def burn(customer: str, millis: int = 0) -> None:
    raise RuntimeError("the printer is on fire")


def asking(gate: failwell.Gate) -> Callable[[str], dict[str, str]]:
    """A tool that stays in this process."""

    @gate.tool("desk.ask")
    def asked(customer: str) -> dict[str, str]:
        return {"wrote": customer}

    return asked


def decided(house: House, call: str) -> int:
    return sum(entry["body"]["call"] == call for entry in house.entries("decision"))


# ---- a call that is made again -----------------------------------------------------------------------------------


def test_a_completed_call_made_again_gives_its_recorded_result(shared: House, gate: failwell.Gate) -> None:
    gate.tool("note.write")(write)
    with gate.run(agent="refund-bot") as run:
        first = run.call("note.write", customer="c1", millis=0, call_id="done")
        gate.tool("note.write")(burn)  # whatever it would do now
        assert run.call("note.write", customer="c1", millis=0, call_id="done") == first == {"wrote": "c1"}
        with pytest.raises(failwell.Denied, match="other arguments") as other:
            run.call("note.write", customer="c2", millis=0, call_id="done")
    assert "use a new one" in str(other.value.hint)
    assert decided(shared, "done") == 2


def test_a_failed_call_made_again_fails_in_the_same_words(shared: House, gate: failwell.Gate) -> None:
    gate.tool("note.write")(burn)
    with gate.run(agent="refund-bot") as run:
        said = []
        for _ in range(2):
            with pytest.raises(failwell.ToolFailed, match="printer is on fire") as failed:
                run.call("note.write", customer="c1", millis=0, call_id="failed")
            said.append((str(failed.value), failed.value.outcome.exit_code))
    assert said[0] == said[1]
    assert decided(shared, "failed") == 1


def test_a_call_of_this_process_made_again_is_told_from_the_record(gate: failwell.Gate) -> None:
    ran = []

    @gate.tool("desk.ask")
    def ask(customer: str) -> dict[str, Any]:
        ran.append(customer)
        return {"asked": customer}

    async def again(number: int) -> Any:
        async with gate.run(agent="refund-bot", resume=number) as run:
            return await run.call("desk.ask", customer="c1", call_id="here")

    run = gate.run(agent="refund-bot")
    run.__enter__()
    assert run.call("desk.ask", customer="c1", call_id="here") == {"asked": "c1"}
    assert run.call("desk.ask", customer="c1", call_id="here") == {"asked": "c1"}
    with pytest.raises(failwell.Repeated) as repeated, run.acting("desk.ask", customer="c1", call_id="here"):
        ran.append("a block that must not run")
    assert repeated.value.outcome is not None
    assert repeated.value.outcome.result == {"asked": "c1"}
    assert run.id is not None
    assert asyncio.run(again(run.id)) == {"asked": "c1"}
    assert ran == ["c1"]


def test_a_call_that_is_still_under_way_says_so(shared: House, gate: failwell.Gate) -> None:
    with gate.run(agent="bot-01") as run, run.acting("desk.ask", customer="c1", call_id="open"):
        with pytest.raises(failwell.Repeated, match="still under way") as under_way:
            run.call("desk.ask", customer="c1", call_id="open")
        assert under_way.value.outcome is None
        assert "made again later" in str(under_way.value.hint)


def test_an_interrupted_call_made_again_is_told_as_that_also_by_an_agent_that_is_stopped(
    shared: House, gate: failwell.Gate
) -> None:
    gate.tool("note.write")(streamers.count)
    slow: dict[str, Any] = {"customer": "c1", "millis": 5_000, "amount": "9", "call_id": "stopped"}
    run = gate.run(agent="bot-02")
    run.__enter__()
    suspending = threading.Thread(target=lambda: (await_true(lambda: shared.ask("running")), shared.suspend("bot-02")))
    suspending.start()
    with pytest.raises(failwell.Interrupted) as first:
        run.call("note.write", **slow)
    suspending.join()
    with pytest.raises(failwell.Interrupted) as again:
        run.call("note.write", **slow)
    assert again.value.outcome.repeated
    assert again.value.outcome.entry == first.value.outcome.entry
    assert (again.value.outcome.state, again.value.outcome.verdict.allowed) == ("interrupted_confirmed", False)
    assert "suspended" in str(again.value)
    assert decided(shared, "stopped") == 1


def test_a_denied_call_made_again_names_its_clause_and_what_to_do(gate: failwell.Gate) -> None:
    with gate.run(agent="bot-03") as run:
        with pytest.raises(failwell.Denied, match=r"tool\.unlisted"):
            run.call("note.burn", customer="c1", call_id="burn")
        with pytest.raises(failwell.Denied, match=r"tool\.unlisted") as denied:
            run.call("note.burn", customer="c1", call_id="burn")
    assert "new call id" in str(denied.value.hint)


def test_a_result_that_was_erased_is_not_told_as_nothing(house: House) -> None:
    node = house.node(crashing=True)
    with house.gate() as gate:
        gate.tool("note.write")(write)
        run = gate.run(agent="refund-bot")
        run.__enter__()
        run.call("note.write", customer="c1", millis=0, call_id="erased")
    house.end(node)
    (outcome,) = house.entries("outcome")
    # As an erasure leaves it: the entry stands, its blob and key are gone.
    with sqlite3.connect(house.workspace.ledger) as ledger:
        gone = ledger.execute("DELETE FROM blob WHERE seq = ?", (outcome["seq"],)).rowcount
    ledger.close()
    assert gone == 1
    house.node(crashing=True)
    with house.gate() as gate:
        gate.tool("note.write")(write)
        resumed = gate.run(agent="refund-bot", resume=run.id)
        resumed.__enter__()
        with pytest.raises(failwell.Erased, match="completed, and its result was erased") as erased:
            resumed.call("note.write", customer="c1", millis=0, call_id="erased")
    assert erased.value.outcome.state == "completed"


def killing(house: House, node: NodeProcess) -> threading.Thread:
    """Kills the node as soon as the tool is at work."""

    def kill() -> None:
        await_true(lambda: house.began("c1"))
        os.kill(node.pid, signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    return thread


# ---- a node that dies mid-call -----------------------------------------------------------------------------------


@pytest.mark.requirement("R28.4")
def test_a_node_killed_mid_call_is_told_as_what_is_not_known_and_the_call_runs_once(house: House) -> None:
    node = house.node(crashing=True)
    with house.gate() as gate:
        run = gate.run(agent="refund-bot")
        target = house.target()
        gate.target = lambda tool: target  # type: ignore[method-assign]
        killer = killing(house, node)
        with pytest.raises(failwell.Unsettled) as lost, run:
            run.call("note.write", SLOW)
        killer.join()
        with pytest.raises(failwell.Error, match="this run is closed"):
            run.call("note.write", SLOW)
    node.kill()
    await_true(lambda: not house.alive())
    said = f"{lost.value} {lost.value.hint}"
    assert "not known" in said
    assert f"call_id={lost.value.call_id!r}" in said
    assert f"resume={run.id}" in said
    assert "completed" not in said
    house.node(crashing=True)
    with house.gate() as gate:
        gate.target = lambda tool: target  # type: ignore[method-assign]
        with gate.run(agent="refund-bot", resume=lost.value.run) as again:
            with pytest.raises(failwell.Interrupted):
                again.call("note.write", SLOW, call_id=lost.value.call_id)
            with pytest.raises(failwell.Interrupted) as told:
                again.call("note.write", SLOW, call_id=lost.value.call_id)
    assert told.value.outcome.repeated
    assert told.value.outcome.state in ("interrupted_confirmed", "unknown")
    assert len(house.began("c1")) == 1
    assert decided(house, lost.value.call_id) == 1
    house.hold_true()


def test_what_was_not_sent_is_not_told_as_under_way(house: House) -> None:
    node = house.node(crashing=True)
    with house.gate() as gate:
        run = gate.run(agent="refund-bot")
        run.__enter__()
        node.kill()
        wire = gate.wire
        assert isinstance(wire, Wire)
        await_true(lambda: not wire._thread.is_alive())
        with pytest.raises(failwell.Error, match="gone") as gone:
            run.call("note.write", SLOW)
    assert not isinstance(gone.value, failwell.Unsettled)


def test_a_gate_that_was_closed_says_that_it_was_closed_here(shared: House) -> None:
    with shared.gate() as gate:
        run = gate.run(agent="refund-bot")
    with pytest.raises(failwell.Error, match="closed here"), run:
        pass


def test_an_async_call_whose_node_is_killed_is_unsettled_too(house: House) -> None:
    node = house.node(crashing=True)
    target = house.target()

    async def work(gate: failwell.Gate) -> None:
        async with gate.run(agent="refund-bot") as run:
            await run.call("note.write", SLOW, call_id="lost")

    with house.gate() as gate:
        gate.target = lambda tool: target  # type: ignore[method-assign]
        killer = killing(house, node)
        with pytest.raises(failwell.Unsettled) as lost:
            asyncio.run(work(gate))
        killer.join()
    assert lost.value.call_id == "lost"
    await_true(lambda: not house.alive())


def test_an_async_call_that_is_cancelled_has_its_tool_stopped(shared: House, gate: failwell.Gate) -> None:
    gate.tool("note.write")(streamers.count)

    async def work() -> None:
        async with gate.run(agent="bot-04") as run:
            slow = asyncio.create_task(run.call("note.write", customer="c1", millis=5_000, amount="9"))
            await asyncio.to_thread(await_true, lambda: shared.ask("running"))
            slow.cancel()
            with pytest.raises(asyncio.CancelledError):
                await slow

    asyncio.run(work())
    (ended,) = shared.entries("outcome", "bot-04")
    assert ended["body"]["state"] == "interrupted_confirmed"


# ---- decorated functions -----------------------------------------------------------------------------------------


class Desk:
    """Something whose methods are tools."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def ask(self, customer: str) -> str:
        self.asked.append(customer)
        return f"asked {customer}"


def test_a_method_stays_with_its_object_and_is_called_on_it(gate: failwell.Gate) -> None:
    class Own(Desk):
        ask = gate.tool("desk.ask")(Desk.ask)

    one, two = Own(), Own()
    with gate.run(agent="refund-bot") as run:
        assert one.ask("c1") == "asked c1"
        assert two.ask(customer="c2") == "asked c2"
        with pytest.raises(failwell.Error, match="is a method"):
            run.call("desk.ask", customer="c3")
    assert (one.asked, two.asked) == (["c1"], ["c2"])


def test_async_functions_are_awaited_by_their_callers_and_by_sync_runs(gate: failwell.Gate) -> None:
    @gate.tool("desk.ask")
    async def ask(customer: str) -> str:
        await asyncio.sleep(0)
        return f"asked {customer}"

    async def work() -> str:
        async with gate.run(agent="refund-bot"):
            return await ask("c1")

    assert inspect.iscoroutinefunction(ask)
    assert asyncio.run(work()) == "asked c1"
    with gate.run(agent="refund-bot") as run:
        assert run.call("desk.ask", customer="c2") == "asked c2"


def test_arguments_by_place_go_by_name_and_too_many_are_refused_before_anything_is_asked(
    shared: House, gate: failwell.Gate
) -> None:
    written = gate.tool("note.write")(write)
    before = len(shared.entries("decision", "bot-05"))
    with gate.run(agent="bot-05"):
        with pytest.raises(failwell.Error, match="takes 2 arguments by place, and was given 3"):
            written("c1", 0, 1)  # type: ignore[call-arg]
        with pytest.raises(failwell.Error, match="customer twice"):
            written("c1", 0, customer="c2")  # type: ignore[misc]
        assert len(shared.entries("decision", "bot-05")) == before
        assert written("c1", 0) == {"wrote": "c1"}
        with pytest.raises(failwell.Denied, match="arguments"):
            written("c1", 0, colour="red")  # type: ignore[call-arg]
    assert len(shared.entries("decision", "bot-05")) == before + 2, "a word too many is denied on record"
    assert getattr(written, ORIGINAL) is write
    assert inspect.signature(written) == inspect.signature(write)


@pytest.mark.parametrize("kind", ["args", "place", "static"])
def test_a_function_whose_arguments_have_no_names_is_refused_when_it_is_registered(
    gate: failwell.Gate, kind: str
) -> None:
    def args(*customers: str) -> None: ...

    def place(customer: str, /) -> None: ...

    made: Any = {"args": args, "place": place, "static": staticmethod(args)}[kind]
    with pytest.raises(failwell.Error, match=r"desk\.ask"):
        gate.tool("desk.ask")(made)


# ---- runs, used in other ways ------------------------------------------------------------------------------------


def test_runs_nest_and_each_call_belongs_to_the_innermost(shared: House, gate: failwell.Gate) -> None:
    written = asking(gate)
    with gate.run(agent="bot-06") as outer:
        written("c1")
        with gate.run(agent="bot-07") as inner:
            written("c2")
        written("c3")
    mine = [entry for entry in shared.entries("decision") if entry["run"] in (outer.id, inner.id)]
    assert [entry["run"] for entry in mine] == [outer.id, inner.id, outer.id]
    with pytest.raises(failwell.Error, match="called outside a run"):
        written("c4")


def test_threads_and_tasks_call_in_the_run_that_they_are_given(gate: failwell.Gate) -> None:
    written = asking(gate)
    said: list[Any] = []

    def in_thread(run: failwell.Run) -> None:
        try:
            written("c1")
        except failwell.Error as error:
            said.append(error.hint)
        said.append(run.call("desk.ask", customer="c1"))

    with gate.run(agent="refund-bot") as run:
        threads = [threading.Thread(target=in_thread, args=(run,)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert said.count({"wrote": "c1"}) == 2
    assert sum("A new thread is outside" in str(each) for each in said) == 2

    async def one(agent: str) -> Any:
        async with gate.run(agent=agent) as own:
            await asyncio.sleep(0.01)
            return await asyncio.to_thread(written, "c1"), own.id

    async def both() -> Any:
        return await asyncio.gather(one("refund-bot"), one("other-bot"))

    (first, number), (second, other) = asyncio.run(both())
    assert first == second == {"wrote": "c1"}
    assert number != other


def test_a_run_is_used_in_its_block_and_not_before_or_after(shared: House, gate: failwell.Gate) -> None:
    before = len(shared.entries())
    run = gate.run(agent="refund-bot")
    with pytest.raises(failwell.Error, match="this run is not open"):
        run.decide("note.write", customer="c1", millis=0)
    assert len(shared.entries()) == before
    with run:
        assert run.decide("note.write", customer="c1", millis=0).allowed
    for use in (lambda: run.call("note.write", customer="c1"), run.__enter__):
        with pytest.raises(failwell.Error, match="this run is closed"):
            use()


# ---- what the host says ------------------------------------------------------------------------------------------


def test_a_host_says_over_its_own_key_that_something_is_off_and_the_agent_cannot(shared: House) -> None:
    register_host(shared, "desk", "refund-bot")
    with shared.gate() as gate:
        gate.prove("agent", shared.full("refund-bot"))
        with pytest.raises(Refused, match="proved to be no host"):
            gate.wire.call("notice", agent="refund-bot", said={"notice": "all-fine"})
        entry = gate.notice("refund-bot", "answer-off-topic", host="desk", words="It spoke of the weather.")
        with pytest.raises(InputError):
            gate.notice("refund-bot", "Off Topic", host="desk")
    written = {each["seq"]: each for each in shared.entries()}
    assert written[entry]["body"]["by"] == "host:desk"
    assert written[entry + 1]["body"]["signal"] == "noticed(answer-off-topic)"
