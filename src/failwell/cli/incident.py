"""`incident`: what went wrong, what was already done about it, what is asked of people, and who took it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from failwell.cli import options, session
from failwell.cli.screen import Answer, Screen, clock, door, plural, span

app = typer.Typer(help="What went wrong, what was already done, who takes it.")

Number = Annotated[int, typer.Argument(metavar="N", min=1, help="The incident's number.")]
#: Incidents that a list shows with the time they were opened; older ones with their entry only.
TIMED = 50
ENDED = ("CLOSED", "MERGED", "FALSE_ALARM")
_CONTAINED = {
    "SUSPENDED": "It is suspended; the record is held.",
    "RESTRICTED": "It is restricted, and goes on.",
    "PROBATION": "It was released and acts in PROBATION.",
    "RETIRED": "It is retired.",
}  # fmt: skip


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
    untaken = [each["incident"] for each in found if not each["taken"] and each["state"] not in ENDED]

    def show(screen: Screen) -> None:
        if not found:
            screen.say("No incident.")
            return
        asked = "Everything is taken. One of them: failwell incident show N"
        if untaken:
            asked = f"Somebody takes the oldest: failwell incident acknowledge {untaken[-1]}"
        screen.lead(f"{plural(len(found), 'incident')}, {len(untaken)} not taken by anybody.", asked, bad=bool(untaken))
        screen.table(
            ("incident", "severity", "state", "what", "opened", "entry", "taken"),
            [
                (
                    each["incident"], each["severity"], each["state"], each["title"],
                    None if each["at"] is None else f"{each['at'][:10]} {each['at'][11:19]}", each["entry"],
                    "yes" if each["taken"] else "NO",
                )
                for each in found
            ],
            right=("incident", "entry"),
        )  # fmt: skip

    return Answer(fields={"incidents": found, "not_taken": untaken}, show=show)


def _listed(number: int, row: dict[str, Any], agents: dict[str, dict[str, Any]], at: str | None) -> dict[str, Any]:
    return {
        "incident": number, "severity": row["severity"], "state": row["state"], "kind": row["kind"],
        "title": row["title"], "agent": row["agent"], "authority": agents[row["agent"]]["authority"],
        "taken": "ACKNOWLEDGED" in row["marks"], "entry": row["opened"], "at": at,
        "onset": [row["onset_first"], row["onset_last"]],
    }  # fmt: skip


@app.command("show")
@door("incident-show")
def show_incident(
    number: Number,
    timeline: Annotated[bool, typer.Option("--timeline", help="Every step, with its entry.")] = False,
    customers: Annotated[bool, typer.Option("--customers", help="Who was reached, and by what.")] = False,
    workspace: options.Workspace = None, as_json: options.AsJson = False,
) -> Answer:  # fmt: skip
    """Tell what happened, what was done, what escaped, to whom.

    Times stand beside the stated bound, and every figure names the entry it comes from. Effects are counted from the
    tool side's own logs, not from what the agent's side says.

    \b
    Examples:
      failwell incident show 1
      failwell incident show 1 --timeline --customers
    """
    place = session.open_workspace(workspace)
    with session.reach_node(place) as wire:
        told: dict[str, Any] = wire.call("ask", about="incident", key=number)

    def show(screen: Screen) -> None:
        _show_first(screen, told)
        _show_times(screen, told)
        _show_stops(screen, told)
        _show_undoings(screen, told["undoings"])
        _show_escaped(screen, told, customers=customers)
        if timeline:
            screen.say("\nTimeline", "bold")
            rows = [(line["entry"], clock(line["at"]), line["what"], line["detail"]) for line in told["timeline"]]
            screen.table(("entry", "at", "what", ""), rows, right=("entry",))
        else:
            screen.say(f"\nEvery step: failwell incident show {number} --timeline")

    return Answer(fields=told, show=show)


def _show_first(screen: Screen, told: dict[str, Any]) -> None:
    unproven = [stop for stop in told["stops"] if stop["state"] == "interrupted_unconfirmed"]
    done = _CONTAINED.get(told["authority"], f"Its authority now: {told['authority']}.")
    if told["access"] is not None:
        done += f" No gate stands before it. Its access at its vendor: {told['access']}."
    elif not told["governed"]:
        done += " It is NOT GOVERNED."
    if unproven:
        done += f" {plural(len(unproven), 'running tool')} NOT CONFIRMED as stopped."
    elif told["stops"]:
        done += f" {plural(len(told['stops']), 'running tool')} stopped."
    asked = told["asked"]
    screen.lead(
        f"{told['title']}. {done}", f"Asked: {asked[0]}" if asked else "Nothing is asked of anybody now.",
        bad="acknowledged" not in told["times"] or told["times"]["acknowledged"] is None,
    )  # fmt: skip
    for more in asked[1:]:
        screen.say(f"Also: {more}")
    first, last = told["onset"]
    began = f"entry {first}" if first == last else f"entries {first} to {last}"
    screen.say(
        f"Incident {told['incident']}, {told['severity']}, {told['state']}; agent {told['name']}, "
        f"owner {told['owner']}; began at {began}; {plural(told['signals'], 'signal')}."
    )


def _show_times(screen: Screen, told: dict[str, Any]) -> None:
    rows: list[tuple[object, ...]] = []
    for name, moment in told["times"].items():
        if moment is None:
            rows.append((name, _lacking(name, told), None, None))
        else:
            after = span(round(moment["after_onset_ms"] * 1000))
            rows.append((name, clock(moment["at"]), f"+{after}", moment["entry"]))
    screen.say()
    failed = [line["detail"] for line in told["timeline"] if line["what"] == "page failed"]
    if failed and told["times"]["paged"] is None:
        screen.say(f"NOBODY HAS BEEN REACHED YET: {failed[-1]}. It is tried again; what to do: failwell doctor", "red")
    screen.table(("", "at (UTC)", "after the onset", "entry"), rows, right=("after the onset", "entry"))
    bound = told["bound"]
    measured = "not measured" if bound["measured_ms"] is None else span(round(bound["measured_ms"] * 1000))
    beyond = bound["measured_ms"] is not None and bound["measured_ms"] > bound["stated_ms"]
    if bound["t1_ms"] is not None:
        screen.say(f"Nothing new could start {span(round(bound['t1_ms'] * 1000))} after its order came.")
    screen.say(
        f"Bound, from the order to the last process gone: {bound['stated_ms']} ms stated, {measured}"
        + (" MEASURED, BEYOND IT." if beyond else ("" if measured.startswith("not") else " measured") + "."),
        "red" if beyond else None,
    )


def _lacking(name: str, told: dict[str, Any]) -> str:
    """What stands in the place of a moment that no entry makes."""
    if name == "stopped" and any(stop["state"] == "interrupted_unconfirmed" for stop in told["stops"]):
        return "NOT CONFIRMED"
    return "not yet" if name in ("paged", "acknowledged", "released") else "no"


def _show_stops(screen: Screen, told: dict[str, Any]) -> None:
    if not told["stops"]:
        return
    screen.say("\nWhat was running", "bold")
    rows = [
        (
            stop["action"], stop["tool"], stop["executor"], stop["state"].replace("_", " "),
            None if stop["measured_ms"] is None else span(round(stop["measured_ms"] * 1000)),
            None if stop["state"] == "interrupted_unconfirmed" else plural(stop["processes"], "process", "processes"),
            stop["proven_by"],
        )
        for stop in told["stops"]
    ]  # fmt: skip
    columns = ("action", "tool", "class", "how it ended", "after", "swept", "proven by")
    screen.table(columns, rows, right=("action", "after"))


def _show_undoings(screen: Screen, found: list[dict[str, Any]]) -> None:
    """What was reversible, and whether it was reversed (R11)."""
    if not found:
        return
    from failwell.cli.undoing import UNDONE

    screen.say("\nWhat was undone", "bold")
    rows = [
        (
            each["action"], each["tool"], each["step"], UNDONE[each["state"]],
            None if each["elapsed_ms"] is None else span(round(each["elapsed_ms"] * 1000)), each["entry"],
        )
        for each in found
    ]  # fmt: skip
    screen.table(("action", "tool", "by", "it is", "after", "entry"), rows, right=("action", "after", "entry"))
    if any(each["state"] in ("partly", "not", "unknown") for each in found):
        screen.say("What is not undone is for people: failwell action show N", "red")


def _show_escaped(screen: Screen, told: dict[str, Any], *, customers: bool) -> None:
    escaped = told["escaped_effects"]
    screen.say("\nWhat escaped", "bold")
    if not escaped["counted_from"]:
        screen.say(
            "Unknown: no log of the tool side was read for this agent. [witness.NAME] in failwell.toml declares one; "
            "its file has to be there."
        )
        return
    screen.say(
        f"{escaped['before_detection']} before it was detected, {escaped['while_stopping']} while it was being "
        f"stopped, {escaped['after_fence']} after the fence. Counted from {', '.join(escaped['counted_from'])}."
    )
    if escaped["without_verdict"] and told["access"] is not None:
        screen.say(f"{escaped['without_verdict']} of them under no verdict: nobody governs a detect-only agent.", "red")
    elif escaped["without_verdict"]:
        screen.say(f"{escaped['without_verdict']} of them pair with no verdict: they went round the gate.", "red")
    harmed = told["customers"]
    reached = f"{plural(len(harmed), 'customer')} reached"
    if not customers:
        screen.say(f"{reached}: failwell incident show {told['incident']} --customers" if harmed else f"{reached}.")
        return
    screen.say(f"{reached}." if not harmed else f"{reached}:")
    if harmed:
        rows = [(one["id"], one["effects"], ", ".join(str(entry) for entry in one["entries"])) for one in harmed]
        screen.table(("customer", "effects", "entries"), rows, right=("effects",))


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
    with session.take_hand(place, person, yes=yes, about=[f"you take incident {number}"]) as hand:
        entry = hand.acknowledge(number)
        taker = hand.person
    with session.reach_node(place) as wire:
        told: dict[str, Any] = wire.call("ask", about="incident", key=number)

    def show(screen: Screen) -> None:
        asked = told["asked"]
        screen.lead(
            f"Incident {number} is taken by {taker} (entry {entry}).",
            f"Next: {asked[0]}" if asked else f"All of it: failwell incident show {number}",
        )

    return Answer(fields={"incident": number, "person": taker, "entry": entry, "asked": told["asked"]}, show=show)
