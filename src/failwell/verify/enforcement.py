"""The enforcement proof: every witnessed effect of a period beside the verdict that let it happen (R19).

An effect is *paired* when its witness names a decision that stands earlier, was made before the effect happened by the
tool side's clock, is an ALLOW of the same agent for the same tool and customer, was kept (governed), not blocked, and
cites the contract that was in force at its entry, which is looked up here from the adoptions and not taken from the
decision. A clock that shows a time which had not come when the log was read tells no time. Every other effect is
listed with what it lacks. What nobody governs (an OBSERVED agent, a detect-only one) proves nothing about enforcement:
it is left out and counted apart. What the record cannot show is said too: tools without a witness, outcomes without an
effect, times when no node ran or a log was not read.

It takes the entries as they stand. That they are what was written is shown by `verify.ledger`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from failwell.core import contract as contracts
from failwell.core import kinds
from failwell.core.errors import FailwellError
from failwell.core.instants import format_at, parse_at
from failwell.core.records import Entry
from failwell.verify.custody import Custodies, Loose
from failwell.verify.observed import body_governed

#: How far ledger time and the tool side's clock may stand apart: as far as the wall clock may before an entry says so.
CLOCKS_US: Final = 2_000_000
SECOND_US: Final = 1_000_000

BYPASSED, NO_VERDICT, LATER, DENIED, BLOCKED = "bypassed", "no verdict", "verdict later", "denied", "blocked"
OTHER_TOOL, OTHER_CUSTOMER, OTHER_CONTRACT, UNTIMED = "other tool", "other customer", "other contract", "no time"
OBSERVED, DETECT_ONLY = "not governed", "detect-only"
#: Reasons for which an effect belongs to no proof, instead of failing it.
APART: Final = frozenset({OBSERVED, DETECT_ONLY})
#: Outcomes after which the tool side should show an effect.
_DONE: Final = frozenset({"completed", "completed_after_interrupt"})
#: Entries that a start writes about the node before it.
_OF_A_START: Final = (kinds.Clock, kinds.Health, kinds.NodeStarted, kinds.NodeStopped)


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """An effect and the verdict that let it happen; `adopted` is the entry by which that contract was in force."""

    effect: int
    decision: int
    contract: str
    adopted: int


class Unpaired(msgspec.Struct, frozen=True, kw_only=True):
    """An effect that is behind no verdict of this kind, and why."""

    effect: int
    agent: str
    tool: str
    at: str
    witness: str
    decision: int | None
    why: str


class Unwitnessed(msgspec.Struct, frozen=True, kw_only=True):
    """Actions that ran with a tool whose effects nobody outside the agent's side counts."""

    agent: str
    tool: str
    ran: int
    why: str


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """A time of which the record cannot tell; `until` None: it lasts to the end."""

    what: str
    since: str
    until: str | None


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """What the entries show of a period. It is `sound` when no effect is unpaired; the rest says how much that covers.

    `decided` counts governed decisions by verdict, `ungoverned` the actions that ran ungoverned; `shared` effects that
    are not the first of their verdict; `without_effect` decisions that completed and of which no effect was witnessed.
    """

    since: str | None
    until: str | None
    agent: str | None
    entries: int
    pairs: tuple[Pair, ...]
    unpaired: tuple[Unpaired, ...]
    apart: tuple[Unpaired, ...]
    decided: dict[str, int]
    ungoverned: int
    shared: int
    without_effect: tuple[int, ...]
    unwitnessed: tuple[Unwitnessed, ...]
    loose: tuple[Loose, ...]
    gaps: tuple[Gap, ...]

    @property
    def sound(self) -> bool:
        return not self.unpaired


class _Decided(msgspec.Struct, frozen=True):
    agent: str
    tool: str
    verdict: str
    governed: bool
    contract: str | None
    in_force: str | None
    adopted: int
    at_us: int
    witness: str | None
    customer: str | None


