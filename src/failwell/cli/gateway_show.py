"""How tool servers, and what is odd in their definitions, are shown to people; every text in it is a stranger's."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from failwell.cli.screen import Screen
    from failwell.mcp.review import Remark

_WORDS = {
    "hidden": "not seen", "look-alike": "looks like another", "same-name": "same name", "instruction": "to the model",
    "schema": "schema", "claim": "claim",
}  # fmt: skip


def show_remarks(screen: Screen, remarks: Sequence[Remark]) -> None:
    """What is odd in definitions; that there is nothing is no proof, and is said so."""
    if not remarks:
        screen.say("\nNothing odd was found in the definitions. That is no proof: they are their servers' own words.")
        return
    screen.say(f"\nLook at these definitions ({len(remarks)})", "bold yellow")
    screen.table(
        ("tool", "what", "where", "it"),
        [
            (f"{each.server}.{each.tool}", _WORDS[each.what], each.where,
             each.why + (f': "{each.quote}"' if each.quote else ""))
            for each in remarks
        ],
    )  # fmt: skip


def show_failed(screen: Screen, failed: Sequence[tuple[str, str]]) -> None:
    """Servers that are not taken over."""
    if failed:
        screen.say(f"\nNot taken over, and not in the new configuration ({len(failed)})", "bold red")
        screen.table(("server", "why"), failed)
