"""What people make of a case: one adds and makes graver, two take from it, and what is over swallows no signal."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from failwell.core import kinds, orders
from failwell.core.errors import Corrupt, FailwellError, InputError, NotFound, Refused
from failwell.core.incidents.endings import left_open
from failwell.core.instants import format_at
from failwell.core.records import Draft
from failwell.identity import persons
from tests.unit.gate.house import (
    AGENT,
    ASK,
    BIG,
    FATAL,
    HOUR_US,
    RULES,
    SMALL,
    House,
)
from tests.unit.response import casework
from tests.unit.response.casework import agree, give, opened, propose, ready, report, resolved, words, write

LOOKED_AT = (
    RULES + "response:\n  - {signal: denied(small), do: [hold, notify]}\n  - {signal: recorded(repeat), do: [notify]}\n"
)


def refused(match: str) -> pytest.RaisesExc[FailwellError]:
    return pytest.raises(FailwellError, match=match)


def state(house: House, incident: int = 1) -> str:
    return house.state.incident[incident].state


# ---- from open to closed -------------------------------------------------------------------------------------


def test_a_case_goes_from_open_to_closed_by_its_steps_and_each_is_an_entry() -> None:
    house = resolved()
    agree(house, "piet", propose(house, "rita", "none"))
    steps = [(body.was, body.now) for body in house.bodies(kinds.IncidentChanged)]
    assert steps == [
        ("TRIAGED", "INVESTIGATING"), ("INVESTIGATING", "RESOLVED"), ("RESOLVED", "LEARNED"), ("LEARNED", "CLOSED"),
    ]  # fmt: skip
    assert house.bodies(kinds.IncidentUpdated)[-1].state == "TRIAGED"


def test_a_closed_case_is_stored_as_its_entries_tell_it() -> None:
    house = resolved()
    agree(house, "piet", propose(house, "rita", "none"))
    stored = house.stored()["incident"]
    house.reopen()
    assert house.stored()["incident"] == stored
    assert state(house) == "CLOSED"


def test_what_a_person_wrote_is_in_no_entry_and_opens_with_its_salt() -> None:
    house = opened()
    entry = write(house, "rita", "finding", 3, text="Anna Meier called")
    assert "Meier" not in "".join(str(each) for each in house.entries())
    assert house.secret(entry)["text"] == "Anna Meier called"
    details = orders.IncidentNote(incident=1, sort="note", words=words("one thing"), cites=())
    with refused("not the one"):
        give(house, "rita", details, "another thing")


@pytest.mark.requirement("R22.3")
def test_a_finding_cites_what_it_rests_on() -> None:
    house = opened()
    with pytest.raises(InputError, match="cites"):
        write(house, "rita", "finding")
    with refused("no entry"):
        write(house, "rita", "finding", 10**6)
    seq = write(house, "rita", "finding", 3, 4)
    entry = house.entries()[seq]
    assert [ref.seq for ref in entry.refs][1:] == [3, 4]


def test_nothing_is_resolved_before_somebody_said_what_contributed_and_everything_ended() -> None:
    house = opened()
    house.acknowledge("rita")
    resolve = orders.IncidentResolve(incident=1, reason="it is over")
    with refused("TRIAGED"):
        give(house, "rita", resolve)
    write(house, "rita", "finding", 3)
    with refused("contributed"):
        give(house, "rita", resolve)
    write(house, "rita", "factor", 3)
    with refused("have not ended"):
        give(house, "rita", resolve)
    casework.end_actions(house)
    with refused("rita has it"):
        give(house, "quan", resolve)
    give(house, "rita", resolve)
    assert state(house) == "RESOLVED"


def test_a_finding_that_was_there_before_anybody_took_the_case_counts_when_they_do() -> None:
    house = opened()
    write(house, "quan", "finding", 3)
    assert state(house) == "OPEN"
    house.acknowledge("rita")
    assert state(house) == "INVESTIGATING"


@pytest.mark.requirement("R25.1")
@pytest.mark.requirement("R24.1")
def test_a_claimed_change_keeps_a_case_resolved_whatever_two_persons_say() -> None:
    """Attack: what was promised is never done, and the case is closed as needing nothing."""
    house = resolved()
    proposal = propose(house, "olga", "none")
    give(house, "rita", orders.IncidentClaim(incident=1, change="prompt", words=words("better")), "better")
    with refused("does not stand proposed"):
        agree(house, "piet", proposal)
    with refused("claimed"):
        propose(house, "olga", "none")
    with refused("RESOLVED"):
        give(house, "olga", orders.IncidentClose(incident=1))
    assert state(house) == "RESOLVED"


@pytest.mark.requirement("R24.14")
def test_what_is_open_keeps_a_case_from_being_closed_and_is_named() -> None:
    house = opened()
    task = orders.IncidentGiveTask(incident=1, person="quan", due=None, words=words("call them"))
    give(house, "rita", task, "call them")
    casework.end_actions(house)
    house.acknowledge("rita")
    write(house, "rita", "factor", 3)
    give(house, "rita", orders.IncidentResolve(incident=1, reason="it ended"))
    agree(house, "piet", propose(house, "rita", "none"))
    assert state(house) == "LEARNED"
    casework.drop_work(house)
    with refused("task 1 of incident 1, for quan"):
        give(house, "olga", orders.IncidentClose(incident=1))
    forged = kinds.IncidentChanged(incident=1, what="state", was="LEARNED", now="CLOSED", why="", proposal=None)
    with pytest.raises(Corrupt, match="open is"):
        house.write(Draft(body=forged, actor="person:olga", agent=AGENT))
    with refused("has the case"):
        give(house, "piet", orders.IncidentEndTask(incident=1, task=1, state="dropped", words=None))
    give(house, "quan", orders.IncidentEndTask(incident=1, task=1, state="done", words=None))
    give(house, "olga", orders.IncidentClose(incident=1))
    assert state(house) == "CLOSED"


# ---- two persons ---------------------------------------------------------------------------------------------

TAKEN = {"severity": "minor", "false-alarm": "-", "not-serious": "-"}


def taken_from(what: str) -> tuple[House, str]:
    """A case of which something is proposed to be taken, and the proposal."""
    house = opened()
    casework.end_actions(house)
    if what == "not-serious":
        give(house, "quan", orders.IncidentSerious(incident=1, reason="health data"))
    return house, propose(house, "rita", what, TAKEN[what])


@pytest.mark.parametrize("what", sorted(TAKEN))
@pytest.mark.requirement("R24.11")
@pytest.mark.requirement("R24.12")
def test_one_person_lowers_dismisses_and_unmarks_nothing(what: str) -> None:
    house, proposal = taken_from(what)
    before = house.state.incident[1]
    with refused("another person"):
        agree(house, "rita", proposal)
    house.enrol("sara", "approver", key_of="rita")
    house.signers["sara"] = persons.Signer("sara", house.signers["rita"].key)
    with refused("another person"):
        agree(house, "sara", proposal)
    with refused("role approver"):
        agree(house, "olga", proposal)
    with refused("does not stand proposed"):
        agree(house, "piet", "ab" * 32)
    assert house.state.incident[1] == before
    agree(house, "piet", proposal)
    after = house.state.incident[1]
    assert (after.severity, after.state, after.serious) == {
        "severity": ("minor", before.state, None), "false-alarm": ("critical", "FALSE_ALARM", None),
        "not-serious": ("critical", before.state, None),
    }[what]  # fmt: skip
    assert house.bodies(kinds.IncidentChanged)[-1].proposal == proposal


@pytest.mark.parametrize(
    "since",
    [
        lambda house: report(house, agent=AGENT) and give(
            house, "olga", orders.IncidentMerge(incident=2, into=1, reason="the same")
        ),
        lambda house: house.acknowledge("rita") and write(house, "rita", "finding", 3),
    ],
)  # fmt: skip
def test_what_is_learned_since_takes_a_proposal_down(since: Callable[[House], object]) -> None:
    """Attack: a false alarm is proposed while little is known, and agreed to when more is."""
    house, proposal = taken_from("false-alarm")
    since(house)
    with refused("does not stand proposed"):
        agree(house, "piet", proposal)


@pytest.mark.requirement("R24.15")
def test_a_further_signal_takes_a_proposal_down() -> None:
    house = casework.new_rules(LOOKED_AT)
    run = house.run()
    house.ask(run, SMALL)
    proposal = propose(house, "rita", "false-alarm")
    house.ask(run, SMALL)
    with refused("does not stand proposed"):
        agree(house, "piet", proposal)


def test_a_signature_over_how_the_case_stood_is_void_once_it_stands_otherwise() -> None:
    house, proposal = taken_from("false-alarm")
    stale = ready(house, "piet", orders.IncidentAgree(incident=1, proposal=proposal))
    write(house, "rita", "note", text="it was a real customer")
    with refused("something else"):
        house.do(stale)
    assert state(house) == "OPEN"


def test_of_many_who_agree_at_once_one_does_and_nobody_a_second_time() -> None:
    house, proposal = taken_from("severity")
    details = orders.IncidentAgree(incident=1, proposal=proposal)
    jobs = [ready(house, person, details) for person in ("piet", "quan") * 20]
    done = 0
    for job in [*jobs, jobs[0]]:
        try:
            house.do(job)
            done += 1
        except Refused:
            pass
    assert done == 1
    assert len(house.bodies(kinds.IncidentChanged)) == 1


def test_a_leaver_s_proposal_stands_no_more() -> None:
    house, proposal = taken_from("severity")
    house.write(Draft(body=kinds.PersonLeft(person="rita", successor="olga", why="gone"), actor="person:olga"))
    with refused("has left"):
        agree(house, "piet", proposal)


def test_what_failed_to_stop_is_no_false_alarm() -> None:
    house = opened()
    house.stop(house.state.incident[1].waiting[0], "interrupted_unconfirmed")
    with refused("nobody can say that they stopped"):
        propose(house, "rita", "false-alarm")


@pytest.mark.parametrize(
    ("was", "now", "what"),
    [("critical", "minor", "severity"), ("OPEN", "FALSE_ALARM", "state"), ("yes", "no", "serious"),
     ("real", "near-miss", "kind"), ("OPEN", "MERGED", "state"), ("", "", "holder")],
)  # fmt: skip
def test_an_entry_that_takes_from_a_case_alone_does_not_fold(was: str, now: str, what: str) -> None:
    house = opened()
    for proposal in (None, "ab" * 32):
        body = kinds.IncidentChanged(incident=1, what=what, was=was, now=now, why="", proposal=proposal)
        with pytest.raises(Corrupt):
            house.write(Draft(body=body, actor="person:olga", agent=AGENT))


def test_severity_goes_up_by_one_person_and_only_up() -> None:
    house = casework.new_rules(LOOKED_AT)
    house.ask(house.run(), SMALL)
    for severity in ("minor", "minor"):
        with refused("not worse"):
            give(house, "quan", orders.IncidentRaise(incident=1, severity=severity, reason="it is"))
    give(house, "quan", orders.IncidentRaise(incident=1, severity="critical", reason="it is"))
    assert house.state.incident[1].severity == "critical"
    with refused("not worse"):
        give(house, "quan", orders.IncidentRaise(incident=1, severity="major", reason="it is not"))
    with refused("not lower"):
        propose(house, "quan", "severity", "critical")


# ---- nothing swallows a signal -------------------------------------------------------------------------------


@pytest.mark.requirement("R24.10")
def test_a_resolved_case_is_reopened_by_the_next_signal() -> None:
    house = casework.new_rules(LOOKED_AT)
    run = house.run()
    house.ask(run, SMALL)
    house.acknowledge("rita")
    write(house, "rita", "factor", 3)
    give(house, "rita", orders.IncidentResolve(incident=1, reason="it ended"))
    house.clock.skip(HOUR_US)
    house.ask(run, SMALL)
    row = house.state.incident[1]
    assert (row.state, row.signals) == ("REOPENED", 2)
    assert row.reopened_us == house.state.last_at_us
    assert house.state.incidents == 1


@pytest.mark.parametrize("how", ["closed", "false-alarm"])
@pytest.mark.requirement("R24.6")
def test_a_case_that_is_over_swallows_no_signal(how: str) -> None:
    house = casework.new_rules(LOOKED_AT)
    run = house.run()
    house.ask(run, SMALL)
    if how == "closed":
        house.acknowledge("rita")
        write(house, "rita", "factor", 3)
        give(house, "rita", orders.IncidentResolve(incident=1, reason="it ended"))
        agree(house, "piet", propose(house, "rita", "none"))
    else:
        agree(house, "piet", propose(house, "rita", "false-alarm"))
    house.ask(run, SMALL)
    assert house.state.incidents == 2
    assert house.state.incident[1].signals == 1
    assert house.state.agent[AGENT].incident == 2
    house.ask(run, SMALL)
    assert house.state.incident[2].signals == 2


@pytest.mark.requirement("R24.7")
def test_what_an_agent_does_while_it_is_held_for_a_case_that_is_over_is_heard() -> None:
    """Attack: the case is called a false alarm, the agent stays suspended, and what goes round the gate is one more
    record of an agent that is contained already."""
    house, proposal = taken_from("false-alarm")
    agree(house, "piet", proposal)
    effect = casework.unseen()
    for _ in range(2):
        house.write(Draft(body=effect, actor="witness", agent=AGENT))
    assert (house.state.incidents, house.state.incident[2].signals) == (2, 2)
    assert house.state.agent[AGENT].incident == 1  # it is still released by the case that it was suspended for
    assert "HELD" in house.state.incident[2].marks


@pytest.mark.requirement("R24.8")
@pytest.mark.requirement("R23.21")
def test_what_was_merged_hears_in_the_other_case_and_holds_its_own() -> None:
    house = casework.new_rules(LOOKED_AT)
    run = house.run()
    house.ask(run, SMALL)
    into = report(house)
    give(house, "quan", orders.IncidentMerge(incident=1, into=into, reason="the same"))
    house.ask(run, FATAL)
    assert (state(house), house.state.incident[into].signals) == ("MERGED", 2)
    assert house.state.agent[AGENT].authority == "SUSPENDED"
    assert house.state.agent[AGENT].incident == 1
    assert "SUSPENDED" in house.state.incident[1].marks
    with refused("told there"):
        give(house, "olga", orders.IncidentReopen(incident=1, reason="no"))


@pytest.mark.requirement("R24.16")
def test_merging_hides_neither_severity_nor_beginning_nor_mark() -> None:
    house = opened(casework.OBJECTIVES)
    give(house, "quan", orders.IncidentSerious(incident=1, reason="health data"))
    opened_us = house.state.incident[1].opened_us
    house.clock.skip(HOUR_US)
    into = report(house, report="near-miss", severity="minor")
    give(house, "quan", orders.IncidentMerge(incident=1, into=into, reason="the same"))
    row = house.state.incident[into]
    assert (row.severity, row.opened_us) == ("critical", opened_us)
    assert row.serious == house.state.incident[1].serious


def test_what_is_real_makes_the_catch_that_it_is_merged_into_real() -> None:
    house = casework.new_rules()
    real, caught = report(house), report(house, report="near-miss")
    give(house, "quan", orders.IncidentMerge(incident=real, into=caught, reason="the same"))
    assert house.state.incident[caught].kind == "real"


def test_what_a_merged_case_left_open_keeps_the_other_one_open() -> None:
    house = opened()
    into = report(house)
    give(house, "quan", orders.IncidentMerge(incident=1, into=into, reason="the same"))
    assert any("actions of incident 1" in left for left in left_open(house.state, into))


def test_nothing_is_merged_into_itself_a_circle_what_is_over_or_a_drill() -> None:
    house = opened()
    into, drill = report(house), report(house, report="drill")
    with refused("itself"):
        give(house, "quan", orders.IncidentMerge(incident=1, into=1, reason="the same"))
    with refused("never the same"):
        give(house, "quan", orders.IncidentMerge(incident=1, into=drill, reason="the same"))
    give(house, "quan", orders.IncidentMerge(incident=1, into=into, reason="the same"))
    with refused("merged into"):
        give(house, "quan", orders.IncidentMerge(incident=into, into=1, reason="the same"))
    for body in (
        kinds.IncidentMerged(incident=into, into=1, person="quan", why=""),
        kinds.IncidentMerged(incident=into, into=into, person="quan", why=""),
    ):
        with pytest.raises(Corrupt):
            house.write(Draft(body=body, actor="person:quan"))


# ---- kinds ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("amounts", "kind"),
    [((FATAL,), "near-miss"), ((BIG, BIG, BIG), "near-miss"), ((ASK, FATAL), "near-miss")],
)
def test_what_the_gate_held_is_a_near_miss(amounts: tuple[str, ...], kind: str) -> None:
    house = casework.new_rules()
    run = house.run()
    for amount in amounts:
        house.ask(run, amount)
    assert house.state.incident[1].kind == kind


@pytest.mark.requirement("R26.7")
def test_a_limit_that_counts_what_ran_opens_no_near_miss() -> None:
    rules = RULES + "response:\n  - {signal: denied(per-hour), do: [suspend]}\n"
    house = casework.new_rules(rules)
    run = house.run()
    for _ in range(6):
        house.settle(house.ask(run).entry)
    house.ask(run)
    assert house.state.incident[1].kind == "real"


def test_what_was_only_recorded_and_ran_makes_the_denial_after_it_no_near_miss() -> None:
    house = casework.new_rules()
    run = house.run()
    for _ in range(2):
        house.settle(house.ask(run, order="o-1").entry)
    house.ask(run, FATAL)
    assert house.state.incident[1].kind == "real"


@pytest.mark.parametrize("harm", ["bypass", "unconfirmed"])
@pytest.mark.requirement("R26.6")
def test_a_near_miss_in_which_something_had_an_effect_is_real_from_then_on(harm: str) -> None:
    house = opened()
    assert house.state.incident[1].kind == "near-miss"
    if harm == "bypass":
        effect = casework.unseen()
        house.write(Draft(body=effect, actor="witness", agent=AGENT))
    else:
        house.stop(house.state.incident[1].waiting[0], "interrupted_unconfirmed")
    assert house.state.incident[1].kind == "real"
    assert house.bodies(kinds.IncidentChanged)[-1].what == "kind"


# ---- reports -------------------------------------------------------------------------------------------------


def test_a_report_of_what_was_learned_outside_opens_a_case_that_says_since_when_it_is_known() -> None:
    house = casework.new_rules()
    aware = format_at(house.state.last_at_us - 3 * HOUR_US)
    number = report(house, report="external", aware=aware, first=3, last=5, words=None)
    row = house.state.incident[number]
    assert (row.kind, row.agent, row.onset_first, row.onset_last) == ("external", "", 3, 5)
    assert row.aware_us == house.state.last_at_us - 3 * HOUR_US
    assert [(hold.agent, hold.incident) for hold in house.state.hold.values()] == [("", number)]
    assert [page.person for page in house.state.page.values()] == ["olga"]  # who runs the house


@pytest.mark.parametrize(("severity", "authority"), [("major", "RESTRICTED"), ("critical", "SUSPENDED")])
def test_a_word_alone_suspends_nobody_below_critical(severity: str, authority: str) -> None:
    house = casework.new_rules()
    number = report(house, agent=AGENT, severity=severity)
    assert house.agent().authority == authority
    assert house.agent().incident == number


@pytest.mark.requirement("R24.9")
def test_a_reported_drill_contains_nobody_and_hides_nothing_real() -> None:
    """Attack: a drill is reported on an agent, and what it does from then on is told as rehearsed."""
    house = casework.new_rules()
    drill = report(house, agent=AGENT, report="drill", severity="critical")
    assert house.agent().authority == "ACTIVE"
    house.ask(house.run(), FATAL)
    assert house.agent().authority == "SUSPENDED"
    assert (house.state.incident[drill].signals, house.agent().incident) == (1, drill + 1)


def test_a_report_about_an_agent_that_is_held_leaves_its_release_where_it_was() -> None:
    house = opened()
    number = report(house, agent=AGENT, severity="critical")
    assert (number, house.agent().incident) == (2, 1)
    assert house.state.incident[1].signals == 1


@pytest.mark.parametrize(
    ("more", "match"),
    [({"first": 10**6}, "no entry"), ({"first": 5, "last": 3}, "before the first"), ({"last": 3}, "before the first"),
     ({"aware": "2199-01-01T00:00:00.000000Z"}, "later than now"), ({"agent": "nobody-bot"}, "no agent")],
)  # fmt: skip
def test_a_report_says_nothing_that_cannot_be(more: dict[str, object], match: str) -> None:
    house = casework.new_rules()
    with refused(match):
        report(house, **more)  # type: ignore[arg-type]


# ---- who has it ----------------------------------------------------------------------------------------------


def test_a_case_is_handed_over_once_the_other_takes_it_and_not_before() -> None:
    house = opened()
    house.acknowledge("rita")
    hand = orders.IncidentHand(incident=1, to="quan", words=None)
    with refused("rita has it"):
        give(house, "piet", hand)
    give(house, "rita", hand)
    row = house.state.incident[1]
    assert (row.holder, row.offered) == ("rita", "quan")
    asked = house.bodies(kinds.PageQueued3)[-1]
    assert (asked.person, asked.about, asked.incident) == ("quan", "offer", 1)
    house.acknowledge("quan")
    row = house.state.incident[1]
    assert (row.holder, row.offered) == ("quan", None)


def test_a_task_is_told_to_whom_it_is_given() -> None:
    house = opened()
    due = format_at(house.state.last_at_us + HOUR_US)
    give(house, "rita", orders.IncidentGiveTask(incident=1, person="quan", due=due, words=words("call")), "call")
    asked = house.bodies(kinds.PageQueued3)[-1]
    assert (asked.person, asked.about) == ("quan", "task")
    past = format_at(house.state.last_at_us - HOUR_US)
    with refused("later than now"):
        give(house, "rita", orders.IncidentGiveTask(incident=1, person="quan", due=past, words=words("x")), "x")
    with pytest.raises(NotFound):
        give(house, "rita", orders.IncidentGiveTask(incident=1, person="nobody", due=None, words=words("x")), "x")


@pytest.mark.parametrize(
    "details",
    [
        orders.IncidentNote(incident=1, sort="note", words=words("x"), cites=()),
        orders.IncidentRaise(incident=1, severity="critical", reason="x"),
        orders.IncidentSerious(incident=1, reason="x"),
        orders.IncidentHand(incident=1, to="quan", words=None),
        orders.IncidentResolve(incident=1, reason="x"),
        orders.IncidentPropose(incident=1, what="severity", value="minor", reason="x"),
    ],
)
def test_what_is_over_is_reopened_before_anything_is_done_about_it(details: orders.Details) -> None:
    house, proposal = taken_from("false-alarm")
    agree(house, "piet", proposal)
    with refused("reopen 1|false alarm"):
        give(house, "olga", details, "x" if isinstance(details, orders.IncidentNote) else None)
    give(house, "olga", orders.IncidentReopen(incident=1, reason="it was not"))
    assert state(house) == "REOPENED"
    house.acknowledge("rita")
    assert state(house) == "TRIAGED"


def test_no_case_of_that_number_is_said_to_every_order() -> None:
    house = opened()
    for details in (
        orders.IncidentReopen(incident=9, reason="x"), orders.IncidentRaise(incident=9, severity="minor", reason="x"),
        orders.IncidentSerious(incident=9, reason="x"),
    ):  # fmt: skip
        with pytest.raises(NotFound):
            give(house, "olga", details)
    with pytest.raises(NotFound):
        house.sign("olga", "incident.close", orders.IncidentClose(incident=9))
