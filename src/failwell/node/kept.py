"""What the settings say of secrets: where each is kept, and which tool's processes hold it. No secret is in them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

import msgspec

from failwell.core.errors import InputError

if TYPE_CHECKING:
    from failwell.node.reached import UpstreamSettings
    from failwell.node.settings import ToolSettings

#: It stands for the secret wherever it is taken out of what a tool says, inside JSON too.
_SECRET_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
#: A header that may hold one; those that say where a request goes and how long it is are ours.
_HEADER = re.compile(r"(?!(?:host|content-|transfer-|connection|mcp-))[a-z0-9-]{1,64}", re.IGNORECASE)
#: Output in which secrets are looked for: whatever else ends meanwhile waits for that.
MAX_SEARCHED_BYTES = 4_194_304


class SecretSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where the node finds a secret: a file (0600, its own), a variable of its own environment, or what a command
    prints. The secret itself is never written here.
    """

    file: str | None = None
    env: str | None = None
    command: Annotated[tuple[Annotated[str, msgspec.Meta(min_length=1)], ...], msgspec.Meta(min_length=1)] | None = None
    deadline_ms: Annotated[int, msgspec.Meta(ge=1, le=60_000)] = 5000

    def check(self, name: str) -> None:
        """InputError names what is wrong."""
        place = f'[secrets."{name}"]'
        if not _SECRET_NAME.fullmatch(name):
            raise InputError(f"{place}: {name!r} is not a secret's name", hint="Name it like shop or shop.key-2.")
        if sum(given is not None for given in (self.file, self.env, self.command)) != 1:
            raise InputError(f"{place}: one of file, env and command")
        if self.env is not None and not _VARIABLE.fullmatch(self.env):
            raise InputError(f"{place}: {self.env!r} is not the name of a variable")
        if self.command is not None and not self.command[0].startswith("/"):
            raise InputError(f"{place}: command begins with the absolute path of its program")


def check_held(place: str, tool: ToolSettings | UpstreamSettings, kept: dict[str, SecretSettings]) -> None:
    """InputError where a tool's secrets are not there, or could come to another program than its operator's."""
    for variable, secret in tool.secrets.items():
        if secret not in kept:
            raise InputError(
                f"{place} secrets: {variable} is to hold {secret}, which [secrets] does not have",
                hint=f'Add [secrets."{secret}"] with file, env or command.',
            )
        if not _VARIABLE.fullmatch(variable) or variable.startswith("FAILWELL_") or variable in tool.env:
            raise InputError(
                f"{place} secrets: {variable} is no variable that can hold a secret",
                hint="A name of letters, digits and _, not FAILWELL_..., and not in env too.",
            )
    # Attack: the node is started by an agent, with a PATH that leads to another program of that name.
    if tool.secrets and not (tool.command and tool.command[0].startswith("/")):
        raise InputError(
            f"{place}: the command of a tool that holds a secret begins with the absolute path of its program"
        )
    if tool.secrets and (tool.output_cap_bytes or 0) > MAX_SEARCHED_BYTES:
        raise InputError(
            f"{place}: of a tool that holds a secret at most {MAX_SEARCHED_BYTES:,} bytes of output are kept"
        )


def check_headers(place: str, server: UpstreamSettings, kept: dict[str, SecretSettings]) -> None:
    """InputError where the secrets that a server elsewhere is sent are not there, or go in no header of their own."""
    for header, secret in server.secrets.items():
        if secret not in kept:
            raise InputError(
                f"{place} secrets: {header} is to hold {secret}, which [secrets] does not have",
                hint=f'Add [secrets."{secret}"] with file, env or command.',
            )
        if not _HEADER.fullmatch(header):
            raise InputError(f"{place} secrets: {header} is no header that can hold a secret", hint="Authorization")


def check_forwarded(tool: str, runs: ToolSettings) -> None:
    """InputError where something is said of one tool of a tool server that holds for the whole of its process."""
    given = [name for name in ("command", "secrets", "limits", "transaction", "permit", "output_cap_bytes")
             if getattr(runs, name)]  # fmt: skip
    if given:
        server = tool.partition(".")[0]
        raise InputError(
            f'[tools."{tool}"]: {", ".join(given)} cannot be said of a tool server\'s tool',
            hint=f"Say it in [upstreams.{server}]. Here stand fence, confirm and what these two are given.",
        )
