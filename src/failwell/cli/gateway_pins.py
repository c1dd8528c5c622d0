"""`gateway pin` and `gateway show`: what was accepted of tool servers, what they offer now, and to whom it is offered.

A pin is the digest of a definition as a person accepted it; a tool with another definition, or none, is refused by the
node. `pin` starts the server once, outside the node, and compares; new pins are written only when a person asks for it,
and take effect by `config apply`.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from failwell.cli import gateway_files as files
from failwell.cli import options, session
from failwell.cli.gateway_asking import ask_servers
from failwell.cli.gateway_plan import misread
from failwell.cli.gateway_show import show_remarks
from failwell.cli.screen import Answer, Screen, door, plural, tell
from failwell.core.errors import InputError, NotFound, Unhealthy
from failwell.core.unseen import visible

if TYPE_CHECKING:
    from failwell.core.contract import Contract
    from failwell.mcp.definitions import Definition
    from failwell.node.settings import Settings
    from failwell.node.workspace import Workspace

SAME, CHANGED, NEW, GONE = "as accepted", "changed", "new", "gone"
_LONGEST_LINE = 160


def register(app: typer.Typer) -> None:
    """Put the commands into `gateway`."""
    app.command("pin", short_help="Compare what a tool server offers with what was accepted of it.")(pin)
    app.command("show", short_help="Show tool servers, their tools, and to which agent they are offered.")(show)


# ---- pin -------------------------------------------------------------------------------------------------------


@door("gateway-pin")
def pin(
    server: Annotated[str, typer.Argument(metavar="SERVER", help="Its name in [upstreams].")],
    accept: Annotated[
        bool, typer.Option("--accept", help="Write the pins of what it offers now, all of it, into failwell.toml.")
    ] = False,
    workspace: options.Workspace = None, as_json: options.AsJson = False,
) -> Answer:  # fmt: skip
    """Compare what a tool server offers with what was accepted of it.

    The server is started once, under a supervisor, and asked. What differs is shown line by line, with whatever is not
    seen made visible. With --accept the pins in failwell.toml become those of what it offers now; they take effect by
    failwell config apply. Ends with 1 while something differs that is not accepted.

    \b
    Examples:
      failwell gateway pin files
      failwell gateway pin files --accept && failwell config apply
    """
    from failwell.mcp.review import review
    from failwell.node import settings
    from failwell.node.settings_edit import with_pins

    place = session.open_workspace(workspace)
    proposed = settings.read_settings(place.path)
    declared = proposed.upstreams.get(server)
    if declared is None:
        known = ", ".join(sorted(proposed.upstreams)) or "none"
        raise NotFound(f"failwell.toml declares no tool server {server}", hint=f"Declared are: {known}")
    tell(f"starting {server} once, to ask it ...")
    asked = ask_servers({server: declared}, {server: _secrets(place, proposed, server)}, place.path)[server]
    if asked.why is not None:
        raise Unhealthy(f"{server} did not say what it offers: {asked.why}", hint="Its pins are as they were.")
    remarks = review({server: [each.value() for each in asked.definitions]})
    kept = files.read_accepted(place, server, declared.tools)
    rows = list(_compared(asked.definitions, declared.tools, kept))
    differs = [row for row in rows if row["state"] != SAME]
    if accept and differs:
        twice = misread(server, asked, ()) & {each.name for each in asked.definitions}
        accepted = [each for each in asked.definitions if each.name not in twice]
        path = place.path / settings.FILE_NAME
        edited = with_pins(path.read_text("utf-8"), server, {each.name: each.digest for each in accepted})
        settings.parse_settings(edited)
        files.keep_accepted(place, server, accepted)
        files.replace_text(path, edited)
    fields = {
        "server": server, "says": asked.says, "tools": rows, "remarks": [each._asdict() for each in remarks],
        "left_out": [{"tool": visible(name, 128), "why": why} for name, why in asked.left_out],
        "accepted": bool(accept and differs),
    }  # fmt: skip

    def show_it(screen: Screen) -> None:
        _show_pin(screen, fields, rows, accept=accept)
        show_remarks(screen, remarks)

    return Answer(fields=fields, show=show_it, finding=bool(differs) and not accept)


def _secrets(place: Workspace, proposed: Settings, server: str) -> dict[str, str]:
    """What the server is started with, read as the node would; only from files, since nothing is run for it here."""
    from failwell.identity.keys import read_kept
    from failwell.node.redacting import MAX_BYTES

    found = {}
    for variable, name in proposed.upstreams[server].secrets.items():
        file = proposed.secrets[name].file
        if file is None:
            raise InputError(
                f"{server} holds the secret {name}, which only the node gets at",
                hint="Compare it where its client ran it, or keep that secret in a file.",
            )
        found[variable] = read_kept(place.path / file, MAX_BYTES + 2).decode("utf-8", "replace").rstrip("\r\n")
    return found


def _compared(
    offered: tuple[Definition, ...], pins: Mapping[str, str], kept: Mapping[str, dict[str, Any]]
) -> Iterator[dict[str, Any]]:  # fmt: skip
    """Each tool with its state and what differs. Of a definition that is not kept only the pin is known."""
    for each in offered:
        pinned = pins.get(each.name)
        state = NEW if pinned is None else SAME if pinned == each.digest else CHANGED
        diff: list[str] = []
        if state == NEW:
            diff = list(_lines(each.value()))
        elif state == CHANGED:
            before = kept.get(each.name)
            diff = _difference(before, each.value()) if before is not None else list(_lines(each.value()))
        yield {
            "tool": visible(each.name, 128), "state": state, "digest": each.digest, "pinned": pinned, "diff": diff,
            "compared": state != CHANGED or each.name in kept,
        }  # fmt: skip
    for name in sorted(set(pins) - {each.name for each in offered}):
        yield {"tool": name, "state": GONE, "digest": None, "pinned": pins[name], "diff": [], "compared": True}


def _difference(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    return [
        line for line in difflib.unified_diff(list(_lines(before)), list(_lines(now)), lineterm="", n=0)
        if not line.startswith(("---", "+++", "@@"))
    ]  # fmt: skip


def _lines(value: Any, place: str = "") -> Iterator[str]:
    """A definition as one line for each of its values, in the order of their places, with nothing hidden.

    Long texts are broken, not cut: what is accepted has been there to be read.
    """
    if isinstance(value, dict) and value:
        for name in sorted(value):
            yield from _lines(value[name], f"{place}.{visible(name)}" if place else visible(name))
    elif isinstance(value, list) and value:
        for number, each in enumerate(value):
            yield from _lines(each, f"{place}[{number}]")
    else:
        text = visible(json.dumps(value, ensure_ascii=False) if not isinstance(value, str) else value)
        for part in text.split("\n"):
            pieces = [part[at : at + _LONGEST_LINE] for at in range(0, len(part), _LONGEST_LINE)] or [""]
            yield from (f"{place}: {piece}" for piece in pieces)


def _show_pin(screen: Screen, fields: dict[str, Any], rows: list[dict[str, Any]], *, accept: bool) -> None:
    server, differs = fields["server"], [row for row in rows if row["state"] != SAME]
    if not differs:
        screen.lead(
            f"{server} offers what was accepted: {plural(len(rows), 'tool')}.", f"It says it is {fields['says']}."
        )
    elif accept:
        screen.lead(
            f"The pins of {plural(len(differs), 'tool')} of {server} are written. They are not in force yet.",
            "An operator puts them in force: failwell config apply",
        )
    else:
        screen.lead(
            f"{plural(len(differs), 'tool')} of {server} not as accepted: not offered, and denied when called.",
            f"Read what differs, then: failwell gateway pin {server} --accept", bad=True,
        )  # fmt: skip
    screen.table(("tool", "state"), [(row["tool"], row["state"]) for row in rows])
    for row in differs:
        if row["diff"]:
            whole = "" if row["compared"] and row["state"] == CHANGED else " (the whole of it)"
            screen.say(f"\n{row['tool']}{whole}", "bold")
            for line in row["diff"]:
                screen.command(line)


# ---- show ------------------------------------------------------------------------------------------------------


@door("gateway-show")
def show(workspace: options.Workspace = None, as_json: options.AsJson = False) -> Answer:
    """Show tool servers, their tools, and to which agent they are offered.

    It tells what the settings and contracts in force say: no server is started for it. What a server offers by now is
    told by: failwell gateway pin SERVER

    \b
    Example:
      failwell gateway show
    """
    from failwell.cli import custody
    from failwell.cli.lookup import contract_in_force

    place = session.open_workspace(workspace)
    with session.reach_node(place) as wire:
        told = custody.ask(wire)
        rows: dict[str, dict[str, Any]] = wire.call("ask", about="agents")
        agents = {
            full: (row, contract_in_force(wire, full)) for full, row in rows.items() if row["authority"] != "RETIRED"
        }
    servers = [_server(place, name, told, agents) for name in sorted(told.force.upstreams)]

    def show_it(screen: Screen) -> None:
        if not servers:
            screen.lead("No tool server is declared.", "To begin: failwell gateway import FILE")
            return
        tools = sum(len(each["tools"]) for each in servers)
        screen.lead(
            f"{plural(len(servers), 'tool server')}, {plural(tools, 'tool')} accepted.",
            "What a server offers by now: failwell gateway pin SERVER",
        )
        for each in servers:
            _show_server(screen, each)

    return Answer(fields={"servers": servers}, show=show_it)


def _server(
    place: Workspace, name: str, told: Any, agents: Mapping[str, tuple[dict[str, Any], Contract | None]]
) -> dict[str, Any]:  # fmt: skip
    declared = told.force.upstreams[name]
    kept = files.read_accepted(place, name, declared.tools)
    listed = {
        tool.tool.partition(".")[2]: None
        for _, contract in agents.values() if contract is not None
        for tool in contract.tools if tool.tool.startswith(f"{name}.")
    }  # fmt: skip
    tools = []
    for own in dict.fromkeys((*declared.tools, *listed)):
        offered = [_offered(full, *agents[full], name, own, told) for full in sorted(agents)]
        tools.append({
            "tool": f"{name}.{own}", "pinned": declared.tools.get(own), "kept": own in kept,
            "agents": [each for each in offered if each is not None],
        })  # fmt: skip
    return {
        "server": name, "kind": "http" if declared.url is not None else "stdio",
        "runs": declared.url if declared.url is not None else list(declared.command),
        "executor": "unstoppable" if declared.url is not None else "supervised",
        "secrets": sorted(set(declared.secrets.values())), "deadline_ms": declared.deadline_ms, "tools": tools,
    }  # fmt: skip


def _offered(
    full: str, row: dict[str, Any], contract: Contract | None, server: str, own: str, told: Any
) -> dict[str, Any] | None:  # fmt: skip
    """Whether a tool is offered to an agent, and why not; None for agents that have nothing to do with the server."""
    from failwell.cli import custody
    from failwell.cli.lookup import governed
    from failwell.core.contract.drafting import METHODS

    listed = () if contract is None else tuple(tool for tool in contract.tools if tool.tool.startswith(f"{server}."))
    observed = not governed(row) and not row["detect_only"]
    if not listed and not observed:
        return None
    tool = next((each for each in listed if each.tool == f"{server}.{own}"), None)
    why = None
    if own not in METHODS and own not in told.force.upstreams[server].tools:
        why = "nobody accepted its definition"
    elif row["authority"] == "SUSPENDED":
        why = "the agent is suspended"
    elif tool is None and not observed:
        why = "its contract does not list it"
    held = None if tool is None else custody.standing(full, tool, told).words
    return {
        "agent": row["name"], "offered": why is None, "why": why, "governed": not observed,
        "effect": None if tool is None else tool.effect, "custody": held,
    }  # fmt: skip


def _show_server(screen: Screen, server: dict[str, Any]) -> None:
    runs = server["runs"] if isinstance(server["runs"], str) else " ".join(server["runs"])
    secrets = f", holds {', '.join(server['secrets'])}" if server["secrets"] else ""
    screen.say(
        f"\n{server['server']}: {runs} ({server['executor']}, {server['deadline_ms'] / 1000:g} s a call{secrets})",
        "bold",
    )
    screen.table(
        ("tool", "accepted as", "offered to", "not to", "effect", "custody"),
        [
            (
                tool["tool"], "-" if tool["pinned"] is None else tool["pinned"][:12],
                ", ".join(each["agent"] + ("" if each["governed"] else " (NOT GOVERNED)")
                          for each in tool["agents"] if each["offered"]) or None,
                "; ".join(f"{each['agent']}: {each['why']}" for each in tool["agents"] if not each["offered"]) or None,
                ", ".join(sorted({each["effect"] for each in tool["agents"] if each["effect"]})) or None,
                ", ".join(sorted({each["custody"] for each in tool["agents"] if each["custody"]})) or None,
            )
            for tool in server["tools"]
        ],
    )  # fmt: skip
