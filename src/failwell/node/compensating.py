"""Running the steps that undo what a stopped action did: outside any lock, each under a supervisor of its own (D28).

What runs is only ever what an operator declared for the step in the settings in force; who asked for the action has no
say in it. It runs although its agent is suspended, because it is the node's own work under a signed contract; a stop of
everything or of the step's own tool stops it too, before that is durable. A step is begun on record before it starts:
what was begun by a node that died is unknown, and is not run again unless that does no harm. Never holds up a verdict.

What it does NOT do: look whether the world is as the step says (`ensure` and witnesses do), or give limits back.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from failwell.core.errors import FailwellError, Refused
from failwell.core.records import Entry, decode_entry
from failwell.core.undoing import NOT, UNKNOWN
from failwell.execute.reports import report_path
from failwell.ledger.jobs import CONTAINMENT
from failwell.node.broker import Held
from failwell.node.settings import ToolSettings
from failwell.node.surroundings import inherited
from failwell.ports.executor import Ended, Launch
from failwell.response.compensation import Due, Seen, begin, due_besides, end, scopes_of, seen_of

if TYPE_CHECKING:
    from failwell.node.service import Node

#: Steps under way at once; of one agent there are fewer (`response.compensation`).
STEPS = 16
#: How often the end of a step is written that the ledger does not take, and how long a step is given at the node's end.
RETRY_S = 0.5
END_S = 5.0


@dataclass(slots=True)
class Step:
    """One step that is about to run or runs, by the entry that it was begun with; `ordered`: it was told to stop."""

    due: Due
    number: int
    launched: bool = False
    ordered: bool = False


class Compensator:
    """Looks after what is to be undone. `tick` and `end` are called by the node's loop, `stop` by any thread."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._lock = threading.Lock()
        self._steps: dict[int, Step] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._ending = threading.Event()

    async def tick(self) -> None:
        """Take up what is due."""
        if not self._node.writer.book.state.compensation or len(self._tasks) >= STEPS:
            return
        await self._node.wait_for_orders()
        if self._node.fence.unread():  # a stop may lie there: nothing starts before it was read
            return
        found = await self._node.writer.submit_async(due_besides(frozenset(self._tasks)))
        for due in found[: STEPS - len(self._tasks)]:
            task = asyncio.create_task(self._undo(due))
            self._tasks[due.decision] = task
            task.add_done_callback(lambda _, done=due.decision: self._tasks.pop(done, None))  # type: ignore[misc]

    def busy(self) -> bool:
        """Whether anything is being undone, or will be without anybody's doing."""
        state = self._node.writer.book.state
        return bool(self._tasks or (state.compensation and not any(row.closed for row in list(state.stop.values()))))

    def running(self) -> list[dict[str, Any]]:
        """The steps that run now, for people."""
        with self._lock:
            return [
                {
                    "action": step.due.decision, "agent": step.due.agent, "step": step.due.step, "begun": step.number,
                    "ordered": step.ordered,
                }
                for step in self._steps.values()
            ]  # fmt: skip

    def stop(self, scope: str) -> None:
        """Everything within `scope` is stopped: steps too. Called once the fence is up, before that is durable."""
        with self._lock:
            found = [step for step in self._steps.values() if scope in scopes_of(step.due.step)]
            for step in found:
                step.ordered = True
        for step in found:
            if step.launched:
                self._node.executor.interrupt(step.number)

    # -- one undoing -------------------------------------------------------------------------------------------

    async def _undo(self, due: Due) -> None:
        """Run the step if it may be run, and write down how it ended, until that is written."""
        if due.over is not None:
            self._forget_report(due.begun)
            await self._write(due, due.begun, Seen(state=NOT if due.begun is None else UNKNOWN, detail=due.over))
            return
        if due.begun is not None and self._alive(due.begun):
            seen = Seen(state=UNKNOWN, detail=f"its node ended while {due.step} ran, and something of it runs still")
            await self._write(due, due.begun, seen)
            return
        try:
            prepared = await self._prepare(due)
        except FailwellError as error:
            # What was begun by a node that died may have done its part: only what never began is surely not undone.
            seen = Seen(state=NOT if due.begun is None else UNKNOWN, detail=self._how(due, error))
            await self._write(due, due.begun, seen)
            return
        if self._ending.is_set():
            return  # it stays owed
        number = None
        with contextlib.suppress(FailwellError):  # the ledger does not take it now: it stays owed
            number = await self._node.writer.submit_async(begin(due))
        if number is not None:
            self._forget_report(due.begun)
            seen = await self._run(due, number, *prepared)
            if not (self._ending.is_set() and due.harmless and seen.state == UNKNOWN):  # the next start runs it again
                await self._write(due, number, seen)

    async def _prepare(self, due: Due) -> tuple[ToolSettings, Held, bytes]:
        """What is to run, with which secrets, told what; raises FailwellError while nothing has started."""
        declared = self._node.settings.tools.get(due.step)
        if declared is None or not declared.command:
            raise Refused(
                f"no setting declares {due.step}",
                hint=f'Set [tools."{due.step}"] command in failwell.toml, then: failwell config apply',
            )
        held = await self._node.broker.hold(due.agent, declared)
        return declared, held, await asyncio.to_thread(self._input, due)

    @staticmethod
    def _how(due: Due, error: FailwellError) -> str:
        """Why the step was not run, and what can be done about it."""
        hint = "" if error.hint is None else f" {error.hint}".rstrip(".") + "."
        return f"{due.step} was not run: {error.message}.{hint} Then: failwell action compensate {due.decision}"

    def _input(self, due: Due) -> bytes:
        """What the step reads: what the action was given and what came of it."""
        decision, outcome = self._entry(due.decision), self._entry(due.outcome)
        given, came = self._secret(due.decision), self._secret(due.outcome)
        if "arguments" not in given:
            raise Refused(f"what action {due.decision} was given was erased")
        told = {
            "action": f"{self._node.marker_prefix}{due.decision}", "tool": decision.body.tool,
            "state": outcome.body.state, "why": outcome.body.why, "try": due.tries + 1, "result": came.get("result"),
        }  # fmt: skip
        if "result_base64" in came:
            told["result_base64"] = came["result_base64"]
        text = json.dumps(told, ensure_ascii=False, separators=(",", ":"))[:-1]
        # As the tool was given them, letter for letter: a number that is read and written again can be another one.
        return f'{text},"arguments":{given["arguments"]}}}\n'.encode("utf-8", "surrogatepass")

    def _entry(self, seq: int) -> Entry[Any]:
        stored = self._node.storage.entry(seq)
        if stored is None:
            raise Refused(f"entry {seq} is not there")
        return decode_entry(stored.data)

    def _secret(self, seq: int) -> dict[str, Any]:
        blob = self._node.storage.blob(seq)
        return {} if blob is None else self._node.vault.open(blob)

    # -- the process -------------------------------------------------------------------------------------------

    async def _run(self, due: Due, number: int, declared: ToolSettings, held: Held, told: bytes) -> Seen:
        """Start the step that is begun on record, and wait for its end. Never raises."""
        loop = asyncio.get_running_loop()
        over: asyncio.Future[Ended] = loop.create_future()

        def ended(found: Ended) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended: the next start finds it begun
                loop.call_soon_threadsafe(over.set_result, found)

        step = Step(due, number)
        with self._lock:
            self._steps[number] = step
        try:
            # INVARIANT: it is listed before the fence is asked. A stop raises the fence first and looks here then, so
            # that none falls between.
            self._node.fence.check(scopes_of(due.step))
            if self._ending.is_set():
                raise Refused("its node was stopped before it started")
            await asyncio.to_thread(self._launch, step, declared, held, told, ended)
        except FailwellError as error:
            with self._lock:
                del self._steps[number]
            return Seen(state=NOT, detail=self._how(due, error))
        try:
            return seen_of(await asyncio.to_thread(held.redaction.ended, await over), due.step)
        finally:
            with self._lock:
                del self._steps[number]

    def _launch(self, step: Step, declared: ToolSettings, held: Held, told: bytes, ended: Any) -> None:
        """Called off the loop."""
        cap = declared.output_cap_bytes
        launch = Launch(
            # No agent's: a suspension that is carried out without the node is not about it.
            action=step.number, agent="", tool=step.due.step, command=declared.command, cwd=declared.cwd,
            env=inherited({**held.surroundings, **declared.env, **held.secrets}), stdin=told,
            deadline_us=step.due.within_us, marker=f"{self._node.marker_prefix}{step.number}",
            output_cap_bytes=self._node.settings.node.output_cap_bytes if cap is None else cap,
            limits={} if declared.limits is None else declared.limits.rlimits(), scopes=scopes_of(step.due.step),
        )  # fmt: skip
        self._node.executor.launch(launch, ended)
        with self._lock:
            step.launched = True
            ordered = step.ordered
        if ordered:
            self._node.executor.interrupt(step.number)

    async def _write(self, due: Due, begun: int | None, seen: Seen) -> None:
        """Record the end; tried until the ledger takes it, or the node ends and the next start looks again."""
        while True:
            try:
                await self._node.writer.submit_async(end(due.decision, begun, seen), CONTAINMENT)
                return
            except FailwellError:
                if self._ending.is_set() or not self._node.writer.alive:
                    return
                await asyncio.sleep(RETRY_S)

    # -- a node that died --------------------------------------------------------------------------------------

    def _alive(self, begun: int) -> bool:
        """Whether anything may run still of a step that was begun by a node that died."""
        left = self._node.leftovers
        return bool(left.left_of(begun) or left.left_of(-1))

    def _forget_report(self, begun: int | None) -> None:
        """A supervisor that outlived its node reports of its step without what that printed: it decides nothing."""
        if begun is not None:
            Path(report_path(str(self._node.workspace.orders), begun)).unlink(missing_ok=True)

    async def end(self) -> None:
        """Stop what runs, and write down that nobody knows how far it came; what is owed stays owed."""
        self._ending.set()
        with self._lock:
            steps = list(self._steps.values())
            for step in steps:
                step.ordered = True
        for step in steps:
            if step.launched:
                self._node.executor.interrupt(step.number)
        tasks = list(self._tasks.values())
        if tasks:
            await asyncio.wait(tasks, timeout=END_S)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
