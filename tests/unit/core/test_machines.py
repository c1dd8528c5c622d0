"""The machines: every step that the tables do not name is refused, and no state is out of reach."""

from __future__ import annotations

import itertools

import pytest

from failwell.core.errors import Refused
from failwell.core.machines import (
    AUTHORITY,
    INCIDENT,
    MARKS,
    NEEDED_FOR_RELEASE,
    RESTRICTING,
    SEVERITIES,
    TICKET,
    missing_for_release,
    step,
    worse,
)

MACHINES = {"authority": (AUTHORITY, "REGISTERED"), "incident": (INCIDENT, "OPEN"), "ticket": (TICKET, "open")}
#: Steps that give authority back; each takes people.
PERMITTING = {(was, now) for was, steps in AUTHORITY.items() for now in steps - RESTRICTING}


@pytest.mark.parametrize("name", MACHINES)
def test_every_step_that_is_not_in_the_table_is_refused(name: str) -> None:
    machine, _ = MACHINES[name]
    for was, now in itertools.product([*machine, "NOWHERE", ""], repeat=2):
        if now in machine.get(was, ()):
            assert step(machine, was, now) == now
        else:
            with pytest.raises(Refused) as refused:
                step(machine, was, now)
            assert refused.value.code == "illegal-step"


@pytest.mark.parametrize("name", MACHINES)
def test_every_state_can_be_reached_and_every_step_leads_to_a_state(name: str) -> None:
    machine, start = MACHINES[name]
    reached, new = set(), {start}
    while new:
        reached |= new
        new = {now for was in new for now in machine[was]} - reached
    assert reached == set(machine)


def test_what_restricts_is_one_step_away_from_wherever_an_agent_can_act() -> None:
    for was in ("REGISTERED", "OBSERVED", "ACTIVE", "RESTRICTED", "PROBATION"):
        assert {"SUSPENDED", "RETIRED"} <= AUTHORITY[was]


def test_a_suspended_agent_comes_back_only_by_probation_and_a_retired_one_never() -> None:
    assert AUTHORITY["SUSPENDED"] - RESTRICTING == {"PROBATION"}
    assert not AUTHORITY["RETIRED"]
    assert {was for was, now in PERMITTING if now == "PROBATION"} == {"SUSPENDED"}


def test_no_state_of_a_machine_leads_to_itself() -> None:
    for machine, _ in MACHINES.values():
        assert all(was not in steps for was, steps in machine.items())


def test_the_worse_of_two_severities() -> None:
    for a, b in itertools.product(SEVERITIES, repeat=2):
        assert worse(a, b) == worse(b, a) == SEVERITIES[max(SEVERITIES.index(a), SEVERITIES.index(b))]
    with pytest.raises(ValueError, match="not in tuple"):
        worse("minor", "harmless")


def test_release_lacks_every_mark_that_is_missing_and_no_other() -> None:
    whole = dict.fromkeys((*NEEDED_FOR_RELEASE, "STOPPED"), 1)
    assert missing_for_release(whole) == ()
    for mark in whole:
        rest = {name: seq for name, seq in whole.items() if name != mark}
        assert missing_for_release(rest) == (mark,)
    assert set(missing_for_release({})) == set(whole)


def test_a_containment_that_failed_on_record_can_be_released_from_an_unended_one_not() -> None:
    done = dict.fromkeys(NEEDED_FOR_RELEASE, 1)
    assert missing_for_release(done) == ("STOPPED",)
    assert missing_for_release({**done, "CONTAINMENT_FAILED": 9}) == ()
    assert set(NEEDED_FOR_RELEASE) < set(MARKS)
