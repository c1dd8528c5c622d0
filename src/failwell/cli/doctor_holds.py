"""What `doctor` says of holds: copies that are owed or gone, and keepers of records whom nobody can ask."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from failwell.cli.screen import plural

if TYPE_CHECKING:
    from failwell.cli.doctor import Seen
    from failwell.node.workspace import Workspace

Line = tuple[str, str, str, str | None]
PART = "holds"


def lines(place: Workspace, seen: Seen) -> Iterator[Line]:
    """(part, state, found, what to do). That a copy is still what it was, `ledger verify` says."""
    from failwell.node.settings import settings_from_text

    force = settings_from_text(seen.force["text"])
    told = seen.status["holds"]
    gone = [digest for digest in told["copies"] if not (place.path / "blobs" / f"{digest}.copy").exists()]
    if gone:
        found = f"{plural(len(gone), 'copy', 'copies')} that a hold preserved MISSING"
        yield PART, "todo", found, "failwell ledger verify"
    if told["owed"] and told["failed"]:
        why = f"{plural(len(told['owed']), 'directory', 'directories')} not copied yet: {told['failed']}"
        yield PART, "todo", why, "make it readable, or make room; it is tried again by itself"
    named = set(force.keepers.values())
    strangers = sorted(person for person in named if seen.persons.get(person, {"left": 0})["left"] is not None)
    if strangers:
        found = f"asked to keep records, but not enrolled here or gone: {', '.join(strangers)}"
        yield PART, "todo", found, "name others in [keepers], then failwell config apply"
    if not force.preserve:
        yield PART, "known", "no directory of an agent is copied with a hold", "[preserve.NAME] in failwell.toml"
    if not (gone or told["owed"]):
        yield PART, "ok", f"{plural(told['standing'], 'hold')}, no copy is owed or missing", None
