"""`agent`: who acts here, under which contract and authority; how one is stopped and, by two persons, released."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Annotated, Any

import typer

from failwell.cli import agent_identity, agent_owner, agent_release, custody, options, session, stopping
from failwell.cli.floor import binds
from failwell.cli.lookup import contract_in_force, ends, find_agent, governed, standing
from failwell.cli.screen import Answer, Screen, door, plural
from failwell.core.errors import InputError, NotFound
from failwell.core.instants import format_at

if TYPE_CHECKING:
    from failwell.core.contract import Contract
    from failwell.identity.keys import SigningKey

app = typer.Typer(help="Agents: register, look, stop, release by two persons.")
app.add_typer(agent_release.app, name="release")
agent_identity.register(app)
agent_owner.register(app)

#: What each authority lets an agent do, in words.
AUTHORITIES = {
    "REGISTERED": "nothing: no contract is adopted", "ACTIVE": "what its contract allows",
    "RESTRICTED": "its contract, tightened", "SUSPENDED": "nothing",
    "PROBATION": "its contract, tightened after a release (see `restricted` in it)",
    "OBSERVED": "everything: recorded, NOT governed", "RETIRED": "nothing, for good",
}  # fmt: skip

Name = Annotated[str, typer.Argument(metavar="AGENT", help="Its short name or full SPIFFE id.")]


# ---- register ------------------------------------------------------------------------------------------------


@app.command("register")
@door("agent-register")
def register(
    agent: Annotated[str | None, typer.Argument(metavar="SPIFFE-ID", show_default=False, help="Its full name.")] = None,
    owner: Annotated[str | None, typer.Option(metavar="PERSON", help="The one accountable person.")] = None,
    host: Annotated[
        str | None, typer.Option(metavar="NAME", help="Register an application that opens runs, instead.")
    ] = None,
    agents: Annotated[
        str | None, typer.Option(metavar="A,B", help="With --host: the agents it may open runs for.")
    ] = None,
    group: Annotated[
        str | None, typer.Option("--group", metavar="A,B", help="The groups whose floors bind it.")
    ] = None,
    detect_only: Annotated[
        bool, typer.Option("--detect-only", help="No gate stands before it: its vendor's log is the witness.")
    ] = False,
    workspace: options.Workspace = None, person: options.As = None, yes: options.Yes = False,
    as_json: options.AsJson = False,
) -> Answer:  # fmt: skip
    """Register an agent or a host, by an operator's order.

    Its key is made and lies in this configuration directory: whoever runs the agent needs it, nobody else. With --host
    an application is registered, which opens runs and says on whose behalf they are.

    \b
    Examples:
      failwell agent register spiffe://shop.example/agent/refund-bot --owner anna
      failwell agent register --host web-shop --agents refund-bot
    """
    place = session.open_workspace(workspace)
    if host is not None and agent is None and owner is None:
        return _register_host(place, host, agents or "", person, yes=yes)
    if agent is None or owner is None or host is not None or agents is not None:
        raise InputError(
            "say either SPIFFE-ID --owner PERSON, or --host NAME --agents A,B", hint="failwell agent register --help"
        )
    return _register_agent(place, agent, owner, _groups(group), person, detect_only=detect_only, yes=yes)


def _register_agent(
    place: Any, agent: str, owner: str, groups: tuple[str, ...], person: str | None, *, detect_only: bool, yes: bool
) -> Answer:  # fmt: skip
    from failwell.core import orders
    from failwell.identity import agents as identities
    from failwell.identity.names import parse_agent

    name = parse_agent(agent)
    about = [f"{name.short} becomes an agent; {owner} is accountable for it"]
    if detect_only:
        about.append("NOTHING it does is governed: it is detect-only, and what it asks of the gate is denied")
    with session.take_hand(place, person, yes=yes, about=about) as hand:
        key = made_once(identities.load_agent_key, identities.create_agent_key, place.origin(), name.full)
        public = base64.b64encode(key.public).decode()
        entry = hand.give("agent.register", orders.AgentRegister(
            agent=name.full, key=public, owner=owner, detect_only=detect_only, groups=groups
        ))  # fmt: skip

    fields = {
        "agent": name.full, "name": name.short, "owner": owner, "key": public, "entry": entry,
        "detect_only": detect_only, "groups": list(groups),
    }  # fmt: skip
    return Answer(
        fields=fields,
        show=lambda screen: _show_registered(screen, name.short, owner, entry, detect_only=detect_only),
    )


def _groups(listed: str | None) -> tuple[str, ...]:
    return tuple(sorted({name.strip() for name in (listed or "").split(",") if name.strip()}))


def _show_registered(screen: Screen, name: str, owner: str, entry: int, *, detect_only: bool) -> None:
    if detect_only:
        screen.lead(
            f"{name} is registered as detect-only, owned by {owner} (entry {entry}). It is NOT GOVERNED.",
            f"Its vendor's log is its witness, and what takes its access away is [revocation.{name}]: both in "
            "failwell.toml, then failwell config apply.",
        )
        return
    screen.lead(
        f"{name} is registered, owned by {owner} (entry {entry}). It may do nothing yet.",
        "Next: a contract, signed by its owner and adopted by another person.",
    )
    screen.command(f"failwell contract sign FILE --as {owner}")
    screen.command("failwell contract adopt FILE --as APPROVER")


def _register_host(place: Any, host: str, listed: str, person: str | None, *, yes: bool) -> Answer:
    from failwell.core import orders
    from failwell.identity import agents as identities
    from failwell.identity.names import check_name

    check_name(host, "host")
    wanted = [name.strip() for name in listed.split(",") if name.strip()]
    if not wanted:
        raise InputError("a host opens runs for agents", hint="--agents A,B names them.")
    about = [f"{host} may open runs for {', '.join(wanted)} and says on whose behalf they are"]
    with session.reach_node(place) as wire:
        full = tuple(find_agent(wire, name)[0] for name in wanted)
    with session.take_hand(place, person, yes=yes, about=about) as hand:
        key = made_once(identities.load_host_key, identities.create_host_key, place.origin(), host)
        public = base64.b64encode(key.public).decode()
        entry = hand.give("host.register", orders.HostRegister(host=host, key=public, agents=full))
    line = f"{host} is registered as a host (entry {entry}) for {', '.join(wanted)}."
    fields = {"host": host, "agents": list(full), "key": public, "entry": entry}
    return Answer(fields=fields, show=lambda screen: screen.say(line))


def made_once(load: Any, create: Any, origin: str, name: str) -> SigningKey:
    """The key of an earlier attempt that came to nothing, else a new one."""
    config = session.config_directory()
    try:
        key: SigningKey = load(config, origin, name)
    except NotFound:
        key = create(config, origin, name)
    return key


# ---- look ----------------------------------------------------------------------------------------------------


@app.command("list")
@door("agent-list")
def list_agents(workspace: options.Workspace = None, as_json: options.AsJson = False) -> Answer:
    """List agents with owner, authority and contract; and hosts.

    \b
    Example:
      failwell agent list
    """
    place = session.open_workspace(workspace)
    with session.reach_node(place) as wire:
        rows: dict[str, dict[str, Any]] = wire.call("ask", about="agents")
        hosts: dict[str, dict[str, Any]] = wire.call("ask", about="hosts")
        closed = wire.call("ask", about="stops", key="closed")
        found = []
        for full, row in sorted(rows.items(), key=lambda item: item[1]["name"]):
            contract = contract_in_force(wire, full)
            found.append(
                {
                    "agent": full, "name": row["name"], "owner": row["owner"], "authority": row["authority"],
                    "contract": None if contract is None else f"{contract.contract}@{contract.version}",
                    "incident": row["incident"], "suspended_by": row["suspended_by"], "entry": row["registered"],
                    "governed": governed(row), "observed_until": ends(row), "detect_only": row["detect_only"],
                    "stopped": [each["scope"] for each in closed if full in (one["agent"] for one in each["agents"])],
                }
            )  # fmt: skip
    stands = {each["agent"]: standing(rows[str(each["agent"])]) for each in found}
    loose = [str(each["name"]) for each in found if not each["governed"]]
    stopped = [str(each["name"]) for each in found if each["authority"] == "SUSPENDED"]

    def show(screen: Screen) -> None:
        asked = "One of them: failwell agent show NAME"
        if stopped:
            asked = f"Suspended: {', '.join(stopped)}. Why: failwell incident list"
        told = f", {len(loose)} NOT GOVERNED" if loose else ""
        if closed:
            told += f"; STOPPED: {', '.join(each['scope'] for each in closed)}"
            asked = "Nothing starts that is within what is stopped: failwell stop list"
        bad = bool(stopped or loose or closed)
        screen.lead(f"{plural(len(found), 'agent')}, {len(stopped)} suspended{told}.", asked, bad=bad)
        screen.table(
            ("agent", "authority", "owner", "contract", "incident"),
            [
                (each["name"], stands[each["agent"]], each["owner"], each["contract"], each["incident"])
                for each in found
            ],
            right=("incident",),
        )
        if hosts:
            screen.say()
            screen.table(("host", "opens runs for"), [(name, ", ".join(row["agents"])) for name, row in hosts.items()])

    listed = [{"host": name, "agents": row["agents"], "entry": row["registered"]} for name, row in hosts.items()]
    fields = {"agents": found, "hosts": listed, "stopped": [each["scope"] for each in closed]}
    return Answer(fields=fields, show=show)


@app.command("show")
@door("agent-show")
def show_agent(name: Name, workspace: options.Workspace = None, as_json: options.AsJson = False) -> Answer:
    """Show what one agent may do, what bounds it, what runs.

    \b
    Example:
      failwell agent show refund-bot
    """
    place = session.open_workspace(workspace)
    with session.reach_node(place) as wire:
        full, row = find_agent(wire, name)
        contract = contract_in_force(wire, full)
        running = [item for item in wire.call("ask", about="running") if item["agent"] == full]
        owner = agent_owner.owner_of(row, wire.call("ask", about="persons"))
        under = {floor: each for floor, each in wire.call("ask", about="floors").items() if binds(each["scope"], row)}
        tools = custody.columns(full, contract, custody.ask(wire))
    authority, incident = row["authority"], row["incident"]

    def show(screen: Screen) -> None:
        asked = f"Its incident: failwell incident show {incident}" if incident else f"Owner: {owner}"
        may = "nothing here, and what it likes elsewhere" if row["detect_only"] else AUTHORITIES.get(authority, "?")
        bad = authority == "SUSPENDED" or not governed(row)
        screen.lead(f"{row['name']} is {standing(row)}: it may do {may}.", asked, bad=bad)
        screen.table(("", ""), [*_facts(full, row, owner, contract, running), ("floors", _floors(under))])
        if contract is not None:
            screen.say()
            columns = ("tool", "effect", "stopped how", "custody", "deadline", "witness")
            screen.table(columns, [custody.row_of(tool) for tool in tools])

    fields = {
        "agent": full, "name": row["name"], "owner": row["owner"], "authority": authority, "epoch": row["epoch"],
        "incident": incident, "suspended_by": row["suspended_by"], "entry": row["registered"],
        "governed": governed(row), "observed_until": ends(row), "detect_only": row["detect_only"],
        "contract": None if contract is None else {"id": contract.contract, "version": contract.version},
        "groups": row["groups"], "orphaned": row["orphaned"], "probation_until": _probation_ends(row),
        "floors": [{"floor": floor, "version": each["version"]} for floor, each in sorted(under.items())],
        "tools": tools, "running": running, "identity": agent_identity.credentials(row),
    }  # fmt: skip
    return Answer(fields=fields, show=show)


def _probation_ends(row: dict[str, Any]) -> str | None:
    """Until when an agent's PROBATION lasts at least (RFC 3339 UTC); None where it is on none."""
    if row["authority"] != "PROBATION" or row["probation"] is None:
        return None
    until_us: int = row["probation"][2]
    return format_at(until_us)


