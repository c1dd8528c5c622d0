"""The contract as frozen records, and its canonical bytes: what owner and approver sign (DESIGN section 6).

A record here has the right shape; whether it makes sense (ids, types, clauses) is `check` in `checks.py`,
which both `load` and `compile` ask. Canonical bytes follow the profile of `core.canonical`: absent fields
are left out, so that a field that a later version adds changes no digest of an older contract.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Literal

import msgspec

from failwell.core import canonical
from failwell.core.errors import ContractError, InputError

Effect = Literal["read", "reversible", "irreversible"]
Executor = Literal["fenced", "supervised", "transactional", "cooperative", "unstoppable"]
Custody = Literal["broker", "network", "none"]
Then = Literal["deny", "escalate", "record"]
Severity = Literal["minor", "major", "critical"]
WhenRestricted = Literal["escalate", "deny", "allow"]
LimitsRestricted = Literal["half", "same"]
LimitKind = Literal["count", "sum", "rate", "concurrent", "cooldown", "once_per", "sequence", "blast"]
Each = Literal["principal", "run", "subject"]
Require = Literal["any", "all"]
Do = Literal["record", "ask", "restrict", "interrupt", "suspend", "suspend_group", "hold", "notify"]

MAX_CANONICAL_BYTES = 49_152


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Root of all records of a contract: what is not said is left out."""


class Validity(Record, frozen=True):
    """UTC days `YYYY-MM-DD`: valid from the start of `since`, no longer valid from the start of `until`
    on."""

    since: str | None = None
    until: str | None = None


class Argument(Record, frozen=True):
    """One declared argument; `type` as in `money(2, 0..10000)`. Optional: null and absent mean the same."""

    name: str
    type: str
    optional: bool = False


class Affects(Record, frozen=True):
    """Which arguments name the customer, the resource and the amount that an action touches."""

    customer: str | None = None
    resource: str | None = None
    amount: str | None = None


class Lookup(Record, frozen=True):
    """A fact that the gate asks a trusted source for (`lookup`), `given` the values of these arguments (D23)."""

    name: str
    lookup: str
    type: str
    given: tuple[str, ...] = ()


class Ensure(Record, frozen=True):
    """What must be true of the world within `within_us` after the act: that the source answers `expected`."""

    name: str
    lookup: str
    type: str
    expected: int | str | bool
    within_us: int
    given: tuple[str, ...] = ()
    severity: Severity = "major"


class Compensate(Record, frozen=True):
    """The step that undoes what an action of the tool did: a tool that the settings declare, and its deadline.

    It is run by the node, outside any lock, with what the action was given and what came of it; never by the agent.
    """

    tool: str
    within_us: int


class Contest(Record, frozen=True):
    """To whom the person who is told or decided about can object, and for how long."""

    to: str
    within_us: int


class Tool(Record, frozen=True):
    """One tool that the agent may use, and how far it can be stopped. `deadline_us` None: containment is
    unbounded. `subject` is the argument that names the person whom an output or a decision is about."""

    tool: str
    effect: Effect
    custody: Custody
    arguments: tuple[Argument, ...] = ()
    executor: Executor | None = None
    deadline_us: int | None = None
    idempotent: bool = False
    affects: Affects | None = None
    public: tuple[str, ...] = ()
    witness: str | None = None
    facts: tuple[Lookup, ...] = ()
    ensure: tuple[Ensure, ...] = ()
    subject: str | None = None
    contest: Contest | None = None
    compensate: Compensate | None = None


class Clause(Record, frozen=True):
    """One stateless rule: deny or escalate `tools` when the Cedar expression holds (None: always)."""

    id: str
    then: Literal["deny", "escalate"]
    tools: tuple[str, ...]
    severity: Severity
    when: str | None = None
    because: str | None = None


