"""The known name that was probably meant: what a mend proposes."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

_MOST_COMPARED = 32
_CLOSE = 0.6


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name closest to `name`, or None.

    Attack: a thousand wrong names beside two thousand known ones, each compared with each, take a minute. So few are
    compared, those that begin or end alike.
    """
    alike = [one for one in known if one[:1] == name[:1] or one[-2:] == name[-2:]][:_MOST_COMPARED]
    return next(iter(get_close_matches(name[:256], alike, 1, _CLOSE)), None)


def meant(name: str, known: Iterable[str], prefix: str = "") -> str:
    """Return a question that offers the known name closest to `name`, after `prefix`; or nothing."""
    close = nearest(name, known)
    return f"Did you mean {prefix}{close}?" if close else ""
