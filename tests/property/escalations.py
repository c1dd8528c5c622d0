"""Lives of incidents that people are told of, on a virtual clock: nodes die at every step and others take over, ways to
people fail, people sleep, take it, go silent, leave and stand in for each other.

Real: the ledger file, rules, folds, orders of people, the duty that takes steps, the outbox. Virtual: time, the ways
to people, and when a node dies. Judged by `tests.escalated`, which uses nothing of the product.

`python -m tests.property.escalations --worlds 1000 [--seed N]` lives through so many.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from random import Random
from typing import Any

from failwell.core.errors import FailwellError
from failwell.core.escalation import due
from failwell.core.rows import Page
from failwell.node.outbox import Outbox
from failwell.node.posting import EMAIL
from failwell.ports.notifier import Mail, Message, NotifyFailed, Receipt
from failwell.response import escalating
from failwell.response.answerable import Answerable
from failwell.response.letters import bare_letter
from tests import escalated
from tests.property.asked_people import People
from tests.unit.gate.house import House
from tests.unit.response.asking import BIG, FATAL, SMALL, house_of

SEED = 20_261_124
SECOND_US, HOUR_US = 1_000_000, 3_600_000_000
CHANNELS = ("pager", "room")
#: Where a node can die: before what it does is durable, behind it, and between sending a page and saying so.
POINTS = ("before a step", "behind a step", "before a send", "behind a send")


class Died(Exception):
    """The node is gone; another takes over."""


class Now:
    """A writer that does at once what is asked of it."""

    def __init__(self, house: House) -> None:
        self._house = house

    @property
    def book(self) -> Any:
        return self._house.book

    def submit(self, job: Any, *lane: Any, **more: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(self._house.do(job))
        except FailwellError as error:
            future.set_exception(error)
        return future


class Secrets:
    """What travels with a page."""

    def of(self, number: int, page: Page) -> Answerable | None:
        return Answerable("https://x/a/t", None, f"{number:064x}") if page.cycle else None

    def returned(self, number: int) -> str | None:
        return None


class World:
    """One ledger, its people and ways to them, and the death of its nodes."""

    def __init__(self, seed: int, number: int, died: Callable[[str], None] | None = None) -> None:
        self.rng = Random(f"{seed}/{number}")
        self.counts: Counter[str] = Counter()
        self.settings = self._settings()
        self.house = house_of(self.settings)
        self.delivered: list[tuple[str, int]] = []
        self.away: list[tuple[int, int]] = []
        #: channel -> until when it fails, and whether for good.
        self.down: dict[str, tuple[int, bool]] = {}
        self.sending = 0
        self.armed: str | None = None
        self.people = People(self)
        self.outbox = self._open()

    def _settings(self) -> dict[str, Any]:
        rng = self.rng
        steps = []
        for _ in range(rng.randint(0, 4)):
            steps.append({
                "notify": rng.choice(
                    ("owner", "team:night", "role:operator", "role:approver", "person:rita", "team:day", "role:nobody")
                ),
                "by": rng.choice((["email"], ["email", "pager"], ["pager"], ["room", "email"])),
                "ack_within_s": rng.choice((60, 300, 900, 1800)), "repeat": rng.choice((0, 0, 1, 2)),
                "require": rng.choice(("any", "any", "all", "2")),
                "severity": rng.choice(("minor", "minor", "critical")),
                "hours": rng.choice(("", "", "08:00-18:00", "Mon-Fri 20:00-06:00")),
                "last_resort": rng.random() < 0.1,
            })  # fmt: skip
        self.terms = escalated.Terms(rng.choice((1, 2, 8)) * HOUR_US, rng.choice((1, 3)) * HOUR_US)
        return {
            "escalation": {
                "steps": steps, "acknowledgment_lasts_s": self.terms.lasts_us // SECOND_US,
                "progress_within_s": self.terms.progress_us // SECOND_US,
                "quiet": rng.choice(("", "", "22:00-07:00")),
            },
            "teams": [
                ["day", {"turns": [{"members": ["piet", "quan"], "hours": "08:00-18:00"}]}],
                ["night", {"turns": [{"members": ["rita", "sara"], "every": "12h", "since": "2026-01-01T00:00"}]}],
            ],
            "channels": [[name, {"kind": "webhook"}] for name in CHANNELS],
        }  # fmt: skip

    # -- the node, and its death

    def _open(self) -> Outbox:
        writer: Any = Now(self.house)
        return Outbox(
            writer, self, lambda page: bare_letter(page.incident or 0, ""), "failwell/x",
            channels={name: Way(self, name) for name in CHANNELS}, answers=Secrets(),
        )  # fmt: skip

    def point(self, where: str) -> None:
        """The node dies here, if it is to."""
        if self.armed == where:
            self.armed = None
            self.counts[f"died {where}"] += 1
            raise Died(where)

    def take_over(self) -> None:
        """Another node, within two seconds where one stands by, later where somebody has to start it."""
        gone_us = self.house.clock.wall_us()
        self.house.clock.skip(self.rng.choice((1, 2, 2, 40, 900)) * SECOND_US - SECOND_US // 2)
        if self.house.book.torn:
            self.house.book.recover()
        self.house.reopen()
        self.away.append((gone_us, self.house.clock.wall_us()))
        self.outbox = self._open()

    def do(self, job: Any, point: str) -> Any:
        """Have a job carried out by a node that may die before it is durable, or just behind that."""
        if self.armed == f"before {point}":
            with contextlib.suppress(FailwellError):
                self.house.stage(job)
            self.point(f"before {point}")
        answer = self.house.do(job)
        self.point(f"behind {point}")
        return answer

    # -- ways to people

    def send(self, mail: Mail) -> Receipt:
        self._hand(EMAIL, mail.message_id)
        return Receipt(accepted=True, detail="250", at="2026-01-01T00:00:00.000000Z")

    def _hand(self, way: str, key: str) -> None:
        self.point("before a send")
        until_us, for_good = self.down.get(way, (0, False))
        if self.house.clock.wall_us() < until_us:
            self.counts["failed for good" if for_good else "failed"] += 1
            raise NotifyFailed("down", temporary=not for_good)
        self.counts["sent"] += 1
        self.delivered.append((key, self.sending))
        self.point("behind a send")

    def post(self) -> None:
        """What the outbox's workers do when they look."""
        for lane in (EMAIL, *CHANNELS):
            for each in self.outbox._due(lane):
                self.sending = each.number
                self.outbox._attempt(each)

    # -- time

    def live(self, hours: int) -> None:
        """So many hours, and at least one incident in them."""
        end_us = self.house.clock.wall_us() + hours * HOUR_US
        run = self.house.run()
        opened = 0
        while self.house.clock.wall_us() < end_us:
            try:
                if opened < 2 and (opened == 0 or self.rng.random() < 0.02):
                    opened += 1
                    with contextlib.suppress(FailwellError):
                        self.house.ask(run, self.rng.choice((FATAL, BIG, SMALL)))
                self._tick()
            except Died:
                self.take_over()
            self._pass(end_us)

    def _tick(self) -> None:
        if self.armed is None and self.rng.random() < 0.12:
            self.armed = self.rng.choice(POINTS)
        if self.rng.random() < 0.03:
            hours = self.rng.choice((0.1, 1, 3))
            until_us = self.house.clock.wall_us() + int(hours * HOUR_US)
            self.down[self.rng.choice((EMAIL, *CHANNELS))] = (until_us, self.rng.random() < 0.4)
        before = self.house.state.pages
        for _ in range(50):  # as often as the clock finds something
            late = due.late(self.house.state, self.house.clock.wall_us())
            if not late:
                break
            self.do(escalating.step_due, "a step")
            if due.late(self.house.state, self.house.clock.wall_us()) == late:
                break  # the clock does nothing about it: the judge will say so
        self.post()
        if due.late(self.house.state, self.house.clock.wall_us()):  # what could not be reached is due at once
            self.do(escalating.step_due, "a step")
        self.people.wake(before)
        self.people.act()

    def _pass(self, end_us: int) -> None:
        """To when something is due next, or a person wakes; a second later where a node died."""
        now_us = self.house.clock.wall_us()
        times = [end_us, now_us + HOUR_US, *(at_us for at_us, _, _ in self.people.awake)]
        times += [
            found.at_us
            for number, row in self.house.state.escalation.items()
            if (found := due.next_due(self.house.state, number, row)) is not None
        ]
        times += [page.due_us for page in self.house.state.page.values()]
        self.house.clock.skip(max(SECOND_US, min(times) - now_us))

    def judged(self) -> tuple[str, ...]:
        """What is wrong with what was lived through."""
        entries = [json.loads(row.data) for row in self.house.storage.entries(0, 1_000_000)]
        return escalated.judge(entries, self.delivered, self.away, self.terms, self.house.clock.wall_us() - SECOND_US)


class Way:
    """A channel that is nobody's own."""

    def __init__(self, world: World, name: str) -> None:
        self.provider = name
        self._world = world

    def tell(self, message: Message) -> Receipt:
        self._world._hand(self.provider, message.key)
        return Receipt(accepted=True, detail="202", at="2026-01-01T00:00:00.000000Z")


def lived(seed: int, number: int, hours: int = 30) -> World:
    """One life, judged; AssertionError says what is wrong."""
    world = World(seed, number)
    try:
        world.live(hours)
        wrong = world.judged()
        assert not wrong, "; ".join(wrong[:5])
        return world
    finally:
        world.house.close()


def main() -> int:
    """Live through so many worlds."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--worlds", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=SEED)
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    counts: Counter[str] = Counter()
    began, wrong = time.monotonic(), 0
    for number in range(given.worlds):
        try:
            world = lived(given.seed, number)
        except AssertionError as error:
            wrong += 1
            print(f"world {number}: {error}", flush=True)
            continue
        counts += world.counts
        counts["incidents"] += len(world.house.state.escalation)
        if number % 100 == 99:
            print(f"{number + 1} worlds, {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    print(f"{given.worlds} worlds, {wrong} wrong: {dict(sorted(counts.items()))}")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
