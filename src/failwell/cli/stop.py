"""`stop`: everything, a group, a tool or a contract, by one order; what is stopped; lifting it by two persons."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from failwell.cli import containment, options, session, stopping
from failwell.cli.lookup import entries_of
from failwell.cli.screen import Answer, Screen, door, plural, tell
from failwell.core.errors import FailwellError, InputError, NotFound

if TYPE_CHECKING:
    from failwell.client.powers import Suspended
    from failwell.node.workspace import Workspace

app = typer.Typer(invoke_without_command=True)
app.command("report")(containment.report)

ScopeName = Annotated[
    str, typer.Argument(metavar="SCOPE", help="all, group:NAME, tool:NAME or contract:NAME, as `stop list` shows it.")
]


# ---- stop ----------------------------------------------------------------------------------------------------


@app.callback()
@door("stop")
def stop(
    context: typer.Context,
    everything: Annotated[bool, typer.Option("--all", help="Everything that goes through this workspace.")] = False,
    group: Annotated[str | None, typer.Option("--group", metavar="NAME", help="All agents of this group.")] = None,
    tool: Annotated[str | None, typer.Option("--tool", metavar="NAME", help="This tool, whoever calls it.")] = None,
    contract: Annotated[
        str | None, typer.Option("--contract", metavar="NAME", help="All agents under the contract of this name.")
    ] = None,
    reason: Annotated[str | None, typer.Option(metavar="TEXT", help="Why, for the record.")] = None,
    workspace: options.Workspace = None, person: options.As = None, as_json: options.AsJson = False,
) -> Answer | None:  # fmt: skip
    """Stop everything, a group, a tool or a contract; lift it by two persons.

    One order is enough, whatever state the node is in.

    What runs there is killed, nothing of it starts any more, whoever asks; no agent is suspended by that. Any enrolled
    person may; it asks nothing. What nothing has the name of yet is stopped too. Two other persons lift it.

    If the node does not answer within a second, the signed order is left in the workspace, the tools' supervisors
    are told to stop without it, and the answer says ORDERED, NOT CONFIRMED.

    \b
    Examples:
      failwell stop --all --reason "Customers report refunds that nobody asked for"
      failwell stop --tool payments.refund --reason "The bank's API answers wrongly" --as bert
      failwell stop list
    """
    if context.invoked_subcommand is not None:
        if everything or any((group, tool, contract, reason)):
            raise InputError(
                f"say what to stop, or {context.invoked_subcommand}, not both", hint="failwell stop --help"
            )
        return None
    scope = _scope(everything, group, tool, contract)
    if reason is None:
        raise InputError("a stop has a reason, for the record", hint='--reason "..."')
    place = session.open_workspace(workspace)
    signer = session.unlock(session.pick_person(person))
    return _stop(place, signer, scope, reason)


def _scope(everything: bool, group: str | None, tool: str | None, contract: str | None) -> str:
    named = {"group": group, "tool": tool, "contract": contract}
    given = [f"{kind}:{name}" for kind, name in named.items() if name is not None]
    if everything:
        given.append("all")
    if len(given) != 1:
        raise InputError(
            "say what to stop: one of --all, --group NAME, --tool NAME and --contract NAME",
            hint="failwell stop list shows what is stopped; one agent: failwell agent suspend NAME",
        )
    return given[0]


def _stop(place: Workspace, signer: Any, scope: str, reason: str) -> Answer:
    """Order the stop first, then look what came of it."""
    from failwell.client import powers
    from failwell.core.stops import words

    before = stopping.waiting(place)
    done = powers.stop(place, signer, scope, reason)
    if done.confirmed:
        return _confirmed(place, scope, done)
    reports = stopping.await_reports(place, done.sent)
    left = sorted(stopping.waiting(place) - before)
    if stopping.carried_out_by_a_new_node(place, left):
        return _confirmed(place, scope, done)
    waits = bool(stopping.waiting(place) - before)
    answer = stopping.ordered(words(scope), done, reports, waiting=waits, look="stop list")
    kept = {name: answer.fields[name] for name in ("confirmed", "entry", "why", "order_waits", "told")}
    fields = {"scope": scope, **kept, "agents": None, "containment": None}
    return Answer(fields=fields, show=answer.show, finding=True)


def _confirmed(place: Workspace, scope: str, done: Suspended) -> Answer:
    row, report = _look(place, scope)
    stopped = [] if report is None else report["stopped"]
    unproven = 0 if report is None else report["unconfirmed"] + report["waiting"]
    entry = done.entry if done.entry is not None or row is None else row["ordered"]

    def show(screen: Screen) -> None:
        from failwell.core.stops import words

        ran = "nothing was running" if not stopped else f"{plural(len(stopped), 'running tool')} stopped"
        if report is None:
            ran = "how what ran ended is not known yet"
        elif unproven:
            ran = f"{unproven} of {plural(len(stopped), 'running tool')} NOT CONFIRMED as stopped"
        asked = "Nothing more is asked."
        if report is not None and unproven:
            asked = f"Look: failwell stop report {report['order']}"
        where = "" if entry is None else f" (entry {entry})"
        named = words(scope)
        screen.lead(
            f"{named[0].upper()}{named[1:]} is stopped{where}: nothing of it starts any more, {ran}.",
            asked,
            bad=bool(unproven) or report is None,
        )  # fmt: skip
        if row is not None:
            screen.say(_within(row))
        if report is not None and stopped:
            containment.show_containment(screen, report)
        screen.say("Two other persons lift it:")
        screen.command(f'failwell stop propose {scope} --conditions "..." --evidence ENTRY --as PERSON')

    fields = {
        "scope": scope, "confirmed": True, "entry": entry, "why": None, "order_waits": False, "told": [],
        "agents": None if row is None else [each["agent"] for each in row["agents"]], "containment": report,
    }  # fmt: skip
    return Answer(fields=fields, show=show, finding=bool(unproven) or report is None)


def _look(place: Workspace, scope: str) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """The stop and the report of what it interrupted, once all of it has its end, or time is up."""
    until = time.monotonic() + stopping.LOOK_S
    row = report = None
    try:
        with session.reach_node(place) as wire:
            while True:
                row = wire.call("ask", about="stop", key=scope, timeout_s=stopping.LOOK_S)
                report = wire.call("ask", about="containment", key=row["interrupted"], timeout_s=stopping.LOOK_S)
                measured = report["bound_ms"] is not None and not report["waiting"]
                if (measured and not report["unconfirmed"]) or time.monotonic() > until:
                    break
                time.sleep(stopping.EVERY_S)
    except FailwellError as error:  # the stop stands; only the look at it failed
        tell(f"what was stopped cannot be told now: {error.message}")
    return row, report


def _within(row: dict[str, Any]) -> str:
    if row["scope"].startswith("tool:"):
        return f"Contracts that list this tool: {_named(row['agents']) or 'none now. It is stopped all the same'}."
    if not row["agents"]:
        return "Nothing is in it now. Whatever comes into it is stopped too."
    return f"In it now: {_named(row['agents'])}."


def _named(agents: list[dict[str, Any]], most: int = 20) -> str:
    named = ", ".join(each["name"] for each in agents[:most])
    return named if len(agents) <= most else f"{named} and {len(agents) - most} more"


# ---- look ----------------------------------------------------------------------------------------------------


@app.command("list")
@door("stop-list")
def list_stops(
    every: Annotated[bool, typer.Option("--all", help="Also those that were lifted.")] = False,
    workspace: options.Workspace = None, as_json: options.AsJson = False,
) -> Answer:  # fmt: skip
    """List what is stopped, by whom, and what of it is not shown to have stopped.

    \b
    Example:
      failwell stop list
    """
    place = session.open_workspace(workspace)
    with session.reach_node(place) as wire:
        found: list[dict[str, Any]] = wire.call("ask", about="stops", key=None if every else "closed")
    closed = [each["scope"] for each in found if each["closed"]]

    def show(screen: Screen) -> None:
        if not closed:
            screen.lead("Nothing is stopped but single agents, if any.", "Those: failwell agent list")
        else:
            asked = f"Look, and who lifts it: failwell stop show {closed[0]}"
            screen.lead(f"{plural(len(closed), 'scope')} stopped: {', '.join(closed)}.", asked, bad=True)
        if not found:
            return
        screen.table(
            ("scope", "state", "by", "why", "agents", "open", "not confirmed", "entry"),
            [
                (
                    each["scope"], _state(each), _by(each), each["why"],
                    len(each["agents"]), len(each["waiting"]), len(each["failed"]), each["ordered"],
                )
                for each in found
            ],
            right=("agents", "open", "not confirmed", "entry"),
        )  # fmt: skip

    return Answer(fields={"stops": found, "closed": closed}, show=show)


@app.command("show")
@door("stop-show")
def show_stop(scope: ScopeName, workspace: options.Workspace = None, as_json: options.AsJson = False) -> Answer:
    """Show one stop: who ordered it, what is within it, how what ran there ended, what is asked to lift it.

    \b
    Example:
      failwell stop show tool:payments.refund
    """
    place = session.open_workspace(workspace)
    with session.reach_node(place) as wire:
        row: dict[str, Any] = wire.call("ask", about="stop", key=scope)
        report: dict[str, Any] = wire.call("ask", about="containment", key=row["interrupted"])

    def show(screen: Screen) -> None:
        from failwell.core.stops import words

        named = words(scope)
        stands, since = ("is", "") if row["closed"] else ("was", " It is lifted.")
        screen.lead(
            f"{named[0].upper()}{named[1:]} {stands} stopped by {_by(row)} (entry {row['ordered']}): {row['why']}."
            f"{since}",
            _asked(row), bad=row["closed"],
        )  # fmt: skip
        screen.say(_within(row))
        if row["conditions"]:
            cited = ", ".join(str(seq) for seq in row["evidence"])
            screen.say(f"Proposed by {row['proposed_by']}: {row['conditions']} (evidence: entry {cited})")
        if report["stopped"] or report["bound_ms"] is not None:
            containment.show_containment(screen, report)

    return Answer(fields={**row, "containment": report}, show=show)


def _asked(row: dict[str, Any]) -> str:
    scope = row["scope"]
    if not row["closed"]:
        return "Nothing is asked."
    if row["waiting"]:
        return f"It waits for the end of {plural(len(row['waiting']), 'action')}; then two other persons lift it."
    if row["proposal"] is not None:
        return f"Lifting it is proposed; another person agrees: failwell stop lift {scope}"
    return f'Two other persons lift it: failwell stop propose {scope} --conditions "..." --evidence ENTRY'


def _state(row: dict[str, Any]) -> str:
    if not row["closed"]:
        return "lifted"
    return "STOPPED" if row["proposal"] is None else "STOPPED, lift proposed"


def _by(row: dict[str, Any]) -> str:
    from failwell.core.stops import ordered_by

    return ordered_by(row["stopped_by"])


def told(status: dict[str, Any]) -> tuple[str, str, str | None]:
    """What `doctor` says of stops in force, from the node's status: state, what was found, what to do."""
    if not status["stopped"]:
        return "ok", "nothing but single agents is stopped, if any", None
    return "known", f"STOPPED: {', '.join(status['stopped'])}: nothing within starts", "failwell stop list"


