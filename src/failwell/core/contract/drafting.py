"""The draft of a contract, made of what tool servers say of their tools: text for a person to read, doubt and change.

A definition tells which arguments a tool takes. It does not tell on whose behalf, how often or how much it may be used,
nor what it does to the world: its annotations are the server's own word, so a tool is irreversible unless the server
claims that it only reads, and the draft says that this is a claim. No clause and no limit is made up. What the contract
language cannot spell is left out, with the reason. It reads nothing, asks nobody and puts nothing in force.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from failwell.core.contract.drafted_types import Drafted, drafted_type
from failwell.core.contract.duration import format_duration
from failwell.core.fact_keys import ARGUMENT_NAME
from failwell.core.unseen import visible

_TOOL_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:/-]{0,127}")
_LONGEST_WORDS = 120

#: Requests of the protocol that are actions of their own: name -> arguments.
METHODS: dict[str, tuple[tuple[str, str], ...]] = {
    "resources/list": (("cursor?", "string"),),
    "resources/templates/list": (("cursor?", "string"),),
    "resources/read": (("uri", "string"),),
    "prompts/list": (("cursor?", "string"),),
    "prompts/get": (("name", "string"), ("arguments?", "object")),
}


class OfferedServer(NamedTuple):
    """A tool server as it presented itself: `definitions` are its tools, `methods` its other requests that give
    something. `elsewhere`: it runs where no kill of ours reaches. `secrets`: whether the node holds some for it.
    """

    name: str
    says: str
    definitions: tuple[Mapping[str, Any], ...]
    methods: tuple[str, ...] = ()
    elsewhere: bool = False
    secrets: bool = False
    deadline_us: int = 60_000_000


class LeftOut(NamedTuple):
    """A tool, or one argument of it, that the draft does not have, and why."""

    tool: str
    why: str


class Draft(NamedTuple):
    """`text` is YAML; `tools` are those in it, `claimed` those of them that only read, by their server's word."""

    text: str
    tools: tuple[str, ...]
    claimed: tuple[str, ...]
    left_out: tuple[LeftOut, ...]


def draft(*, contract: str, agent: str, owner: str, day: str, servers: Iterable[OfferedServer]) -> Draft:
    """The draft of a contract for `agent` about all tools of `servers`; `day` is when they were asked."""
    drafter = _Drafter()
    for server in servers:
        drafter.server(server)
    head = _HEAD.format(
        day=day, contract=_text(contract), agent=_text(agent), owner=_text(owner),
        purpose=_text("Say here what this agent is for, in one or two sentences."),
    )  # fmt: skip
    if not drafter.tools:
        drafter.lines.append("tools: []  # nothing that could be drafted; what is not listed is denied")
    text = head + "\n".join(drafter.lines) + "\n"
    return Draft(text, tuple(drafter.tools), tuple(drafter.claimed), tuple(drafter.left_out))


_HEAD = """\
# DRAFT of {day}, made by `failwell gateway import` from what the tool servers say of themselves. Nobody agreed to it.
# Read every line before you sign. "claimed" is the server's own word, "guess" is ours.
# What no definition tells is not here: on whose behalf the agent acts (principals), which values are too much
# (clauses), how often and how much (limits), what follows (response). docs/contract.md says how it is written; then:
# failwell contract lint FILE

contract: {contract}
version: 1
agent: {agent}
owner: {owner}
purpose: {purpose}

"""


