"""What the node asks of a trusted source of facts: one question, one answer, and that it can be given up (D23).

A source is declared by the operator and never by an agent. Its answer is bytes here: whether they are one strict JSON
value, and of which type, is judged by whoever asked. This module asks nobody anything.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Protocol

#: An answer is one value; more than this is none.
MAX_ANSWER_BYTES = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """How one question went: answered (`text` is all that was said), late (past its time) or failed.

    `detail` is for people and ours: never a word of the source's own, which may be personal or a lie.
    """

    state: Literal["answered", "late", "failed"]
    text: bytes = field(default=b"", repr=False)
    detail: str = ""


class Asking(Protocol):
    """One question on its way."""

    def run(self) -> Reply:
        """Ask, and wait for what comes of it. Called once, in a thread of its own; never raises a FailwellError.

        When it returns, nothing that was started for the question is left.
        """
        ...

    def stop(self) -> None:
        """Give the question up, from any thread and at any time: `run` returns soon."""
        ...


class Source(Protocol):
    """One declared source."""

    def asking(self, arguments: bytes, within_us: int) -> Asking:
        """The question for `arguments` (RFC 8785 text of one object), which has `within_us` from now."""
        ...
