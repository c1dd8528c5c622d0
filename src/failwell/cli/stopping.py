"""The answer to `agent suspend`: what is confirmed, what is only ordered, and what each supervisor reported (D2)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from failwell.cli import session
from failwell.cli.screen import Answer, Screen, plural, span, tell
from failwell.core.errors import FailwellError, NotFound, Unreachable

if TYPE_CHECKING:
    from failwell.client.powers import Suspended
    from failwell.execute.records import StopSent
    from failwell.identity.persons import Signer
    from failwell.node.workspace import Workspace

#: How long to wait for the ends of what was ordered to stop, and for a node that was not running.
LOOK_S = 3.0
EVERY_S = 0.05


def suspend(place: Workspace, signer: Signer, name: str, reason: str) -> Answer:
    """Order the stop first, then look what came of it."""
    from failwell.client import powers

    before = waiting(place)
    done = powers.suspend(place, signer, name, reason)
    if done.confirmed:
        return _confirmed(place, name, done)
    reports = await_reports(place, done.sent)
    left = sorted(waiting(place) - before)
    if carried_out_by_a_new_node(place, left):
        return _confirmed(place, name, done)
    return ordered(name, done, reports, waiting=bool(waiting(place) - before))


def waiting(place: Workspace) -> set[str]:
    """Names of the orders that lie unread in the workspace."""
    from failwell.node.left_orders import SUFFIX

    return {path.name for path in place.orders.glob(f"*{SUFFIX}")}


def carried_out_by_a_new_node(place: Workspace, left: list[str]) -> bool:
    """Where no node runs at all, start one: it reads the order before anything else, and records it."""
    from failwell.node.left_orders import TAKEN
    from failwell.node.workspace import lock_holder

    if lock_holder(place) is not None:
        return False
    try:
        with session.reach_node(place):
            until = time.monotonic() + LOOK_S
            taken = [place.orders / name.rsplit(".", 1)[0] for name in left]
            while time.monotonic() < until:
                if taken and all(path.with_name(path.name + TAKEN).exists() for path in taken):
                    return True
                time.sleep(EVERY_S)
    except Unreachable as error:
        tell(error.message)
    return False


def await_reports(place: Workspace, sent: tuple[StopSent, ...]) -> dict[int, dict[str, object]]:
    """What supervisors that were told left in `orders/`, by action; waits a little for them."""
    from failwell.execute.reports import read_json, report_path

    found: dict[int, dict[str, object]] = {}
    until = time.monotonic() + LOOK_S
    wanted = {item.action for item in sent if item.sent}
    while wanted - found.keys() and time.monotonic() < until:
        for action in wanted - found.keys():
            try:
                report = read_json(report_path(str(place.orders), action))
            except ValueError:
                continue  # unreadable: it proves nothing
            if report is not None and report.get("action") == action:
                found[action] = report
        time.sleep(EVERY_S)
    return found


# ---- confirmed -----------------------------------------------------------------------------------------------


def _confirmed(place: Workspace, name: str, done: Suspended) -> Answer:
    told = _account(place, name)
    stops = [] if told is None else told["stops"]
    open_stops = [stop for stop in stops if stop["state"] == "interrupted_unconfirmed"]
    access = None if told is None else told["access"]
    kept = access is not None and not access.startswith("confirmed")
    incident = None if told is None else told["incident"]

    def show(screen: Screen) -> None:
        where = f" (entry {done.entry})" if done.entry is not None else ""
        ran = "nothing was running" if not stops else f"{plural(len(stops), 'running tool')} stopped"
        if open_stops:
            ran = f"{len(open_stops)} of {plural(len(stops), 'running tool')} NOT CONFIRMED as stopped"
        asked = "Nothing more is asked." if incident is None else f"Take it: failwell incident acknowledge {incident}"
        now = f"nothing of it starts any more, {ran}" if access is None else f"access at its vendor {access}"
        loose = "; IT MAY STILL ACT" if kept else ""
        screen.lead(f"{name} is suspended{where}: {now}{loose}.", asked, bad=bool(open_stops) or kept)
        if stops:
            screen.table(
                ("action", "tool", "how it ended", "after", "proven by"),
                [
                    (
                        stop["action"], stop["tool"], stop["state"].replace("_", " "),
                        None if stop["measured_ms"] is None else span(round(stop["measured_ms"] * 1000)),
                        stop["proven_by"],
                    )
                    for stop in stops
                ],
                right=("action", "after"),
            )  # fmt: skip

    fields = {
        "agent": name, "confirmed": True, "entry": done.entry, "incident": incident, "stops": stops, "told": [],
        "access": access,
    }  # fmt: skip
    return Answer(fields=fields, show=show, finding=bool(open_stops) or kept)


def _account(place: Workspace, name: str) -> dict[str, Any] | None:
    """The account of the agent's incident, once everything that was ordered to stop has its end, or time is up."""
    from failwell.cli.lookup import find_agent

    until = time.monotonic() + LOOK_S
    told: dict[str, Any] | None = None
    try:
        with session.reach_node(place) as wire:
            while True:
                number = find_agent(wire, name)[1]["incident"]
                told = None if number is None else wire.call("ask", about="incident", key=number, timeout_s=LOOK_S)
                ended = told is not None and all(stop["state"] != "interrupted_unconfirmed" for stop in told["stops"])
                ended = ended and (told is None or told["access"] is None or "(try " in told["access"])  # asked once
                if ended or time.monotonic() > until:
                    return told
                time.sleep(EVERY_S)
    except NotFound:
        raise
    except FailwellError as error:  # the suspension stands; only the look at it failed
        tell(f"what was stopped cannot be told now: {error.message}")
        return told