class _Agent:
    """An agent as the entries up to now tell it."""

    __slots__ = ("adopted", "authority", "contract", "detect_only", "witness")

    def __init__(self) -> None:
        self.authority = "UNREGISTERED"
        self.detect_only = False
        self.contract: str | None = None
        self.adopted = -1
        #: By tool: the log in which its effects are to be found.
        self.witness: dict[str, str | None] = {}


def prove(
    entries: Iterable[Entry[Any]], *, since_us: int | None = None, until_us: int | None = None, agent: str | None = None
) -> Proof:
    """The proof for a period, `since_us` included and `until_us` not, of all agents or one (its full id).

    `entries` are all entries from number 0 on, whatever the period is: what was in force is told by earlier ones.
    """
    walk = _Walk(since_us, until_us, agent)
    for entry in entries:
        walk.take(entry)
    return walk.proof()


class _Walk:
    def __init__(self, since_us: int | None, until_us: int | None, agent: str | None) -> None:
        self._since, self._until, self._about = since_us, until_us, agent
        self._agents: dict[str, _Agent] = {}
        self._custodies = Custodies()
        #: (decision, step) of each undoing that was begun: what the step does is behind the same verdict.
        self._steps: set[tuple[int, str]] = set()
        self._decisions: dict[int, _Decided] = {}
        self._declared: frozenset[str] = frozenset()
        self._seen: set[int] = set()
        self._blocked: set[int] = set()
        self._completed: dict[int, int] = {}
        self._ran: dict[int, int] = {}
        self._counts: dict[str, int] = {}
        self._ungoverned = self._shared = self._entries = 0
        #: Each with what it is listed as, should it turn out to have been blocked.
        self._pairs: list[tuple[Pair, Unpaired]] = []
        self._unpaired: list[Unpaired] = []
        self._apart: list[Unpaired] = []
        self._gaps: list[Gap] = []
        self._unread: dict[str, str] = {}
        self._stopped: str | None = None
        self._last = ""

    # -- entries -----------------------------------------------------------------------------------------------

    def take(self, entry: Entry[Any]) -> None:
        body = entry.body
        self._entries += 1
        self._node(entry, body)
        self._custodies.take(entry)
        if isinstance(body, kinds.Config):
            self._declared = _witnesses(body.text)
        if entry.agent is None:
            return
        row = self._agents.setdefault(entry.agent, _Agent())
        if isinstance(body, kinds.AgentRegistered):
            row.authority, row.detect_only = "REGISTERED", bool(getattr(body, "detect_only", False))
        elif isinstance(body, kinds.AuthorityChanged):
            row.authority = body.now
        elif isinstance(body, kinds.ContractAdopted):
            row.contract, row.adopted = f"{body.contract}@{body.version}", entry.seq
            row.witness = _of_tools(body.document)
        elif isinstance(body, kinds.Decision):
            self._decision(entry, body, row)
        elif isinstance(body, kinds.Outcome):
            self._outcome(entry, body)
        else:
            self._done(entry, body, row)

    def _within(self, at_us: int, agent: str | None) -> bool:
        after = self._since is None or at_us >= self._since
        before = self._until is None or at_us < self._until
        return after and before and (self._about is None or agent == self._about)

    def _decision(self, entry: Entry[Any], body: kinds.Decision, row: _Agent) -> None:
        agent, governed = str(entry.agent), body_governed(body)
        witness = row.witness.get(body.tool)
        self._decisions[entry.seq] = _Decided(
            agent, body.tool, body.verdict, governed, body.contract, row.contract, row.adopted, parse_at(entry.at),
            witness if witness in self._declared else None, body.customer,
        )  # fmt: skip
        if governed and self._within(parse_at(entry.at), agent):
            self._counts[body.verdict] = self._counts.get(body.verdict, 0) + 1

    def _outcome(self, entry: Entry[Any], body: kinds.Outcome) -> None:
        decided = self._decisions.get(body.decision)
        if body.state == "blocked":
            self._blocked.add(body.decision)
        if decided is None or body.state == "blocked" or not self._within(decided.at_us, decided.agent):
            return
        if not decided.governed:
            self._ungoverned += 1
            return
        self._ran[body.decision] = entry.seq
        if body.state in _DONE:
            self._completed[body.decision] = entry.seq

    # -- effects -----------------------------------------------------------------------------------------------

    def _done(self, entry: Entry[Any], body: Any, row: _Agent) -> None:
        if isinstance(body, kinds.EffectWitnessed):
            self._effect(entry, body, row)
        elif isinstance(body, kinds.CompensationBegun):
            self._steps.add((body.decision, body.step))

    def _effect(self, entry: Entry[Any], body: kinds.EffectWitnessed, row: _Agent) -> None:
        at_us = _time_of(body)
        if not self._within(parse_at(entry.at) if at_us is None else at_us, entry.agent):
            return
        decided = None if body.decision is None else self._decisions.get(body.decision)
        why = self._lack(entry, body, row, decided, at_us)
        listed = Unpaired(
            effect=entry.seq, agent=str(entry.agent), tool=body.tool, at=body.at_tool or entry.at, witness=body.witness,
            decision=body.decision, why=why or BLOCKED,
        )  # fmt: skip
        if why is None and decided is not None and body.decision is not None:
            pair = Pair(
                effect=entry.seq, decision=body.decision, contract=str(decided.contract), adopted=decided.adopted
            )
            self._pairs.append((pair, listed))
            return
        (self._apart if listed.why in APART else self._unpaired).append(listed)

    def _settled(self) -> tuple[Pair, ...]:
        """The pairs that stand, once it is known what was blocked: that it was, is said after the effect was read.

        Attack: have an action allowed, so that its marker is known, be stopped before it starts, and do it anyway.
        """
        stand = []
        for pair, listed in self._pairs:
            if pair.decision in self._blocked:
                self._unpaired.append(listed)
                continue
            if (pair.decision, listed.tool) in self._steps:  # of the action itself it shows nothing
                stand.append(pair)
                continue
            self._shared += pair.decision in self._seen
            self._seen.add(pair.decision)
            stand.append(pair)
        self._unpaired.sort(key=lambda each: each.effect)
        return tuple(stand)

    def _lack(
        self, entry: Entry[Any], body: kinds.EffectWitnessed, row: _Agent, decided: _Decided | None, at_us: int | None
    ) -> str | None:  # fmt: skip
        """What an effect lacks to be paired with the decision that its witness names; None for nothing."""
        if row.detect_only:
            return DETECT_ONLY
        if body.decision is None:
            return OBSERVED if row.authority == "OBSERVED" else BYPASSED
        if decided is None or decided.agent != entry.agent:
            return LATER if body.decision >= entry.seq else NO_VERDICT
        if decided.tool != body.tool and (body.decision, body.tool) not in self._steps:
            return OTHER_TOOL
        # Attack: the right amount to the wrong customer, under a verdict about another one.
        if None not in (body.customer, decided.customer) and body.customer != decided.customer:
            return OTHER_CUSTOMER
        # Attack: a clock that runs ahead dates what was done before its verdict after it.
        ahead = at_us is not None and at_us > parse_at(entry.at) + CLOCKS_US
        return _lacks(decided, None if ahead else at_us)

    # -- what cannot be told -----------------------------------------------------------------------------------

    def _node(self, entry: Entry[Any], body: Any) -> None:
        """When no node ran, from the last entry of one to the start of the next; when a log could not be read."""
        if isinstance(body, kinds.NodeStarted):
            since = self._stopped or self._last
            if since and self._entries > 1:
                self._gap("no node ran", since, entry.at)
            self._stopped = None
            for part in list(self._unread):  # it is looked at anew, and told anew
                self._gap(f"{part} was not read", self._unread.pop(part), entry.at)
        elif isinstance(body, kinds.NodeStopped):
            self._stopped = entry.at
        elif isinstance(body, kinds.Health) and body.part.startswith("witness:"):
            name = f"log {body.part.removeprefix('witness:')}"
            if body.state == "ok" and name in self._unread:
                self._gap(f"{name} was not read", self._unread.pop(name), entry.at)
            elif body.state != "ok":
                self._unread.setdefault(name, entry.at)
        if not isinstance(body, _OF_A_START) and getattr(body, "by", "") != "recovery":
            self._last = entry.at

    def _gap(self, what: str, since: str, until: str | None) -> None:
        after = self._since is not None and until is not None and parse_at(until) < self._since
        before = self._until is not None and parse_at(since) >= self._until
        if not after and not before and since != until:
            self._gaps.append(Gap(what=what, since=since, until=until))

    def proof(self) -> Proof:
        for name, since in self._unread.items():
            self._gap(f"{name} was not read", since, None)
        if self._stopped is not None:
            self._gap("no node ran", self._stopped, None)
        pairs = self._settled()
        alone: dict[tuple[str, str], int] = {}
        for decision in self._ran:
            decided = self._decisions[decision]
            if decided.witness is None:
                alone[decided.agent, decided.tool] = alone.get((decided.agent, decided.tool), 0) + 1
        return Proof(
            since=None if self._since is None else format_at(self._since),
            until=None if self._until is None else format_at(self._until), agent=self._about, entries=self._entries,
            pairs=pairs, unpaired=tuple(self._unpaired), apart=tuple(self._apart), decided=self._counts,
            ungoverned=self._ungoverned, shared=self._shared,
            without_effect=tuple(
                decision for decision in self._completed
                if decision not in self._seen and self._decisions[decision].witness is not None
            ),
            unwitnessed=tuple(
                Unwitnessed(agent=agent, tool=tool, ran=ran, why=self._why_unwitnessed(agent, tool))
                for (agent, tool), ran in sorted(alone.items())
            ),
            loose=self._custodies.loose(self._ran), gaps=tuple(self._gaps),
        )  # fmt: skip

    def _why_unwitnessed(self, agent: str, tool: str) -> str:
        named = self._agents[agent].witness.get(tool)
        return "its contract names no witness" if named is None else f"no setting declares its witness {named}"


