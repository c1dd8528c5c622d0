"""The findings on one text while it is read and checked, each with the place that it is about."""

from __future__ import annotations

from contextlib import AbstractContextManager, suppress

from failwell.core.contract.document import Node
from failwell.core.contract.finding import Finding, Level

#: Errors after which a text is read no further: whoever mends a hundred looks again.
MAX_ERRORS = 100


class Enough(Exception):
    """So much is wrong that nothing more is looked for; the last finding says so."""


class Notes:
    """Collects findings about one text. Knows its lines, so that each finding shows what stands there."""

    def __init__(self, text: str, name: str, root: Node | None = None) -> None:
        self.name = name
        self.root = root
        self.findings: list[Finding] = []
        self._lines = text.split("\n")
        self._errors = 0

    def add(self, level: Level, node: Node | None, problem: str, reason: str, mend: str, excerpt: str = "") -> None:
        """Note one finding at `node` (None: the contract has no text)."""
        line, column = (0, 0) if node is None else (node.line, node.column)
        self.add_at(level, line, column, problem, reason, mend, excerpt)

    def add_at(
        self, level: Level, line: int, column: int, problem: str, reason: str, mend: str, excerpt: str = ""
    ) -> None:
        """Note one finding at a line and column (from 1; 0: nowhere)."""
        if level == "error" and self._errors >= MAX_ERRORS:
            # Attack: a text of ten thousand mistakes, each of which takes a while to explain.
            problem, reason, mend = "There is more to mend.", f"These are {MAX_ERRORS} errors.", "Mend these first."
        if not excerpt and 0 < line <= len(self._lines):
            excerpt = self._lines[line - 1].strip()
        self.findings.append(
            Finding(
                level=level,
                line=line,
                column=column,
                problem=problem,
                reason=reason,
                mend=mend,
                name=self.name,
                excerpt=excerpt,
            )
        )
        if level == "error":
            self._errors += 1
            if self._errors > MAX_ERRORS:
                raise Enough

    def error(self, node: Node | None, problem: str, reason: str, mend: str) -> None:
        """Note what keeps the contract from being adopted."""
        self.add("error", node, problem, reason, mend)

    def place(self, *path: str | int) -> Node | None:
        """Return the node at `path`, or the nearest one above it that was written."""
        node = self.root
        for step in path:
            if node is None:
                return None
            below = node.get(step) if isinstance(step, str) else dict(enumerate(node.items)).get(step)
            if below is None:
                return node
            node = below
        return node

    def until_enough(self) -> AbstractContextManager[None]:
        """What notes findings stands in this: it ends where enough is wrong. INVARIANT: an error was noted then."""
        return suppress(Enough)

    def in_order(self) -> tuple[Finding, ...]:
        """All findings, in order of place."""
        return tuple(sorted(self.findings, key=lambda finding: (finding.line, finding.column)))
