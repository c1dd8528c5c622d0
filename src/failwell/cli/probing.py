"""`doctor --as-agent`: what an agent can reach of its tools without the gate, tried from where it runs, on record.

What is tried follows from what is declared. A tool whose custody is `none` is advisory whatever is found, one that the
network keeps is known by its probe alone. To be able to execute a tool's program is a way only where the program works
without a secret of the node's. What was not reached is the word of the agent's side, and told as no more than that.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from failwell.cli import custody, session
from failwell.cli.screen import Answer, Screen, plural
from failwell.core.errors import InputError, NotFound
from failwell.core.ways import WAYS

if TYPE_CHECKING:
    from failwell.core.contract import Contract, Tool
    from failwell.execute.reaching import Attempt, Place
    from failwell.node.kept import SecretSettings
    from failwell.node.settings import Settings
    from failwell.node.workspace import Workspace

BYPASSABLE, HELD, ADVISORY, UNTRIED = "bypassable", "held", "advisory", "not tried"


class Try(NamedTuple):
    """One attempt on the way to a tool. Without an attempt it needs none: it is known to work."""

    way: str
    attempt: Attempt | None
    told: str


class Found(NamedTuple):
    """What came of all attempts on one tool; `told` says it of each that was tried."""

    tool: str
    custody: str
    state: str
    ways: tuple[str, ...]
    tried: tuple[str, ...]
    told: tuple[str, ...]


def probe(place: Workspace, agent: str, user: str | None, process: int | None) -> Answer:
    """Try all tools of an agent's contract, and record what was found on a connection that proves the agent."""
    from failwell.cli.lookup import contract_in_force, find_agent
    from failwell.client.gate import Gate
    from failwell.client.wire import reach
    from failwell.execute import reaching
    from failwell.node.settings import settings_from_text

    if user is not None and process is not None:
        raise InputError(
            "--user and --process both say where the agent runs", hint="A process tells its variables too."
        )
    at = reaching.here()
    if user is not None:
        at = reaching.place_of_user(user)
    elif process is not None:
        at = reaching.place_of_process(process)
    with Gate(reach(place.socket, place.path), session.config_directory()) as gate:
        full, row = find_agent(gate.wire, agent)
        contract = contract_in_force(gate.wire, full)
        if contract is None:
            raise NotFound(f"{row['name']} has no contract: there is no tool to reach", hint="failwell contract adopt")
        gate.prove("agent", full)
        force = settings_from_text(gate.wire.call("ask", about="settings")["text"])
        found = _try(contract, force, at, place, gate.wire.greeting["pid"])
        probes = [{"tool": one.tool, "tried": one.tried, "ways": one.ways} for one in found if one.tried]
        entries = gate.wire.call("probed", agent=full, uid=at.uid, found=probes) if probes else []
    return _answer(full, row["name"], at, found, entries)


# ---- what is tried -------------------------------------------------------------------------------------------


def _try(contract: Contract, force: Settings, at: Place, place: Workspace, node: int) -> list[Found]:
    from failwell.execute import reaching

    tries = {tool.tool: list(_tries(tool, force, at, place, node)) for tool in contract.tools}
    attempts = [each.attempt for tool in tries.values() for each in tool if each.attempt is not None]
    worked = iter(reaching.try_all(at, attempts))
    return [_found(tool, tries[tool.tool], worked) for tool in contract.tools]


def _found(tool: Tool, tries: list[Try], worked: Iterator[bool]) -> Found:
    results = [(each, each.attempt is None or next(worked)) for each in tries]
    ways = tuple(dict.fromkeys(each.way for each, open_ in results if open_))
    tried = tuple(dict.fromkeys(each.way for each, _ in results))
    state = BYPASSABLE if ways else HELD if tried else ADVISORY if tool.custody == "none" else UNTRIED
    told = tuple(f"{'worked' if open_ else 'failed'}: {each.told}" for each, open_ in results)
    return Found(tool.tool, tool.custody, state, ways, tried, told)


