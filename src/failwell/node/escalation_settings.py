"""Settings of how people are told: the house's path, who is on call, and the channels that are not a person's own (D9).

Reads nothing and reaches nothing; `node.settings` is the whole of an operator's word, and `core.escalation.settings_of`
what the record makes of it.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

import msgspec

from failwell.core.errors import InputError
from failwell.core.escalation.settings_of import every_us, parse_target
from failwell.core.hours import parse_hours, parse_local
from failwell.node.kept import SecretSettings
from failwell.ports.addresses import parse_address

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,30}[a-z0-9])?")
_REQUIRE = re.compile(r"any|all|[1-9][0-9]?")
_TIME = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")
_LONGEST_S = 31_536_000
_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
_Seconds = Annotated[int, msgspec.Meta(ge=1, le=_LONGEST_S)]
#: Kinds of channel that speak over HTTP.
REMOTE = frozenset({"webhook", "pagerduty", "slack"})


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Root of these sections."""


class StepSettings(Part, frozen=True, kw_only=True):
    """One step of the house's path (docs/escalation.md)."""

    notify: _Text
    by: Annotated[tuple[_Text, ...], msgspec.Meta(min_length=1, max_length=8)] = ("email",)
    ack_within_s: _Seconds | None = None
    repeat: Annotated[int, msgspec.Meta(ge=0, le=20)] = 0
    require: str = "any"
    severity: Literal["minor", "major", "critical"] = "minor"
    hours: str = ""
    last_resort: bool = False

    def check(self, place: str) -> None:
        """InputError names what is wrong."""
        parse_target(self.notify, place)
        if not _REQUIRE.fullmatch(self.require):
            raise InputError(f"{place}: require is any, all or a number, not {self.require!r}")
        if self.hours:
            _checked(place, parse_hours, self.hours)
        if self.last_resort and (self.hours or self.severity != "minor" or self.repeat):
            raise InputError(
                f"{place}: a last resort keeps to no hours, severity or repeat",
                hint="It is asked about every incident, at all hours, until one has taken it.",
            )


class EscalationSettings(Part, frozen=True, kw_only=True):
    """How people are told where a contract has no path of its own, and for how long it counts that one took it."""

    steps: Annotated[tuple[StepSettings, ...], msgspec.Meta(max_length=16)] = ()
    timezone: str = "UTC"
    acknowledgment_lasts_s: _Seconds = 28_800
    progress_within_s: _Seconds = 14_400
    quiet: str = ""
    links: str | None = None
    prove_every_s: Annotated[int, msgspec.Meta(ge=3_600, le=_LONGEST_S)] = 2_592_000
    digest: str = ""

    def check(self) -> None:
        """InputError names what is wrong."""
        for number, step in enumerate(self.steps, 1):
            step.check(f"[[escalation.steps]] {number}")
            if any(before.last_resort for before in self.steps[: number - 1]):
                raise InputError(
                    f"[[escalation.steps]] {number} is never reached: the last resort before it is asked until one "
                    "takes it", hint="Put it before the last resort, or leave it out.",
                )  # fmt: skip
        check_zone(self.timezone, "[escalation]")
        if self.quiet:
            _checked("[escalation] quiet", parse_hours, self.quiet)
        if self.digest and not _TIME.fullmatch(self.digest):
            raise InputError(f"[escalation]: digest is a time of the day like 08:00, not {self.digest!r}")
        if self.links is not None and not re.fullmatch(r"https?://[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9._/-]*)?", self.links):
            raise InputError(
                f"[escalation]: links is where the door is reached, like https://failwell.example, not {self.links!r}"
            )


class TurnsSettings(Part, frozen=True, kw_only=True):
    """One layer of a team: whoever's turn it is. `every` is like 12h, 1d or 1w; without it all members always."""

    members: Annotated[tuple[_Text, ...], msgspec.Meta(min_length=1, max_length=64)]
    every: str = ""
    since: str = ""
    hours: str = ""

    def check(self, place: str) -> None:
        """InputError names what is wrong."""
        if len(set(self.members)) < len(self.members):
            raise InputError(f"{place}: a member is named twice, and would have two turns")
        if self.every:
            _checked(place, every_us, self.every)
            if not self.since:
                raise InputError(f"{place}: since says when the first member's turn began, like 2026-11-23T09:00")
        if self.since and not self.every:
            raise InputError(f"{place}: since is said of turns that change: every is missing, such as 1w")
        if self.since:
            _checked(place, parse_local, self.since)
        if self.hours:
            _checked(place, parse_hours, self.hours)


