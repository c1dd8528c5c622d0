"""What `doctor` says of undoing: what waits to be undone, and steps that contracts declare and no setting does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from failwell.cli.screen import plural

if TYPE_CHECKING:
    from failwell.core.contract import Contract

Line = tuple[str, str, str, str | None]


def lines(status: dict[str, Any]) -> Iterator[Line]:
    """(part, state, found, what to do): only where something is being undone, or waits to be."""
    waiting = status["undoing"]
    if waiting:
        yield (
            "undoing", "known", f"{plural(len(waiting), 'action')} to be undone, and not yet: {_first(waiting)}",
            f"failwell action show {waiting[0]}",
        )  # fmt: skip


def undeclared(part: str, contract: Contract, tools: Mapping[str, Any]) -> Iterator[Line]:
    """A step that nothing is declared for looks like protection until it is needed."""
    missing = [
        f"{tool.tool} ({tool.compensate.tool})"
        for tool in contract.tools
        if tool.compensate is not None and tool.compensate.tool not in tools
    ]
    if missing:
        yield (
            part, "todo", f"its contract undoes by steps that no setting declares: {_first(missing)}",
            'declare [tools."NAME"] command in failwell.toml, then failwell config apply',
        )  # fmt: skip


def _first(found: list[Any]) -> str:
    return ", ".join(str(each) for each in found[:10])
