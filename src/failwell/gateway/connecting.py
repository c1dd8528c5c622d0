"""The gateway process's own way to the node: which agent it speaks for, in which run, and that it stays proved.

It starts a node where none runs, as every command does. It opens a run unless it is told one, and ends only its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path

import msgspec

from failwell.client import wire as line
from failwell.client.async_wire import AsyncWire, prove
from failwell.client.proofs import Proof
from failwell.core.errors import FailwellError, Unreachable
from failwell.gateway.node_backend import NodeBackend, NodeLine
from failwell.gateway.reopening import Connected

#: Pauses between tries to close a run whose last calls are ending.
CLOSING_S = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8)


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """What an agent's client is served for. `run`: an open one; else one is opened, by `host` where that is named."""

    agent: str
    servers: tuple[str, ...] = ()
    run: int | None = None
    principal: str | None = None
    request: str | None = None
    host: str | None = None


class Connecting:
    """Connections to the node of a workspace, one at a time."""

    def __init__(self, socket: Path, workspace: Path, config: Path, work: Work) -> None:
        self._socket, self._workspace, self._config = socket, workspace, config
        self._work = work
        self.run = work.run
        self._agent = ""
        self._wire: AsyncWire | None = None
        self._proving: asyncio.Task[None] | None = None

    async def connect(self) -> Connected:
        """A proved connection, with the run that the session works in; FailwellError where there is none."""
        await self._hang_up()
        self._wire = wire = await self._reach()
        proof = await prove(wire, self._config, "agent", self._work.agent)
        self._agent = proof.full
        self._proving = asyncio.ensure_future(self._stay_proved(wire, proof))
        if self.run is None:
            self.run = await self._open_run(wire)
        return Connected(NodeBackend(NodeLine(wire), self._agent, self.run, self._work.servers), wire.ended)

    async def close(self) -> None:
        """Close the run, where it is ours, and hang up."""
        if self._wire is not None and self._work.run is None and self.run is not None:
            with contextlib.suppress(FailwellError):  # what still runs keeps it open; it is on record as it is
                await self._close_run(self._wire, self.run)
        await self._hang_up()

    async def _close_run(self, wire: AsyncWire, run: int) -> None:
        """What was stopped with the session is written down first."""
        for pause_s in CLOSING_S:
            try:
                await wire.call("run.close", agent=self._agent, run=run, timeout_s=2)
                return
            except FailwellError as error:
                if error.code != "busy":
                    raise
            await asyncio.sleep(pause_s)

    async def _reach(self) -> AsyncWire:
        try:
            return await AsyncWire.open(self._socket)
        except Unreachable as error:
            if error.code == "silent":
                raise
        started = await asyncio.to_thread(line.reach, self._socket, self._workspace)
        started.close()
        return await AsyncWire.open(self._socket)

    async def _open_run(self, wire: AsyncWire) -> int:
        work = self._work
        if work.host is not None:
            await prove(wire, self._config, "host", work.host)
        return int(await wire.call("run.open", agent=self._agent, principal=work.principal, request=work.request))

    async def _stay_proved(self, wire: AsyncWire, proof: Proof) -> None:
        """A certificate lapses while a client works for days: it is renewed and shown again in time."""
        while proof.renew_at is not None:
            await asyncio.sleep(max(proof.renew_at - time.time(), 1))
            try:
                proof = await prove(wire, self._config, "agent", self._work.agent)
            except FailwellError:  # what is asked from now on is refused, and says why
                proof = Proof(proof.full, time.time() + 30)

    async def _hang_up(self) -> None:
        if self._proving is not None:
            self._proving.cancel()
        if self._wire is not None:
            await self._wire.close()