class _Drafter:
    """Writes the tools of one draft, line by line."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.tools: list[str] = []
        self.claimed: list[str] = []
        self.left_out: list[LeftOut] = []

    def server(self, server: OfferedServer) -> None:
        where = "elsewhere, by its address" if server.elsewhere else "a process of ours"
        head = [f"  # ---- {server.name}: {words(server.says)} ({where})"]
        first = len(self.left_out)
        body = [line for definition in server.definitions for line in self._tool(server, definition)]
        body += [line for method in server.methods if method in METHODS for line in self._method(server, method)]
        missed = [f"  # left out: {words(each.tool)}: {words(each.why, 300)}" for each in self.left_out[first:]]
        if body and not any(line == "tools:" for line in self.lines):
            self.lines.append("tools:")
        self.lines += [*(head if body or missed else []), *body, *missed]

    def _tool(self, server: OfferedServer, definition: Mapping[str, Any]) -> list[str]:
        own = definition.get("name")
        name = f"{server.name}.{own}"
        if not isinstance(own, str) or not _TOOL_NAME.fullmatch(name):
            self.left_out.append(LeftOut(name, "contracts spell names in ASCII letters, digits and _ . : / -"))
            return []
        if name in self.tools or own in METHODS:
            self.left_out.append(LeftOut(name, "two things of this server have the same name"))
            return []
        arguments = self._arguments(name, definition)
        if arguments is None:
            return []
        self.tools.append(name)
        annotations = definition.get("annotations")
        claims: Mapping[str, Any] = annotations if isinstance(annotations, Mapping) else {}
        lines = self._head(server, name, claims)
        if isinstance(said := definition.get("description") or definition.get("title"), str) and said.strip():
            lines.insert(1, f"    # it says: {words(said)}")
        return lines + (
            [f"    arguments:{arguments[0]}"] if len(arguments) == 1 else ["    arguments:", *arguments[1:]]
        )

    def _head(self, server: OfferedServer, name: str, claims: Mapping[str, Any]) -> list[str]:
        reads = claims.get("readOnlyHint") is True and claims.get("destructiveHint") is not True
        if reads:
            self.claimed.append(name)
        effect = (
            "read  # claimed by its server (readOnlyHint)" if reads else "irreversible  # nothing shows that it is less"
        )
        stopped = "unstoppable  # its work goes on elsewhere" if server.elsewhere else "supervised"
        held = "none  # whoever can start or address its server goes round the gate"
        if server.secrets:
            held = "none  # the old configuration still has its secret: once that is renewed, write broker"
        lines = [
            f"  - tool: {_text(name)}", f"    effect: {effect}", f"    executor: {stopped}", f"    custody: {held}",
            f"    deadline: {format_duration(server.deadline_us)}  # guess: as the settings say",
        ]  # fmt: skip
        if claims.get("idempotentHint") is True and not reads:
            lines.append("    # claimed by its server: twice does no more than once (then write idempotent: true)")
        return lines

    def _method(self, server: OfferedServer, method: str) -> list[str]:
        name = f"{server.name}.{method}"
        self.tools.append(name)
        arguments = [f"      {argument}: {_text(of)}" for argument, of in METHODS[method]]
        return [*self._head(server, name, {"readOnlyHint": True}), "    arguments:", *arguments]

    def _arguments(self, tool: str, definition: Mapping[str, Any]) -> list[str] | None:
        """A first line that is nothing (or says that there are none), then one for each; None: the tool cannot be."""
        schema = definition.get("inputSchema")
        root: Mapping[str, Any] = schema if isinstance(schema, Mapping) else {}
        declared = root.get("properties")
        properties: Mapping[str, Any] = declared if isinstance(declared, Mapping) else {}
        named = root.get("required")
        required = {each for each in named if isinstance(each, str)} if isinstance(named, list) else set()
        lines = [""]
        kept = _kept(properties, required)
        for name, each in properties.items():
            if (why := _unfit(name, kept)) is not None:
                if name in required:
                    self.left_out.append(LeftOut(tool, f"{why}, and it is required"))
                    return None
                self.left_out.append(LeftOut(f"{tool}: {name}", f"{why}; without it the tool can be called"))
                continue
            lines.append(_argument(name, drafted_type(name, each, _definitions(root)), required=name in required))
        return lines if len(lines) > 1 else [" {}  # none"]


def _kept(names: Iterable[str], required: set[str]) -> dict[str, str]:
    """Of arguments that differ in capital letters only, the one that is drafted: one that is required, or the first."""
    kept: dict[str, str] = {}
    for name in sorted(names, key=lambda name: name not in required):
        if ARGUMENT_NAME.fullmatch(name):
            kept.setdefault(name.lower(), name)
    return kept


def _unfit(name: str, kept: Mapping[str, str]) -> str | None:
    """Why an argument cannot be drafted."""
    if not ARGUMENT_NAME.fullmatch(name):
        return f"contracts cannot spell its argument {name} (a letter, then A-Z, a-z, 0-9, _ and -; 64 at most)"
    alike = kept[name.lower()]
    return None if alike == name else f"its argument {name} reads like {alike}"


def _argument(name: str, drafted: Drafted, *, required: bool) -> str:
    notes = [*drafted.notes]
    if drafted.optional and required:
        notes.append("null is taken too, so it may be left out here")
    mark = "?" if drafted.optional or not required else ""
    comment = f"  # {words('; '.join(notes), 300)}" if notes else ""
    return f"      {name}{mark}: {_text(drafted.type)}{comment}"


def _definitions(root: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for word in ("$defs", "definitions"):
        named = root.get(word)
        if isinstance(named, Mapping):
            found |= {f"#/{word}/{name}": value for name, value in named.items()}
    return found


# ---- texts of strangers ----------------------------------------------------------------------------------------


def words(text: str, most: int = _LONGEST_WORDS) -> str:
    """One line of a stranger's text, for a comment: whatever is not seen is shown by its code point."""
    plain = " ".join(text[: most * 2].split())
    return visible(plain if len(plain) <= most else f"{plain[: most - 3]}...")


def _text(text: str) -> str:
    """A text in quotes: of JSON, so of YAML 1.2 too."""
    return json.dumps(text)
