"""The node's door: a unix socket in the runtime directory, one asyncio loop, typed frames in and out (D1).

A connection proves its identities by answering the greeting's challenge; what it may ask follows from them. Callers
that prove nothing get nothing but a count of their refusals. The door judges nothing itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import msgspec

from failwell.core.errors import FailwellError, InputError, Refused
from failwell.core.state import State
from failwell.execute.callers import Caller, caller_of
from failwell.gate.custody import record_probes
from failwell.gate.outcomes import Settlement
from failwell.gate.runs import Declared, close_run, open_run
from failwell.gate.verdicts import Proposal, Unanswered, Verdict, check_call_id
from failwell.identity import agents, names
from failwell.ledger.jobs import Plan, Turn
from failwell.node import requests as asked
from failwell.node.actions import CALLER_GONE
from failwell.node.assembly import EVALUATOR
from failwell.node.certifying import KEY_GONE
from failwell.node.endings.cooperating import SAID
from failwell.node.identities import Identities
from failwell.node.informed import Judged, decide_informed
from failwell.node.leaving import give_leave
from failwell.node.passing import passing_on
from failwell.node.refusals import REFUSED_ORDER
from failwell.node.requests import DECODER, MAX_FRAME_BYTES, Greeting, frame, peek_id
from failwell.node.saying import say

if TYPE_CHECKING:
    from failwell.node.service import Node

#: What a connection that has proved nothing may send at once: room for an order and a contract, not for a flood.
UNPROVED_FRAME_BYTES = 1024 * 1024
#: Frames of one connection that are taken up in one turn of the loop: a flood must not keep an order from the door.
FRAMES_A_TURN = 32
#: Answers that a caller leaves unread; beyond, it is hung up on: a slow reader must not fill the node's memory.
MAX_UNREAD_BYTES = 64 * 1024 * 1024
#: Requests of one connection that may wait at once; more are refused, so that one caller cannot fill the queue.
MAX_WAITING = 20_000


class Connection(asyncio.Protocol):
    """One client. `agents` and `host` are the identities it has proved."""

    def __init__(self, node: Node, lost: Callable[[Connection], None]) -> None:
        self._node = node
        self._lost = lost
        self._buffer = bytearray()
        self._waiting = 0
        self._tasks: set[asyncio.Future[Any]] = set()
        self.challenge = agents.challenge(secrets.token_bytes(agents.CHALLENGE_BYTES))
        self.agents = Identities(node.clock.wall_us, node.clock.mono_us)
        self.host: str | None = None
        #: The name of the door at the other end, where it is one, and (role, name) of the caller that it passed on.
        self.door: str | None = None
        self.stands_for: tuple[str, str] | None = None
        self.peer_pid, self._user = 0, ""
        self.executing: set[int] = set()
        self._supervised: set[int] = set()
        self.gone = False
        self._peer: Caller | str | None = None
        self.unread = False
        self._more: asyncio.Handle | None = None

    # -- frames ------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        peer: socket.socket = transport.get_extra_info("socket")
        pid, uid, _ = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        self.peer_pid, self._user = pid, f"uid:{uid}"
        if uid not in (os.getuid(), 0):
            self._node.refusals.count(f"uid:{uid}", "another user of this machine")
            transport.close()
            return
        if self._node.crowded():
            # Tools, reports and orders need descriptors too: who connects without end does not get the last ones.
            self._node.refusals.count(f"pid:{pid}", "too many connections")
            transport.close()
            return
        self.push(
            Greeting(
                protocol=1, origin=self._node.origin, origins=self._node.origins, node=self._node.name,
                challenge=self.challenge.hex(), pid=os.getpid(), mode=self._node.mode,
            )
        )  # fmt: skip

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._read()

    def _read(self) -> None:
        """Take up some of the frames that are there; the rest waits its turn, behind other callers and orders."""
        buffer, start = self._buffer, 0
        for _ in range(FRAMES_A_TURN):
            if len(buffer) - start < 4:
                break
            length = int.from_bytes(buffer[start : start + 4], "big")
            allowed = MAX_FRAME_BYTES if self.agents or self.host else UNPROVED_FRAME_BYTES
            if length > allowed:
                self._refuse(0, InputError(f"a frame of {length} bytes; at most {allowed} are read"))
                buffer.clear()
                self._transport.close()
                return
            if len(buffer) - start < 4 + length:
                break
            self._request(bytes(buffer[start + 4 : start + 4 + length]))
            start += 4 + length
        else:
            self._transport.pause_reading()
            self._more = asyncio.get_running_loop().call_soon(self._read)
            del buffer[:start]
            return
        del buffer[:start]
        self._more = None
        self._read_on()

    def _read_on(self) -> None:
        if self._more is None and not self.unread:
            self._transport.resume_reading()

    def pause_writing(self) -> None:
        """The caller does not read its answers: it is not asked for more questions until it does."""
        self.unread = True
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self.unread = False
        self._read_on()

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone = True
        if isinstance(self._peer, Caller):
            self._peer.connected = False
        if self._more is not None:
            self._more.cancel()
        self._node.sessions.lost(self)
        for action in tuple(self.executing):
            self._node.runner.lost(action, "the process that executed it is gone")
        self._node.runner.abandon(tuple(self._supervised))
        self._lost(self)

    def push(self, message: Any) -> None:
        if not self._transport.is_closing():
            self._transport.write(frame(message))
            if self._transport.get_write_buffer_size() > MAX_UNREAD_BYTES:
                self._transport.abort()

    # -- requests ----------------------------------------------------------------------------------------------

    def _request(self, data: bytes) -> None:
        try:
            request = DECODER.decode(data)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            self._refuse(peek_id(data), InputError(f"the request does not decode: {error}"))
            return
        if self._waiting >= MAX_WAITING:
            self._refuse(request.id, Refused(f"{MAX_WAITING} requests of this connection wait already", code="busy"))
            return
        self._waiting += 1
        try:
            self._node.proving.passed.check(self, request)
            answer = self._handle(request)
        except FailwellError as error:
            self._done(request.id, error=error)
            return
        task = asyncio.ensure_future(self._finish(request.id, answer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _finish(self, number: int, answering: Awaitable[Any]) -> None:
        """Await the answer and send it, within one task: another turn of the loop would be waiting for nothing."""
        try:
            answer = await answering
        except asyncio.CancelledError:
            self._done(number, error=Refused("the node is stopping", code="stopping"))
        except Exception as error:  # noqa: BLE001  whatever went wrong, whoever asked is told
            self._done(number, error=error)
        else:
            self._done(number, answer=answer)

    def _done(self, number: int, *, answer: Any = None, error: BaseException | None = None) -> None:
        self._waiting -= 1
        if error is None:
            self.push({"id": number, "ok": answer})
        else:
            self._refuse(number, error)

    def _refuse(self, number: int, error: BaseException) -> None:
        if isinstance(error, FailwellError):
            told = {"code": error.code, "message": error.message, "hint": error.hint}
        else:
            told = {"code": "failed", "message": f"{type(error).__name__}: {error}", "hint": None}
        self.push({"id": number, "error": told})

    def _handle(self, request: asked.AnyRequest) -> Awaitable[Any]:
        node = self._node
        match request:
            case asked.Act():
                answer = self._act(request)
            case asked.Settle():
                answer = self._settle(request)
            case asked.OpenRun():
                answer = self._open_run(request)
            case asked.CloseRun():
                answer = self._close_run(request)
            case asked.Give():
                answer = self._give(request)
            case asked.Explain() | asked.Say():
                answer = say(node, self, request)
            case asked.Probed():
                answer = self._probed(request)
            case asked.OpenUpstreams() | asked.ListUpstreams() | asked.CloseUpstreams() | asked.Cancel():
                answer = node.forwarding.answer(self, request)
            case asked.Ask():
                answer = node.questions.answer(request.about, request.key)
            case _:
                answer = self._other(request)
        return answer

    def _other(self, request: asked.Given | asked.Shown) -> Awaitable[Any]:
        """What comes back of messages, and who is at the door."""
        if isinstance(request, asked.Given):
            return self._node.answering.answer(request)
        return self._node.proving.answer(self, request)

    def need(self, agent: str) -> None:
        """Only who proved to be `agent` speaks for it. Everyone else is counted, not recorded one by one (D26)."""
        if agent not in self.agents:
            self._node.refusals.count(f"pid:{self.peer_pid}", "no proof of identity")
            raise Refused(
                f"this connection has not proved to be {agent}", code="unauthenticated",
                hint="The agent's key lies with whoever registered it: failwell agent register",
            )  # fmt: skip

    async def _open_run(self, request: asked.OpenRun) -> int:
        host = self.host
        if request.parent is not None:
            # Only the agent whose run it is hands it over; principal and request are that run's.
            self.need(await self._node.questions.look(lambda state: _worker(state, request.parent)))
            host = None
        elif host is None or self._node.shares_process(request.agent, self.peer_pid):
            # Where host and agent are one process, nobody but the agent's side says on whose behalf it works (D24).
            self.need(request.agent)
            host = None
        return await self._node.writer.submit_async(
            open_run(
                request.agent, principal=request.principal, request=request.request, host=host, parent=request.parent,
                declared=Declared(request.model, request.prompt, request.tool_schemas), evaluator=EVALUATOR,
            )
        )  # fmt: skip

    async def _probed(self, request: asked.Probed) -> tuple[int, ...]:
        """What it can reach without us, by the agent's own word."""
        self.need(request.agent)
        return await self._node.writer.submit_async(record_probes(request.agent, request.uid, request.found))

    async def _give(self, request: asked.Give) -> Any:
        try:
            # Behind a door may be anybody, on any machine: then nobody here can say whose process it was.
            return await self._node.given_orders.take(request, None if self.door else self._user)
        except Refused:
            self._node.refusals.count(f"pid:{self.peer_pid}", REFUSED_ORDER)
            raise

    def _act(self, request: asked.Act) -> Awaitable[Any]:
        proposal = Proposal(
            agent=request.agent, run=request.run, call=check_call_id(request.call), tool=request.tool,
            arguments=request.arguments.encode("utf-8", "surrogatepass"), reason=request.reason, ticket=request.ticket,
        )  # fmt: skip
        if request.agent not in self.agents and (self.agents or self.host):
            return self._deny_unknown(proposal)
        self.need(request.agent)
        if request.how == "forward":
            decided: Awaitable[Judged] = self._node.forwarding.decide(self, request, proposal)
        else:
            decided = decide_informed(self._node, proposal)
        # While an action is on its way from verdict to start its run stays open: what is closed never starts.
        self._node.under_way[request.run] += 1
        return self._execute(request, proposal, decided)

    async def still(self, verdict: Verdict) -> None:
        """Raises Refused, the action being blocked, where the identity was lost that the verdict was asked for with."""
        if verdict.may_start and verdict.agent not in self.agents:
            self._node.fence.take(verdict.entry)
            await asyncio.wrap_future(self._node.runner.block(verdict.entry, KEY_GONE))
            raise Refused(KEY_GONE, code="unauthenticated")

    async def _deny_unknown(self, proposal: Proposal) -> dict[str, Any]:
        """Who proved somebody and speaks for an agent that nobody knows is denied on record, not merely counted."""
        names.parse_agent(proposal.agent)

        def job(turn: Turn) -> Plan[Verdict | Unanswered]:
            if turn.state.agent_named(proposal.agent) is not None:
                self.need(proposal.agent)
            return self._node.gate.decide(proposal)(turn)

        return {"verdict": await self._node.writer.submit_async(job), "result": None}

    async def _close_run(self, request: asked.CloseRun) -> None:
        self.need(request.agent)
        if self._node.under_way[request.run]:
            raise Refused(f"actions of run {request.run} are still under way", code="busy", hint="Await them first.")
        running = frozenset(item.action for item in self._node.fence.running())
        told = self._node.fence.told()
        await self._node.writer.submit_async(close_run(request.run, request.agent, request.reason, running, told))
        self._node.fence.forget_told([seq for seq in told if seq not in self._node.writer.book.state.action])

    async def _execute(self, request: asked.Act, proposal: Proposal, decided: Awaitable[Judged]) -> Any:
        try:
            if request.how in ("decide", "permit"):
                return await give_leave(self._node, self, request, decided)
            return await self._execute_decided(request, proposal, await decided)
        finally:
            self._node.under_way[request.run] -= 1
            if not self._node.under_way[request.run]:
                del self._node.under_way[request.run]

    async def _execute_decided(self, request: asked.Act, proposal: Proposal, judged: Judged) -> dict[str, Any]:
        verdict = judged.verdict
        if not verdict.may_start or verdict.repeated:
            told, outcome = await self._node.questions.recorded.told(verdict)
            return {"verdict": told, "result": outcome}
        try:
            await self._node.wait_for_orders()
            prepared = await self._node.preparer.prepare(*judged, request.how, request.target, request.session)
            prepared = self._node.forwarding.follow(self, request, prepared)
            if self.gone:
                raise Refused(CALLER_GONE)
        except FailwellError as error:
            # Nothing was started: the record says so, and the limits that it reserved are given back.
            blocked = await asyncio.wrap_future(self._node.runner.block(verdict.entry, error.message))
            if request.how == "forward":
                return {"verdict": verdict, "result": blocked.told()}
            raise
        permit = self._node.fence.grant(verdict.entry, verdict.agent, verdict.epoch, verdict.chain, verdict.scopes)
        # INVARIANT: asked once the permit is there. Whoever takes the key away takes the identity first and what is
        # permitted then, so that no permit is left over that would start.
        await self.still(verdict)
        if request.how == "begin":
            tell = self._tell_to_stop(asyncio.get_running_loop())
            self._node.runner.begin(verdict, permit, prepared, tell, self._caller())
            self.executing.add(verdict.entry)
            return {"verdict": verdict, "result": None}
        self._supervised.add(verdict.entry)
        prepared = passing_on(self, request, prepared)
        try:
            result = await self._node.execute(verdict, permit, proposal.arguments, prepared)
        finally:
            self._supervised.discard(verdict.entry)
        return {"verdict": verdict, "result": result.told()}

    def _caller(self) -> Caller | str:
        """The process at the other end, as the kernel knows it; looked at once."""
        if self._peer is None:
            self._peer = caller_of(self._transport.get_extra_info("socket"), (os.getpid(),))
        return self._peer

    def _tell_to_stop(self, loop: asyncio.AbstractEventLoop) -> Callable[[int], None]:
        def tell(action: int) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended, and its callers with it
                loop.call_soon_threadsafe(self.push, {"push": "interrupt", "action": action})

        return tell

    async def _settle(self, request: asked.Settle) -> int:
        self.need(request.agent)
        if request.state not in SAID:
            raise InputError(f"{request.state!r} is not how a caller's action ends")
        # Attack: another agent's word on an action that it does not execute.
        if request.action not in self.executing:
            raise Refused(f"action {request.action} is not executed by this caller", code="not-open")
        settlement = Settlement(
            decision=request.action, state=request.state, by="agent",
            result=None if request.result is None else request.result.encode("utf-8", "replace"), words=request.why,
        )  # fmt: skip
        self.executing.discard(request.action)
        return await asyncio.wrap_future(self._node.runner.settle_cooperative(settlement))


def _worker(state: State, run: int | None) -> str:
    """The agent of an open run."""
    row = None if run is None else state.run.get(run)
    if row is None:
        raise Refused(f"run {run} is not open")
    return row.agent
