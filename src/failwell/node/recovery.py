"""After a crash: every action that was open gets its honest end before the door opens (D6, R28).

What an earlier node's tools left behind was swept before this is called. A supervisor that outlived its node left a
report of how its tool ended; without one the outcome is `unknown` and the action never runs again.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from failwell.execute.orphans import Leftover
from failwell.execute.reports import read_json, report_path
from failwell.gate.outcomes import Settlement, draft_outcome, settle
from failwell.ledger.jobs import CONTAINMENT, Plan, Turn
from failwell.ledger.writer import Writer
from failwell.ports.executor import Ended
from failwell.response.containment import CONFIRMED, ended_by_order


def recover(writer: Writer, reports: Path, leftovers: Sequence[Leftover]) -> int:
    """Settle the actions of a node that ended without doing so; returns how many there were."""
    found: tuple[tuple[int, bool], ...] = writer.submit(_open_actions).result()
    alive = {item.marker for item in leftovers if not item.gone and item.marker is not None}
    for action, ordered in found:
        report = read_json(report_path(str(reports), action))
        end = _end(action, report, any(str(marker).endswith(f"/{action}") for marker in alive))
        settlement = Settlement(decision=action, state=end.state, by="recovery", exit_code=end.exit_code, why=end.why)
        if ordered or end.state.startswith("interrupted"):
            job: Any = ended_by_order(end, "recovery", lambda turn, s=settlement: draft_outcome(turn, s))  # type: ignore[misc]
        else:
            job = settle(settlement)
        writer.submit(job, CONTAINMENT).result()
        Path(report_path(str(reports), action)).unlink(missing_ok=True)
    return len(found)


def _open_actions(turn: Turn) -> Plan[tuple[tuple[int, bool], ...]]:
    """(decision, whether an incident waits for its end) of every action without an outcome."""
    waiting = {action for row in turn.state.incident.values() for action in row.waiting}
    found = tuple((seq, seq in waiting) for seq, row in turn.state.action.items() if row.state == "open")
    return Plan((), lambda _: found)


def _end(action: int, report: dict[str, object] | None, alive: bool) -> Ended:
    """How it ended as far as can be shown: by the supervisor's report, else by the sweep at this start."""
    state: Any = "unknown"
    why, proven_by, ended_us, swept = (
        "the node ended before this action was settled",
        "swept at node start",
        0,
        0,
    )
    exit_code = None
    if alive:
        state, why = "interrupted_unconfirmed", "a process of it is still there after the sweep at node start"
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