# ---- ordered, not confirmed ----------------------------------------------------------------------------------


def ordered(
    name: str, done: Suspended, reports: dict[int, dict[str, object]], *, waiting: bool, look: str = "agent list"
) -> Answer:  # fmt: skip
    """The answer where no node confirmed a stop: what waits, who was told, what they reported."""
    told = [_told(item, reports.get(item.action)) for item in done.sent]
    dead = sum(1 for item in told if item["report"] is not None and _is_dead(item["report"]))

    def show(screen: Screen) -> None:
        screen.lead(
            f"ORDERED, NOT CONFIRMED: {name}: {done.why}.",
            "The signed order waits in orders/ and the node reads it before anything else starts. Look: failwell doctor"
            if waiting else f"The signed order was read from orders/. Look: failwell {look}",
            bad=True,
        )  # fmt: skip
        if not told:
            screen.say("No running tool of it was on record, so none was told to stop.")
            return
        screen.say(f"Its tools were told to stop without the node: {dead} of {len(told)} reported dead.")
        screen.table(
            ("action", "tool", "told", "reported"),
            [(item["action"], item["tool"] or None, _how_told(item), _reported(item["report"])) for item in told],
            right=("action",),
        )

    fields = {
        "agent": name, "confirmed": False, "entry": None, "why": done.why, "order_waits": waiting, "told": told,
        "incident": None, "stops": [],
    }  # fmt: skip
    return Answer(fields=fields, show=show, finding=True)


def _told(item: StopSent, report: dict[str, object] | None) -> dict[str, Any]:
    kept = ("state", "swept", "proven_by", "why", "processes")
    return {
        "action": item.action, "agent": item.agent, "tool": item.tool, "pid": item.pid, "sent": item.sent,
        "why": item.why, "report": None if report is None else {key: report.get(key) for key in kept},
    }  # fmt: skip


def _is_dead(report: Any) -> bool:
    return report["state"] not in ("interrupted_unconfirmed", None)


def _how_told(item: dict[str, Any]) -> str:
    return f"process {item['pid']}" if item["sent"] else f"NOT TOLD: {item['why']}"


def _reported(report: dict[str, Any] | None) -> str:
    if report is None:
        return "nothing yet: not known to be dead"
    return f"{report['state']}, {report['swept']} processes, {report['proven_by']}"
