"""Drawn schedules of starts, stops, releases and deaths, with messages that come late, twice or never (I2, I3, I8).

    python -m tests.property.schedules --schedules 10000 --seed 7

prints one line and exits 1 at the first schedule in which anything does not hold.

Real: fence, runner, the writer's turns, gate, reactions, orders, recovery, the node's observers. Virtual: the clock,
and the processes of tools, which do only what the schedule lets them do next. Judged by the tools' own log.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from failwell.core import kinds, orders, rows
from failwell.core.errors import FailwellError, Refused
from failwell.execute.reports import SCHEMA, report_path, write_atomically
from failwell.execute.survivors import Found
from failwell.gate.floors import join_group
from failwell.gate.verdicts import Verdict
from failwell.identity import persons
from failwell.ledger import writer as writers
from failwell.ledger.jobs import CONTAINMENT, NORMAL, Job
from failwell.node.actions import Result, ToolRunner
from failwell.node.fence import Fence, Permit
from failwell.node.given_orders import GivenOrders
from failwell.node.measuring import Measuring
from failwell.node.preparing import Prepared
from failwell.node.recovery import recover
from failwell.node.scopes import Scopes
from failwell.node.service import Node
from failwell.node.uncontained import Uncontained
from failwell.ports.executor import Ended, Launch, Process, SelfTest, State
from failwell.ports.storage import StorageFailed
from failwell.response import orders as response
from failwell.response import releases
from failwell.response.stops import approve_lift, propose_lift
from tests.property.lives import verified
from tests.unit.gate.house import AGENT, OTHER, SECOND_US, House, contract_text

STEPS = 100
TOOLS = """
  - tool: payments.refund
    effect: reversible
    executor: supervised
    custody: none
    deadline: 10s
    arguments: {customer_id: "string(1..200)", order_id: "string(1..40)", amount: "money(2, 0..10000)"}
  - tool: notes.send
    effect: reversible
    executor: supervised
    custody: none
    deadline: 10s
    arguments: {customer_id: "string(1..200)", order_id: "string(1..40)", amount: "money(2, 0..10000)"}
"""
RULES = """
clauses:
  - {id: fatal, deny: payments.refund, when: context.args.amount == 300, severity: critical}
  - {id: odd, deny: payments.refund, when: context.args.amount == 700, severity: minor}
limits:
  - {id: per-hour, count: payments.refund, at_most: 200, per: 1h, then: deny, severity: minor}
response:
  - {signal: denied(odd), do: [interrupt, notify]}
