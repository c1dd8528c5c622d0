"""A few of the drawn incidents, and that the harness finds what it is there to find (`make campaign` lives 1,000)."""

from __future__ import annotations

import contextlib
import functools
from collections import Counter
from typing import Any

import pytest

from failwell.core import kinds, stops
from failwell.core.incidents import conditions, containing, endings, opening
from failwell.node import recovery
from failwell.node.outbox import Outbox
from failwell.ports.notifier import Mail
from tests import invariants
from tests.property.incidents import lived

SEED = 20261124


def test_whatever_dies_on_the_way_a_case_goes_its_steps_and_nothing_is_skipped_or_done_by_one() -> None:
    seen: Counter[str] = Counter()
    for number in range(14):
        try:
            seen += lived(SEED, number).counts
        except AssertionError as wrong:
            raise AssertionError(f"seed {SEED}, life {number}: {wrong}") from wrong
    assert seen["incidents"] >= 20
    assert sum(count for what, count in seen.items() if what.startswith("died ")) >= 10


def _without(kind: type) -> Any:
    """Whatever a case sets in motion, entries of `kind` are not among it. The verifier goes by the same rules."""

    def fault(patch: pytest.MonkeyPatch) -> None:
        honest = containing.contain

        def contain(*given: Any, **more: Any) -> Any:
            return tuple(draft for draft in honest(*given, **more) if not isinstance(draft.body, kind))

        patch.setattr(opening, "contain", contain)

    return fault


def _a_page_goes_out_under_a_name_of_its_own_each_time(patch: pytest.MonkeyPatch) -> None:
    def send(self: Outbox, due: Any, letter: Any, answer: Any = None) -> str:
        assert self.notifier is not None
        name = f"<page-{due.number}-{due.page.attempts}@failwell.invalid>"
        mail = Mail(to=str(due.address), subject="", text="", message_id=name)
        return self.notifier.send(mail).detail

    patch.setattr(Outbox, "_send", send)


def _one_person_gives_back_alone(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(conditions, "_second", lambda *given: None)


def _nobody_looks_at_what_was_ordered_while_a_dead_nodes_ends_are_written(patch: pytest.MonkeyPatch) -> None:
    honest: Any = recovery._ending

    def ending(end: Any, method: str) -> Any:
        plain = honest(end, method)

        def job(turn: Any) -> Any:
            with pytest.MonkeyPatch.context() as blind:
                blind.setattr(recovery, "_ordered", lambda turn: frozenset())
                return plain(turn)

        return job

    patch.setattr(recovery, "_ending", ending)


def _nobody_waits_for_an_action_that_is_stopped_alone(patch: pytest.MonkeyPatch) -> None:
    def awaits(state: Any, action: int) -> bool:
        return any(action in row.waiting for row in state.stop.values())

    patch.setattr(stops, "awaits", awaits)


def _a_closed_case_hears_of_a_signal(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(endings, "hears", lambda state, agent: state.agent[agent].incident)


@pytest.mark.parametrize(
    ("fault", "first"),
    [
        (_without(kinds.HoldPlaced), 0), (_without(kinds.EscalationStarted), 0), (_without(kinds.InterruptOrdered), 0),
        (_a_page_goes_out_under_a_name_of_its_own_each_time, 10), (_one_person_gives_back_alone, 0),
        (_nobody_waits_for_an_action_that_is_stopped_alone, 0),
        (_nobody_looks_at_what_was_ordered_while_a_dead_nodes_ends_are_written, 0),
        (_a_closed_case_hears_of_a_signal, 39),
    ],
    ids=[
        "no hold", "no page", "no order to stop", "a mail under another name", "one alone gives back",
        "stopped alone", "ordered while it is written", "a closed case hears",
    ],
)  # fmt: skip
def test_the_harness_finds_a_seeded_fault(fault: Any, first: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """`first`: where to look; what takes a hundred lives to come about would take the tests half a minute."""
    fault(monkeypatch)
    assert any(_is_wrong(number) for number in range(first, first + 40))


def _is_wrong(number: int) -> bool:
    try:
        lived(SEED, number)
    except Exception:  # noqa: BLE001  whatever it is that tells
        return True
    return False


# ---- the checker is no rubber stamp ------------------------------------------------------------------------------


def _told_of(kind: str, **changes: Any) -> Any:
    """An entry of this kind says something else."""

    def forge(entries: list[Any]) -> list[Any]:
        place = max(number for number, entry in enumerate(entries) if entry["kind"] == kind)
        forged = {**entries[place], "body": {**entries[place]["body"], **changes}}
        return [*entries[:place], forged, *entries[place + 1 :]]

    return forge


def _left_out(kind: str) -> Any:
    return lambda entries: [entry for entry in entries if entry["kind"] != kind]


def _twice(kind: str) -> Any:
    """The last entry of this kind stands there a second time."""
    return lambda entries: [*entries, [entry for entry in entries if entry["kind"] == kind][-1]]


@functools.cache
def _entries(number: int) -> list[Any]:
    return lived(SEED, number).entries


def _forged(forge: Any) -> tuple[list[Any], list[Any]]:
    """The entries of the first life in which there is something to forge, as they are and as forged."""
    for number in range(60):
        with contextlib.suppress(ValueError, IndexError):
            return _entries(number), forge(_entries(number))
    raise AssertionError("in no life is there anything to forge")


@pytest.mark.parametrize(
    ("forge", "told"),
    [
        (_left_out("hold.placed"), "sets in motion a hold"),
        (_left_out("page.queued"), "sets in motion a page"),
        (_left_out("interrupt.ordered"), "sets in motion an order to stop"),
        (_left_out("incident.noted"), "investigates without a finding"),
        (_left_out("incident.opened"), "which nothing opened"),
        (_twice("page.attempted"), "which was"),
        (_twice("objective.missed"), "a second time"),
        (_twice("hold.placed"), "is hold"),
        (_told_of("incident.changed", what="state", was="OPEN", now="CLOSED"), "D30"),
        (_told_of("acknowledged", person="nobody"), "is by the word of"),
        (_told_of("release.broken", until_us=0), "for no time at all"),
        (_told_of("release.broken", incident=999), "speaks of incident 999"),
        (_told_of("work.ended", run=1), "ends the work of run 1"),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
def test_what_no_node_would_have_written_is_found_by_the_entries_alone(forge: Any, told: str) -> None:
    entries, forged = _forged(forge)
    assert not [each for each in invariants.told(entries) if told in each]
    assert [each for each in invariants.told(forged) if told in each]
