"""What a call was given and what came of it: arguments told apart, verdicts and outcomes to values or exceptions."""

from __future__ import annotations

import base64
import json
import math
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from failwell.client.answers import (
    Denied,
    Erased,
    Escalated,
    Interrupted,
    Outcome,
    Permitted,
    Repeated,
    ToolFailed,
    Truncated,
    Verdict,
    read_verdict,
)
from failwell.core.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One action as its caller wants it: what the tool is given, and what is said beside it."""

    tool: str
    arguments: dict[str, Any]
    reason: str | None = None
    ticket: int | str | None = None
    id: str = field(default_factory=lambda: uuid.uuid4().hex)

    def text(self) -> str:
        """The arguments as they travel; InputError where they cannot."""
        try:
            return json.dumps(self.arguments)
        except (TypeError, ValueError, RecursionError) as error:
            raise InputError(f"arguments travel as JSON: {error}", hint="Give text, numbers, lists, dicts.") from error


def call_of(
    tool: str, arguments: dict[str, Any] | None, more: dict[str, Any], *, reason: str | None = None,
    call_id: str | None = None, ticket: int | str | None = None,
) -> Call:  # fmt: skip
    """A call from what a method of a run was given."""
    made = Call(tool=tool, arguments={**(arguments or {}), **more}, reason=reason, ticket=ticket)
    return made if call_id is None else replace(made, id=call_id)


def pauses(timeout_s: float | None) -> Iterator[float]:
    """Pauses between questions, from a fraction of a second to a few; none beyond `timeout_s` from now."""
    until_s = math.inf if timeout_s is None else time.monotonic() + timeout_s
    pause_s = 0.2
    while (left_s := until_s - time.monotonic()) > 0:
        yield min(pause_s, left_s)
        pause_s = min(pause_s * 1.5, 5.0)


def runnable(raw: dict[str, Any]) -> Verdict:
    """The verdict, if it lets the action run now; Denied, Escalated or Repeated otherwise."""
    verdict = read_verdict(raw["verdict"])
    if verdict.repeated and raw.get("result") is not None:
        raise Repeated(verdict, read_outcome(raw))
    if not verdict.may_start:
        raise Escalated(verdict) if verdict.verdict == "ESCALATE" else Denied(verdict)
    if verdict.repeated:
        raise Repeated(verdict)
    return verdict


def earlier(raw: dict[str, Any]) -> Outcome | None:
    """What came of a call that was made before; None where it is a new one, or has not ended."""
    return read_outcome(raw) if raw["result"] is not None and raw["verdict"]["repeated"] else None


def read_outcome(raw: dict[str, Any]) -> Outcome:
    """What came of a call: now, or when it was made before. Denied, Escalated or Repeated where that is nothing."""
    told = raw["result"]
    verdict = runnable(raw) if told is None else read_verdict(raw["verdict"])
    return Outcome(
        state=told["state"], result=read_output(base64.b64decode(told["output"])), entry=told["entry"], verdict=verdict,
        exit_code=told["exit_code"], why=told["why"], truncated=told["truncated"], erased=told.get("erased"),
    )  # fmt: skip


def permitted(raw: dict[str, Any]) -> Permitted:
    """The permit that the node sent; Denied, Escalated, or Repeated: it leaves once."""
    verdict = runnable(raw)
    return Permitted(verdict=verdict, **raw["permit"])


def result(outcome: Outcome) -> Any:
    """What the tool gave; ToolFailed where it failed, Interrupted where it was stopped, Erased where that is gone."""
    if outcome.state == "failed":
        raise ToolFailed(outcome)
    if outcome.state != "completed":
        raise Interrupted(outcome)
    if outcome.erased is not None:
        raise Erased(outcome)
    return outcome.result


def whole(outcome: Outcome) -> None:
    """Truncated where a stream gave less than the tool had said."""
    if outcome.truncated:
        raise Truncated(outcome)


def read_output(output: bytes) -> Any:
    """A tool's output: the JSON value it is, else its text."""
    text = output.decode("utf-8", "replace")
    try:
        return json.loads(text)
    except ValueError:
        return text