def _facts(
    full: str, row: dict[str, Any], owner: str, contract: Contract | None, running: list[Any]
) -> list[tuple[str, Any]]:
    bound = "none: every action is denied"
    if row["detect_only"]:
        bound = "none: no gate stands before it"
    elif not governed(row):
        bound = "none: once it is governed, every action is denied"
    if contract is not None:
        clauses, limits = plural(len(contract.clauses), "clause"), plural(len(contract.limits), "limit")
        bound = f"{contract.contract} v{contract.version}: {contract.purpose} ({clauses}, {limits})"
    facts = [("id", full), ("owner", owner), ("contract", bound)]
    if row["groups"]:
        facts.append(("groups", ", ".join(row["groups"])))
    if row["suspended_by"]:
        when = "suspended by" if row["authority"] == "SUSPENDED" else "last suspended by"
        facts.append((when, row["suspended_by"]))
    if row["authority"] == "PROBATION" and row["probation"] is not None:
        facts.append(("on probation", f"until {_probation_ends(row)} at least"))
    facts += agent_identity.credential_facts(row)
    facts.append(("running now", ", ".join(f"action {item['action']}" for item in running) or "nothing"))
    return facts


def _floors(under: dict[str, Any]) -> str:
    return ", ".join(f"{name} v{row['version']} ({row['scope']})" for name, row in sorted(under.items())) or "none"


# ---- stop, and give back -------------------------------------------------------------------------------------


@app.command("suspend")
@door("agent-suspend")
def suspend(
    name: Name,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why, for the record.")],
    workspace: options.Workspace = None, person: options.As = None, as_json: options.AsJson = False,
) -> Answer:  # fmt: skip
    """Stop an agent, whatever state the node is in.

    What runs is killed, nothing of it starts any more. Any enrolled person may; it asks nothing.

    If the node does not answer within a second, the signed order is left in the workspace, the tools' supervisors
    are told to stop without it, and the answer says ORDERED, NOT CONFIRMED.

    \b
    Example:
      failwell agent suspend refund-bot --reason "It repeats notices to customers"
    """
    place = session.open_workspace(workspace)
    signer = session.unlock(session.pick_person(person))
    return stopping.suspend(place, signer, name, reason)
