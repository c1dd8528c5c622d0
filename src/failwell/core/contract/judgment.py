"""What goes into a judgment and what comes out: plain frozen values, no behaviour.

Reserved clause ids, used where Failwell decides itself: `tool.unlisted`, `arguments`, `contract.valid`,
`authority.suspended` (and `.retired`, `.registered`, `.unregistered`, `.unknown`), `authority.restricted`,
`evaluation.error`, `health.failed`. No clause or limit of a contract can have one of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec

from failwell.core.contract.argument import Value
from failwell.core.contract.model import Severity, Then

Verdict = Literal["ALLOW", "DENY", "ESCALATE"]

#: How many reservations a limit has for these key values: (limit id, key values, window in microseconds or
#: 0 = ever) -> reservations younger than the window, before this action.
Usage = Callable[[str, tuple[str, ...], int], int]

#: A denial for want of health. It says nothing about the agent, so neither the ladder nor a contract's rule answers it.
UNHEALTHY = "health.failed"

RESERVED: dict[str, Severity] = {
    "tool.unlisted": "major",
    "arguments": "minor",
    "contract.valid": "minor",
    "authority.suspended": "minor",
    "authority.retired": "minor",
    "authority.registered": "minor",
    "authority.unregistered": "minor",
    "authority.unknown": "major",
    "authority.restricted": "minor",
    "evaluation.error": "major",
    UNHEALTHY: "minor",
}


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    """One proposed action: `arguments` is the raw JSON text, as the agent gave it."""

    tool: str
    arguments: bytes
    reason: str | None = None


class Situation(msgspec.Struct, frozen=True, kw_only=True):
    """What a verdict depends on besides the proposal. `now_us`: UTC microseconds since the epoch (ledger
    time)."""

    authority: str
    now_us: int
    request: Literal["absent", "asserted", "verified"]
    usage: Usage
    novel: tuple[str, ...] = ()
    baseline: Literal["absent", "learning", "locked"] = "absent"


class Decided(msgspec.Struct, frozen=True, kw_only=True):
    """A clause or limit that spoke. `because` is for people; it shows nothing of the arguments."""

    id: str
    then: Then
    severity: Severity
    because: str


class Fact(msgspec.Struct, frozen=True, kw_only=True):
    """One typed value by argument name; amounts in smallest units. `value` None: the optional argument is
    absent."""

    type: str
    value: Value | None
    public: bool
    provenance: Literal["asserted", "absent"]


class Reserve(msgspec.Struct, frozen=True, kw_only=True):
    """One use that an allowed action takes of a limit, in the window kept for `key`."""

    limit: str
    key: tuple[str, ...]


class Use(msgspec.Struct, frozen=True, kw_only=True):
    """How far a limit was used before this action; `at_most` as it applied (halved when restricted)."""

    limit: str
    at_most: int
    used: int
    key: tuple[str, ...]


class Judgment(msgspec.Struct, frozen=True, kw_only=True):
    """The verdict and all it was judged on.

    `arguments` is the RFC 8785 text (None: not readable as strict JSON); `errors` names places and rules,
    never values; `hint` says what it would take to be allowed; `reserve` is empty unless the verdict is
    ALLOW.
    """

    verdict: Verdict
    clauses: tuple[Decided, ...]
    facts: dict[str, Fact]
    arguments: bytes | None
    affects: dict[str, Value]
    reserve: tuple[Reserve, ...]
    uses: tuple[Use, ...]
    hint: str | None
    errors: tuple[str, ...]
