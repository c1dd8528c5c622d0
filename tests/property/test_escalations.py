"""Incidents that people are told of, lived through by the dozen; by the thousand in `make campaign`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from failwell.core import kinds
from failwell.core.escalation import calendars, due, stepping, taking, targets
from failwell.node import outbox
from failwell.response import escalating
from tests import escalated
from tests.property.escalations import SEED, lived
from tests.property.escalations import World as Life


def test_whatever_dies_or_fails_somebody_is_asked_until_one_has_taken_it() -> None:
    seen: Counter[str] = Counter()
    for number in range(8):
        try:
            world = lived(SEED, number, hours=20)
        except AssertionError as wrong:
            raise AssertionError(f"seed {SEED}, life {number}: {wrong}") from wrong
        seen += world.counts
    assert seen["sent"] > 100
    assert sum(count for what, count in seen.items() if what.startswith("died ")) >= 30
    assert seen["taken by link"] > 5
    assert seen["taken by order"] > 5
    assert all(seen[kind] for kind in ("incident.note", "incident.reopen", "team.cover", "left"))


# ---- what the harness must find ------------------------------------------------------------------------------


def _steps_are_skipped(patch: pytest.MonkeyPatch) -> None:
    honest = due.next_step

    def skips(state: Any, row: Any, *given: Any) -> Any:
        found = honest(state, row, *given)
        if found.step + 1 < len(row.path):
            return found._replace(step=found.step + 1, passed=(*found.passed, found.step)) if row.step else found
        return found

    patch.setattr(due, "next_step", skips)


def _the_clock_is_late(patch: pytest.MonkeyPatch) -> None:
    honest = due.next_due

    def later(state: Any, number: int, row: Any) -> Any:
        found = honest(state, number, row)
        return None if found is None else found._replace(at_us=found.at_us + 60_000_000)

    patch.setattr(due, "next_due", later)


def _silence_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    honest = due._lapse
    patch.setattr(due, "_lapse", lambda *given: honest(*given)._replace(at_us=2**52))


def _whoever_took_it_is_another(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(taking, "satisfied", lambda state, row: ("nobody-at-all",) if row.acknowledged else ())


def _a_page_has_a_new_key_each_time(patch: pytest.MonkeyPatch) -> None:
    tries: Counter[int] = Counter()

    def key_of(origin: str, page: int) -> str:
        tries[page] += 1
        return f"page-{page}-{tries[page]}"

    patch.setattr(outbox, "key_of", key_of)


def _the_last_resort_is_nobodys(patch: pytest.MonkeyPatch) -> None:
    honest = escalating.step_due

    def stops(turn: Any) -> Any:
        plan = honest(turn)
        kept = tuple(
            draft
            for draft in plan.drafts
            if not (
                isinstance(draft.body, kinds.EscalationStepped)
                and draft.body.step == len(turn.state.escalation[draft.body.incident].path)
            )
        )
        return plan._replace(drafts=kept)

    patch.setattr(escalating, "step_due", stops)


def _some_are_not_told(patch: pytest.MonkeyPatch) -> None:
    honest = stepping._pages
    patch.setattr(stepping, "_pages", lambda row, body: list(honest(row, body))[:-1])


def _covers_are_ignored(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(targets, "on_call", lambda state, team, at_us: calendars.members(state, team))


def _one_is_as_good_as_all(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(taking, "satisfied", lambda state, row: row.acknowledged)


def _what_is_over_is_asked_on(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(taking, "_OVER_STATES", frozenset())


def _what_was_reopened_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    honest = taking._after_state

    def forgets(state: Any, entry: Any, number: int) -> Any:
        return () if state.incident[number].state == "REOPENED" else honest(state, entry, number)

    patch.setattr(taking, "_after_state", forgets)


@pytest.mark.parametrize(
    "fault",
    [
        _steps_are_skipped, _the_clock_is_late, _silence_is_forgotten, _whoever_took_it_is_another,
        _a_page_has_a_new_key_each_time, _the_last_resort_is_nobodys, _some_are_not_told,
        _covers_are_ignored, _one_is_as_good_as_all, _what_is_over_is_asked_on, _what_was_reopened_is_forgotten,
    ],
)  # fmt: skip
def test_the_harness_finds_a_seeded_fault(
    fault: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    fault(monkeypatch)
    assert any(_is_wrong(number, hours) for hours in (8, 20) for number in range(8))


def _is_wrong(number: int, hours: int) -> bool:
    world = Life(SEED, number)
    try:
        world.live(hours)
        return bool(world.judged())
    except Exception:  # noqa: BLE001  a fault that the product itself stumbles over is found too
        return True
    finally:
        world.house.close()


# ---- what the judge must find, in histories made by hand -----------------------------------------------------

MINUTE = 60_000_000
PATH: list[dict[str, Any]] = [
    {"notify": "owner", "by": ["email"], "within_us": 5 * MINUTE, "rounds": 1, "require": "any", "last_resort": False},
    {"notify": "role:x", "by": ["email"], "within_us": 5 * MINUTE, "rounds": 2, "require": "all", "last_resort": False},
    {"notify": "house", "by": ["email"], "within_us": 30 * MINUTE, "rounds": 1, "require": "any", "last_resort": True},
]
ALL = [{**PATH[0], "require": "all"}, *PATH[1:]]
TEAM = [{**PATH[0], "notify": "team:night"}, *PATH[1:]]


def at(minute: int) -> str:
    return f"2026-11-24T{minute // 60:02}:{minute % 60:02}:00.000000Z"


def history(*happened: tuple[int, str, dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {"seq": number, "at": at(minute), "kind": kind, "actor": body.pop("actor", "node"), "v": 1,
         "body": {"incident": 1, "cycle": 1, **body}}
        for number, (minute, kind, body) in enumerate(happened)
    ]  # fmt: skip


def started(minute: int = 0, **more: Any) -> tuple[int, str, dict[str, Any]]:
    return minute, "escalation.started", {"path": PATH, "total_us": 15 * MINUTE, "why": "opened", **more}


def stepped(minute: int, step: int, round_: int = 1, *who: str, **more: Any) -> list[tuple[int, str, dict[str, Any]]]:
    persons = list(who) or ["anna"]
    within = PATH[step - 1]["within_us"]
    body = {
        "step": step, "round": round_, "persons": persons, "by": ["email"], "passed": [],
        "due_us": escalated.us_of(at(minute)) + within, "why": "nobody in time" if step > 1 else "first", **more,
    }  # fmt: skip
    pages = [
        (minute, "page.queued", {"page": minute * 10 + n, "person": person, "channel": "email", "step": step,
                                 "round": round_, "about": "step", "cycle": more.get("cycle", 1)})
        for n, person in enumerate(persons)
    ]  # fmt: skip
    return [(minute, "escalation.stepped", body), *pages]


def judged(*happened: Any, now: int = 4, lasts: int = 60, progress: int = 30) -> tuple[str, ...]:
    flat = [each for item in happened for each in (item if isinstance(item, list) else [item])]
    terms = escalated.Terms(lasts * MINUTE, progress * MINUTE)
    return escalated.judge(history(*flat), (), [], terms, escalated.us_of(at(now)))


def took(minute: int, person: str = "anna") -> tuple[int, str, dict[str, Any]]:
    return minute, "acknowledged", {"person": person}


def ended(minute: int, *persons: str, outcome: str = "taken") -> tuple[int, str, dict[str, Any]]:
    return minute, "escalation.ended", {"outcome": outcome, "persons": list(persons)}


def became(minute: int, state: str) -> tuple[int, str, dict[str, Any]]:
    return minute, "incident.changed", {"what": "state", "was": "", "now": state}


def cover(minute: int) -> tuple[int, str, dict[str, Any]]:
    """Bert covers anna's turn."""
    since_us = escalated.us_of(at(minute))
    more = {"since_us": since_us, "until_us": since_us + 60 * MINUTE}
    return minute, "team.covered", {"team": "night", "person": "bert", "instead_of": "anna", **more}


