"""A decision whose limits were forged is found where it stands: every kind, every field, whoever's limit it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from failwell.core import kinds
from failwell.core.records import Draft, Entry
from failwell.identity import keys
from failwell.verify.conduct import Conduct
from failwell.verify.finding import Findings
from tests.attacks.test_delegation_widened import LAX, adopt, handed, written
from tests.unit.gate.house import AGENT, MINUTE_US, OTHER, House, open_house

replace = msgspec.structs.replace

EVERY = """
clauses:
  - {id: ceiling, deny: payments.refund, when: context.args.amount > 5000}
limits:
  - {id: count, count: payments.refund, at_most: 4, per: 1h, then: deny}
  - {id: budget, sum: payments.refund.amount, at_most: 2000, per: 1h, then: escalate}
  - {id: asked, rate: payments.refund, at_most: 5, per: 1h, then: record}
  - {id: running, concurrent: payments.refund, at_most: 2, then: deny}
  - {id: pause, cooldown: payments.refund, per: 5m, keys: [order_id], then: deny}
  - {id: once, once_per: payments.refund, keys: [order_id], then: record}
  - {id: seen, sequence: payments.refund, after: orders.read, keys: [order_id], then: record}
  - {id: worth, blast: amount, at_most: 3000, per: 1d, each: [run], then: deny}
  - {id: acts, blast: actions, at_most: 9, each: [principal], then: deny}
