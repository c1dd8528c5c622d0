"""`incident report|note|find|task|done|hand-over`: what people write down about a case, and who is to do what."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from failwell.cli import options, session
from failwell.cli.incident import Number
from failwell.cli.screen import Answer, Screen, door
from failwell.core.errors import InputError
from failwell.core.instants import format_at

if TYPE_CHECKING:
    pass

Text = Annotated[str, typer.Argument(metavar="TEXT", help='What you have to say; "-" reads it from standard input.')]
Words = Annotated[str | None, typer.Argument(metavar="[TEXT]", help="What you have to say about it.")]
_KINDS = ("real", "external", "near-miss", "drill", "canary")
_SEVERITIES = ("minor", "major", "critical")


def register(app: typer.Typer) -> None:
    """Add the commands to `incident`."""
    app.command("report")(report)
    app.command("note")(note)
    app.command("find")(find)
    app.command("task")(task)
    app.command("done")(done)
    app.command("hand-over")(hand_over)


def said(text: str) -> str:
    """The text that was given, or that comes on standard input."""
    found = sys.stdin.read().strip() if text == "-" else text
    if not found.strip():
        raise InputError("there is nothing to write down: the text is empty")
    return found


def moment(text: str, option: str) -> str:
    """A moment as orders take it, from a date or a time; without an offset it is UTC."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise InputError(f"{option} {text}: this is no time", hint=f"{option} 2026-12-01T09:30:00Z") from error
    zoned = found.replace(tzinfo=UTC) if found.tzinfo is None else found
    return format_at(round(zoned.timestamp() * 1_000_000))


def one_of(value: str, allowed: tuple[str, ...], option: str) -> str:
    """`value`, if it is one of those there are."""
    if value not in allowed:
        raise InputError(f"{option}: {value!r} is none of {', '.join(allowed)}")
    return value


def _entries(text: str | None) -> tuple[int, ...]:
    try:
        return () if text is None else tuple(dict.fromkeys(int(part) for part in text.replace(" ", "").split(",")))
    except ValueError as error:
        raise InputError(f"--cites {text}: entries by number", hint="--cites 1198,1204") from error


@door("incident-report")
def report(
    title: Annotated[str, typer.Argument(metavar="TITLE", help="What happened, in a line. It stands in the record.")],
    agent: Annotated[str | None, typer.Option("--agent", metavar="AGENT", help="Whose doing; unknown without.")] = None,
    severity: Annotated[str, typer.Option("--severity", metavar="S", help="minor, major or critical.")] = "major",
    kind: Annotated[str, typer.Option("--kind", metavar="K", help=f"{', '.join(_KINDS)}.")] = "real",
    aware: Annotated[
        str | None, typer.Option("--aware", metavar="TIME", help="When it was learned of, where that was before now.")
    ] = None,
    entries: Annotated[
        str | None, typer.Option("--entries", metavar="FIRST[-LAST]", help="The entries that it is about.")
    ] = None,
    words: Annotated[
        str | None, typer.Option("--words", metavar="TEXT", help='What is known; kept apart. "-": standard input.')
    ] = None,
    workspace: options.Workspace = None, person: options.As = None, yes: options.Yes = False,
    as_json: options.AsJson = False,
) -> Answer:  # fmt: skip
    """Report a failure that the gate did not see: also one learned from outside, and of an agent nobody knows yet.

    It opens a case of its own. A critical report suspends the agent at once; below that nothing but your word stands
    behind it, and the agent is restricted at most. Do not put personal data into the title: --words is for that.

    \b
    Examples:
      failwell incident report "Customer got another one's refund" --agent refund-bot --severity critical
      failwell incident report "Bank called: 3 wrong payments" --kind external --aware 2026-11-30T09:00:00Z --words -
    """
    from failwell.core import orders as o

    first, last = _range(entries)
    moment_aware = None if aware is None else moment(aware, "--aware")
    one_of(severity, _SEVERITIES, "--severity")
    one_of(kind, _KINDS, "--kind")
    text = None if words is None else said(words)
    place = session.open_workspace(workspace)
    about = [f"you report: {title}", f"{severity}, {kind}; agent: {agent or 'nobody knows yet'}"]
    with session.take_hand(place, person, yes=yes, about=about) as hand:
        named = None if agent is None else hand.agent_id(agent)
        number = hand.write(
            "incident.report", text,
            lambda digest: o.IncidentReport(
                report=kind, agent=named, severity=severity, title=title, words=digest, aware=moment_aware,
                first=first, last=last,
            ),
        )  # fmt: skip
        name = hand.person
    with session.reach_node(place) as wire:
        told: dict[str, Any] = wire.call("ask", about="incident", key=number)

    def show(screen: Screen) -> None:
        screen.lead(
            f"Incident {number} is open: {title}", f"Take it: failwell incident acknowledge {number} --as {name}"
        )
        screen.say(" ".join(told["done"]))

    return Answer(fields={"incident": number, "person": name, "severity": severity, "kind": kind,
                          "authority": told.get("authority")}, show=show)  # fmt: skip


