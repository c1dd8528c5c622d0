"""What goes into a judgment and what comes out: plain frozen values, no behaviour.

Reserved clause ids, used where Failwell decides itself: `tool.unlisted`, `arguments`, `contract.valid`,
`authority.suspended` (and `.retired`, `.registered`, `.unregistered`, `.unknown`, `.observed`: its time is over),
`authority.restricted`, `principal`, `facts` (a trusted source did not answer), `delegation`, `ticket`,
`evaluation.error`, `health.failed`, `stopped` (people stopped more than this agent). No clause or limit of a contract
can have one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec

from failwell.core.contract.argument import Value
from failwell.core.contract.model import Limit, Severity, Then

Verdict = Literal["ALLOW", "DENY", "ESCALATE"]

#: Where principal and request of a run come from. `derived`: from a run whose host proved them, by being handed over.
Standing = Literal["absent", "asserted", "derived", "verified"]

#: How far a limit is used for these key values before this action: how many in its window, or how much.
Usage = Callable[[Limit, tuple[str, ...]], int]

#: A denial for want of health. It says nothing about the agent, so neither the ladder nor a contract's rule answers it.
UNHEALTHY = "health.failed"
#: A denial because people stopped a scope that the action is within: what was asked for says nothing either.
STOPPED = "stopped"
#: Denials that no rule answers.
NOT_THE_AGENTS = frozenset({UNHEALTHY, STOPPED})

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
    "authority.observed": "minor",
    "principal": "major",
    "facts": "major",
    "delegation": "major",
    "ticket": "minor",
    "tool.changed": "major",
    "evaluation.error": "major",
    UNHEALTHY: "minor",
    STOPPED: "minor",
}


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    """One proposed action: `arguments` is the raw JSON text, as the agent gave it."""

    tool: str
    arguments: bytes
    reason: str | None = None


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What a trusted source is asked before a verdict: `arguments` are those that the contract hands it."""

    fact: str
    source: str
    arguments: dict[str, Any]


class Looked(msgspec.Struct, frozen=True, kw_only=True):
    """How a question went: `state` is answered, late, failed or wrong; `value` the JSON value of an answer."""

    source: str
    state: Literal["answered", "late", "failed", "wrong"]
    elapsed_us: int
    value: Any = None
    detail: str = ""


class Situation(msgspec.Struct, frozen=True, kw_only=True):
    """What a verdict depends on besides the proposal. `now_us`: UTC microseconds since the epoch (ledger
    time).

    `acts_for` says whether the run's principal is of a kind, or is the one of a name. `run` and `principal` are what
    limits are kept per. `looked`: the answers of trusted sources by fact; None: not asked yet. `passed`: ids of
    clauses and limits whose ESCALATE a person has answered for.
    """

    authority: str
    now_us: int
    request: Standing
    usage: Usage
    novel: tuple[str, ...] = ()
    baseline: Literal["absent", "learning", "locked"] = "absent"
    acting_for: Standing = "absent"
    acts_for: Callable[[str], bool] = lambda principal: False
    principal: str | None = None
    run: int | None = None
    looked: Mapping[str, Looked] | None = None
    passed: frozenset[str] = frozenset()


class Decided(msgspec.Struct, frozen=True, kw_only=True):
    """A clause or limit that spoke. `because` is for people; it shows nothing of the arguments. `mend`: what it would
    take for it not to speak, where that can be said."""

    id: str
    then: Then
    severity: Severity
    because: str
    mend: str = ""


class Fact(msgspec.Struct, frozen=True, kw_only=True):
    """One typed value by argument name; amounts in smallest units. `value` None: the optional argument is
    absent."""

    type: str
    value: Value | None
    public: bool
    provenance: Literal["verified", "asserted", "absent"]


class Use(msgspec.Struct, frozen=True, kw_only=True):
    """How far a limit was used before this action; `at_most` as it applied (halved when restricted).

    `adds` is what the action takes of it. `gives`: the action is one that a sequence needs, so that its completion,
    not its verdict, counts.
    """

    limit: Limit
    at_most: int
    used: int
    key: tuple[str, ...]
    adds: int = 1
    gives: bool = False

    @property
    def over(self) -> bool:
        """Whether the limit speaks."""
        if self.gives:
            return False
        return self.used < self.at_most if self.limit.kind == "sequence" else self.used + self.adds > self.at_most

    def taken(self, verdict: Verdict) -> bool:
        """Whether a decision with this verdict takes of the limit: an ALLOW does, and a rate counts what is asked."""
        if self.gives or self.limit.kind == "sequence":
            return False
        return verdict == "ALLOW" or self.limit.kind == "rate"


class Judgment(msgspec.Struct, frozen=True, kw_only=True):
    """The verdict and all it was judged on.

    `arguments` is the RFC 8785 text (None: not readable as strict JSON); `errors` names places and rules,
    never values; `hint` says what it would take to be allowed. `questions`: nothing is decided yet, these have to be
    asked first.
    """

    verdict: Verdict
    clauses: tuple[Decided, ...]
    facts: dict[str, Fact]
    arguments: bytes | None
    affects: dict[str, Value]
    uses: tuple[Use, ...]
    hint: str | None
    errors: tuple[str, ...]
    questions: tuple[Question, ...] = ()
