"""A few of the drawn schedules, and that the harness finds what it is there to find (`make campaign` lives 10,000)."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from failwell.core import orders
from failwell.core.errors import Refused
from failwell.node import recovery
from failwell.node.actions import ToolRunner
from failwell.node.fence import NO_PERMIT, Fence, Permit
from failwell.ports.storage import StorageFailed
from tests.property.schedules import Schedule, lived

SEED = 20261123


@pytest.mark.requirement("R8.1")
@pytest.mark.parametrize("part", range(3))
def test_whatever_comes_late_twice_or_never_nothing_stopped_starts_and_every_end_is_true(part: int) -> None:
    for number in range(part * 20, part * 20 + 20):
        try:
            lived(SEED, number)
        except AssertionError as wrong:
            raise AssertionError(f"seed {SEED}, schedule {number}: {wrong}") from wrong


def test_a_stop_that_only_the_node_heard_is_carried_out_once_its_store_can_be_opened(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Attack: the store failed and cannot even be read again, and whoever gives the order is gone before it is."""
    with contextlib.closing(Schedule(Random(1))) as world:
        writer, book = world.node.writer, world.house.book

        def unreadable() -> None:
            raise StorageFailed("the file cannot be opened")

        with monkeypatch.context() as patch:
            patch.setattr(book, "recover", unreadable)
            writer._recover()
            details = orders.StopScope(scope="all", reason="it looks wrong everywhere")
            world.node.given_orders.carry_out(world.house.sign("quan", "stop", details, shown="0" * 64))
            world.node.drive()
            world.node.housekeep()
            world.node.drive()
            assert world.house.state.stop == {}
        world.node.housekeep()
        world.node.drive()
        assert world.house.state.stop["all"].closed
        with pytest.raises(Refused):
            world.node.fence.check(("all",))


def _epochs_are_not_looked_at(patch: pytest.MonkeyPatch) -> None:
    @contextlib.contextmanager
    def using(self: Fence, permit: Permit) -> Iterator[None]:
        with self._lock:
            if self._permits.pop(permit.action, None) is None:
                raise Refused("no permit", code=NO_PERMIT)
            yield

    patch.setattr(Fence, "_using", using)


def _a_permit_is_good_for_ever(patch: pytest.MonkeyPatch) -> None:
    honest = Fence._using

    @contextlib.contextmanager
    def using(self: Fence, permit: Permit) -> Iterator[None]:
        self._permits.setdefault(permit.action, permit)
        with honest(self, permit):
            yield

    patch.setattr(Fence, "_using", using)


def _nothing_is_killed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ToolRunner, "interrupt", lambda self, actions: None)


def _what_a_dead_node_ran_never_started(patch: pytest.MonkeyPatch) -> None:
    honest: Any = recovery._end

    def end(*given: Any) -> Any:
        found = honest(*given)
        return dataclasses.replace(found, state="blocked") if found.state == "unknown" else found

    patch.setattr(recovery, "_end", end)


def _a_dead_nodes_actions_are_not_known(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Fence, "inherit", lambda self, actions: None)


def _an_order_forgets_what_has_no_permit_yet(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Fence, "void", lambda self, agent, entry, why: None)


def _the_fence_waits_for_the_record(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Fence, "close", lambda self, agent, epoch: None)
    _an_order_forgets_what_has_no_permit_yet(patch)


def _a_stop_passes_by_who_joined_after_the_verdict(patch: pytest.MonkeyPatch) -> None:
    honest = Fence.shut
    patch.setattr(Fence, "shut", lambda self, scope, epoch, within=(), entry=0: honest(self, scope, epoch))


@pytest.mark.parametrize(
    ("fault", "first"),
    [
        (_epochs_are_not_looked_at, 0), (_a_permit_is_good_for_ever, 0), (_the_fence_waits_for_the_record, 0),
        (_nothing_is_killed, 0), (_what_a_dead_node_ran_never_started, 0), (_a_dead_nodes_actions_are_not_known, 280),
        (_an_order_forgets_what_has_no_permit_yet, 0), (_a_stop_passes_by_who_joined_after_the_verdict, 300),
    ],
    ids=lambda given: getattr(given, "__name__", "").strip("_"),
)  # fmt: skip
def test_the_harness_finds_a_seeded_fault(fault: Any, first: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """`first`: where to look; what takes hundreds of schedules to come about would take the tests a minute."""
    fault(monkeypatch)
    assert any(_is_wrong(number) for number in range(first, first + 100))


def _is_wrong(number: int) -> bool:
    try:
        lived(SEED, number)
    except (AssertionError, KeyError, Refused):
        return True
    return False
