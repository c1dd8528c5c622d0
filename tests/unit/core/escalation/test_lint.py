"""What would go wrong tonight is said before tonight: each kind of it is planted, and a sound house has none."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from failwell.core import contract as contracts
from failwell.core import kinds, rows
from failwell.core.escalation.faults import Fault
from failwell.core.escalation.lint import lint, proposed, still
from failwell.core.records import Draft
from tests.unit.gate.house import AGENT, DAY_US, House, contract_text
from tests.unit.response.asking import configure, house_of, path, step

#: The house opens on 18 November 2026, 11:06 UTC, a Wednesday; olga and sara operate, piet, quan and rita approve.
ALWAYS = {"members": ["piet", "quan"]}
SOUND = (step("owner", ack_within_s=300), step("team:payments", ack_within_s=600), step("role:operator"))


def settings(*steps: dict[str, Any], turns: Any = (ALWAYS,), **more: Any) -> dict[str, Any]:
    return {
        **path(*(steps or SOUND)), "mail": {"host": "localhost"},
        "teams": [["payments", {"turns": list(turns)}]], **more,
    }  # fmt: skip


def sound(given: Any = None) -> House:
    """A house in which everybody was reached at their address."""
    house = house_of(settings() if given is None else given)
    for person in ("olga", "piet", "quan", "rita", "sara"):
        row = house.state.person[person]
        house.state.person[person] = msgspec.structs.replace(row, verified="ab" * 32, vouched_by=None, left=None)
    return house


def faults(house: House, days: int = 31) -> list[Fault]:
    return list(lint(house.state, house.state.last_at_us, days))


def codes(house: House) -> list[str]:
    return sorted({each.code for each in faults(house)})


def test_a_sound_house_has_nothing_to_mend() -> None:
    assert faults(sound()) == []


@pytest.mark.parametrize(
    ("given", "found", "says"),
    [
        (settings(step("team:paymemts"), *SOUND), "unknown-team", "There is no team paymemts"),
        (settings(step("person:zoe"), *SOUND), "unknown-person", "zoe is not enrolled"),
        (settings(step("owner", by=["pager"]), *SOUND), "unknown-channel", "There is no channel pager"),
        (settings(step("role:reviewer"), *SOUND), "nobody", "role:reviewer is nobody who is here"),
        (settings(step("team:payments", require="3"), *SOUND), "too-few", "3 have to take it, and 2 can"),
        (settings(step("owner"), step("owner")), "owner-only", "owner is the only one"),
        (settings(step("owner"), step("owner", severity="major"), *SOUND[1:]), "unreachable-step", "nobody new"),
        (settings(step("role:operator", last_resort=True), step("owner")), "unreachable-step", "never reached"),
        (settings(turns=[{"members": ["piet", "zoe"]}]), "unknown-person", "zoe is not enrolled"),
        (settings(mail=None), "no-mail", "Nothing can be mailed"),
        (
            settings(turns=[{**ALWAYS, "hours": "Mon-Fri 08:00-18:00"}]), "rotation-gap",
            "for 21 d 13 h (23 times) of the days ahead, first from 2026-11-18 18:00 UTC until 2026-11-19 08:00 UTC.",
        ),
        (
            settings(turns=[{**ALWAYS, "hours": "Sat,Sun 00:00-24:00"}]), "nobody-on-call",
            "Nobody of payments is on call now, until 2026-11-21 00:00 UTC.",
        ),
        (
            settings(turns=[{**ALWAYS, "every": "1w", "since": "2027-01-04T09:00"}]), "nobody-on-call",
            "Nobody of payments is on call, now or in the days ahead.",
        ),
        (
            settings(step("role:operator", hours="08:00-18:00")), "only-last-resort",
            "Only the last resort is asked for 18 d 2 h (31 times) of the days ahead",
        ),
        (
            {**settings(), "objectives": {"major": {"acknowledge_s": 1500}}}, "over-objective",
            "What is major is to be taken within 25 min, and the last resort is asked after 30 min.",
        ),
    ],
)  # fmt: skip
def test_each_way_in_which_nobody_would_come_is_found(given: dict[str, Any], found: str, says: str) -> None:
    told = [each for each in faults(sound(given)) if each.code == found]
    assert any(says in each.problem for each in told), [each.problem for each in faults(sound(given))]
    assert all(each.place and each.reason and each.mend for each in told)


@pytest.mark.requirement("R12.9")
def test_hours_of_a_step_that_are_the_teams_own_are_no_gap() -> None:
    hours = "Mon-Fri 08:00-18:00"
    house = sound(settings(SOUND[0], step("team:payments", hours=hours), SOUND[2], turns=[{**ALWAYS, "hours": hours}]))
    assert codes(house) == []


@pytest.mark.requirement("R12.8")
def test_quiet_hours_count_for_what_waits_for_their_end() -> None:
    within = {"acknowledge_s": 7200}
    given = {**settings(), "objectives": {"minor": within, "major": within}}
    given["escalation"] = {**given["escalation"], "quiet": "22:00-07:00"}
    (fault,) = faults(sound(given))
    assert fault.code == "over-objective"
    assert "What is minor is to be taken within 2 h, and the last resort is asked after 9 h 30 min" in fault.problem


def test_one_person_who_is_everybody_is_found() -> None:
    """Attack: four steps, three roles and a team, and all of them are olga."""
    house = sound(settings(step("owner"), step("role:operator"), step("person:olga"), turns=[{"members": ["olga"]}]))
    for person in ("sara", "piet", "quan", "rita"):
        row = house.state.person[person]
        house.state.person[person] = msgspec.structs.replace(row, roles=())
    same = [each for each in faults(house) if each.code == "same-person"]
    assert [each.problem for each in same] == [
        "olga is the only person who is ever asked about refund-bot, last resort included.",
        "olga is the only person who is ever asked, last resort included.",
    ]


def test_who_has_left_is_found_in_turns_and_paths_with_who_follows_them() -> None:
    house = sound(settings(step("person:piet"), *SOUND))
    house.write(Draft(body=kinds.PersonLeft(person="piet", why="gone", successor="quan"), actor="person:olga"))
    told = {(each.place, each.problem, each.reason) for each in faults(house)}
    assert ("[teams.payments]", "piet has left.", "quan has their turns too.") in told
    assert ("the house, step 1", "piet has left.", "quan is asked instead.") in told


def test_who_was_never_shown_to_be_reached_or_not_for_long_is_found() -> None:
    house = sound(settings(channels=[["pager", {"kind": "webhook"}]]))
    state, now = house.state, house.state.last_at_us
    assert codes(house) == []  # email of all of them: the code came back
    house = sound(
        settings(SOUND[0], step("team:payments", by=["pager"]), SOUND[2], channels=[["pager", {"kind": "x"}]])
    )
    state = house.state
    unproven = [each.problem for each in faults(house)]
    assert unproven == ["pager was never shown to reach piet.", "pager was never shown to reach quan."]
    state.channel["pager piet"] = rows.Channel(proven=9, proven_us=now - 31 * DAY_US)
    state.channel["pager quan"] = rows.Channel(proven=9, proven_us=now - DAY_US)
    (stale,) = faults(house)
    assert (stale.code, stale.problem) == ("stale-proof", "That pager reaches piet was last shown 31 d ago.")
    assert stale.mend == "failwell escalation prove pager --person piet"


@pytest.mark.requirement("R12.7")
def test_an_address_that_somebody_only_vouched_for_is_not_shown_to_be_reached() -> None:
    house = sound()
    row = house.state.person["sara"]
    house.state.person["sara"] = msgspec.structs.replace(row, vouched_by="olga")
    assert [(each.code, each.problem) for each in faults(house)] == [
        ("unproven-channel", "email was never shown to reach sara.")
    ]
    house.state.person["sara"] = row
    house.state.channel["email sara"] = rows.Channel(asked=9, token="x", due_us=1)  # asked, and nothing came back
    assert codes(house) == ["unproven-channel"]


def test_a_zone_that_the_record_does_not_tell_is_found() -> None:
    given = settings()
    given["teams"] = [["payments", {"timezone": "Europe/Berlin", "turns": [ALWAYS]}]]
    assert codes(sound(given)) == ["unknown-zone"]


def test_a_contract_is_looked_at_before_it_is_adopted() -> None:
    house = sound()
    now = house.state.last_at_us
    asks = contracts.load(contract_text('\nescalation:\n  - {notify: "team:paymemts"}\n'), name="x")
    found = lint(still(house.state), now, instead={AGENT: asks})
    assert {(each.code, each.place) for each in found} >= {("unknown-team", "refund-bot v1, step 1")}
    assert lint(house.state, now) == ()
    new = contracts.load(contract_text('\nescalation:\n  - {notify: "team:paymemts"}\n', agent="mail-bot"), name="x")
    found = lint(still(house.state), now, instead={"mail-bot": new})  # nobody has registered it yet
    assert [(each.code, each.place) for each in found] == [("unknown-team", "mail-bot v1, step 1")]


@pytest.mark.requirement("R12.10")
def test_settings_are_looked_at_before_they_are_in_force_and_change_nothing() -> None:
    house = sound()
    before = house.state.workspace[1]
    other = proposed(house.state, rows.Escalating(path=before.escalation.path), (), mail=True, zones=())  # type: ignore[union-attr]
    assert [each.code for each in lint(other, house.state.last_at_us)] == ["unknown-team"]
    assert house.state.workspace[1] is before


def test_a_house_that_declares_nothing_is_told_what_the_default_path_lacks() -> None:
    house = sound({"mail": {"host": "localhost"}})
    assert codes(house) == []
    configure(house, {})
    assert codes(house) == ["no-mail"]
