"""Instants as the ledger writes them: RFC 3339 UTC with microseconds, `2026-11-23T05:11:18.000123Z`.

Pure conversion between that text and integer microseconds since the Unix epoch; the clock itself is a port.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache

from failwell.core.errors import InputError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MARKS = ("-", "-", "T", ":", ":", ".", "Z")
_MICROSECOND = timedelta(microseconds=1)


def format_at(at_us: int) -> str:
    """Microseconds since the Unix epoch (UTC) as RFC 3339 with six decimals and `Z`."""
    seconds, micros = divmod(at_us, 1_000_000)
    return f"{_format_second(seconds)}.{micros:06d}Z"


@lru_cache(maxsize=64)  # neighbours in the ledger share their second
def _format_second(seconds: int) -> str:
    return (_EPOCH + timedelta(seconds=seconds)).isoformat()[:19]  # not strftime, which shortens early years


@lru_cache(maxsize=64)  # one commit has one ledger time, and each of its entries is looked at more than once
def parse_at(text: str) -> int:
    """Microseconds since the Unix epoch of an RFC 3339 instant as `format_at` writes it; InputError otherwise."""
    # `fromisoformat` alone takes week dates, commas and times without colons too: one instant, one spelling.
    if len(text) != 27 or (text[4], text[7], text[10], text[13], text[16], text[19], text[26]) != _MARKS:
        raise InputError(f"{text!r} is not an instant like 2026-11-23T05:11:18.000123Z")
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise InputError(f"{text!r} is not an instant like 2026-11-23T05:11:18.000123Z") from error
    return (moment - _EPOCH) // _MICROSECOND
