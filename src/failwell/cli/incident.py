"""`incident`: what went wrong, what was already done about it, what is asked of people, and who took it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from failwell.cli import incident_show, options, session
from failwell.cli.lookup import ENDED, taken
from failwell.cli.screen import Answer, Screen, door, plural

app = typer.Typer(help="What went wrong, what was already done, who takes it.")

Number = Annotated[int, typer.Argument(metavar="N", min=1, help="The incident's number.")]
#: Incidents that a list shows with the time they were opened; older ones with their entry only.
TIMED = 50
SEVERITIES = ("minor", "major", "critical")


@app.command("list")
@door("incident-list")
def list_incidents(
    open_only: Annotated[bool, typer.Option("--open", help="Only those that are not closed.")] = False,
    workspace: options.Workspace = None, as_json: options.AsJson = False,
) -> Answer:  # fmt: skip
    """List incidents, newest first, and which nobody has taken.

    \b
    Examples:
      failwell incident list
      failwell incident list --open --json
    """
    place = session.open_workspace(workspace)
    with session.reach_node(place) as wire:
        rows: dict[str, dict[str, Any]] = wire.call("ask", about="incidents")
        agents: dict[str, dict[str, Any]] = wire.call("ask", about="agents")
        numbers = sorted((int(number) for number in rows), reverse=True)
        if open_only:
            numbers = [number for number in numbers if rows[str(number)]["state"] not in ENDED]
        opened = {
            number: wire.call("ask", about="entry", key=rows[str(number)]["opened"])["at"] for number in numbers[:TIMED]
        }
    found = [_listed(number, rows[str(number)], agents, opened.get(number)) for number in numbers]
    waiting = [each for each in found if not each["taken"] and each["state"] not in ENDED]
    untaken = [each["incident"] for each in waiting]

    def show(screen: Screen) -> None:
        if not found:
            screen.say("No open incident." if open_only else "No incident.")
            return
        asked = "Everything is taken. One of them: failwell incident show N"
        if untaken:
            which = "it" if len(untaken) == 1 else "the worst first"
            asked = f"Somebody takes {which}: failwell incident acknowledge {worst_of(waiting)}"
        late = [str(each["incident"]) for each in found if each["missed"] and each["state"] not in ENDED]
        screen.lead(f"{plural(len(found), 'incident')}, {len(untaken)} not taken by anybody.", asked, bad=bool(untaken))
        if late:
            screen.say(f"NOT IN TIME, by what was agreed: incident {', '.join(late)}.", "red")
        screen.table(
            ("incident", "kind", "severity", "state", "what", "opened", "entry", "taken"),
            [
                (
                    each["incident"], each["kind"], each["severity"], each["state"], each["happened"],
                    None if each["at"] is None else f"{each['at'][:10]} {each['at'][11:19]}", each["entry"],
                    _holder(each),
                )
                for each in found
            ],
            right=("incident", "entry"),
        )  # fmt: skip

    return Answer(fields={"incidents": found, "not_taken": untaken}, show=show)


def _listed(number: int, row: dict[str, Any], agents: dict[str, dict[str, Any]], at: str | None) -> dict[str, Any]:
    agent = agents.get(row["agent"])  # none: nobody knows yet which agent it was
    return {
        "incident": number, "severity": row["severity"], "state": row["state"], "kind": row["kind"],
        "title": row["title"], "happened": row["happened"], "agent": row["agent"],
        "authority": None if agent is None else agent["authority"],
        "taken": taken(row),
        "holder": row["holder"], "offered": row["offered"], "missed": row["missed"],
        "serious": row["serious"] is not None, "merged_into": row["merged_into"], "entry": row["opened"], "at": at,
        "onset": [row["onset_first"], row["onset_last"]],
    }  # fmt: skip


def worst_of(waiting: list[dict[str, Any]]) -> int:
    """The incident to take first: a real one before a rehearsed one, the most severe, of these the oldest."""

    def urgency(each: dict[str, Any]) -> tuple[bool, int, int]:
        return each["kind"] not in ("drill", "canary"), SEVERITIES.index(each["severity"]), -each["incident"]

    return int(max(waiting, key=urgency)["incident"])


def _holder(each: dict[str, Any]) -> str:
    if each["state"] == "MERGED":
        return f"in {each['merged_into']}"
    return (each["holder"] or "yes") if each["taken"] else ("-" if each["state"] in ENDED else "NO")


app.command("show")(incident_show.show_incident)


@app.command("acknowledge")
@door("incident-acknowledge")
def acknowledge(
    number: Number, workspace: options.Workspace = None, person: options.As = None, yes: options.Yes = False,
    as_json: options.AsJson = False,
) -> Answer:  # fmt: skip
    """Take an incident: it is yours, and others may sleep.

    \b
    Example:
      failwell incident acknowledge 1 --as anna
    """
    place = session.open_workspace(workspace)
    with session.reach_node(place) as wire:
        before = wire.call("ask", about="incidents").get(str(number), {}).get("holder")
    with session.take_hand(place, person, yes=yes, about=[f"you take incident {number}"]) as hand:
        entry = hand.acknowledge(number)
        taker = hand.person
    with session.reach_node(place) as wire:
        told: dict[str, Any] = wire.call("ask", about="incident", key=number)

    def show(screen: Screen) -> None:
        asked = told["asked"]
        was = f" It was {before}'s." if before not in (None, "", taker) else ""
        screen.lead(
            f"Incident {number} is taken by {taker} (entry {entry}).{was}",
            f"Next: {asked[0]}" if asked else f"All of it: failwell incident show {number}",
        )

    return Answer(fields={"incident": number, "person": taker, "entry": entry, "asked": told["asked"]}, show=show)