"""
HANDS_OVER = "delegates: [other-bot]\n"
GROUPS = ("night", "day", "dusk")
SCOPES = (
    "all",
    *(f"group:{group}" for group in GROUPS),
    "tool:payments.refund",
    "contract:other-bot",
    "contract:spare",
)
FINE, FATAL, ODD = "5.00", "3.00", "7.00"
PREPARED = Prepared(executor="supervised", command=("tool",))


# ---- the tools, which are processes that the schedule moves ------------------------------------------------------


@dataclass(eq=False)
class Tool:
    """One launch: what its supervisor has been told and not heard yet, whether its tool began, lives, has ended."""

    launch: Launch
    told: Callable[[Ended], None]
    inbox: list[str] = field(default_factory=list)
    began: bool = False
    alive: bool = False
    frozen: bool = False
    end: Ended | None = None
    heard: bool = False

    @property
    def action(self) -> int:
        return self.launch.action


class VirtualTools:
    """`ports.executor.Executor`. A message lies in an inbox until the schedule has it read, once or twice."""

    def __init__(self, now_us: Callable[[], int], log: Callable[[str, int], None]) -> None:
        self._now_us = now_us
        self._log = log
        self.tools: dict[int, Tool] = {}

    def launch(self, launch: Launch, ended: Callable[[Ended], None]) -> Process:
        assert launch.action not in self.tools, f"action {launch.action} is launched twice"
        self.tools[launch.action] = Tool(launch, ended, ["start"])
        return Process(launch.action, 1)

    def freeze(self, actions: Iterable[int]) -> None:
        for action in actions:
            self._order(action, "freeze")

    def interrupt(self, action: int) -> None:
        self._order(action, "kill")

    def _order(self, action: int, order: str) -> None:
        tool = self.tools.get(action)
        if tool is not None and tool.end is None:
            tool.inbox.append(order)

    def running(self) -> dict[int, Process]:
        return {action: Process(action, 1) for action, tool in self.tools.items() if not tool.heard}

    def self_test(self, marker: str = "") -> SelfTest:
        raise NotImplementedError("nothing asks this executor to test itself")

    def use(self, shown: SelfTest) -> None:
        raise NotImplementedError("nothing asks this executor to test itself")

    def close(self) -> None:
        raise NotImplementedError("nothing closes this executor: its node is killed")

    # -- what the schedule does --------------------------------------------------------------------------------

    def read(self, tool: Tool, *, twice: bool) -> None:
        """A supervisor reads its next message; one that came twice is read again."""
        order = tool.inbox.pop(0)
        for _ in range(1 + twice):
            if tool.end is not None:
                return
            if order == "start" and not tool.began and not tool.frozen:
                tool.began = tool.alive = True
                self._log("began", tool.action)
            elif order == "freeze":
                tool.frozen = True
            elif order == "kill":
                self.kill(tool, "ordered")

    def kill(self, tool: Tool, why: str) -> None:
        """The sweep: whatever lives is gone, and what never began is proved not to have."""
        state: State = "interrupted_confirmed" if tool.began else "blocked"
        tool.alive = False
        self._end(tool, state, why)

    def finish(self, tool: Tool, state: State) -> None:
        """The tool ends by itself."""
        tool.alive = False
        self._log("done", tool.action)
        self._end(tool, state, None)

    def _end(self, tool: Tool, state: State, why: str | None) -> None:
        tool.end = Ended(
            action=tool.action, state=state, exit_code=0 if state == "completed" else None, signal=None, output=b"{}",
            truncated=False, errors=b"", started_us=1, ended_us=self._now_us(), swept=1,
            proven_by="no child left to wait for", why=why, sweep_us=10,
        )  # fmt: skip


# ---- a node without threads --------------------------------------------------------------------------------------


class _NoSeals:
    """`ledger.seals.Seals` of a guard that is always there and signs nothing: what seals delay is shown elsewhere."""

    newest = None
    waited_s = None
    sealed: Callable[[], None]

    def __init__(self) -> None:
        self.guard = SimpleNamespace(close=lambda: None)

    def late(self) -> None:
        return None

    def committed(self, head: Any) -> None: ...

    def wait(self, size: int) -> None: ...

    def close(self, within_s: float) -> None: ...


class SteppedWriter(writers.Writer):
    """The writer with its thread taken away: a turn is made when the schedule says so, or when somebody has to wait."""

    def turn(self) -> bool:
        while self._containment or not self._normal.empty():  # it may be woken for what was done before
            if self._turn(wait=False):
                return True
        return False

    def submit(
        self, job: Job[Any], lane: int = NORMAL, *, certain: bool = False, behind: bool = False, loop: Any = None
    ) -> Future[Any]:  # fmt: skip
        future = super().submit(job, lane, certain=certain, behind=behind, loop=loop)
        waiting: _Driven = _Driven(self)
        future.add_done_callback(waiting.take)
        return waiting


class _Driven(Future[Any]):
    """A future whose waiter makes the turns that answer it."""

    def __init__(self, writer: SteppedWriter) -> None:
        super().__init__()
        self._writer = writer

    def take(self, done: Future[Any]) -> None:
        error = done.exception()
        if error is not None:
            self.set_exception(error)
        else:
            self.set_result(done.result())

    def result(self, timeout: float | None = None) -> Any:
        while not self.done() and self._writer.turn():
            pass
        return super().result(0)


class VirtualNode(Node):
    """The node's own observers over a writer without a thread, and virtual tools."""

    def __init__(self, world: Schedule) -> None:
        self.fence = Fence(lambda: False)
        self.clock: Any = world.house.clock
        # What observes the same entries and neither starts nor stops anything is left out.
        self.proving = self.sessions = self.duties = self.outbox = self.heads = _Quiet()  # type: ignore[assignment]
        self.uncontained = Uncontained()
        book = world.house.book
        seals: Any = _NoSeals()
        self.writer: Any = SteppedWriter(
            book, seals, before=self._before, after=self._after, dropped=self._dropped, paused=True
        )
        for agent, row in book.state.agent.items():
            self.fence.set(agent, row.authority, row.epoch)
        self.given_orders = GivenOrders(self)
        self.scopes = Scopes(self, book.state)
        self.fence.inherit(seq for seq, action in book.state.action.items() if action.state == "open")
        self.measuring = Measuring(self.writer, world.house.clock.mono_us, lambda: 50_000)
        self.executor: Any = world.tools
        self.runner = ToolRunner(self.writer, self.fence, world.tools, "failwell.test/", 1024)

    def drive(self) -> None:
        while self.writer.turn():
            pass

    def housekeep(self) -> None:
        self.uncontained.tick(self.writer)
        self.given_orders.tick()
        self.runner.ends.tick()