def _lacks(decided: _Decided, at_us: int | None) -> str | None:
    """What a decision lacks to be the one that let an effect at `at_us` happen."""
    if not decided.governed:
        return OBSERVED
    if decided.verdict != "ALLOW":
        return DENIED
    if decided.contract is None or decided.contract != decided.in_force:
        return OTHER_CONTRACT
    if at_us is None:
        return UNTIMED
    # Attack: act first, round the gate, and have it allowed before the log is read.
    return LATER if at_us + _grain_us(at_us) + CLOCKS_US < decided.at_us else None


def _time_of(body: kinds.EffectWitnessed) -> int | None:
    """When it happened by the tool side's clock, None where that cannot be read."""
    try:
        return None if body.at_tool is None else parse_at(body.at_tool)
    except FailwellError:
        return None


def _grain_us(at_us: int) -> int:
    """How coarse a log's time is: one in whole seconds may lie up to a second after what it says."""
    return SECOND_US if at_us % SECOND_US == 0 else 1000 if at_us % 1000 == 0 else 0


def _witnesses(settings: str) -> frozenset[str]:
    """The logs that settings in force declare (the text of a `config` entry)."""
    try:
        built = json.loads(settings)
        return frozenset(str(name) for name, _ in built.get("witness", ()))
    except (ValueError, TypeError, AttributeError):
        return frozenset()


def _of_tools(document: str) -> dict[str, str | None]:
    """By tool the witness that a contract names, none for a contract that this release cannot read."""
    try:
        return {tool.tool: tool.witness for tool in contracts.from_canonical(document.encode()).tools}
    except FailwellError:
        return {}
