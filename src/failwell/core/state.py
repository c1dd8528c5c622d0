"""The state of a workspace: a fold over its entries, and nothing else.

`State.apply` is the only place that turns entries into projection rows, so that a rebuild from the entries gives the
rows that were stored (I6). Rows that can no longer change a verdict (settled actions, closed runs) leave memory; the
storage keeps them. No IO: the ledger drains `dirty` into the entry's transaction.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import msgspec

from failwell.core import contract as contracts
from failwell.core import kinds, orders, rows
from failwell.core.errors import Corrupt
from failwell.core.instants import parse_at
from failwell.core.records import Entry

R = TypeVar("R", bound=rows.Row)
replace = msgspec.structs.replace

#: How long a signal may count towards a rule `>= n in d`; the contract loader refuses longer windows.
SIGNAL_WINDOW_US = 31 * 24 * 3600 * 1_000_000


#: A forward step of the wall clock up to this frees limit windows by itself; a longer one needs a person (D7).
FREE_STEP_US = 60 * 1_000_000


class Window:
    """Reservations of one (agent, limit, key) in the order of limit time, as two arrays of equal length."""

    __slots__ = ("_seqs", "_times")

    def __init__(self) -> None:
        self._times = array("q")
        self._seqs = array("q")

    def reserve(self, limit_us: int, seq: int) -> None:
        """Note a reservation. Limit time stands still at a withheld clock step but never goes back."""
        self._times.append(max(limit_us, self._times[-1] if self._times else limit_us))
        self._seqs.append(seq)

    def used(self, now_us: int, per_us: int) -> int:
        """Reservations younger than `per_us` (0 = of all time) at limit time `now_us`; O(log n)."""
        oldest = 0 if per_us == 0 else bisect_right(self._times, now_us - per_us)
        return len(self._times) - oldest

    def release(self, seq: int) -> None:
        """Give a reservation back: the action was proved not to have started."""
        if seq in self._seqs:
            place = self._seqs.index(seq)
            del self._times[place], self._seqs[place]


class State:
    """All projections that a verdict or a reaction may read, by table; and the rows changed since the last drain."""

    def __init__(self) -> None:
        self.size = 0
        self.last_at_us = 0
        self.workspace: dict[int, rows.Workspace] = {}
        self.head: dict[str, rows.Head] = {}
        self.order: dict[int, rows.OrderRow] = {}
        self.nonces: set[tuple[str, str]] = set()
        self.person: dict[str, rows.Person] = {}
        self.host: dict[str, rows.Host] = {}
        self.agent: dict[str, rows.Agent] = {}
        self.contract: dict[str, rows.ContractRow] = {}
        self.run: dict[int, rows.Run] = {}
        self.action: dict[int, rows.Action] = {}
        self.signal: dict[int, rows.SignalRow] = {}
        self.incident: dict[int, rows.Incident] = {}
        self.hold: dict[int, rows.Hold] = {}
        self.page: dict[int, rows.Page] = {}
        self.witness: dict[str, rows.WitnessRow] = {}
        self.calls: dict[int, dict[str, int]] = {}
        self.windows: dict[tuple[str, str, str | None], Window] = {}
        self.signals_of: dict[tuple[str, str], deque[tuple[int, int]]] = {}
        self.incidents = 0
        self.holds = 0
        self.pages = 0
        self.dirty: dict[tuple[str, Any], rows.Row] = {}
        self._parsed: dict[str, contracts.Contract] = {}
        self._names: dict[str, str] = {}

    # -- reading -----------------------------------------------------------------------------------------------

    @property
    def mode(self) -> str:
        return self.workspace[1].mode if self.workspace else "live"

    @property
    def origin(self) -> str:
        return self.workspace[1].origin if self.workspace else ""

    @property
    def configuration(self) -> str:
        return self.workspace[1].configuration if self.workspace else ""

    def limit_us(self, at_us: int) -> int:
        """The time limit windows count by: ledger time less the forward jumps that no person vouched for (D7)."""
        return at_us - (self.workspace[1].withheld_us if self.workspace else 0)

    def contract_of(self, agent: str) -> contracts.Contract | None:
        """The contract in force for `agent`, parsed once; None while none is adopted."""
        row = self.agent.get(agent)
        if row is None or row.contract is None:
            return None
        digest = row.contract
        if digest not in self._parsed:
            self._parsed[digest] = contracts.from_canonical(self.contract[digest].document.encode())
        return self._parsed[digest]

    def agent_named(self, name: str) -> str | None:
        """The full id of the agent whose id or short name is `name`."""
        return name if name in self.agent else self._names.get(name)

    def running(self, agent: str) -> tuple[int, ...]:
        """Decisions of `agent` that were allowed and have no outcome yet, oldest first."""
        return tuple(
            seq for seq, action in self.action.items() if action.state == "open" and action.agent == agent
        )

    def used(self, agent: str, limit: str, key: str | None, now_us: int, per_us: int) -> int:
        window = self.windows.get((agent, limit, key))
        return 0 if window is None else window.used(now_us, per_us)

    def signals_within(self, agent: str, signal: str, now_us: int, within_us: int) -> int:
        """How often `signal` was raised for `agent` in the window that ends now."""
        recent = self.signals_of.get((agent, signal), ())
        return sum(1 for at_us, _ in recent if within_us == 0 or at_us > now_us - within_us)

    # -- folding -----------------------------------------------------------------------------------------------

    def apply(self, entry: Entry[Any], leaf: str) -> None:
        """Fold one entry. Raises Corrupt if it does not follow: such an entry must never be stored."""
        if entry.seq != self.size:
            raise Corrupt(f"entry {entry.seq} does not follow entry {self.size - 1}")
        at_us = parse_at(entry.at)
        if at_us < self.last_at_us:
            raise Corrupt(f"entry {entry.seq} is earlier than the one before it")
        if entry.agent is not None:
            self._count(entry, leaf)
        fold = _FOLDS.get(type(entry.body))
        if fold is not None:
            fold(self, entry, entry.body, at_us)
        self.size += 1
        self.last_at_us = at_us

    def _count(self, entry: Entry[Any], leaf: str) -> None:
        agent = str(entry.agent)
        head = self.head.get(agent)
        count, last = (0, None) if head is None else (head.count, head.last)
        if entry.aseq != count or entry.aprev != last:
            raise Corrupt(
                f"entry {entry.seq} breaks the chain of {agent}: number {entry.aseq} after {count - 1}"
            )
        self._put("head", agent, rows.Head(count=count + 1, last=entry.seq, leaf=leaf))

    def _put(self, table: str, key: Any, row: rows.Row) -> None:
        getattr(self, table)[key] = row
        self.dirty[table, key] = row

    def _forget(self, table: str, key: Any) -> None:
        """Take a row that can no longer matter out of memory; its stored row stays."""
        getattr(self, table).pop(key, None)

    def _change(self, table: str, key: Any, /, **fields: Any) -> None:
        """Replace a row's fields; Corrupt when there is no such row (the entry speaks of nothing)."""
        row = getattr(self, table).get(key)
        if row is None:
            raise Corrupt(f"no {table} {key} to change")
        self._put(table, key, replace(row, **fields))

    def drain(self) -> dict[tuple[str, Any], rows.Row]:
        """The rows changed since the last drain, to be written in this transaction."""
        dirty, self.dirty = self.dirty, {}
        return dirty

    # -- loading -----------------------------------------------------------------------------------------------

    def resume(self, size: int, at: str) -> None:
        """Stand after entry `size - 1`, which was written at ledger time `at`; rows follow by `load`."""
        self.size, self.last_at_us = size, parse_at(at)

    def load(self, table: str, stored: Iterable[tuple[Any, Any]]) -> None:
        """Take stored rows back into memory (start-up); rows that cannot matter any more are passed over."""
        memory = getattr(self, table)
        for key, row in stored:
            if _remember(self, table, key, row):
                memory[key] = row

    def _reserve(self, agent: str, seq: int, at_us: int, held: tuple[tuple[str, str | None], ...]) -> None:
        for limit, key in held:
            self.windows.setdefault((agent, limit, key), Window()).reserve(at_us, seq)

    def _note_signal(self, seq: int, row: rows.SignalRow) -> None:
        recent = self.signals_of.setdefault((row.agent, row.signal), deque())
        while recent and recent[0][0] <= row.at_us - SIGNAL_WINDOW_US:
            recent.popleft()
        recent.append((row.at_us, seq))


