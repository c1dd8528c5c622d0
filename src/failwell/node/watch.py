"""Reading the witnesses: the tool side's own logs, a page at a time, into the record (R5)."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from failwell.core import kinds
from failwell.core.errors import FailwellError, NotFound
from failwell.core.records import Draft
from failwell.effects import open_reader
from failwell.gate.outcomes import Witnessed, record_effects
from failwell.identity import keys
from failwell.ledger.jobs import Plan
from failwell.node.settings import WitnessSettings
from failwell.ports.effects import Effect, EffectReader

if TYPE_CHECKING:
    from failwell.node.service import Node


def digest(text: str) -> str:
    """Hex SHA-256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def read_secret(path: Path) -> bytes:
    """A secret named by the settings, after its owner and mode were checked."""
    return keys.read_private(path)


class WitnessReader:
    """Reads each declared log from where the ledger says it was read up to. `faults` is what could not be read."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.faults: dict[str, str] = {}
        self._logs: list[tuple[str, EffectReader]] = []
        self._declared: dict[str, WitnessSettings] = {}

    def _take_settings(self) -> None:
        """Open the logs that the settings in force declare, if those are others than before."""
        declared = self._node.settings.witness
        if declared == self._declared:
            return
        place = self._node.workspace.path
        self._logs = [(item.agent, open_reader(item.log(name), place)) for name, item in declared.items()]
        self._declared = declared
        self.faults.clear()

    async def read(self) -> int:
        """Seal what is new in every log; returns how many effects. An unreadable log is a finding, not a stop."""
        self._take_settings()
        total = 0
        for named, reader in self._logs:
            try:
                total += await self._read(named, reader)
                await self._tell(reader.witness, None)
            except FailwellError as error:
                await self._tell(reader.witness, error.message)
        return total

    async def _tell(self, witness: str, fault: str | None) -> None:
        """Put on record from when on a log could not be read, and when it could again: effects may be missing there."""
        if (witness in self.faults) == (fault is not None):
            return
        state, detail = ("ok", "is read again") if fault is None else ("degraded", fault[:300])
        body = kinds.Health(part=f"witness:{witness}", state=state, detail=detail)
        draft = Draft(body=body, actor="node")
        await self._node.writer.submit_async(lambda turn: Plan((draft,), lambda entries: None))
        if fault is None:
            del self.faults[witness]
        else:
            self.faults[witness] = fault

    async def _read(self, named: str, reader: EffectReader) -> int:
        look = self._node.questions.look
        agent = await look(lambda state: state.agent_named(named))
        row = await look(lambda state: state.witness.get(reader.witness))
        if agent is None:
            return 0
        try:
            effects, cursor = await asyncio.to_thread(reader.read, None if row is None else row.cursor)
        except NotFound:
            if row is None:
                return 0  # nothing was done yet, so the tool has not begun its log
            raise  # Attack: the log is taken away, and with it what was done since it was read
        if effects:
            last = len(effects) - 1
            seen = tuple(
                self._witnessed(effect, cursor if place == last else None) for place, effect in enumerate(effects)
            )
            await self._node.writer.submit_async(record_effects(agent, seen))
        return len(effects)

    def _witnessed(self, effect: Effect, cursor: str | None) -> Witnessed:
        return Witnessed(
            witness=effect.witness, ref=effect.ref, tool=effect.tool, at=effect.at, customer=effect.customer,
            action=self._decision(effect.action), line=effect.digest, fault=effect.fault, cursor=cursor,
        )  # fmt: skip

    def _decision(self, marker: str | None) -> int | None:
        """The decision that a log line names by the marker its tool was given; None for anything else."""
        prefix = self._node.marker_prefix
        if marker is None or not marker.startswith(prefix):
            return None
        number = marker[len(prefix) :]
        return int(number) if number.isascii() and number.isdigit() and len(number) < 16 else None
