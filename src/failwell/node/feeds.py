"""Feeds: other systems are told of incidents, in order and past nothing, each by a thread of its own (R10).

How far each is stands on record. A node that dies between telling and recording tells it again, under the same key and,
where the other side has tickets, on the same one. A system that is away is told everything later; nobody waits for one.
"""

from __future__ import annotations

import asyncio
import dataclasses
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from failwell.core import kinds, rows
from failwell.core.errors import FailwellError
from failwell.core.escalation.feeds import BEGIN, NODE, reached
from failwell.core.records import Draft
from failwell.ledger.jobs import Plan, Turn
from failwell.node.feed_settings import FeedSettings
from failwell.node.happenings import Reading
from failwell.node.systems import system_of
from failwell.ports.notifier import NotifyFailed
from failwell.ports.systems import Happening, System

if TYPE_CHECKING:
    from failwell.node.service import Node

LOOK_EVERY_S = 1.0
FIRST_PAUSE_US, LONGEST_PAUSE_US = 5_000_000, 300_000_000
#: So many happenings, and so long, until it is put on record how far it is.
AT_ONCE, RECORD_AFTER_S = 50, 2.0
#: So long an entry waits for a checkpoint that covers it; then it is told with the newest one.
COVERED_US = 10_000_000


class _Batch(NamedTuple):
    """What was told: `told` happenings up to entry `last`, and how they call an incident where they said so."""

    last: int
    told: int
    theirs: dict[int, str]


