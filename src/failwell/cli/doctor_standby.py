"""What `doctor` says of nodes that stand by: whether somebody takes the place of the one that runs when it hangs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from failwell.cli.screen import plural

if TYPE_CHECKING:
    from failwell.node.workspace import Workspace

Line = tuple[str, str, str, str | None]


def line(place: Workspace) -> Line:
    """(part, state, found, what to do)."""
    from failwell.node.takeover import LATE_US, standing

    found = standing(place)
    if not found:
        return (
            "standby", "known", "nobody stands by: the next command replaces a node that died, none that hangs",
            "failwell serve --standby, beside the node",
        )  # fmt: skip
    late_s = LATE_US["serving"] / 1_000_000
    named = ", ".join(map(str, found))
    return "standby", "ok", f"{plural(len(found), 'process', 'processes')} ({named}) at {late_s:g} s late", None
