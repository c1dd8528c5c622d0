"""The tool servers in an MCP client's configuration: `mcpServers` of Claude Desktop, Claude Code, Cursor and others,
`servers` with remarks and inputs of VS Code.

Nothing is started and no address is asked. References (`${env:NAME}`, `${NAME:-otherwise}`, `${input:ID}`,
`${workspaceFolder}`, `${userHome}`) are resolved by what the caller gives; a server of which one stays open, or that is
described in a way that is not known here, is told with the reason and never guessed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from failwell.core.errors import InputError
from failwell.inventory.configurations import read_json
from failwell.inventory.files import read_text

MAX_SERVERS = 64
_REFERENCE = re.compile(r"\$\{([^${}]*)\}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_KNOWN = frozenset(
    {"command", "args", "env", "cwd", "url", "serverUrl", "httpUrl", "headers", "type", "transport", "disabled", "name",
     "description", "timeout", "autoApprove", "alwaysAllow", "trust", "gallery", "version", "tools"}
)  # fmt: skip
#: Types of servers with an address; the older `sse` is not spoken.
_ELSEWHERE = frozenset({"http", "streamable-http", "streamableHttp"})


class ClientServer(NamedTuple):
    """One server as its client knows it. `why` it cannot be taken over; then nothing else counts but its name."""

    name: str
    command: tuple[str, ...] = ()
    env: Mapping[str, str] = {}
    cwd: str | None = None
    url: str | None = None
    headers: Mapping[str, str] = {}
    why: str | None = None


class ClientFile(NamedTuple):
    """A client's configuration: `client` is what it is called, `section` the key under which its servers stand."""

    path: Path
    client: str
    section: str
    servers: tuple[ClientServer, ...]


class _Open(Exception):
    """A reference that nothing was given for."""


def read_client_file(path: Path, environ: Mapping[str, str], inputs: Mapping[str, str], home: Path) -> ClientFile:
    """The servers of a client's configuration; InputError where it is none. `inputs` are answers by their id."""
    declared = read_json(read_text(path))
    section = next((key for key in ("mcpServers", "servers") if isinstance(declared.get(key), dict)), None)
    if section is None:
        raise InputError(f"{path} has neither mcpServers nor servers", hint="Give the file in which they are set up.")
    found: dict[str, Any] = declared[section]
    if not found or len(found) > MAX_SERVERS:
        raise InputError(f"{path} has {len(found)} servers: 1 to {MAX_SERVERS} can be imported at once")
    project = _project(path)

    def resolve(text: str) -> str:
        return _REFERENCE.sub(lambda match: _resolved(match[1], environ, inputs, home, project), text)

    servers = tuple(_server(name, each, resolve, project) for name, each in found.items())
    return ClientFile(path, _client(path), section, servers)


def _project(path: Path) -> Path | None:
    """The directory that a client stands in when it reads a project's own file."""
    parent = path.resolve().parent
    if parent.name in (".cursor", ".vscode"):
        return parent.parent
    return parent if path.name == ".mcp.json" else None


def _client(path: Path) -> str:
    by_parent = {".cursor": "cursor", ".vscode": "vscode"}.get(path.resolve().parent.name)
    by_name = {
        "claude_desktop_config.json": "claude-desktop",
        ".mcp.json": "claude-code",
        ".claude.json": "claude-code",
    }
    return by_parent or by_name.get(path.name, "mcp-client")


def _resolved(
    name: str, environ: Mapping[str, str], inputs: Mapping[str, str], home: Path, project: Path | None
) -> str:
    if name.startswith("input:"):
        if name.removeprefix("input:") in inputs:
            return inputs[name.removeprefix("input:")]
        raise _Open(f"it asks for {name.removeprefix('input:')}: give --input {name.removeprefix('input:')}=FILE")
    places = {"userHome": home, "workspaceFolder": project, "workspaceRoot": project}
    if name in places:
        if (place := places[name]) is None:
            raise _Open(f"it stands on ${{{name}}}, and the file is no project's")
        return str(place)
    variable, default, otherwise = name.removeprefix("env:").partition(":-")
    if not _VARIABLE.fullmatch(variable):
        raise _Open(f"${{{name[:40]}}} is not known here")
    if variable in environ:
        return environ[variable]
    if default:
        return otherwise
    raise _Open(f"the environment has no {variable}")


def _server(name: str, said: Any, resolve: Callable[[str], str], project: Path | None) -> ClientServer:
    try:
        if not isinstance(said, dict):
            raise _Open("it is no object")
        if said.get("disabled") is True:
            raise _Open("it is disabled there")
        if unknown := sorted(set(said) - _KNOWN):
            raise _Open(f"{', '.join(unknown)[:80]} of it is not known here")
        kind = said.get("type", said.get("transport"))
        url = next((said[key] for key in ("url", "serverUrl", "httpUrl") if key in said), None)
        if kind is not None and kind not in (_ELSEWHERE if url else {"stdio"}):
            raise _Open(f"it is of type {str(kind)[:40]}, which is not spoken here")
        if url is not None:
            return ClientServer(name, url=_text(url, resolve), headers=_texts(said.get("headers"), resolve))
        arguments = said.get("args", [])
        if not isinstance(arguments, list) or "command" not in said:
            raise _Open("it has no command and no url")
        cwd = said.get("cwd")
        place = project if cwd is None else (project or Path("/")) / _text(cwd, resolve)
        return ClientServer(
            name, command=(_text(said["command"], resolve), *(_text(each, resolve) for each in arguments)),
            env=_texts(said.get("env"), resolve), cwd=None if place is None else str(place),
        )  # fmt: skip
    except _Open as open_:
        return ClientServer(name, why=str(open_))


def _texts(said: Any, resolve: Callable[[str], str]) -> dict[str, str]:
    if said is None:
        return {}
    if not isinstance(said, dict):
        raise _Open("its env or headers are no object")
    return {name: _text(value, resolve) for name, value in said.items() if value is not None}


def _text(said: Any, resolve: Callable[[str], str]) -> str:
    if isinstance(said, bool) or not isinstance(said, str | int | float):
        raise _Open("something in it that should be a text is none")
    return resolve(str(said))
