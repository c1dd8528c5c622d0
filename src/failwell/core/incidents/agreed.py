"""What the settings in force agree on about incidents: objectives by severity, who keeps which tool's records, and
which directories are copied with a hold.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

#: Objectives in the order in which they come due.
OBJECTIVES = ("acknowledge", "investigate", "resolve")


class Agreed(NamedTuple):
    """(severity, objective, microseconds), (tool pattern, person) and (agent, directory), sorted."""

    objectives: tuple[tuple[str, str, int], ...] = ()
    keepers: tuple[tuple[str, str], ...] = ()
    preserve: tuple[tuple[str, str], ...] = ()


class _Preserve(msgspec.Struct):
    agent: str
    directories: tuple[str, ...]


class _Settings(msgspec.Struct):
    objectives: dict[str, dict[str, Any]] = {}
    keepers: list[tuple[str, str]] = []
    preserve: list[tuple[str, _Preserve]] = []


def settings_of(text: str) -> Agreed:
    """What these settings (their canonical text) agree on; nothing where they cannot be read."""
    try:
        found = msgspec.json.decode(text, type=_Settings)
    except msgspec.MsgspecError:
        return Agreed()
    objectives = [
        (severity, name.removesuffix("_s"), int(given[name]) * 1_000_000)
        for severity, given in found.objectives.items()
        for name in given
        if isinstance(given[name], int)
    ]
    preserve = {(each.agent, directory) for _, each in found.preserve for directory in each.directories}
    return Agreed(tuple(sorted(objectives)), tuple(sorted(found.keepers)), tuple(sorted(preserve)))
