"""The Python door for runs: what an agent works with, work handed over, and reasons given afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

import failwell
from tests.simulate.fixtures import model
from tests.simulate.house import House, scene


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    with scene() as root:
        house = model().copy(root / "h")
        house.node()
        made = msgspec.structs.replace(house.contract("refund-bot", version=2), delegates=("other-bot",))
        house.hand("bert").adopt_contract(made, house.hand("anna").sign_contract(made))
        house.hang_up()
        yield house
        house.tear_down()


def body(house: House, seq: int | None) -> dict[str, Any]:
    found: dict[str, Any] = house.ask("entry", seq)["body"]
    return found


def test_a_run_says_what_its_agent_works_with_by_digest(house: House) -> None:
    tools = [{"name": "note.write", "parameters": {"customer": "string"}}]
    declared: dict[str, Any] = {"model": failwell.digest_of("m-1"), "prompt": failwell.digest_of("Be kind."),
                "tool_schemas": failwell.digest_of(tools)}  # fmt: skip
    assert declared["tool_schemas"] == failwell.digest_of(
        [{"parameters": {"customer": "string"}, "name": "note.write"}]
    )
    with house.gate() as gate, gate.run("refund-bot", **declared) as run:
        verdict = run.decide("note.write", customer="c-1", millis=0)
        posture = body(house, body(house, verdict.entry)["posture"])
        assert {name: posture[name] for name in declared} == declared
        with pytest.raises(failwell.Error), gate.run("refund-bot", model="gpt-of-yesterday"):
            pass
    house.hang_up()


def test_work_is_handed_over_inside_a_process_and_its_principal_stays(house: House) -> None:
    with (
        house.gate() as gate,
        gate.run("refund-bot", principal="customer:1", request="A note, please.") as first,
        gate.run("other-bot", parent=first) as second,
    ):
        verdict = second.decide("note.write", customer="c-1", millis=0, reason="handed to me")
        decided = body(house, verdict.entry)
        assert decided["chain"] == [
            "owner:anna", f"agent:{house.full('refund-bot')}", f"agent:{house.full('other-bot')}",
        ]  # fmt: skip
        assert decided["principal"] == body(house, first.id)["principal"]
        assert body(house, second.id)["parent"] == first.id
        with pytest.raises(failwell.Error), gate.run("refund-bot", parent=second):
            pass
        with pytest.raises(failwell.Error), gate.run("other-bot", parent=first, request="and more"):
            pass
    house.hang_up()


def test_work_is_handed_over_to_another_process_by_its_number(house: House) -> None:
    async def work() -> tuple[int, int, failwell.Verdict]:
        with house.gate() as mine, house.gate() as theirs:
            async with mine.run("refund-bot", request="A note, please.") as first:
                number = await first.hand_over("other-bot", model=failwell.digest_of("m-2"))
                async with theirs.run("other-bot", resume=number) as second:
                    verdict = await second.decide("note.write", customer="c-1", millis=0)
                    explained = await second.explain(verdict.entry, "They asked for it.")
                    with pytest.raises(failwell.Error):
                        await first.explain(verdict.entry, "It was mine.")
        return number, explained, verdict

    number, explained, verdict = asyncio.run(work())
    assert body(house, number)["chain"] == [house.full("refund-bot")]
    assert body(house, body(house, verdict.entry)["posture"])["model"] == failwell.digest_of("m-2")
    assert body(house, explained)["decision"] == verdict.entry
    house.hang_up()


def test_what_a_delegator_promises_of_a_tool_holds_for_whom_it_hands_work_to(house: House) -> None:
    """Attack: hand the work to an agent whose own contract promises less: no stop by the node, and a long deadline."""
    made = house.contract("other-bot", version=2)
    lax = [
        msgspec.structs.replace(t, executor="cooperative", deadline_us=600_000_000, effect="reversible")
        for t in made.tools
    ]
    made = msgspec.structs.replace(made, tools=tuple(lax))
    house.hand("bert").adopt_contract(made, house.hand("anna").sign_contract(made))
    made = msgspec.structs.replace(house.contract("refund-bot", version=3, deadline="1s"), delegates=("other-bot",))
    house.hand("bert").adopt_contract(made, house.hand("anna").sign_contract(made))
    caller, parent = house.agent("other-bot"), house.agent("refund-bot")
    assert caller.ask({"customer": "alone", "millis": 0}, how="begin").result(30)["verdict"]["verdict"] == "ALLOW"
    caller.run = parent.wire.call("run.open", agent=caller.agent, parent=parent.run)
    with pytest.raises(failwell.Error, match="as supervised, and this caller"):
        caller.ask({"customer": "handed", "millis": 0}, how="begin").result(30)
    assert caller.write("handed", 20_000)["result"]["state"].startswith("interrupted")
    sent = caller.ask({"customer": "handed"}, tool="note.send", how="decide").result(30)
    assert (sent["verdict"], sent["irreversible"]) == ("ALLOW", True)
    house.hang_up()


def test_the_record_of_all_that_verifies(house: House) -> None:
    house.end(house.nodes[-1])
    house.verify()
