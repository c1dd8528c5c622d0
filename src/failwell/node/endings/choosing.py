"""Which ending an action has, by its class; and what they all need: commands, threads, timers, later proofs."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from failwell.core import kinds, rows
from failwell.core.errors import Refused
from failwell.core.records import Entry
from failwell.execute import marks
from failwell.execute.transaction import DATABASE
from failwell.ledger.jobs import Job, Plan, Turn
from failwell.ledger.writer import Writer
from failwell.node.endings.commands import Commands
from failwell.node.endings.elsewhere import Elsewhere, confirming
from failwell.node.endings.fenced import Fenced
from failwell.node.endings.later import Afterwards
from failwell.node.endings.statement import CutShort, Ending, Statement
from failwell.node.endings.threads import Threads
from failwell.node.endings.transactional import Transactional
from failwell.node.fence import Fence, Permit
from failwell.node.preparing import Prepared, executor_class
from failwell.node.settings import ToolSettings
from failwell.node.timers import Timers
from failwell.ports.clock import Clock
from failwell.ports.executor import Ended, Executor

#: Entries behind a decision among which it is looked for what it was started as.
_SEARCHED = 5000
About = Callable[[], dict[str, Any]]
Tools = Mapping[str, ToolSettings]


class Endings:
    """Makes the ending of each action. `place` is the workspace: relative paths start there."""

    def __init__(
        self, writer: Writer, fence: Fence, executor: Executor, marker_prefix: str, place: Path, clock: Clock
    ) -> None:  # fmt: skip
        self._writer = writer
        self._fence = fence
        self._marker_prefix = marker_prefix
        self._place = place
        self.clock = clock
        self.timers = Timers()
        self._threads = Threads()
        self._commands = Commands(executor, marker_prefix, place)
        #: Tools that ended well outside of the transaction that was declared for them.
        self._doubted: set[str] = set()
        self.later = Afterwards(writer, self.timers, self.run)

    def run(self, tool: str, work: Callable[[], Any]) -> Future[Any]:
        """Do what may wait in a thread of its own, which keeps no other tool waiting. Never raises."""
        return self._threads.run(tool, work)

    def of(self, permit: Permit, tool: str, prepared: Prepared) -> tuple[Ending | None, dict[str, str]]:
        """The ending of an action, and what its process finds in its environment for it.

        None where its processes' end says it all. Refused where what its class needs is not there.
        """
        settings = prepared.settings
        about = self._about(permit.action, tool, permit)
        if prepared.executor == "fenced" and settings is not None:
            return self._fenced(tool, settings, about), {}
        if prepared.executor == "transactional" and settings is not None:
            return self._transactional(permit.action, tool, settings)
        if prepared.executor == "unstoppable":
            return self.elsewhere(permit, tool, prepared), {}
        return None, {}

    def _fenced(self, tool: str, settings: ToolSettings, about: About) -> Fenced:
        return Fenced(self._commands, settings, about, lambda work: self.run(tool, work), self.clock.mono_us)

    def elsewhere(self, permit: Permit, tool: str, prepared: Prepared) -> Elsewhere:
        """The ending of what goes on elsewhere, its deadline counted from now on."""
        began_us, mono_us = self.clock.mono_us(), self.clock.mono_us

        def until_us() -> int | None:
            return None if prepared.deadline_us is None else began_us + prepared.deadline_us

        about = self._about(permit.action, tool, permit)
        confirm = confirming(self._commands, prepared.settings, about, until_us, mono_us)
        return Elsewhere(confirm, until_us, mono_us, self.clock.wall_us)

    def _transactional(self, action: int, tool: str, settings: ToolSettings) -> tuple[Transactional, dict[str, str]]:
        path = str(self._place / str(settings.transaction))
        made = Transactional(
            path, f"{self._marker_prefix}{action}", marks.prepare(path), doubted=lambda: tool in self._doubted,
            doubt=lambda: self._doubted.add(tool), mono_us=self.clock.mono_us,
        )  # fmt: skip
        return made, {DATABASE: path}

    def _about(self, action: int, tool: str, permit: Permit) -> About:
        """What a command is told of an action: the epochs are those of the moment at which it is asked."""

        def about() -> dict[str, Any]:
            agents = (permit.agent, *(name for name, _ in permit.chain))
            epochs, scopes = self._fence.epochs(agents, [scope for scope, _ in permit.scopes])
            return {
                "action": action, "tool": tool, "agent": permit.agent, "epoch": epochs.pop(permit.agent),
                "chain": epochs, "scopes": scopes,
            }  # fmt: skip

        return about

    def fence_leave(self, end: Ended, settings: Tools) -> Ended:
        """Tell the resource of an action that its caller, or a server, does by itself: what is unused is void then.

        It stays unconfirmed: what had begun there may go on.
        """
        began = self._writer.submit(_started_as(end.action, self.clock)).result()
        declared = settings.get(began.tool)
        if declared is None or declared.fence is None:
            return end
        about = self._about(end.action, began.tool, Permit(end.action, began.agent, 0))
        return self._fenced(began.tool, declared, about).say(end, ordered=True).end

    # -- after a crash -----------------------------------------------------------------------------------------

    def recovered(self, cut: Sequence[CutShort], settings: Tools) -> list[tuple[Ended, str]]:
        """What the ends of a dead node's actions are worth, each with its class; asked side by side."""
        asked = [self.run("recovery", lambda each=each: self._recovered(each, settings)) for each in cut]  # type: ignore[misc]
        return [each.result() for each in asked]

    def _recovered(self, cut: CutShort, settings: Tools) -> tuple[Ended, str]:
        """Only of what is known to have run under a supervisor is anything asked: a caller's own action of the same
        tool is in no transaction of ours. What may show more later is looked for from now on.
        """
        action = cut.end.action
        began = self._writer.submit(_started_as(action, self.clock)).result()
        declared, executor = settings.get(began.tool), began.executor
        if not executor and cut.reported:
            executor = executor_class("execute", declared, ())
        permit = Permit(action, began.agent, 0)
        left_us = None if began.until_us is None else began.until_us - self.clock.mono_us()
        try:
            prepared = Prepared(executor=executor, settings=declared, deadline_us=left_us)
            ending, _ = self.of(permit, began.tool, prepared)
        except Refused as error:
            return _doubtful(cut.end, error.message), executor
        said = Statement(cut.end) if ending is None else ending.say(cut.end, ordered=cut.ordered)
        self.later.add(action, said.later)
        return said.end, executor or "none"

    def ask_again(self, settings: Tools) -> None:
        """Of what a dead node could not confirm, ask those of whom somebody can still say that they ended."""
        for action in self._writer.submit(_unconfirmed).result():
            began = self._writer.submit(_started_as(action, self.clock)).result()
            declared = settings.get(began.tool)
            if began.executor == "unstoppable" and declared is not None:
                about = self._about(action, began.tool, Permit(action, began.agent, 0))
                confirm = confirming(self._commands, declared, about, lambda at=began.until_us: at, self.clock.mono_us)  # type: ignore[misc]
                self.later.add(action, confirm)

    def close(self) -> None:
        """Forget what is not shown by now; what is being found out is waited for."""
        self.timers.close()
        self._threads.close()


