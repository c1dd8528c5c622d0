"""From a signal to the people: what the declared rules set in motion, and in which commit (R6, R7, R9, R10, R15).

Real ledgers, gate and reactions; only the clock is the tests' own.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from failwell.core import kinds, orders
from failwell.core.errors import FailwellError, Refused
from failwell.core.records import Entry, decode_entry
from failwell.identity import keys, persons
from failwell.response import account as accounts
from failwell.response import orders as response
from failwell.response import releases
from tests.unit.verify import ledgers

AGENT = ledgers.AGENT
RULES = ledgers.CONTRACT.partition("response:")[0]
ESCALATION = "escalation:\n  - {notify: owner, by: [email]}\n"


def version_2(made: ledgers.Made, *rules: str) -> None:
    """Put the same contract in force with other response rules."""
    said = "".join(f"  - {rule}\n" for rule in rules)
    ledgers.adopt(made, f"{RULES.replace('version: 1', 'version: 2')}response:\n{said}{ESCALATION}")


@pytest.fixture
def made(tmp_path: Path) -> Iterator[ledgers.Made]:
    with ledgers.fresh(tmp_path / "w") as made:
        ledgers.begin(made)
        yield made


@pytest.fixture
def commits(made: ledgers.Made) -> list[list[Entry[Any]]]:
    """What was written from now on, a list for each commit."""
    found: list[list[Entry[Any]]] = []
    made.run()
    made.writer._after = found.append  # a second writer beside it would be one too many for the book
    return found


def entries(made: ledgers.Made) -> list[Entry[Any]]:
    return [decode_entry(row.data) for row in made.book.storage.entries(0, 10_000)]


def bodies(written: list[Entry[Any]], kind: type) -> list[Any]:
    return [entry.body for entry in written if isinstance(entry.body, kind)]


def repeat(made: ledgers.Made, times: int) -> int:
    """One refund and `times` repeats of it; the third repeat suspends. Answers the last decision's number."""
    run = made.run()
    return [made.refund(run, f"r{number}", "A-1") for number in range(times + 1)][-1].entry


def authority(made: ledgers.Made) -> str:
    return made.book.state.agent[AGENT].authority


# ---- which response ----------------------------------------------------------------------------------------------


@pytest.mark.requirement("R7.1")
def test_a_signal_that_is_only_recorded_opens_no_incident_and_changes_no_authority(made: ledgers.Made) -> None:
    repeat(made, 2)
    assert [body.response for body in bodies(entries(made), kinds.Signal)] == [("record",), ("record",)]
    assert made.book.state.incident == {}
    assert authority(made) == "ACTIVE"


@pytest.mark.requirement("R6.4", "R9.1", "R10.1")
def test_trigger_interrupt_suspension_hold_and_page_are_one_commit(
    made: ledgers.Made, commits: list[list[Entry[Any]]]
) -> None:
    running = made.refund(made.run(), "long", "A-9").entry
    last = repeat(made, 3)
    written = commits[-1]
    assert [entry.kind for entry in written] == [
        "decision", "signal", "incident.opened", "interrupt.ordered", "authority.changed", "hold.placed", "page.queued",
    ]  # fmt: skip
    assert written[0].seq == last
    assert running in bodies(written, kinds.InterruptOrdered)[0].actions
    opened, hold, page = written[2], written[5].body, written[6].body
    assert (hold.first, hold.last) == (opened.body.onset_first, opened.seq)
    assert (page.person, page.due_us <= made.book.state.last_at_us) == ("olga", True)


@pytest.mark.requirement("R7.3")
def test_a_rule_that_says_only_suspend_interrupts_holds_and_pages(made: ledgers.Made) -> None:
    version_2(made, '{signal: "denied(refund-ceiling)", do: [suspend]}')
    run = made.run()
    made.refund(run, "long", "A-9")
    made.refund(run, "trip", "A-1", "900.00")
    kinds_now = [entry.kind for entry in entries(made)][-5:]
    assert kinds_now == [
        "incident.opened", "interrupt.ordered", "authority.changed", "hold.placed", "page.queued",
    ]  # fmt: skip
    assert authority(made) == "SUSPENDED"


@pytest.mark.requirement("R7.7")
def test_a_restricted_agent_does_nothing_irreversible_without_a_person(made: ledgers.Made) -> None:
    version_2(made, '{signal: "denied(refund-ceiling)", do: [restrict]}')
    run = made.run()
    made.refund(run, "trip", "A-0", "900.00")
    later = made.refund(run, "c1", "A-1")
    assert (later.verdict, later.clauses) == ("ESCALATE", ("authority.restricted",))
    assert made.ask(run, "c2", "orders.read", {"order_id": "A-1"}).verdict == "ALLOW"


