"""The fence alone: what must not start does not, whatever it was allowed before (D5, I3)."""

from __future__ import annotations

import dataclasses

import pytest

from failwell.core.errors import Refused
from failwell.node.fence import Fence

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
