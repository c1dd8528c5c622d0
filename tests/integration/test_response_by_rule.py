"""From a signal to the people: what the declared rules set in motion, in which commit, and who may undo it (R7 to R11).

Real ledgers, gate and reactions; only the clock is the tests' own.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from failwell.core import kinds, note, orders
from failwell.core.errors import FailwellError, NotFound, Refused
from failwell.core.records import Draft, Entry, decode_entry
from failwell.gate import outcomes
from failwell.identity import keys, persons
from failwell.ledger.jobs import CONTAINMENT
from failwell.ledger.writer import Writer
from failwell.response import account as accounts
from failwell.response import orders as response
from failwell.response.letters import incident_letter
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
    made.writer = Writer(made.book, after=found.append)
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


@pytest.mark.requirement("R7.5")
def test_the_first_rule_that_matches_decides_and_below_the_rules_the_ladder(made: ledgers.Made) -> None:
    version_2(
        made, '{signal: "denied(refund-ceiling) >= 2 in 1h", do: [restrict]}',
        '{signal: "denied(refund-ceiling)", do: [record]}', '{signal: "denied(refund-ceiling)", do: [suspend]}',
    )  # fmt: skip
    run = made.run()
    made.refund(run, "c1", "A-1", "900.00")
    assert authority(made) == "ACTIVE"
    made.refund(run, "c2", "A-1", "900.00")
    assert authority(made) == "RESTRICTED"
    said = [body for body in bodies(entries(made), kinds.Signal) if body.signal == "denied(refund-ceiling)"]
    assert [body.rule for body in said] == ["response[2]", "response[1]"]
    made.ask(run, "c3", "shell.run", {})
    assert bodies(entries(made), kinds.Signal)[-1].rule == "default ladder"


@pytest.mark.requirement("R5.2")
def test_an_effect_that_no_verdict_allowed_is_reported_as_bypassed_and_stops_the_agent(made: ledgers.Made) -> None:
    denied = made.refund(made.run(), "c1", "A-1", "900.00")
    made.do(outcomes.record_effects(AGENT, (effect("1", denied.entry),)))
    assert bodies(entries(made), kinds.EffectWitnessed)[0].decision is None
    signal = bodies(entries(made), kinds.Signal)[-1]
    assert (signal.signal, signal.severity, signal.applied) == ("bypass", "critical", True)
    assert authority(made) == "SUSPENDED"


def effect(ref: str, action: int | None, *, witness: str = "payments", at: str | None = None) -> outcomes.Witnessed:
    return outcomes.Witnessed(
        witness=witness, ref=ref, tool="payments.refund", at=at, customer=f"c-{ref}", action=action, line="ab" * 32
    )


@pytest.mark.requirement("R5.1")
def test_a_witnessed_effect_names_its_verdict_only_if_that_allowed_this_tool_to_this_agent(made: ledgers.Made) -> None:
    run = made.run()
    allowed = made.refund(run, "c1", "A-1").entry
    read = made.ask(run, "c2", "orders.read", {"order_id": "A-1"}).entry
    escalated = made.refund(run, "c3", "A-2", "150.00").entry
    named = (allowed, read, escalated, 0, None, 10**6)
    made.do(outcomes.record_effects(AGENT, tuple(effect(str(at), seq) for at, seq in enumerate(named))))
    assert [body.decision for body in bodies(entries(made), kinds.EffectWitnessed)] == [allowed, *[None] * 5]


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


@pytest.mark.requirement("R22.1")
def test_the_timeline_holds_every_step_since_the_onset_each_with_its_entry(made: ledgers.Made) -> None:
    repeat(made, 3)
    ledgers._contain(made)
    ledgers._page(made)
    acknowledge(made)
    lines = told(made).timeline
    known = {entry.seq: entry for entry in entries(made)}
    assert [line.what for line in lines] == [
        "ALLOW", "ALLOW", "ALLOW", "incident opened", "interrupt ordered", "suspended", "record held", "page queued",
        *["stopped"] * 4, "page accepted", "acknowledged",
    ], [line.what for line in lines]  # fmt: skip
    assert all(known[line.entry].at == line.at for line in lines)
    assert lines[0].entry == told(made).onset[0]


@pytest.mark.requirement("R11.1")
def test_effects_are_counted_once_each_from_the_tools_own_logs_and_by_when_they_happened(made: ledgers.Made) -> None:
    run = made.run()
    long = made.refund(run, "long", "A-9").entry
    repeat(made, 3)
    early = entries(made)[made.book.state.incident[1].onset_first].at
    detected = told(made).times["detected"]
    assert detected is not None
    seen = (
        effect("1", long, at=early), effect("1", long, at=early, witness="second"), effect("2", long, at=early),
        effect("3", long, at=detected.at),
    )  # fmt: skip
    made.do(outcomes.record_effects(AGENT, seen))
    ledgers._contain(made)
    late = entries(made)[-1].at
    made.do(outcomes.record_effects(AGENT, (effect("4", long, at=late),)))
    escaped = told(made).escaped_effects
    assert (escaped.before_detection, escaped.while_stopping, escaped.after_fence) == (2, 1, 1)
    assert escaped.counted_from == ("payments", "second")


@pytest.mark.requirement("R11.2")
def test_every_customer_whom_an_effect_reached_is_told_with_how_many_and_which(made: ledgers.Made) -> None:
    run = made.run()
    long = made.refund(run, "long", "A-9").entry
    repeat(made, 3)
    at = entries(made)[made.book.state.incident[1].onset_first].at
    seen = [effect(ref, long, at=at) for ref in ("1", "2", "3")]
    more = outcomes.Witnessed(**{**{f: getattr(seen[0], f) for f in seen[0].__struct_fields__}, "ref": "9"})
    made.do(outcomes.record_effects(AGENT, (*seen, more)))
    harmed = told(made).customers
    assert sorted(one.effects for one in harmed) == [1, 1, 2]
    cited = [seq for one in harmed for seq in one.entries]
    assert sorted(cited) == [entry.seq for entry in entries(made) if isinstance(entry.body, kinds.EffectWitnessed)]


@pytest.mark.requirement("R8.5")
def test_the_bound_that_is_stated_stands_beside_the_one_measured_from_order_to_last_process(made: ledgers.Made) -> None:
    repeat(made, 3)
    assert told(made).bound["measured_ms"] is None, "nothing is claimed before every stop is confirmed"
    ledgers._contain(made)
    bound = told(made, stated_ms=123).bound
    ordered = next(entry for entry in entries(made) if isinstance(entry.body, kinds.InterruptOrdered))
    gone_us = max(body.ended_mono_us for body in bodies(entries(made), kinds.InterruptConfirmed))
    assert bound["stated_ms"] == 123
    assert bound["measured_ms"] == (gone_us - ordered.mono_us) / 1000 > 0
    assert bound["proven_by"] == "sweep"


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


@pytest.mark.requirement("R10.6")
def test_the_owners_letter_holds_the_newest_signed_checkpoint(made: ledgers.Made) -> None:
    repeat(made, 3)
    newest = made.book.storage.checkpoint()
    assert newest is not None
    letter = incident_letter(told(made), newest)
    assert newest.decode() in letter.text
    assert letter.checkpoint == made.book.state.size == note.Checkpoint.parse(note.SignedNote.parse(newest).text).size


# ---- giving authority back ---------------------------------------------------------------------------------------


@pytest.fixture
def contained(made: ledgers.Made) -> ledgers.Made:
    """Suspended by rule, stopped, held, paged and acknowledged."""
    repeat(made, 3)
    ledgers._contain(made)
    ledgers._page(made)
    acknowledge(made)
    return made


def propose(made: ledgers.Made, person: str = "olga") -> orders.SignedOrder:
    details = orders.ReleasePropose(
        incident=1, agent=AGENT, authority="PROBATION", conditions="the template is fixed", evidence=(3,)
    )
    signed = made.sign(person, "release.propose", details)
    made.do(response.propose_release(signed, persons.verify_order))
    return signed


def approve(made: ledgers.Made, proposal: orders.SignedOrder, person: str) -> None:
    digest = orders.order_digest(orders.parse_order(proposal.order))
    signed = made.sign(person, "release.approve", orders.ReleaseApprove(incident=1, agent=AGENT, proposal=digest))
    made.do(response.approve_release(signed, persons.verify_order))


@pytest.mark.requirement("R23.1", "R23.3")
def test_the_proposer_cannot_approve_and_a_second_person_can(contained: ledgers.Made) -> None:
    proposal = propose(contained, "piet")
    assert authority(contained) == "SUSPENDED", "one person's order alone gives nothing back"
    with pytest.raises(Refused, match="proposed this release"):
        approve(contained, proposal, "piet")
    assert authority(contained) == "SUSPENDED"
    proposal = propose(contained, "olga")
    approve(contained, proposal, "piet")
    assert authority(contained) == "PROBATION"


@pytest.mark.requirement("R23.3")
def test_who_suspended_the_agent_cannot_approve_its_release(made: ledgers.Made) -> None:
    suspension = orders.AgentSuspend(agent=AGENT, reason="it misbehaves")
    signed = made.sign("piet", "agent.suspend", suspension, "0" * 64)
    made.do(response.suspend(signed, persons.verify_order, source="node"), CONTAINMENT)
    ledgers._page(made)
    acknowledge(made)
    proposal = propose(made, "olga")
    with pytest.raises(Refused, match="suspended this agent"):
        approve(made, proposal, "piet")
    assert authority(made) == "SUSPENDED"


@pytest.mark.requirement("R23.1")
def test_an_approval_without_a_proposal_of_another_person_gives_nothing_back(contained: ledgers.Made) -> None:
    signed = contained.sign(
        "piet", "release.approve", orders.ReleaseApprove(incident=1, agent=AGENT, proposal="0" * 64)
    )
    with pytest.raises(Refused, match="not the release that stands proposed"):
        contained.do(response.approve_release(signed, persons.verify_order))
    assert authority(contained) == "SUSPENDED"


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
        contained.do(response.propose_release(beyond, persons.verify_order))
    assert authority(contained) == "SUSPENDED"


@pytest.mark.requirement("R9.3")
def test_no_release_is_accepted_while_the_record_is_not_held(made: ledgers.Made) -> None:
    """A suspension always places its hold; were one written without, as by a fault of ours, nothing follows from it."""
    version_2(made, '{signal: "denied(refund-ceiling)", do: [interrupt, notify]}')
    made.refund(made.run(), "c1", "A-1", "900.00")
    suspended = kinds.AuthorityChanged(
        was="ACTIVE", now="SUSPENDED", epoch=2, why="by hand", incident=1, by="person:quan"
    )
    made.write(Draft(body=suspended, actor="node", agent=AGENT))
    ledgers._page(made)
    acknowledge(made)
    with pytest.raises(Refused, match="HELD"):
        propose(made)


def test_there_is_no_incident_to_take_before_one_was_opened(made: ledgers.Made) -> None:
    with pytest.raises(NotFound):
        acknowledge(made)
