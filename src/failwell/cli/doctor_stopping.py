"""What `doctor` says of stopping: each executor class as it was last tested, and what is not known to have ended."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from failwell.cli.screen import plural, span

OK, KNOWN, WANTED = "ok", "known", "todo"
#: How the detail of a class ends that no tool is declared of: it is fine, and nobody's concern.
UNUSED = "no tool is declared so"
_STATES = {"ok": OK, "degraded": KNOWN, "failed": WANTED}
_MENDS = {
    "supervised": "nothing is permitted until it is: does /proc show other processes, may signals be sent? It is tested"
    " again every minute",
    "transactional": "no tool declared `transaction` starts until it is; it is tested again every minute",
    "fenced": "such a tool does not start: mend its fence command in failwell.toml, then failwell config apply",
    "unstoppable": "what such a tool began is never confirmed as ended: mend its confirm command in failwell.toml",
}
_MORE = (
    "what left our process tree could hide from the sweep: let the node make pid namespaces or cgroups (systemd: "
    "Delegate=yes)"
)

Line = tuple[str, str, str, str | None]


def lines(status: dict[str, Any]) -> Iterator[Line]:
    """(part, state, found, what to do) of each class of which something is known, and of what was left running."""
    ago = f"proven {span(max(0, time.time_ns() // 1000 - status['tested']['at_us']))} ago"
    for item in status["tested"]["classes"]:
        if item["executor"] == "supervised":
            yield _supervised(item, ago)
        elif item["state"] in _STATES and not (item["state"] == OK and item["detail"].endswith(UNUSED)):
            state = _STATES[item["state"]]
            found = f"{item['detail']}{f', {ago}' if state == OK else ''}"
            # What is degraded here is a command that is gone, which somebody declared.
            wanted = WANTED if state == KNOWN else state
            yield item["executor"], wanted, found, _MENDS[item["executor"]] if wanted != OK else None
    yield from _leftovers(status["leftovers"])
    yield from _unproven(status["unproven"], status["unconfirmed"])


def _unproven(waiting: dict[str, str], failed: list[int]) -> Iterator[Line]:
    """Actions that were to stop and of which nobody could say that they did: as those were last looked at that still
    are, and those that nobody looks at any more.
    """
    why = dict.fromkeys(failed, "nobody looks at it any more")
    why |= {int(action): said for action, said in waiting.items()}
    for action in sorted(why)[:10]:
        again = "; it is looked at again" if str(action) in waiting else ""
        mend = f"stop it at its own side{again}: failwell action show {action}"
        yield "unconfirmed", WANTED, f"action {action} is not confirmed to have stopped: {why[action]}", mend
    if len(why) > 10:
        yield "unconfirmed", WANTED, f"and {len(why) - 10} more", "failwell stop report"


def _supervised(item: dict[str, Any], ago: str) -> Line:
    if item["state"] == "failed":
        return "kill", WANTED, f"NOT PROVEN: {item['detail']}", _MENDS["supervised"]
    figures = item["figures"]
    lacking = ", ".join(part for part in item["detail"].split("; ") if part.startswith(("no ", "given up ")))
    with_what = " + ".join(sorted(item["mechanisms"], key="sweep".__eq__))
    found = (
        f"supervised tools stop by order in {span(figures['order_us'])}, when the node dies in "
        f"{span(figures['node_killed_us'])}, {ago}: {with_what}{f' ({lacking})' if lacking else ''}"
    )
    return "kill", _STATES[item["state"]], found, None if item["state"] == "ok" else _MORE


def _leftovers(left: dict[str, Any]) -> Iterator[Line]:
    """Only where there is something to say: what a dead node's tools left was stopped at the start, or runs still."""
    if left["alive"]:
        count = plural(len(left["alive"]), "process", "processes")
        found = f"{count} of a dead node's tools could not be stopped: {', '.join(left['alive'][:10])}"
        yield "leftovers", WANTED, found, "end them by hand (kill -9 PID, as root); their outcomes say unconfirmed"
    elif left["found"] != "nothing was left":
        yield "leftovers", OK, f"of the node before: {left['found']}; nothing of it runs any more", None
