"""The broker: what a tool needs to prove itself with, held by the node and by nobody before it (custody `broker`, R6).

A secret is read anew for each start, from where the settings say, and goes into the environment of that tool's own
processes: not to the agent, not into the record, and not into the node's memory beyond the action. A secret that cannot
be read, that others could read, or that is too short to be found again in what the tool says starts nothing.

What it does NOT do: hide anything from a process of the same user. Whoever may look at the tool's environment in /proc
sees the secret there; a flag such as PR_SET_DUMPABLE would not last, since the kernel sets it anew as the tool is
executed. So custody is worth what separates the agent's user from the node's (D10), and `doctor --as-agent` tries it.
Trusted sources, fences, confirmations and probes are commands of the operator too, and get no secret from here.
"""

from __future__ import annotations

import asyncio
import os
import pwd
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from failwell.core.errors import FailwellError, InputError, Unhealthy
from failwell.execute.programs import changeable
from failwell.identity.keys import read_kept
from failwell.node.redacting import MAX_BYTES, MIN_BYTES, NOTHING, Redaction, period

if TYPE_CHECKING:
    from failwell.node.kept import SecretSettings
    from failwell.node.reached import UpstreamSettings
    from failwell.node.service import Node
    from failwell.node.settings import ToolSettings

#: So many different letters at least: a row of the same one is in everything that a tool says.
MIN_LETTERS: Final = 4
#: How long a file may take to be read: it can lie on another machine.
FILE_S: Final = 5.0
#: Where programs of a tool are looked for that holds a secret. The node's own PATH can be that of whoever started it.
PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What one start of a tool is given: `secrets` by variable, the rest of its surroundings, and what hides it again.

    Lives as long as the action, and is printed nowhere.
    """

    secrets: dict[str, str] = field(default_factory=dict, repr=False)
    surroundings: dict[str, str] = field(default_factory=dict)
    redaction: Redaction = NOTHING


class Broker:
    """Reads secrets for tools. `served` says whether an operator started this node, and not an agent on demand."""

    def __init__(self, node: Node, *, served: bool) -> None:
        self._node = node
        self._served = served

    async def hold(
        self, agent: str, tool: ToolSettings | UpstreamSettings | None, command: tuple[str, ...] | None = None
    ) -> Held:  # fmt: skip
        """What `tool` is started with for `agent`; Unhealthy, with what to do and no value, where that is not had.

        `command` is what runs for it, where the settings do not say that themselves.
        """
        if tool is None or not tool.secrets:
            return Held()
        await asyncio.to_thread(_check_program, command or tool.command)
        names = sorted(set(tool.secrets.values()))
        values = dict(zip(names, [await self._read(agent, name) for name in names], strict=True))
        try:
            redaction = await asyncio.to_thread(Redaction, values)
        except InputError as error:
            raise _not_had(", ".join(names), error.message, "Have another one made out.") from None
        secrets = {variable: values[name] for variable, name in tool.secrets.items()}
        return Held(secrets=secrets, surroundings=own_surroundings(), redaction=redaction)

    async def check(self) -> dict[str, str | None]:
        """What is wrong with each secret that is kept in a file or a variable, None where nothing is.

        Commands are not run for it: what they do elsewhere is not known here.
        """
        found: dict[str, str | None] = {}
        for name, kept in sorted(self._node.settings.secrets.items()):
            if kept.command is None:
                try:
                    await self._read("", name)
                    found[name] = None
                except FailwellError as error:
                    found[name] = f"{error.message}. {error.hint or ''}".rstrip(". ")
        return found

    async def _read(self, agent: str, name: str) -> str:
        kept = self._node.settings.secrets.get(name)
        if kept is None:
            raise _not_had(name, "no setting declares it", f'Add [secrets."{name}"] to failwell.toml.')
        if kept.file is not None:
            raw = await self._from_file(name, kept.file)
        elif kept.env is not None:
            raw = self._from_environment(name, kept.env)
        else:
            raw = await self._from_command(agent, name, kept)
        return _usable(name, raw)

    async def _from_file(self, name: str, file: str) -> bytes:
        path = self._node.workspace.path / file
        try:
            async with asyncio.timeout(FILE_S):
                return await asyncio.to_thread(read_kept, path, MAX_BYTES + 2)
        except FailwellError as error:
            raise _not_had(name, error.message, error.hint) from error
        except (TimeoutError, OSError) as error:
            raise _not_had(name, f"its file is not read ({type(error).__name__})", f"Look at {path}.") from error

    def _from_environment(self, name: str, variable: str) -> bytes:
        # Attack: an agent's process starts the node, and hands it the variables that it has itself.
        if not self._served:
            raise _not_had(
                name, "this node was started on demand, in the environment of whoever needed it first",
                "Start it where the variable is set and no agent runs: failwell serve. Or keep the secret in a file.",
            )  # fmt: skip
        if variable not in os.environ:
            raise _not_had(name, f"the node's environment has no {variable}", "Set it, then: failwell serve")
        return os.environb[os.fsencode(variable)]

    async def _from_command(self, agent: str, name: str, kept: SecretSettings) -> bytes:
        command = kept.command or ()
        await asyncio.to_thread(_check_program, command)
        asked = f"secret:{name}"
        reply = await self._node.sources.run(agent, asked, command, own_surroundings(), kept.deadline_ms * 1000)
        if reply.state != "answered":
            raise _not_had(name, f"its command: {reply.detail or reply.state}", f"Run it by hand: {command[0]}")
        return reply.text


def own_surroundings() -> dict[str, str]:
    """What a program that handles a secret finds in its environment, whoever started the node."""
    try:
        home = pwd.getpwuid(os.geteuid()).pw_dir
    except KeyError:
        home = "/"
    return {"PATH": PATH, "HOME": home}


def _usable(name: str, raw: bytes) -> str:
    """The secret without the line feeds at its end; Unhealthy where it cannot be kept out of what the tool says."""
    raw = raw.rstrip(b"\r\n")
    try:
        value = raw.decode()
    except UnicodeDecodeError as error:
        raise _not_had(name, "it is not UTF-8 text", "Keep it in base64; the tool decodes it.") from error
    if "\0" in value or len(raw) > MAX_BYTES:
        raise _not_had(name, f"it has a NUL or over {MAX_BYTES:,} bytes", "No variable can hold it: give a path.")
    if len(raw) < MIN_BYTES or len(set(value)) < MIN_LETTERS or 2 * period(value) <= len(value):
        raise _not_had(
            name, f"it has fewer than {MIN_BYTES} bytes or {MIN_LETTERS} different letters, or repeats itself, and"
            " would be found in what was never secret", "Have a longer one made out.",
        )  # fmt: skip
    return value


def _check_program(command: tuple[str, ...]) -> None:
    """Unhealthy where another user could put their own program in the place of the operator's."""
    try:
        why = changeable(command)
    except OSError as error:
        raise Unhealthy(f"{command[0]} cannot be run: {error.strerror or error}", hint="Mend its command.") from error
    if why is not None:
        raise Unhealthy(
            f"{command[0]} gets no secret: {why}", hint="Only root and the node's user may change what holds a secret."
        )


def _not_had(name: str, why: str, hint: str | None) -> Unhealthy:
    return Unhealthy(f"the secret {name} is not to be had: {why}", hint=hint)
