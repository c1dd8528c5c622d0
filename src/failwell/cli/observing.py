"""`agent observe|govern|inventory` and `ledger enforcement`: beginning where agents already run, and showing what was
enforced from then on.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from failwell.cli import options, session
from failwell.cli.screen import Answer, Screen, door, plural
from failwell.core.errors import InputError

if TYPE_CHECKING:
    from failwell.inventory.comparing import Inventory, Line
    from failwell.inventory.sighting import Found
    from failwell.node.settings import Settings
    from failwell.node.workspace import Workspace
    from failwell.verify.enforcement import Proof, Unpaired

Name = Annotated[str, typer.Argument(metavar="AGENT", help="Its short name or full SPIFFE id.")]
#: Lines of a list that people are shown; programs get all.
SHOWN = 40


def register(agent: typer.Typer, ledger: typer.Typer) -> None:
    """Put the commands of this module onto `agent` and `ledger`."""
    agent.command("observe", short_help="Record what it does until a date, and govern nothing yet.")(observe)
    agent.command("govern", short_help="End an observation early.")(govern)
    agent.command("inventory", short_help="List agents that are there, governed or not.")(inventory)
    ledger.command("enforcement", short_help="Pair each effect with the verdict that let it happen.")(enforcement)


# ---- observed ------------------------------------------------------------------------------------------------


@door("agent-observe")
def observe(
    name: Name,
    until: Annotated[str, typer.Option(metavar="DATE", help="The last moment: 2026-12-24, or a time with Z.")],
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why, for the record.")],
    workspace: options.Workspace = None, person: options.As = None, yes: options.Yes = False,
    as_json: options.AsJson = False,
) -> Answer:  # fmt: skip
    """Record what an agent does and govern nothing of it, until a date.

    Its owner's order, for an agent that already runs and was never governed: once, for at most 90 days. Every action
    is judged and recorded and runs whatever the verdict is. All of it is shown as not governed. A contract may be
    adopted meanwhile: what it would have denied is on record, and from the date on it is kept.

    \b
    Example:
      failwell agent observe refund-bot --until 2026-12-24 --reason "It runs already" --as anna
    """
    from failwell.core import orders

    place = session.open_workspace(workspace)
    when = instant(until, "--until", end_of_day=True)
    about = [f"NOTHING that {name} does is governed until {when}; everything is recorded"]
    with session.take_hand(place, person, yes=yes, about=about) as hand:
        entry = hand.give("agent.observe", orders.AgentObserve(agent=name, until=when, reason=reason))

    def show(screen: Screen) -> None:
        screen.lead(
            f"{name} is OBSERVED, NOT GOVERNED, until {when[:10]} {when[11:19]} UTC (entry {entry}).",
            "Adopt a contract before then: it is judged at once, and kept from that date on.",
            bad=True,
        )
        screen.command(f"failwell agent govern {name}")
        screen.say("ends it sooner.")

    return Answer(fields={"agent": name, "until": when, "entry": entry, "governed": False}, show=show)


@door("agent-govern")
def govern(
    name: Name, workspace: options.Workspace = None, person: options.As = None, yes: options.Yes = False,
    as_json: options.AsJson = False,
) -> Answer:  # fmt: skip
    """End an observation: from now on the agent's contract is kept.

    By its owner or an operator. Without a contract everything it asks for is denied from then on.

    \b
    Example:
      failwell agent govern refund-bot --as anna
    """
    from failwell.cli.lookup import find_agent
    from failwell.core import orders

    place = session.open_workspace(workspace)
    with session.take_hand(place, person, yes=yes, about=[f"{name} is governed from now on"]) as hand:
        entry = hand.give("agent.govern", orders.AgentGovern(agent=name))
    with session.reach_node(place) as wire:
        authority = find_agent(wire, name)[1]["authority"]
    kept = "its contract is kept" if authority == "ACTIVE" else "it has no contract, so everything is denied"

    def show(screen: Screen) -> None:
        screen.lead(
            f"{name} is governed from now on: {kept} (entry {entry}).", f"Look: failwell agent show {name}",
            bad=authority != "ACTIVE",
        )  # fmt: skip

    return Answer(fields={"agent": name, "authority": authority, "entry": entry}, show=show)


def instant(text: str, option: str, *, end_of_day: bool = False) -> str:
    """A date or an RFC 3339 time as the record spells it (UTC, microseconds); a date is its beginning, or its end."""
    from failwell.core.instants import format_at

    try:
        if len(text) == len("2026-12-24"):
            day = date.fromisoformat(text)
            at = datetime.combine(day, time.max if end_of_day else time.min, UTC)
        else:
            at = datetime.fromisoformat(text)
            if at.tzinfo is None:
                raise ValueError("no offset")
    except ValueError as error:
        raise InputError(
            f"{option} {text!r} is neither a date nor a time", hint="2026-12-24, or 2026-12-24T18:00:00Z."
        ) from error
    seconds = at.astimezone(UTC)
    return format_at(int(seconds.timestamp()) * 1_000_000 + seconds.microsecond)


def ungoverned(full: str, row: dict[str, Any], force: Settings) -> tuple[str, str, str | None]:
    """What `doctor` says of an agent that no gate binds: state, what was found, what to do. It is never fine."""
    from failwell.cli.lookup import standing

    if row["detect_only"]:
        if full not in force.revocation and row["name"] not in force.revocation:
            do = f"declare [revocation.{row['name']}] in failwell.toml, then failwell config apply"
            return "todo", "detect-only, NOT GOVERNED, and nothing is declared that takes its access away", do
        return "known", "detect-only: NOT GOVERNED; its vendor takes its access away when it is suspended", None
    do = "without a contract everything is denied from then on: failwell contract sign, adopt"
    return "known", standing(row), do if row["contract"] is None else f"sooner: failwell agent govern {row['name']}"


# ---- inventory -----------------------------------------------------------------------------------------------


@door("agent-inventory")
def inventory(
    paths: Annotated[
        list[Path] | None, typer.Argument(metavar="PATH", help="Where to look for configuration files of frameworks.")
    ] = None,
    telemetry: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="OpenTelemetry spans as OTLP-JSON or JSON lines; once for each."),
    ] = None,
    workspace: options.Workspace = None, as_json: options.AsJson = False,
) -> Answer:  # fmt: skip
    """List the agents that are there, registered or not, and who governs them.

    Seen are those that the record knows by their calls, those in telemetry, and those that configuration files set up
    (MCP clients, Claude Code, CrewAI, LangGraph, AutoGen). Nothing is left out: what could not be read is listed as
    unknown. Whoever bears a registered name is taken for that agent. Ends with 1 when somebody is not governed.

    \b
    Examples:
      failwell agent inventory
      failwell agent inventory ~/projects --telemetry spans.jsonl
    """
    from failwell.inventory import configurations, sighting
    from failwell.inventory import telemetry as spans
    from failwell.inventory.comparing import compare

    place = session.open_workspace(workspace)
    with session.reach_node(place) as wire:
        rows: dict[str, dict[str, Any]] = wire.call("ask", about="agents")
    searched = [configurations.search(paths or []), spans.search(telemetry or [])]
    made = compare(_registered(place, rows), sighting.together([_on_record(place, rows), *searched]))
    fields = {
        "agents": [_fields(line) for line in made.lines], "counts": made.counts,
        "files_read": sum(each.files for each in searched),
    }  # fmt: skip
    return Answer(fields=fields, show=lambda screen: _show_inventory(screen, made), finding=bool(made.ungoverned))


def _registered(place: Workspace, rows: dict[str, dict[str, Any]]) -> list[Any]:
    from failwell.core.instants import format_at
    from failwell.inventory.comparing import Registered
    from failwell.node import seen

    at = {each.agent: each.at for each in seen.called(place)}
    return [
        Registered(
            agent=full, name=row["name"], owner=row["owner"], authority=row["authority"],
            contract=row["contract"] is not None, detect_only=row["detect_only"], seen_at=at.get(full),
            observed_until=None if row["observed_until_us"] is None else format_at(row["observed_until_us"]),
        )
        for full, row in rows.items()
    ]  # fmt: skip


def _on_record(place: Workspace, rows: dict[str, dict[str, Any]]) -> Found:
    """Who asked for actions without being registered, and who was refused without giving a name."""
    from failwell.inventory.sighting import Found, Sighting
    from failwell.node import seen

    strangers = [
        Sighting(name=each.agent, how="calls", where="the record", what="denied on record: not registered",
                 count=each.entries, at=each.at)
        for each in seen.called(place) if each.agent not in rows
    ]  # fmt: skip
    nameless = [
        Sighting(name=None, how="calls", where="the record", what=f"refused: {each.reason}", count=each.times,
                 at=each.at)
        for each in seen.refused(place)
    ]  # fmt: skip
    return Found(sightings=(*strangers, *nameless))


def _fields(line: Line) -> dict[str, Any]:
    import msgspec

    fields: dict[str, Any] = msgspec.to_builtins(line)
    return fields


def _show_inventory(screen: Screen, made: Inventory) -> None:
    told = ", ".join(f"{count} {state}" for state, count in sorted(made.counts.items()))
    asked = "Each of them is governed or stopped."
    if made.ungoverned:
        asked = "What nobody governs comes first. To begin: failwell agent register, then agent observe"
    screen.lead(f"{plural(len(made.lines), 'line')}: {told or 'no agent is known'}.", asked, bad=bool(made.ungoverned))
    screen.table(
        ("agent", "state", "owner", "last seen (UTC)", "where"),
        [(line.name, _state(line), line.owner, _short(line.last_seen), _where(line)) for line in made.lines],
    )


def _state(line: Line) -> str:
    until = "" if line.observed_until is None else f" until {_short(line.observed_until)}"
    return ("NOT GOVERNED: observed" + until) if line.state == "observed" else line.state


def _where(line: Line) -> str:
    told = [f"{one.how}: {one.what}, {one.where}" for one in line.where[:2]]
    if len(line.where) > len(told):
        told.append(f"and {len(line.where) - len(told)} more (--json)")
    return "; ".join(told) or line.why or "only registered"


def _short(at: str | None) -> str | None:
    return None if at is None else f"{at[:10]} {at[11:19]}"


# ---- enforcement ---------------------------------------------------------------------------------------------


@door("ledger-enforcement")
def enforcement(
    since: Annotated[str | None, typer.Option(metavar="DATE", help="From then on.", show_default=False)] = None,
    until: Annotated[str | None, typer.Option(metavar="DATE", help="Up to then.", show_default=False)] = None,
    agent: Annotated[str | None, typer.Option(metavar="NAME", help="This agent's alone.", show_default=False)] = None,
    workspace: options.Workspace = None, as_json: options.AsJson = False,
) -> Answer:  # fmt: skip
    """Show for a period that what happened had been allowed before.

    Each effect in a witness's log is paired with the earlier verdict, of the same agent and tool, under the contract
    that was in force then, or listed with what it lacks. Actions that nobody governed are left out and counted apart.
    Tools without a witness and times that were not recorded are told as not shown. The entries are taken as they
    stand: failwell ledger verify shows that they are what was written. Ends with 1 when an effect is not paired.

    \b
    Examples:
      failwell ledger enforcement
      failwell ledger enforcement --since 2026-11-01 --until 2026-12-01 --agent refund-bot
    """
    from failwell.core.errors import NotFound
    from failwell.core.instants import parse_at
    from failwell.node import seen
    from failwell.verify.enforcement import prove

    place = session.open_workspace(workspace)
    first = None if since is None else parse_at(instant(since, "--since"))
    last = None if until is None else parse_at(instant(until, "--until"))
    full = None
    if agent is not None:
        known = [each.agent for each in seen.called(place)]
        named = [each for each in known if agent == each or each.rpartition("/")[2] == agent]
        if len(named) != 1:
            raise NotFound(f"{len(named)} agents are called {agent} on record", hint="failwell agent list")
        full = named[0]
    proof = prove(seen.all_entries(place), since_us=first, until_us=last, agent=full)
    return Answer(
        fields=_proof_fields(proof), show=lambda screen: _show_proof(screen, proof), finding=not proof.sound
    )  # fmt: skip


def _proof_fields(proof: Proof) -> dict[str, Any]:
    import msgspec

    fields: dict[str, Any] = msgspec.to_builtins(proof)
    return fields | {"sound": proof.sound}


def _show_proof(screen: Screen, proof: Proof) -> None:
    effects = len(proof.pairs) + len(proof.unpaired)
    period = f"from {_short(proof.since) or 'the beginning'} to {_short(proof.until) or 'the end'}"
    if proof.unpaired:
        happened = f"{len(proof.unpaired)} of {plural(effects, 'effect')} pair with no verdict that let them happen"
    elif effects:
        happened = f"{plural(effects, 'effect')}, each behind an earlier ALLOW of the contract then in force"
    else:
        happened = "No effect was witnessed: nothing is shown"
    shown = len(proof.unwitnessed) + len(proof.loose) + len(proof.gaps)
    asked = "What is not shown stands below." if shown else "Everything that ran has a witness, at all times."
    screen.lead(f"{happened}; {period}.", asked, bad=not proof.sound)
    allowed, refused = proof.decided.get("ALLOW", 0), sum(proof.decided.values()) - proof.decided.get("ALLOW", 0)
    if proof.shared:
        screen.say(f"{plural(proof.shared, 'effect')} of them: further lines or witnesses of one and the same verdict.")
    screen.say(f"Verdicts that were kept: {allowed} ALLOW, {refused} not. {plural(proof.entries, 'entry', 'entries')}.")
    if proof.unpaired:
        _show_effects(screen, "Not paired", proof.unpaired)
    if proof.apart or proof.ungoverned:
        screen.say(
            f"\nNOT GOVERNED, and no part of this proof: {plural(proof.ungoverned, 'action')} ran, "
            f"{plural(len(proof.apart), 'effect')} seen.",
            "yellow",
        )
    _show_unshown(screen, proof)


def _show_effects(screen: Screen, title: str, effects: tuple[Unpaired, ...]) -> None:
    screen.say(f"\n{title}", "bold")
    screen.table(
        ("entry", "at the tool (UTC)", "agent", "tool", "witness", "why"),
        [(one.effect, _short(one.at), one.agent.rpartition("/")[2], one.tool, one.witness, one.why)
         for one in effects[:SHOWN]],
        right=("entry",),
    )  # fmt: skip
    if len(effects) > SHOWN:
        screen.say(f"and {len(effects) - SHOWN} more: --json")


def _show_unshown(screen: Screen, proof: Proof) -> None:
    told = [
        (f"{one.agent.rpartition('/')[2]}: {one.tool}", f"{plural(one.ran, 'action')} ran, {one.why}")
        for one in proof.unwitnessed
    ]
    told += [
        (f"{one.agent.rpartition('/')[2]}: {one.tool}", f"{plural(one.ran, 'action')} ran, advisory: {one.why}")
        for one in proof.loose
    ]
    told += [(gap.what, f"{_short(gap.since)} to {_short(gap.until) or 'the end'}") for gap in proof.gaps[:SHOWN]]
    if len(proof.gaps) > SHOWN:
        told.append(("more times", f"{len(proof.gaps) - SHOWN}: --json"))
    if proof.without_effect:
        named = ", ".join(str(each) for each in proof.without_effect[:10])
        told.append(("no effect seen", f"of {plural(len(proof.without_effect), 'completed action')}: {named}"))
    if told:
        screen.say("\nNot shown", "bold")
        screen.table(("what", ""), told)
