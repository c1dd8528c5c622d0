"""Durations as a contract writes them: `10s`, `5m`, `1h`, `7d`; integer microseconds inside."""

from __future__ import annotations

import re

from failwell.core.errors import InputError

_UNITS_US = {"d": 86_400_000_000, "h": 3_600_000_000, "m": 60_000_000, "s": 1_000_000}
_DURATION = re.compile(r"([1-9][0-9]{0,8})([smhd])")

#: Ten years: longer than any contract is valid, and far below 2^53 microseconds.
LONGEST_US = 3650 * _UNITS_US["d"]


def parse_duration(text: str) -> int:
    """Return the microseconds of `10s`, `5m`, `1h` or `7d`; InputError for anything else or over ten
    years."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise InputError(f"{text!r} is not a duration", hint="Write a whole number and s, m, h or d, such as 10m.")
    length_us = int(match[1]) * _UNITS_US[match[2]]
    if length_us > LONGEST_US:
        raise InputError(f"{text!r} is longer than ten years", hint="Leave the period out, or shorten it.")
    return length_us


def format_duration(length_us: int) -> str:
    """Return the shortest text of a duration that `parse_duration` reads back."""
    for unit, unit_us in _UNITS_US.items():
        if length_us % unit_us == 0:
            return f"{length_us // unit_us}{unit}"
    return f"{length_us}us"
