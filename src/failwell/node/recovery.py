"""After a crash: every action that was open gets its honest end before the door opens (D6, R28).

What an earlier node's tools left behind was swept before this is called, and is on record before any end that was made
of it. A supervisor that outlived its node left a report of how its tool ended; without one the outcome is `unknown`.
Nothing is started here: a call that was cut off runs again only when its caller asks for it, where that does no harm
(`gate.resuming`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from failwell.core import kinds, stops
from failwell.core.records import Draft
from failwell.execute.reports import read_json, report_path
from failwell.execute.survivors import Found
from failwell.gate.outcomes import Settlement, draft_outcome, settle
from failwell.ledger.jobs import CONTAINMENT, Job, Plan, Turn
from failwell.ledger.writer import Writer
from failwell.node.endings.statement import CutShort
from failwell.node.upstreams.left import asked_of, report_on_call, take_reports
from failwell.ports.executor import Ended
from failwell.response.containment import CONFIRMED, ended_by_order

#: What the ends of a dead node's actions are worth, each with its class (`none` where nobody knows it).
Worth = Callable[[Sequence[CutShort]], Sequence[tuple[Ended, str]]]
#: Actions and words of what was swept that one entry has room for.
MAX_NAMED, MAX_DETAIL = 4000, 2000


def recover(writer: Writer, reports: Path, left: Found, worth: Worth | None = None) -> int:
    """Settle the actions of a node that ended without doing so; returns how many there were.

    `worth`: what the ends are worth by the class of each (`node.endings`); by itself an end is what its processes were.
    """
    found: tuple[_Open, ...] = writer.submit(_open_actions).result()
    servers = take_reports(reports)
    if not left.nothing:
        writer.submit(_swept(left, {item.action for item in found}), CONTAINMENT).result()
    cut = [_cut_short(item, _report(reports, item, servers), left) for item in found]
    for (action, _, _), (end, executor) in zip(found, (worth or _as_they_are)(cut), strict=True):
        writer.submit(_ending(end, f"{executor}: recovery"), CONTAINMENT).result()
        Path(report_path(str(reports), action)).unlink(missing_ok=True)
    return len(found)


def _ending(end: Ended, method: str) -> Job[Any]:
    """The job that records an end; as a stop where one was ordered by the time it is written.

    Attack: nobody can say that the first of a dead node's actions stopped. Its agent is suspended for that, and all
    others of it are ordered to stop, which had been looked at before: their incident would wait for them for ever.
    """
    settlement = Settlement(decision=end.action, state=end.state, by="recovery", exit_code=end.exit_code, why=end.why)

    def job(turn: Turn) -> Plan[Any]:
        if end.action in _ordered(turn) or end.state.startswith("interrupted"):
            return ended_by_order(end, method, lambda now: draft_outcome(now, settlement))(turn)
        return settle(settlement)(turn)

    return job


def _ordered(turn: Turn) -> frozenset[int]:
    """The open actions whose stops somebody waits for."""
    waiting = {action for row in turn.state.incident.values() for action in row.waiting}
    return frozenset(seq for seq in turn.state.action if seq in waiting or stops.awaits(turn.state, seq))


class _Open(NamedTuple):
    """An action without an outcome: whether an incident or a stop waits for its end, and what process it was."""

    action: int
    ordered: bool
    pid: int | None


def _cut_short(item: _Open, report: dict[str, object] | None, left: Found) -> CutShort:
    return CutShort(_end(item.action, report, left.left_of(item.action)), item.ordered, report is not None)


def _as_they_are(cut: Sequence[CutShort]) -> list[tuple[Ended, str]]:
    return [(each.end, "supervised" if each.reported else "none") for each in cut]


def _swept(left: Found, open_actions: set[int]) -> Job[None]:
    """What was found of the dead node.

    Attack: a tool writes any number into its marker. Only actions that were open are named.
    """
    body = kinds.LeftoversSwept(
        processes=left.stopped, supervisors=left.supervisors, left=len(left.left),
        actions=tuple(sorted(left.actions & open_actions))[:MAX_NAMED], detail=left.describe()[:MAX_DETAIL],
    )  # fmt: skip
    return lambda turn: Plan((Draft(body=body, actor="node"),), lambda _: None)


def _report(reports: Path, item: _Open, servers: dict[int, dict[str, object]]) -> dict[str, object] | None:
    """A supervisor's report, its own or that of the tool server it asked; one that cannot be read says nothing."""
    try:
        report = read_json(report_path(str(reports), item.action))
    except (OSError, ValueError):
        return None
    asked = None if item.pid is None else servers.get(item.pid)
    return report_on_call(item.action, asked) if report is None and asked is not None else report


def _open_actions(turn: Turn) -> Plan[tuple[_Open, ...]]:
    """Every action without an outcome."""
    waiting = _ordered(turn)
    found = tuple(
        _Open(seq, seq in waiting, asked_of(turn, seq)) for seq, row in turn.state.action.items() if row.state == "open"
    )
    return Plan((), lambda _: found)


def _end(action: int, report: dict[str, object] | None, left: tuple[str, ...]) -> Ended:
    """How it ended as far as can be shown: by the supervisor's report, else by the sweep at this start."""
    state: Any = "unknown"
    why, proven_by, ended_us, swept = (
        "the node ended before this action was settled",
        "swept at node start",
        0,
        0,
    )
    exit_code = None
    if left:
        named = ", ".join(left)[:400]
        state, why = "interrupted_unconfirmed", f"still there after the sweep at node start: {named}"
    elif report is not None and report.get("action") == action:
        reported = str(report.get("state"))
        state = reported if reported in (*CONFIRMED, "completed", "failed", "interrupted_unconfirmed") else "unknown"
        why = str(report.get("why") or why)
        proven_by = f"supervisor's report: {report.get('proven_by')}"
        ended_us, swept = _whole(report.get("ended_us")), _whole(report.get("swept"))
        exit_code = _whole(report["exit_code"]) if isinstance(report.get("exit_code"), int) else None
    return Ended(
        action=action, state=state, exit_code=exit_code, signal=None, output=b"", truncated=True, errors=b"",
        started_us=0, ended_us=ended_us, swept=swept, proven_by=proven_by, why=why, sweep_us=0,
    )  # fmt: skip


def _whole(value: object) -> int:
    return value if isinstance(value, int) else 0
