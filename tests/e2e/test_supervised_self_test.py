"""The start-up self-test says what holds here, and leaves nothing behind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from failwell.execute.processes import find_descendants, scan_processes
from tests.unit.execute.stage import KINDS, Stage, stage_fixture


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    yield from stage_fixture()


@pytest.mark.parametrize("kind", KINDS)
def test_order_and_the_nodes_death_are_shown_to_stop_every_process(stage: Stage, kind: str) -> None:
    node = stage.node(kind)
    kill = node.ask("self_test")["self_test"]["kill"]
    assert kill["passed"] is True
    assert (kill["interrupt"], kill["interrupt_processes"]) == ("confirmed", 3)
    assert (kill["node_killed"], kill["node_killed_processes"]) == ("confirmed", 3)
    assert 0 < kill["interrupt_us"] < 3_000_000
    assert 0 < kill["node_killed_us"] < 3_000_000
    assert kill["pid_namespace"] is (kill["pid_namespace_why"] is None)
    if kind == "nobody":
        assert kill["pid_namespace"] is False
        assert "not permitted" in kill["pid_namespace_why"]
    left = find_descendants(scan_processes(), [node.child.pid])
    assert not left, "orphans of the stand-in come to the node that tested, dead ones too"
    assert not list(node.directory.glob("failwell-self-test-*"))
    ended = node.launch("echo", "after").wait()
    assert ended["state"] == "completed"
    assert ("pid namespace" in ended["proven_by"]) is kill["pid_namespace"]
