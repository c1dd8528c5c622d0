"""Stops of more than one agent in a record that was rewritten: who stopped, who lifted, and what passed meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from failwell.core import kinds, orders
from failwell.core.records import Draft, Entry
from failwell.gate import outcomes
from failwell.identity import persons
from failwell.ports.executor import Ended
from failwell.response import containment, stops
from tests.unit.verify import ledgers
from tests.unit.verify.forgery import Forger, Image, replace
from tests.unit.verify.ledgers import Made

LOOK = {"order_id": "o-1"}


def life(made: Made) -> None:
    """Everything stopped, denied, lifted by two others and at work again; a tool stopped for good."""
    ledgers.begin(made)
    run = made.run()
    made.ask(run, "before", "orders.read", LOOK)
    for scope in ("all", "tool:orders.delete"):
        details = orders.StopScope(scope=scope, reason="it is on fire")
        signed = made.sign("quan", "stop", details, shown="0" * 64)
        made.do(stops.stop_scope(signed, persons.verify_order, source="node"))
    made.ask(run, "while", "orders.read", LOOK)
    (action,) = made.book.state.stop["all"].waiting
    ended = Ended(
        action=action, state="interrupted_confirmed", exit_code=None, signal=9, output=b"", truncated=False, errors=b"",
        started_us=0, ended_us=made.clock.mono_us(), swept=1, proven_by="swept", why=None, sweep_us=1,
    )  # fmt: skip
    settled = outcomes.Settlement(decision=action, state="interrupted_confirmed", by="supervisor")
    made.do(containment.ended_by_order(ended, "order", lambda turn: outcomes.draft_outcome(turn, settled)))
    lifting = orders.LiftPropose(scope="all", epoch=1, conditions="it is out", evidence=(3,))
    proposed = made.sign("olga", "stop.propose", lifting)
    made.do(stops.propose_lift(proposed, persons.verify_order))
    digest = orders.order_digest(orders.parse_order(proposed.order))
    agreed = orders.LiftApprove(scope="all", epoch=1, proposal=digest)
    made.do(stops.approve_lift(made.sign("piet", "stop.lift", agreed), persons.verify_order))
    made.ask(run, "after", "orders.read", LOOK)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    path: Path = tmp_path_factory.mktemp("stops") / "shop"
    with ledgers.fresh(path) as made:
        life(made)
    return Image(path)


def last(image: Image, kind: type, call: str | None = None) -> Entry[Any]:
    found = [entry for entry in Forger(image).entries() if isinstance(entry.body, kind)]
    return [entry for entry in found if call is None or entry.body.call == call][-1]


def changed(image: Image, entry: Entry[Any], how: Callable[[Any], Any]) -> Any:
    """The report on a record in which an entry says something else, all hashes made new."""
    forger = Forger(image)
    forger.change(entry.seq, lambda each: replace(each, body=how(each.body)), resign=True)
    return forger.verify()


def test_an_honest_record_of_stops_has_no_finding(image: Image) -> None:
    report = Forger(image).verify()
    assert report.ok, report.findings
    assert {"scope.stopped", "scope.proposed", "scope.lifted"} <= {entry.kind for entry in Forger(image).entries()}


@pytest.mark.requirement("R8.3")
@pytest.mark.requirement("R8.14")
def test_an_allow_slipped_in_while_everything_was_stopped_is_found(image: Image) -> None:
    entry = last(image, kinds.Decision2, "while")
    report = changed(image, entry, lambda body: replace(body, verdict="ALLOW", clauses=()))
    assert any((found.code, found.entry) == ("decision.stopped", entry.seq) for found in report.findings)


def test_a_denial_that_is_blamed_on_a_stop_there_was_not_is_found(image: Image) -> None:
    entry = last(image, kinds.Decision2, "after")
    blamed = (kinds.Decided(id="stopped", then="deny", severity="minor"),)
    report = changed(image, entry, lambda body: replace(body, verdict="DENY", clauses=blamed))
    assert any((found.code, found.entry) == ("decision.stopped", entry.seq) for found in report.findings)


@pytest.mark.requirement("R23.2")
@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (kinds.ScopeStopped, {"scope": "tool:orders.read"}),
        (kinds.ScopeStopped, {"epoch": 2}),
        (kinds.ScopeStopped, {"why": "for a rest"}),
        (kinds.ScopeStopped, {"by": "person:piet"}),
        (kinds.ScopeProposed, {"person": "quan"}),
        (kinds.ScopeProposed, {"person": "piet"}),
        (kinds.ScopeProposed, {"conditions": "none"}),
        (kinds.ScopeProposed, {"digest": "ab" * 32}),
        (kinds.ScopeProposed, {"scope": "tool:orders.delete"}),
        (kinds.ScopeLifted, {"person": "olga"}),
        (kinds.ScopeLifted, {"person": "quan"}),
        (kinds.ScopeLifted, {"scope": "tool:orders.delete"}),
        (kinds.ScopeLifted, {"epoch": 2}),
    ],
)
def test_what_people_ordered_about_a_stop_said_otherwise_is_found(image: Image, kind: type, fields: Any) -> None:
    entry = last(image, kind)
    report = changed(image, entry, lambda body: replace(body, **fields))
    assert not report.ok
    assert report.first_bad is not None
    assert report.first_bad <= entry.seq


@pytest.mark.requirement("R23.2")
def test_a_stop_or_a_lift_that_nobody_ordered_is_found(image: Image) -> None:
    forged = [
        (kinds.ScopeStopped(scope="group:x", epoch=1, why="spite", by="person:olga"), (3,)),
        (kinds.ScopeProposed(
            scope="tool:orders.delete", epoch=1, person="olga", digest="ab" * 32, conditions="none"), (3,)),
    ]  # fmt: skip
    for body, refs in forged:
        forger = Forger(image)
        seq = forger.append(body, "person:olga", refs=refs)
        report = forger.verify()
        assert any(found.entry == seq for found in report.findings), body


@pytest.mark.requirement("R6.1")
def test_a_stop_whose_interrupt_or_mail_is_taken_out_is_found(image: Image) -> None:
    everything = next(entry for entry in Forger(image).entries() if isinstance(entry.body, kinds.ScopeStopped))
    nothing = kinds.Health(part="storage", state="ok", detail="all is well")
    for after in (1, 2):
        forger = Forger(image)
        forger.change(everything.seq + after, lambda each: replace(each, body=nothing, kind="health"), resign=True)
        assert not forger.verify().ok
    report = changed(image, Forger(image).entries()[everything.seq + 1], lambda body: replace(body, actions=()))
    assert not report.ok


def signed_by(made: Made, person: str, kind: str, details: orders.Details) -> tuple[orders.SignedOrder, Draft]:
    """A genuine order, as a node writes it that asks nobody whether it may be."""
    signed = made.sign(person, kind, details)
    body = kinds.Order(
        order=kind, person=person, key=signed.key, text=signed.order, signature=signed.signature, source="node"
    )
    return signed, Draft(body=body, actor=f"person:{person}")


@pytest.mark.requirement("R23.2")
@pytest.mark.parametrize(
    ("proposer", "lifter", "why"),
    [("piet", "piet", "one person"), ("quan", "piet", "ordered the stop"), ("olga", "quan", "quan")],
)
@pytest.mark.requirement("R23.7")
def test_a_lift_by_the_wrong_persons_with_genuine_signatures_is_found(
    tmp_path: Path, proposer: str, lifter: str, why: str
) -> None:
    """Attack: whoever runs the node lets one person alone, or who ordered the stop, lift it."""
    with ledgers.fresh(tmp_path / "shop") as made:
        ledgers.begin(made)
        details = orders.StopScope(scope="all", reason="it is on fire")
        made.do(
            stops.stop_scope(made.sign("quan", "stop", details, shown="0" * 64), persons.verify_order, source="node")
        )
        asked = orders.LiftPropose(scope="all", epoch=1, conditions="none", evidence=(3,))
        signed, first = signed_by(made, proposer, "stop.propose", asked)
        digest = orders.order_digest(orders.parse_order(signed.order))
        seq = made.book.state.size
        proposed = kinds.ScopeProposed(scope="all", epoch=1, person=proposer, digest=digest, conditions="none")
        made.write(first, Draft(body=proposed, actor=f"person:{proposer}", refs=(seq, 3)))
        _, second = signed_by(made, lifter, "stop.lift", orders.LiftApprove(scope="all", epoch=1, proposal=digest))
        lifted = kinds.ScopeLifted(scope="all", epoch=1, person=lifter, digest=digest)
        made.write(second, Draft(body=lifted, actor=f"person:{lifter}", refs=(seq + 2,)))
    report = Forger(Image(tmp_path / "shop")).verify()
    assert any(why in finding.message for finding in report.findings), report.findings