def test_an_honest_history_is_judged_to_be_one() -> None:
    assert judged(started(), stepped(0, 1)) == ()
    whole = [started(), stepped(0, 1), stepped(5, 2), stepped(10, 2, 2), stepped(15, 3)]
    assert judged(*whole, now=40) == ()
    assert judged(started(), stepped(0, 1), took(2), ended(2, "anna"), now=30) == ()
    assert judged(started(path=TEAM), cover(0), stepped(0, 1, 1, "bert")) == ()
    both = [started(path=ALL), stepped(0, 1, 1, "anna", "bert"), took(2), took(3, "bert"), ended(3, "anna", "bert")]
    assert judged(*both) == ()
    over = [started(), stepped(0, 1), became(1, "FALSE_ALARM"), ended(1, outcome="over"), became(2, "REOPENED")]
    assert judged(*over, started(2, cycle=2, why="reopened"), stepped(2, 1, cycle=2)) == ()


@pytest.mark.parametrize(
    "happened",
    [
        [started()],
        [started(), stepped(0, 2)],
        [started(), stepped(0, 1), stepped(5, 3)],
        [started(), stepped(0, 1), stepped(5, 2), stepped(10, 3)],
        [started(), stepped(0, 1), stepped(3, 2)],
        [started(), stepped(0, 1), stepped(8, 2)],
        [started(), stepped(0, 1), stepped(5, 2), stepped(10, 2, 3)],
        [started(), stepped(0, 1)[:1]],
        [started(), stepped(0, 1), stepped(0, 1)[1:]],
        [started(), stepped(0, 1, 1, "")],
        [started(), stepped(0, 1), ended(2, "anna")],
        [started(), stepped(0, 1), took(2), ended(2, "bert")],
        [started(), stepped(0, 1), took(2), ended(2, "anna"), ended(3, "anna")],
        [started(), started()],
        [started(), stepped(0, 1), started(1, cycle=2, why="expired")],
        [started(total_us=1), stepped(0, 1)],
        [started(path=PATH[:2]), stepped(0, 1)],
        [started(cycle=2), stepped(0, 1, cycle=2)],
        [started(path=ALL), stepped(0, 1, 1, "anna", "bert"), took(2), ended(2, "anna")],
        [started(), stepped(0, 1), took(2), stepped(5, 2)],
        [started(), stepped(0, 1), took(2)],
        [started(), stepped(0, 1), ended(2, outcome="over")],
        [started(), stepped(0, 1), became(2, "FALSE_ALARM")],
        [started(), stepped(0, 1), became(2, "RESOLVED"), ended(2, outcome="over"), became(3, "REOPENED")],
        [started(path=TEAM), cover(0), stepped(0, 1)],
        [started(path=TEAM), cover(0), stepped(0, 1, 1, "anna", "bert")],
    ],
    ids=[
        "nobody asked", "begins at the second", "skipped, unsaid", "rounds cut short", "early", "late", "round skipped",
        "no page", "a second page", "nobody named", "taken by nobody", "taken by another", "ended twice", "begun twice",
        "asked anew untaken", "another total", "no last resort", "no first cycle", "one of all",
        "asked though taken", "taken, and it is not said", "over though open", "asked though over",
        "reopened in silence", "who covers is not asked", "whose turn is covered is asked",
    ],
)  # fmt: skip
def test_a_history_that_is_wrong_is_found(happened: list[Any]) -> None:
    if happened[-1] == stepped(0, 1, 1, ""):
        happened[-1][0][2]["persons"] = []
    assert judged(*happened, now=4 if len(happened) < 3 else 9) != ()


def test_what_was_due_and_never_came_is_found_at_the_end() -> None:
    assert judged(started(), stepped(0, 1), now=7) != ()
    assert judged(started(), stepped(0, 1), took(2), ended(2, "anna"), now=34) != ()
    assert judged(started(), stepped(0, 1), stepped(5, 2), stepped(10, 2, 2), now=60) != ()


def test_a_page_with_two_keys_and_two_pages_with_one_are_found() -> None:
    entries = history(started(), *stepped(0, 1))
    terms, now_us = escalated.Terms(MINUTE, MINUTE), escalated.us_of(at(4))
    assert escalated.judge(entries, [("a", 0), ("a", 0)], [], terms, now_us) == ()
    for delivered in ([("a", 0), ("b", 0)], [("a", 0), ("a", 1)], [("a", 99)]):
        assert escalated.judge(history(started(), *stepped(0, 1)), delivered, [], terms, now_us) != ()
