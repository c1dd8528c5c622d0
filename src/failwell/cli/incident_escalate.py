"""`incident escalate`: somebody else is to take it, now."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from failwell.cli import options, session
from failwell.cli.incident import Number
from failwell.cli.screen import Answer, Screen, door


def register(app: typer.Typer) -> None:
    """Add the command to `incident`."""
    app.command("escalate")(escalate)


@door("incident-escalate")
def escalate(
    number: Number,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why, for the record: it stands there as you write it.")],
    workspace: options.Workspace = None, person: options.As = None, yes: options.Yes = False,
    as_json: options.AsJson = False,
) -> Answer:  # fmt: skip
    """Have somebody else asked, now: the next step of the incident's path. If you had it, you have it no longer.

    Whoever is enrolled may, and it waits for nothing. Where nobody was asked yet, it begins.

    \b
    Example:
      failwell incident escalate 1 --reason "I am on a train"
    """
    from failwell.core import orders as o

    place = session.open_workspace(workspace)
    about = [f"you ask for somebody else to take incident {number}"]
    with session.take_hand(place, person, yes=yes, about=about) as hand:
        entry = hand.write("incident.escalate", None, lambda digest: o.IncidentEscalate(incident=number, reason=reason))
    with session.reach_node(place) as wire:
        told: dict[str, Any] = wire.call("ask", about="escalation", key=number)
    asked = [person for each in told["steps"] if each["state"] == "asking" for person in each["persons"]]

    def show(screen: Screen) -> None:
        screen.lead(
            f"{', '.join(asked) or 'Nobody'} is asked to take incident {number} (entry {entry}).",
            f"Whether it arrives, and who is next: failwell escalation show {number}",
            bad=not asked,
        )

    return Answer(fields={"incident": number, "entry": entry, "asked": asked, "step": told["step"]}, show=show)