def _remember(state: State, table: str, key: Any, row: Any) -> bool:
    """Whether a stored row belongs into memory, and the indexes that come with it."""
    if table == "run":
        if row.open:
            state.calls.setdefault(key, {})
        return bool(row.open)
    if table == "action":
        if row.run is not None and row.run in state.calls:
            state.calls[row.run][row.call] = key
        if row.held and row.state != "blocked":
            state._reserve(row.agent, key, row.limit_us, row.held)
        return bool(row.state == "open")
    if table == "order":
        state.nonces.add((row.person, row.nonce))
        return False
    if table == "signal":
        state._note_signal(key, row)
    elif table == "agent":
        state._names[row.name] = key
    elif table == "incident":
        state.incidents = max(state.incidents, key)
    elif table == "hold":
        state.holds = max(state.holds, key)
    elif table == "page":
        state.pages = max(state.pages, key)
        return bool(row.state == "queued")
    return True


# ---- one small fold per kind ---------------------------------------------------------------------------------

_Fold = Callable[[State, Entry[Any], Any, int], None]
_FOLDS: dict[type, _Fold] = {}


def _folds(kind: type) -> Callable[[_Fold], _Fold]:
    def enter(fold: _Fold) -> _Fold:
        _FOLDS[kind] = fold
        return fold

    return enter