def _range(text: str | None) -> tuple[int | None, int | None]:
    if text is None:
        return None, None
    first, dash, last = text.partition("-")
    try:
        return int(first), int(last) if dash else int(first)
    except ValueError as error:
        raise InputError(f"--entries {text}: a first and a last entry", hint="--entries 1198-1204") from error


@door("incident-note")
def note(
    number: Number, text: Text,
    workspace: options.Workspace = None, person: options.As = None, yes: options.Yes = False,
    as_json: options.AsJson = False,
) -> Answer:  # fmt: skip
    """Write something down about an incident. The text is kept apart from the record, which holds its digest.

    \b
    Example:
      failwell incident note 1 "Called the template service: an outage since 11:58"
    """
    return _write(workspace, person, yes, number, "note", said(text), ())


@door("incident-find")
def find(
    number: Number, text: Text,
    cites: Annotated[str | None, typer.Option("--cites", metavar="ENTRY,...", help="What it rests on.")] = None,
    factor: Annotated[bool, typer.Option("--factor", help="It contributed to the failure.")] = False,
    workspace: options.Workspace = None, person: options.As = None, yes: options.Yes = False,
    as_json: options.AsJson = False,
) -> Answer:  # fmt: skip
    """Say what you found out, citing the entries that show it. With the first finding the investigation begins.

    A case is resolved only once somebody said what contributed (--factor): there is seldom one cause alone.

    \b
    Examples:
      failwell incident find 1 "The loop began after the template service answered 500" --cites 1198,1204
      failwell incident find 1 "No limit per customer" --cites 1204 --factor
    """
    return _write(workspace, person, yes, number, "factor" if factor else "finding", said(text), _entries(cites))


def _write(
    workspace: str | None, person: str | None, yes: bool, number: int, sort: str, text: str, cites: tuple[int, ...]
) -> Answer:  # fmt: skip
    from failwell.core import orders as o

    place = session.open_workspace(workspace)
    about = [f"a {sort} about incident {number}: {text[:200]}"]
    with session.take_hand(place, person, yes=yes, about=about) as hand:
        entry = hand.write(
            "incident.note",
            text,
            lambda digest: o.IncidentNote(incident=number, sort=sort, words=str(digest), cites=cites),
        )
        name = hand.person

    def show(screen: Screen) -> None:
        screen.lead(f"Written down as a {sort} of incident {number} (entry {entry}).",
                    f"All of it: failwell incident show {number}")  # fmt: skip

    fields = {"incident": number, "sort": sort, "cites": list(cites), "person": name, "entry": entry}
    return Answer(fields=fields, show=show)


