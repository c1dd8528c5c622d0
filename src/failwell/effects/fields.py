"""Reading one logged line or row as the settings say, or saying why it cannot be.

Times become RFC 3339 UTC; texts are taken as logged, bounded and without control characters. Pure: it
reads no log.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from failwell.core.errors import InputError
from failwell.core.instants import format_at
from failwell.effects.settings import Settings, TimeUnit
from failwell.ports.effects import Effect

MAX_TEXT: Final = 200
_LAST_US: Final = 253_402_300_800_000_000  # the year 10000
_UNIT_US: Final[dict[TimeUnit, int]] = {"s": 1_000_000, "ms": 1_000, "us": 1}


def effect_of(settings: Settings, fields: Mapping[str, Any], place: str, digest: str) -> Effect:
    """The effect that `fields` say; one with a `fault` where they cannot be read.

    `place` is the line's or row's stable place in its log, `digest` the hex SHA-256 of its raw bytes.
    """
    try:
        return Effect(
            witness=settings.witness,
            ref=place if settings.ref is None else _text(fields, settings.ref),
            tool=settings.tool,
            at=_instant(fields, settings.at, settings.at_unit),
            customer=_optional(fields, settings.customer),
            action=_optional(fields, settings.action),
            digest=digest,
        )
    except InputError as error:
        return unreadable(settings, place, digest, error.message)


def unreadable(settings: Settings, place: str, digest: str, fault: str) -> Effect:
    """An effect of which only the place and the digest are known."""
    return Effect(
        witness=settings.witness,
        ref=place,
        tool=settings.tool,
        at=None,
        customer=None,
        action=None,
        digest=digest,
        fault=fault,
    )


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    if type(value) is int:
        value = str(value)
    if type(value) is not str or not 0 < len(value) <= MAX_TEXT or not value.isprintable():
        raise InputError(f"{name} is not a text of 1 to {MAX_TEXT} printable characters")
    return value


def _optional(fields: Mapping[str, Any], name: str | None) -> str | None:
    if name is None:
        return None
    if name not in fields:
        raise InputError(f"{name} is missing")
    return None if fields[name] is None else _text(fields, name)


def _instant(fields: Mapping[str, Any], name: str, unit: TimeUnit) -> str:
    value = fields.get(name)
    if unit == "rfc3339":
        at_us = _rfc3339(value)
    elif type(value) is int or (type(value) is float and abs(value) < _LAST_US):
        at_us = round(value * _UNIT_US[unit])
    else:
        at_us = None
    if at_us is None or not 0 <= at_us < _LAST_US:
        raise InputError(f"{name} is not a time ({unit})")
    return format_at(at_us)


def _rfc3339(value: object) -> int | None:
    if type(value) is not str or "T" not in value:
        return None
    try:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            return None  # a time without a zone is no time
        since = moment - datetime.fromisoformat("1970-01-01T00:00:00+00:00")
    except (ValueError, OverflowError):
        return None
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