@_folds(kinds.Genesis)
def _genesis(state: State, entry: Entry[Any], body: kinds.Genesis, at_us: int) -> None:
    if entry.seq != 0:
        raise Corrupt(f"entry {entry.seq} is a second genesis")
    row = rows.Workspace(mode=body.mode, origin=entry.origin, configuration="", withheld_us=0)
    state._put("workspace", 1, row)


@_folds(kinds.Config)
def _config(state: State, entry: Entry[Any], body: kinds.Config, at_us: int) -> None:
    state._change("workspace", 1, configuration=body.digest)


@_folds(kinds.Clock)
def _clock(state: State, entry: Entry[Any], body: kinds.Clock, at_us: int) -> None:
    if body.stepped_us > FREE_STEP_US:
        state._change("workspace", 1, withheld_us=state.workspace[1].withheld_us + body.stepped_us)


@_folds(kinds.Order)
def _order(state: State, entry: Entry[Any], body: kinds.Order, at_us: int) -> None:
    order = orders.parse_order(body.text)
    if (body.person, order.nonce) in state.nonces:
        raise Corrupt(f"entry {entry.seq} plays an order of {body.person} a second time")
    state.nonces.add((body.person, order.nonce))
    state._put("order", entry.seq, rows.OrderRow(person=body.person, order=body.order, nonce=order.nonce))
    state._forget("order", entry.seq)


@_folds(kinds.PersonEnrolled)
def _person(state: State, entry: Entry[Any], body: kinds.PersonEnrolled, at_us: int) -> None:
    state._put("person", body.person, rows.Person(key=body.key, roles=body.roles, enrolled=entry.seq))


@_folds(kinds.HostRegistered)
def _host(state: State, entry: Entry[Any], body: kinds.HostRegistered, at_us: int) -> None:
    state._put("host", body.host, rows.Host(key=body.key, agents=body.agents, registered=entry.seq))


@_folds(kinds.AgentRegistered)
def _agent(state: State, entry: Entry[Any], body: kinds.AgentRegistered, at_us: int) -> None:
    row = rows.Agent(
        name=body.name, owner=body.owner, key=None, authority="REGISTERED", epoch=0, contract=None, posture=None,
        incident=None, registered=entry.seq, suspended_by=None,
    )  # fmt: skip
    state._names[body.name] = str(entry.agent)
    state._put("agent", entry.agent, row)


@_folds(kinds.AgentKey)
def _agent_key(state: State, entry: Entry[Any], body: kinds.AgentKey, at_us: int) -> None:
    state._change("agent", entry.agent, key=body.key if body.status == "active" else None)


@_folds(kinds.ContractAdopted)
def _contract(state: State, entry: Entry[Any], body: kinds.ContractAdopted, at_us: int) -> None:
    row = rows.ContractRow(
        id=body.contract, version=body.version, agent=str(entry.agent), owner=body.owner, approver=body.approver,
        document=body.document, mode=body.mode, adopted=entry.seq,
    )  # fmt: skip
    state._put("contract", body.digest, row)
    state._change("agent", entry.agent, contract=body.digest)


@_folds(kinds.Posture)
def _posture(state: State, entry: Entry[Any], body: kinds.Posture, at_us: int) -> None:
    state._change("agent", entry.agent, posture=entry.seq)


@_folds(kinds.RunOpened)
def _run_opened(state: State, entry: Entry[Any], body: kinds.RunOpened, at_us: int) -> None:
    row = rows.Run(
        agent=str(entry.agent),
        host=body.host,
        principal=body.principal,
        request=body.request_provenance,
        open=True,
    )
    state.calls[entry.seq] = {}
    state._put("run", entry.seq, row)


