"""`incident show`: what happened, what was already done, what is asked; then times beside bounds, and the rest."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from failwell.cli import incident_parts, options, session
from failwell.cli.screen import Answer, Screen, clock, door, plural, span

#: Steps that are shown of a timeline unasked, the first and the newest; verdicts stand only in the whole one.
STEPS = 16
#: Actions that are shown in full; programs get all.
NAMED = 20
_VERDICTS = frozenset({"ALLOW", "DENY", "ESCALATE"})
#: The moment by which an objective is met, where one entry makes it.
_MET_BY = {"acknowledge": "acknowledged"}
#: What a moment is called where its own name says too little, and an objective that no one entry meets.
_NAMES = {
    "ordered": "stop ordered", "held": "record locked", "paged": "person told", "investigate": "investigated",
    "resolve": "resolved",
}  # fmt: skip


@door("incident-show")
def show_incident(
    number: Annotated[int, typer.Argument(metavar="N", min=1, help="The incident's number.")],
    timeline: Annotated[bool, typer.Option("--timeline", help="Every step, with its entry.")] = False,
    customers: Annotated[bool, typer.Option("--customers", help="Who was reached, and by what.")] = False,
    workspace: options.Workspace = None, as_json: options.AsJson = False,
) -> Answer:  # fmt: skip
    """Tell what happened, what was done, what is asked, what escaped, to whom.

    Times stand beside the stated bound, and every figure names the entry it comes from. Effects are counted from the
    tool side's own logs, not from what the agent's side says.

    \b
    Examples:
      failwell incident show 1
      failwell incident show 1 --timeline --customers
    """
    place = session.open_workspace(workspace)
    with session.reach_node(place) as wire:
        told: dict[str, Any] = wire.call("ask", about="incident", key=number)

    def show(screen: Screen) -> None:
        _show_first(screen, told)
        _show_times(screen, told)
        _show_stops(screen, told)
        _show_undoings(screen, told["undoings"])
        _show_timeline(screen, told, whole=timeline)
        _show_escaped(screen, told, customers=customers)
        incident_parts.show_all(screen, told)
        _show_open(screen, told)

    return Answer(fields=told, show=show)


# ---- the first lines -----------------------------------------------------------------------------------------


def _show_first(screen: Screen, told: dict[str, Any]) -> None:
    asked = told["asked"]
    taken = told["times"]["acknowledged"] is not None and told["state"] not in ("OPEN", "REOPENED") and not _anew(told)
    happened, done = f"{told['happened']}.", told["done"][0]
    now = f"Asked: {asked[0]}" if asked else "Nothing is asked of anybody now."
    if len(f"{happened} {done}") <= screen.console.width:  # all of it in two lines, also on a narrow terminal
        screen.lead(f"{happened} {done}", now, bad=not taken)
    else:
        screen.lead(happened, f"{done} {now}", bad=not taken)
    for more in asked[1:]:
        screen.say(f"Also: {more}")
    if told["done"][1:]:
        screen.say(f"Done too: {' '.join(told['done'][1:])}")
    first, last = told["onset"]
    began = f"entry {first}" if first == last else f"entries {first} to {last}"
    whose = f"agent {told['name']}, owner {told['owner']}" if told["agent"] else "agent not known"
    serious = "; SERIOUS, a person said" if told["serious"] else ""
    screen.say(
        f"Incident {told['incident']} ({told['kind']}), {told['severity']}, {told['state']}{serious}; {whose}; "
        f"{_held_by(told, taken=taken)}; began at {began}; {plural(told['signals'], 'signal')}."
    )
    _show_told(screen, told)


def _anew(told: dict[str, Any]) -> bool:
    """Whether whoever took it has it no more, and people are asked again."""
    return bool(told["asking"])


def _held_by(told: dict[str, Any], *, taken: bool) -> str:
    if told["merged_into"] is not None:
        return f"told in incident {told['merged_into']}"
    if told["offered"]:
        return f"held by {told['holder']}, offered to {told['offered']}"
    return f"held by {told['holder']}" if taken and told["holder"] else "taken" if taken else "NOBODY HAS TAKEN IT"


def _show_told(screen: Screen, told: dict[str, Any]) -> None:
    pages = sorted((page["at"], page["person"]) for page in told["told"] if page["at"] is not None)
    first = {person: at for at, person in reversed(pages)}  # of several pages to one person the first
    reached = [f"{person} {clock(at)}" for person, at in sorted(first.items(), key=lambda each: each[1])]
    failed = [page["detail"] for page in told["told"] if page["at"] is None and page["detail"]]
    if reached:
        screen.say(f"Told: {', '.join(reached)}.")
    elif failed:
        screen.say(f"NOBODY HAS BEEN REACHED YET: {failed[-1]}. It is tried again; what to do: failwell doctor", "red")
    elif told["told"]:
        waiting = ", ".join(dict.fromkeys(page["person"] for page in told["told"]))
        screen.say(f"A page to {waiting} is on its way: nobody has been reached yet.")


# ---- times ---------------------------------------------------------------------------------------------------


def _show_times(screen: Screen, told: dict[str, Any]) -> None:
    agreed = {_MET_BY.get(one["objective"], one["objective"]): one for one in told["agreed"]}
    rows: list[tuple[object, ...]] = []
    for name, moment in told["times"].items():
        bound = _due(agreed.pop(name)) if name in agreed else None
        if moment is None:
            rows.append((_NAMES.get(name, name), _lacking(name, told), None, bound, None))
        else:
            after = span(round(moment["after_onset_ms"] * 1000))
            rows.append((_NAMES.get(name, name), clock(moment["at"]), f"+{after}", bound, moment["entry"]))
    rows += [
        (_NAMES.get(name, name), "not yet" if one["state"] == "open" else None, None, _due(one), None)
        for name, one in agreed.items()
    ]
    screen.say()
    columns = ["", "at (UTC)", "after the onset", "agreed", "entry"]
    kept = [at for at, name in enumerate(columns) if name != "agreed" or any(row[at] for row in rows)]
    shown = [tuple(row[at] for at in kept) for row in rows]
    screen.table([columns[at] for at in kept], shown, right=("after the onset", "entry"))
    if told["times"]["ordered"] is None:
        return
    bound = told["bound"]
    measured = "not measured" if bound["measured_ms"] is None else span(round(bound["measured_ms"] * 1000))
    beyond = bound["measured_ms"] is not None and bound["measured_ms"] > bound["stated_ms"]
    if bound["t1_ms"] is not None:
        screen.say(f"Nothing new could start {span(round(bound['t1_ms'] * 1000))} after its order came.")
    screen.say(
        f"Bound, from the order to the last process gone: {bound['stated_ms']} ms stated, {measured}"
        + (" MEASURED, BEYOND IT." if beyond else ("" if measured.startswith("not") else " measured") + "."),
        "red" if beyond else None,
    )


def _due(one: dict[str, Any]) -> str:
    said = {"met": "met", "missed": "NOT IN TIME", "open": "open"}[one["state"]]
    return f"by {one['due'][:10]} {one['due'][11:19]}: {said}"


def _lacking(name: str, told: dict[str, Any]) -> str:
    """What stands in the place of a moment that no entry makes."""
    if name == "stopped" and any(stop["state"] == "interrupted_unconfirmed" for stop in told["stops"]):
        return "NOT CONFIRMED"
    return "not yet" if name in ("paged", "acknowledged", "released") else "no"


# ---- what was running, and what came of it -------------------------------------------------------------------


def _show_stops(screen: Screen, told: dict[str, Any]) -> None:
    if not told["stops"]:
        return
    screen.say("\nWhat was running", "bold")
    rows = [
        (
            stop["action"], stop["tool"], stop["executor"], stop["state"].replace("_", " "),
            None if stop["measured_ms"] is None else span(round(stop["measured_ms"] * 1000)),
            None if stop["state"] == "interrupted_unconfirmed" else plural(stop["processes"], "process", "processes"),
            stop["proven_by"],
        )
        for stop in told["stops"][:NAMED]
    ]  # fmt: skip
    columns = ("action", "tool", "class", "how it ended", "after", "swept", "proven by")
    screen.table(columns, rows, right=("action", "after"))
    if len(told["stops"]) > NAMED:
        screen.say(f"{len(told['stops']) - NAMED} more: failwell stop report --incident {told['incident']}")


def _show_undoings(screen: Screen, found: list[dict[str, Any]]) -> None:
    """What was reversible, and whether it was reversed (R11)."""
    if not found:
        return
    from failwell.cli.undoing import UNDONE

    screen.say("\nWhat was undone", "bold")
    rows = [
        (
            each["action"], each["tool"], each["step"], UNDONE[each["state"]],
            None if each["elapsed_ms"] is None else span(round(each["elapsed_ms"] * 1000)), each["entry"],
        )
        for each in found
    ]  # fmt: skip
    screen.table(("action", "tool", "by", "it is", "after", "entry"), rows, right=("action", "after", "entry"))
    if any(each["state"] in ("partly", "not", "unknown") for each in found):
        screen.say("What is not undone is for people: failwell action show N", "red")


def _show_escaped(screen: Screen, told: dict[str, Any], *, customers: bool) -> None:
    escaped = told["escaped_effects"]
    screen.say("\nWhat escaped", "bold")
    if not escaped["counted_from"]:
        screen.say(
            "Unknown: no log of the tool side was read for this agent. [witness.NAME] in failwell.toml declares one; "
            "its file has to be there."
        )
        return
    screen.say(
        f"{escaped['before_detection']} before it was detected, {escaped['while_stopping']} while it was being "
        f"stopped, {escaped['after_fence']} after the fence. Counted from {', '.join(escaped['counted_from'])}."
    )
    if escaped["without_verdict"] and told["access"] is not None:
        screen.say(f"{escaped['without_verdict']} of them under no verdict: nobody governs a detect-only agent.", "red")
    elif escaped["without_verdict"]:
        screen.say(f"{escaped['without_verdict']} of them pair with no verdict: they went round the gate.", "red")
    harmed = told["customers"]
    reached = f"{plural(len(harmed), 'customer')} reached"
    if not customers:
        screen.say(f"{reached}: failwell incident show {told['incident']} --customers" if harmed else f"{reached}.")
        return
    screen.say(f"{reached}." if not harmed else f"{reached}:")
    if harmed:
        rows = [(one["id"], one["effects"], ", ".join(str(entry) for entry in one["entries"])) for one in harmed]
        screen.table(("customer", "effects", "entries"), rows, right=("effects",))


# ---- the story -----------------------------------------------------------------------------------------------


def _show_timeline(screen: Screen, told: dict[str, Any], *, whole: bool) -> None:
    lines = told["timeline"] if whole else [line for line in told["timeline"] if line["what"] not in _VERDICTS]
    cut = not whole and len(lines) > STEPS
    first, last = (lines[: STEPS // 2], lines[-STEPS // 2 :]) if cut else (lines, [])
    rows = [(line["entry"], clock(line["at"]), line["what"], line["detail"]) for line in first]
    rows += [(None, "...", f"{len(lines) - STEPS} more", "")] if cut else []
    rows += [(line["entry"], clock(line["at"]), line["what"], line["detail"]) for line in last]
    screen.say("\nTimeline", "bold")
    screen.table(("entry", "at", "what", ""), rows, right=("entry",))
    if len(told["timeline"]) > len(first) + len(last):
        screen.say(f"Every step and verdict: failwell incident show {told['incident']} --timeline")


# ---- open questions ------------------------------------------------------------------------------------------


def _unproven(stops: list[dict[str, Any]]) -> list[str]:
    """Which actions are not shown to have stopped, together where the reason is the same."""
    alike: dict[tuple[str, str], list[int]] = {}
    for stop in stops:
        if stop["state"] == "interrupted_unconfirmed":
            alike.setdefault((stop["tool"], stop["proven_by"]), []).append(stop["action"])
    return [
        f"whether {tool} has stopped ({'action' if len(actions) == 1 else 'actions'} "
        f"{', '.join(str(action) for action in actions[:NAMED])}{', ...' if len(actions) > NAMED else ''}): {why}"
        for (tool, why), actions in alike.items()
    ]


def _show_open(screen: Screen, told: dict[str, Any]) -> None:
    """What nobody can say, and what could not be told: shown as unknown, never as fine."""
    found = [f"its {part}, which could not be told: {why}" for part, why in sorted(told["untold"].items())]
    found += _unproven(told["stops"])
    if told["agent"] and not told["escaped_effects"]["counted_from"]:
        found.append("what escaped: no log of the tool side was read.")
    found += [] if told["impact"] is None else told["impact"]["unknown"]
    if found:
        screen.say("\nOpen questions", "bold")
        for each in dict.fromkeys(found):
            screen.say(f"  {each}")
