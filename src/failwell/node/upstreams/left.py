"""What supervisors of a dead node's tool servers left: how the calls ended that those were asked for.

A call has no process of its own and so no report: which process it was asked of stands in its `started` entry, and how
that one was stopped in its supervisor's report. Where either is missing nothing is known of the call. Only pointers are
read here; nothing is stopped, and what cannot be read says nothing.
"""

from __future__ import annotations

import contextlib
import itertools
from pathlib import Path

from failwell.core import kinds
from failwell.execute.reports import read_json
from failwell.ledger.jobs import Turn
from failwell.node.upstreams.server import FIRST

Report = dict[str, object]
#: Entries behind a decision among which it is looked for what it was asked of.
_SEARCHED = 5000


def is_server(number: int) -> bool:
    """Whether a launch of this number is a tool server."""
    return number <= FIRST


def take_reports(reports: Path) -> dict[int, Report]:
    """The reports on tool servers, by the pid of the supervisor; they are read once, and gone then."""
    found: dict[int, Report] = {}
    for path in reports.glob("swept--*.json"):
        with contextlib.suppress(OSError, ValueError):
            if is_server(int(path.stem.removeprefix("swept-"))):
                report = read_json(str(path))
                if report is not None and isinstance(report.get("supervisor"), int):
                    found[int(str(report["supervisor"]))] = report
                path.unlink(missing_ok=True)
    return found


def asked_of(turn: Turn, action: int) -> int | None:
    """The process that an action was started as; None where no entry says so."""
    for seq in itertools.islice(range(action + 1, turn.seq), _SEARCHED):
        entry = turn.entry(seq)
        if entry is not None and isinstance(entry.body, kinds.Started) and entry.body.decision == action:
            return entry.body.pid
    return None


def report_on_call(action: int, report: Report) -> Report:
    """What a server's report is worth for a call of it: that it was stopped, where it was, and else nothing."""
    stopped = str(report.get("state")) in ("interrupted_confirmed", "interrupted_unconfirmed")
    return {
        **report, "action": action, "exit_code": None, "state": report.get("state") if stopped else "unknown",
        "why": f"its tool server was stopped: {report.get('why')}" if stopped
        else "its tool server ended before it answered; whether it did what it was asked is not known",
    }  # fmt: skip
