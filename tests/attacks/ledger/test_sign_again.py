"""Sign again: the attacker has the file and the log key, rewrites history, makes all hashes and rows anew and signs.

What the rules of the record betray is found at its entry without anybody's help. What they do not betray is found by a
checkpoint that somebody else kept, and by nothing less: the tests that show where it passes stand here too.
"""

from __future__ import annotations

from typing import Any

import pytest

from failwell.core import kinds
from failwell.core.records import Entry
from tests.attacks.ledger.judging import Ground, caught, kept_unchecked, undetected
from tests.unit.verify import ledgers
from tests.unit.verify.forgery import replace


def clauses(*ids: tuple[str, str]) -> tuple[kinds.Decided, ...]:
    return tuple(kinds.Decided(id=name, then=then, severity="minor") for name, then in ids)


def flipped(entry: Entry[Any], verdict: str) -> Entry[Any]:
    """The verdict alone."""
    return replace(entry, body=replace(entry.body, verdict=verdict))


def flipped_with_care(entry: Entry[Any], verdict: str) -> Entry[Any]:
    """Verdict, clauses, errors and reservations made to agree with each other."""
    then = {"ALLOW": "record", "DENY": "deny", "ESCALATE": "escalate"}[verdict]
    kept = tuple(clause for clause in entry.body.clauses if clause.then == then)
    said = kept or (() if verdict == "ALLOW" else clauses(("refund-ceiling", then)))
    uses = tuple(replace(use, reserved=verdict == "ALLOW") for use in entry.body.uses)
    return replace(entry, body=replace(entry.body, verdict=verdict, clauses=said, uses=uses, errors=()))


def decisions(ground: Ground) -> list[Entry[Any]]:
    return [entry for entry in ground.entries if isinstance(entry.body, kinds.Decision)]


@pytest.mark.parametrize("resign", [False, True], ids=["old signature", "signed by the log key"])
@pytest.mark.parametrize("flip", [flipped, flipped_with_care])
@pytest.mark.requirement("R13.5")
def test_every_verdict_flipped_is_found_at_its_entry(ground: Ground, resign: bool, flip: Any) -> None:
    for entry in decisions(ground):
        for verdict in {"ALLOW", "DENY", "ESCALATE"} - {entry.body.verdict}:
            forger = ground.forger()
            forger.change(entry.seq, lambda each, verdict=verdict: flip(each, verdict), resign=resign)  # type: ignore[misc]
            report = forger.verify()
            caught(report)
            assert report.first_bad == entry.seq, (entry.seq, entry.body.verdict, verdict, report.findings[:3])
            ground.hold(forger)


def unbetrayed(ground: Ground) -> int:
    """A decision in which something can be changed that no other entry repeats."""
    return next(e.seq for e in decisions(ground) if e.body.verdict == "ALLOW" and e.body.tool == "orders.read")


def other_arguments(entry: Entry[Any]) -> Entry[Any]:
    return replace(entry, body=replace(entry.body, arguments="0" * 64))


@pytest.mark.requirement("R13.5")
def test_what_no_rule_betrays_is_found_by_a_kept_checkpoint_which_says_in_what_range(ground: Ground) -> None:
    seq = unbetrayed(ground)
    forger = ground.forger()
    forger.change(seq, other_arguments, resign=True)
    for kept, first, last in (
        ([ground.size], 0, ground.size - 1),
        ([10, ground.size], 10, ground.size - 1),
        ([seq, seq + 1, ground.size], seq, seq),
    ):
        report = forger.verify(*(ground.kept(size) for size in kept))
        caught(report, within=(first, last), code="kept.root")
        assert report.good == first
    ground.hold(forger)


def test_what_no_rule_betrays_passes_where_nobody_kept_a_checkpoint_of_it(ground: Ground) -> None:
    """The limit of every self-kept record: the report says that this step could not be made."""
    seq = unbetrayed(ground)
    forger = ground.forger()
    forger.change(seq, other_arguments, resign=True)
    report = forger.verify()
    undetected(report)
    assert kept_unchecked(report)
    undetected(forger.verify(ground.kept(10), ground.kept(seq)))  # kept before the change: they cover nothing of it


def test_every_reaction_taken_out_is_found_at_its_cause(ground: Ground) -> None:
    """The suspension that never was: what the rules gave must stand in the record."""
    for entry in ground.entries:
        if entry.actor != "response":
            continue
        cause = entry.refs[0].seq
        forger = ground.forger()
        body = kinds.Health(part="storage", state="ok", detail="nothing to see")
        given = {"actor": "node", "kind": "health", "v": 1, "body": body, "refs": ()}
        forger.change(entry.seq, lambda e: replace(e, **given), resign=True)  # noqa: B023
        report = forger.verify()
        caught(report)
        # Where several of one commit were owed by then, each is named at its own cause.
        assert min((found.entry, found.first) for found in report.findings) == (cause, cause)


def test_a_decision_given_to_another_agent_is_found_there(ground: Ground) -> None:
    for entry in decisions(ground):
        if entry.agent != ledgers.AGENT:
            continue
        forger = ground.forger()
        forger.change(entry.seq, lambda e: replace(e, agent="spiffe://shop.example/agent/other"), resign=True)
        report = forger.verify()
        caught(report)
        found = report.findings[0]
        assert found.last is not None
        assert found.last >= entry.seq >= (found.first or 0)


def test_an_act_without_a_verdict_before_it(ground: Ground) -> None:
    for outcome in (e for e in ground.entries if isinstance(e.body, kinds.Outcome)):
        forger = ground.forger()
        forger.change(outcome.seq, lambda e: replace(e, body=replace(e.body, decision=1)), resign=True)
        report = forger.verify()
        caught(report)
        assert report.first_bad == outcome.seq
