"""The fence alone: what must not start does not, whatever it was allowed before (D5, I3)."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import cast

import pytest

from failwell.core import kinds
from failwell.core.errors import Refused
from failwell.core.records import Entry
from failwell.core.state import State
from failwell.node.fence import Fence
from failwell.node.scopes import Scopes
from failwell.node.service import Node
from tests.unit.core.test_stops import a_house, lift, propose, stop

AGENT, OTHER = "spiffe://shop.example/agent/a", "spiffe://shop.example/agent/b"


@pytest.fixture
def fence() -> Fence:
    made = Fence(lambda: False)
    for agent in (AGENT, OTHER):
        made.set(agent, "ACTIVE", 1)
    return made


@pytest.mark.requirement("R8.1")
def test_a_permit_given_before_the_suspension_starts_nothing_after_it(fence: Fence) -> None:
    early, others = fence.grant(10, AGENT, 1), fence.grant(11, OTHER, 1)
    fence.close(AGENT, 2)
    with pytest.raises(Refused, match="was stopped"):
        fence.start(early, "supervised")
    assert fence.start(others, "supervised").agent == OTHER


@pytest.mark.requirement("R8.1")
def test_a_permit_of_an_earlier_epoch_starts_nothing_after_the_release(fence: Fence) -> None:
    early = fence.grant(10, AGENT, 1)
    fence.close(AGENT, 2)
    fence.set(AGENT, "PROBATION", 3)
    with pytest.raises(Refused, match="was stopped"):
        fence.start(early, "supervised")
    assert fence.start(fence.grant(12, AGENT, 3), "supervised").action == 12


def test_a_permit_starts_one_action_once_and_a_made_up_one_none(fence: Fence) -> None:
    permit = fence.grant(10, AGENT, 1)
    with pytest.raises(Refused, match="no unused permit"):
        fence.start(dataclasses.replace(permit, secret="0" * 32), "supervised")
    permit = fence.grant(11, AGENT, 1)
    fence.start(permit, "supervised")
    with pytest.raises(Refused, match="no unused permit"):
        fence.start(permit, "supervised")


def test_nothing_starts_while_an_order_may_lie_unread() -> None:
    fence = Fence(lambda: True)
    fence.set(AGENT, "ACTIVE", 1)
    with pytest.raises(Refused, match="order was left"):
        fence.start(fence.grant(10, AGENT, 1), "supervised")


@pytest.mark.requirement("R8.1")
def test_a_leave_that_has_not_left_when_the_suspension_comes_leaves_no_more(fence: Fence) -> None:
    early = fence.grant(10, AGENT, 1)
    fence.close(AGENT, 2)
    with pytest.raises(Refused, match="was stopped"):
        fence.tell(early)
    assert not fence.has_left(10)


def test_of_a_leave_that_left_nobody_says_that_it_never_started(fence: Fence) -> None:
    for action in (10, 11, 12):
        fence.tell(fence.grant(action, AGENT, 1))
    assert fence.interrupt((10, 11, 13)) == ((13,), (10, 11))
    assert fence.told() == {12}
    assert [fence.has_left(action) for action in (10, 12)] == [False, True]
    fence.forget_told([12])
    assert fence.interrupt((12,)) == ((12,), ())


# ---- scopes ------------------------------------------------------------------------------------------------------

SCOPES = (("all", 0), ("tool:note.write", 0), ("group:payments", 0))


@pytest.mark.requirement("R8.1", "R8.3")
@pytest.mark.parametrize("scope", [scope for scope, _ in SCOPES])
@pytest.mark.requirement("R8.7")
def test_a_permit_given_before_a_scope_was_stopped_starts_nothing_while_it_is_and_after(
    fence: Fence, scope: str
) -> None:  # fmt: skip
    early, later = (fence.grant(number, AGENT, 1, (), SCOPES) for number in (10, 11))
    outside = fence.grant(12, AGENT, 1, (), (("tool:note.read", 0),))
    fence.shut(scope, 1)
    with pytest.raises(Refused, match="was stopped"):
        fence.start(early, "supervised")
    with pytest.raises(Refused, match="was stopped"):
        fence.tell(fence.grant(13, AGENT, 1, (), SCOPES))
    assert fence.start(outside, "supervised").action == 12
    fence.lift(scope, 1)
    with pytest.raises(Refused, match="was stopped"):
        fence.start(later, "supervised")
    renewed = tuple((name, 1 if name == scope else epoch) for name, epoch in SCOPES)
    assert fence.start(fence.grant(14, AGENT, 1, (), renewed), "supervised").action == 14


def test_a_lift_that_comes_after_a_later_stop_opens_nothing(fence: Fence) -> None:
    """Attack: the next stop is in the fence before the lift of the one before it is durable."""
    fence.shut("all", 1)
    fence.shut("all", 2)
    fence.lift("all", 1)
    with pytest.raises(Refused, match="was stopped"):
        fence.start(fence.grant(10, AGENT, 1, (), (("all", 2),)), "supervised")


@pytest.mark.requirement("R8.3")
def test_what_was_decided_before_its_agent_came_within_a_stop_starts_nothing(fence: Fence) -> None:
    early = fence.grant(10, AGENT, 1, (), (("all", 0),))
    handed = fence.grant(11, OTHER, 1, ((AGENT, 1),), (("all", 0),))
    fence.join(OTHER, "group:night", 20)
    assert fence.start(fence.grant(12, OTHER, 1), "supervised").action == 12, "nothing was stopped by then"
    fence.shut("group:night", 1)
    fence.join(AGENT, "group:night", 20)
    for permit in (early, handed):
        with pytest.raises(Refused, match="came within"):
            fence.start(permit, "supervised")


@pytest.mark.requirement("R8.3")
def test_what_was_decided_before_its_agent_joined_a_group_that_was_stopped_then_starts_nothing(fence: Fence) -> None:
    """Attack: join after the verdict, while nothing is stopped. The permit does not name the group."""
    early = fence.grant(10, AGENT, 1, (), (("all", 0),))
    handed = fence.grant(11, OTHER, 1, ((AGENT, 1),), (("all", 0),))
    fence.join(AGENT, "group:night", 20)
    fence.shut("group:night", 1, (AGENT,), 21)
    fence.lift("group:night", 1)
    for permit in (early, handed):
        with pytest.raises(Refused, match="group night was stopped before this action started"):
            fence.start(permit, "supervised")
    assert fence.start(fence.grant(30, AGENT, 1, (), (("all", 0), ("group:night", 1))), "supervised").action == 30


@pytest.mark.requirement("R8.3")
def test_a_permit_that_comes_after_the_order_that_found_its_action_unstarted_starts_nothing(fence: Fence) -> None:
    """Attack: a rule that interrupts and does not suspend moves no epoch, and finds an action before its permit."""
    fence.void(AGENT, 20, "it was ordered to stop what runs")
    assert fence.interrupt((10, 11)).unstarted == (10, 11), "recorded as blocked"
    for permit in (fence.grant(10, AGENT, 1), fence.grant(11, OTHER, 1, ((AGENT, 1),))):
        with pytest.raises(Refused, match="ordered to stop"):
            fence.start(permit, "supervised")
    assert fence.start(fence.grant(21, AGENT, 1), "supervised").action == 21


@pytest.mark.requirement("R8.41")
def test_an_order_about_one_run_voids_what_it_names_and_nothing_else_of_the_agent(fence: Fence) -> None:
    """Attack: the order finds an action of the run between its verdict and its permit, and records it as blocked."""
    running = fence.start(fence.grant(12, AGENT, 1), "supervised")
    scopes = Scopes(cast("Node", SimpleNamespace(fence=fence)), State())
    body = kinds.InterruptOrdered(incident=1, actions=(10, 12), why="that run")
    scopes.before(cast("Entry[kinds.InterruptOrdered]", SimpleNamespace(body=body, agent=AGENT, run=7, seq=20)))
    missed = fence.interrupt((10, 12))
    assert (missed.unstarted, running.ordered) == ((10,), True), "recorded as blocked"
    fence.settled(10)
    with pytest.raises(Refused, match="ordered to stop before it started"):
        fence.start(fence.grant(10, AGENT, 1), "supervised")
    assert fence.start(fence.grant(11, AGENT, 1), "supervised").action == 11, "another run's"


def test_a_key_that_replaces_another_opens_nothing_that_was_decided_before_it(fence: Fence) -> None:
    """Attack: work handed over by an agent whose key is replaced between the verdict and the permit."""
    fence.take_key(AGENT, 20)
    assert fence.acting(AGENT) == ()
    fence.give_key(AGENT)
    with pytest.raises(Refused, match="key"):
        fence.start(fence.grant(10, OTHER, 1, ((AGENT, 1),)), "supervised")


@pytest.mark.requirement("R8.4")
@pytest.mark.requirement("R8.9")
def test_a_fence_that_is_put_up_anew_knows_every_stop_and_its_epoch() -> None:
    """Attack: a restart forgets what people stopped, or takes leave from before a stop that was lifted since."""
    house = a_house()
    stop(house, "all")
    stop(house, "tool:payments.refund")
    lift(house, "all", propose(house, "all"))
    house.reopen()
    made = Fence(lambda: False)
    made.set(AGENT, "ACTIVE", 1)
    Scopes(cast("Node", SimpleNamespace(fence=made)), house.state)
    for scopes in ((("tool:payments.refund", 1),), (("all", 0),)):
        with pytest.raises(Refused, match="was stopped"):
            made.start(made.grant(10, AGENT, 1, (), scopes), "supervised")
    assert made.start(made.grant(11, AGENT, 1, (), (("all", 1),)), "supervised").action == 11