@_folds(kinds.RunClosed)
def _run_closed(state: State, entry: Entry[Any], body: kinds.RunClosed, at_us: int) -> None:
    state._change("run", entry.run, open=False)
    state._forget("run", entry.run)
    if entry.run is not None:
        state.calls.pop(entry.run, None)


@_folds(kinds.Decision)
def _decision(state: State, entry: Entry[Any], body: kinds.Decision, at_us: int) -> None:
    held = tuple((use.limit, use.key) for use in body.uses if use.reserved)
    agent = str(entry.agent)
    settled = {"DENY": "denied", "ESCALATE": "escalated"}.get(body.verdict, "open")
    limit_us = state.limit_us(at_us)
    row = rows.Action(
        agent=agent, run=entry.run, call=body.call, tool=body.tool, verdict=body.verdict, state=settled, limit_us=limit_us,
        customer=body.customer, held=held,
    )  # fmt: skip
    state._put("action", entry.seq, row)
    if entry.run is not None and entry.run in state.calls:
        if body.call not in state.calls[entry.run]:
            state.calls[entry.run][body.call] = entry.seq
        elif (
            body.verdict != "DENY"
        ):  # a denied re-use of a call id is recorded; it never takes the first one's place
            raise Corrupt(f"entry {entry.seq} decides call {body.call!r} of run {entry.run} a second time")
    state._reserve(agent, entry.seq, limit_us, held)
    if settled != "open":
        state._forget("action", entry.seq)


@_folds(kinds.Outcome)
def _outcome(state: State, entry: Entry[Any], body: kinds.Outcome, at_us: int) -> None:
    row = state.action.get(body.decision)
    if row is None or row.state != "open":
        raise Corrupt(f"entry {entry.seq} is an outcome of {body.decision}, which is not an open action")
    if body.state == "blocked":  # proved not started: only this gives a reservation back (D6)
        for limit, key in row.held:
            state.windows[row.agent, limit, key].release(body.decision)
    state._put("action", body.decision, replace(row, state=body.state))
    state._forget("action", body.decision)


@_folds(kinds.EffectWitnessed)
def _effect(state: State, entry: Entry[Any], body: kinds.EffectWitnessed, at_us: int) -> None:
    row = state.witness.get(body.witness) or rows.WitnessRow(cursor="", effects=0)
    state._put(
        "witness", body.witness, replace(row, cursor=body.cursor or row.cursor, effects=row.effects + 1)
    )  # fmt: skip


@_folds(kinds.Signal)
def _signal(state: State, entry: Entry[Any], body: kinds.Signal, at_us: int) -> None:
    agent = str(entry.agent)
    number = state.agent[agent].incident if agent in state.agent else None
    row = rows.SignalRow(agent=agent, signal=body.signal, at_us=at_us, about=body.about, incident=number)
    state._put("signal", entry.seq, row)
    state._note_signal(entry.seq, row)


@_folds(kinds.IncidentOpened)
def _incident_opened(state: State, entry: Entry[Any], body: kinds.IncidentOpened, at_us: int) -> None:
    if body.incident != state.incidents + 1:
        raise Corrupt(f"entry {entry.seq} opens incident {body.incident} after {state.incidents}")
    row = rows.Incident(
        kind=body.kind, severity=body.severity, state="OPEN", title=body.title, agent=str(entry.agent),
        opened=entry.seq, onset_first=body.onset_first, onset_last=body.onset_last, response=body.response,
        marks={"DETECTED": entry.seq}, waiting=(), signals=1, proposed_by=None, proposal=None,
    )  # fmt: skip
    state.incidents = body.incident
    state._put("incident", body.incident, row)
    if entry.agent in state.agent:
        state._change("agent", entry.agent, incident=body.incident)


@_folds(kinds.IncidentUpdated)
def _incident_updated(state: State, entry: Entry[Any], body: kinds.IncidentUpdated, at_us: int) -> None:
    row = state.incident[body.incident]
    more = 1 if body.signal is not None else 0
    state._change(
        "incident", body.incident, state=body.state, severity=body.severity, signals=row.signals + more
    )  # fmt: skip


def _mark(state: State, incident: int | None, mark: str, seq: int, **fields: Any) -> None:
    """Set a containment mark once; later ones of the same kind change nothing but `fields`."""
    if incident is None or incident not in state.incident:
        return
    marks = state.incident[incident].marks
    state._change("incident", incident, marks=marks if mark in marks else {**marks, mark: seq}, **fields)


