"""From what a supervisor said, or left unsaid, to the one `Ended` of a launch.

Pure. Nothing is made better than it was proved: a lost result is `unknown` even if everything is dead.
"""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from typing import cast, get_args

from failwell.execute.frames import as_integer
from failwell.execute.orphans import Swept
from failwell.execute.processes import boottime_us
from failwell.ports.executor import Ended, Launch, State


def ended_from_supervisor(launch: Launch, header: dict[str, object], blobs: list[bytes], ordered: bool) -> Ended:
    """Read a supervisor's result; raises ValueError, KeyError or TypeError if it makes no sense.

    `ordered`: this side had sent the order to kill. A tool that had already ended by then met the order on
    its way, and that is said.
    """
    if len(blobs) != 3 or header["action"] != launch.action:
        raise ValueError("a result for another launch")
    ended = replace(_read(launch, header, blobs[0], blobs[1]), snapshot=blobs[2] or None)
    if ordered and ended.state in ("completed", "failed"):
        return replace(ended, state="completed_after_interrupt", why=ended.why or "ordered")
    return ended


def ended_from_report(launch: Launch, report: dict[str, object]) -> Ended:
    """Read a supervisor's report on disk: its result without the tool's bytes; raises as above."""
    ended = _read(launch, report, b"", b"")
    lost = "the tool's output was not delivered"
    why = f"{ended.why}; {lost}" if ended.why else lost
    return replace(ended, truncated=True, why=why, proven_by=f"supervisor's report: {ended.proven_by}")


def ended_without_supervisor(launch: Launch, started_us: int, starting: bool, swept: Swept, ordered: bool) -> Ended:
    """Say what can be said when a supervisor died with its result.

    A supervisor says "starting" before it starts anything, so silence proves that nothing started. Otherwise
    the tool's wait status, which comes to the node as subreaper, tells whether it was cut down or had ended.
    """
    code = None if swept.tool_status is None else os.waitstatus_to_exitcode(swept.tool_status)
    cut_down = code == -signal.SIGKILL
    state: State
    if not swept.clean:
        state, why = "interrupted_unconfirmed", "the supervisor died; still there: " + ", ".join(swept.left)
    elif not starting:
        state, why = "blocked", "the supervisor died before it started the tool"
    elif cut_down:
        state, why = "interrupted_confirmed", "the supervisor died" + (" after the order" if ordered else "")
    elif code is None:
        state, why = (
            "unknown",
            "the supervisor died; whether the tool had ended is not known; nothing of it is left",
        )
    else:
        state, why = "unknown", "the tool had ended, and its supervisor died with the result"
    return Ended(
        action=launch.action,
        state=state,
        exit_code=code if code is not None and code >= 0 else None,
        signal=-code if code is not None and code < 0 else None,
        output=b"",
        truncated=state != "blocked",
        errors=b"",
        started_us=started_us,
        ended_us=boottime_us(),
        swept=swept.stopped,
        proven_by="swept by the node, process scan clean twice" if swept.clean else "bound reached",
        why=why,
        sweep_us=swept.took_us,
    )


def _read(launch: Launch, body: dict[str, object], output: bytes, errors: bytes) -> Ended:
    state = body["state"]
    if state not in get_args(State):
        raise ValueError(f"state {state!r}")
    return Ended(
        action=launch.action,
        state=cast("State", state),
        exit_code=_integer_or_none(body["exit_code"]),
        signal=_integer_or_none(body["signal"]),
        output=output,
        truncated=body["truncated"] is True,
        errors=errors,
        started_us=as_integer(body["started_us"]),
        ended_us=as_integer(body["ended_us"]),
        swept=as_integer(body["swept"]),
        proven_by=str(body["proven_by"]),
        why=None if body["why"] is None else str(body["why"]),
        sweep_us=as_integer(body["sweep_us"]),
    )


def _integer_or_none(value: object) -> int | None:
    return None if value is None else as_integer(value)
