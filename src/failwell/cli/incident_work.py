"""`incident work`: the runs that a stop left unfinished, where each stands, and who takes them."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from failwell.cli import options, session
from failwell.cli.incident import Number
from failwell.cli.screen import Answer, Screen, clock, door, plural
from failwell.core.errors import InputError

_DONE = {"taken": "is yours", "finished": "is finished", "dropped": "is dropped"}


def register(app: typer.Typer) -> None:
    """Add the command to `incident`."""
    app.command("work")(work)


@door("incident-work")
def work(
    number: Number,
    take: Annotated[int | None, typer.Option("--take", metavar="RUN", min=0, help="You take this run over.")] = None,
    finish: Annotated[int | None, typer.Option("--finish", metavar="RUN", min=0, help="This run is done.")] = None,
    drop: Annotated[
        int | None, typer.Option("--drop", metavar="RUN", min=0, help="Nobody goes on with this run; say why.")
    ] = None,
    words: Annotated[str | None, typer.Option("--words", metavar="TEXT", help="What you did, or why not.")] = None,
    workspace: options.Workspace = None, person: options.As = None, yes: options.Yes = False,
    as_json: options.AsJson = False,
) -> Answer:  # fmt: skip
    """List the runs that a stopped agent left, and take them over.

    For each: on whose behalf and for what it was opened, what was done in it last, what of it waits for an answer. A
    run that a person takes, finishes or drops is not the agent's to go on with, also once the agent is released.

    \b
    Examples:
      failwell incident work 3
      failwell incident work 3 --take 1204 --as rita
      failwell incident work 3 --finish 1204 --words "Called the customer, refunded by hand"
    """
    given = {"taken": take, "finished": finish, "dropped": drop}
    chosen = [(state, run) for state, run in given.items() if run is not None]
    if len(chosen) > 1:
        raise InputError("one of --take, --finish and --drop", hint="failwell incident work --help")
    if drop is not None and words is None:
        raise InputError("work is dropped for a reason", hint='--words "..."')
    place = session.open_workspace(workspace)
    if chosen:
        state, run = chosen[0]
        return _end(place, person, yes, number, run, state, words)
    if words is not None:
        raise InputError("words about which run?", hint="--take RUN, --finish RUN or --drop RUN")
    with session.reach_node(place) as wire:
        told: dict[str, Any] = wire.call("ask", about="work", key=number)
    return Answer(fields={"incident": number, **told}, show=lambda screen: _show(screen, number, told))


def _end(place: Any, person: str | None, yes: bool, number: int, run: int, state: str, words: str | None) -> Answer:
    from failwell.core import orders

    about = [f"run {run} of incident {number} {_DONE[state]}", "no agent goes on with it, also once it is released"]

    def details(digest: str | None) -> orders.WorkEnd:
        return orders.WorkEnd(incident=number, run=run, state=state, words=digest)

    with session.take_hand(place, person, yes=yes, about=about) as hand:
        entry = hand.write("work.end", words, details)
        name = hand.person

    def show(screen: Screen) -> None:
        asked = f'Once it is done: failwell incident work {number} --finish {run} --words "..." --as {name}'
        screen.lead(
            f"Run {run} {_DONE[state]} (entry {entry}): no agent goes on with it.",
            asked if state == "taken" else f"What else was left: failwell incident work {number}",
        )

    return Answer(fields={"incident": number, "run": run, "state": state, "person": name, "entry": entry}, show=show)


def _show(screen: Screen, number: int, told: dict[str, Any]) -> None:
    runs = told["runs"]
    if not runs:
        screen.lead(
            f"Incident {number} left no work: nothing was open when it stopped what it stopped.", "Nothing is asked."
        )
        return
    left = [run for run in runs if run["state"] == "left"]
    if left:
        named = ", ".join(dict.fromkeys(person for run in left for person in run["to"]))
        screen.lead(
            f"{plural(len(left), 'run')} of {len(runs)} left unfinished by incident {number}; asked: {named}.",
            f"Take one: failwell incident work {number} --take {left[0]['run']}", bad=True,
        )  # fmt: skip
    else:
        screen.lead(f"{plural(len(runs), 'run')} left by incident {number}, and each has a person or an end.",
                    "Nothing more is asked.")  # fmt: skip
    screen.table(
        ("run", "state", "who", "for", "asked to", "done", "last action", "waits"),
        [
            (
                run["run"], run["state"], run["person"] or ", ".join(run["to"]), _principal(run),
                run["request"] or f"({run['request_provenance']})", run["done"], _last(run), _waits(run),
            )
            for run in runs
        ],
        right=("run", "done"),
    )  # fmt: skip


def _principal(run: dict[str, Any]) -> str | None:
    if run["principal"] is None:
        return None
    said = "" if run["principal_provenance"] == "verified" else f" ({run['principal_provenance']})"
    return f"{run['principal']}{said}"


def _last(run: dict[str, Any]) -> str | None:
    last = run["last"]
    if last is None:
        return None
    ended = (last["ended"] or "no end known").replace("_", " ") if last["verdict"] == "ALLOW" else last["verdict"]
    return f"{last['tool']} at {clock(last['at'])}: {ended} (action {last['action']})"


def _waits(run: dict[str, Any]) -> str | None:
    said = [f"action {action} has no end" for action in run["open"]]
    said += [f"ticket {ticket} waits for an answer" for ticket in run["tickets"]]
    return "; ".join(said) or None
