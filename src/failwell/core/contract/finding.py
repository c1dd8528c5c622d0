"""What is wrong with a contract: problem, place, reason and mend, for the person who wrote it.

Findings are values; an error keeps a contract from being adopted, a warning does not. No positions are
invented: line 0 means that the contract was not read from a text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from failwell.core.errors import ContractError

Level = Literal["error", "warning"]

_EXCERPT_LENGTH = 120


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to mend. `line` and `column` count from 1; `name` is the file; `excerpt` what stands
    there."""

    level: Level
    line: int
    column: int
    problem: str
    reason: str
    mend: str
    name: str = ""
    excerpt: str = ""

    def __str__(self) -> str:
        """Return the three lines that a person reads: problem, place, reason with what to do."""
        place = f"{self.name}:{self.line}" if self.line else self.name
        excerpt = self.excerpt if len(self.excerpt) <= _EXCERPT_LENGTH else self.excerpt[:_EXCERPT_LENGTH] + " ..."
        return f"{self.problem}\n  {place}   {excerpt}".rstrip() + f"\n  {self.reason} {self.mend}".rstrip()


class BrokenContract(ContractError):
    """A contract that must not be adopted; `findings` says why, errors first."""

    def __init__(self, what: str, findings: Sequence[Finding]) -> None:
        ordered = sorted(findings, key=lambda finding: finding.level != "error")
        more = f"All that is wrong: failwell contract lint {ordered[0].name}" if ordered[0].name else None
        super().__init__(f"{what} not adopted: {ordered[0]}", hint=more)
        self.findings: tuple[Finding, ...] = tuple(ordered)


def errors_of(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Return those findings that keep a contract from being adopted."""
    return tuple(finding for finding in findings if finding.level == "error")
