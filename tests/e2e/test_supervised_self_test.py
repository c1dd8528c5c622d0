"""The start-up self-test says what holds here, and leaves nothing behind."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from failwell.execute.orphans import read_marker
from failwell.execute.processes import scan_processes
from tests.unit.execute.stage import KINDS, Stage, stage_fixture


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    yield from stage_fixture()


@pytest.mark.parametrize("kind", KINDS)
def test_order_and_the_nodes_death_are_shown_to_stop_every_process(stage: Stage, kind: str) -> None:
    node = stage.node(kind)
    before = set(Path(tempfile.gettempdir()).glob("failwell-self-test-*"))
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
    left = [stat.pid for stat in scan_processes().values() if (read_marker(stat.pid) or "").startswith("self-test")]
    assert not left
    assert set(Path(tempfile.gettempdir()).glob("failwell-self-test-*")) <= before
    ended = node.launch("echo", "after").wait()
    assert ended["state"] == "completed"
    assert ("pid namespace" in ended["proven_by"]) is kill["pid_namespace"]
