"""What the tool side's own log says was done, told by a reader that the agent cannot speak through (R5, R19).

An effect is paired with a verdict elsewhere. One without a verdict went round the gate; one that cannot be
read counts as an effect all the same (`fault`), so that garbage in the log does not make it blind.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """One line or row of a tool's own log.

    `witness` names the log, `ref` the line or row in it, stable for ever; `at` is the tool side's time
    (RFC 3339 UTC); `customer` and `action` (the call's id, where the tool logs it) are as logged, so
    personal and untrusted; `digest` is the hex SHA-256 of the raw line. `fault` says why a line could not
    be read as the settings say; then `at`, `customer` and `action` are None.
    """

    witness: str
    ref: str
    tool: str
    at: str | None
    customer: str | None
    action: str | None
    digest: str
    fault: str | None = None


class EffectReader(Protocol):
    @property
    def witness(self) -> str:
        """The name of the log that is read."""
        ...

    def read(self, after: str | None) -> tuple[list[Effect], str]:
        """The next effects after cursor `after` (None: from the beginning), at most a thousand, and a new
        cursor.

        A cursor is opaque and holds until the next reading, also over a restart. Nothing new: an empty list.
        Raises NotFound (no log), InputError (no such field or column), Unhealthy (not readable now) and
        Corrupt (code "log-cut": what was read before is gone or changed).
        """
        ...
