"""What other rules would have made of a record: each of its signals, answered again by them, beside what was done.

The ladder itself answers (`core.incidents.ladder`), under the rules that are tried and with the authority that they
would have left the agent. What an agent would have done had it not been stopped is in no record: from there on nothing
is told.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from failwell.core import contract as contracts
from failwell.core import kinds, rows
from failwell.core.contract import Contract
from failwell.core.errors import NotFound
from failwell.core.incidents.ladder import About, effect_of, respond
from failwell.core.incidents.opening import ACTOR
from failwell.core.instants import parse_at
from failwell.core.projections import Projections
from failwell.core.records import Entry
from failwell.core.state import State

RECORD: tuple[str, ...] = ("record",)
#: So many signals are told one by one; the rest is counted.
TOLD = 1000
#: Decisions whose tool is kept at hand: a signal about one follows in its commit.
_NEAR = 1000
_SUSPENDS = frozenset({"suspend", "suspend_group"})
_UNGOVERNED = frozenset({"OBSERVED", "REGISTERED"})


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """One signal, and what was done and what would have been done about it, each by which rule."""

    entry: int
    at: str
    signal: str
    severity: str
    did: tuple[str, ...]
    did_by: str
    would: tuple[str, ...]
    would_by: str

    @property
    def differs(self) -> bool:
        return self.did != self.would


class Simulated(msgspec.Struct, frozen=True, kw_only=True):
    """`answered` are signals that set something in motion, or would have; `more` were not listed.

    `stopped` and `would_stop` are the first signals that suspended. `started` actions were allowed while the tried
    rules had it suspended, and touched `customers`; `refused` were asked for while it was suspended and the tried rules
    had not suspended it.
    """

    agent: str
    signals: int
    answered: tuple[Answered, ...]
    more: int
    stopped: int | None
    would_stop: int | None
    started: int
    customers: int
    refused: int
    entries: int


def simulate(record: Iterable[tuple[Entry[Any], str]], contract: Contract) -> Simulated:
    """Answer the signals of a record by the rules of `contract`; NotFound where its agent is none of the record's."""
    trial = _Trial(contract)
    for entry, leaf in record:
        trial.take(entry, leaf)
    return trial.told()


