"""An order to stop has its end on record: of one action alone, of what a dead node ran, of what is to be released."""

from __future__ import annotations

from pathlib import Path

import pytest

from failwell.core import kinds, orders
from failwell.core.errors import Refused
from failwell.core.react import RULES
from failwell.core.records import Draft
from failwell.execute.survivors import Found
from failwell.gate.outcomes import Settlement
from failwell.identity import persons
from failwell.node.endings.recording import _ending
from failwell.node.recovery import recover
from failwell.ports.executor import Ended
from failwell.response.unfinished import contain_again
from failwell.response.work import stop_action
from tests.unit.gate.house import AGENT, SMALL, House, open_house
from tests.unit.gate.house import RULES as CLAUSES

INTERRUPTS = CLAUSES + "response:\n  - {signal: denied(small), do: [interrupt]}\n"


def stopping_house(rules: str = CLAUSES) -> House:
    house = open_house(rules)
    house.write(Draft(body=kinds.ResponseRules(version=RULES), actor="node"))
    return house


def stop_alone(house: House, action: int) -> None:
    details = orders.ActionStop(action=action, reason="this one is wrong")
    house.do(stop_action(house.sign("quan", "action.stop", details), persons.verify_order, source="node"))


def never_started(action: int) -> Ended:
    return Ended(
        action=action, state="blocked", exit_code=None, signal=None, output=b"", truncated=False, errors=b"",
        started_us=0, ended_us=0, swept=0, proven_by="it was never started", why=None, sweep_us=0,
    )  # fmt: skip


@pytest.mark.requirement("R6.39")
def test_an_action_that_was_stopped_alone_before_it_began_is_on_record_as_stopped() -> None:
    house = stopping_house()
    action = house.ask(house.run()).entry
    stop_alone(house, action)
    said = Settlement(decision=action, state="blocked", by="gate", why="ordered to stop before it started")
    house.do(_ending(never_started(action), said, "none: fence", False, None))
    assert [body.action for body in house.bodies(kinds.InterruptConfirmed)] == [action]


@pytest.mark.requirement("R28.35")
def test_what_is_ordered_to_stop_while_a_dead_nodes_ends_are_written_has_its_end_too(tmp_path: Path) -> None:
    """Attack: nobody can say that the first stopped, its agent is suspended for that, the others wait for ever."""
    house = stopping_house()
    run = house.run()
    first, second = house.ask(run).entry, house.ask(run).entry
    stop_alone(house, first)
    writer = house.writer()
    try:
        assert recover(writer, tmp_path, Found()) == 2
        assert [body.action for body in house.bodies(kinds.InterruptUnconfirmed)] == [first, second]
        assert [row.waiting for row in house.state.incident.values()] == [()]
    finally:
        writer.close()


@pytest.mark.requirement("R23.22")
def test_no_agent_is_given_back_while_what_it_ran_is_on_its_way_to_a_stop() -> None:
    """Attack: the first order of the case found nothing to stop, and is on record as done."""
    house = stopping_house(INTERRUPTS)
    run = house.run()
    house.ask(run, SMALL)
    running = house.ask(house.run()).entry
    house.suspend("quan")
    assert "STOPPED" in house.state.incident[1].marks
    assert house.state.incident[1].waiting == (running,)
    for page in list(house.state.page):
        house.accept_page(page)
    house.acknowledge("olga")
    with pytest.raises(Refused, match="STOPPED"):
        house.propose("olga")
    house.stop(running)
    house.propose("olga")


@pytest.mark.requirement("R28.36")
def test_a_report_that_the_store_lost_still_contains_whom_it_suspends() -> None:
    """Attack: its fence is up in memory, and what makes it durable stands behind no report any more."""
    house = stopping_house()
    house.run()
    lost = kinds.Signal(
        by="response", signal="reported", severity="critical", about=0, count=1, rule="default ladder",
        response=("interrupt", "suspend", "hold", "notify"), applied=True,
    )  # fmt: skip
    house.do(contain_again(AGENT, lost))
    assert house.agent().authority == "SUSPENDED"
    assert [body.incident for body in house.bodies(kinds.HoldPlaced)] == [1]