class _Quiet:
    """Whatever it is told, it does nothing."""

    def __getattr__(self, name: str) -> _Quiet:
        return self

    def __call__(self, *_: Any) -> None: ...


# ---- the schedule ------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class Call:
    """One call of an agent on its way: asked, permitted, started."""

    agent: str
    run: int
    name: str
    asked: Future[Any]
    verdict: Verdict | None = None
    permit: Permit | None = None
    result: Future[Result] | None = None


class Schedule:
    """One workspace and what may happen in it next; `step` draws one of these."""

    node_of: Callable[[Schedule], VirtualNode] = VirtualNode

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.house = House()
        self.house.people()
        for agent, groups in ((AGENT, ()), (OTHER, ("night",))):
            self.house.register(agent, groups)
            self.house.adopt(self._contract(agent, 1))
        self.reports = Path(self.house.path).parent / "orders"
        self.reports.mkdir()
        #: What the tools themselves wrote, and when a stop's fence was up: in the order in which it happened.
        self.log: list[tuple[str, int]] = []
        self.tools = VirtualTools(self.house.clock.mono_us, self._note)
        self.node = type(self).node_of(self)
        self.runs = [(agent, self.house.run(agent)) for agent in (AGENT, OTHER)]
        self.runs.append((OTHER, self.house.run(OTHER, parent=self.runs[0][1])))
        self.calls: list[Call] = []
        self.names: dict[int, tuple[int, str]] = {}
        self.failing = False
        self.versions = 1
        self.counts: Counter[str] = Counter()
        self._watch()

    # -- what is watched ---------------------------------------------------------------------------------------

    def _note(self, what: str, action: int) -> None:
        self.log.append((what, action))
        if what == "began":
            self._allowed(action)

    def _allowed(self, action: int) -> None:
        """I2: at the moment when a tool begins, its ALLOW is read from the file, and nothing of it has begun before."""
        stored = self.house.storage.entry(action)
        assert stored is not None, f"action {action} began before its decision was durable"
        assert json.loads(stored.data)["body"]["verdict"] == "ALLOW", action
        assert self.log.count(("began", action)) == 1, f"action {action} began twice"
        name = self.names[action]
        begun = [seq for what, seq in self.log if what == "began" and self.names[seq] == name]
        assert begun == [action], f"call {name} began as {begun}"

    def _watch(self) -> None:
        """I3: a start that passes the fence passes it while nothing that it is within is stopped."""
        fence, world = self.node.fence, self
        start = fence.start

        def watched(permit: Permit, executor: str, **more: Any) -> Any:
            running = start(permit, executor, **more)
            world.within_nothing_stopped(permit)
            return running

        fence.start = watched  # type: ignore[method-assign]
        storage: Any = self.house.storage
        commit = storage.commit

        def slowly(*given: Any, **more: Any) -> Any:
            world.meanwhile()
            failing, world.failing = world.failing, False
            if failing:
                raise StorageFailed("the disk is full")
            return commit(*given, **more)

        storage.commit = slowly

    def within_nothing_stopped(self, permit: Permit) -> None:
        """By the record: neither as it is durable, nor as it is about to be with the batch under way."""
        state = self.house.state
        durable = {key: rows.decode_row("agent", row) for key, row in self.house.storage.rows("agent")}
        stops = [{key: rows.decode_row("stop", row) for key, row in self.house.storage.rows("stop")}, state.stop]
        for row in (state.agent[permit.agent], durable[permit.agent]):
            assert row.authority not in ("SUSPENDED", "RETIRED"), f"a start of {row.name}, which is {row.authority}"
        assert permit.action in state.action, f"action {permit.action} starts, and its end is on record"
        tool = state.action[permit.action].tool
        within = {"all", f"tool:{tool}"}
        for name in (permit.agent, *(name for name, _ in permit.chain)):
            now = state.agent[name]
            within |= {f"group:{group}" for group in now.groups}
            within.add(f"contract:{state.contract[now.contract or ''].id}")
        shut = [scope for scope in within for each in stops if scope in each and each[scope].closed]
        assert not shut, f"a start of {tool} by {row.name} within {shut}"

    # -- what may happen ---------------------------------------------------------------------------------------

    def step(self) -> None:
        moves = self._moves()
        move, weight = zip(*moves, strict=True)
        self.rng.choices(move, weight)[0]()

    def _moves(self) -> list[tuple[Callable[[], Any], float]]:
        live = [tool for tool in self.tools.tools.values() if tool.end is None]
        unheard = [tool for tool in self.tools.tools.values() if tool.end is not None and not tool.heard]
        asked = [call for call in self.calls if call.verdict is None and call.asked.done()]
        ready = [call for call in self.calls if call.verdict is not None and call.result is None]
        started = [call for call in self.calls if call.result is not None]
        moves: list[tuple[Callable[[], Any], float]] = [
            (self.ask, 12), (self.node.writer.turn, 14), (self.skip, 2), (self.suspend, 0.7), (self.stop, 0.6),
            (self.release, 2.5), (self.lift, 2.5), (self.lose_batch, 0.5), (self.node.housekeep, 1),
            (self.kill_node, 0.35), (self.lose_caller, 0.3), (self.join, 0.6), (self.adopt, 0.4),
        ]  # fmt: skip
        for items, move, weight in (
            (asked, self.permit, 10), (ready, self.start, 10), (self.calls, self.retry, 3),
            (started, self.start_again, 1),
            ([tool for tool in live if tool.inbox], self.deliver, 14),
            ([tool for tool in live if tool.alive and not tool.frozen], self.finish, 4), (unheard, self.hear, 10),
        ):  # fmt: skip
            if items:
                moves.append((lambda items=items, move=move: move(self.rng.choice(items)), weight))  # type: ignore[misc]
        return moves

    def ask(self) -> None:
        agent, run = self.rng.choice(self.runs)
        amount = self.rng.choices((FINE, FATAL, ODD), (95, 2, 3))[0]
        tool = self.rng.choice(("payments.refund", "notes.send"))
        self._ask(agent, run, self.house.proposal(run, amount, agent=agent, tool=tool))

    def _ask(self, agent: str, run: int, proposal: Any) -> None:
        self.proposals = getattr(self, "proposals", {})
        self.proposals[proposal.call] = (agent, run, proposal)
        asked = self.node.writer.submit(self.node_gate.decide(proposal))
        self.calls.append(Call(agent, run, proposal.call, asked))

    @property
    def node_gate(self) -> Any:
        return self.house.gate

    def retry(self, call: Call) -> None:
        """The same call once more: its answer was lost, or its caller is impatient."""
        self._ask(*self.proposals[call.name])

    def permit(self, call: Call) -> None:
        try:
            verdict = call.asked.result()
        except FailwellError:
            self.calls.remove(call)
            return
        self.counts[verdict.verdict] += 1
        if not verdict.may_start or verdict.repeated:
            self.calls.remove(call)
            return
        call.verdict = verdict
        self.names[verdict.entry] = (call.run, call.name)

    def start_again(self, call: Call) -> None:
        """The same permit once more: whatever is answered, nothing of it begins, and no end is made of what runs."""
        assert call.verdict is not None
        assert call.permit is not None
        with contextlib.suppress(Refused):
            self.node.runner.execute(call.verdict, call.permit, b"{}", PREPARED)

    def meanwhile(self) -> None:
        """What other threads get to do while a batch is on its way to the disk, its fences up and nothing durable."""
        for call in [call for call in self.calls if call.verdict is not None and call.result is None]:
            if self.rng.random() < 0.3:
                self.start(call)

    def start(self, call: Call) -> None:
        """Both halves of it apart: the permit is there, and the start comes whenever it comes."""
        verdict = call.verdict
        assert verdict is not None
        if call.permit is None:
            call.permit = self.node.fence.grant(
                verdict.entry, verdict.agent, verdict.epoch, verdict.chain, verdict.scopes
            )
            return
        with contextlib.suppress(Refused):  # its permit went with an order that found it unstarted
            call.result = self.node.runner.execute(verdict, call.permit, b"{}", PREPARED)
        if call.result is None:
            self.calls.remove(call)

    def deliver(self, tool: Tool) -> None:
        self.tools.read(tool, twice=self.rng.random() < 0.2)

    def finish(self, tool: Tool) -> None:
        self.tools.finish(tool, self.rng.choice(("completed", "failed")))

    def hear(self, tool: Tool) -> None:
        """The node reads how a tool ended."""
        tool.heard = True
        assert tool.end is not None
        tool.told(tool.end)

    def skip(self) -> None:
        self.house.clock.skip(self.rng.choice((1, 1000, SECOND_US)))

    def suspend(self) -> None:
        """A person's order, given twice now and then: by the socket, and as a file that lay in the workspace."""
        agent = self.rng.choice((AGENT, OTHER))
        job = self.house.suspend_order(self.rng.choice(("quan", "rita")), agent)
        for _ in range(1 + (self.rng.random() < 0.3)):
            self.node.writer.submit(job, CONTAINMENT)

    def stop(self) -> None:
        details = orders.StopScope(scope=self.rng.choice(SCOPES), reason="it looks wrong everywhere")
        signed = self.house.sign(self.rng.choice(("quan", "rita")), "stop", details, shown="0" * 64)
        self.node.given_orders.carry_out(signed)

    def join(self) -> None:
        """An agent comes into a group, for good."""
        agent, group = self.rng.choice((AGENT, OTHER)), self.rng.choice(GROUPS)
        details = orders.AgentGroup(agent=agent, group=group)
        signed = self.house.sign("olga", "agent.group", details)
        self.node.writer.submit(join_group(signed, persons.verify_order, lambda *_: None))

    def _contract(self, agent: str, version: int) -> str:
        return contract_text(RULES + HANDS_OVER * (agent == AGENT), tools=TOOLS, agent=agent, version=version)

    def adopt(self) -> None:
        """Its contract gets another name: it comes within what that one is within."""
        agent, names = self.rng.choice((AGENT, OTHER)), ("spare", "refund-bot", "other-bot")
        self.versions += 1
        text = self._contract(agent, self.versions)
        named = text.replace(text.partition("\n")[0], f"contract: {self.rng.choice(names)}", 1)
        self.node.writer.submit(self.house.adoption(named))

    def release(self) -> None:
        """Two persons give an agent back whose containment is complete."""
        state = self.house.state
        for number, case in list(state.incident.items()):
            if case.waiting or state.agent[case.agent].incident != number:
                continue
            if state.agent[case.agent].authority != "SUSPENDED":
                continue
            with contextlib.suppress(FailwellError):
                for page, row in list(state.page.items()):
                    if row.incident == number:
                        self._accepted(page, case.agent)
                self._order("olga", "incident.acknowledge", orders.IncidentAcknowledge(incident=number))
                named: dict[str, Any] = {"incident": number, "agent": case.agent}
                proposed = self._order(
                    "olga", "release.propose",
                    orders.ReleasePropose(authority="PROBATION", conditions="it is mended", evidence=(3,), **named),
                )  # fmt: skip
                digest = orders.order_digest(orders.parse_order(proposed.order))
                self._order("piet", "release.approve", orders.ReleaseApprove(proposal=digest, **named))
                self.counts["released"] += 1

    def _accepted(self, page: int, agent: str) -> None:
        from failwell.core.records import Draft
        from failwell.ledger.jobs import Plan

        body = kinds.PageAttempted(page=page, attempt=1, accepted=True, detail="250", checkpoint=1, next_due_us=None)
        self.node.writer.submit(
            lambda turn: Plan((Draft(body=body, actor="node", agent=agent),), lambda entries: None), CONTAINMENT
        ).result()

    def _order(self, person: str, kind: str, details: Any) -> orders.SignedOrder:
        signed = self.house.sign(person, kind, details)
        made: dict[str, Callable[..., Job[Any]]] = {
            "incident.acknowledge": response.acknowledge, "release.propose": releases.propose_release,
            "release.approve": releases.approve_release, "stop.propose": propose_lift, "stop.lift": approve_lift,
        }  # fmt: skip
        self.node.writer.submit(made[kind](signed, persons.verify_order), CONTAINMENT).result()
        return signed

    def lift(self) -> None:
        """Two others lift a stop that waits for nothing any more."""
        for scope, row in list(self.house.state.stop.items()):
            if not row.closed or row.waiting:
                continue
            with contextlib.suppress(FailwellError):
                named: dict[str, Any] = {"scope": scope, "epoch": row.epoch}
                proposed = self._order(
                    "olga", "stop.propose", orders.LiftPropose(conditions="it is mended", evidence=(3,), **named)
                )
                digest = orders.order_digest(orders.parse_order(proposed.order))
                self._order("piet", "stop.lift", orders.LiftApprove(proposal=digest, **named))
                self.counts["lifted"] += 1

    def lose_batch(self) -> None:
        """The next commit fails, as on a disk that is full."""
        self.failing = True

    def lose_caller(self) -> None:
        """An agent's process dies: what it had started is stopped."""
        agent = self.rng.choice((AGENT, OTHER))
        lost = [call for call in self.calls if call.agent == agent and call.result is not None]
        self.node.runner.abandon(tuple(call.verdict.entry for call in lost if call.verdict is not None))

    def kill_node(self) -> None:
        """SIGKILL: what it had in memory is gone. Supervisors sweep, and leave a report unless they die as well."""
        self.counts["node killed"] += 1
        for tool in self.tools.tools.values():
            if tool.heard:
                continue
            if tool.end is None:
                self.tools.kill(tool, "the node is gone")
            if self.rng.random() < 0.7:
                self._report(tool)
            tool.heard = True
        self.calls.clear()
        self.house.reopen()
        self.tools = VirtualTools(self.house.clock.mono_us, self._note)
        self.node = type(self).node_of(self)
        self._watch()
        recover(self.node.writer, self.reports, Found())
        assert not [seq for seq, row in self.house.state.action.items() if row.state == "open"]

    def _report(self, tool: Tool) -> None:
        end = tool.end
        assert end is not None
        body = {
            "schema": SCHEMA, "action": tool.action, "supervisor": tool.action, "state": end.state, "why": end.why,
            "exit_code": end.exit_code, "signal": None, "truncated": False, "started_us": 1, "ended_us": end.ended_us,
            "swept": 1, "proven_by": end.proven_by, "sweep_us": 1, "processes": [],
        }  # fmt: skip
        write_atomically(report_path(str(self.reports), tool.action), body, durable=False)

    # -- the end -----------------------------------------------------------------------------------------------

    def close(self) -> None:
        self.house.close()

    def settle(self) -> None:
        """Every message arrives, every tool ends, and the disk works."""
        for _ in range(10_000):
            self.node.housekeep()
            self.node.drive()
            todo = [tool for tool in self.tools.tools.values() if not tool.heard]
            if not todo and not self.node.runner.ends.waiting and not self.node.writer.turn():
                break
            for tool in todo:
                if tool.end is None and tool.inbox:
                    self.deliver(tool)
                elif tool.end is None:
                    assert not tool.frozen, f"action {tool.action} stands still, and nobody ends it"
                    self.finish(tool)
                else:
                    self.hear(tool)
        else:
            raise AssertionError("it does not come to rest")

    def holds(self) -> None:
        """What must be true at the end of any schedule."""
        outcomes = {body.decision: body.state for body in self.house.bodies(kinds.Outcome)}
        for what, action in self.log:
            assert what != "began" or action in outcomes, f"action {action} began, and its end is not on record"
            assert what != "began" or outcomes[action] != "blocked", f"action {action} began and is said not to have"
            assert what != "done" or outcomes[action] != "interrupted_confirmed", f"action {action} had ended by itself"
        confirmed = {body.action for body in self.house.bodies(kinds.InterruptConfirmed)}
        alive = {tool.action for tool in self.tools.tools.values() if tool.alive}
        assert not confirmed & alive, "said to be stopped, and alive"
        assert not self.node.fence.running()
        self._fence_is_as_recorded()
        wrong = verified(self.house)
        assert not wrong, wrong

    def _fence_is_as_recorded(self) -> None:
        """At rest nothing is closed that people gave back, nor open that they did not."""
        state, fence = self.house.state, self.node.fence
        agents, scopes = fence.epochs(state.agent, state.stop)
        assert agents == {name: row.epoch for name, row in state.agent.items()}
        assert scopes == {scope: row.epoch for scope, row in state.stop.items()}
        for name, row in state.agent.items():
            assert (name in fence._closed) == (row.authority in ("SUSPENDED", "RETIRED")), name
        for scope, stop in state.stop.items():
            with contextlib.nullcontext() if not stop.closed else pytest.raises(Refused):
                fence.check((scope,))


