"""`hold`: lock the record, see what is locked and preserved with it, take it out, and let go of it by two persons."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from failwell.cli import options, session
from failwell.cli.screen import Answer, Screen, clock, door, plural
from failwell.core.errors import InputError, Refused

app = typer.Typer(help="Lock the record; what was preserved with it; lift it by two persons.")

Number = Annotated[int, typer.Argument(metavar="N", min=1, help="The hold's number.")]


# ---- look ----------------------------------------------------------------------------------------------------


@app.command("list")
@door("hold-list")
def list_holds(
    every: Annotated[bool, typer.Option("--all", help="Also those that were lifted.")] = False,
    workspace: options.Workspace = None, as_json: options.AsJson = False,
) -> Answer:  # fmt: skip
    """List what is locked, why, and which copies are still owed.

    \b
    Examples:
      failwell hold list
      failwell hold list --all --json
    """
    place = session.open_workspace(workspace)
    with session.reach_node(place) as wire:
        rows: dict[str, dict[str, Any]] = wire.call("ask", about="holds")
    found = [{"hold": int(number), **row} for number, row in rows.items()]
    found = sorted(
        (row for row in found if every or row["lifted"] is None), key=lambda row: int(row["hold"]), reverse=True
    )
    standing = [row for row in found if row["lifted"] is None]

    def show(screen: Screen) -> None:
        if not found:
            screen.lead("Nothing is held.", 'To lock an agent\'s record: failwell hold place AGENT --reason "..."')
            return
        asked = f"What one locks and preserved: failwell hold show {found[0]['hold']}"
        screen.lead(f"{plural(len(standing), 'hold')} {'stands' if len(standing) == 1 else 'stand'}.", asked)
        screen.table(
            ("hold", "agent", "incident", "from entry", "why", "copies", "state"),
            [
                (
                    row["hold"], _whose(row["agent"]), row["incident"], row["first"], row["why"],
                    f"{len(row['preserved'])} of {len(row['directories'])}" if row["directories"] else None,
                    _state(row),
                )
                for row in found
            ],
            right=("hold", "incident", "from entry"),
        )  # fmt: skip

    return Answer(fields={"holds": found}, show=show)


def _whose(agent: str) -> str:
    return agent.rpartition("/")[2] if agent else "everything"


def _state(row: dict[str, Any]) -> str:
    if row["lifted"] is not None:
        return f"lifted, entry {row['lifted']}"
    return "stands" if row["proposal"] is None else f"stands; {row['proposed_by']} proposed to lift it"


@app.command("show")
@door("hold-show")
def show_hold(number: Number, workspace: options.Workspace = None, as_json: options.AsJson = False) -> Answer:
    """Tell what a hold locks, how its agent stood then, who was asked to keep what, and whether each copy is intact.

    Exit code 1 where a copy is missing or was changed.

    \b
    Example:
      failwell hold show 1
    """
    place = session.open_workspace(workspace)
    with session.reach_node(place) as wire:
        told: dict[str, Any] = wire.call("ask", about="hold", key=number, timeout_s=120)
    owed = told["owed"]
    wrong = [each for each in told["copies"] if each["wrong"] is not None]

    def show(screen: Screen) -> None:
        done = f"The record of {_whose(told['agent'])} is locked from entry {told['first']} on: {told['why']}."
        if told["lifted"] is not None:
            done = f"Hold {number} on {_whose(told['agent'])} was lifted (entry {told['lifted']})."
        if wrong:
            done = f"{plural(len(wrong), 'COPY', 'COPIES')} OF HOLD {number} MISSING OR CHANGED. {done}"
        screen.lead(f"{done}{_copies(told, owed)}", _asked(number, told, owed, wrong), bad=bool(wrong))
        _show_described(screen, told)
        for each in told["asked"]:
            tools = ", ".join(each["tools"])
            screen.say(f"{each['person']} was asked to keep the records of {tools} [entry {each['entry']}].")
        _show_copies(screen, told["copies"], owed)
        if owed and told["failed"]:
            screen.say(f"The newest try to copy failed and is repeated: {told['failed']}", "red")

    return Answer(fields=told, show=show, finding=bool(wrong))


def _copies(told: dict[str, Any], owed: list[str]) -> str:
    if owed:
        return f" {plural(len(owed), 'directory', 'directories')} still to be copied."
    return f" {plural(len(told['copies']), 'directory', 'directories')} of it copied." if told["copies"] else ""


def _asked(number: int, told: dict[str, Any], owed: list[str], wrong: list[Any]) -> str:
    if wrong:
        return "Who had access to the workspace? failwell ledger verify says what else was altered."
    if told["lifted"] is not None:
        return "Nothing is asked."
    if told["proposal"] is not None:
        return f"{told['proposed_by']} proposed to lift it; another person agrees: failwell hold lift {number} --agree"
    if owed:
        return f"Nothing is asked. Look again: failwell hold show {number}"
    if not told["copies"]:
        return "Nothing is asked. No directory is copied with it; [preserve.NAME] in failwell.toml declares some."
    return f"Nothing is asked. What was copied: failwell hold export {number} DIR"


def _show_described(screen: Screen, told: dict[str, Any]) -> None:
    placed, described = told["placed"], told["described"]
    if placed is not None:
        by = "a rule" if placed["by"] == "response" else placed["by"].removeprefix("person:")
        screen.say(f"Placed by {by} at {clock(placed['at'])} [entry {placed['entry']}].")
    if described is not None:
        stood = f"it was {described['authority']}" if described["authority"] else "of all agents"
        contract = f", contract {described['contract'][:16]}" if described["contract"] else ""
        screen.say(
            f"Then {stood}{contract}, settings {described['configuration'][:16]}; {len(described['running'])} actions "
            f"running, {plural(len(described['runs']), 'run')} and {plural(len(described['tickets']), 'ticket')} open"
            f"{' and ' + str(described['more']) + ' more' if described['more'] else ''} [entry {described['entry']}]."
        )


def _show_copies(screen: Screen, copies: list[dict[str, Any]], owed: list[str]) -> None:
    rows: list[tuple[object, ...]] = [
        (
            each["name"], each["files"], f"{each['bytes']:,}",
            "NONE" if each["digest"] is None else f"{each['wrong'].upper()}" if each["wrong"] else "intact",
            each["missing"], each["entry"],
        )
        for each in copies
    ]  # fmt: skip
    rows += [(name, None, None, "not yet", None, None) for name in owed]
    if rows:
        columns = ("directory", "files", "bytes", "copy", "not taken", "entry")
        screen.table(columns, rows, right=("files", "bytes", "entry"))


# ---- orders --------------------------------------------------------------------------------------------------


@app.command("place")
@door("hold-place")
def place_hold(
    agent: Annotated[str | None, typer.Argument(metavar="[AGENT]", help="Whose record; without it, --all.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="The whole record.")] = False,
    incident: Annotated[int | None, typer.Option(metavar="N", min=1, help="The incident that it is for.")] = None,
    reason: Annotated[str | None, typer.Option(metavar="TEXT", help="Why, for the record.")] = None,
    workspace: options.Workspace = None, person: options.As = None, yes: options.Yes = False,
    as_json: options.AsJson = False,
) -> Answer:  # fmt: skip
    """Lock the record of an agent, or all of it. Any enrolled person may, and it takes effect at once.

    While it stands nothing that it locks is erased or expires. Where the agent works, as the settings declare it, is
    copied; who keeps its tools' own records is asked to keep them. Two persons lift it.

    \b
    Examples:
      failwell hold place refund-bot --reason "A customer's lawyer wrote"
      failwell hold place --all --reason "The auditor comes on Monday" --as bert
    """
    from failwell.core import orders as o

    if (agent is None) == (not everything):
        raise InputError("say whose record: an agent, or --all", hint="failwell hold place --help")
    if reason is None:
        raise InputError("a hold has a reason, for the record", hint='--reason "..."')
    place = session.open_workspace(workspace)
    with session.reach_node(place) as wire:
        full = None if agent is None else _full(wire.call("ask", about="agents"), agent)
    about = [f"you lock the record of {agent or 'everything'}"]
    with session.take_hand(place, person, yes=yes, about=about) as hand:
        entry = hand.give("hold.place", o.HoldPlace(agent=full, incident=incident, reason=reason))
    with session.reach_node(place) as wire:
        number = max(int(each) for each in wire.call("ask", about="holds"))

    def show(screen: Screen) -> None:
        screen.lead(
            f"The record of {agent or 'everything'} is locked: hold {number} (entry {entry}).",
            f"What is preserved with it: failwell hold show {number}",
        )

    return Answer(fields={"hold": number, "agent": full, "incident": incident, "entry": entry}, show=show)


def _full(agents: dict[str, dict[str, Any]], named: str) -> str:
    """The full id of an agent; what is unknown is left for the node to refuse, in its words."""
    return next((full for full, row in agents.items() if named in (full, row["name"])), named)


@app.command("lift")
@door("hold-lift")
def lift_hold(
    number: Number,
    reason: Annotated[str | None, typer.Option(metavar="TEXT", help="Propose to lift it, for this reason.")] = None,
    agree: Annotated[bool, typer.Option("--agree", help="As a second person: agree to what is proposed.")] = False,
    workspace: options.Workspace = None, person: options.As = None, yes: options.Yes = False,
    as_json: options.AsJson = False,
) -> Answer:  # fmt: skip
    """Let go of a hold: one person proposes it with a reason, another one (an approver) agrees.

    A hold for an incident is lifted once that is over, and none while an authority has to hear of a serious one first.

    \b
    Examples:
      failwell hold lift 2 --reason "The lawsuit is over" --as anna
      failwell hold lift 2 --agree --as bert
    """
    from failwell.core import orders as o

    if (reason is None) == (not agree):
        raise InputError("propose it with --reason, or agree with --agree", hint="failwell hold lift --help")
    place = session.open_workspace(workspace)
    with session.take_hand(place, person, yes=yes, about=[f"hold {number} is lifted"]) as hand:
        if reason is not None:
            entry = hand.give("hold.propose", o.HoldPropose(hold=number, reason=reason))
        else:
            entry = hand.give("hold.lift", o.HoldLift(hold=number, proposal=_proposed(place, number)))
        name = hand.person

    def show(screen: Screen) -> None:
        if agree:
            screen.lead(f"Hold {number} is lifted by {name} (entry {entry}).", "Nothing more is asked.")
        else:
            screen.lead(
                f"{name} proposes to lift hold {number} (entry {entry}). It stands until another person agrees.",
                f"Another person: failwell hold lift {number} --agree --as PERSON",
            )

    return Answer(fields={"hold": number, "lifted": agree, "person": name, "entry": entry}, show=show)


def _proposed(place: Any, number: int) -> str:
    with session.reach_node(place) as wire:
        row = wire.call("ask", about="holds").get(str(number))
    if row is None or row["proposal"] is None:
        raise Refused(
            f"lifting hold {number} is not proposed", hint=f'failwell hold lift {number} --reason "..." --as PERSON'
        )
    return str(row["proposal"])


@app.command("export")
@door("hold-export")
def export_hold(
    number: Number,
    into: Annotated[Path, typer.Argument(metavar="DIR", help="A new directory for it.")],
    workspace: options.Workspace = None, as_json: options.AsJson = False,
) -> Answer:  # fmt: skip
    """Take out what a hold preserved: each directory as a tar archive, in the clear, shown to be what the record names.

    It may be personal and secret: the files are readable by you alone, and yours to protect.

    \b
    Example:
      failwell hold export 1 ./evidence-1
    """
    from failwell.node import hold_export

    place = session.open_workspace(workspace)
    found = hold_export.export_hold(place, number, into)
    taken = [each for each in found if each.archive is not None]

    def show(screen: Screen) -> None:
        screen.lead(
            f"{plural(len(taken), 'directory', 'directories')} of hold {number} taken out into {into}.",
            "It is in the clear now: keep it as you keep the record itself."
            if taken
            else f"Why nothing is there: failwell hold show {number}",
        )
        rows = [
            (each.directory, None if each.archive is None else each.archive.name, each.files, each.missing, each.entry)
            for each in found
        ]
        if rows:
            screen.table(("directory", "archive", "files", "not taken", "entry"), rows, right=("files", "entry"))

    fields = [{**each._asdict(), "archive": None if each.archive is None else str(each.archive)} for each in found]
    return Answer(fields={"hold": number, "into": str(into), "directories": fields}, show=show)
