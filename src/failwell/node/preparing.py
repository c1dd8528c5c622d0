"""What is to run for an allowed action, found while nothing has started: the command, its surroundings, its class.

How an action can be stopped follows from how it is run and from what its tool declares (`executor_class`); what a
contract promises of it and this way of running cannot give is refused before, not excused after (D8).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from failwell.core import contract as contracts
from failwell.core.errors import InputError, Refused
from failwell.core.state import State
from failwell.gate.verdicts import Verdict
from failwell.node.guarding import sealed
from failwell.node.redacting import NOTHING, Redaction
from failwell.node.requests import Target
from failwell.node.settings import ToolSettings

if TYPE_CHECKING:
    from failwell.node.service import Node

#: What each way of running an action delivers: a contract that declares one of these is kept.
KEEPS: dict[str, frozenset[str]] = {
    "fenced": frozenset({"fenced", "supervised", "cooperative", "unstoppable"}),
    "transactional": frozenset({"transactional", "supervised", "cooperative", "unstoppable"}),
    "supervised": frozenset({"supervised", "cooperative", "unstoppable"}),
    "cooperative": frozenset({"cooperative", "unstoppable"}),
    "unstoppable": frozenset({"unstoppable"}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """One action ready to be started: `executor` is its class, `settings` what an operator declared for its tool.

    `secrets` are the values that its environment holds and that nobody else may see, by variable; `redaction` takes
    them out of whatever comes back. `heard` is given its output on its way (`node.passing`).
    `session`: nothing is run for it, a tool server of that session is asked (`node.upstreams`); `progress` is told how
    far that is.
    """

    executor: str
    command: tuple[str, ...] = ()
    cwd: str | None = None
    env: dict[str, str] = field(default_factory=dict, repr=False)
    deadline_us: int | None = None
    settings: ToolSettings | None = None
    secrets: dict[str, str] = field(default_factory=dict, repr=False)
    redaction: Redaction = NOTHING
    heard: Callable[[bytes], None] | None = field(default=None, repr=False)
    session: str | None = None
    progress: Callable[[float, float | None, str | None], None] | None = field(default=None, repr=False)

    @property
    def limits(self) -> dict[str, int]:
        """What each of its processes may take of the machine."""
        declared = None if self.settings is None else self.settings.limits
        return {} if declared is None else declared.rlimits()

    @property
    def waits_to_start(self) -> bool:
        """Whether it is started off the loop: only a running tool server is asked without waiting for anything."""
        return self.session is None or self.executor == "transactional"

    def output_cap_bytes(self, otherwise: int) -> int:
        """How much of its output is kept."""
        declared = None if self.settings is None else self.settings.output_cap_bytes
        return otherwise if declared is None else declared


class Preparer:
    """Makes allowed actions ready; raises FailwellError while nothing has started, and the action is blocked."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def check_forwarded(self, verdict: Verdict) -> None:
        """Refused for a tool server's tool: nobody else runs it, and nobody gets leave to.

        Attack: what the agent runs by itself, on record under the name of what a person accepted.
        """
        if verdict.tool.partition(".")[0] in self._node.settings.upstreams:
            raise Refused(
                f"{verdict.tool} is a tool server's: it is forwarded to that, and run by nobody else",
                hint="The agent's MCP client calls it: failwell gateway --agent NAME",
            )

    async def prepare(
        self, verdict: Verdict, tools: tuple[contracts.Tool, ...] | None, how: str, target: Target | None,
        session: str | None = None,
    ) -> Prepared:  # fmt: skip
        """What is to run for an allowed action. A tool that the settings declare runs as declared there.

        `tools`: what its contracts say of its tool (`declared`); None where nobody has looked yet.
        """
        if tools is None:
            tools = await self._node.questions.look(lambda state: declared(state, verdict))
        settings = self._node.settings.tools.get(verdict.tool)
        upstream = self._node.settings.upstreams.get(verdict.tool.partition(".")[0])
        if how in ("begin", "execute"):
            self.check_forwarded(verdict)
        executor = executor_class(how, settings, tools, elsewhere=upstream is not None and upstream.url is not None)
        for tool in tools:
            if tool.executor is not None and tool.executor not in KEEPS[executor]:
                raise Refused(
                    f"the contract declares {verdict.tool} as {tool.executor}, and this caller can only run it"
                    f" {executor}: it was not started",
                    hint=f"Let the node run it (an importable function, or a command), or declare executor: {executor}."
                    if how == "begin" else f'See [tools."{verdict.tool}"] in failwell.toml: docs/stopping.md',
                )  # fmt: skip
        self._node.tested.check(executor, verdict.tool)
        deadline_us = min((tool.deadline_us for tool in tools if tool.deadline_us is not None), default=None)
        if verdict.irreversible:
            await sealed(self._node.writer.seals, verdict.entry)
        if how == "forward":
            ready = Prepared(executor=executor, deadline_us=deadline_us, settings=settings)
            return self._node.forwarding.prepare(verdict, session, ready)
        if how in ("begin", "permit"):
            return Prepared(executor=executor, deadline_us=deadline_us, settings=settings)
        if settings is not None and not (settings.runs_function and target is not None):
            target = Target(command=settings.command, cwd=settings.cwd, env=settings.env)
        if target is None or not target.command:
            raise InputError(
                f"nothing is declared to run for {verdict.tool}",
                hint=f'Decorate a function with @gate.tool("{verdict.tool}"), or set [tools."{verdict.tool}"] command.',
            )
        # Attack: a target of the agent's own, named like a tool that holds a secret. What is declared runs alone.
        held = await self._node.permits.carry(verdict, await self._node.broker.hold(verdict.agent, settings))
        return Prepared(
            executor=executor, command=target.command, cwd=target.cwd, env={**held.surroundings, **target.env},
            deadline_us=deadline_us, settings=settings, secrets=held.secrets, redaction=held.redaction,
        )  # fmt: skip


def executor_class(
    how: str, settings: ToolSettings | None, tools: tuple[contracts.Tool, ...], *, elsewhere: bool = False
) -> str:  # fmt: skip
    """How an action run this way can be stopped, honestly.

    `how`: begin (the caller runs it), permit (a server elsewhere does), execute (under a supervisor) or forward (a tool
    server does: under a supervisor, or `elsewhere`). What a contract calls unstoppable goes on elsewhere, whatever is
    killed here.
    """
    if elsewhere or any(tool.executor == "unstoppable" for tool in tools):
        return "unstoppable"
    if how == "begin":
        return "cooperative"
    if settings is not None and settings.fence is not None:
        return "fenced"
    if how == "permit":
        return "unstoppable"
    if settings is not None and settings.transaction is not None:
        return "transactional"
    return "unstoppable" if settings is not None and settings.confirm is not None else "supervised"


def declared(state: State, verdict: Verdict) -> tuple[contracts.Tool, ...]:
    """What the contracts of all who handed an action over say of its tool."""
    if not verdict.governed:
        return ()  # what a contract promises of an OBSERVED agent's tools is not enforced
    # Attack: work handed to an agent whose own contract promises less of the tool: no stop, no deadline.
    found = (state.contract_of(agent) for agent in (*dict(verdict.chain), verdict.agent))
    return tuple(tool for each in found if each is not None for tool in each.tools if tool.tool == verdict.tool)
