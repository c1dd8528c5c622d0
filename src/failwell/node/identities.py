"""What a connection has proved: which agents, how, and until when. It judges no proof (`node.proving`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from failwell.core.instants import format_at
from failwell.core.rows import Agent

NEVER_US = 2**62


class Held(NamedTuple):
    """How an identity was proved (key, certificate, svid or token), and until when that holds.

    `until_us` is in wall time, `until_mono_us` by the boot clock. `stands`: whether who vouched is trusted still.
    """

    way: str
    until_us: int
    until_mono_us: int
    stands: Callable[[], bool] | None = None


class Identities:
    """The agents that one connection has proved to be. Asked by the loop, taken from by the writer's thread."""

    def __init__(self, wall_us: Callable[[], int], mono_us: Callable[[], int]) -> None:
        self._wall_us = wall_us
        self._mono_us = mono_us
        self._held: dict[str, Held] = {}

    def __contains__(self, agent: str) -> bool:
        held = self._held.get(agent)
        if held is None:
            return False
        over = held.until_us < NEVER_US and (self._wall_us() >= held.until_us or self._mono_us() >= held.until_mono_us)
        if over or (held.stands is not None and not held.stands()):
            self.lose(agent)
            return False
        return True

    def __bool__(self) -> bool:
        return any(agent in self for agent in tuple(self._held))

    def add(self, agent: str, held: Held) -> None:
        """One more proof; of several for one agent the one that holds longest counts."""
        known = self._held.get(agent)
        if known is None or agent not in self or known.until_us <= held.until_us:
            self._held[agent] = held

    def lose(self, agent: str) -> None:
        self._held.pop(agent, None)

    def way(self, agent: str) -> str:
        held = self._held.get(agent)
        return "" if held is None else held.way


class Known(NamedTuple):
    """A registered agent as it stood in one turn of the writer: `losses` tells a change that came after."""

    agent: str
    row: Agent
    key: str
    issuer: str | None
    now_us: int
    losses: int


def told(known: Known, held: Held) -> dict[str, Any]:
    """What is answered to a proof that holds."""
    return {
        "proved": known.agent,
        "way": held.way,
        "until": None if held.until_us == NEVER_US else format_at(held.until_us),
    }