def _tries(tool: Tool, force: Settings, at: Place, place: Workspace, node: int) -> Iterator[Try]:
    """What is tried of one tool."""
    from failwell.execute.reaching import Attempt

    declared = force.tools.get(tool.tool)
    if declared is not None and declared.probe is not None:
        within_s = declared.stop_deadline_ms / 1000
        yield Try(
            "probe", Attempt(kind="answers", of=declared.probe, within_s=within_s), f"its probe, {declared.probe[0]}"
        )
    if tool.custody != "broker":
        return
    # What runs for a tool server's tool is the server, whatever else is said of the tool.
    server = custody.server_of(tool.tool, force)
    runs = declared if server is None else server
    held = custody.held(tool.tool, force)
    if runs is None or not (runs.command or held or server is not None):
        yield Try("own-code", None, "no command is declared for it, so the agent's own code is what runs")
        return
    if server is not None and server.url is not None and not held:
        yield Try("address", None, f"{server.url} is sent no secret, so whoever reaches it can ask it")
        return
    if not held:
        command = runs.command[0]
        yield Try("command", Attempt(kind="executable", of=(command,)), f"to execute {command}, which holds no secret")
        return
    for variable, name in runs.secrets.items():
        yield from _of_secret(variable, name, force.secrets[name], at, place)
    yield from _of_node(place, node)


def _of_secret(variable: str, name: str, kept: SecretSettings, at: Place, place: Workspace) -> Iterator[Try]:
    from failwell.execute.reaching import Attempt
    from failwell.node.redacting import MIN_BYTES

    names = tuple(dict.fromkeys(each for each in (variable, kept.env) if each))
    if at.env is not None:
        yield Try("secret-variable", Attempt(kind="variable", of=names), f"{' or '.join(names)} in its variables")
    if kept.file is not None:
        path = str(place.path / kept.file)
        yield Try("secret-file", Attempt(kind="readable", of=(path,), least_bytes=MIN_BYTES), f"to read {path}")
    if kept.command is not None:
        answers = Attempt(kind="answers", of=kept.command, least_bytes=MIN_BYTES, within_s=kept.deadline_ms / 1000)
        yield Try("secret-command", answers, f"to have the secret {name} from {kept.command[0]}")


def _of_node(place: Workspace, node: int) -> Iterator[Try]:
    """What every process of the node's own user can do: look at the tool as it runs, and be a node itself."""
    from failwell.execute.reaching import Attempt

    environ = f"/proc/{node}/environ"
    yield Try(
        "tool-environment", Attempt(kind="readable", of=(environ,)), "to read the environment of the node's processes"
    )
    yield Try("workspace-keys", Attempt(kind="listed", of=(str(place.keys),)), f"to read a key in {place.keys}")


# ---- what came of it -----------------------------------------------------------------------------------------


def _answer(agent: str, name: str, at: Place, found: list[Found], entries: list[int]) -> Answer:
    open_ = [one for one in found if one.state == BYPASSABLE]

    def show(screen: Screen) -> None:
        held = sum(1 for one in found if one.state == HELD)
        left = len(found) - held - len(open_)
        if open_:
            happened = f"BYPASSABLE: {name} reaches {plural(len(open_), 'tool')} round the gate, as user {at.uid}."
        else:
            happened = f"{name} reached no tool round the gate, as user {at.uid}."
        recorded = f"entries {', '.join(str(each) for each in entries)}" if entries else "nothing was recorded"
        screen.lead(
            happened, f"{held} held, by the word of the agent's side; {left} advisory or not tried; {recorded}.",
            bad=bool(open_),
        )  # fmt: skip
        screen.table(
            ("tool", "custody", "", "what was tried"),
            [(one.tool, one.custody, one.state, "; ".join(one.told) or "-") for one in found],
        )
        if at.env is None:
            screen.say("\nIts variables are not known: failwell doctor --as-agent NAME --process PID tries them too.")
        for way in dict.fromkeys(way for one in open_ for way in one.ways):
            screen.say(f"{way}: {WAYS[way]}.")

    fields = {
        "agent": agent, "uid": at.uid, "variables_known": at.env is not None, "asserted": True, "entries": entries,
        "bypassable": [one.tool for one in open_], "tools": [one._asdict() for one in found],
    }  # fmt: skip
    return Answer(fields=fields, show=show, finding=bool(open_))
