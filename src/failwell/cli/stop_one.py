"""`stop run` and `stop action`: one run with what it was handed over to, or one action; its agent goes on otherwise."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from failwell.cli import containment, options, session, stopping
from failwell.cli.screen import Answer, Screen, door, plural, tell
from failwell.core.errors import FailwellError

if TYPE_CHECKING:
    from failwell.core.orders import ActionStop, RunStop
    from failwell.node.workspace import Workspace

Reason = Annotated[str, typer.Option(metavar="TEXT", help="Why, for the record.")]


def register(app: typer.Typer) -> None:
    """Add the commands to `stop`."""
    app.command("run")(stop_run)
    app.command("action")(stop_action)


@door("stop-run")
def stop_run(
    number: Annotated[int, typer.Argument(metavar="RUN", min=0, help="The run's number.")],
    reason: Reason, workspace: options.Workspace = None, person: options.As = None, as_json: options.AsJson = False,
) -> Answer:  # fmt: skip
    """Stop one run and those it was handed over to. The agent's other runs go on.

    Any enrolled person may; it asks nothing. Nothing starts in these runs any more, what runs in them is killed.

    \b
    Example:
      failwell stop run 1204 --reason "It refunds the wrong customer" --as bert
    """
    from failwell.core.orders import RunStop

    return _stop(workspace, person, f"run {number}", RunStop(run=number, reason=reason))


@door("stop-action")
def stop_action(
    number: Annotated[int, typer.Argument(metavar="ACTION", min=0, help="The action's number: its decision's entry.")],
    reason: Reason, workspace: options.Workspace = None, person: options.As = None, as_json: options.AsJson = False,
) -> Answer:  # fmt: skip
    """Stop one running action. Its run goes on.

    \b
    Example:
      failwell stop action 1326 --reason "That letter must not go out" --as bert
    """
    from failwell.core.orders import ActionStop

    return _stop(workspace, person, f"action {number}", ActionStop(action=number, reason=reason))


def _stop(workspace: str | None, person: str | None, named: str, details: RunStop | ActionStop) -> Answer:
    """Order the stop first, then look what came of it."""
    from failwell.client import powers

    place = session.open_workspace(workspace)
    signer = session.unlock(session.pick_person(person))
    before = stopping.waiting(place)
    done = powers.stop_one(place, signer, details)
    if not done.confirmed:
        reports = stopping.await_reports(place, done.sent)
        waits = bool(stopping.waiting(place) - before)
        return stopping.ordered(named, done, reports, waiting=waits, look="stop report")
    report = _look(place, done.entry or 0)
    stopped = [] if report is None else report["stopped"]
    unproven = 0 if report is None else report["unconfirmed"] + report["waiting"]

    def show(screen: Screen) -> None:
        ran = "nothing of it was running" if not stopped else f"{plural(len(stopped), 'running tool')} stopped"
        asked = "Its agent goes on otherwise; all of it: failwell agent suspend"
        if report is not None and unproven:
            ran = f"{unproven} of {plural(len(stopped), 'running tool')} NOT CONFIRMED as stopped"
            asked = f"Look: failwell stop report {report['order']}"
        named_first = f"{named[0].upper()}{named[1:]}"
        screen.lead(f"{named_first} is stopped (entry {done.entry}): {ran}.", asked, bad=bool(unproven))
        if report is not None and stopped:
            containment.show_containment(screen, report)

    fields = {"stopped": named, "confirmed": True, "entry": done.entry, "containment": report}
    return Answer(fields=fields, show=show, finding=bool(unproven))


def _look(place: Workspace, order: int) -> dict[str, Any] | None:
    """The report of what an order interrupted, once all of it has its end, or time is up; None where nothing ran."""
    until = time.monotonic() + stopping.LOOK_S
    report: dict[str, Any] | None = None
    try:
        with session.reach_node(place) as wire:
            followed = wire.call("ask", about="entries", key=order, timeout_s=stopping.LOOK_S)
            interrupts = [
                entry["seq"]
                for entry in followed
                if entry["kind"] == "interrupt.ordered" and order in [ref[1] for ref in entry["refs"]]
            ]
            while interrupts:
                report = wire.call("ask", about="containment", key=interrupts[0], timeout_s=stopping.LOOK_S)
                measured = report["bound_ms"] is not None and not report["waiting"]
                if (measured and not report["unconfirmed"]) or time.monotonic() > until:
                    break
                time.sleep(stopping.EVERY_S)
    except FailwellError as error:  # the stop stands; only the look at it failed
        tell(f"what was stopped cannot be told now: {error.message}")
    return report
