"""`gateway import`: from an MCP client's configuration to the same servers behind the gate, with one command.

It looks first and shows what it found; whatever takes effect is a signed order of a person: the settings and the agent
(an operator's), its observation until a date (its owner's). The contract stays a draft, the client's own file as it is.
"""

from __future__ import annotations

import base64
import contextlib
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from failwell.cli import gateway_files as files
from failwell.cli import options, session
from failwell.cli.agent import made_once
from failwell.cli.gateway_plan import Plan, ask_and_plan, told
from failwell.cli.gateway_show import show_failed, show_remarks
from failwell.cli.gateway_taken import take
from failwell.cli.screen import Answer, Screen, door, plural, tell
from failwell.core.errors import FailwellError, NotFound, Refused

if TYPE_CHECKING:
    from failwell.client.powers import Hand
    from failwell.client.wire import Wire
    from failwell.identity.names import AgentName
    from failwell.inventory.client_configuration import ClientFile
    from failwell.node.workspace import Workspace

#: The trust domain of agents that nobody gave another one: of no public name (RFC 9476, ICANN's .internal).
DOMAIN = "failwell.internal"
MAX_DAYS = 90


def register(app: typer.Typer) -> None:
    """Put the command into `gateway`."""
    app.command("import", short_help="Put the tool servers of an MCP client behind the gate.")(import_)


@door("gateway-import")
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The client's configuration, such as .mcp.json.")],
    agent: Annotated[
        str | None, typer.Option(metavar="NAME", help="The agent that the client is: as the file says unless given.")
    ] = None,
    owner: Annotated[
        str | None, typer.Option(metavar="PERSON", help="The one accountable person: who signs unless given.")
    ] = None,
    days: Annotated[
        int, typer.Option(min=0, max=MAX_DAYS, metavar="N", help="How long it is only observed; 0: governed at once.")
    ] = 14,
    inputs: Annotated[
        list[str] | None,
        typer.Option("--input", metavar="ID=FILE", help="What the client would ask for, from a file (0600)."),
    ] = None,
    workspace: options.Workspace = None, person: options.As = None, yes: options.Yes = False,
    as_json: options.AsJson = False,
) -> Answer:  # fmt: skip
    """Put the tool servers of an MCP client behind the gate.

    Each server is started once, under a supervisor, to learn its tools; their definitions are shown with whatever is
    odd in them, and pinned as they are. What looks like a secret goes into files (0600). failwell.toml is added to and
    put in force, the agent is registered and observed until a date, a contract is drafted, and the
    client's new configuration is written beside the old one, which stays as it is.

    \b
    Examples:
      failwell gateway import ~/.cursor/mcp.json
      failwell gateway import .mcp.json --agent desk --owner anna --days 30
    """
    from failwell.identity.names import parse_agent
    from failwell.inventory.client_configuration import read_client_file

    place = session.open_workspace(workspace)
    answers = dict(files.parse_input(each) for each in inputs or ())
    if not file.exists():
        raise NotFound(f"there is no file {file}")
    found = read_client_file(file, os.environ, answers, Path.home())
    signer = session.unlock(session.pick_person(person))
    owner = owner or signer.person
    with session.reach_node(place) as wire:
        rows: dict[str, dict[str, Any]] = wire.call("ask", about="agents")
        in_force = wire.call("ask", about="settings")["digest"]
        name = _named(parse_agent(agent or found.client), rows)
        tell(f"starting {plural(len(found.servers), 'server')} once, to learn their tools ...")
        plan = ask_and_plan(
            place, take(found.servers, os.environ.get("PATH")), in_force, agent=name.full, short=name.short,
            owner=owner, day=datetime.now(UTC).date().isoformat(), source=str(file),
        )  # fmt: skip
        if not plan.servers:
            raise Refused(f"none of the servers in {file} could be taken over: {_reasons(plan)}")
        if not yes:
            _preview(Screen(to_stderr=True), plan)
        from failwell.client.powers import Hand

        doing = _Doing(place, Hand(wire, signer, session.confirm(signer.person, yes=yes)), wire, plan, name, owner)
        done = doing.all(found, days)
    fields = told(plan) | done | {"file": str(file), "agent": name.full, "name": name.short, "owner": owner}
    return Answer(fields=fields, show=lambda screen: _show(screen, plan, fields))


