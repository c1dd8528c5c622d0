"""Drawn schedules of stops: real nodes, supervisors and tools that resist, killed at any moment (I2, I3, I8).

    python -m tests.faults.stops --worlds 100 --seed 7

prints one line and exits 1 at the first world in which anything does not hold. Judged by the tools' own log, by /proc,
by the independent checker and by the product's verification.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from random import Random
from typing import Any

from failwell.client import powers
from failwell.core.errors import FailwellError
from failwell.execute.processes import read_stat
from failwell.execute.reports import read_json
from tests.simulate.fixtures import model
from tests.simulate.house import Caller, House, NodeProcess, await_true, scene

STEPS = 14
BOTS = ("refund-bot", "other-bot", "bot-00")
SCOPES = ("all", "tool:note.write", "contract:other-bot")


class World:
    """One workspace, its node, and callers that start tools which resist."""

    def __init__(self, house: House, rng: Random) -> None:
        self.house = house
        self.rng = rng
        self.counts: Counter[str] = Counter()
        self.stopped: dict[str, float] = {}
        self.node: NodeProcess = house.node()
        self.asked: list[Future[Any]] = []
        self.callers: dict[str, Caller] = {}
        self._customers = 0

    # -- what may happen ---------------------------------------------------------------------------------------

    def step(self) -> None:
        move, weight = zip(
            (self.start, 6), (self.suspend, 1.5), (self.stop, 0.7), (self.kill_node, 1), (self.kill_supervisor, 1),
            (self.freeze_supervisor, 1), (self.hang_up, 0.7), (self.freeze_node, 0.5), (self.wait, 1), strict=True,
        )  # fmt: skip
        chosen: Callable[[], None] = self.rng.choices(move, weight)[0]
        self.counts[chosen.__name__] += 1
        chosen()

    def start(self) -> None:
        """One to four tools at once, each deaf or with a detached grandchild or neither."""
        name = self.rng.choice(BOTS)
        with contextlib.suppress(FailwellError, OSError, AssertionError):
            if name not in self.callers:
                self.callers[name] = self.house.agent(name)
            for _ in range(self.rng.randint(1, 4)):
                self._customers += 1
                arguments = {
                    "customer": f"c{self._customers}", "millis": self.rng.choice((0, 30, 60_000)),
                    "deaf": self.rng.random() < 0.5, "grandchild": self.rng.random() < 0.5,
                }  # fmt: skip
                self.asked.append(self.callers[name].ask(arguments))
        self.wait()

    def suspend(self) -> None:
        self._ordered(
            lambda: powers.suspend(
                self.house.workspace,
                self.house.persons["bert"],
                self.house.full(self.rng.choice(BOTS)),
                "it misbehaves",
            )
        )

    def stop(self) -> None:
        scope = self.rng.choice(SCOPES)
        self._ordered(
            lambda: powers.stop(self.house.workspace, self.house.persons["cleo"], scope, "it misbehaves everywhere")
        )

    def _ordered(self, order: Callable[[], Any]) -> None:
        """I8: whatever state the node is in, the order is taken, by the node or by the workspace."""
        done = order()
        self.counts["confirmed" if done.confirmed else "left"] += 1

    def kill_node(self) -> None:
        self.node.kill()
        self._forget_callers()
        if self.rng.random() < 0.5:
            self.wait()
        self.node = self.house.node()

    def freeze_node(self) -> None:
        """It answers nobody for a while: orders lie in the workspace, supervisors are told without it."""
        os.kill(self.node.pid, signal.SIGSTOP)
        try:
            self.suspend()
        finally:
            os.kill(self.node.pid, signal.SIGCONT)

    def kill_supervisor(self) -> None:
        self._signal(signal.SIGKILL)

    def freeze_supervisor(self) -> None:
        self._signal(signal.SIGSTOP)

    def _signal(self, number: int) -> None:
        records = [read_json(str(path)) for path in (self.house.workspace.runtime / "running").glob("*.json")]
        for record in self.rng.sample(records, min(len(records), 1)):
            if record is None or not isinstance(record["pid"], int):
                continue
            stat = read_stat(record["pid"])
            if stat is not None and stat.start_ticks == record["start_ticks"]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(record["pid"], number)

    def hang_up(self) -> None:
        """The agents' processes are gone."""
        self._forget_callers()

    def wait(self) -> None:
        time.sleep(self.rng.choice((0.0, 0.005, 0.02, 0.08)))

    def _forget_callers(self) -> None:
        self.house.hang_up()
        self.callers.clear()

    # -- what must hold ----------------------------------------------------------------------------------------

    def holds(self) -> None:
        """Everybody is stopped; then nothing lives, every start had leave, and every end on record is true."""
        for name in BOTS:
            powers.suspend(self.house.workspace, self.house.persons["bert"], self.house.full(name), "the end of it")
        with contextlib.suppress(AssertionError):
            await_true(lambda: not self.house.alive() and not self.house.ask("running"), 12)
        alive = [str(read_stat(pid)) for pid in self.house.alive()]
        assert not alive, f"alive after everybody was stopped: {alive}"
        self._nothing_starts()
        self.house.end(self.node)
        self.house.hold_true()
        self.house.verify()
        outcomes = {entry["body"]["decision"]: entry["body"]["state"] for entry in self.house.entries("outcome")}
        for line in self.house.began():
            action = int(str(line["action"]).rpartition("/")[2])
            assert outcomes.get(action) not in (None, "blocked"), f"action {action} began and is {outcomes.get(action)}"
        self.counts["began"] += len(self.house.began())
        self.counts.update(outcomes.values())

    def _nothing_starts(self) -> None:
        began = len(self.house.began())
        for name in BOTS:
            with contextlib.suppress(FailwellError):
                verdict = self.house.agent(name).write("late")["verdict"]
                assert verdict["verdict"] == "DENY" or self.house.began("late") == [], "it started after its stop"
        assert len(self.house.began()) == began, "something started after everybody was stopped"


def lived(seed: int | str, number: int, steps: int = STEPS) -> Counter[str]:
    """One world, whole; what happened in it."""
    with scene() as directory:
        house = model().copy(directory / "h")
        try:
            world = World(house, Random(f"{seed}/{number}"))
            for _ in range(steps):
                world.step()
            world.holds()
            return world.counts
        finally:
            house.tear_down()


def main() -> int:
    """The campaign."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", type=int, default=100)
    parser.add_argument("--seed", default="")
    given = parser.parse_args()
    seed, began, seen = given.seed or "20260101", time.monotonic(), Counter[str]()
    for number in range(given.worlds):
        try:
            seen += lived(seed, number)
        except Exception as wrong:  # noqa: BLE001  whatever it is, it is told with its seed
            sys.stdout.write(f"stops FAILED: seed {seed}, world {number}: {type(wrong).__name__}: {wrong}\n")
            return 1
    told = ", ".join(f"{count:,} {what.replace('_', ' ')}" for what, count in sorted(seen.items()))
    sys.stdout.write(f"stops: {given.worlds} worlds hold ({told}); seed {seed}, {time.monotonic() - began:.0f} s\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
