"""What is new about an action while no agent has a baseline: nothing that anybody could say, and that is said."""

from __future__ import annotations

from failwell.ports.novelty import Novel

_UNKNOWN = Novel(novel=(), baseline="absent")


class NoBaseline:
    """`ports.novelty.Novelty` where no baseline was established: `novel = []`, `baseline: absent`."""

    def of(self, agent: str, run: int | None, tool: str, arguments: bytes) -> Novel:
        return _UNKNOWN
