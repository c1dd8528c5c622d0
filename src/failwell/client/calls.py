"""What a call was given and what came of it: arguments told apart, verdicts and outcomes to values or exceptions."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from typing import Any

from failwell.client.answers import Denied, Escalated, Interrupted, Outcome, Permitted, Verdict, read_verdict
from failwell.core.errors import FailwellError as Error


def pauses(timeout_s: float | None) -> Iterator[float]:
    """Pauses between questions, from a fraction of a second to a few; none beyond `timeout_s` from now."""
    until_s = math.inf if timeout_s is None else time.monotonic() + timeout_s
    pause_s = 0.2
    while (left_s := until_s - time.monotonic()) > 0:
        yield min(pause_s, left_s)
        pause_s = min(pause_s * 1.5, 5.0)


def taken(
    arguments: dict[str, Any] | None, more: dict[str, Any]
) -> tuple[str | None, str | None, int | str | None, dict[str, Any]]:
    """(reason, call id, ticket, arguments) from what a call was given."""
    reason, call_id, ticket = (more.pop(name, None) for name in ("reason", "call_id", "ticket"))
    return reason, call_id, ticket, {**(arguments or {}), **more}


def runnable(verdict: Verdict) -> Verdict:
    """The verdict, if it lets the action run now; Denied, Escalated or Error otherwise."""
    if not verdict.may_start:
        raise Escalated(verdict) if verdict.verdict == "ESCALATE" else Denied(verdict)
    if verdict.repeated:
        raise Error(
            f"this call was decided before (entry {verdict.entry}) and is {verdict.state}: it does not run again",
            hint="Use a new call id for a new action.", code="repeated",
        )  # fmt: skip
    return verdict


def permitted(raw: dict[str, Any]) -> Permitted:
    """The permit that the node sent; Denied, Escalated, or Error where the call was decided before: it leaves once."""
    verdict = runnable(read_verdict(raw["verdict"]))
    return Permitted(verdict=verdict, **raw["permit"])


def result(outcome: Outcome) -> Any:
    """What the tool gave; Error where it failed, Interrupted where it was stopped."""
    if outcome.state == "completed":
        return outcome.result
    if outcome.state == "failed":
        raise Error(f"the tool failed: {outcome.why} [entry {outcome.entry}]", code="tool-failed")
    raise Interrupted(outcome)


def read_output(output: bytes) -> Any:
    """A tool's output: the JSON value it is, else its text."""
    text = output.decode("utf-8", "replace")
    try:
        return json.loads(text)
    except ValueError:
        return text
