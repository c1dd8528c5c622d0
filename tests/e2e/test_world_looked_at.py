"""After a permitted act the world is looked at, by the source that the operator declared: real node, real processes."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from failwell.core import contract as contracts
from tests.simulate.fixtures import model
from tests.simulate.house import SPIFFE, Caller, House, apply, await_true, scene

SOURCE = Path(__file__).resolve().parents[1] / "simulate" / "source.py"

CONTRACT = """
contract: {agent}
version: 2
agent: {spiffe}{agent}
owner: anna
purpose: Write notes to customers.
tools:
  - tool: note.write
    effect: reversible
    executor: supervised
    custody: none
    deadline: 20s
    arguments: {{customer: "id", millis: "int(0..60000)"}}
    ensure:
      written: {{lookup: shop.world, with: [customer], type: bool, is: true, within: 1s, severity: {worth}}}
  - tool: note.silent
    effect: reversible
    executor: supervised
    custody: none
    deadline: 20s
    arguments: {{customer: "id", millis: "int(0..60000)"}}
    ensure: {{written: {{lookup: shop.refuses, with: [customer], type: bool, is: true, within: 1s, severity: minor}}}}
"""


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    with scene() as root:
        lines = ["[node]", "idle_s = 0"]
        for how in ("world", "refuses"):
            command = json.dumps([sys.executable, "-I", "-S", str(SOURCE), how, str(root)])
            lines += [f'[sources."shop.{how}"]', f"command = {command}", "deadline_ms = 5000"]
        house = model().copy(root / "h")
        house.place = root  # type: ignore[attr-defined]
        house.node()
        apply(house, "\n".join(lines))
        for agent, worth in (("refund-bot", "minor"), ("other-bot", "critical")):
            text = CONTRACT.format(agent=agent, spiffe=SPIFFE, worth=worth)
            made = contracts.load(text, name=agent)
            house.hand("bert").adopt_contract(made, house.hand("anna").sign_contract(made))
        house.hang_up()
        yield house
        house.tear_down()


def says(house: House, value: Any) -> None:
    part = house.place / "world.part"  # type: ignore[attr-defined]
    part.write_text(json.dumps({"says": value}))
    part.rename(house.place / "world.json")  # type: ignore[attr-defined]


def asked(house: House, customer: str) -> int:
    log: Path = house.place / "asked.jsonl"  # type: ignore[attr-defined]
    lines = log.read_text().splitlines() if log.exists() else []
    return sum(json.loads(line)["asked"] == {"customer": customer} for line in lines)


def write(caller: Caller, customer: str, tool: str = "note.write") -> int:
    answer = caller.act({"customer": customer, "millis": 0}, tool=tool)
    assert answer["result"]["state"] == "completed"
    return int(answer["verdict"]["entry"])


def ended(house: House, decision: int) -> dict[str, Any]:
    """How the check of an act ended, once it has."""

    def look() -> Any:
        found = house.ask("entries", decision)
        return next(
            (each for each in found if each["kind"] == "ensured" and each["body"]["decision"] == decision), None
        )

    found: dict[str, Any] = await_true(look)
    return found


def signals(house: House, about: int) -> list[str]:
    found = house.ask("entries", about)
    return [each["body"]["signal"] for each in found if each["kind"] == "signal" and each["body"]["about"] == about]


def test_the_world_is_asked_until_it_is_as_promised(house: House) -> None:
    says(house, False)
    decision = write(house.agent(), "c-late")
    await_true(lambda: asked(house, "c-late") >= 2)
    says(house, True)
    found = ended(house, decision)
    assert (found["body"]["state"], found["body"]["check"], found["body"]["source"]) == (
        "held",
        "written",
        "shop.world",
    )
    assert found["body"]["tries"] >= 3
    assert signals(house, found["seq"]) == []
    house.hang_up()


def test_a_permitted_act_that_did_not_do_what_it_promised_is_noticed(house: House) -> None:
    says(house, False)
    found = ended(house, write(house.agent(), "c-missed"))
    assert (found["body"]["state"], found["body"]["severity"]) == ("missed", "minor")
    assert found["body"]["elapsed_us"] >= 1_000_000
    assert found["body"]["saw"] is not None
    assert signals(house, found["seq"]) == ["ensure(written)"]
    house.hang_up()


def test_a_source_that_never_answers_or_not_in_its_type_leaves_it_unknown_and_that_is_noticed_too(house: House) -> None:
    says(house, "yes")
    caller = house.agent()
    acts = {tool: write(caller, "c-unknown", tool) for tool in ("note.silent", "note.write")}
    for tool, why in (("note.silent", "exit code 1"), ("note.write", "wrong: not true or false")):
        found = ended(house, acts[tool])
        assert (found["body"]["state"], found["body"]["saw"]) == ("unknown", None)
        assert why in found["body"]["detail"]
        assert signals(house, found["seq"]) == ["ensure(written)"]
    house.hang_up()


def test_a_critical_miss_suspends_at_once(house: House) -> None:
    says(house, False)
    found = ended(house, write(house.agent("other-bot"), "c-critical"))
    incident = house.incident_of("other-bot")
    assert (found["body"]["state"], incident["severity"]) == ("missed", "critical")
    assert incident["title"] == "other-bot: ensure(written)"
    assert house.ask("agents")[house.full("other-bot")]["authority"] == "SUSPENDED"
    house.hang_up()


def test_what_is_owed_outlives_the_node_and_what_fell_due_meanwhile_is_looked_at_once(house: House) -> None:
    says(house, False)
    decision = write(house.agent(), "c-restart")
    house.hang_up()
    house.nodes[-1].kill()
    looked = asked(house, "c-restart")
    says(house, True)
    house.node()
    found = ended(house, decision)
    assert found["body"]["state"] == "held"
    assert asked(house, "c-restart") == looked + 1
    house.end(house.nodes[-1])
    house.verify()