def _doubtful(end: Ended, why: str) -> Ended:
    """Nothing can be asked about it, so that its processes' end does not show what its class promises."""
    if end.state in ("completed", "failed", "blocked"):
        return end
    return replace(end, state="interrupted_unconfirmed", why=f"{end.why}; {why}")


def _unconfirmed(turn: Turn) -> Plan[tuple[int, ...]]:
    """The actions that incidents and stops still hold for not confirmed."""
    waits: tuple[rows.Incident | rows.Stop, ...] = (*turn.state.incident.values(), *turn.state.stop.values())
    found = tuple(sorted({action for each in waits for action in each.failed}))
    return Plan((), lambda _: found)


class _Began(NamedTuple):
    """An action as an earlier node had it: its class (nothing where no entry says so), and its deadline by the boot
    clock, counted from its decision.
    """

    agent: str = ""
    tool: str = ""
    executor: str = ""
    until_us: int | None = None


def _started_as(action: int, clock: Clock) -> Job[_Began]:
    def job(turn: Turn) -> Plan[_Began]:
        decision = turn.entry(action)
        found = _Began()
        if decision is not None:
            agent, tool = str(decision.agent), decision.body.tool
            # The boot clock of another boot tells no time: what was left of its deadline is not known, all of it is.
            began_us = decision.mono_us if decision.boot == clock.boot() else clock.mono_us()
            deadline_us = _deadline(turn, decision)
            until_us = None if deadline_us is None else began_us + deadline_us
            found = _Began(agent, tool, _executor(turn, action), until_us)
        return Plan((), lambda _: found)

    return job


def _deadline(turn: Turn, decision: Entry[Any]) -> int | None:
    """The shortest deadline of the contracts that it was decided under, as far as they are still known."""
    handed = [part.removeprefix("agent:") for part in decision.body.chain if part.startswith("agent:")]
    working = [agent for agent in handed if agent != decision.agent]
    cited = decision.body.contract
    own = [digest for digest, row in turn.state.contract.items() if f"{row.id}@{row.version}" == cited]
    found = [turn.state.contract_at(digest) for digest in own] + [turn.state.contract_of(each) for each in working]
    tools = [tool for each in found if each is not None for tool in each.tools if tool.tool == decision.body.tool]
    return min((tool.deadline_us for tool in tools if tool.deadline_us is not None), default=None)


def _executor(turn: Turn, action: int) -> str:
    """Written behind the decision, and soon; left out where its end overtook it."""
    for seq in itertools.islice(range(action + 1, turn.seq), _SEARCHED):
        entry = turn.entry(seq)
        if entry is not None and isinstance(entry.body, kinds.Started) and entry.body.decision == action:
            return entry.body.executor
    return ""
