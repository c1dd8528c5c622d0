"""From what a supervisor said, or left unsaid, to the one end of a launch."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from failwell.execute.orphans import Swept
from failwell.execute.results import ended_from_report, ended_from_supervisor, ended_without_supervisor
from failwell.ports.executor import Launch

LAUNCH = Launch(
    action=5,
    agent="a",
    tool="t",
    command=("true",),
    cwd=None,
    env={},
    stdin=b"",
    deadline_us=None,
    output_cap_bytes=10,
    marker="m",
)
SAID: dict[str, Any] = {
    "action": 5,
    "state": "completed",
    "exit_code": 0,
    "signal": None,
    "truncated": False,
    "started_us": 1,
    "ended_us": 2,
    "swept": 0,
    "proven_by": "p",
    "why": None,
    "sweep_us": 0,
}


def test_a_tool_that_ended_before_the_order_arrived_is_said_to_have_ended_after_it() -> None:
    assert ended_from_supervisor(LAUNCH, SAID, [b"out", b"", b""], False).state == "completed"
    assert ended_from_supervisor(LAUNCH, SAID, [b"out", b"", b""], True).state == "completed_after_interrupt"
    blocked = {**SAID, "state": "blocked", "exit_code": None}
    assert ended_from_supervisor(LAUNCH, blocked, [b"", b"", b""], True).state == "blocked"


@pytest.mark.parametrize(
    "change",
    [
        {"action": 6},
        {"state": "fine"},
        {"exit_code": "0"},
        {"exit_code": True},
        {"started_us": 1.5},
        {"swept": None},
    ],
)
def test_a_result_that_makes_no_sense_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError)):
        ended_from_supervisor(LAUNCH, {**SAID, **change}, [b"", b"", b""], False)


def test_a_result_without_a_field_or_its_bytes_is_refused() -> None:
    with pytest.raises(KeyError):
        ended_from_supervisor(LAUNCH, {key: SAID[key] for key in SAID if key != "sweep_us"}, [b"", b"", b""], False)
    with pytest.raises(ValueError):
        ended_from_supervisor(LAUNCH, SAID, [b""], False)


def test_a_report_says_that_the_output_is_lost() -> None:
    ended = ended_from_report(LAUNCH, SAID)
    assert (ended.state, ended.output, ended.truncated) == ("completed", b"", True)
    assert ended.why == "the tool's output was not delivered"
    assert ended.proven_by == "supervisor's report: p"


@pytest.mark.parametrize(
    ("starting", "clean", "status", "state"),
    [
        (False, True, None, "blocked"),
        (True, True, int(signal.SIGKILL), "interrupted_confirmed"),
        (True, True, 0, "unknown"),
        (True, True, 3 << 8, "unknown"),
        (True, True, None, "unknown"),
        (True, False, int(signal.SIGKILL), "interrupted_unconfirmed"),
        (False, False, None, "interrupted_unconfirmed"),
    ],
)
def test_without_a_supervisors_word_nothing_is_made_better_than_it_was_proved(
    starting: bool, clean: bool, status: int | None, state: str
) -> None:
    swept = Swept(clean, 1, () if clean else ("9 (x) S",), status, 10)
    ended = ended_without_supervisor(LAUNCH, 1, starting, swept, False)
    assert ended.state == state
    assert ended.why is not None
    assert clean or "9 (x) S" in ended.why
