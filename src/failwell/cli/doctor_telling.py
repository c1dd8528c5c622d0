"""What `doctor` says of how people would be told: whether somebody would come, as `escalation lint` looks at it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from failwell.cli.screen import plural

Line = tuple[str, str, str, str | None]
PART = "escalation"
#: What is not merely weak: somebody who ought to be asked would not be.
_NOBODY = frozenset(
    {"nobody-on-call", "nobody", "unknown-team", "unknown-person", "unknown-channel", "same-person", "stale-proof",
     "unreachable-step", "only-last-resort"}
)  # fmt: skip


def lines(faults: Sequence[dict[str, Any]]) -> Iterator[Line]:
    """(part, state, found, what to do)."""
    grave = [each for each in faults if each["code"] in _NOBODY]
    if not faults:
        yield PART, "ok", "every path asks somebody, in the next 31 days too", None
        return
    first = (grave or faults)[0]
    found = f"{plural(len(faults), 'thing')} to mend; {first['place']}: {first['problem']}"
    yield PART, "todo" if grave else "known", found, "failwell escalation lint"
