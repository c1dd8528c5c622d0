"""Who was asked when, told otherwise in the record: earlier, of others, doubled, left out, or by nobody's word."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from failwell.core import kinds
from failwell.core.escalation import stepping
from failwell.core.records import Body, Draft
from failwell.ledger.jobs import Plan, Turn
from tests.unit.gate.house import AGENT, HOUR_US, MINUTE_US, SECOND_US, House
from tests.unit.response import asking
from tests.unit.response.asking import after, opened, path, step
from tests.unit.response.given import later
from tests.unit.verify.test_cases import HEALTHY, found, told

replace = msgspec.structs.replace
STARTED, STEPPED, ENDED, PAGE = (
    kinds.EscalationStarted, kinds.EscalationStepped, kinds.EscalationEnded, kinds.PageQueued4,
)  # fmt: skip
PATH = path(step("person:rita", ack_within_s=60, repeat=1), step("role:operator", ack_within_s=60))


@pytest.fixture(scope="module")
def lived() -> House:
    """Taken after three steps, silent, given up for somebody else, and taken by another person."""
    house = opened(PATH)
    after(house, MINUTE_US)
    after(house, MINUTE_US)
    house.acknowledge("sara")
    after(house, 4 * HOUR_US)
    later(house, SECOND_US)
    asking.escalate(house, "olga")
    house.acknowledge("quan")
    later(house, SECOND_US)
    return house


def test_an_honest_escalation_has_no_finding(lived: House) -> None:
    assert found(lived) == set()
    assert [body.why for body in lived.bodies(STEPPED)] == [
        "first", "nobody in time", "nobody in time", "silent", "somebody else was asked for",
    ]  # fmt: skip


FORGED: list[tuple[type, int, dict[str, Any]]] = [
    (STARTED, 0, {"total_us": 1}),
    (STARTED, 0, {"source": "the bank's"}),
    (STARTED, 0, {"path": ()}),
    (STARTED, 0, {"cycle": 2}),
    (STARTED, 1, {"why": "expired"}),
    (STARTED, 1, {"source": "nobody's"}),
    (STARTED, 1, {"incident": 2}),
    (STEPPED, 0, {"persons": ("quan",)}),
    (STEPPED, 0, {"persons": ()}),
    (STEPPED, 0, {"due_us": 2**53}),
    (STEPPED, 0, {"by": ("room",)}),
    (STEPPED, 1, {"persons": ("quan",)}),
    (STEPPED, 1, {"due_us": 2**53}),
    (STEPPED, 1, {"round": 3}),
    (STEPPED, 1, {"step": 2, "round": 1}),
    (STEPPED, 1, {"why": "could not be reached"}),
    (STEPPED, 1, {"by": ()}),
    (STEPPED, 2, {"passed": (2,), "step": 3}),
    (STEPPED, 2, {"cycle": 2}),
    (STEPPED, 4, {"persons": ("olga", "sara")}),
    (STEPPED, 4, {"why": "nobody in time"}),
    (STEPPED, 4, {"due_us": 2**53}),
    (ENDED, 0, {"persons": ("rita",)}),
    (ENDED, 0, {"outcome": "over", "persons": ()}),
    (ENDED, 1, {"why": "it is boring"}),
    (PAGE, 0, {"person": "quan"}),
    (PAGE, 1, {"channel": "room"}),
    (PAGE, 2, {"due_us": 2**53}),
    (PAGE, 2, {"persons": ("quan", "rita")}),
    (PAGE, 3, {"why": "nothing"}),
]


@pytest.mark.parametrize(("kind", "number", "fields"), FORGED)
@pytest.mark.requirement("R10.34")
def test_an_escalation_told_otherwise_is_found(lived: House, kind: type, number: int, fields: dict[str, Any]) -> None:
    seq, body = told(lived, kind, number)
    assert found(lived, {seq: replace(body, **fields)})


@pytest.mark.parametrize(("kind", "number"), [
    (STARTED, 0), (STARTED, 1), (STEPPED, 0), (STEPPED, 1), (STEPPED, 4), (ENDED, 0), (ENDED, 1), (PAGE, 0), (PAGE, 2),
])  # fmt: skip
def test_an_entry_of_it_that_says_something_else_is_found(lived: House, kind: type, number: int) -> None:
    seq, _ = told(lived, kind, number)
    assert found(lived, {seq: HEALTHY})


# ---- written beside the rules --------------------------------------------------------------------------------


def asked_of(house: House, **changes: Any) -> kinds.EscalationStepped:
    """The step that follows in a house, changed."""
    honest: kinds.EscalationStepped = told(house, STEPPED)[1]
    fields = {"round": honest.round + 1, "why": "nobody in time", "due_us": house.state.last_at_us + MINUTE_US}
    return replace(honest, **{**fields, **changes})


@pytest.mark.parametrize("actor", ["node", "person:rita", "response", "host:shop"])
def test_a_step_before_its_time_is_found_whoever_is_said_to_have_taken_it(actor: str) -> None:
    """Attack: the path is run through in a second, and the record says that everybody was asked."""
    house = opened(PATH)
    house.write(Draft(body=asked_of(house), actor=actor, agent=AGENT, refs=(house.state.incident[1].opened,)))
    assert found(house)


@pytest.mark.requirement("R10.36")
def test_the_very_step_that_would_come_is_found_where_it_comes_too_early() -> None:
    """Attack: nothing is wrong about the step but that nobody had the time that the path gives them."""
    house = opened(PATH)
    house.clock.skip(MINUTE_US // 2)
    honest = house.state.incident[1].opened

    def early(turn: Turn) -> Plan[None]:
        draft = stepping.step(turn.state, 1, "nobody in time", turn.now_us, honest, actor="node")
        return Plan((draft,), lambda entries: None)

    house.do(early)
    seq, _ = told(house, STEPPED)
    assert found(house) == {("escalation.step", seq)}


@pytest.mark.parametrize(
    "body",
    [
        ENDED(incident=1, cycle=1, outcome="over", persons=(), why="it is CLOSED"),
        PAGE(
            page=3, incident=1, person="quan", channel="email", step=1, due_us=0, why="", ticket=None, about="step",
            cycle=1, round=1, persons=("quan",), digest=None,
        ),
    ],
    ids=["ended", "page"],
)  # fmt: skip
@pytest.mark.parametrize("actor", ["node", "person:rita", "response"])
@pytest.mark.requirement("R10.37")
def test_an_end_or_a_page_that_no_rule_told_is_found(body: Body, actor: str) -> None:
    house = opened(PATH)
    house.write(Draft(body=body, actor=actor, agent=AGENT))
    assert found(house)


def test_a_step_without_the_order_of_who_asked_for_it_is_found() -> None:
    house = opened(PATH)
    order = asking.escalate(house, "olga")
    assert found(house) == set()
    assert found(house, {order - 1: HEALTHY})


def test_an_order_for_somebody_else_that_nothing_came_of_is_found() -> None:
    """Attack: whoever runs the node takes the order, and asks nobody."""
    house = opened(PATH)
    seq = asking.escalate(house, "olga")
    assert found(house, {seq: HEALTHY})


@pytest.mark.requirement("R10.35")
def test_a_step_that_was_due_and_left_out_while_a_node_was_at_work_is_found() -> None:
    """Attack: the step that would have woken somebody is left out, and the record reads as if it were not due."""
    house = opened(PATH)
    house.clock.skip(MINUTE_US)
    for _ in range(61):
        house.clock.skip(SECOND_US)
        house.write(Draft(body=HEALTHY, actor="node"))
    assert found(house) == set()
    for _ in range(3):
        house.clock.skip(SECOND_US)
        house.write(Draft(body=HEALTHY, actor="node"))
    assert {code for code, _ in found(house)} == {"escalation.step"}
    after(house, 0)
    assert len(found(house)) == 1


def test_a_cycle_that_was_due_and_left_out_is_found() -> None:
    """Attack: whoever took it is silent, and nobody hears of that."""
    house = opened(PATH)
    house.acknowledge("rita")
    house.clock.skip(4 * HOUR_US)
    for _ in range(64):
        house.clock.skip(SECOND_US)
        house.write(Draft(body=HEALTHY, actor="node"))
    assert {code for code, _ in found(house)} == {"escalation.step"}


def test_a_node_that_did_not_run_left_nothing_out() -> None:
    house = opened(PATH)
    began = kinds.NodeStarted(software="0", pid=1, separation="embedded", self_test={}, recovered=0)
    for _ in range(70):
        house.clock.skip(HOUR_US)
        house.write(Draft(body=began, actor="node"))
    assert found(house) == set()
