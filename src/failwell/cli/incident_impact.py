"""`incident impact`: what an incident did to whom and for how much, who was handed results, what was still in reach."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from failwell.cli import options, session
from failwell.cli.screen import Answer, Screen, door, plural

if TYPE_CHECKING:
    from failwell.client.wire import Wire

Number = Annotated[int, typer.Argument(metavar="N", min=1, help="The incident's number.")]
#: Lines of a list on the screen; programs get all.
SHOWN = 20
_HOW = {"own": "its own run", "up": "had handed it over", "down": "was handed work after it"}


def register(app: typer.Typer) -> None:
    """Add the command to `incident`."""
    app.command("impact")(show_impact)


def impact_told(wire: Wire, number: int) -> dict[str, Any]:
    """The impact, as the node tells it now."""
    told: dict[str, Any] = wire.call("ask", about="impact", key=number, timeout_s=120)
    return told


@door("incident-impact")
def show_impact(
    number: Number,
    every: Annotated[bool, typer.Option("--all", help="Every act, not only those that are known to be wrong.")] = False,
    workspace: options.Workspace = None, as_json: options.AsJson = False,
) -> Answer:  # fmt: skip
    """Tell what it did: to whom, for how much, undone or not, who got results.

    Wrong is what the record speaks against; touched is all that the agent did from the onset until it was given back.
    Where nobody can say whether something happened it is counted, and said.

    \b
    Examples:
      failwell incident impact 1
      failwell incident impact 1 --all --json
    """
    place = session.open_workspace(workspace)
    with session.reach_node(place) as wire:
        told = impact_told(wire, number)

    def show(screen: Screen) -> None:
        _lead(screen, told)
        _show_acts(screen, told, every=every)
        _show_amounts(screen, told["amounts"])
        _show_reach(screen, told["reach"])
        _show_downstream(screen, told["downstream"])
        if told["unknown"]:
            screen.say("\nWhat nobody can say", "bold")
            for each in told["unknown"]:
                screen.say(f"  {each}")

    return Answer(fields=told, show=show)


def _lead(screen: Screen, told: dict[str, Any]) -> None:
    number, untold = told["incident"], [one for one in told["customers"] if one["wrong"] and one["told"] is None]
    harmed = sum(one["wrong"] > 0 for one in told["customers"])
    if not told["agent"]:
        screen.lead(
            f"Incident {number}: nobody knows yet which agent it was.",
            f'Once known: failwell incident report "..." --agent NAME, then failwell incident merge {number} NEW "..."',
        )
        return
    happened = (
        f"{plural(told['wrong'], 'wrong act')} of {told['name']} reached {plural(harmed, 'customer')}"
        f" (incident {number}); {told['undone']} undone, {told['irreversible']} cannot be undone."
        if told["wrong"]
        else f"No act of {told['name']} is known to be wrong (incident {number}); {told['touched']} had an effect."
    )
    asked = f"Tell them: failwell incident draft {number} --customer {untold[0]['name']}" if untold else (
        f"All of it by customer: failwell incident customers {number}"
    )  # fmt: skip
    screen.lead(happened, asked, bad=bool(untold))
    first, last = told["span"]
    screen.say(
        f"From entry {first} {f'to {last}' if last is not None else 'on'}: {told['touched']} acts with an effect, "
        f"{told['reads']} reads, {told['refused']} refused. "
        + (f"Counted from {', '.join(told['counted_from'])}." if told["counted_from"] else "No log of a tool was read.")
    )


def _show_acts(screen: Screen, told: dict[str, Any], *, every: bool) -> None:
    acts = [act for act in told["acts"] if every or act["wrong"]]
    if not acts:
        return
    screen.say("\nWhat it did" if every else "\nWhat was wrong", "bold")
    shown = acts if every else acts[:SHOWN]
    rows = [
        (
            "-" if act["action"] is None else act["action"], act["tool"], ", ".join(act["customers"]) or None,
            act["resource"], act["amount"], f"{act['happened']}, {act['shown_by']}", act["undone"] or act["effect"],
            "; ".join(f"{each['says']} [{each['entry']}]" for each in act["wrong"]) or None,
        )
        for act in shown
    ]  # fmt: skip
    columns = ("action", "tool", "customer", "resource", "amount", "happened", "undone", "what says that it was wrong")
    screen.table(columns, rows, right=("action", "amount"))
    left = len(acts) - len(shown) + (told["more"] if every else 0)
    if left:
        screen.say(f"... and {left} more: failwell incident impact {told['incident']} --all --json")


def _show_amounts(screen: Screen, amounts: list[dict[str, Any]]) -> None:
    if not amounts:
        return
    screen.say("\nAmounts", "bold")
    rows = [
        (each["tool"], each["argument"], each["wrong"], each["undone"], each["touched"], each["refused"],
         each["unknown"] or None)
        for each in amounts
    ]  # fmt: skip
    columns = ("tool", "of", "wrong", "of that undone", "all since the onset", "refused", "acts without one")
    screen.table(columns, rows, right=columns[2:])


def _show_reach(screen: Screen, reach: dict[str, Any] | None) -> None:
    if reach is None:
        return
    screen.say("\nWhat it could still have done when it was suspended", "bold")
    rows = [
        (
            limit["limit"], ", ".join(limit["tools"]) or "irreversible tools",
            f"{limit['left']} of {limit['at_most']} {limit['unit']}"
            if limit["left"] is not None
            else f"{limit['at_most']} {limit['unit']} for each {' and '.join(limit['apart']) or 'moment'}",
            limit["per"], "denied" if limit["then"] == "deny" else "a person is asked",
        )
        for limit in reach["left"]
    ]  # fmt: skip
    if rows:
        screen.table(("limit", "tools", "left", "in any", "beyond that"), rows)
    if reach["unbounded"]:
        screen.say(f"As often as it liked, by no limit: {', '.join(reach['unbounded'])}.", "red")
    if reach["irreversible"]:
        screen.say(f"Without a person, and not to be undone: {', '.join(reach['irreversible'])}.")


def _show_downstream(screen: Screen, found: list[dict[str, Any]]) -> None:
    if not found:
        return
    screen.say("\nWho was handed results", "bold")
    rows = [
        (each["run"], each["agent"].rpartition("/")[2], _HOW[each["how"]], each["principal"], each["host"],
         each["since"], each["acts"])
        for each in found[:SHOWN]
    ]  # fmt: skip
    columns = ("run", "agent", "how", "for", "host", "since entry", "acts since")
    screen.table(columns, rows, right=("run", "since entry", "acts since"))
    if len(found) > SHOWN:
        screen.say(f"... and {len(found) - SHOWN} more, with --json.")
