"""Of which tools the agent's side holds the credential, told by the entries alone (R5): the gate is advisory for them.

By contract (custody `none`), because the settings in force gave the node nothing to hold, or because the tool was
reached round the gate in a test. An attempt that failed is the word of the agent's side and takes nothing off the list.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from failwell.core import contract as contracts
from failwell.core import kinds
from failwell.core.errors import FailwellError
from failwell.core.records import Entry


class Loose(msgspec.Struct, frozen=True, kw_only=True):
    """Actions that ran with a tool which the agent's side could have used without asking, and why."""

    agent: str
    tool: str
    ran: int
    why: str


class Custodies:
    """Takes all entries in order, and the decisions that were made between them."""

    def __init__(self) -> None:
        self._declared: dict[str, dict[str, str]] = {}
        self._held: frozenset[str] = frozenset()
        self._reached: dict[tuple[str, str], dict[str, int]] = {}
        self._why: dict[int, str | None] = {}
        self._about: dict[int, tuple[str, str]] = {}

    def take(self, entry: Entry[Any]) -> None:
        body, agent = entry.body, str(entry.agent)
        if isinstance(body, kinds.Config):
            self._held = _holding(body.text)
        elif isinstance(body, kinds.ContractAdopted):
            self._declared[agent] = _custody_of(body.document)
        elif isinstance(body, kinds.CustodyProbed):
            ways = self._reached.setdefault((agent, body.tool), {})
            for way in body.tried:
                ways.pop(way, None)
            ways.update(dict.fromkeys(body.ways, entry.seq))
        elif isinstance(body, kinds.Decision):
            self._about[entry.seq] = agent, body.tool
            self._why[entry.seq] = self._declared_loose(agent, body.tool)

    def _declared_loose(self, agent: str, tool: str) -> str | None:
        custody = self._declared.get(agent, {}).get(tool)
        if custody == "none":
            return "custody none"
        return "custody broker, and nothing is held" if custody == "broker" and tool not in self._held else None

    def loose(self, ran: Mapping[int, object]) -> tuple[Loose, ...]:
        """Of the decisions that `ran`: which were about a tool that the agent's side could use without asking."""
        counted: dict[tuple[str, str, str], int] = {}
        for decision in ran:
            agent, tool = self._about[decision]
            reached = self._reached.get((agent, tool))
            found = [f"reached round the gate, entry {max(reached.values())}"] if reached else []
            why = "; ".join([each for each in (self._why[decision],) if each is not None] + found)
            if why:
                counted[agent, tool, why] = counted.get((agent, tool, why), 0) + 1
        return tuple(
            Loose(agent=agent, tool=tool, ran=count, why=why) for (agent, tool, why), count in sorted(counted.items())
        )


def _holding(settings: str) -> frozenset[str]:
    """The tools that settings (the text of a `config` entry) give the node something to hold for."""
    try:
        built = json.loads(settings)
        return frozenset(
            str(tool) for tool, fields in built.get("tools", ()) if fields.get("secrets") or fields.get("permit")
        )
    except (ValueError, TypeError, AttributeError):
        return frozenset()


def _custody_of(document: str) -> dict[str, str]:
    try:
        return {tool.tool: tool.custody for tool in contracts.from_canonical(document.encode()).tools}
    except FailwellError:
        return {}
