"""What `incident show` tells beside the account: impact, work, what people wrote, holds, how it was given back."""

from __future__ import annotations

from collections import Counter
from typing import Any

from failwell.cli.screen import Screen, clock, plural

_WORK = {"left": "taken by nobody yet", "taken": "taken", "finished": "finished by a person", "dropped": "dropped"}
#: What a release still lacks, by the mark of containment.
_LACKS = {
    "DETECTED": "nothing was detected", "ORDERED": "no stop was ordered", "SUSPENDED": "it was not suspended",
    "HELD": "the record is not locked", "NOTIFIED": "nobody was reached yet",
    "STOPPED": "what was running is not shown to have stopped", "ACKNOWLEDGED": "nobody has taken the case",
}  # fmt: skip


def show_all(screen: Screen, told: dict[str, Any]) -> None:
    """Each part that there is something to tell of, a few lines each, with the command that tells all of it."""
    number = told["incident"]
    for key, show in (
        ("escalation", _show_escalation), ("impact", _show_impact), ("work", _show_work), ("case", _show_case),
        ("lock", _show_lock), ("release", _show_release), ("layers", _show_layers),
    ):  # fmt: skip
        if told.get(key) is not None:
            show(screen, number, told[key])


def _show_escalation(screen: Screen, number: int, told: dict[str, Any]) -> None:
    """Who is asked now and who is next; nothing once there is nothing to take."""
    if told["state"] == "over" or told["next"] is None:
        return
    screen.say("\nWho is asked", "bold")
    running = [person for each in told["steps"] if each["state"] == "asking" for person in each["persons"]]
    at, who = told["next"]["at"][11:19], ", ".join(told["next"]["persons"])
    if told["state"] == "taken":
        screen.say(
            f"Taken by {' and '.join(told['took'])}. If nothing is heard of it until {at}, {who} are asked anew."
        )
    else:
        screen.say(
            f"Step {told['step']} of {len(told['steps'])}: {', '.join(running) or 'nobody there is'}. "
            f"Next at {at}: {who or 'nobody there is'}. By what, and what came of it: failwell escalation show {number}"
        )


def _show_impact(screen: Screen, number: int, impact: dict[str, Any]) -> None:
    if not impact["touched"]:
        return
    screen.say("\nImpact", "bold")
    perhaps = f" ({impact['perhaps']} of them perhaps)" if impact["perhaps"] else ""
    screen.say(
        f"{plural(impact['wrong'], 'act')} known to be wrong{perhaps}, of {impact['touched']} that had an effect; "
        f"{impact['undone']} undone, {impact['irreversible']} cannot be undone.",
        "red" if impact["wrong"] else None,
    )
    if impact["customers"]:
        screen.say(
            f"{plural(impact['customers'], 'customer')} reached by them, {impact['not_told']} not told, "
            f"{impact['not_whole']} not made whole: failwell incident customers {number}"
        )
    screen.say(f"Each act, amounts, and who was handed results: failwell incident impact {number}")


def _show_work(screen: Screen, number: int, work: dict[str, Any]) -> None:
    if not work["runs"]:
        return
    counts = Counter(_WORK.get(run["state"], run["state"]) for run in work["runs"])
    said = ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
    screen.say("\nUnfinished work", "bold")
    screen.say(f"{plural(len(work['runs']), 'run')}: {said}. Where each stands: failwell incident work {number}")


def _show_case(screen: Screen, number: int, case: dict[str, Any]) -> None:
    """What people wrote, task by task and note by note, as they wrote it."""
    if not (case["written"] or case["tasks"] or case["claims"]):
        return
    screen.say("\nWhat people found", "bold")
    rows = [
        (each["sort"], clock(each["at"]), each["person"], each["text"], ", ".join(str(seq) for seq in each["cites"]))
        for each in case["written"]
    ]
    rows += [
        (f"change: {each['change']}", "", each["person"], f"{each['text']} (not proven)", "") for each in case["claims"]
    ]
    if rows:
        screen.table(("", "at", "by", "", "cites"), rows)
    for task in case["tasks"]:
        due = "" if task["due"] is None else f", by {task['due'][:16].replace('T', ' ')}"
        screen.say(f"Task {task['task']} of {task['person']}{due}, {task['state']}: {task['text']}")


def _show_lock(screen: Screen, number: int, lock: dict[str, Any]) -> None:
    if not lock["holds"]:
        return
    screen.say("\nThe lock on the record", "bold")
    for hold in lock["holds"]:
        stands = "stands" if hold["lifted"] is None else f"lifted (entry {hold['lifted']})"
        screen.say(f"Hold {hold['hold']} {stands}: entries from {hold['first']} on. failwell hold show {hold['hold']}")
        for each in hold["directories"]:
            kept = "copied whole" if each["complete"] else each["missing"] or "not all of it"
            screen.say(f"  {each['directory']}: {kept}", None if each["complete"] else "red")


def _show_release(screen: Screen, number: int, release: dict[str, Any]) -> None:
    if not (release["given"] or release["proposed"] or release["lacking"]):
        return
    screen.say("\nGiving authority back", "bold")
    if release["lacking"]:
        screen.say(f"Not yet: {', '.join(_LACKS.get(mark, mark) for mark in release['lacking'])}.")
    if (proposed := release["proposed"]) is not None:
        void = "" if proposed["stands"] else " VOID: the case stands otherwise now."
        screen.say(
            f"Proposed by {proposed['person']} (entry {proposed['entry']}), into {proposed['authority']}: "
            f"{proposed['conditions']}{void}"
        )
    for given in release["given"]:
        apart = (
            "; NOT SEPARATED: one user gave both orders" if given["separated"] == "no" and len(given["by"]) > 1 else ""
        )
        screen.say(
            f"Given back by {' and '.join(given['by'])} (entry {given['entry']}), into {given['authority']}{apart}."
        )
    if release["probation_until"] is not None:
        screen.say(f"PROBATION lasts until {release['probation_until'][:19].replace('T', ' ')} at least.")


def _show_layers(screen: Screen, number: int, layers: dict[str, Any]) -> None:
    spoke = [layer for layer in layers["layers"] if layer["state"] != "silent"]
    if not spoke:
        return
    screen.say("\nLayers: what fired, was bypassed, or was missing", "bold")
    rows = [(layer["state"], layer["layer"], layer["tool"], layer["says"], layer["entry"]) for layer in spoke]
    screen.table(("", "layer", "tool", "", "entry"), rows, right=("entry",))