@door("incident-task")
def task(
    number: Number, text: Text,
    to: Annotated[str | None, typer.Option("--to", metavar="PERSON", help="Who is to do it. Default: you.")] = None,
    due: Annotated[str | None, typer.Option("--due", metavar="TIME", help="Until when; UTC without an offset.")] = None,
    workspace: options.Workspace = None, person: options.As = None, yes: options.Yes = False,
    as_json: options.AsJson = False,
) -> Answer:  # fmt: skip
    """Give somebody a task. They are told by mail, and the incident is not closed while it is open.

    \b
    Example:
      failwell incident task 1 "Ask the bank to call back the three payments" --to rita --due 2026-12-01T12:00:00Z
    """
    from failwell.core import orders as o

    until, words = None if due is None else moment(due, "--due"), said(text)
    place = session.open_workspace(workspace)
    about = [f"a task of incident {number} for {to or 'yourself'}: {words[:200]}"]
    with session.take_hand(place, person, yes=yes, about=about) as hand:
        who = to or hand.person
        entry = hand.write(
            "incident.task", words,
            lambda digest: o.IncidentGiveTask(incident=number, person=who, due=until, words=str(digest)),
        )  # fmt: skip
    with session.reach_node(place) as wire:
        given = wire.call("ask", about="entry", key=entry)["body"]["task"]

    def show(screen: Screen) -> None:
        screen.lead(f"Task {given} of incident {number} is {who}'s (entry {entry}).",
                    f"Once it is done: failwell incident done {number} {given} --as {who}")  # fmt: skip

    return Answer(fields={"incident": number, "task": given, "person": who, "due": until, "entry": entry}, show=show)


@door("incident-done")
def done(
    number: Number,
    which: Annotated[int, typer.Argument(metavar="TASK", min=1, help="The task's number.")],
    words: Words = None,
    dropped: Annotated[bool, typer.Option("--dropped", help="It is not done, and will not be.")] = False,
    workspace: options.Workspace = None, person: options.As = None, yes: options.Yes = False,
    as_json: options.AsJson = False,
) -> Answer:  # fmt: skip
    """End a task: your own, or as who has the case or an operator.

    \b
    Example:
      failwell incident done 1 2 "The bank called back two of three" --as rita
    """
    from failwell.core import orders as o

    state = "dropped" if dropped else "done"
    text = None if words is None else said(words)
    if dropped and text is None:
        raise InputError(
            "a task is dropped for a reason", hint=f'failwell incident done {number} {which} "..." --dropped'
        )
    place = session.open_workspace(workspace)
    with session.take_hand(place, person, yes=yes, about=[f"task {which} of incident {number} is {state}"]) as hand:
        entry = hand.write(
            "incident.finish", text,
            lambda digest: o.IncidentEndTask(incident=number, task=which, state=state, words=digest),
        )  # fmt: skip

    def show(screen: Screen) -> None:
        screen.lead(f"Task {which} of incident {number} is {state} (entry {entry}).",
                    f"What else is open: failwell incident show {number}")  # fmt: skip

    return Answer(fields={"incident": number, "task": which, "state": state, "entry": entry}, show=show)


@door("incident-hand-over")
def hand_over(
    number: Number,
    to: Annotated[str, typer.Argument(metavar="PERSON", help="Who is asked to take it over.")],
    words: Words = None,
    workspace: options.Workspace = None, person: options.As = None, yes: options.Yes = False,
    as_json: options.AsJson = False,
) -> Answer:  # fmt: skip
    """Ask another person to take an incident over. It stays yours until they acknowledge it.

    \b
    Example:
      failwell incident hand-over 1 rita "My shift ends; the bank calls back at 9"
    """
    from failwell.core import orders as o

    text = None if words is None else said(words)
    place = session.open_workspace(workspace)
    with session.take_hand(place, person, yes=yes, about=[f"{to} is asked to take incident {number} over"]) as hand:
        entry = hand.write(
            "incident.hand", text, lambda digest: o.IncidentHand(incident=number, to=to, words=digest)
        )  # fmt: skip
        name = hand.person

    def show(screen: Screen) -> None:
        screen.lead(
            f"{to} is asked to take incident {number} over (entry {entry}); until then it stays where it is.",
            f"{to} takes it with: failwell incident acknowledge {number} --as {to}",
        )

    return Answer(fields={"incident": number, "to": to, "person": name, "entry": entry}, show=show)
