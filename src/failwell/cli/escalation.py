"""`escalation`: how people are told until one of them has taken it. Other modules add their commands to `app`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from failwell.cli import options, session
from failwell.cli.screen import Answer, Screen, clock, door, plural, span

app = typer.Typer(help="How people are told until one has taken it: who was asked, who is next, by what.")

Number = Annotated[int | None, typer.Argument(metavar="[N]", min=1, help="The incident's number; all without.")]
_CHANNELS = {"email": "by mail"}


@app.command("show")
@door("escalation-show")
def show(
    number: Number = None, workspace: options.Workspace = None, as_json: options.AsJson = False,
) -> Answer:  # fmt: skip
    """Show who was asked about an incident, by what, what became of it, and who is next when.

    Without a number: everything that is being asked or is taken, what is due next first.

    \b
    Examples:
      failwell escalation show
      failwell escalation show 1
    """
    place = session.open_workspace(workspace)
    with session.reach_node(place) as wire:
        if number is not None:
            told: dict[str, Any] = wire.call("ask", about="escalation", key=number)
            return Answer(fields=told, show=lambda screen: _show_one(screen, told))
        found: list[dict[str, Any]] = wire.call("ask", about="escalations")
    asking = [each["incident"] for each in found if each["state"] == "asking"]
    return Answer(fields={"escalations": found, "asking": asking}, show=lambda screen: _show_all(screen, found))


# ---- one -----------------------------------------------------------------------------------------------------


def _show_one(screen: Screen, told: dict[str, Any]) -> None:
    screen.lead(_stands(told), _next(told), bad=told["state"] == "asking")
    cycle = f", cycle {told['cycle']}" if told["cycle"] > 1 else ""
    screen.say(
        f"Path: {told['source']}{cycle}; begun {_time(told['since'])}; the last resort is asked after at most "
        f"{span(told['total_ms'] * 1_000)}."
    )
    screen.say()
    rows = [
        (
            each["step"], each["notify"] if each["notify"] != "house" else "everybody who runs the house",
            ", ".join(each["by"]), _each(each), _condition(each), each["state"], ", ".join(each["persons"]),
        )
        for each in told["steps"]
    ]  # fmt: skip
    screen.table(("step", "asks", "by", "for", "only", "", "who"), rows, right=("step",))
    if told["pages"]:
        screen.say("\nPages of this cycle", "bold")
        pages = [
            (
                each["page"], f"{each['step']}.{each['round']}", each["person"], each["channel"], each["state"],
                each["answered"],
            )
            for each in told["pages"]
        ]  # fmt: skip
        screen.table(("page", "step", "to", "by", "", "answered (entry)"), pages, right=("page",))
    for sentence in told["asked"]:
        screen.say(sentence)


def _stands(told: dict[str, Any]) -> str:
    number = f"Incident {told['incident']}, {told['severity']}"
    if told["state"] == "over":
        return f"{number}: nobody is asked about it any more, it is {told['case']}."
    if told["state"] == "taken":
        return f"{number} is taken by {' and '.join(told['took'])}."
    running = next((each for each in told["steps"] if each["state"] == "asking"), None)
    who = "nobody" if running is None or not running["persons"] else ", ".join(running["persons"])
    took = f" {' and '.join(told['took'])} took it; more have to." if told["took"] else ""
    last = ", the last resort" if told["last_resort"] else ""
    return (
        f"NOBODY HAS TAKEN incident {told['incident']} ({told['severity']}). Asked since {_time(told['stepped'])}, "
        f"step {told['step']} of {len(told['steps'])}{last}: {who}.{took}"
    )


def _next(told: dict[str, Any]) -> str:
    comes = told["next"]
    if comes is None:
        return f"All of it: failwell incident show {told['incident']}"
    who = ", ".join(comes["persons"]) or "nobody there is"
    if comes["again"]:
        return f"If nothing is heard of it until {_time(comes['at'])}, {who} and whoever had it are asked anew."
    return f"Next at {_time(comes['at'])}: {who}. Take it: failwell incident acknowledge {told['incident']}"


def _each(step: dict[str, Any]) -> str:
    within = span(step["within_ms"] * 1_000)
    if step["last_resort"]:
        return f"every {within}, until taken"
    return within if step["rounds"] == 1 else f"{step['rounds']} x {within}"


def _condition(step: dict[str, Any]) -> str:
    found = [] if step["severity"] == "minor" else [f"from {step['severity']} on"]
    found += [step["hours"]] if step["hours"] else []
    found += [] if step["require"] == "any" else [f"{step['require']} have to take it"]
    return "; ".join(found)


# ---- all -----------------------------------------------------------------------------------------------------


def _show_all(screen: Screen, found: list[dict[str, Any]]) -> None:
    if not found:
        screen.say("Nobody is asked about anything.")
        return
    asking = [each for each in found if each["state"] == "asking"]
    first = found[0]["incident"] if not asking else asking[0]["incident"]
    screen.lead(
        f"{plural(len(asking), 'incident')} that nobody has taken, {len(found) - len(asking)} taken.",
        f"One of them: failwell escalation show {first}",
        bad=bool(asking),
    )
    rows = [
        (
            each["incident"], each["severity"], each["state"], f"{each['step']} of {len(each['steps'])}",
            ", ".join(each["took"]) if each["state"] == "taken" else _asked_now(each),
            None if each["next"] is None else _time(each["next"]["at"]),
            "" if each["next"] is None else ", ".join(each["next"]["persons"]),
        )
        for each in found
    ]  # fmt: skip
    screen.table(("incident", "severity", "", "step", "asked or taken by", "next at", "who"), rows, right=("incident",))


def _asked_now(told: dict[str, Any]) -> str:
    return ", ".join(person for each in told["steps"] if each["state"] == "asking" for person in each["persons"])


def _time(at: str) -> str:
    """A moment as people say it, to the second."""
    return f"{at[:10]} {clock(at)[:8]} UTC"