class TeamSettings(Part, frozen=True, kw_only=True):
    """Who is on call: whoever is in turn in any of the layers."""

    turns: Annotated[tuple[TurnsSettings, ...], msgspec.Meta(min_length=1, max_length=8)]
    timezone: str = "UTC"

    def check(self, name: str) -> None:
        """InputError names what is wrong."""
        _named(name, "teams")
        check_zone(self.timezone, f"[teams.{name}]")
        for number, turns in enumerate(self.turns, 1):
            turns.check(f"[[teams.{name}.turns]] {number}")


class ChannelSettings(Part, frozen=True, kw_only=True):
    """A channel that is not a person's own. `secret` and `webhook_secret` name secrets in [secrets]."""

    kind: Literal["webhook", "pagerduty", "slack", "terminal", "desktop", "apprise"]
    url: str | None = None
    secret: str | None = None
    allow_private: Annotated[tuple[str, ...], msgspec.Meta(max_length=16)] = ()
    ca_file: str | None = None
    deadline_s: Annotated[int, msgspec.Meta(ge=1, le=60)] = 10
    people: dict[str, str] = {}
    webhook_secret: str | None = None
    users: Annotated[tuple[str, ...], msgspec.Meta(max_length=64)] = ()

    def check(self, name: str) -> None:
        """InputError names what is wrong."""
        _named(name, "channels")
        place = f"[channels.{name}]"
        if name == "email":
            raise InputError(f"{place}: email is each person's own address and is declared by [mail]")
        self._check_reached(place)
        if self.kind in {"pagerduty", "slack", "apprise"} and self.secret is None:
            what = {"pagerduty": "the routing key", "slack": "the webhook's URL", "apprise": "its URL"}[self.kind]
            raise InputError(f"{place}: secret names {what} in [secrets]")
        if self.kind in {"terminal", "desktop"} and self.secret is not None:
            raise InputError(f"{place}: a {self.kind} needs no secret")
        if self.kind != "pagerduty" and (self.people or self.webhook_secret):
            raise InputError(f"{place}: people and webhook_secret are said of pagerduty")
        if self.kind != "terminal" and self.users:
            raise InputError(f"{place}: users are said of a terminal")

    def _check_reached(self, place: str) -> None:
        if self.kind == "webhook" and self.url is None:
            raise InputError(f"{place}: a webhook needs its url")
        if self.kind not in REMOTE and (self.allow_private or self.ca_file or self.url):
            raise InputError(f"{place}: url, allow_private and ca_file are said of what is reached over HTTP")
        if self.kind == "slack" and self.url is not None:
            raise InputError(f"{place}: Slack's URL is a secret", hint="secret names it in [secrets].")
        if self.url is not None:
            _checked(place, lambda text: parse_address(text, allow_remote=True), self.url)
        for text in self.allow_private:
            _checked(f"{place} allow_private", ipaddress.ip_network, text)


def check_zone(zone: str, place: str) -> None:
    """InputError where the time zone database does not know `zone`."""
    try:
        ZoneInfo(zone)
    except (ValueError, OSError, KeyError) as error:
        raise InputError(f"{place}: there is no time zone {zone!r}", hint="Write it like Europe/Berlin.") from error


def check_telling(
    steps: tuple[StepSettings, ...], teams: dict[str, TeamSettings], channels: dict[str, ChannelSettings],
    secrets: dict[str, SecretSettings],
) -> None:  # fmt: skip
    """InputError where the sections name what none of them declares."""
    for number, step in enumerate(steps, 1):
        word, _, name = step.notify.partition(":")
        if word == "team" and name not in teams:
            raise InputError(f"[[escalation.steps]] {number}: there is no [teams.{name}]")
        for channel in step.by:
            if channel != "email" and channel not in channels:
                raise InputError(f"[[escalation.steps]] {number}: there is no [channels.{channel}]")
    for name, channel_ in channels.items():
        for secret in (channel_.secret, channel_.webhook_secret):
            if secret is not None and secret not in secrets:
                raise InputError(f"[channels.{name}]: there is no [secrets.{secret}]")
            if secret is not None and secrets[secret].command is not None:
                raise InputError(
                    f"[channels.{name}]: [secrets.{secret}] is printed by a command, for which no page waits",
                    hint="Say file or env for it.",
                )


def _named(name: str, table: str) -> None:
    if not _NAME.fullmatch(name):
        raise InputError(f"[{table}.{name}]: a name has small letters, digits, - and _, and at most 32 of them")


def _checked(place: str, parse: object, text: str) -> None:
    try:
        parse(text)  # type: ignore[operator]
    except InputError as error:
        raise InputError(f"{place}: {error.message}", hint=error.hint) from error
    except ValueError as error:
        raise InputError(f"{place}: {error}") from error
