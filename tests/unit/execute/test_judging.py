"""What may be said of a launch: the table of what is proved against the state that it allows."""

from __future__ import annotations

import signal

import pytest

from failwell.execute.judging import Captured, Facts, judge_end, split_status

EXIT_0, EXIT_3, KILLED, CRASHED = 0, 3 << 8, int(signal.SIGKILL), int(signal.SIGSEGV)


@pytest.mark.parametrize(
    ("reason", "refused", "status", "alone", "clean", "state"),
    [
        (None, None, EXIT_0, True, True, "completed"),
        (None, None, EXIT_3, True, True, "failed"),
        (None, None, CRASHED, True, True, "failed"),
        (None, None, KILLED, True, True, "failed"),
        (None, "no such file", None, False, True, "blocked"),
        (None, "no such file", EXIT_0, True, True, "blocked"),
        ("ordered", None, KILLED, False, True, "interrupted_confirmed"),
        ("ordered", None, None, False, True, "interrupted_confirmed"),
        ("ordered", None, EXIT_0, True, True, "completed_after_interrupt"),
        ("ordered", None, EXIT_0, False, True, "completed_after_interrupt"),
        ("ordered", None, EXIT_3, False, True, "completed_after_interrupt"),
        ("ordered", None, KILLED, True, True, "completed_after_interrupt"),
        ("deadline", None, KILLED, False, False, "interrupted_unconfirmed"),
        (None, None, EXIT_0, True, False, "interrupted_unconfirmed"),
        (None, "no such file", None, False, False, "interrupted_unconfirmed"),
    ],
)
@pytest.mark.requirement("R6.3")
def test_a_state_is_said_only_where_it_is_proved(
    reason: str | None, refused: str | None, status: int | None, alone: bool, clean: bool, state: str
) -> None:
    facts = Facts(reason=reason, refused=refused, status=status, alone=alone, clean=clean, left=["9 (x) D"], limits={})
    said, why = judge_end(facts)
    assert said == state
    if not clean:
        assert why is not None
        assert "9 (x) D" in why


def test_survivors_that_cannot_be_seen_are_still_said_to_be_there() -> None:
    facts = Facts(reason="ordered", refused=None, status=None, alone=False, clean=False, left=[], limits={})
    assert judge_end(facts) == (
        "interrupted_unconfirmed",
        "ordered; still there: children that cannot be seen",
    )


def test_a_wait_status_is_an_exit_code_or_a_signal_or_nothing() -> None:
    assert split_status(EXIT_3) == (3, None)
    assert split_status(CRASHED) == (None, signal.SIGSEGV)
    assert split_status(None) == (None, None)


def test_output_keeps_its_head_and_errors_their_tail() -> None:
    captured = Captured(4, 3)
    for part in (b"abc", b"de", b"f"):
        captured.add_output(part)
        captured.add_errors(part)
    assert (bytes(captured.output), captured.truncated) == (b"abcd", True)
    assert bytes(captured.errors) == b"def"
    exact = Captured(3, 3)
    exact.add_output(b"abc")
    assert not exact.truncated
