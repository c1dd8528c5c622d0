"""`team`: who is on call, who comes next, and who covers for whom."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer

from failwell.cli import options, session
from failwell.cli.screen import Answer, Screen, door, plural, span
from failwell.core.errors import InputError

app = typer.Typer(help="Who is on call: list, show, cover for somebody.")

Team = Annotated[str, typer.Argument(metavar="TEAM", help="Its name, as failwell.toml has it.")]
#: Changes that are shown of a team.
AHEAD = 8


@app.command("list")
@door("team-list")
def show_all(workspace: options.Workspace = None, as_json: options.AsJson = False) -> Answer:
    """List the teams: who is on call now, who is next when, and where nobody is.

    \b
    Example:
      failwell team list
    """
    with session.reach_node(session.open_workspace(workspace)) as wire:
        found: list[dict[str, Any]] = wire.call("ask", about="teams")

    def show(screen: Screen) -> None:
        if not found:
            screen.lead("There are no teams.", "Declare [teams.NAME] in failwell.toml, then: failwell config apply")
            return
        empty = [each["team"] for each in found if not each["on_call"]]
        screen.lead(
            f"NOBODY IS ON CALL for {', '.join(empty)}: all of its members are asked." if empty
            else f"{plural(len(found), 'team')}, each with somebody on call.",
            f"More: failwell team show {(empty or [found[0]['team']])[0]}", bad=bool(empty),
        )  # fmt: skip
        rows = [
            (
                each["team"], ", ".join(each["on_call"]) or "nobody", _local(each, each["next"][0]["at"])
                if each["next"] else None, ", ".join(each["next"][0]["persons"]) or "nobody" if each["next"] else None,
                len(each["covers"]) or None, len(each["gaps"]) or None,
            )
            for each in found
        ]  # fmt: skip
        screen.table(
            ("team", "on call", "until", "then", "covers", "gaps in 31 days"), rows, right=("gaps in 31 days",)
        )

    return Answer(fields={"teams": found}, show=show)


@app.command("show")
@door("team-show")
def show_one(team: Team, workspace: options.Workspace = None, as_json: options.AsJson = False) -> Answer:
    """Show one team: its turns, who is on call, who is next, who covers, and when nobody is on call.

    \b
    Example:
      failwell team show payments
    """
    with session.reach_node(session.open_workspace(workspace)) as wire:
        told: dict[str, Any] = wire.call("ask", about="team", key=team)

    def show(screen: Screen) -> None:
        on = ", ".join(told["on_call"])
        screen.lead(
            f"{on} is on call for {team}." if len(told["on_call"]) == 1 else f"{on} are on call for {team}." if on
            else f"NOBODY IS ON CALL for {team}: all of its members are asked.",
            f"To cover: failwell team cover {team} --from TIME --until TIME --instead-of PERSON --as YOU", bad=not on,
        )  # fmt: skip
        known = "" if told["known"] else "; the record has no offsets for it yet: as UTC"
        screen.say(f"Members: {', '.join(told['members'])}. Times are {told['timezone']}{known}.")
        if told["away"]:
            screen.say(f"Not here: {', '.join(told['away'])} (not enrolled, or gone).")
        for layer in told["layers"]:
            screen.say(f"  {_layer(layer)}")
        _show_ahead(screen, told)

    return Answer(fields=told, show=show)


@app.command("cover")
@door("team-cover")
def cover(
    team: Team,
    until: Annotated[str, typer.Option("--until", metavar="TIME", help="The team's local time, without an offset.")],
    since: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="The team's local time. Default: now.")
    ] = None,
    instead_of: Annotated[
        str | None, typer.Option("--instead-of", metavar="PERSON", help="Whose turns. Default: beside whoever is on.")
    ] = None,
    who: Annotated[str | None, typer.Option("--person", metavar="PERSON", help="Who covers. Default: you.")] = None,
    workspace: options.Workspace = None, person: options.As = None, yes: options.Yes = False,
    as_json: options.AsJson = False,
) -> Answer:  # fmt: skip
    """Be on call for a while, for somebody else or beside them.

    Whoever covers signs for it; an operator may put another person on call. Whom it relieves is told by mail. It lasts
    at most 92 days; for longer, change the turns in failwell.toml.

    \b
    Examples:
      failwell team cover payments --until 2026-12-27T09:00 --instead-of anna --as bert
      failwell team cover payments --from 2026-12-24T09:00 --until 2026-12-27T09:00 --person cleo --as olga
    """
    from failwell.core import orders
    from failwell.core.instants import format_at

    place = session.open_workspace(workspace)
    named = who or session.pick_person(person).person
    with session.reach_node(place) as wire:
        told: dict[str, Any] = wire.call("ask", about="team", key=team)
    zone = told["timezone"]
    from_us, until_us = _moment(since, zone, "--from"), _moment(until, zone, "--until")
    details = orders.TeamCover(
        team=team, person=named, instead_of=instead_of, since=format_at(from_us), until=format_at(until_us)
    )
    whom = "beside whoever is in turn" if instead_of is None else f"instead of {instead_of}"
    when = f"from {_local(told, details.since)} until {_local(told, details.until)} ({zone})"
    with session.take_hand(place, person, yes=yes, about=[f"{named} is on call for {team} {whom}, {when}"]) as hand:
        entry = hand.give("team.cover", details)

    def show(screen: Screen) -> None:
        screen.lead(f"{named} covers for {team} {whom}, {when} (entry {entry}).", "To end it before:")
        screen.command(f"failwell team uncover {entry} --as {named}")

    fields = {
        "team": team, "person": named, "instead_of": instead_of, "since": details.since, "until": details.until,
        "entry": entry,
    }  # fmt: skip
    return Answer(fields=fields, show=show)


@app.command("uncover")
@door("team-uncover")
def uncover(
    entry: Annotated[int, typer.Argument(metavar="ENTRY", min=0, help="The cover's entry: failwell team show TEAM")],
    workspace: options.Workspace = None, person: options.As = None, yes: options.Yes = False,
    as_json: options.AsJson = False,
) -> Answer:  # fmt: skip
    """End a cover, or do not begin it. The turn is its holder's again.

    For whoever covers, whose turn it is, or an operator.

    \b
    Example:
      failwell team uncover 1204 --as bert
    """
    from failwell.core import orders

    place = session.open_workspace(workspace)
    about = [f"the cover of entry {entry} ends; whoever is in turn is on call"]
    with session.take_hand(place, person, yes=yes, about=about) as hand:
        ended = hand.give("team.uncover", orders.TeamUncover(cover=entry))

    def show(screen: Screen) -> None:
        screen.lead(f"Cover {entry} is over (entry {ended}).", "Who is on call now: failwell team list")

    return Answer(fields={"cover": entry, "entry": ended}, show=show)


# ---- shown -----------------------------------------------------------------------------------------------------


def _show_ahead(screen: Screen, told: dict[str, Any]) -> None:
    if told["covers"]:
        screen.say("\nCovers", "bold")
        rows = [
            (
                each["cover"],
                each["person"],
                each["instead_of"],
                _local(told, each["since"]),
                _local(told, each["until"]),
            )
            for each in told["covers"]
        ]
        screen.table(("entry", "who", "instead of", "from", "until"), rows, right=("entry",))
    if told["next"]:
        screen.say("\nNext", "bold")
        ahead = [
            (_local(told, each["at"]), ", ".join(each["persons"]) or "NOBODY") for each in told["next"][:AHEAD]
        ]  # fmt: skip
        screen.table(("from", "on call"), ahead)
    if told["gaps"]:
        screen.say("\nNobody is on call", "bold red")
        screen.table(
            ("from", "until"), [(_local(told, since), _local(told, until)) for since, until in told["gaps"][:AHEAD]]
        )
        screen.say("All members are asked then. What to do about it: failwell escalation lint")


def _layer(layer: dict[str, Any]) -> str:
    who = ", ".join(layer["members"])
    turn = f"{who}, always all of them" if layer["every_ms"] is None else (
        f"{who} in turn, each {span(layer['every_ms'] * 1_000)} from {layer['since']} on"
    )  # fmt: skip
    return f"{turn}; only {layer['hours']}" if layer["hours"] else turn


def _local(told: dict[str, Any], at: str) -> str:
    """A moment in a team's own time."""
    moment = datetime.fromisoformat(at)
    zone = told["timezone"] if told["known"] else "UTC"
    return f"{moment.astimezone(ZoneInfo(zone)):%a %Y-%m-%d %H:%M}"


def _moment(text: str | None, zone: str, option: str) -> int:
    """Microseconds since 1970 (UTC) of a time, which without an offset is told in the team's zone; now without one."""
    if text is None:
        return round(datetime.now(tz=ZoneInfo("UTC")).timestamp() * 1_000_000)
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise InputError(f"{option} {text}: this is no time", hint=f"{option} 2026-12-24T09:00") from error
    zoned = found.replace(tzinfo=ZoneInfo(zone)) if found.tzinfo is None else found
    return round(zoned.timestamp() * 1_000_000)