@pytest.mark.requirement("R7.7")
def test_a_rule_that_restricts_halves_the_counts(made: ledgers.Made) -> None:
    ceiling = RULES.replace("effect: irreversible", "effect: reversible").replace("version: 1", "version: 2")
    ledgers.adopt(made, f'{ceiling}response:\n  - {{signal: "denied(refund-ceiling)", do: [restrict]}}\n{ESCALATION}')
    run = made.run()
    made.refund(run, "trip", "A-0", "900.00")
    assert authority(made) == "RESTRICTED"
    verdicts = [made.refund(run, f"c{number}", f"A-{number}").verdict for number in range(1, 5)]
    assert verdicts == ["ALLOW", "ALLOW", "ALLOW", "DENY"]


# ---- the case ----------------------------------------------------------------------------------------------------


def told(made: ledgers.Made, stated_ms: int = 50) -> accounts.Account:
    state = made.book.state
    row = state.incident[1]
    since = [entry for entry in entries(made) if entry.agent == AGENT and entry.seq >= row.onset_first]
    return accounts.account(1, row, state.agent[AGENT], since, stated_ms=stated_ms, reveal=lambda token: token)


@pytest.mark.requirement("R15.1")
def test_the_onset_is_a_range_from_the_first_signal_to_the_one_that_was_caught(made: ledgers.Made) -> None:
    last = repeat(made, 3)
    first = next(entry.seq for entry in entries(made) if isinstance(entry.body, kinds.Decision) and entry.body.clauses)
    assert told(made).onset == (first, last)
    assert first < last


# ---- the people --------------------------------------------------------------------------------------------------


def acknowledge(made: ledgers.Made, person: str = "olga", signer: persons.Signer | None = None) -> Any:
    details = orders.IncidentAcknowledge(incident=1)
    if signer is not None:
        made.signers = {**made.signers, person: signer}
    return made.do(response.acknowledge(made.sign(person, "incident.acknowledge", details), persons.verify_order))


@pytest.mark.requirement("R10.5")
def test_an_incident_is_taken_only_by_an_enrolled_person_with_that_persons_key(made: ledgers.Made) -> None:
    repeat(made, 3)
    honest = dict(made.signers)
    stranger = persons.Signer("mallory", keys.from_seed(b"m" * 32))
    with pytest.raises(FailwellError):
        acknowledge(made, "mallory", stranger)
    with pytest.raises(FailwellError):
        acknowledge(made, "olga", persons.Signer("olga", stranger.key))
    assert bodies(entries(made), kinds.Acknowledged) == []
    made.signers = honest
    acknowledge(made, "quan")
    assert bodies(entries(made), kinds.Acknowledged)[0].person == "quan"
    assert made.book.state.incident[1].state == "TRIAGED"


@pytest.mark.requirement("R10.4")
def test_a_page_that_was_accepted_is_not_an_acknowledgment(made: ledgers.Made) -> None:
    repeat(made, 3)
    ledgers._page(made)
    assert "NOTIFIED" in made.book.state.incident[1].marks
    assert "ACKNOWLEDGED" not in made.book.state.incident[1].marks
    assert any("takes it" in line for line in told(made).asked)


# ---- giving authority back ---------------------------------------------------------------------------------------


@pytest.fixture
def contained(made: ledgers.Made) -> ledgers.Made:
    """Suspended by rule, stopped, held, paged and acknowledged."""
    repeat(made, 3)
    ledgers._contain(made)
    ledgers._page(made)
    acknowledge(made)
    return made


@pytest.mark.requirement("R23.2")
def test_a_proposal_without_evidence_or_conditions_is_refused(contained: ledgers.Made) -> None:
    whole: dict[str, Any] = {
        "incident": 1, "agent": AGENT, "authority": "PROBATION", "conditions": "x", "evidence": (3,),
    }  # fmt: skip
    for lacking in ({"evidence": ()}, {"conditions": ""}):
        with pytest.raises(FailwellError):
            contained.sign("olga", "release.propose", orders.ReleasePropose(**{**whole, **lacking}))
    beyond = contained.sign("olga", "release.propose", orders.ReleasePropose(**{**whole, "evidence": (10**6,)}))
    with pytest.raises(Refused, match="no entry"):
        contained.do(releases.propose_release(beyond, persons.verify_order))
    assert authority(contained) == "SUSPENDED"