class Limit(Record, frozen=True):
    """One stateful bound on actions of `tools`, kept apart for the values of the arguments `keys` and for what
    `each` names (none: for the agent as a whole). `per_us` 0: over all time.

    count       at most `at_most` allowed in any window of `per_us`
    sum         their argument `sums` (smallest units) adds up to at most `at_most` in any window
    rate        at most `at_most` asked for in any window, allowed or not
    concurrent  at most `at_most` allowed and not ended
    cooldown    none allowed within `per_us` of another (`at_most` 1)
    once_per    at most one for the same values of `keys` (`at_most` 1)
    sequence    none without an action of the tool `needs` completed before it in this run, for the same `keys`
    blast       irreversible effect: of all irreversible tools at most `at_most` allowed, or where `sums` is "amount"
                at most `at_most` of what they affect (smallest units), in any window
    """

    id: str
    kind: LimitKind
    tools: tuple[str, ...]
    at_most: int
    per_us: int
    then: Then
    severity: Severity
    keys: tuple[str, ...] = ()
    because: str | None = None
    each: tuple[Each, ...] = ()
    sums: str | None = None
    needs: str | None = None


class Rule(Record, frozen=True):
    """`signal` seen at least `at_least` times within `within_us` (0: at least once, ever) asks for `do`."""

    signal: str
    at_least: int
    within_us: int
    do: tuple[Do, ...]


class Restricted(Record, frozen=True):
    """What RESTRICTED and PROBATION mean for irreversible tools and for `count` limits (half, rounded
    down)."""

    irreversible: WhenRestricted
    limits: LimitsRestricted


class Stopping(Record, frozen=True):
    """What it harms to stop the agent, and whom to ask to cover for it: weighed where no rule says what to do."""

    harm: Severity
    because: str
    cover: str | None = None


class Step(Record, frozen=True):
    """One step of the escalation path: who is asked, by which channels, and how long they have (None: the house's 15
    minutes, a last resort 30). `repeat` further rounds come before the next step; `require`: any, all, or how many have
    to take it. It is passed over for incidents less severe, and outside `hours` (the house's zone; "": always).
    """

    notify: str
    by: tuple[str, ...]
    ack_within_us: int | None = None
    repeat: int = 0
    require: Require | int = "any"
    severity: Severity = "minor"
    hours: str = ""
    last_resort: bool = False


class Oversight(Record, frozen=True):
    """Who answers a ticket (persons, or `role:ROLE`), and within which time; nobody in time is a denial."""

    reviewers: tuple[str, ...]
    decide_within_us: int


class Contract(Record, frozen=True):
    """One version of what bounds one agent; immutable once adopted.

    `principals`: on whose behalf it may act, by kind (`customer`) or name (`user:anna`); empty: on anybody's.
    `delegates`: the agents that it may hand a run to.
    """

    contract: str
    version: int
    agent: str
    owner: str
    purpose: str
    tools: tuple[Tool, ...]
    restricted: Restricted
    valid: Validity | None = None
    applies_to: dict[str, str] = {}
    clauses: tuple[Clause, ...] = ()
    limits: tuple[Limit, ...] = ()
    response: tuple[Rule, ...] = ()
    unfinished_runs: str | None = None
    escalation: tuple[Step, ...] = ()
    principals: tuple[str, ...] = ()
    delegates: tuple[str, ...] = ()
    oversight: Oversight | None = None
    stopping: Stopping | None = None


def to_canonical(contract: Contract) -> bytes:
    """Return the canonical JSON of a contract: the bytes that are signed, adopted and digested.

    Raises ContractError if they exceed 48 KiB.
    """
    try:
        # Once through the types: a word that only equals a default is written as the default is, by being left out.
        same = msgspec.convert(msgspec.to_builtins(contract), Contract)
        return canonical.encode(msgspec.to_builtins(same), max_bytes=MAX_CANONICAL_BYTES)
    except InputError as error:
        raise ContractError(f"contract {contract.contract}: {error.message}", hint=error.hint) from error
    except msgspec.ValidationError as error:
        raise ContractError(f"contract {contract.contract}: {error}") from error


def from_canonical(data: bytes) -> Contract:
    """Return the contract of canonical bytes; ContractError unless `to_canonical` gives exactly these
    bytes back."""
    try:
        contract = msgspec.convert(canonical.decode(data, max_bytes=MAX_CANONICAL_BYTES), Contract, strict=True)
    except (InputError, msgspec.ValidationError) as error:
        raise ContractError(f"not a canonical contract: {error}") from error
    if to_canonical(contract) != data:
        # A second spelling (a default written out) would give one contract two digests.
        raise ContractError("not a canonical contract: a field is written that stands for nothing")
    return contract


def digest(contract: Contract) -> str:
    """Return the lower-case hex SHA-256 of the contract's canonical bytes."""
    return sha256(to_canonical(contract)).hexdigest()