def _named(name: AgentName, rows: dict[str, dict[str, Any]]) -> AgentName:
    """The agent that is meant: one that is registered, or a new one in the domain of the others."""
    from failwell.identity.names import AgentName

    for full, row in rows.items():
        if name.full in (full, row["name"]):
            return AgentName(full, row["name"])
    if name.full.startswith("spiffe://"):
        return name
    domains = {full.split("/")[2] for full in rows if full.startswith("spiffe://")}
    domain = domains.pop() if len(domains) == 1 else DOMAIN
    return AgentName(f"spiffe://{domain}/agent/{name.short}", name.short)


def _reasons(plan: Plan) -> str:
    return "; ".join(f"{name}: {why}" for name, why in plan.failed) or "it has none"


# ---- doing it --------------------------------------------------------------------------------------------------


class _Doing:
    """Carries out a plan, order by order; what was begun and refused is taken back."""

    def __init__(self, place: Workspace, hand: Hand, wire: Wire, plan: Plan, name: AgentName, owner: str) -> None:
        self._place = place
        self._hand = hand
        self._wire = wire
        self._plan = plan
        self._name = name
        self._owner = owner

    def all(self, found: ClientFile, days: int) -> dict[str, Any]:
        """Everything in the order in which it depends on each other; gives what became of it, for programs."""
        registered = self._register()  # first: it is what is refused most, and alone it permits nothing
        written, other = files.keep_secrets(self._place, self._plan.secrets)
        try:
            applied = self._apply()
        except FailwellError:
            for name in written:
                (self._place.path / "secrets" / name).unlink(missing_ok=True)
            raise
        for each in self._plan.servers:
            if each.there is None:
                files.keep_accepted(self._place, each.taken.name, each.accepted)
        observed = self._observe(found.path, days)
        contract = files.write_beside(self._place.contracts / f"{self._name.short}.yaml", self._plan.draft.text)
        servers = {each.taken.client: each.taken.name for each in self._plan.servers}
        text = files.client_configuration(found.section, servers, self._name.short, self._place.path, os.environ)
        configuration = files.new_path(found.path.resolve())
        files.replace_text(configuration, text)
        return {
            "secrets_moved": written, "secrets_other": other, "settings_entry": applied, "agent_entry": registered,
            **observed, "contract": str(contract), "configuration": str(configuration),
        }  # fmt: skip

    def _apply(self) -> int | None:
        """Write the settings and have them in force; the file is as before where the person says no."""
        from failwell.core import orders
        from failwell.node import settings, watch

        path = self._place.path / settings.FILE_NAME
        if self._plan.settings == self._plan.before:
            return None
        if path.read_text("utf-8") != self._plan.before:
            raise Refused(f"{path} was edited meanwhile", hint="Import again.")
        before = watch.digest(settings.settings_text(settings.parse_settings(self._plan.before)))
        wanted = watch.digest(settings.settings_text(settings.parse_settings(self._plan.settings)))
        files.replace_text(path, self._plan.settings)
        try:
            entry: int = self._hand.give("config.apply", orders.ConfigApply(settings=wanted, previous=before))
        except FailwellError:
            with contextlib.suppress(OSError):
                if path.read_text("utf-8") == self._plan.settings:
                    files.replace_text(path, self._plan.before)
            raise
        return entry

    def _register(self) -> int | None:
        from failwell.core import orders
        from failwell.identity import agents as identities

        if self._name.full in self._wire.call("ask", about="agents"):
            return None
        key = made_once(
            identities.load_agent_key, identities.create_agent_key, self._place.origin(), self._name.full
        )  # fmt: skip
        public = base64.b64encode(key.public).decode()
        entry: int = self._hand.give(
            "agent.register", orders.AgentRegister(agent=self._name.full, key=public, owner=self._owner)
        )
        return entry

    def _observe(self, source: Path, days: int) -> dict[str, Any]:
        """OBSERVED until a date, where it was never governed and its owner is who signs."""
        from failwell.cli.observing import instant
        from failwell.core import orders

        row = self._wire.call("ask", about="agents")[self._name.full]
        last = (datetime.now(UTC) + timedelta(days=max(0, days - 1))).date().isoformat()
        told: dict[str, Any] = {"authority": row["authority"], "observed_until": None, "observed_entry": None}
        if row["authority"] != "REGISTERED" or row["contract"] is not None or not days:
            return told
        if self._hand.person != row["owner"]:
            hint = f"failwell agent observe {self._name.short} --until {last} --reason TEXT --as {row['owner']}"
            return told | {"to_observe": hint}
        until = instant(last, "--days", end_of_day=True)
        reason = f"Its tool servers were imported from {source.name}"
        entry = self._hand.give(
            "agent.observe", orders.AgentObserve(agent=self._name.full, until=until, reason=reason)
        )  # fmt: skip
        return {"authority": "OBSERVED", "observed_until": until, "observed_entry": entry}


