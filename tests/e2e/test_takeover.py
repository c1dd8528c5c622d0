"""A node that died or hangs, and one that stands by: its place is taken, nothing acknowledged is lost, and what was
fenced off never writes again.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from failwell.core.errors import FailwellError
from failwell.execute.processes import read_stat
from failwell.node.takeover import standing
from failwell.node.workspace import lock_holder
from tests.simulate.fixtures import house, stage
from tests.simulate.house import ROOT, House, await_true, shown

__all__ = ["house", "stage"]


class Standby:
    """A process that stands by; `heard` gives what it said, one object a line."""

    def __init__(self, house: House) -> None:
        self._log = house.root / f"standby-{time.monotonic_ns()}.out"
        self._errors = self._log.with_suffix(".err")
        with open(self._log, "wb") as out, open(self._errors, "wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.simulate.standing_by", str(house.workspace.path), str(shown())],
                stdin=subprocess.DEVNULL, stdout=out, stderr=errors, cwd=ROOT, start_new_session=True,
            )  # fmt: skip
        self.hears("standing-by")

    @property
    def pid(self) -> int:
        return self.process.pid

    def said(self) -> list[dict[str, Any]]:
        text = self._log.read_text()
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

    def hears(self, state: str) -> dict[str, Any]:
        """What it says once it is in `state`."""

        def found() -> dict[str, Any] | None:
            assert self.process.poll() is None or state == "ended", self._errors.read_text()
            return next((each for each in self.said() if each["state"] == state), None)

        told: dict[str, Any] = await_true(found, 30)
        return told

    def stop(self) -> int:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)
        return self.process.wait(20)


@pytest.fixture
def standbys() -> Iterator[list[Standby]]:
    made: list[Standby] = []
    yield made
    for each in made:
        if each.process.poll() is None:
            each.process.kill()
            each.process.wait(10)


def dead(pid: int) -> bool:
    stat = read_stat(pid)
    return stat is None or stat.dead


@pytest.mark.requirement("R28.34")
def test_a_node_that_hangs_is_killed_and_replaced_and_what_it_acknowledged_stands(
    house: House, standbys: list[Standby]
) -> None:
    node = house.node()
    caller = house.agent()
    caller.write("c1")
    running = caller.start("c2", grandchild=True)
    standbys.append(Standby(house))
    assert standing(house.workspace) == (standbys[0].pid,)
    os.kill(node.pid, signal.SIGSTOP)
    left = house.suspend("other-bot")  # the node is silent: the order is left for whoever comes
    assert not left.confirmed
    told = standbys[0].hears("taking-over")
    standbys[0].hears("ready")
    assert (told["of"], told["why"], told["killed"]) == (node.pid, "silent", True)
    assert told["late_ms"] >= 2000
    with contextlib.suppress(ProcessLookupError):
        os.kill(node.pid, signal.SIGCONT)  # Attack: it wakes, and goes on writing where it stood
    assert dead(node.pid)
    assert lock_holder(house.workspace) == standbys[0].pid
    with pytest.raises(FailwellError):
        running.result(5)
    house.hang_up()
    assert house.alive() == []
    assert house.ask("status")["suspended"] == ["other-bot"]
    again = house.agent()
    assert again.write("c3")["result"]["state"] == "completed"
    took = house.entries("node.takeover")
    assert [(each["body"]["pid"], each["body"]["why"], each["body"]["killed"]) for each in took] == [
        (node.pid, "silent", True)
    ]
    house.hang_up()
    assert standbys[0].stop() == 0
    house.hold_true([*caller.acks, *again.acks])
    house.verify()


def test_of_two_that_stand_by_one_takes_a_dead_nodes_place_and_neither_that_of_one_that_ended_on_purpose(
    house: House, standbys: list[Standby]
) -> None:
    node = house.node()
    standbys += [Standby(house), Standby(house)]
    house.end(node)
    time.sleep(0.4)
    assert lock_holder(house.workspace) is None
    assert [len(each.said()) for each in standbys] == [1, 1]
    node = house.node()
    caller = house.agent()
    caller.write("c1")
    node.kill()
    taker = await_true(lambda: next((each for each in standbys if len(each.said()) > 1), None))
    taker.hears("ready")
    other = next(each for each in standbys if each is not taker)
    assert taker.said()[1]["why"] == "died"
    house.hang_up()
    assert house.agent().write("c2")["result"]["state"] == "completed"
    house.hang_up()
    assert len(other.said()) == 1
    taker.process.kill()
    taker.process.wait(10)
    assert other.hears("taking-over")["of"] == taker.pid
    other.hears("ready")
    assert [each["body"]["pid"] for each in house.entries("node.takeover")] == [node.pid, taker.pid]
    standbys.append(Standby(house))
    assert standbys[-1].stop() == 0  # it ends alone
    assert lock_holder(house.workspace) == other.pid
    assert standing(house.workspace) == ()
    assert other.stop() == 0
    house.hold_true(caller.acks)
    house.verify()
