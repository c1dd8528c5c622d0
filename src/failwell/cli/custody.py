"""Who holds what each tool needs to prove itself with, as far as it is declared, kept and was tried; for people.

It decides nothing: contracts declare custody, settings say what the node holds, and attempts stand in the record
(`core.custody`). What nobody tried is shown as not tried.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from failwell.core.ways import WAYS, place_of

if TYPE_CHECKING:
    from failwell.client.wire import Wire
    from failwell.core.contract import Contract, Tool
    from failwell.node.reached import UpstreamSettings
    from failwell.node.settings import Settings

#: (part, state, what was found, what to do): a line of `doctor`.
Line = tuple[str, str, str, str | None]
#: Ways that are open to every process of the node's own user: nobody mends them but by another user (D10).
OF_ONE_USER = frozenset({"tool-environment", "workspace-keys"})


class Told(NamedTuple):
    """What the node tells: settings in force, custody rows, and what is wrong with each secret that was looked at."""

    force: Settings
    rows: dict[str, dict[str, Any]]
    secrets: dict[str, str | None]


class Standing(NamedTuple):
    """Of one tool: whether the gate is only advisory for it, which ways round it worked, and all of it in words."""

    advisory: bool
    ways: tuple[str, ...]
    words: str


def ask(wire: Wire) -> Told:
    """Ask the node for all of it."""
    from failwell.node.settings import settings_from_text

    force = settings_from_text(wire.call("ask", about="settings", timeout_s=10)["text"])
    return Told(force, wire.call("ask", about="custody", timeout_s=10), wire.call("ask", about="secrets", timeout_s=20))


def held(tool: str, force: Settings) -> bool:
    """Whether the node holds something that the tool does not work without."""
    declared, server = force.tools.get(tool), server_of(tool, force)
    if server is not None:
        return bool(server.secrets)
    return declared is not None and bool(declared.secrets or declared.permit)


def server_of(tool: str, force: Settings) -> UpstreamSettings | None:
    """The tool server whose tool it is; None for one that is no server's."""
    return force.upstreams.get(tool.partition(".")[0])


def standing(agent: str, tool: Tool, told: Told) -> Standing:
    """How a tool of an agent's contract stands."""
    row = told.rows.get(place_of(agent, tool.tool))
    ways = () if row is None else tuple(row["ways"])
    empty = tool.custody == "broker" and not held(tool.tool, told.force)
    words: str = tool.custody
    if tool.custody == "none":
        words = "none: advisory"
    elif empty:
        words = "broker, and nothing is held: advisory"
    if ways:
        words += f"; BYPASSABLE: {', '.join(ways)}"
    elif row is not None:
        words += "; not got round, says its agent's side"
    return Standing(tool.custody == "none" or empty, ways, words)


def columns(agent: str, contract: Contract | None, told: Told) -> list[dict[str, Any]]:
    """The tools of a contract, for programs."""
    found = []
    for tool in () if contract is None else contract.tools:
        stands = standing(agent, tool, told)
        found.append(
            {
                "tool": tool.tool, "effect": tool.effect, "executor": tool.executor, "custody": tool.custody,
                "advisory": stands.advisory, "bypassable": list(stands.ways), "held": stands.words,
                "witness": tool.witness, "deadline_ms": None if tool.deadline_us is None else tool.deadline_us / 1000,
            }
        )  # fmt: skip
    return found


def row_of(tool: dict[str, Any]) -> tuple[Any, ...]:
    """A tool as a line of a table: tool, effect, stopped how, custody, deadline, witness."""
    deadline = "none: unbounded" if tool["deadline_ms"] is None else f"{tool['deadline_ms'] / 1000:g} s"
    executor = tool["executor"] or "as the door can"
    return tool["tool"], tool["effect"], executor, tool["held"], deadline, tool["witness"]


# ---- doctor --------------------------------------------------------------------------------------------------


