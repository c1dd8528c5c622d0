"""Settings of what is reached over a wire: tool servers behind the gate, and the door for callers elsewhere (D9).

Reads nothing and reaches nothing; `node.settings` is the whole of an operator's word.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated

import msgspec

from failwell.core.errors import InputError
from failwell.ports.addresses import parse_address

#: What stands before the dot in the names of a server's tools.
UPSTREAM_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")


class Reached(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Root of these sections."""


class ToolLimits(Reached, frozen=True, kw_only=True):
    """What each process of a tool may take of the machine (setrlimit(2)); None: what the node may."""

    cpu_s: Annotated[int, msgspec.Meta(ge=1, le=86_400)] | None = None
    memory_mb: Annotated[int, msgspec.Meta(ge=16, le=1_048_576)] | None = None
    file_mb: Annotated[int, msgspec.Meta(ge=0, le=1_048_576)] | None = None
    open_files: Annotated[int, msgspec.Meta(ge=8, le=1_048_576)] | None = None

    def rlimits(self) -> dict[str, int]:
        """The same as an executor takes them (`Launch.limits`)."""
        mib = 1024 * 1024
        given = {
            "cpu": (self.cpu_s, 1), "as": (self.memory_mb, mib), "fsize": (self.file_mb, mib),
            "nofile": (self.open_files, 1),
        }  # fmt: skip
        return {name: value * unit for name, (value, unit) in given.items() if value is not None}


class UpstreamSettings(Reached, frozen=True, kw_only=True):
    """A tool server that speaks the Model Context Protocol: a `command` whose process is ours, or the `url` of one that
    is elsewhere and can only be asked. Its tools are `NAME.TOOL` in contracts.

    `tools`: tool -> SHA-256 of its definition as a person accepted it; any other definition, and any other tool, is
    refused. `secrets`: environment variable (of a command) or header (of a url) -> name in [secrets].
    `start_ms` is its time to start and to say what it offers, `deadline_ms` its time for one call where the contract
    says none, `idle_s` how long it stays without calls, `known_for_s` how long what it offers is believed before it is
    asked again.
    """

    command: tuple[str, ...] = ()
    cwd: str | None = None
    env: dict[str, str] = {}
    url: str | None = None
    allow_remote: bool = False
    ca_file: str | None = None
    secrets: dict[str, str] = {}
    limits: ToolLimits | None = None
    output_cap_bytes: Annotated[int, msgspec.Meta(ge=0, le=67_108_864)] | None = None
    start_ms: Annotated[int, msgspec.Meta(ge=100, le=120_000)] = 15_000
    deadline_ms: Annotated[int, msgspec.Meta(ge=1, le=3_600_000)] = 60_000
    idle_s: Annotated[int, msgspec.Meta(ge=1, le=86_400)] = 900
    known_for_s: Annotated[int, msgspec.Meta(ge=0, le=86_400)] = 30
    tools: dict[str, Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]] = {}

    def check(self, name: str) -> None:
        """InputError names what is wrong."""
        place = f"[upstreams.{name}]"
        if not UPSTREAM_NAME.fullmatch(name):
            raise InputError(f"{place}: {name!r} is no name for a server", hint="Name it like files or shop-db.")
        if bool(self.command) == (self.url is not None):
            raise InputError(f"{place}: one of command and url, and not both")
        if self.url is not None:
            if self.env or self.cwd or self.limits is not None:
                raise InputError(f"{place}: env, cwd and limits are said of a command")
            parse_address(self.url, allow_remote=self.allow_remote)
        elif self.allow_remote or self.ca_file:
            raise InputError(f"{place}: allow_remote and ca_file are said of a url")
        elif not all(self.command) or any("\0" in part for part in self.command):
            raise InputError(f"{place}: command is a list of texts: the program, and what it is given")


class HttpSettings(Reached, frozen=True, kw_only=True):
    """The door for callers on other machines, and for those without our client. `listen`: ADDRESS:PORT, loopback
    unless `allow_remote`; then `certificate` and `key` (PEM files) are needed, or `tls`: the workspace's own authority
    makes a certificate out, for `listen` and `addresses`; callers are given `authority.pem` to trust.

    `addresses`: how callers reach it beside `listen`, as https://failwell.example; what they sign names one of these.
    `connections`, `in_flight` and `queued` are what it holds at once, `body_bytes` what one request may bring,
    `rate_per_s` what one caller may ask: docs/http.md.
    """

    listen: str = "127.0.0.1:7341"
    allow_remote: bool = False
    certificate: str | None = None
    key: str | None = None
    tls: bool = False
    addresses: tuple[Annotated[str, msgspec.Meta(pattern=r"^https?://[a-z0-9.:\[\]-]{1,255}\Z")], ...] = ()
    connections: Annotated[int, msgspec.Meta(ge=16, le=100_000)] = 2048
    in_flight: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 64
    queued: Annotated[int, msgspec.Meta(ge=0, le=100_000)] = 512
    body_bytes: Annotated[int, msgspec.Meta(ge=1024, le=8_388_608)] = 4_194_304
    rate_per_s: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 200

    def check(self) -> None:
        """InputError names what is wrong."""
        parse_listen(self.listen, allow_remote=self.allow_remote)
        if (self.certificate is None) != (self.key is None):
            raise InputError("[http]: certificate and key go together")
        if self.tls and self.certificate is not None:
            raise InputError("[http]: tls is for a door without a certificate of its own")
        # Attack: what agents send and are answered is read on its way.
        if self.allow_remote and self.certificate is None and not self.tls:
            raise InputError(
                "[http]: callers on other machines are answered over TLS only",
                hint="Set certificate and key (PEM files), or tls = true; or listen on loopback behind a proxy.",
            )


def parse_listen(text: str, *, allow_remote: bool) -> tuple[str, int]:
    """Address and port of ADDRESS:PORT; InputError for what is none, or is not loopback and may not be."""
    host, colon, port = text.rpartition(":")
    host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        address = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
        number = int(port)
        if not colon or not port.isascii() or not port.isdigit() or number > 65_535:
            raise ValueError(port)
    except ValueError as error:
        raise InputError(
            f"{text!r} is no address to listen on", hint="Say ADDRESS:PORT, as 127.0.0.1:7341 or [::1]:7341."
        ) from error
    if not address.is_loopback and not allow_remote:
        raise InputError(
            f"{text} can be reached from other machines",
            hint="allow_remote = true (--allow-remote) wants that, with TLS.",
        )
    return str(address), number
