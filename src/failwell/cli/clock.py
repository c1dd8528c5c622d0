"""`clock`: duties to inform somebody about an incident, by when, and what was done about them."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from failwell.cli import options, session
from failwell.cli.screen import Answer, Screen, door, plural, span
from failwell.core.errors import InputError
from failwell.core.instants import format_at, parse_at

app = typer.Typer(help="Duties to inform: which there are, which run for an incident, what is due when.")

Number = Annotated[int, typer.Argument(metavar="N", min=1, help="The incident's number.")]
Clock = Annotated[str, typer.Argument(metavar="CLOCK", help="Which duty: failwell clock list.")]
Reason = Annotated[str | None, typer.Option("--reason", metavar="TEXT", help="Why, in the record.")]


@app.command("list")
@door("clock-list")
def list_clocks(as_json: options.AsJson = False) -> Answer:
    """List the duties that this release has data of, with their law and the day on which it was read.

    \b
    Example:
      failwell clock list
    """
    from failwell.response import legal_periods

    found = [each.told() for each in legal_periods.known().values()]

    def show(screen: Screen) -> None:
        screen.lead(f"{plural(len(found), 'duty', 'duties')} to inform. {legal_periods.COUNSEL}",
                    "One of them applies: failwell clock start INCIDENT CLOCK --aware TIME")  # fmt: skip
        screen.table(
            ("clock", "duty", "within", "law", "read on"),
            [(each["clock"], each["title"], ", ".join(f"{due['name']} {due['within']}" for due in each["deadlines"]),
              each["law"], each["read_on"]) for each in found],
        )  # fmt: skip

    return Answer(fields={"clocks": found, "counsel": legal_periods.COUNSEL}, show=show)


@app.command("show")
@door("clock-show")
def show_clock(
    which: Annotated[str, typer.Argument(metavar="N|CLOCK", help="An incident's number, or a duty.")],
    workspace: options.Workspace = None, as_json: options.AsJson = False,
) -> Answer:  # fmt: skip
    """Show the duties that run for an incident, or what one duty says.

    \b
    Examples:
      failwell clock show 1
      failwell clock show gdpr-33
    """
    if not which.isdigit():
        return _duty(which)
    place = session.open_workspace(workspace)
    with session.reach_node(place) as wire:
        rows: dict[str, Any] = wire.call("ask", about="clocks")
    now_us = time.time_ns() // 1000
    found = [_told(key, row, now_us) for key, row in sorted(rows.items()) if key.partition("/")[0] == which]

    def show(screen: Screen) -> None:
        _show(screen, which, found)

    return Answer(fields={"incident": int(which), "clocks": found}, show=show)


@app.command("start")
@door("clock-start")
def start(
    number: Number, clock: Clock,
    aware: Annotated[
        str | None, typer.Option("--aware", metavar="TIME", help="Since when it is known of (RFC 3339, UTC).")
    ] = None,
    workspace: options.Workspace = None, person: options.As = None, yes: options.Yes = False,
    as_json: options.AsJson = False,
) -> Answer:  # fmt: skip
    """Say that a duty to inform applies to an incident, and since when it is known of.

    Failwell informs nobody and knows no law: you say that it applies, the record counts and reminds.

    \b
    Example:
      failwell clock start 1 gdpr-33 --aware 2026-11-30T09:00:00Z --as anna
    """
    from failwell.core import orders as o
    from failwell.response import legal_periods

    found = legal_periods.named(clock)
    if aware is None:
        raise InputError(f"since when is it known of? {found.period.aware}", hint="--aware 2026-11-30T09:00:00Z")
    moment = _moment(aware)
    due = found.due(parse_at(moment))
    place = session.open_workspace(workspace)
    about = [
        f"{found.period.title} ({found.period.law}) applies to incident {number}", f"known of since {moment}",
        *(f"{each.deadline} is due {_at(each.due_us)}" for each in due), legal_periods.COUNSEL,
    ]  # fmt: skip
    with session.take_hand(place, person, yes=yes, about=about) as hand:
        shown = found.shown(parse_at(moment))
        details = o.ClockStart(incident=number, clock=clock, data=found.digest, aware=moment, deadlines=shown)
        entry = hand.give("clock.start", details)
        name = hand.person

    def show(screen: Screen) -> None:
        first = min(due, key=lambda each: each.due_us)
        screen.lead(
            f"{found.period.title} runs for incident {number}, says {name} (entry {entry}): "
            f"{first.deadline} is due {_at(first.due_us)}.",
            f"Once they are informed: failwell clock met {number} {clock} --deadline {first.deadline} --told NAME",
        )
        screen.say(f"{found.period.note} {legal_periods.COUNSEL}")

    fields = {
        "incident": number, "clock": clock, "aware": moment, "person": name, "entry": entry, "data": found.digest,
        "deadlines": [{"deadline": each.deadline, "due": format_at(each.due_us)} for each in due],
    }  # fmt: skip
    return Answer(fields=fields, show=show)


@app.command("met")
@door("clock-met")
def met(
    number: Number, clock: Clock,
    deadline: Annotated[str | None, typer.Option("--deadline", metavar="NAME", help="Which of its deadlines.")] = None,
    told: Annotated[str | None, typer.Option("--told", metavar="NAME", help="Who was informed.")] = None,
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
    """Say that whom a deadline is about was informed: who told whom when stands in the record.

    \b
    Example:
      failwell clock met 1 gdpr-33 --deadline authority --told "BfDI" --at 2026-12-01T10:00:00Z --words "Report 4711"
    """
    from failwell.core import orders as o

    if deadline is None or told is None:
        raise InputError("which deadline, and who was informed?", hint="--deadline NAME --told NAME")
    moment = format_at(time.time_ns() // 1000) if at is None else _moment(at)
    place = session.open_workspace(workspace)
    about = [f"you informed {told}, for {deadline} of {clock}, incident {number}"]

    def details(digest: str | None) -> o.Details:
        return o.ClockMeet(
            incident=number, clock=clock, deadline=deadline, told=told, at=moment, complete=complete, words=digest
        )

    with session.take_hand(place, person, yes=yes, about=about) as hand:
        entry = hand.write("clock.meet", words, details)
        name = hand.person

    def show(screen: Screen) -> None:
        follows = "" if complete else " More follows: say so with another deadline, or incident note."
        screen.lead(f"{told} was informed for {deadline} of {clock}, says {name} (entry {entry}).{follows}",
                    f"What else is due: failwell clock show {number}")  # fmt: skip

    fields = {
        "incident": number, "clock": clock, "deadline": deadline, "told": told, "at": moment, "complete": complete,
        "person": name, "entry": entry,
    }  # fmt: skip
    return Answer(fields=fields, show=show)


@app.command("end")
@door("clock-end")
def end(
    number: Number, clock: Clock, reason: Reason = None, workspace: options.Workspace = None,
    person: options.As = None, yes: options.Yes = False, as_json: options.AsJson = False,
) -> Answer:  # fmt: skip
    """Say that a duty does not apply after all: as an approver, and not the one who started it.

    \b
    Example:
      failwell clock end 1 gdpr-33 --reason "No personal data was touched" --as piet
    """
    from failwell.core import orders as o

    if reason is None:
        raise InputError("why does it not apply?", hint='--reason "..."')
    place = session.open_workspace(workspace)
    about = [f"{clock} does not apply to incident {number}: {reason}"]
    with session.take_hand(place, person, yes=yes, about=about) as hand:
        entry = hand.give("clock.end", o.ClockEnd(incident=number, clock=clock, reason=reason))
        name = hand.person

    def show(screen: Screen) -> None:
        screen.lead(f"{clock} does not apply to incident {number}, says {name} (entry {entry}).",
                    f"What else runs: failwell clock show {number}")  # fmt: skip

    fields = {"incident": number, "clock": clock, "reason": reason, "person": name, "entry": entry}
    return Answer(fields=fields, show=show)


def _duty(name: str) -> Answer:
    from failwell.response import legal_periods

    found = legal_periods.named(name).told()

    def show(screen: Screen) -> None:
        screen.lead(f"{found['title']}: {found['law']}.", found["counsel"])
        rows = [("applies", found["applies"]), ("counts from", found["aware"]), ("note", found["note"]),
                ("read on", found["read_on"]), ("data", found["data"])]  # fmt: skip
        screen.table(("", ""), rows)
        screen.say()
        screen.table(
            ("deadline", "within", "to", "may be incomplete"),
            [(each["name"], each["within"], each["to"], "yes" if each["incomplete"] else "no")
             for each in found["deadlines"]],
        )  # fmt: skip

    return Answer(fields=found, show=show)


def _told(key: str, row: dict[str, Any], now_us: int) -> dict[str, Any]:
    met = dict(row["met"])
    return {
        "clock": key.partition("/")[2], "title": row["title"], "source": row["source"], "state": row["state"],
        "aware": format_at(row["aware_us"]), "entry": row["entry"], "person": row["person"],
        "deadlines": [
            {"deadline": each["deadline"], "due": format_at(each["due_us"]), "incomplete": each["incomplete"],
             "left_ms": (each["due_us"] - now_us) // 1000, "met": met.get(each["deadline"]),
             "missed": each["deadline"] in row["missed"]}
            for each in row["deadlines"]
        ],
    }  # fmt: skip


def _show(screen: Screen, number: str, found: list[dict[str, Any]]) -> None:
    running = [each for each in found if each["state"] == "running"]
    waiting = [(due["due"], each["clock"], due) for each in running for due in each["deadlines"] if due["met"] is None]
    if not waiting:
        told = f"{plural(len(found), 'duty', 'duties')} on record" if found else "No duty to inform is on record"
        screen.lead(f"{told} for incident {number}; nothing is due.", "What there is: failwell clock list")
    else:
        _, clock, due = min(waiting, key=lambda each: each[0])
        over = due["left_ms"] < 0
        left = f"{span(abs(due['left_ms']) * 1000)} {'ago' if over else 'left'}"
        screen.lead(
            f"{due['deadline']} of {clock} {'WAS' if over else 'is'} due {_minute(due['due'])} UTC, {left}.",
            f"Once they are informed: failwell clock met {number} {clock} --deadline {due['deadline']} --told NAME",
            bad=over,
        )
    rows = [
        (each["clock"], due["deadline"], _minute(due["due"]), _stands(each, due), each["person"])
        for each in found
        for due in each["deadlines"]
    ]
    if rows:
        screen.table(("clock", "deadline", "due (UTC)", "", "started by"), rows)


def _stands(clock: dict[str, Any], due: dict[str, Any]) -> str:
    if due["met"] is not None:
        return f"met, entry {due['met']}" + (", late" if due["missed"] else "")
    if clock["state"] != "running":
        return "does not apply"
    return "MISSED" if due["missed"] else "open"


def _moment(at: str) -> str:
    """The time as an order spells it."""
    text = at if "." in at else at.removesuffix("Z") + ".000000Z"
    try:
        return format_at(parse_at(text))
    except (ValueError, InputError) as error:
        raise InputError(f"{at} is not a time", hint="Write it in UTC: 2026-11-30T09:00:00Z") from error


def _at(due_us: int) -> str:
    return f"{_minute(format_at(due_us))} UTC"


def _minute(at: str) -> str:
    return at[:16].replace("T", " ")