def readable(told: Told) -> str:
    """What one user for agent and node means for secrets, where there are any."""
    return ", which can read a secret in the environment of the tool that holds it" if told.force.secrets else ""


def secret_lines(told: Told) -> Iterator[Line]:
    """What is kept, and what is wrong with it."""
    kept = told.force.secrets
    wrong = {name: why for name, why in told.secrets.items() if why is not None}
    for name, why in wrong.items():
        yield "secrets", "todo", why, f"its tools do not start until then: {', '.join(_users(name, told.force)) or '-'}"
    if fine := sorted(set(told.secrets) - set(wrong)):
        yield "secrets", "ok", f"read by the node alone: {', '.join(fine)}", None
    if unread := sorted(set(kept) - set(told.secrets)):
        yield "secrets", "unknown", f"printed by a command, which is not run for this: {', '.join(unread)}", None


def _users(secret: str, force: Settings) -> list[str]:
    tools = [tool for tool, declared in force.tools.items() if secret in declared.secrets.values()]
    servers = [f"{name}.*" for name, server in force.upstreams.items() if secret in server.secrets.values()]
    return sorted([*tools, *servers])


def tool_lines(agent: str, name: str, contract: Contract, told: Told) -> Iterator[Line]:
    """What a contract says of its tools and cannot be relied on."""
    part, watched = f"agent {name}", f"{contract.contract} v{contract.version}"
    if empty := [t.tool for t in contract.tools if t.custody == "broker" and not held(t.tool, told.force)]:
        yield (
            part, "todo", f"declares custody broker, but the node holds nothing for {', '.join(empty)}: advisory",
            'declare secrets = {VARIABLE = "NAME"} in [tools."TOOL"], or say custody: none',
        )  # fmt: skip
    weak = {
        "unwitnessed, so what escaped cannot be counted": [t.tool for t in contract.tools if t.witness is None],
        "advisory (custody none): who runs the agent holds the credential": [
            t.tool for t in contract.tools if t.custody == "none"
        ],
        "without a deadline: how long one can run is unbounded": [
            t.tool for t in contract.tools if t.deadline_us is None and t.effect != "read"
        ],
    }  # fmt: skip
    found = [f"{what}: {', '.join(tools)}" for what, tools in weak.items() if tools]
    if found:
        yield part, "known", f"{watched}; " + "; ".join(found), "the contract's next version may mend it"
    elif not empty:
        yield part, "ok", f"{watched}; every tool is witnessed, in custody and has a deadline", None


def bypass_lines(contracts: dict[str, Contract], names: dict[str, str], told: Told) -> Iterator[Line]:
    """What was tried to reach tools round the gate."""
    untried: list[str] = []
    for agent, contract in sorted(contracts.items()):
        tried: list[str] = []
        for tool in contract.tools:
            ways = standing(agent, tool, told).ways
            if place_of(agent, tool.tool) in told.rows:
                tried.append(tool.tool)
            if ways:
                yield _bypass(names[agent], tool.tool, ways)
        if tried and not any(standing(agent, tool, told).ways for tool in contract.tools):
            said = f"{names[agent]} did not get round the gate to {', '.join(tried)}: the word of its side"
            yield "bypass", "known", said, None
        if not tried:
            untried.append(names[agent])
    if untried or not contracts:
        whose = f" by {', '.join(untried)}" if untried else ""
        yield (
            "bypass", "unknown", f"whether tools can be reached round the gate was not tried{whose}",
            f"where the agent runs: failwell doctor --as-agent {untried[0] if untried else 'AGENT'}",
        )  # fmt: skip


def _bypass(agent: str, tool: str, ways: tuple[str, ...]) -> Line:
    found = f"BYPASSABLE: {agent} reaches {tool} round the gate: {'; '.join(WAYS[way] for way in ways)}"
    if set(ways) <= OF_ONE_USER:
        return "bypass", "known", found, "the agent runs as the node's user; nothing separates them but another user"
    return "bypass", "todo", found, f"mend it, then where the agent runs: failwell doctor --as-agent {agent}"