# ---- lift ----------------------------------------------------------------------------------------------------


@app.command("propose")
@door("stop-propose")
def propose(
    scope: ScopeName,
    conditions: Annotated[str, typer.Option(metavar="TEXT", help="Under which conditions, for who agrees.")],
    evidence: Annotated[str, typer.Option(metavar="ENTRIES", help="The entries it rests on, such as 1198,1204.")],
    workspace: options.Workspace = None, person: options.As = None, yes: options.Yes = False,
    as_json: options.AsJson = False,
) -> Answer:  # fmt: skip
    """Propose to lift a stop; another person agrees. Neither is one who ordered it.

    \b
    Example:
      failwell stop propose all --conditions "The bank confirmed" --evidence 1204,1334 --as anna
    """
    cited = entries_of(evidence)
    place = session.open_workspace(workspace)
    with session.take_hand(place, person, yes=yes, about=[f"what is within {scope} is to start again"]) as hand:
        entry = hand.propose_lift(scope, conditions, cited)

    def show(screen: Screen) -> None:
        screen.lead(
            f"Lifting the stop of {scope} is proposed (entry {entry}). It is still stopped.",
            "Another person lifts it, who neither proposed it nor ordered the stop:",
        )
        screen.command(f"failwell stop lift {scope} --as PERSON")

    return Answer(fields={"scope": scope, "entry": entry, "evidence": list(cited)}, show=show)


@app.command("lift")
@door("stop-lift")
def lift(
    scope: ScopeName, workspace: options.Workspace = None, person: options.As = None, yes: options.Yes = False,
    as_json: options.AsJson = False,
) -> Answer:  # fmt: skip
    """Lift a stop as it stands proposed.

    That takes an approver who neither proposed it nor ordered the stop.

    \b
    Example:
      failwell stop lift all --as cleo
    """
    place = session.open_workspace(workspace)
    about = [f"what is within {scope} starts again"]
    with session.reach_node(place) as wire:
        row = wire.call("ask", about="stop", key=scope)
    if not row["closed"]:
        raise NotFound(f"{scope} is not stopped", hint="failwell stop list")
    if row["conditions"]:
        about.append(f"on conditions of {row['proposed_by']}: {row['conditions']}")
    with session.take_hand(place, person, yes=yes, about=about) as hand:
        entry = hand.approve_lift(scope)

    def show(screen: Screen) -> None:
        screen.lead(
            f"The stop of {scope} is lifted (entry {entry}): what is within it starts again.",
            "What was allowed before the stop stays void, and whoever is suspended stays so: failwell agent list",
        )

    return Answer(fields={"scope": scope, "entry": entry, "epoch": row["epoch"]}, show=show)
