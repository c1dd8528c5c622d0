"""`action`: one action and what came of it, and having it undone by the step that its contract declares."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from failwell.cli import options, session
from failwell.cli.preserved import show_preserved
from failwell.cli.screen import Answer, Screen, door, span
from failwell.core.errors import Corrupt, Refused

if TYPE_CHECKING:
    from failwell.client.wire import Wire

app = typer.Typer(help="Single actions: what came of one, and having it undone.")

Number = Annotated[int, typer.Argument(metavar="N", min=0, help="The action: the entry of its decision.")]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; it stands in the record.")]
#: An undoing in words, by its state.
UNDONE = {
    "owed": "to be undone", "begun": "being undone", "reversed": "undone", "partly": "undone IN PART",
    "not": "NOT undone", "unknown": "PERHAPS NOT undone: nobody can say",
}  # fmt: skip


@app.command("show")
@door("action-show")
def show_action(
    number: Number, workspace: options.Workspace = None, as_json: options.AsJson = False
) -> Answer:  # fmt: skip
    """Show what an action was given, how it ended and whether it was undone.

    \b
    Example:
      failwell action show 41
    """
    place = session.open_workspace(workspace)
    with session.reach_node(place) as wire:
        told = _told(wire, number)
    return Answer(fields=_fields(told), show=lambda screen: _show(screen, told))


@app.command("compensate")
@door("action-compensate")
def compensate(
    number: Number, reason: Reason, workspace: options.Workspace = None, person: options.As = None,
    yes: options.Yes = False, as_json: options.AsJson = False,
) -> Answer:  # fmt: skip
    """Have an action undone that has ended, by the step that its contract declares.

    For its agent's owner, and for approvers. The node runs the step once; what it says stands in `action show`. Shows
    what there is to see before it asks for your passphrase.

    \b
    Example:
      failwell action compensate 41 --reason "It was the wrong customer" --as olga
    """
    from failwell.core.orders import ActionCompensate

    place = session.open_workspace(workspace)
    with session.reach_node(place) as wire:
        told = _told(wire, number)
    if told["undo"] is None:
        raise Refused(
            f"no contract in force said how {told['tool']} is undone when action {number} was decided",
            hint="Write compensate: STEP at the tool, and adopt it: it holds for what is decided from then on.",
        )
    _show(Screen(to_stderr=True), told)
    _check_shown(told)
    step = told["undo"]
    with session.take_hand(place, person, yes=yes, about=[f"you have {step['step']} undo this"]) as hand:
        details = ActionCompensate(
            action=number, tool=told["tool"], step=step["step"], contract=step["contract"], reason=reason
        )
        entry = hand.give("action.compensate", details)
        by = hand.person

    def show(screen: Screen) -> None:
        declared = "" if step["declared"] else f' No setting declares it: [tools."{step["step"]}"] in failwell.toml.'
        screen.lead(
            f"{by} has action {number} undone by {step['step']} (entry {entry}).{declared}",
            f"What came of it: failwell action show {number}", bad=not step["declared"],
        )  # fmt: skip

    fields = {"action": number, "person": by, "entry": entry, "step": step["step"], "declared": step["declared"]}
    return Answer(fields=fields, show=show, finding=not step["declared"])


def _told(wire: Wire, number: int) -> dict[str, Any]:
    told: dict[str, Any] = wire.call("ask", about="action", key=number)
    return told


def _check_shown(told: dict[str, Any]) -> None:
    """Hold the arguments that were shown against the digest in the decision.

    Attack: a node that shows one action and has another one undone.
    """
    from failwell.ledger.vault import commitment

    text, salt = told["text"], told["salt"]
    if text is None or salt is None:
        raise Refused(f"what action {told['action']} was given was erased: no step could be told")
    if commitment(bytes.fromhex(salt), text.encode()) != told["arguments"]:
        raise Corrupt("the arguments that were shown are not those that were decided on", hint="failwell ledger verify")


def _fields(told: dict[str, Any]) -> dict[str, Any]:
    """The same for programs: arguments as the value that they are, durations in milliseconds."""
    fields = {name: value for name, value in told.items() if name not in ("text", "salt")}
    fields["given"] = None if told["text"] is None else json.loads(told["text"])
    for name, inner in (("undo", "within_us"), ("undoing", "elapsed_us")):
        if told[name] is not None:
            us = told[name][inner]
            kept = {key: value for key, value in told[name].items() if key != inner}
            fields[name] = kept | {inner.replace("_us", "_ms"): None if us is None else us / 1000}
    return fields


# ---- words ---------------------------------------------------------------------------------------------------


def _show(screen: Screen, told: dict[str, Any]) -> None:
    undone = told["undoing"]
    unproven = told["unproven"]
    state = told["state"].replace("_", " ")
    if unproven is not None:
        state = "shown to have stopped, later" if unproven["stopped"] else "NOT CONFIRMED as stopped"
    became = "" if undone is None else f", and is {UNDONE[undone['state']]}"
    bad = undone is not None and undone["state"] in ("partly", "not", "unknown")
    bad = bad or (unproven is not None and not unproven["stopped"])
    screen.lead(
        f"Action {told['action']} of {told['name']}: {told['tool']} is {state}{became}.", _next(told), bad=bad
    )  # fmt: skip
    screen.say("\nWhat it was given", "bold")
    given = None if told["text"] is None else json.loads(told["text"])
    pairs = given.items() if isinstance(given, dict) else [("arguments", given)]
    screen.table(("", ""), [(f"  {name}", json.dumps(value, ensure_ascii=False)) for name, value in pairs])
    screen.say(f"  decided {told['verdict']} at {told['at']} under {told['contract'] or 'no contract'}")
    if told["why"]:
        screen.say(f"  it ended because: {told['why']}")
    if unproven is not None:
        shown = "it stopped, shown later" if unproven["stopped"] else "not proven"
        screen.say(f"  {shown} [entry {unproven['entry']}]: {unproven['why']}")
    if undone is not None:
        _show_undoing(screen, undone)
    show_preserved(screen, told["preserved"])


def _show_undoing(screen: Screen, undone: dict[str, Any]) -> None:
    screen.say("\nIts undoing", "bold")
    took = "" if undone["elapsed_us"] is None else f" after {span(undone['elapsed_us'])}"
    screen.say(f"  by {undone['step']}, ordered by {undone['by']} (entry {undone['ordered']}){took}")
    if undone["waits"] and undone["state"] == "owed":
        screen.say("  it waits for the proof that the action has ended: ten minutes at most")
    if undone["detail"]:
        screen.say(f"  {undone['detail']}")
    if undone["words"]:
        screen.say(f"  the step's own words: {undone['words']}")


def _next(told: dict[str, Any]) -> str:
    """What can be done now."""
    if told["unproven"] is not None and not told["unproven"]["stopped"]:
        return "Stop it at its own side, if it goes on there; why it could not be shown stands below."
    if told["undo"] is None:
        return "No contract in force said how it is undone."
    if told["may_order"]:
        return (
            f"{told['undo']['step']} can undo it: failwell action compensate {told['action']} --reason TEXT --as PERSON"
        )
    return f"{told['undo']['step']} is what undoes it."
