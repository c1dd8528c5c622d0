"""Trusted sources: what the node asks about the world on behalf of a contract, never through an agent (D23).

Which source of the settings answers, for how long, and how many may be under way. Every question ends in one of four
states within its time: answered, late, failed or wrong; whoever decides takes all but the first for a denial.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import itertools
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from failwell.core import canonical
from failwell.core.contract import Looked, Question
from failwell.core.errors import InputError
from failwell.gate.verdicts import Asked, Unanswered
from failwell.node.settings import SourceSettings
from failwell.node.surroundings import inherited
from failwell.node.upstreams.left import is_server
from failwell.ports.executor import Executor
from failwell.ports.sources import MAX_ANSWER_BYTES, Asking, Reply, Source
from failwell.sources.command import CommandSource
from failwell.sources.http import HttpSource

#: Questions under way at once: for one agent, so that its slow source slows nobody else, and for all together.
SLOTS_OF_ONE, SLOTS = 8, 64


class _Declared(NamedTuple):
    """A source that the settings in force declare."""

    source: Source
    within_us: int


class Sources:
    """Asks the sources that the settings declare. Used from the node's loop alone, but for `take_settings`.

    `marker` stands before the number of a lookup where a dead node's leftovers are looked for; `reports` is where
    supervisors report that outlived their node.
    """

    def __init__(self, executor: Executor, marker: str, reports: Path) -> None:
        self._executor = executor
        self._marker = marker
        #: Below zero: an action is named by its entry, and a lookup is none.
        self._numbers = itertools.count(-1, -1)
        self._declared: dict[str, _Declared] = {}
        self._all = asyncio.Semaphore(SLOTS)
        self._of: dict[str, asyncio.Semaphore] = collections.defaultdict(lambda: asyncio.Semaphore(SLOTS_OF_ONE))
        for left in reports.glob("swept--*.json"):  # of a node that died: a lookup that was cut off decides nothing
            with contextlib.suppress(ValueError):
                if not is_server(int(left.stem.removeprefix("swept-"))):
                    left.unlink(missing_ok=True)

    @property
    def names(self) -> tuple[str, ...]:
        """The sources that can be asked."""
        return tuple(sorted(self._declared))

    def take_settings(self, declared: Mapping[str, SourceSettings]) -> None:
        """From here on these are the sources; a question under way keeps the one that it was put to."""
        self._declared = {
            name: _Declared(self._made(name, item), item.deadline_ms * 1000) for name, item in declared.items()
        }

    def _made(self, name: str, declared: SourceSettings) -> Source:
        if declared.url is not None:
            return HttpSource(declared.url, allow_remote=declared.allow_remote, ca_file=declared.ca_file)
        return CommandSource(
            name, declared.command or (), executor=self._executor, number=lambda: next(self._numbers),
            marker=self._marker, env=inherited(declared.env), cwd=declared.cwd,
        )  # fmt: skip

    # -- asking ------------------------------------------------------------------------------------------------

    async def run(self, agent: str, name: str, command: tuple[str, ...], env: dict[str, str], within_us: int) -> Reply:
        """What a command of the operator's prints, run for `agent` in one of its slots; nothing of it is recorded."""
        source = CommandSource(
            name, command, executor=self._executor, number=lambda: next(self._numbers), marker=self._marker, env=env
        )
        return await self._reply(agent, _Declared(source, within_us), b"")

    async def ask(self, agent: str, unanswered: Unanswered) -> Asked:
        """The answers to all questions of one action, asked side by side; each that cannot be had says why."""
        answers = await asyncio.gather(*(self._question(agent, question) for question in unanswered.questions))
        return Asked(
            answers=dict(zip((question.fact for question in unanswered.questions), answers, strict=True)),
            contract=unanswered.contract,
        )

    async def _question(self, agent: str, question: Question) -> Looked:
        return await self.look(agent, question.source, question.arguments)

    async def look(self, agent: str, source: str, arguments: dict[str, Any]) -> Looked:
        """What `source` says of `arguments`, asked for `agent`. Answers within the source's time, and never raises."""
        began = time.monotonic()
        declared = self._declared.get(source)
        reply, value = Reply(state="failed", detail="no such source is declared"), None
        if declared is not None:
            reply = await self._reply(agent, declared, canonical.jcs(arguments))
        state: Any = reply.state
        detail = reply.detail
        if state == "answered":
            try:
                value = canonical.parse(reply.text, max_bytes=MAX_ANSWER_BYTES)
            except InputError:
                state, detail = "wrong", "its answer is not one strict JSON value"
        elapsed_us = int((time.monotonic() - began) * 1_000_000)
        return Looked(source=source, state=state, elapsed_us=elapsed_us, value=value, detail=detail)

    async def _reply(self, agent: str, declared: _Declared, text: bytes) -> Reply:
        """One reply within the source's time, waiting for a slot included."""
        until = time.monotonic() + declared.within_us / 1_000_000
        asking: Asking | None = None
        try:
            async with asyncio.timeout(declared.within_us / 1_000_000):
                await self._of[agent].acquire()
                try:
                    await self._all.acquire()
                except BaseException:
                    self._of[agent].release()
                    raise
                left_us = max(1, int((until - time.monotonic()) * 1_000_000))
                asking = declared.source.asking(text, left_us)
                return await asyncio.shield(self._begin(agent, asking))
        except TimeoutError:
            return Reply(state="late", detail="no answer within its time" if asking else "too many questions wait")
        finally:
            # Also when its asker is gone; of a question that is over nothing is left to stop.
            if asking is not None:
                asking.stop()

    def _begin(self, agent: str, asking: Asking) -> asyncio.Future[Reply]:
        """Ask in a thread; the slot is free again when nothing of the question is left, however late that is."""
        loop = asyncio.get_running_loop()
        replied: asyncio.Future[Reply] = loop.create_future()

        def over(reply: Reply) -> None:
            self._all.release()
            self._of[agent].release()
            if not replied.done():
                replied.set_result(reply)

        def run() -> None:
            try:
                reply = asking.run()
            except Exception as error:  # noqa: BLE001  INVARIANT: a fault of ours is no answer either
                reply = Reply(state="failed", detail=f"{type(error).__name__} while asking")
            with contextlib.suppress(RuntimeError):  # the loop has ended, and who asked with it
                loop.call_soon_threadsafe(over, reply)

        try:
            threading.Thread(target=run, name="source", daemon=True).start()
        except RuntimeError:  # the machine gives no more threads
            over(Reply(state="failed", detail="it could not be asked: no thread to be had"))
        return replied
