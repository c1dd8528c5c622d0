"""The containment report at the terminal: each order to stop, what ran, how it ended, how long it took and why we know.

Used by `stop report`; figures come from the record, and what is not proven is shown as that.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from failwell.cli import options, session
from failwell.cli.screen import Answer, Screen, clock, door, plural, span

#: Orders that a report tells if none is named.
NEWEST = 10

Order = Annotated[
    int | None, typer.Argument(metavar="[ENTRY]", min=0, help="The order's entry; without it, the newest orders.")
]


@door("stop-report")
def report(
    order: Order = None,
    incident: Annotated[int | None, typer.Option("--incident", min=1, help="The orders of this incident only.")] = None,
    workspace: options.Workspace = None, as_json: options.AsJson = False,
) -> Answer:  # fmt: skip
    """Tell of each stop what ran, by which class it could be stopped, how it ended, and how long that took.

    T1 is from the order's arrival until nothing new could start, T2 until the last effect had ended; both stand beside
    the stated bound. What nobody could confirm has no time, and is a finding (exit 1).

    \b
    Examples:
      failwell stop report
      failwell stop report --incident 1
      failwell stop report 1204 --json
    """
    place = session.open_workspace(workspace)
    with session.reach_node(place) as wire:
        orders: list[int] = [order] if order is not None else wire.call("ask", about="containments")
        told = [wire.call("ask", about="containment", key=each) for each in orders[: None if incident else NEWEST]]
    found = [each for each in told if incident is None or each["incident"] == incident]
    unproven = sum(each["unconfirmed"] + each["waiting"] for each in found)
    beyond = [each["order"] for each in found if each["held"] is False]

    def show(screen: Screen) -> None:
        if not found:
            screen.say("Nothing was ordered to stop." if incident is None else "This incident ordered nothing to stop.")
            return
        _lead(screen, found, unproven, beyond)
        for each in found:
            show_containment(screen, each)
        if order is None and len(orders) > len(told):
            screen.say(f"\n{len(orders) - len(told)} older orders: failwell stop report ENTRY")

    return Answer(fields={"containments": found}, show=show, finding=bool(unproven))


def _lead(screen: Screen, found: list[dict[str, Any]], unproven: int, beyond: list[int]) -> None:
    proven = (
        f"{plural(unproven, 'running tool')} NOT CONFIRMED as stopped"
        if unproven
        else "everything that ran is proven to have ended"
    )
    asked = f"Stop at its own side: {_unproven(found)}." if unproven else "Nothing is asked."
    if beyond and not unproven:
        asked = f"Beyond the stated bound: order {', '.join(map(str, beyond))}."
    screen.lead(f"{plural(len(found), 'stop')}: {proven}.", asked, bad=bool(unproven or beyond))


def _unproven(found: list[dict[str, Any]], most: int = 5) -> str:
    """What is not shown to have stopped, by action and tool."""
    left = [
        f"action {each['action']} ({each['tool']})"
        for one in found
        for each in one["stopped"]
        if each["state"] in ("interrupted_unconfirmed", "waiting")
    ]
    return ", ".join(left[:most]) + (f" and {len(left) - most} more" if len(left) > most else "")


def show_containment(screen: Screen, told: dict[str, Any]) -> None:
    """One order: its times beside the bound, and a line for each action."""
    about = told["agent"].rsplit("/", 1)[-1] if told["agent"] else "more than one agent"
    case = "" if told["incident"] is None else f", incident {told['incident']}"
    screen.say(f"\nOrder {told['order']} at {clock(told['at'])}, {about}{case}: {told['why']}", "bold")
    screen.say(times(told), "red" if told["held"] is False or told["unconfirmed"] else None)
    if not told["stopped"]:
        return
    screen.table(
        ("action", "tool", "class", "how it ended", "after", "proven by"),
        [
            (
                each["action"], each["tool"], each["executor"], each["state"].replace("_", " "),
                _span(each["after_ms"]), each["proven_by"],
            )
            for each in told["stopped"]
        ],
        right=("action", "after"),
    )  # fmt: skip


def times(told: dict[str, Any]) -> str:
    """Both times beside the bound, in a sentence."""
    if told["bound_ms"] is None:
        return "Not measured: the node ended before everything had ended, or it still waits."
    first = "what ran was to be stopped, and nothing else" if told["t1_ms"] is None else (
        f"nothing new could start after {_span(told['t1_ms'])} (T1)"
    )  # fmt: skip
    last = "when the last effect ended is NOT PROVEN (T2)" if told["t2_ms"] is None else (
        f"the last effect had ended after {_span(told['t2_ms'])} (T2)"
    )  # fmt: skip
    verdict = {True: "held", False: "BEYOND IT", None: "not shown"}[told["held"]]
    return f"{first[0].upper()}{first[1:]}; {last}. Stated bound {told['bound_ms']:.0f} ms: {verdict}."


def _span(milliseconds: float | None) -> str | None:
    return None if milliseconds is None else span(round(milliseconds * 1000))
