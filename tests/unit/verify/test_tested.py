"""Entries about what was shown of executor classes, each edited so that it says something else than the rest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from failwell.core import kinds
from failwell.core.records import Body, Draft
from failwell.verify.tested import ClassesShown
from tests.unit.gate.house import AGENT, House, open_house


@pytest.fixture
def house() -> Iterator[House]:
    made = open_house()
    yield made
    made.close()


def shown(executor: str = "supervised", state: str = "ok", *mechanisms: str) -> kinds.ExecutorTested:
    return kinds.ExecutorTested(
        executor=executor, state=state, mechanisms=mechanisms or (("sweep",) if state == "ok" else ()), elapsed_us=1,
        figures={}, detail="",
    )  # fmt: skip


def start(*, passed: bool) -> kinds.NodeStarted:
    return kinds.NodeStarted(software="failwell/1", pid=1, separation="", self_test={"passed": passed}, recovered=0)


def health(state: str) -> kinds.Health:
    return kinds.Health(part="stopping", state=state, detail="")


def faults(house: House, *bodies: Body, **more: Any) -> list[str]:
    """What is found in these entries, the rest being as it should be."""
    first = house.state.size
    house.write(*(Draft(body=body, actor=more.get("actor", "node"), agent=more.get("agent")) for body in bodies))
    rules = ClassesShown()
    found = [rules.fault(entry, house.state) for entry in house.entries(first)]
    return [wrong for wrong in found if wrong is not None]


def test_what_a_node_writes_is_found_faultless(house: House) -> None:
    assert faults(house, start(passed=True), shown(), shown("cooperative", "untested"), health("ok")) == []
    assert faults(house, start(passed=False), shown(state="failed"), health("failed"), shown(), health("ok")) == []
    assert faults(house, start(passed=True), health("ok")) == [], "as an earlier release wrote it"
    assert (
        faults(house, start(passed=True), shown("fenced", "degraded"), shown("supervised", "degraded", "sweep")) == []
    )


@pytest.mark.parametrize(
    ("bodies", "said"),
    [
        ((start(passed=False), shown()), "contradicts the self-test"),
        ((start(passed=True), shown(state="failed")), "contradicts the self-test"),
        ((start(passed=True), shown(), health("failed")), "stopping is failed"),
        ((start(passed=False), shown(state="failed"), health("ok")), "stopping is ok"),
        ((shown("imagined"),), "imagined ok is no state"),
        ((shown(state="splendid"),), "supervised splendid is no state"),
        ((shown("supervised", "failed", "sweep"),), "supervised is failed by sweep"),
        ((shown("fenced", "untested", "sweep"),), "fenced is untested by sweep"),
        ((kinds.ExecutorTested(executor="fenced", state="ok", mechanisms=(), elapsed_us=1, figures={}, detail=""),),
         "fenced is ok by nothing"),
    ],
)  # fmt: skip
def test_what_was_edited_is_found(house: House, bodies: tuple[Body, ...], said: str) -> None:
    (found,) = faults(house, *bodies)
    assert said in found


def test_another_than_the_node_tests_nothing(house: House) -> None:
    assert "is the node's" in faults(house, shown(), actor=f"agent:{AGENT}", agent=AGENT)[0]


def test_what_starts_of_a_class_that_had_failed_is_found_and_what_was_on_its_way_is_not(house: House) -> None:
    run = house.run()
    early = house.ask(run).entry
    house.write(Draft(body=shown("transactional", "failed"), actor="node"))
    late = house.ask(run).entry
    rules = ClassesShown()
    for entry in house.entries():
        assert rules.fault(entry, house.state) is None

    def begun(decision: int, executor: str = "transactional") -> str | None:
        body = kinds.Started(decision=decision, command=None, executor=executor, pid=1, start_ticks=1)
        (seq,) = house.write(Draft(body=body, actor="node", agent=AGENT, run=run))
        return rules.fault(house.entries(seq)[0], house.state)

    assert begun(early) is None
    assert begun(late, "supervised") is None
    assert f"action {late} is transactional, which had failed" in (begun(late) or "")
    house.write(Draft(body=shown("transactional", "ok", "rollback"), actor="node"))
    rules.fault(house.entries(house.state.size - 1)[0], house.state)
    assert begun(late) is None