@_folds(kinds.InterruptOrdered)
def _interrupt_ordered(state: State, entry: Entry[Any], body: kinds.InterruptOrdered, at_us: int) -> None:
    if body.incident is None:
        return
    waiting = tuple(sorted({*state.incident[body.incident].waiting, *body.actions}))
    _mark(state, body.incident, "ORDERED", entry.seq, waiting=waiting)
    if not waiting:
        _mark(state, body.incident, "STOPPED", entry.seq)


def _ended(state: State, action: int, seq: int, confirmed: bool) -> None:
    for number, row in list(state.incident.items()):
        if action not in row.waiting:
            continue
        waiting = tuple(seq_ for seq_ in row.waiting if seq_ != action)
        if not confirmed:
            _mark(state, number, "CONTAINMENT_FAILED", seq, waiting=waiting)
        elif waiting or "CONTAINMENT_FAILED" in row.marks:
            state._change("incident", number, waiting=waiting)
        else:
            _mark(state, number, "STOPPED", seq, waiting=waiting)


@_folds(kinds.InterruptConfirmed)
def _confirmed(state: State, entry: Entry[Any], body: kinds.InterruptConfirmed, at_us: int) -> None:
    _ended(state, body.action, entry.seq, confirmed=True)


@_folds(kinds.InterruptUnconfirmed)
def _unconfirmed(state: State, entry: Entry[Any], body: kinds.InterruptUnconfirmed, at_us: int) -> None:
    _ended(state, body.action, entry.seq, confirmed=False)


@_folds(kinds.AuthorityChanged)
def _authority(state: State, entry: Entry[Any], body: kinds.AuthorityChanged, at_us: int) -> None:
    row = state.agent.get(str(entry.agent))
    if row is None or row.authority != body.was or body.epoch < row.epoch:
        raise Corrupt(f"entry {entry.seq} changes the authority of {entry.agent} from a state it is not in")
    by = body.by if body.now == "SUSPENDED" else row.suspended_by
    incident = None if body.now in ("PROBATION", "ACTIVE") else row.incident
    state._change(
        "agent", entry.agent, authority=body.now, epoch=body.epoch, suspended_by=by, incident=incident
    )
    if body.now == "SUSPENDED":
        _mark(state, body.incident, "SUSPENDED", entry.seq)
    elif body.now == "PROBATION":
        _mark(state, body.incident, "RELEASED", entry.seq)


@_folds(kinds.HoldPlaced)
def _hold(state: State, entry: Entry[Any], body: kinds.HoldPlaced, at_us: int) -> None:
    state.holds = max(state.holds, body.hold)
    row = rows.Hold(
        agent=str(entry.agent), incident=body.incident, first=body.first, last=body.last, why=body.why
    )
    state._put("hold", body.hold, row)
    _mark(state, body.incident, "HELD", entry.seq)


@_folds(kinds.PageQueued)
def _page_queued(state: State, entry: Entry[Any], body: kinds.PageQueued, at_us: int) -> None:
    state.pages = max(state.pages, body.page)
    row = rows.Page(
        incident=body.incident, person=body.person, channel=body.channel, step=body.step, state="queued", attempts=0,
        due_us=body.due_us, why=body.why,
    )  # fmt: skip
    state._put("page", body.page, row)


@_folds(kinds.PageAttempted)
def _page_attempted(state: State, entry: Entry[Any], body: kinds.PageAttempted, at_us: int) -> None:
    row = state.page.get(body.page)
    if row is None:
        raise Corrupt(f"entry {entry.seq} attempts page {body.page}, which is not queued")
    now = "accepted" if body.accepted else ("queued" if body.next_due_us is not None else "failed")
    state._put(
        "page",
        body.page,
        replace(row, state=now, attempts=body.attempt, due_us=body.next_due_us or row.due_us),
    )
    if now != "queued":
        state._forget("page", body.page)
    if body.accepted:
        _mark(state, row.incident, "NOTIFIED", entry.seq)


@_folds(kinds.Acknowledged)
def _acknowledged(state: State, entry: Entry[Any], body: kinds.Acknowledged, at_us: int) -> None:
    _mark(state, body.incident, "ACKNOWLEDGED", entry.seq)


@_folds(kinds.ReleaseProposed)
def _proposed(state: State, entry: Entry[Any], body: kinds.ReleaseProposed, at_us: int) -> None:
    _mark(state, body.incident, "RELEASE_PROPOSED", entry.seq, proposed_by=body.person, proposal=body.digest)
