"""What the settings in force say of how people are told, from their canonical text (`config` entries)."""

from __future__ import annotations

import re

import msgspec

from failwell.core import rows
from failwell.core.contract.path_checks import ROLES, TARGET
from failwell.core.contract.path_words import AGAIN_US, WITHIN_US
from failwell.core.errors import InputError
from failwell.core.kinds import PathStep

SECOND_US = 1_000_000
_UNITS = {"h": 3600 * SECOND_US, "d": 24 * 3600 * SECOND_US, "w": 7 * 24 * 3600 * SECOND_US}
_EVERY = re.compile(r"([1-9][0-9]{0,3})([hdw])")


class _Step(msgspec.Struct):
    notify: str
    by: tuple[str, ...] = ("email",)
    ack_within_s: int | None = None
    repeat: int = 0
    require: str = "any"
    severity: str = "minor"
    hours: str = ""
    last_resort: bool = False


class _Escalation(msgspec.Struct):
    steps: tuple[_Step, ...] = ()
    timezone: str = "UTC"
    acknowledgment_lasts_s: int = 28_800
    progress_within_s: int = 14_400
    quiet: str = ""
    prove_every_s: int = 2_592_000
    digest: str = ""


class _Turns(msgspec.Struct):
    members: tuple[str, ...]
    every: str = ""
    since: str = ""
    hours: str = ""


class _Team(msgspec.Struct):
    turns: tuple[_Turns, ...]
    timezone: str = "UTC"


class _Channel(msgspec.Struct):
    kind: str


class _Settings(msgspec.Struct):
    escalation: _Escalation | None = None
    teams: list[tuple[str, _Team]] = []
    channels: list[tuple[str, _Channel]] = []


def escalating_of(text: str) -> rows.Escalating | None:
    """What these settings (their canonical text) say; None where they say nothing, or cannot be read."""
    try:
        found = msgspec.json.decode(text, type=_Settings)
        teams = tuple((name, _team(team)) for name, team in sorted(found.teams))
    except (msgspec.MsgspecError, InputError):
        return None  # no node puts such settings in force: a record that holds them is found out elsewhere
    if found.escalation is None and not found.teams and not found.channels:
        return None
    house = found.escalation or _Escalation()
    return rows.Escalating(
        path=tuple(_step(step) for step in house.steps),
        teams=teams,
        channels=tuple((name, channel.kind) for name, channel in sorted(found.channels)),
        zone=house.timezone,
        lasts_us=house.acknowledgment_lasts_s * SECOND_US,
        progress_us=house.progress_within_s * SECOND_US,
        quiet=house.quiet,
        prove_us=house.prove_every_s * SECOND_US,
        digest=house.digest,
    )


def zones_of(escalating: rows.Escalating | None) -> tuple[str, ...]:
    """The time zones that these settings tell times in, UTC aside."""
    if escalating is None:
        return ()
    return tuple(sorted({escalating.zone, *(team.zone for _, team in escalating.teams)} - {"UTC"}))


def every_us(text: str) -> int:
    """The microseconds of `12h`, `1d` or `2w`. InputError where it is none of these."""
    match = _EVERY.fullmatch(text)
    if match is None:
        raise InputError(f"{text!r} is no time between turns", hint="Write it like 12h, 1d or 1w.")
    return int(match[1]) * _UNITS[match[2]]


def parse_target(text: str, place: str) -> str:
    """The same text, where it names somebody; InputError otherwise."""
    if not TARGET.fullmatch(text):
        raise InputError(f"{place}: notify says {text!r}", hint="It is owner, team:NAME, role:NAME or person:NAME.")
    word, _, name = text.partition(":")
    if word == "role" and name not in ROLES:
        raise InputError(f"{place}: nobody has the role {name}", hint=f"Roles are: {', '.join(ROLES)}.")
    return text


def _step(step: _Step) -> PathStep:
    within_us = None if step.ack_within_s is None else step.ack_within_s * SECOND_US
    if within_us is None:
        within_us = AGAIN_US if step.last_resort else WITHIN_US
    return PathStep(
        notify=step.notify, by=step.by, within_us=within_us, rounds=1 + step.repeat, require=step.require,
        severity=step.severity, hours=step.hours, last_resort=step.last_resort,
    )  # fmt: skip


def _team(team: _Team) -> rows.Team:
    turns = tuple(
        rows.Turns(each.members, every_us(each.every) if each.every else 0, each.since, each.hours)
        for each in team.turns
    )
    return rows.Team(team.timezone, turns)
