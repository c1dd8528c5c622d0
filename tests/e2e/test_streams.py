"""Results that come while their tool runs: in order, each once, stopped when unwanted, never whole when cut."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import failwell
from tests.simulate import streamers
from tests.simulate.fixtures import model, stage
from tests.simulate.house import House, NodeProcess, apply, await_true

__all__ = ["stage"]

LINES = [{"customer": "c1", "number": number} for number in range(3)]


@pytest.fixture(scope="module")
def at_work(stage: Path) -> Iterator[tuple[House, NodeProcess]]:
    made = model().copy(stage / "streams")
    node = made.node(crashing=True)
    try:
        yield made, node
        made.end(node)
        made.hold_true()
        made.verify()
    finally:
        made.tear_down()


@pytest.fixture
def house(at_work: tuple[House, NodeProcess]) -> House:
    return at_work[0]


@pytest.fixture
def gate(house: House) -> Iterator[failwell.Gate]:
    with house.gate() as gate:
        yield gate


def start(thread: threading.Thread) -> bool:
    thread.start()
    return True


def each(results: Iterator[Any], do: Callable[[Any], object]) -> None:
    for result in results:
        do(result)


def outcome_of(house: House, entry: int) -> dict[str, Any]:
    """The outcome of the action that was decided at `entry`."""
    (found,) = await_true(lambda: [e for e in house.entries("outcome") if e["body"]["decision"] == entry])
    body: dict[str, Any] = found["body"]
    return body


# ---- under a supervisor ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", [streamers.count, streamers.count_async])
def test_what_a_generator_gives_comes_while_it_runs_and_the_record_has_the_whole(
    house: House, gate: failwell.Gate, function: Callable[..., Any]
) -> None:
    gate.tool("note.write")(function)
    with gate.run(agent="refund-bot") as run:
        came = []
        stream = run.stream("note.write", customer="c1", millis=120)
        for chunk in stream:
            came.append((chunk, time.monotonic()))
        assert [chunk for chunk, _ in came] == LINES
        assert came[-1][1] - came[0][1] > 0.15, "not all at once"
        assert stream.outcome is not None
        assert (stream.outcome.state, stream.outcome.result, stream.outcome.given) == ("completed", LINES, 3)
        assert run.call("note.write", customer="c1", millis=0) == LINES, "a call has them all at its end"
        told = house.ask("action", stream.outcome.verdict.entry)
    assert json.loads(told["result"]) == LINES


def test_a_decorated_generator_is_looped_over_as_it_was_before(gate: failwell.Gate) -> None:
    counted = gate.tool("note.write")(streamers.count)
    with gate.run(agent="refund-bot"):
        assert list(counted("c1", 0)) == LINES
        assert [chunk["number"] for chunk in counted("c1", 0, amount="2")] == [0, 1]


def test_async_streams_leave_the_loop_to_others(gate: failwell.Gate) -> None:
    counted = gate.tool("note.write")(streamers.count_async)

    async def work() -> tuple[list[Any], list[Any], int]:
        turns = 0

        async def turn() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0.01)

        turning = asyncio.create_task(turn())
        async with gate.run(agent="refund-bot") as run:
            one = [chunk async for chunk in counted("c1", millis=100)]
            two = [chunk async for chunk in run.stream("note.write", customer="c1", millis=0)]
        turning.cancel()
        return one, two, turns

    one, two, turns = asyncio.run(work())
    assert one == two == LINES
    assert turns > 10


def test_the_lines_of_a_command_are_results_also_without_an_end(house: House, gate: failwell.Gate) -> None:
    script = "printf 'one\\n{\"two\": 2}\\n\\nfour'"
    apply(house, f"[node]\nidle_s = 0\n[tools.'note.write']\ncommand = ['/bin/sh', '-c', {json.dumps(script)}]\n")
    with gate.run(agent="refund-bot") as run:
        assert list(run.stream("note.write", customer="c1", millis=0)) == ["one", {"two": 2}, "", "four"]
    apply(house, "[node]\nidle_s = 0\n")


def test_a_denied_stream_gives_nothing_and_starts_nothing(house: House, gate: failwell.Gate) -> None:
    gate.tool("note.send")(streamers.count)
    with gate.run(agent="bot-01") as run:
        stream = run.stream("note.send", customer="c1", amount="3")
        with pytest.raises(failwell.Denied):
            next(stream)
    assert house.entries("outcome", "bot-01") == []


def test_a_tool_that_fails_midway_says_so_after_what_it_gave(gate: failwell.Gate) -> None:
    gate.tool("note.write")(streamers.fail_midway)
    with gate.run(agent="refund-bot") as run:
        stream = run.stream("note.write", customer="c1", millis=0)
        assert [next(stream), next(stream)] == [1, 2]
        with pytest.raises(failwell.ToolFailed, match=r"after 2 results were given: .*printer is on fire"):
            next(stream)


def test_a_tool_that_ends_midway_as_if_all_were_well_is_not_whole(gate: failwell.Gate) -> None:
    gate.tool("note.write")(streamers.vanish_midway)
    with gate.run(agent="refund-bot") as run:
        stream = run.stream("note.write", customer="c1", millis=0)
        assert [next(stream), next(stream)] == [1, 2]
        with pytest.raises(failwell.ToolFailed, match="in the midst of its results"):
            next(stream)


def test_no_more_is_given_than_the_record_keeps_and_the_end_says_that_there_was_more(
    house: House, gate: failwell.Gate
) -> None:
    gate.tool("note.write")(streamers.flood)
    came: list[str] = []
    with gate.run(agent="refund-bot") as run, pytest.raises(failwell.Truncated) as cut:
        each(run.stream("note.write", customer="c1", millis=0), came.append)
    assert set(came) == {"x" * 10_000}
    given = len(came)
    assert cut.value.outcome.given == given
    body = outcome_of(house, cut.value.outcome.verdict.entry)
    assert body["truncated"] is True
    assert given == body["result_bytes"] // 10_004


def test_many_small_results_come_each_once(gate: failwell.Gate) -> None:
    gate.tool("note.write")(streamers.dribble)
    with gate.run(agent="refund-bot") as run:
        assert list(run.stream("note.write", customer="c1", millis=0)) == list(range(20_000))


# ---- nobody wants it any more ------------------------------------------------------------------------------------


def slow(gate: failwell.Gate) -> None:
    gate.tool("note.write")(streamers.count)


@pytest.mark.parametrize("how", ["break", "close", "with", "error", "exit"])
def test_a_loop_that_is_left_early_has_the_tool_stopped(house: House, gate: failwell.Gate, how: str) -> None:
    slow(gate)
    long = {"customer": "c1", "millis": 200, "amount": "90"}
    with gate.run(agent="refund-bot") as run:
        if how == "break":
            for _chunk in run.stream("note.write", long):
                break
            assert house.alive() == [], "stopped when the loop is left, not when the run ends"
        elif how == "error":
            with pytest.raises(ZeroDivisionError):
                each(run.stream("note.write", long), lambda chunk: 1 / 0)
        elif how == "with":
            with run.stream("note.write", long) as stream:
                next(stream)
        elif how == "close":
            stream = run.stream("note.write", long)
            next(stream)
            stream.close()
            with pytest.raises(StopIteration):
                next(stream)
        else:
            kept = run.stream("note.write", long)
            next(kept)
    ended = house.entries("outcome", "refund-bot")[-1]["body"]
    assert (ended["state"], house.alive()) == ("interrupted_confirmed", [])


@pytest.mark.parametrize("how", ["break", "cancel", "aclose"])
def test_an_async_loop_that_is_left_early_has_the_tool_stopped(house: House, gate: failwell.Gate, how: str) -> None:
    slow(gate)
    long = {"customer": "c1", "millis": 200, "amount": "90"}

    async def loop(run: failwell.AsyncRun, came: asyncio.Event) -> None:
        async for _chunk in run.stream("note.write", long):
            came.set()

    async def work() -> None:
        async with gate.run(agent="refund-bot") as run:
            if how == "break":
                async for _chunk in run.stream("note.write", long):
                    break
                await asyncio.to_thread(await_true, lambda: not house.alive())
            elif how == "aclose":
                async with run.stream("note.write", long) as stream:
                    await anext(stream)
            else:
                came = asyncio.Event()
                task = asyncio.create_task(loop(run, came))
                await came.wait()
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task

    asyncio.run(work())
    ended = house.entries("outcome", "refund-bot")[-1]["body"]
    assert (ended["state"], house.alive()) == ("interrupted_confirmed", [])


def test_a_consumer_that_reads_nothing_holds_up_neither_tool_nor_node(house: House, gate: failwell.Gate) -> None:
    gate.tool("note.write")(streamers.dribble)
    with gate.run(agent="refund-bot") as run:
        stream = run.stream("note.write", customer="c1", millis=0)
        assert next(stream) == 0
        await_true(lambda: house.ask("running") == [])
        assert list(stream)[-1] == 19_999


def test_a_caller_whose_connection_stands_still_is_not_written_to_without_end(
    house: House, at_work: tuple[House, NodeProcess]
) -> None:
    script = "import sys; [sys.stdout.write('y' * 60000 + '\\n') for _ in range(150)]"
    apply(house, "[node]\nidle_s = 0\noutput_cap_bytes = 16000000\n")
    caller = house.agent("bot-02")
    raw = caller.wire._socket
    # Attack: ask, and read nothing of what is written: here a reader that never takes another byte.
    caller.wire._read = lambda until=None: time.sleep(3600)  # type: ignore[method-assign,assignment,return-value]
    target = {"command": [sys.executable, "-I", "-c", script], "env": {}}
    for _ in range(3):
        caller.ask({"customer": "c1", "millis": 0}, target=target, progress=True)
    await_true(lambda: len(house.entries("outcome", "bot-02")) == 3)
    before = int(Path(f"/proc/{at_work[1].pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    assert before < 400 * 1024 * 1024
    raw.close()
    apply(house, "[node]\nidle_s = 0\n")


# ---- stopped by others -------------------------------------------------------------------------------------------


def test_a_stream_that_is_interrupted_says_what_was_given_before(house: House, gate: failwell.Gate) -> None:
    slow(gate)
    given: list[Any] = []

    def take(chunk: Any) -> None:
        given.append(chunk)
        if len(given) == 2:
            threading.Thread(target=house.suspend, args=("bot-03",)).start()

    with gate.run(agent="bot-03") as run, pytest.raises(failwell.Interrupted) as stopped:
        each(run.stream("note.write", customer="c1", millis=100, amount="90"), take)
    outcome = stopped.value.outcome
    assert outcome.given == len(given) >= 2
    assert f"{len(given)} of its results were given before" in str(stopped.value)
    assert outcome_of(house, outcome.verdict.entry)["state"] == "interrupted_confirmed"


def test_a_deadline_ends_a_stream_in_the_midst(house: House, gate: failwell.Gate) -> None:
    house.adopt("bot-04", version=2, deadline="1s")
    slow(gate)
    with gate.run(agent="bot-04") as run, pytest.raises(failwell.Interrupted, match="deadline"):
        list(run.stream("note.write", customer="c1", millis=50, amount="90"))


# ---- secrets -----------------------------------------------------------------------------------------------------


def test_what_a_tool_that_holds_a_secret_says_comes_searched_and_at_its_end(house: House, gate: failwell.Gate) -> None:
    secret = "s3cr3t-" + "f00dfeed" * 2 + "-zq"
    kept = house.workspace.path / "secret"
    kept.write_text(secret)
    kept.chmod(0o600)
    script = 'printf "%s" "$TOKEN" | cut -c1-9 | tr -d "\\n"; sleep 0.2; printf "%s" "$TOKEN" | cut -c10-; echo done'
    apply(
        house,
        "[node]\nidle_s = 0\n[secrets.token]\nfile = 'secret'\n"
        f"[tools.'note.write']\ncommand = ['/bin/sh', '-c', {json.dumps(script)}]\nsecrets = {{TOKEN = 'token'}}\n",
    )
    pushed: list[dict[str, Any]] = []
    gate.wire.on_push = pushed.append
    with gate.run(agent="refund-bot") as run:
        assert list(run.stream("note.write", customer="c1", millis=0)) == ["[secret token]", "done"]
    assert pushed == []
    apply(house, "[node]\nidle_s = 0\n")


# ---- in this process ---------------------------------------------------------------------------------------------


def test_a_generator_of_this_process_is_looped_over_and_recorded(house: House, gate: failwell.Gate) -> None:
    @gate.tool("desk.ask")
    def ask(customer: str) -> Iterator[str]:
        yield "one"
        yield "two"

    with gate.run(agent="refund-bot") as run:
        stream = run.stream("desk.ask", customer="c1")
        assert list(stream) == ["one", "two"]
        assert stream.outcome is not None
        assert run.call("desk.ask", customer="c1") == ["one", "two"]
        assert list(ask(customer="c1")) == ["one", "two"]
        assert json.loads(house.ask("action", stream.outcome.verdict.entry)["result"]) == ["one", "two"]
        assert outcome_of(house, stream.outcome.verdict.entry)["state"] == "completed"


def test_a_generator_of_this_process_is_asked_to_stop_between_results(house: House, gate: failwell.Gate) -> None:
    cleaned = []

    @gate.tool("desk.ask")
    def ask(customer: str) -> Iterator[int]:
        try:
            for number in range(1000):
                yield number
                time.sleep(0.02)
        finally:
            cleaned.append(True)

    suspended = threading.Event()

    def suspend() -> None:
        house.suspend("bot-05")
        suspended.set()

    suspending = threading.Thread(target=suspend)
    with gate.run(agent="bot-05") as run, pytest.raises(failwell.Interrupted) as stopped:
        each(run.stream("desk.ask", customer="c1"), lambda number: start(suspending) if number == 1 else None)
    assert (cleaned, stopped.value.outcome.given > 1) == ([True], True)
    assert suspended.wait(10)
    body = outcome_of(house, stopped.value.outcome.verdict.entry)
    assert (body["state"], body["result_bytes"] > 0) == ("interrupted_unconfirmed", True)


def test_a_generator_of_this_process_that_is_left_early_is_closed_and_not_called_completed(
    house: House, gate: failwell.Gate
) -> None:
    cleaned = []

    async def ask(customer: str) -> AsyncIterator[int]:
        try:
            for number in range(1000):
                yield number
                await asyncio.sleep(0.01)
        finally:
            cleaned.append(customer)

    gate.tool("desk.ask")(ask)

    async def work() -> None:
        async with gate.run(agent="bot-06") as run:
            async for _number in run.stream("desk.ask", customer="c1"):
                break

    asyncio.run(work())
    assert cleaned == ["c1"]
    (ended,) = house.entries("outcome", "bot-06")
    assert ended["body"]["state"] == "unknown"


# ---- made again --------------------------------------------------------------------------------------------------


def test_a_stream_made_again_gives_what_was_recorded_and_runs_nothing(house: House, gate: failwell.Gate) -> None:
    slow(gate)
    with gate.run(agent="refund-bot") as run:
        first = run.stream("note.write", customer="c1", millis=0, call_id="again")
        assert list(first) == LINES
        second = run.stream("note.write", customer="c1", millis=0, call_id="again")
        assert list(second) == LINES
        assert first.outcome is not None
        assert second.outcome is not None
        assert second.outcome.entry == first.outcome.entry
        assert second.outcome.repeated
    decided = [e["seq"] for e in house.entries("decision", "refund-bot") if e["body"]["call"] == "again"]
    assert len(decided) == 1


def test_a_node_that_dies_mid_stream_ends_it_with_what_is_known(stage: Path) -> None:
    house = model().copy(stage / "dies")
    node = house.node(crashing=True)
    try:
        with house.gate() as gate:
            slow(gate)
            given: list[Any] = []

            def take(chunk: Any) -> None:
                given.append(chunk)
                if len(given) == 2:
                    os.kill(node.pid, signal.SIGKILL)

            run = gate.run(agent="refund-bot")
            with pytest.raises(failwell.Unsettled) as lost, run:
                each(run.stream("note.write", customer="c1", millis=100, amount="90", call_id="lost"), take)
        assert (lost.value.call_id, lost.value.run) == ("lost", run.id)
        assert f"after {len(given)} of its results" in str(lost.value)
        node.kill()
        await_true(lambda: not house.alive())
        house.node(crashing=True)
        with house.gate() as gate:
            slow(gate)
            again = gate.run(agent="refund-bot", resume=lost.value.run)
            with again as run, pytest.raises(failwell.Interrupted) as told:
                list(run.stream("note.write", customer="c1", millis=100, amount="90", call_id="lost"))
        assert told.value.outcome.repeated
        assert len([e for e in house.entries("decision", "refund-bot") if e["body"]["call"] == "lost"]) == 1
    finally:
        house.tear_down()
