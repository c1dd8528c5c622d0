"""Signals, response words and durations as a contract writes them."""

from __future__ import annotations

import pytest

from failwell.core.contract import Signal, format_duration, parse_duration, parse_signal
from failwell.core.contract.signal import expand_do
from failwell.core.errors import InputError


@pytest.mark.parametrize(
    ("text", "signal"),
    [
        ("denied(a-b)", Signal(verb="denied", about="a-b")),
        ("denied(a) >= 3 in 10m", Signal(verb="denied", about="a", at_least=3, within_us=600_000_000)),
        (
            "  recorded(a)>=1  in 31d ",
            Signal(verb="recorded", about="a", at_least=1, within_us=2_678_400_000_000),
        ),
        ("escalated(tool.unlisted)", Signal(verb="escalated", about="tool.unlisted")),
        ("ensure(booked) >= 2 in 1d", Signal(verb="ensure", about="booked", at_least=2, within_us=86_400_000_000)),
        ("executor.unconfirmed", Signal(verb="executor.unconfirmed", about=None)),
        ("bypass >= 2 in 1h", Signal(verb="bypass", about=None, at_least=2, within_us=3_600_000_000)),
    ],
)
def test_a_signal_is_read(text: str, signal: Signal) -> None:
    assert parse_signal(text) == signal


def test_the_name_is_the_one_under_which_it_is_raised() -> None:
    assert parse_signal("denied(a) >= 3 in 10m").name == "denied(a)"
    assert parse_signal("executor.unconfirmed").name == "executor.unconfirmed"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "denied",
        "denied()",
        "Denied(a)",
        "denied(a) > 3 in 10m",
        "denied(a) >= 0 in 10m",
        "denied(a) >= 3",
        "denied(a) >= 3 in 32d",
        "denied(a) >= 3 in 0s",
        "denied(a)(b)",
        "denied((a))",
        "bypass(a)",
        "refused(a)",
        "drift.alarm",
        "drift.warning",
        "ensure",
        "denied(a) >= 3 in 10m; bypass",
        "executor",
    ],
)
@pytest.mark.requirement("R12.1")
def test_what_is_never_raised_is_refused_with_a_mend(text: str) -> None:
    with pytest.raises(InputError) as refusal:
        parse_signal(text)
    assert refusal.value.hint


@pytest.mark.requirement("R7.3")
def test_suspend_implies_interrupt_hold_and_notify() -> None:
    assert expand_do(("suspend",)) == ("interrupt", "suspend", "hold", "notify")
    assert expand_do(("notify", "suspend", "record")) == ("record", "interrupt", "suspend", "hold", "notify")
    assert expand_do(("notify", "restrict")) == ("restrict", "notify")


@pytest.mark.parametrize("text", ["10s", "5m", "1h", "7d", "90s", "3650d"])
def test_durations_read_back(text: str) -> None:
    assert parse_duration(format_duration(parse_duration(text))) == parse_duration(text)


@pytest.mark.parametrize("text", ["", "0s", "10", "1.5h", "-1s", "1 h", "1w", "01s", "3651d", "10S", "1h30m", "٣s"])
def test_other_durations_are_refused(text: str) -> None:
    with pytest.raises(InputError):
        parse_duration(text)
