"""Containments that the store failed under: the fence is up and the tools stand still, so they are made durable (I8).

What was dropped is asked for anew, and again with every tick, until the ledger has it. It decides nothing: what is
contained, and how, the first attempt said.
"""

from __future__ import annotations

from typing import Any

from failwell.core import kinds
from failwell.core.records import Entry
from failwell.ledger.jobs import CONTAINMENT
from failwell.ledger.writer import Writer
from failwell.response.unfinished import contain_again


class Uncontained:
    """Those of one node; `dropped` is called by the writer's thread, `tick` by the loop."""

    def __init__(self) -> None:
        self._waiting: dict[str, kinds.Signal] = {}

    def dropped(self, entries: list[Entry[Any]], writer: Writer) -> None:
        """These entries were not taken."""
        for entry in entries:
            if isinstance(entry.body, kinds.Signal) and entry.body.applied and entry.agent is not None:
                self._contain(entry.agent, entry.body, writer)

    def tick(self, writer: Writer) -> None:
        waiting, self._waiting = self._waiting, {}
        for agent, signal in waiting.items():
            self._contain(agent, signal, writer)

    def _contain(self, agent: str, signal: kinds.Signal, writer: Writer) -> None:
        def done(ended: Any) -> None:
            if ended.exception() is not None:
                self._waiting[agent] = signal

        writer.submit(contain_again(agent, signal), CONTAINMENT).add_done_callback(done)