class Feed:
    """One system, and the thread that tells it."""

    def __init__(self, node: Node, name: str, said: FeedSettings) -> None:
        self._node = node
        self.name = name
        self.said = said
        self._over = threading.Event()
        self._reading = Reading(node.storage, node.origin, self._opened, self._called)
        self._looked = BEGIN
        #: What keeps it from telling that is no failure of the other side; None where nothing does.
        self.trouble: str | None = None
        self._thread = threading.Thread(target=self._run, name=f"feed {name}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End after what is under way."""
        self._over.set()

    def join(self) -> None:
        """Wait for that, no longer than the other side may take."""
        self._thread.join(self.said.deadline_s + 5.0)

    @property
    def alive(self) -> bool:
        """Whether it may still be telling."""
        return self._thread.is_alive()

    def behind(self) -> bool:
        """Whether there may be something to tell."""
        return max(self._looked, self._row().last) < self._node.writer.book.state.size - 1

    # -- its thread --------------------------------------------------------------------------------------------

    def _run(self) -> None:
        place = self._node.workspace
        settings = self._node.settings
        system = system_of(self.said, settings.secrets, place.path, place.keys, self._node.origin, self._node.clock)
        pause_s = LOOK_EVERY_S
        while not self._over.wait(pause_s):
            pause_s = LOOK_EVERY_S
            try:
                while not self._over.is_set() and self._step(system):
                    pass
                self.trouble = None
            except FailwellError:
                continue  # the ledger does not write: what is to be told stays so
            except Exception as error:  # noqa: BLE001  a fault of ours ends no feed, and is shown where feeds are
                self.trouble = f"{type(error).__name__} while reading what is to be told"
                pause_s = FIRST_PAUSE_US / 1_000_000

    def _step(self, system: System) -> bool:
        """Tell some. Whether there may be more at once."""
        if not self.behind():
            return False
        now_us = self._node.writer.submit(_now).result()
        row = self._row()
        if row.last == BEGIN and self.said.begin == "now":
            return self._begin()
        if now_us < row.due_us:
            return False
        return self._tell(system, row, now_us)

    def _begin(self) -> bool:
        """What is on record by now is not told."""

        def job(turn: Turn) -> Plan[None]:
            if self.name in turn.state.feed:
                return Plan((), _nothing)
            body = kinds.FeedDelivered(feed=self.name, last=turn.seq - 1, count=0, theirs=())
            return Plan((Draft(body=body, actor=NODE),), _nothing)

        self._node.writer.submit(job).result()
        return True

    def _tell(self, system: System, row: rows.Feed, now_us: int) -> bool:
        began = max(row.last, self._looked)
        theirs = dict(row.theirs)
        batch = _Batch(began, 0, {})
        until_s = time.monotonic() + RECORD_AFTER_S
        seal = self._node.writer.seals.newest
        covered, note = (0, "") if seal is None else (seal.size, seal.note.decode("utf-8", "replace"))
        for seq, happening in self._reading.after(began, self._node.storage.size()):
            if happening is None:
                batch = batch._replace(last=seq)
                continue
            if seq >= covered and now_us - happening.at_us < COVERED_US:
                self._recorded(batch)
                return False  # its checkpoint is on its way
            failed = self._told(system, dataclasses.replace(happening, checkpoint=note), theirs, batch)
            if failed is not None:
                self._recorded(batch)
                self._failed(seq, failed)
                return False
            batch = batch._replace(last=seq, told=batch.told + 1)
            over = system.tickets or batch.told >= AT_ONCE or time.monotonic() > until_s
            if over or self._over.is_set():
                self._recorded(batch)
                return True
        self._recorded(batch)
        return False

    def _told(self, system: System, happening: Happening, theirs: dict[int, str], batch: _Batch) -> str | None:
        """Hand one over; why it failed, where it did. Whatever goes wrong keeps it from nothing but being told now."""
        try:
            name = system.take(happening, theirs.get(happening.incident))
        except NotifyFailed as error:
            return f"{error.message}{'' if error.hint is None else f' {error.hint}'}"
        except Exception as error:  # noqa: BLE001  a fault of ours is a failure on record, and not the end of the feed
            return f"{type(error).__name__} while telling"
        if name is not None and theirs.get(happening.incident) != name:
            theirs[happening.incident] = batch.theirs[happening.incident] = name
        return None

    def _recorded(self, batch: _Batch) -> None:
        """Put on record how far it is. Where nothing was told, it is only known here."""
        if batch.told:
            body = kinds.FeedDelivered(
                feed=self.name, last=batch.last, count=batch.told, theirs=tuple(sorted(batch.theirs.items()))
            )
            self._write(body)
        self._looked = max(self._looked, batch.last)

    def _failed(self, seq: int, detail: str) -> None:
        def job(turn: Turn) -> Plan[None]:
            attempt = reached(turn.state, self.name).attempts + 1
            pause_us = min(FIRST_PAUSE_US * 2 ** min(attempt - 1, 10), LONGEST_PAUSE_US)
            body = kinds.FeedFailed(
                feed=self.name, at=seq, attempt=attempt, detail=detail[:300], due_us=turn.now_us + pause_us
            )
            return Plan((Draft(body=body, actor=NODE),), _nothing)

        self._node.writer.submit(job).result()

    def _write(self, body: Any) -> None:
        self._node.writer.submit(lambda turn: Plan((Draft(body=body, actor=NODE),), _nothing)).result()

    # -- what is known here ------------------------------------------------------------------------------------

    def _row(self) -> rows.Feed:
        return reached(self._node.writer.book.state, self.name)

    def _opened(self, number: int) -> int:
        return self._node.writer.book.state.incident[number].opened

    def _called(self, agent: str) -> str:
        row = self._node.writer.book.state.agent.get(agent)
        return agent if row is None else row.name


class Feeds:
    """All of one node. `tick` and `end` are called by its loop."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._feeds: dict[str, Feed] = {}
        #: Those that other settings ended, until their last attempt is over: a system is told by one thread at a time.
        self._ending: list[Feed] = []
        self._secrets: object = None

    def tick(self) -> None:
        """Take up what the settings in force declare, and end what they do not."""
        settings = self._node.settings
        changed, self._secrets = self._secrets is not settings.secrets, settings.secrets
        for name, feed in list(self._feeds.items()):
            if changed or settings.feeds.get(name) != feed.said:
                feed.stop()
                self._ending.append(self._feeds.pop(name))
        self._ending = [feed for feed in self._ending if feed.alive]
        busy = {feed.name for feed in self._ending}
        if self._node.writer.read_only is None:
            for name, said in settings.feeds.items():
                if name not in self._feeds and name not in busy:
                    self._feeds[name] = Feed(self._node, name, said)

    def trouble(self, name: str) -> str | None:
        """What is wrong here with one of them."""
        feed = self._feeds.get(name)
        return None if feed is None else feed.trouble

    def behind(self, name: str) -> bool:
        """Whether there may be something to tell to one of them."""
        feed = self._feeds.get(name)
        return feed is None or feed.behind()

    def busy(self) -> bool:
        """Whether a system has still to be told of something: no reason for a node to end."""
        return any(feed.behind() for feed in self._feeds.values())

    async def end(self) -> None:
        """Stop what is under way; the next start goes on."""
        feeds = [*self._feeds.values(), *self._ending]
        self._feeds, self._ending = {}, []
        for feed in feeds:
            feed.stop()
        for feed in feeds:
            await asyncio.to_thread(feed.join)


def _now(turn: Turn) -> Plan[int]:
    now_us = turn.now_us
    return Plan((), lambda entries: now_us)


def _nothing(_: Any) -> None:
    return None
