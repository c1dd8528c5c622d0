"""Stopped runs and work that people took, in a record that was rewritten."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from failwell.core import kinds, orders
from failwell.core.records import Draft, Entry
from failwell.identity import persons
from failwell.ledger.vault import commitment
from failwell.response import orders as response
from failwell.response import work
from failwell.response.said import Said
from tests.unit.verify import ledgers
from tests.unit.verify.forgery import Forger, Image, replace
from tests.unit.verify.ledgers import AGENT, Made

SALT = b"s" * 16
LOOK = {"order_id": "o-1"}


def life(made: Made) -> None:
    """One run stopped by a person, then the agent; what it leaves is taken and finished."""
    ledgers.begin(made)
    made.write(Draft(body=kinds.ResponseRules(version=2), actor="node"))
    stopped, left = made.run(), made.run()
    made.ask(stopped, "one", "orders.read", LOOK)
    signed = made.sign("quan", "run.stop", orders.RunStop(run=stopped, reason="that customer"), shown="0" * 64)
    made.do(work.stop_run(signed, persons.verify_order, source="node"))
    signed = made.sign("quan", "agent.suspend", orders.AgentSuspend(agent=AGENT, reason="all of it"), shown="0" * 64)
    made.do(response.suspend(signed, persons.verify_order, source="node"))
    for state, text in (("taken", None), ("finished", "called them")):
        words = None if text is None else commitment(SALT, text.encode())
        details = orders.WorkEnd(incident=1, run=left, state=state, words=words)
        said = Said() if text is None else Said(text, SALT.hex())
        made.do(work.end_work(made.sign("olga", "work.end", details), persons.verify_order, said))


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    path: Path = tmp_path_factory.mktemp("work") / "shop"
    with ledgers.fresh(path) as made:
        life(made)
    return Image(path)


def of(image: Image, kind: type) -> list[Entry[Any]]:
    return [entry for entry in Forger(image).entries() if type(entry.body) is kind]


def bad(image: Image, entry: Entry[Any], **fields: Any) -> int | None:
    """The first bad entry of a record in which an entry says something else, all hashes made new."""
    forger = Forger(image)
    forger.change(entry.seq, lambda each: replace(each, body=replace(each.body, **fields)), resign=True)
    return forger.verify().first_bad


def test_an_honest_record_of_stopped_runs_and_taken_work_has_no_finding(image: Image) -> None:
    report = Forger(image).verify()
    assert report.ok, report.findings
    assert [len(of(image, kind)) for kind in (kinds.RunStopped, kinds.WorkLeft, kinds.WorkEnded)] == [2, 1, 2]


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (kinds.RunStopped, {"runs": ()}),
        (kinds.RunStopped, {"by": "person:olga"}),
        (kinds.RunStopped, {"why": "for a rest"}),
        (kinds.WorkLeft, {"runs": ()}),
        (kinds.WorkLeft, {"to": ("quan",)}),
        (kinds.WorkEnded, {"person": "piet"}),
        (kinds.WorkEnded, {"state": "dropped"}),
        (kinds.WorkEnded, {"words": "ab" * 32}),
    ],
)
def test_who_stopped_what_and_who_took_it_said_otherwise_is_found(image: Image, kind: type, fields: Any) -> None:
    entry = of(image, kind)[0]
    found = bad(image, entry, **fields)
    assert found is not None
    assert found <= entry.seq


def test_a_stop_of_a_run_that_is_taken_out_or_names_no_action_is_found(image: Image) -> None:
    order = next(entry for entry in of(image, kinds.Order) if entry.body.order == "run.stop")
    nothing = kinds.Health(part="storage", state="ok", detail="all is well")
    for after in (1, 2):
        forger = Forger(image)
        forger.change(order.seq + after, lambda each: replace(each, body=nothing, kind="health"), resign=True)
        assert not forger.verify().ok
    interrupt = Forger(image).entries()[order.seq + 1]
    assert isinstance(interrupt.body, kinds.InterruptOrdered)
    assert bad(image, interrupt, actions=()) is not None


@pytest.mark.requirement("R6.37")
def test_a_stop_or_a_taking_over_that_nobody_ordered_is_found(image: Image) -> None:
    (left,) = of(image, kinds.WorkLeft)
    run = left.body.runs[0]
    forged: list[tuple[Any, str]] = [
        (kinds.RunStopped(runs=(run,), why="spite", by="response"), "node"),
        (kinds.RunStopped(runs=(run,), why="spite", by="response"), "response"),
        (kinds.InterruptOrdered(incident=None, actions=(), why="spite"), "node"),
        (kinds.ScopeStopped(scope="group:x", epoch=1, why="spite", by="response"), "node"),
        (kinds.ScopeStopped(scope="group:x", epoch=1, why="spite", by="response"), "response"),
        (kinds.WorkLeft(incident=1, runs=(run,), to=("quan",), more=0), "response"),
        (kinds.WorkEnded(incident=1, run=run, person="piet", state="taken", words=None), "person:piet"),
    ]
    for body, actor in forged:
        forger = Forger(image)
        forger.append(body, actor, agent=AGENT, refs=(left.seq,))
        assert not forger.verify().ok, (body, actor)