"""


def read(house: House, run: int, order: str, **more: Any) -> None:
    arguments = f'{{"order_id": "{order}"}}'.encode()
    house.settle(house.ask(run, tool="orders.read", arguments=arguments, **more).entry)


@pytest.fixture(scope="module")
def house() -> House:
    """A day in which every limit is used and most of them speak, alone and for another agent."""
    house = open_house(EVERY)
    house.register(OTHER)
    adopt(house, written(OTHER, LAX))
    adopt(house, written(AGENT, EVERY, delegates=("other-bot",), version=2))
    run = house.run()
    for agent, at in ((AGENT, run), (OTHER, handed(house, run))):
        read(house, at, "a", agent=agent)
        for amount, order in (("5.00", "a"), ("6.00", "b"), ("60.00", "c"), ("1.00", "a")):
            verdict = house.ask(at, amount, order=order, agent=agent)
            house.clock.skip(MINUTE_US // 2)
            if verdict.verdict == "ALLOW" and order == "a":
                house.settle(verdict.entry)
        house.ask(at, "5.00", order="d", agent=agent)
        house.ask(at, "19.00", order="e", agent=agent)
        house.clock.skip(MINUTE_US)
    return house


def found(house: House, entries: list[Entry[Any]]) -> list[tuple[str, int | None, str]]:
    findings = Findings()
    conduct = Conduct(findings, keys.verify)
    for entry in entries:
        conduct.take(entry, house.book.leaf(entry.seq))
    conduct.end()
    return [
        (finding.code, finding.entry, finding.message)
        for finding in findings.found()
        if finding.code.startswith(("entry.", "decision.", "action.", "reaction."))
    ]


def decisions(house: House) -> list[Entry[Any]]:
    return [entry for entry in house.entries() if isinstance(entry.body, kinds.Decision2)]


def forge(house: House, seq: int, **changed: Any) -> list[tuple[str, Any, str]]:
    """What is found up to a decision whose fields were changed."""
    *before, entry = house.entries()[: seq + 1]
    return found(house, [*before, replace(entry, body=replace(entry.body, **changed))])


def telling(house: House) -> Iterator[tuple[Entry[Any], int, kinds.Use2]]:
    """Each limit of each agent in a decision of each verdict (entry, place, use), once."""
    met: set[tuple[str, str, str]] = set()
    for entry in decisions(house):
        for place, use in enumerate(entry.body.uses):
            if (use.measure, use.limit, entry.body.verdict) not in met:
                met.add((use.measure, use.limit, entry.body.verdict))
                yield entry, place, use


def test_what_was_measured_is_measured_again_and_found_right(house: House) -> None:
    assert found(house, house.entries()) == []
    said = {(use.measure, use.limit.startswith("refund-bot/")) for each in decisions(house) for use in each.body.uses}
    assert len(said) == 18  # eight kinds and `gives`, as own limits and as those of whoever handed the work over
    spoke = {clause.id for each in decisions(house) for clause in each.body.clauses}
    assert {"budget", "asked", "running", "pause", "once", "seen", "ceiling"} <= spoke
    assert any(clause.startswith("refund-bot/") for clause in spoke)


@pytest.mark.parametrize("field", ["used", "at_most", "adds", "reserved", "measure", "agent", "key", "limit"])
def test_a_forged_word_about_any_limit_is_found_where_it_stands(house: House, field: str) -> None:
    """Attack: with all hashes made anew, one number of one limit is changed."""
    for entry, place, use in telling(house):
        changed: Any = {
            "used": use.used + 1, "at_most": use.at_most + 1, "adds": use.adds + 1, "reserved": not use.reserved,
            "measure": "count" if use.measure != "count" else "rate",
            "agent": OTHER if use.agent == AGENT else AGENT, "key": None if use.key else "l-" + "0" * 32,
            "limit": "other" if use.limit == "count" else "count",
        }[field]  # fmt: skip
        uses = list(entry.body.uses)
        uses[place] = replace(use, **{field: changed})
        codes = forge(house, entry.seq, uses=tuple(uses))
        assert codes, (entry.seq, use.limit, field)
        assert codes[0][0] in ("decision.limit", "decision.verdict"), codes[0]
        assert codes[0][1] == entry.seq, codes[0]


def test_a_limit_that_is_left_out_is_found(house: House) -> None:
    """Attack: the limit that spoke, and what it said, are gone from the decision that is now an ALLOW."""
    for entry, _, use in telling(house):
        uses = tuple(each for each in entry.body.uses if each is not use)
        clauses = tuple(clause for clause in entry.body.clauses if clause.id != use.limit)
        words = {clause.then for clause in clauses}
        verdict = "DENY" if "deny" in words else "ESCALATE" if "escalate" in words else "ALLOW"
        uses = tuple(replace(each, reserved=taken(each, verdict)) for each in uses)
        codes = forge(house, entry.seq, uses=uses, clauses=clauses, verdict=verdict)
        assert ("decision.limit", entry.seq) in [code[:2] for code in codes], (entry.seq, use.limit)


def taken(use: kinds.Use2, verdict: str) -> bool:
    return use.measure not in ("sequence", "gives") and (verdict == "ALLOW" or use.measure == "rate")


def test_a_denial_by_a_limit_that_is_told_as_a_record_is_found(house: House) -> None:
    """Attack: what said deny is made to say record, as if a person had answered for it."""
    changed = 0
    for entry in decisions(house):
        for place, clause in enumerate(entry.body.clauses):
            if clause.id.rpartition("/")[2] in ("running", "pause", "budget", "worth", "count"):
                clauses = tuple(
                    replace(each, then="record") if at == place else each for at, each in enumerate(entry.body.clauses)
                )
                words = {each.then for each in clauses}
                verdict = "DENY" if "deny" in words else "ESCALATE" if "escalate" in words else "ALLOW"
                uses = tuple(replace(each, reserved=taken(each, verdict)) for each in entry.body.uses)
                codes = forge(house, entry.seq, uses=uses, clauses=clauses, verdict=verdict)
                # What still denies is a denial: a question that it stands beside may have been answered.
                if clause.then == "deny" or verdict == "ALLOW":
                    assert ("decision.limit", entry.seq) in [code[:2] for code in codes]
                    changed += 1
    assert changed > 3


def test_a_completion_that_is_forged_shows_at_what_stood_on_it(house: House) -> None:
    """Attack: what failed is told as completed, or the other way round."""
    entries = house.entries()
    read_at = next(entry.seq for entry in decisions(house) if entry.body.tool == "orders.read")
    ended = next(e.seq for e in entries if isinstance(e.body, kinds.Outcome) and e.body.decision == read_at)
    entries[ended] = replace(entries[ended], body=replace(entries[ended].body, state="failed"))
    codes = found(house, entries)
    assert codes
    assert codes[0][0] == "decision.limit"
    assert "seen" in codes[0][2]


def test_work_of_an_agent_whose_observation_is_over_is_refused_outright_whoever_handed_it_over() -> None:
    """No contract of the chain was asked, so that no limit of any of them stands in the denial."""
    house = open_house(EVERY)
    house.register(OTHER)
    until_us = house.state.last_at_us + MINUTE_US
    bodies = (
        kinds.Observation(until_us=until_us, person="olga", why="it runs already"),
        kinds.AuthorityChanged(was="REGISTERED", now="OBSERVED", epoch=1, why="", incident=None, by="person:olga"),
    )
    house.write(*(Draft(body=body, actor="person:olga", agent=OTHER) for body in bodies))
    adopt(house, written(AGENT, EVERY, delegates=("other-bot",), version=2))
    run = handed(house, house.run())
    house.clock.skip(MINUTE_US)
    assert house.ask(run, agent=OTHER).clauses == ("authority.observed",)
    assert [each for each in found(house, house.entries()) if each[0] == "decision.limit"] == []
    house.close()