class _Trial:
    """The record as it is, and beside it the little of it that answers depend on, as the tried rules would have it."""

    def __init__(self, contract: Contract) -> None:
        self._state = State()
        self._would = Projections()
        self._named = contract.agent
        self._digest = contracts.digest(contract)
        self._would.contract[self._digest] = rows.ContractRow(
            id=contract.contract, version=contract.version, agent=contract.agent, owner=contract.owner, approver="",
            document=contracts.to_canonical(contract).decode(), mode="live", adopted=0,
        )  # fmt: skip
        self._agent: str | None = None
        self._authority = "REGISTERED"
        self._tools: dict[int, str] = {}
        self._answered: list[Answered] = []
        self._customers: set[str] = set()
        self._signals = self._more = self._started = self._refused = 0
        self._stopped: int | None = None
        self._would_stop: int | None = None

    def take(self, entry: Entry[Any], leaf: str) -> None:
        """The next entry."""
        body = entry.body
        about = self._about(body) if isinstance(body, kinds.Signal) else None
        self._state.apply(entry, leaf)
        for (table, key), row in self._state.drain().items():
            if table in ("agent", "incident"):
                getattr(self._would, table)[key] = row
            elif isinstance(row, rows.Workspace):
                self._would.workspace[1] = msgspec.structs.replace(row, rules=2)
        if self._agent is None:
            self._agent = self._state.agent_named(self._named)
        if entry.agent == self._agent is not None:
            self._own(entry, body)
        if about is not None:
            self._signal(entry, body, about)

    def _about(self, signal: kinds.Signal) -> About:
        noticed = self._state.lately.noticed.get(signal.about)
        if noticed is not None:
            return About(evidence=noticed.evidence)
        ended = self._state.lately.ended.get(signal.about)
        tool = self._tools.get(signal.about) if ended is None else ended.tool
        return About() if tool is None or self._agent is None else About(effect_of(self._would, self._agent, tool))

    # -- the agent ---------------------------------------------------------------------------------------------

    def _own(self, entry: Entry[Any], body: Any) -> None:
        if isinstance(body, kinds.AuthorityChanged):
            # What rules took away stays away until people gave it back; what people did, they would have done.
            if body.now not in ("SUSPENDED", "RESTRICTED") or not body.by.startswith(ACTOR):
                self._set(entry, body.now)
        elif isinstance(body, kinds.Decision):
            if len(self._tools) >= _NEAR:
                del self._tools[next(iter(self._tools))]
            self._tools[entry.seq] = body.tool
            self._count(entry, body)

    def _count(self, entry: Entry[Any], body: kinds.Decision) -> None:
        """What the tried rules would have kept from starting, and what they would not have refused."""
        really, would = body.authority, self._authority
        if would == "SUSPENDED" != really and body.verdict == "ALLOW":
            self._started += 1
            if body.customer is not None:
                self._customers.add(body.customer)
        elif really == "SUSPENDED" != would:
            self._refused += 1

    def _set(self, entry: Entry[Any], now: str) -> None:
        if now == "SUSPENDED" and self._would_stop is None:
            self._would_stop = entry.seq
        self._authority = now

    # -- signals -----------------------------------------------------------------------------------------------

    def _signal(self, entry: Entry[Any], body: kinds.Signal, about: About) -> None:
        at_us = parse_at(entry.at)
        if entry.agent == self._agent is not None:
            self._signals += 1
            self._answer(entry, body, about, at_us)
        row = rows.SignalRow(agent=entry.agent or "", signal=body.signal, at_us=at_us, about=body.about, incident=None)
        self._would.note_signal(entry.seq, row)

    def _answer(self, entry: Entry[Any], body: kinds.Signal, about: About, at_us: int) -> None:
        did = body.response if body.applied else RECORD
        if body.by != ACTOR:  # a person's order is nothing that rules decide
            would, by = did, body.rule
        else:
            real = self._state.agent[str(entry.agent)]
            if real.authority == "SUSPENDED" != self._authority and not body.applied:
                return  # it asked while it was stopped: what it would have asked otherwise nobody knows
            probation = real.probation if real.authority == self._authority else None
            self._would.agent[str(entry.agent)] = msgspec.structs.replace(
                real, authority=self._authority, contract=self._digest, probation=probation
            )
            by, _, would = respond(self._would, str(entry.agent), body.signal, body.severity, at_us, about)
            if real.authority in _UNGOVERNED or self._state.mode != "live":
                would = RECORD
        if _SUSPENDS & set(did) and self._stopped is None:
            self._stopped = entry.seq
        if _SUSPENDS & set(would) and self._authority != "SUSPENDED":
            self._set(entry, "SUSPENDED")
        elif "restrict" in would and self._authority not in ("SUSPENDED", "RETIRED"):
            self._set(entry, "RESTRICTED")
        if {*did, *would} == set(RECORD):
            return
        if len(self._answered) >= TOLD:
            self._more += 1
            return
        self._answered.append(
            Answered(
                entry=entry.seq, at=entry.at, signal=body.signal, severity=body.severity, did=did, did_by=body.rule,
                would=would, would_by=by,
            )
        )  # fmt: skip

    def told(self) -> Simulated:
        """What came of it."""
        if self._agent is None:
            raise NotFound(f"the record knows no agent {self._named}", hint="failwell agent list")
        return Simulated(
            agent=self._agent, signals=self._signals, answered=tuple(self._answered), more=self._more,
            stopped=self._stopped, would_stop=self._would_stop, started=self._started,
            customers=len(self._customers), refused=self._refused, entries=self._state.size,
        )  # fmt: skip
