"""`incident inform`: an authority was informed of a serious incident, by a person's word."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from failwell.cli import options, session
from failwell.cli.incident import Number
from failwell.cli.screen import Answer, Screen, door
from failwell.core.errors import InputError
from failwell.core.instants import format_at, parse_at

if TYPE_CHECKING:
    from failwell.core import orders as o


def register(app: typer.Typer) -> None:
    """Add the command to `incident`."""
    app.command("inform")(inform)


@door("incident-inform")
def inform(
    number: Number,
    authority: Annotated[str | None, typer.Option(metavar="NAME", help="Which authority was informed.")] = None,
    at: Annotated[
        str | None, typer.Option("--at", metavar="TIME", help="When (RFC 3339, UTC). Default: now.")
    ] = None,
    complete: Annotated[bool, typer.Option("--complete", help="It was the whole report: nothing follows.")] = False,
    words: Annotated[
        str | None, typer.Option("--words", metavar="TEXT", help="What was told, kept apart from the record.")
    ] = None,
    workspace: options.Workspace = None, person: options.As = None, yes: options.Yes = False,
    as_json: options.AsJson = False,
) -> Answer:  # fmt: skip
    """Say that an authority was informed of a serious incident. What waited for that may pass then.

    Failwell informs nobody: this is your word, as the agent's owner or an operator, and it stands in the record.

    \b
    Example:
      failwell incident inform 1 --authority "Bundesnetzagentur" --at 2026-11-24T09:30:00Z --words "Report 4711"
    """
    from failwell.core import orders as o

    if authority is None:
        raise InputError("which authority was informed?", hint='--authority "..."')
    moment = _moment(at)
    place = session.open_workspace(workspace)
    about = [f"you informed {authority} of incident {number}"]

    def details(digest: str | None) -> o.Details:
        return o.IncidentInform(incident=number, authority=authority, at=moment, complete=complete, words=digest)

    with session.take_hand(place, person, yes=yes, about=about) as hand:
        entry = hand.write("incident.inform", words, details)
        name = hand.person

    def show(screen: Screen) -> None:
        screen.lead(
            f"{authority} was informed of incident {number}, says {name} (entry {entry}).",
            f"What waited for that may pass.{'' if complete else ' Once the report is whole, say so with --complete.'}",
        )

    fields = {
        "incident": number, "authority": authority, "at": moment, "complete": complete, "person": name, "entry": entry,
    }  # fmt: skip
    return Answer(fields=fields, show=show)


def _moment(at: str | None) -> str:
    """The time as an order spells it."""
    if at is None:
        return format_at(time.time_ns() // 1000)
    text = at if "." in at else at.removesuffix("Z") + ".000000Z"
    try:
        return format_at(parse_at(text))
    except (ValueError, InputError) as error:
        raise InputError(f"{at} is not a time", hint="Write it in UTC: 2026-11-24T09:30:00Z") from error
