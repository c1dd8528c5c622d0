"""Settings of the systems that are told of incidents: `[feeds.NAME]` (docs/feeds.md)."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Annotated, Literal

import msgspec

from failwell.core.errors import InputError
from failwell.node.escalation_settings import Part
from failwell.node.kept import SecretSettings
from failwell.notify.syslog import parse_place
from failwell.ports.addresses import parse_address

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,30}[a-z0-9])?")
_PROJECT = re.compile(r"[A-Z][A-Z0-9_]{0,30}")
FILE, SYSLOG = "file:", "syslog"
_WAYS = "file:/PATH, syslog+tls://HOST:6514, syslog+tcp://127.0.0.1:601, syslog:/dev/log or https://..."


class FeedSettings(Part, frozen=True, kw_only=True):
    """One system. `begin`: told from the moment in which it is declared (now), or of everything on record (first).

    `secret` names a secret: USER:PASSWORD or a token of a ticket system, the shared key of what is posted to.
    """

    kind: Literal["ocsf", "servicenow", "jira"]
    to: Annotated[str, msgspec.Meta(min_length=1, max_length=1000)]
    secret: str | None = None
    begin: Literal["now", "first"] = "now"
    project: str | None = None
    issue_type: Annotated[str, msgspec.Meta(min_length=1, max_length=60)] = "Task"
    allow_private: Annotated[tuple[str, ...], msgspec.Meta(max_length=16)] = ()
    ca_file: str | None = None
    deadline_s: Annotated[int, msgspec.Meta(ge=1, le=60)] = 10

    @property
    def by_http(self) -> bool:
        """Whether it is posted to."""
        return not self.to.startswith((FILE, SYSLOG))

    def check(self, name: str, secrets: dict[str, SecretSettings]) -> None:
        """InputError names what is wrong."""
        place = f"[feeds.{name}]"
        if not _NAME.fullmatch(name):
            raise InputError(f"{place}: a name has small letters, digits, - and _, and at most 32 of them")
        if self.kind == "ocsf":
            self._check_way(place)
        elif not self.by_http:
            raise InputError(f"{place}: {self.kind} is reached by https", hint="to = the address of your instance")
        elif self.secret is None:
            raise InputError(f"{place}: secret names USER:PASSWORD, or a token, in [secrets]")
        if (self.kind == "jira") != (self.project is not None) or not _PROJECT.fullmatch(self.project or "X"):
            raise InputError(f"{place}: project is the key of the Jira project, like OPS, and is said of jira")
        if self.by_http:
            self._check_http(place)
        elif self.allow_private or self.secret or (self.ca_file and not self.to.startswith("syslog+tls")):
            raise InputError(f"{place}: secret, ca_file and allow_private are said of what is reached by https")
        if self.secret is not None and (self.secret not in secrets or secrets[self.secret].command is not None):
            raise InputError(
                f"{place}: there is no [secrets.{self.secret}] with file or env", hint="No feed waits for a command."
            )

    def _check_way(self, place: str) -> None:
        if self.to.startswith(FILE):
            if not PurePosixPath(self.to.removeprefix(FILE)).is_absolute():
                raise InputError(f"{place}: file: is followed by a path from the root on, like file:/var/log/f.jsonl")
        elif self.to.startswith(SYSLOG):
            _checked(place, parse_place, self.to)
        elif not self.to.startswith(("https://", "http://")):
            raise InputError(f"{place}: to is one of {_WAYS}")

    def _check_http(self, place: str) -> None:
        _checked(place, lambda text: parse_address(text, allow_remote=True), self.to)
        if self.kind != "ocsf" and "?" in self.to:
            raise InputError(f"{place}: to is the address of the instance, without a question")
        for text in self.allow_private:
            _checked(f"{place} allow_private", ipaddress.ip_network, text)


def _checked(place: str, parse: Callable[[str], object], text: str) -> None:
    try:
        parse(text)
    except InputError as error:
        raise InputError(f"{place}: {error.message}", hint=error.hint) from error
    except ValueError as error:
        raise InputError(f"{place}: {error}") from error
