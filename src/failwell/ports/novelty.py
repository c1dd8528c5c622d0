"""What a judge asks of whoever keeps the agents' baselines: what in this action was never seen before (D32).

An answer is part of a verdict, so it must follow from the record alone: the same entries give the same answer (I6).
This module knows no baseline.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, Protocol


class Novel(NamedTuple):
    """`novel`: the arguments whose value was never seen, `tool` and `target`; `baseline`: what they were held against.

    Without a locked baseline nothing can be called new: `novel` is empty, and `baseline` says why, so that a clause can
    decide on either.
    """

    novel: tuple[str, ...]
    baseline: Literal["absent", "learning", "locked"]


class Novelty(Protocol):
    def of(self, agent: str, run: int | None, tool: str, arguments: bytes) -> Novel:
        """What is new in an action of `agent`: `arguments` is its JSON text as it was given, `run` its open run.

        Asked in the writer's turn: it neither waits nor fails. What cannot be read is nothing new; it is denied anyway.
        """
        ...
