"""Quiet hours: minor incidents wait for their end, and nothing else does."""

from __future__ import annotations

from failwell.core import rows
from failwell.core.errors import InputError
from failwell.core.escalation.calendars import local_us
from failwell.core.hours import DAY_US, parse_hours
from failwell.core.projections import Projections


def until_us(state: Projections, case: rows.Incident, at_us: int) -> int:
    """Until when people are left alone with an incident (ledger time); `at_us` where they are not.

    Never with what is more than minor, and never where a stop failed: that agent may still act.
    """
    if case.severity != "minor" or "CONTAINMENT_FAILED" in case.marks:
        return at_us
    return _ends_us(state, at_us)


def left_alone(state: Projections, at_us: int) -> bool:
    """Whether these are quiet hours, for what nobody has to hear of before they end."""
    return _ends_us(state, at_us) > at_us


def _ends_us(state: Projections, at_us: int) -> int:
    escalating = state.workspace[1].escalation if state.workspace else None
    if escalating is None or not escalating.quiet:
        return at_us
    now_us = local_us(state, escalating.zone, at_us)
    day_us, time_us = now_us - now_us % DAY_US, now_us % DAY_US
    try:
        spans = parse_hours(escalating.quiet)
    except InputError:
        return at_us
    for span in spans:
        if span.since_us <= time_us < span.until_us:
            return at_us + (day_us + span.until_us - now_us)
        if span.since_us >= span.until_us and (time_us >= span.since_us or time_us < span.until_us):
            ends_us = day_us + span.until_us + (DAY_US if time_us >= span.since_us else 0)
            return at_us + (ends_us - now_us)
    return at_us
