"""Limits of a tool: what is none is refused, and a signal is explained only as far as it tells."""

from __future__ import annotations

import resource
import signal

import pytest

from failwell.execute.limits import explain_signal, read_limits


def test_a_limit_is_a_name_that_is_known_and_a_number() -> None:
    assert read_limits({"nofile": 20, "cpu": 3}) == [
        (resource.RLIMIT_NOFILE, (20, 20), "20 open files"),
        (resource.RLIMIT_CPU, (3, 4), "3 seconds of CPU time"),
    ]
    for wrong in ({"core": 1}, {"cpu": -1}, {"cpu": True}, {"cpu": "3"}, {"as": None}):
        with pytest.raises(ValueError, match="limit"):
            read_limits(dict(wrong))


@pytest.mark.parametrize(
    ("number", "limits", "said"),
    [
        (signal.SIGXCPU, {"cpu": 3}, "signal 24: it reached its limit of 3 seconds of CPU time"),
        (signal.SIGXFSZ, {"fsize": 9}, "signal 25: it reached its limit of 9 bytes in a file"),
        (signal.SIGKILL, {"cpu": 3}, "signal 9: killed by somebody else, or for its limit of 3 seconds of CPU time"),
        (signal.SIGXCPU, {}, "signal 24"),
        (signal.SIGXFSZ, {"cpu": 3}, "signal 25"),
        (signal.SIGKILL, {"as": 3}, "signal 9"),
        (signal.SIGSEGV, {"cpu": 3, "as": 3}, "signal 11"),
    ],
)
def test_a_signal_is_laid_to_a_limit_only_if_there_is_one(number: int, limits: dict[str, object], said: str) -> None:
    assert explain_signal(number, limits) == said