# ---- telling it ------------------------------------------------------------------------------------------------


def _preview(screen: Screen, plan: Plan) -> None:
    """Before anything is signed: what was found, and every line that is added to the settings."""
    _servers(screen, plan)
    show_remarks(screen, plan.remarks)
    show_failed(screen, plan.failed)
    screen.say("\nAdded to failwell.toml" if plan.diff else "\nNothing is added to failwell.toml", "bold")
    for line in plan.diff:
        screen.command(line)
    if plan.secrets:
        screen.say(f"\nMoved into files of their own (0600): {', '.join(plan.secrets)}", "bold")
    screen.say()


def _servers(screen: Screen, plan: Plan) -> None:
    screen.table(
        ("server", "says it is", "tools", "accepted", "other requests", "secrets", "note"),
        [
            (each.taken.name, each.asked.says, len(each.asked.definitions), len(each.accepted),
             ", ".join(each.asked.methods) or None, ", ".join(sorted(each.taken.kept)) or None, _note(each))
            for each in plan.servers
        ],
        right=("tools", "accepted"),
    )  # fmt: skip


def _note(each: Any) -> str | None:
    notes = [*each.taken.notes]
    if each.there is not None:
        notes.append("the settings have it already")
    if each.changed:
        notes.append(f"{len(each.changed)} not as pinned: failwell gateway pin {each.taken.name}")
    return "; ".join(notes) or None


def _show(screen: Screen, plan: Plan, fields: dict[str, Any]) -> None:
    tools = sum(len(each.asked.definitions) for each in plan.servers)
    observed = fields["observed_until"]
    state = f"OBSERVED until {observed[:10]}, not governed until you adopt it" if observed else fields["authority"]
    screen.lead(
        f"{plural(len(plan.servers), 'server')}, {plural(tools, 'tool')} found. Contract draft: {fields['contract']} "
        f"({state})",
        f"New client configuration: {fields['configuration']}   (the old one is untouched)",
        bad=bool(plan.failed),
    )
    show_failed(screen, plan.failed)
    screen.say()
    _servers(screen, plan)
    show_remarks(screen, plan.remarks)
    if plan.left_out:
        screen.say(f"\nLeft out, so never offered ({len(plan.left_out)})", "bold")
        screen.table(("server", "tool", "why"), plan.left_out)
    _round_the_gate(screen, plan)
    _next(screen, fields, sorted(plan.secrets))


def _round_the_gate(screen: Screen, plan: Plan) -> None:
    """What the gate does not hold: said here, since nobody would guess it from a list of what it does."""
    rows = []
    for each in plan.servers:
        declared = each.taken.declared
        if each.taken.secrets:
            why = f"the old configuration still holds {', '.join(sorted(declared.secrets if declared else ()))}"
        elif declared is not None and declared.url is not None:
            why = f"anybody can ask {declared.url} (no network custody)"
        else:
            why = "whoever runs the agent can start its program, or reach what it reaches"
        rows.append(
            (f"{each.taken.name}.*", sum(name.startswith(f"{each.taken.name}.") for name in plan.draft.tools), why)
        )
    count = len(plan.draft.tools)
    screen.say(f"\n{plural(count, 'tool')} can still be reached round the gate. They are advisory.", "bold yellow")
    screen.table(("tools", "", "how"), rows, right=("",))
    screen.say("Try it where the agent runs: failwell doctor --as-agent. What mends it: docs/custody.md")


def _next(screen: Screen, fields: dict[str, Any], secrets: list[str]) -> None:
    screen.say("\nNext", "bold")
    if "to_observe" in fields:
        screen.say(f"{fields['owner']} owns it, so it is for them to have it observed first:")
        screen.command(fields["to_observe"])
    if secrets:
        screen.say(
            "Have the secrets made out anew, into these files of the workspace alone: the old file has the old ones."
        )
        for name in secrets:
            screen.command(f"secrets/{name}")
    screen.say("Let the client use the new configuration; then read the draft, change it, and have it adopted:")
    screen.command(f"failwell contract lint {fields['contract']}")
    screen.command(f"failwell contract sign {fields['contract']} --as {fields['owner']}")
