"""A step of the escalation path in words."""

from __future__ import annotations

from failwell.core.contract.duration import format_duration
from failwell.core.contract.model import Step
from failwell.core.contract.words import listed

#: How long a step has where it does not say, and how often a last resort is asked.
WITHIN_US, AGAIN_US = 15 * 60_000_000, 30 * 60_000_000


def asks(step: Step) -> str:
    """Whom it asks, by what, for how long, and for which incidents: `owner, by email; 15m to take it`."""
    within = format_duration(within_us(step))
    wait = f"again every {within} until one has taken it" if step.last_resort else f"{within} to take it"
    more = f", {step.repeat + 1} times" if step.repeat else ""
    only = f", from {step.severity} on" if step.severity != "minor" else ""
    only += f", only {step.hours}" if step.hours else ""
    need = "" if step.require == "any" else f", {step.require} of them have to"
    return f"{step.notify}, by {listed(list(step.by))}; {wait}{need}{more}{only}"


def within_us(step: Step) -> int:
    """How long whoever is asked has."""
    if step.ack_within_us is not None:
        return step.ack_within_us
    return AGAIN_US if step.last_resort else WITHIN_US