def lived(seed: int | str, number: int, steps: int = STEPS) -> Counter[str]:
    """One schedule, whole; what happened in it."""
    with _without_time(), contextlib.closing(Schedule(Random(f"{seed}/{number}"))) as schedule:
        for _ in range(steps):
            schedule.step()
        schedule.settle()
        schedule.holds()
        schedule.counts.update(what for what, _ in schedule.log)
        schedule.counts.update(type(entry.body).__name__ for entry in schedule.house.entries())
        return schedule.counts


@contextlib.contextmanager
def _without_time() -> Iterator[None]:
    """A batch ends by what is queued, a failed store is asked again at once: nothing hangs on this machine's speed."""
    changed = {"MEND_US": 0, "BATCH_S": 1e9, "LINGER_MOST_S": 0.0, "BEHIND_S": 0.0, "BATCH_JOBS": 3}
    before = {name: getattr(writers, name) for name in changed}
    try:
        for name, value in changed.items():
            setattr(writers, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(writers, name, value)


def main() -> int:
    """The campaign."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--schedules", type=int, default=10_000)
    parser.add_argument("--seed", default="")
    given = parser.parse_args()
    seed, began, seen = given.seed or "20260101", time.monotonic(), Counter[str]()
    for number in range(given.schedules):
        try:
            seen += lived(seed, number)
        except Exception as wrong:  # noqa: BLE001  whatever it is, it is told with its seed
            sys.stdout.write(f"schedules FAILED: seed {seed}, schedule {number}: {type(wrong).__name__}: {wrong}\n")
            return 1
    told = ", ".join(f"{seen[what]:,} {what}" for what in ("began", "done", "InterruptConfirmed", "released", "lifted"))
    sys.stdout.write(f"schedules: {given.schedules} hold ({told}, {seen['node killed']:,} nodes killed); ")
    sys.stdout.write(f"seed {seed}, {time.monotonic() - began:.0f} s\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
