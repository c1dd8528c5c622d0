"""A gate at a door elsewhere behaves as one at a node here: the same scenarios, the same answers, the same record."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import failwell
from failwell.client.calls import Call
from tests.simulate.house import SETTINGS, TOOL, House, await_true, scene

LINES = 'i=0; while [ $i -lt ${COUNT:-3} ]; do echo "{\\"number\\": $i}"; i=$((i+1)); sleep ${PAUSE:-0}; done'


def settings(root: Path) -> str:
    write = json.dumps([sys.executable, "-I", "-S", str(TOOL), str(root / "witness.log")])
    send = json.dumps(["/bin/sh", "-c", f"read given; case $given in *slow*) COUNT=600; PAUSE=0.1;; esac; {LINES}"])
    return (
        f'{SETTINGS}\n[http]\nlisten = "127.0.0.1:0"\n\n[tools."note.write"]\ncommand = {write}\n\n'
        f'[tools."note.send"]\ncommand = {send}\n\n[tools."vault.open"]\ncommand = ["/bin/sh", "-c", "exit 3"]\n'
    )


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    with scene() as root:
        names = ("refund-bot", "other-bot", *(f"bot-{number:02d}" for number in range(16)))
        made = House.build(root / "h", settings=settings(root / "h"), names=names)
        node = made.node()
        yield made
        made.end(node)
        made.hold_true()
        made.verify()
        made.tear_down()


@pytest.fixture(params=["here", "elsewhere"])
def where(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def gate(house: House, where: str) -> Iterator[failwell.Gate]:
    os.environ["FAILWELL_CONFIG"] = str(house.config)
    place = str(house.workspace.path)
    if where == "elsewhere":
        place = str(await_true(lambda: house.ask("status")["http"]["address"]))
    with failwell.connect(place) as gate:
        yield gate


def told(error: failwell.Error) -> tuple[str, str, str | None]:
    """What a program and a person can see of an error, without the numbers of entries."""
    words = "".join(letter for letter in str(error) if not letter.isdigit())
    hint = None if error.hint is None else "".join(letter for letter in error.hint if not letter.isdigit())
    return error.code, words, hint


def last(house: House, agent: str) -> dict[str, Any]:
    body: dict[str, Any] = await_true(lambda: house.entries("outcome", agent))[-1]["body"]
    return body


def agent_of(where: str, first: int) -> str:
    """Another agent for each place, where a scenario leaves one stopped."""
    return f"bot-{first + (where == 'elsewhere'):02d}"


#: What a place answered, for the other to answer the same.
_SAID: dict[str, Any] = {}


def same(scenario: str, answer: Any) -> None:
    """Whichever place comes second answers as the first did."""
    assert _SAID.setdefault(scenario, answer) == answer


def test_decide_and_call(house: House, gate: failwell.Gate) -> None:
    with gate.run(agent="refund-bot", principal="customer:1", request="write") as run:
        verdict = run.decide("note.write", customer="c1", millis=0)
        result = run.call("note.write", customer="c1", millis=0, reason="asked")
        no = run.decide("note.write", customer="trap", millis="much")
    same("decide", (verdict.verdict, verdict.clauses, verdict.because, verdict.state, verdict.repeated))
    same("call", result)
    same("deny", (no.verdict, no.clauses, no.because, no.hint, no.ticket))
    assert result == {"wrote": "c1"}


def test_what_is_refused_is_told_in_the_same_words(gate: failwell.Gate, where: str) -> None:
    with gate.run(agent=agent_of(where, 8)) as run:
        found = []
        for tool, arguments in (
            ("note.burn", {"customer": "c1"}), ("note.write", {"customer": "c1", "millis": "much"}),
            ("note.write", {"customer": "maybe", "millis": 0}), ("desk.ask", {"customer": "c1"}),
            ("vault.open", {"customer": "c1"}),
        ):  # fmt: skip
            with pytest.raises(failwell.Error) as refused:
                run.call(tool, arguments)
            found.append((type(refused.value), told(refused.value)))
        with pytest.raises(failwell.Error) as refused:
            run.call("note.write", customer=object())
        found.append((type(refused.value), told(refused.value)))
    with pytest.raises(failwell.Error) as closed:
        run.call("note.write", customer="c1")
    same("refused", [*found, told(closed.value)])


def test_what_is_asked_once_the_gate_is_closed_is_refused_and_waits_for_nobody(
    house: House, gate: failwell.Gate, where: str
) -> None:
    run = gate.run(agent=agent_of(where, 8))
    run.__enter__()
    assert run.call("note.write", customer="c1", millis=0)
    gate.close()
    with pytest.raises(failwell.Error, match="closed here") as closed:
        run.ask(Call(tool="note.write", arguments={"customer": "c1", "millis": 0}), "execute").result(10)
    same("closed", told(closed.value))


def test_tickets_are_answered_and_used(house: House, gate: failwell.Gate, where: str) -> None:
    with gate.run(agent=agent_of(where, 14)) as run:
        with pytest.raises(failwell.Escalated) as waits:
            run.call("note.write", customer="maybe", millis=0)
        assert waits.value.ticket is not None
        assert run.wait(waits.value.ticket, timeout_s=0.1).state == "open"
        with pytest.raises(failwell.Denied) as early:
            run.call("note.write", customer="maybe", millis=0, ticket=waits.value.ticket)
        house.hand("anna").approve_ticket(int(waits.value.ticket), "it is right")
        assert run.wait(waits.value.ticket, timeout_s=10).approved
        result = run.call("note.write", customer="maybe", millis=0, ticket=waits.value.ticket)
        with pytest.raises(failwell.Denied) as used:
            run.call("note.write", customer="maybe", millis=0, ticket=waits.value.ticket)
    same("ticket", (result, told(early.value), told(used.value)))


def test_calls_made_again_are_told_from_the_record(house: House, gate: failwell.Gate, where: str) -> None:
    before = len(house.began("again"))
    with gate.run(agent=agent_of(where, 10)) as run:
        results = [run.call("note.write", customer="again", millis=0, call_id="again") for _ in range(2)]
        with pytest.raises(failwell.Denied) as other:
            run.call("note.write", customer="c2", millis=0, call_id="again")
        kinds = []
        for _ in range(2):
            with pytest.raises(failwell.Error) as failed:
                run.call("note.burn", customer="c1", call_id="burn")
            kinds.append(told(failed.value))
    assert len(house.began("again")) == before + 1
    same("again", (results, told(other.value), kinds))


def test_functions_of_this_process_run_here_and_are_recorded(house: House, gate: failwell.Gate, where: str) -> None:
    ran = []

    @gate.tool("desk.ask")
    def ask(customer: str) -> Iterator[str]:
        ran.append(customer)
        yield "one"
        yield "two"

    with gate.run(agent=agent_of(where, 12)) as run:
        assert list(ask("c1")) == ["one", "two"]
        assert run.call("desk.ask", customer="c1", call_id="here") == ["one", "two"]
        again = run.call("desk.ask", customer="c1", call_id="here")
        with run.acting("desk.ask", customer="c2") as acting:
            acting.result = "done"
        with pytest.raises(failwell.Repeated) as repeated, run.acting("desk.ask", customer="c1", call_id="here"):
            ran.append("a block that must not run")
    assert ran == ["c1", "c1"]
    same("here", (again, repeated.value.outcome is not None, repeated.value.code))
    assert last(house, agent_of(where, 12))["state"] == "completed"


def test_results_are_streamed_in_order(gate: failwell.Gate, where: str) -> None:
    with gate.run(agent=agent_of(where, 0)) as run:
        stream = run.stream("note.send", customer="c1")
        same("stream", (list(stream), stream.given, stream.outcome and stream.outcome.state))


def test_an_interrupted_call_says_so_and_says_the_same_again(house: House, gate: failwell.Gate, where: str) -> None:
    agent = agent_of(where, 2)

    def suspend() -> None:
        await_true(lambda: house.began(agent))
        house.suspend(agent)

    run = gate.run(agent=agent)
    run.__enter__()
    suspending = threading.Thread(target=suspend)
    suspending.start()
    with pytest.raises(failwell.Interrupted) as stopped:
        run.call("note.write", customer=agent, millis=60_000, call_id="stop")
    suspending.join()
    with pytest.raises(failwell.Error) as again:
        run.call("note.write", customer=agent, millis=60_000, call_id="stop")
    with pytest.raises(failwell.Denied) as after:
        run.call("note.write", customer="c1", millis=0)
    same("stopped", (stopped.value.outcome.state, stopped.value.outcome.why, after.value.clauses))
    same("stopped again", (type(again.value), again.value.code))
    assert last(house, agent)["state"] == "interrupted_confirmed"


def test_an_action_of_this_process_is_asked_to_stop(house: House, gate: failwell.Gate, where: str) -> None:
    agent = agent_of(where, 4)
    with contextlib.suppress(failwell.Interrupted), gate.run(agent=agent) as run:
        with run.acting("desk.ask", customer="c1") as acting:
            suspending = threading.Thread(target=house.suspend, args=(agent,))
            suspending.start()
            asked = await_true(lambda: acting.interrupted, 10)
        suspending.join()
    same("asked", asked)
    assert await_true(lambda: last(house, agent))["state"] in ("completed_after_interrupt", "interrupted_unconfirmed")


def test_async_runs(house: House, gate: failwell.Gate, where: str) -> None:
    agent = agent_of(where, 6)

    async def work() -> tuple[Any, list[Any], list[Any]]:
        async with gate.run(agent=agent) as run:
            result = await run.call("note.write", customer="c1", millis=0)
            several = await asyncio.gather(*(run.call("note.write", customer=f"g{n}", millis=0) for n in range(5)))
            streamed = [each async for each in run.stream("note.send", customer="c1")]
            slow = asyncio.create_task(run.call("note.write", customer=f"cancel-{where}", millis=60_000))
            await asyncio.to_thread(await_true, lambda: house.began(f"cancel-{where}"))
            slow.cancel()
            with pytest.raises(asyncio.CancelledError):
                await slow
            await asyncio.to_thread(await_true, lambda: last(house, agent)["state"] == "interrupted_confirmed")
        return result, several, streamed

    same("async", asyncio.run(work()))


def test_what_was_done_is_explained_and_handing_it_over_takes_a_contract(gate: failwell.Gate) -> None:
    with gate.run(agent="refund-bot") as run:
        verdict = run.decide("note.write", customer="c1", millis=0)
        assert run.explain(verdict.entry, "it was asked for") > verdict.entry
        with pytest.raises(failwell.Error, match="hand no work") as refused:
            run.hand_over("other-bot")
    same("handed", told(refused.value))
