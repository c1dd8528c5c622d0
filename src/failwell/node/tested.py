"""Testing at the start and at intervals whether actions of each class can be stopped here, and shutting what cannot.

Where `supervised` fails, nothing starts at all: the gate is shut by a health entry, as at a failed start. Where another
class fails, or the command that one tool's class stands on is gone, only what stands on it does not start: such an
action is blocked, and what it took is given back. INVARIANT: a class is shut in memory before its entry is written, and
opened after its entry is durable. A later test opens it again. The test of an interval runs beside everything, in a
process of its own under a supervisor of its own (`execute.retest`); neither the loop nor the writer waits for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
from typing import TYPE_CHECKING, Any

from failwell.core import kinds
from failwell.core.errors import FailwellError, Unhealthy
from failwell.core.records import Draft
from failwell.execute.retest import DEADLINE_US, read_result, retest_launch, self_test
from failwell.ledger.jobs import CONTAINMENT, Job, Plan, Turn
from failwell.node.alarm import Alarm
from failwell.node.assembly import write_now
from failwell.node.shown import FAILED, UNTESTED, missing_commands, shown
from failwell.node.ways import mail_of
from failwell.ports.executor import Ended, SelfTest

if TYPE_CHECKING:
    from failwell.node.service import Node

PART = "stopping"
#: How soon a class that failed is tested again.
RETRY_S = 60.0
#: A test that fails is made once more before it counts: a machine that stood still for a moment is no finding.
TRIES = 2
#: Launches of ours are numbered from here down: an action is named by its entry, and others count down from above.
_FIRST = -2_000_000_000
#: How long beyond its deadline a test may take to be swept.
_STOP_BOUND_S = 15.0


class Tested:
    """What was last shown of each class (`last`), and what is shut for it. `tick` and `end` are called by the loop."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._numbers = itertools.count(_FIRST, -1)
        self._shut: dict[str, str] = {}
        self._due_s: float | None = None
        self._task: asyncio.Task[None] | None = None
        self._launched: int | None = None
        self.last: dict[str, kinds.ExecutorTested] = {}
        self.at_us = 0

    @property
    def marker(self) -> str:
        """What the markers of tests begin with: whose leftovers they are, and that they are no tool's.

        Attack: a tool that carries such a name. It is swept like any leftover, and counts for nothing in a test.
        """
        return marker_of(self._node.origin)

    # -- what may start ----------------------------------------------------------------------------------------

    def check(self, executor: str, tool: str) -> None:
        """Raises Unhealthy where nothing of this class, or this tool of it, may start."""
        # All but what its caller runs needs a supervisor that can stop it.
        why = self._shut.get(executor) or (None if executor == "cooperative" else self._shut.get("supervised"))
        if why is None and executor == "fenced":
            # Looked at as it is now: the command may have gone, or come, since the last test.
            why = missing_commands(self._node.settings.tools, "fence", self._node.workspace.path).get(tool)
        if why is not None:
            raise Unhealthy(
                f"nothing that is {executor} starts here, it could not be shown to stop: {why}", code="class-shut",
                hint="failwell doctor says what is wrong; it is tested again every minute, and opens by itself.",
            )  # fmt: skip

    # -- at the start ------------------------------------------------------------------------------------------

    def begin(self) -> SelfTest:
        """Test in this process, before anything is launched."""
        marker = self.marker
        test = self_test(self._node.executor, marker)
        for _ in range(TRIES - 1):
            test = test if test.passed else self_test(self._node.executor, marker)
        self._note(self._bodies(test))
        return test

    def drafts(self) -> tuple[Draft, ...]:
        """What was shown of every class."""
        return tuple(Draft(body=body, actor="node") for body in self.last.values())

    def bar(self, test: SelfTest) -> None:
        """Shut the gate of a node that cannot stop tools: it must not start any."""
        if test.passed:
            return
        body = kinds.Health(part=PART, state=FAILED, detail="the start-up self-test did not confirm a stop")
        write_now(self._node.writer, (Draft(body=body, actor="node"),))
        self._node.writer.barred = Unhealthy(
            "the start-up self-test could not confirm that tools can be stopped here",
            hint="failwell doctor says what is wrong; it is tested again every minute, and opens by itself.",
        )
        self._alarm()

    # -- at intervals ------------------------------------------------------------------------------------------

    async def tick(self, now_s: float) -> None:
        """Begin a test where one is due."""
        if self._due_s is None:
            self._due_s = now_s + self._pause_s()
        if self._task is None and now_s >= self._due_s and self._node.writer.read_only is None:
            self._task = asyncio.create_task(self._test())
            self._task.add_done_callback(self._over)

    def _pause_s(self) -> float:
        usual_s = self._node.settings.node.self_test_minutes * 60.0
        return min(RETRY_S, usual_s) if self._shut else usual_s

    def _over(self, task: asyncio.Task[None]) -> None:
        self._task = None
        self._due_s = None
        if not task.cancelled() and task.exception() is not None:
            self._due_s = asyncio.get_running_loop().time() + RETRY_S  # the ledger did not take it: what is shut stays

    async def _test(self) -> None:
        found: SelfTest | str = ""
        for _ in range(TRIES):
            found = await self._once()
            if not isinstance(found, str) and found.passed:
                break
        bodies = self._bodies(found)
        before = self.last
        self._shut |= _failed(bodies)
        if not isinstance(found, str) and found.passed:
            await asyncio.to_thread(self._node.executor.use, found)
        told = tuple(body for body in bodies if body.mechanisms or body != before.get(body.executor))
        await self._node.writer.submit_async(_record(told), CONTAINMENT)
        self._note(bodies)
        if "supervised" not in self._shut:
            self._node.writer.barred = None
        else:
            self._alarm()

    async def _once(self) -> SelfTest | str:
        """One test in a process of its own; never longer than its deadline and the sweep after it."""
        action = self._launched = next(self._numbers)
        loop = asyncio.get_running_loop()
        told: asyncio.Future[SelfTest | str] = loop.create_future()

        def tell(result: SelfTest | str) -> None:
            if not told.done():
                told.set_result(result)

        def ended(end: Ended) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended, and who asked with it
                loop.call_soon_threadsafe(tell, read_result(end))

        def launch() -> None:
            try:
                self._node.executor.launch(retest_launch(action, f"{self.marker}interval{action}"), ended)
            except FailwellError as error:
                with contextlib.suppress(RuntimeError):
                    loop.call_soon_threadsafe(tell, f"the self-test could not be started: {error.message}")

        threading.Thread(target=launch, name="self-test", daemon=True).start()
        try:
            async with asyncio.timeout(DEADLINE_US / 1e6 + _STOP_BOUND_S):
                return await told
        except TimeoutError:
            return "the self-test hangs, and so does its supervisor"
        finally:
            self._launched = None

    async def end(self) -> None:
        """Stop a test that is under way; the next start makes its own."""
        task, launched = self._task, self._launched
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        if launched is not None:
            self._node.executor.interrupt(launched)

    # -- what was shown ----------------------------------------------------------------------------------------

    def _bodies(self, test: SelfTest | str) -> tuple[kinds.ExecutorTested, ...]:
        supervised = self.last.get("supervised")
        used = frozenset() if supervised is None else frozenset(supervised.mechanisms)
        return shown(test, self._node.settings.tools, self._node.workspace.path, used)

    def _note(self, bodies: tuple[kinds.ExecutorTested, ...]) -> None:
        self.last = {body.executor: body for body in bodies}
        self._shut = _failed(bodies)
        self.at_us = self._node.clock.wall_us()

    def told(self) -> dict[str, Any]:
        """What clients are told."""
        classes = [
            {"executor": body.executor, "state": body.state, "mechanisms": list(body.mechanisms),
             "figures": body.figures, "detail": body.detail}
            for body in self.last.values()
        ]  # fmt: skip
        return {"at_us": self.at_us, "classes": classes}

    def _alarm(self) -> None:
        why = Unhealthy(f"tools cannot be shown to stop here: {self.last['supervised'].detail}")
        alarm = Alarm(self._node.writer, lambda: mail_of(self._node), self._node.origin, self._node.workspace.runtime)
        alarm.give(why, self._node.writer.seals.newest, shut=True)


def marker_of(origin: str) -> str:
    """What the markers of a log's tests begin with, under one of its names."""
    return f"self-test/{origin}/"


def _failed(bodies: tuple[kinds.ExecutorTested, ...]) -> dict[str, str]:
    """The classes of which nothing starts, and why; what is fenced is looked at tool by tool."""
    return {body.executor: body.detail for body in bodies if body.state == FAILED and body.executor != "fenced"}


def _record(bodies: tuple[kinds.ExecutorTested, ...]) -> Job[None]:
    """The job that records what was shown, and what it makes of the whole gate."""

    def job(turn: Turn) -> Plan[None]:
        drafts = [Draft(body=body, actor="node") for body in bodies]
        supervised = next((body for body in bodies if body.executor == "supervised"), None)
        if supervised is not None and supervised.state != UNTESTED:
            failed = supervised.state == FAILED
            if failed != (PART in turn.state.failed):
                state, detail = (FAILED, supervised.detail) if failed else ("ok", "a later self-test confirmed a stop")
                drafts.append(Draft(body=kinds.Health(part=PART, state=state, detail=detail), actor="node"))
        return Plan(tuple(drafts), lambda _: None)

    return job
