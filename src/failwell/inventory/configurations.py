"""Agents in the configuration files of frameworks: who is set up on this machine, whether or not it ever ran.

Known by their names and places: MCP clients (`.mcp.json`, `mcp.json`, `claude_desktop_config.json`, also under
`.cursor` and `.vscode`), Claude Code (`.claude/agents/*.md`, `.claude/settings*.json` with hooks), CrewAI
(`agents.yaml`), LangGraph (`langgraph.json`), AutoGen (`OAI_CONFIG_LIST`). Nothing is run or imported, no address is
asked. A file of such a name that cannot be read as one is told: an agent may be in it.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec

from failwell.core.contract.document import read_document
from failwell.core.errors import FailwellError, InputError
from failwell.inventory.files import read_text
from failwell.inventory.sighting import MAX_SIGHTINGS, Found, Sighting, Unreadable, cut

#: Directories that hold other people's packages, or a repository's own bookkeeping: not looked into, and said so.
PASSED_OVER = frozenset({".git", "node_modules", "__pycache__"})
#: A tree with more entries than this is looked through so far.
MAX_ENTRIES = 1_000_000
#: `//` and `/* */` outside texts: the clients take them in their JSON. What is left open reaches to the end.
#: Attack: a file of nothing but openings, each of which is looked for its end.
_REMARKS = re.compile(r'("[^"\\]*(?:\\.[^"\\]*)*(?:"|\Z))|//[^\n]*|/\*.*?(?:\*/|\Z)', re.DOTALL)
#: A comma before the bracket that closes, which they take too.
_TRAILING = re.compile(r'("[^"\\]*(?:\\.[^"\\]*)*(?:"|\Z))|,\s*([\]}])', re.DOTALL)

Read = Callable[[Path, str], Iterable[Sighting]]


def search(places: Iterable[Path]) -> Found:
    """All agents in configuration files at or under `places`, which are files or directories."""
    search = _Search()
    for place in places:
        search.look(place)
    return Found(sightings=tuple(search.sightings), unreadable=tuple(search.unreadable), files=search.files)


class _Search:
    def __init__(self) -> None:
        self.sightings: list[Sighting] = []
        self.unreadable: list[Unreadable] = []
        self.files = 0
        self._entries = 0

    def look(self, place: Path) -> None:
        try:
            if place.is_dir():
                self._walk(place)
            elif (read := _reader(place)) is not None:
                self._file(place, read)
            else:
                self._untold(place, "is no directory, and no configuration file that is known by its name")
        except (OSError, ValueError) as error:
            self._untold(place, f"cannot be looked at: {type(error).__name__}")

    def _untold(self, place: object, why: str) -> None:
        self.unreadable.append(Unreadable(where=str(place), why=why))

    def _walk(self, root: Path) -> None:
        """Down the tree, never through a link: a loop of links is no tree."""
        passed = 0

        def failed(error: OSError) -> None:
            self._untold(error.filename, f"cannot be listed: {error.strerror}")

        for at, directories, files in os.walk(root, onerror=failed, followlinks=False):
            self._entries += len(directories) + len(files)
            if self._entries > MAX_ENTRIES:
                self._untold(at, f"the search ended here: more than {MAX_ENTRIES:,} files and directories")
                return
            kept = [name for name in sorted(directories) if name not in PASSED_OVER]
            passed += len(directories) - len(kept)
            for name in kept:
                if os.path.islink(os.path.join(at, name)):
                    self._untold(os.path.join(at, name), "a symbolic link to a directory is not followed")
            directories[:] = kept
            for name in sorted(files):
                path = Path(at, name)
                if (read := _reader(path)) is not None:
                    self._file(path, read)
        if passed:
            names = ", ".join(sorted(PASSED_OVER))
            self._untold(root, f"{passed} directories named {names} below it were not looked into")

    def _file(self, path: Path, read: Read) -> None:
        self.files += 1
        try:
            found = list(read(path, read_text(path)))
        except FailwellError as error:
            self._untold(path, error.message)
            return
        except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
            self._untold(path, f"is not the file that its name says: {type(error).__name__}")
            return
        room = MAX_SIGHTINGS - len(self.sightings)
        if len(found) > room:
            self._untold(path, f"{len(found) - room} more agents in it are not listed")
        self.sightings += found[:room]


# ---- which file is whose ---------------------------------------------------------------------------------------


def _reader(path: Path) -> Read | None:
    """What reads a file of this name in this place; None for all others."""
    parents = path.parent.parts
    if path.suffix == ".md" and (".claude", "agents") in itertools.pairwise(parents):
        return _claude_agent
    if path.name in ("settings.json", "settings.local.json") and parents[-1:] == (".claude",):
        return _claude_settings
    return _BY_NAME.get(path.name)


def _mcp(path: Path, text: str) -> Iterable[Sighting]:
    """An MCP client: who calls the servers that are declared there is an agent, whatever it is called."""
    declared = read_json(text)
    servers: dict[str, Any] = declared.get("mcpServers") or declared.get("servers") or {}
    client = {".cursor": "cursor", ".vscode": "vscode"}.get(path.parent.name)
    if client is None:
        client = "claude-desktop" if path.name == "claude_desktop_config.json" else "mcp-client"
    if servers:
        named = ", ".join(cut(name) for name in list(dict(servers))[:20])
        many = "1 server" if len(servers) == 1 else f"{len(servers)} servers"
        yield _seen(client, path, f"MCP client with {many}: {named}")


def _claude_agent(path: Path, text: str) -> Iterable[Sighting]:
    """A sub-agent of Claude Code: YAML between two lines of dashes, with its name."""
    match = re.match(r"---\r?\n(.*?)\r?\n---", text, re.DOTALL)
    node = None if match is None else read_document(match[1]).get("name")
    yield _seen(path.stem if node is None else node.raw, path, "sub-agent of Claude Code")


def _claude_settings(path: Path, text: str) -> Iterable[Sighting]:
    hooks = read_json(text).get("hooks")
    what = "Claude Code, without hooks" if not hooks else f"Claude Code with hooks: {', '.join(map(cut, hooks))}"
    yield _seen("claude-code", path, what)


def _crew(path: Path, text: str) -> Iterable[Sighting]:
    for name, node in read_document(text).members:
        role = node.get("role")
        yield _seen(name, path, "agent of a CrewAI crew" + (f": {cut(role.raw.strip())}" if role is not None else ""))


def _langgraph(path: Path, text: str) -> Iterable[Sighting]:
    for name, graph in dict(read_json(text)["graphs"]).items():
        yield _seen(name, path, f"LangGraph graph {cut(graph if isinstance(graph, str) else '')}".rstrip())


def _config_list(path: Path, text: str) -> Iterable[Sighting]:
    models = sorted(
        {str(item.get("model", "?")) for item in msgspec.json.decode(text.encode(), type=list[dict[str, Any]])}
    )
    yield _seen(None, path, f"AutoGen agents with the models {', '.join(map(cut, models[:20]))}")


def read_json(text: str) -> dict[str, Any]:
    """A JSON object, with the remarks and last commas that clients allow in it; InputError for anything else."""
    try:
        return msgspec.json.decode(text.encode(), type=dict[str, Any])
    except msgspec.MsgspecError:
        plain = _TRAILING.sub(lambda match: match[1] or match[2], _REMARKS.sub(lambda match: match[1] or "", text))
    try:
        return msgspec.json.decode(plain.encode(), type=dict[str, Any])
    except msgspec.MsgspecError as error:
        raise InputError(f"is not JSON: {error}") from error


def _seen(name: str | None, path: Path, what: str) -> Sighting:
    return Sighting(name=None if name is None else cut(name), how="configuration", where=str(path), what=cut(what))


_BY_NAME: dict[str, Read] = {
    ".mcp.json": _mcp,
    "mcp.json": _mcp,
    "claude_desktop_config.json": _mcp,
    "agents.yaml": _crew,
    "agents.yml": _crew,
    "langgraph.json": _langgraph,
    "OAI_CONFIG_LIST": _config_list,
    "OAI_CONFIG_LIST.json": _config_list,
}
