"""The projections in memory: rows by table, the indexes over them, and which rows changed since the last drain.

Only `core.folds` changes them. Rows that can no longer change a verdict (settled actions, closed runs, signals) leave
memory; the storage keeps them, and tells again what was counted (`past`). No IO: the ledger drains `dirty` into the
entry's transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import msgspec

from failwell.core import contract as contracts
from failwell.core import rows
from failwell.core.contract import Limit
from failwell.core.errors import Corrupt
from failwell.core.lately import Lately
from failwell.core.tables import Tables
from failwell.core.windows import EVER, NEVER, Past, Window

#: Windows kept in memory before those that the store can tell again are let go of, and rows of one that are.
KEPT_WINDOWS = 20_000
KEPT_ROWS = 4096
KEPT_POSTURES = 4096
#: Completed actions of one run that a later one can stand on; of more the oldest are forgotten, which denies.
KEPT_DONE = 500
#: What a limit is used stands in the decision; a sum that is only recorded can grow beyond what an entry can hold.
MOST_USED = 2**53 - 1
#: Kinds of limit that no window keeps: what is going on now, what was completed in the run, what completes it.
_NO_WINDOW = frozenset({"concurrent", "sequence", "gives"})

_Place = TypeVar("_Place")


class Projections(Tables):
    """All projections that a verdict or a reaction may read, by table; and the rows changed since the last drain."""

    def __init__(self) -> None:
        super().__init__()
        self.size = self.last_at_us = 0
        self.nonces: set[tuple[str, str]] = set()
        #: Commitments to the addresses of who is being enrolled by orders of the open commit.
        self.contacts: dict[str, str | None] = {}
        self.calls: dict[int, dict[str, int]] = {}
        self.windows: dict[tuple[str, str, str | None], Window] = {}
        self.signals_of: dict[tuple[str, str], Window] = {}
        #: How many open actions hold a limit of what may run at a time, by its place.
        self.going: dict[tuple[str, str, str | None], int] = {}
        self.incidents = self.holds = self.pages = 0
        self.lately = Lately()
        #: The newest decision and its tool: what the signals that follow from it are about.
        self.decided: tuple[int, str] = (-1, "")
        #: The newest try to stop an action (which, and how), and the newest entry that could not confirm one.
        self.attempted: tuple[int, str] = (-1, "")
        self.unproven: tuple[int, int] = (-1, -1)
        #: What the store tells of before this memory; None where memory holds everything, as in a replay.
        self.past: Past | None = None
        self.dirty: dict[tuple[str, Any], rows.Row] = {}
        self._parsed: dict[str, contracts.Contract] = {}
        #: The checks of tools that have some, by contract.
        self.ensures: dict[str, dict[str, tuple[contracts.Ensure, ...]]] = {}
        #: The undoing steps of tools that have one, by contract.
        self.undoings: dict[str, dict[str, contracts.Compensate]] = {}
        #: Actions that were stopped on their way, between their outcome and the undoing that follows in its commit.
        self.to_undo: dict[int, rows.Action] = {}
        self._floors: dict[str, contracts.Floor] = {}
        self._bounds: dict[tuple[str, ...], tuple[contracts.Contract, dict[str, Limit]]] = {}
        #: Bodies of the postures that decisions cited lately, by entry.
        self.postures: dict[int, Any] = {}
        self.names: dict[str, str] = {}

    # -- reading -----------------------------------------------------------------------------------------------

    @property
    def mode(self) -> str:
        return self.workspace[1].mode if self.workspace else "live"

    @property
    def origin(self) -> str:
        return self.workspace[1].origins[-1][1] if self.workspace else ""

    @property
    def origins(self) -> tuple[tuple[int, str], ...]:
        """(first entry, origin) of each name the log has had, oldest first."""
        return self.workspace[1].origins if self.workspace else ()

    @property
    def log_key(self) -> str:
        return self.workspace[1].log_key if self.workspace else ""

    @property
    def failed(self) -> tuple[str, ...]:
        return self.workspace[1].failed if self.workspace else ()

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
        return self.contract_at(row.contract)

    def contract_at(self, digest: str) -> contracts.Contract | None:
        """The adopted contract of this digest, parsed once; None where there is none."""
        row = self.contract.get(digest)
        if digest not in self._parsed and row is not None:
            self._parsed[digest] = contracts.from_canonical(row.document.encode())
        return self._parsed.get(digest)

    def bounds_of(self, agent: str) -> contracts.Contract | None:
        """The contract in force for `agent` as it is judged: under the floors that bind it."""
        bounds = self._bounds_of(agent)
        return None if bounds is None else bounds[0]

    def limits_of(self, agent: str) -> Mapping[str, Limit]:
        """The limits in force for `agent`, its own and those of its floors, by id."""
        bounds = self._bounds_of(agent)
        return {} if bounds is None else bounds[1]

    def _bounds_of(self, agent: str) -> tuple[contracts.Contract, dict[str, Limit]] | None:
        contract, row = self.contract_of(agent), self.agent.get(agent)
        if contract is None or row is None:
            return None
        floors = self.floors_of(agent)
        place = (str(row.contract), *map(contracts.floor_digest, floors))
        if place not in self._bounds:
            bounds = contracts.under(contract, floors)
            self._bounds[place] = bounds, {limit.id: limit for limit in bounds.limits}
        return self._bounds[place]

    def agent_named(self, name: str) -> str | None:
        """The full id of the agent whose id or short name is `name`."""
        return name if name in self.agent else self.names.get(name)

    def present(self, person: str) -> bool:
        """Whether `person` is enrolled, was reached at their address, and is not gone: who can own an agent."""
        row = self.person.get(person)
        return row is not None and row.verified is not None and row.left is None

    def enrolled(self, person: str) -> bool:
        """Whether `person` is enrolled and not gone: who can be asked, reached or not."""
        row = self.person.get(person)
        return row is not None and row.left is None

    def reachable(self, person: str) -> str:
        """`person`, or whoever follows them since they are gone."""
        row = self.person.get(person)
        while row is not None and row.left is not None and row.successor is not None:
            person = row.successor
            row = self.person.get(person)
        return person

    def running(self, agent: str) -> tuple[int, ...]:
        """Decisions of `agent`, or handed over by it, that may run and have no outcome yet, oldest first."""
        # Asked while an agent is being stopped, of everything that is open: what is another's falls out first.
        return tuple(
            [
                seq
                for seq, action in self.action.items()
                if (action.agent == agent or (action.chain and agent in action.chain)) and action.state == "open"
            ]
        )

    def used(self, agent: str, limit: str, key: str | None, now_us: int, per_us: int) -> int:
        """How many reservations of a limit are younger than `per_us` (0: how many there ever were)."""
        return self._asked(agent, limit, key, now_us, per_us).used(now_us, per_us)

    def _asked(self, agent: str, limit: str, key: str | None, now_us: int, per_us: int) -> Window:
        window = self.limit_window(agent, limit, key, now_us - per_us if per_us else EVER)
        window.asked_us = max(window.asked_us, per_us or NEVER)
        return window

    def measured(self, agent: str, limit: Limit, key: str | None, now_us: int, run: int | None) -> int:
        """How far a limit of `agent` is used for `key` at limit time `now_us`, before an action in `run`."""
        kind, per_us = limit.kind, limit.per_us
        if kind == "concurrent":
            return self.going.get((agent, limit.id, key), 0)
        if kind == "sequence":
            row = None if run is None else self.run.get(run)
            return 0 if row is None else int(done_word(agent, limit.id, key) in row.done)
        window = self._asked(agent, limit.id, key, now_us, per_us)
        return window.used(now_us, per_us) if limit.sums is None else min(window.total(now_us, per_us), MOST_USED)

    def floors_of(self, agent: str) -> tuple[contracts.Floor, ...]:
        """The floors that bind `agent`, by name; each parsed once. ContractError for one that cannot be read."""
        return tuple(self._floor(row) for _, row in self.floor_rows_of(agent))

    def floor_rows_of(self, agent: str) -> tuple[tuple[str, rows.FloorRow], ...]:
        """(name, row) of the floors that bind `agent`, its organisation's and those of its groups; none is read."""
        row = self.agent.get(agent)
        if not self.floor or row is None:
            return ()
        scopes = {"organisation", *(f"group:{group}" for group in row.groups)}
        return tuple((name, floor) for name, floor in sorted(self.floor.items()) if floor.scope in scopes)

    def remember_posture(self, seq: int, body: Any) -> None:
        """Keep a posture's body at hand; the oldest goes, the store has it."""
        if len(self.postures) >= KEPT_POSTURES:
            del self.postures[next(iter(self.postures))]
        self.postures[seq] = body

    def _floor(self, row: rows.FloorRow) -> contracts.Floor:
        if row.digest not in self._floors:
            self._floors[row.digest] = contracts.floor_from_canonical(row.document.encode())
        return self._floors[row.digest]

    def signals_within(self, agent: str, signal: str, now_us: int, within_us: int) -> int:
        """How often `signal` was raised for `agent` in the window that ends now."""
        window = self.signal_window(agent, signal, now_us - within_us if within_us else EVER)
        window.asked_us = max(window.asked_us, within_us or NEVER)
        return window.used(now_us, within_us)

    def limit_window(self, agent: str, limit: str, key: str | None, since_us: int) -> Window:
        """The reservations of a limit, reaching back to `since_us`."""
        window = self._window(self.windows, (agent, limit, key))
        if self.past is not None and since_us < window.reaches_us:
            upto_us, before = window.reaches_us, window.first
            older = self.past.reserved(agent, limit, key, after_us=since_us, upto_us=upto_us, before=before)
            window.extend(since_us, older)
        return window

    def signal_window(self, agent: str, signal: str, since_us: int) -> Window:
        """The signals of one name about `agent`, reaching back to `since_us`."""
        window = self._window(self.signals_of, (agent, signal))
        if self.past is not None and since_us < window.reaches_us:
            upto_us, before = window.reaches_us, window.first
            older = self.past.raised(agent, signal, after_us=since_us, upto_us=upto_us, before=before)
            window.extend(since_us, older)
        return window

    def _window(self, windows: dict[_Place, Window], place: _Place) -> Window:
        found = windows.get(place)
        if found is None:
            found = windows[place] = Window(EVER if self.past is None else NEVER)
        return found

    # -- changing (folds only) ---------------------------------------------------------------------------------

    def put(self, table: str, key: Any, row: rows.Row) -> None:
        getattr(self, table)[key] = row
        self.dirty[table, key] = row

    def forget(self, table: str, key: Any) -> None:
        """Take a row that can no longer matter out of memory; its stored row stays."""
        getattr(self, table).pop(key, None)

    def change(self, table: str, key: Any, /, **fields: Any) -> None:
        """Replace a row's fields; Corrupt when there is no such row (the entry speaks of nothing)."""
        row = getattr(self, table).get(key)
        if row is None:
            raise Corrupt(f"no {table} {key} to change")
        self.put(table, key, msgspec.structs.replace(row, **fields))

    def drain(self) -> dict[tuple[str, Any], rows.Row]:
        """The rows changed since the last drain, to be written in this transaction."""
        dirty, self.dirty = self.dirty, {}
        return dirty

    # -- loading -----------------------------------------------------------------------------------------------

    def load(self, table: str, stored: Iterable[tuple[Any, Any]]) -> None:
        """Take stored rows back into memory (start-up); rows that cannot matter any more are passed over."""
        memory = getattr(self, table)
        for key, row in stored:
            if _stays(self, table, key, row):
                memory[key] = row
                if table == "action":
                    self.begin(row.held)

    def recall(self, table: str, stored: Iterable[tuple[Any, Any]]) -> None:
        """Count the actions and signals that `past` does not reach, after the open runs were loaded."""
        for key, row in stored:
            if table == "signal":
                self.note_signal(key, row)
                continue
            if row.run is not None and row.run in self.calls:
                self.call(row.run, row.call, key, again=row.verdict != "DENY")
            if row.held:
                self.reserve(key, row.limit_us, row.held, blocked=row.state == "blocked")

    def call(self, run: int, call: str, seq: int, *, again: bool) -> None:
        """An open run asked for `call` at entry `seq`. The newest that runs it stands for it, a denied re-use never."""
        if again or call not in self.calls[run]:
            self.calls[run][call] = seq

    def reserve(self, seq: int, at_us: int, held: tuple[rows.Held, ...], *, blocked: bool = False) -> None:
        """Count what the action `seq` took at limit time `at_us`; a blocked one keeps what no proof gives back."""
        for item in held:
            if not (item.measure in _NO_WINDOW or (blocked and given_back(item))):
                self._window(self.windows, (item.agent, item.limit, item.key)).reserve(at_us, seq, item.adds)

    def release(self, row: rows.Action, seq: int, by: int) -> None:
        """Entry `by` proves that the action `seq` never started: it gives back what it reserved (D6)."""
        for item in row.held:
            if given_back(item):
                window = self._window(self.windows, (item.agent, item.limit, item.key))
                window.release(seq)
                window.touched = max(window.touched, by)

    def begin(self, held: tuple[rows.Held, ...], step: int = 1) -> None:
        """An action is open from now on (with `step` -1: no longer), which counts among those at a time."""
        for item in held:
            if item.measure == "concurrent":
                place = (item.agent, item.limit, item.key)
                self.going[place] = self.going.get(place, 0) + step
                if not self.going[place]:
                    del self.going[place]

    def complete(self, row: rows.Action) -> None:
        """An action was completed: note in its run what a later one may stand on. Of closed runs nothing is noted."""
        run = None if row.run is None else self.run.get(row.run)
        given = [done_word(item.agent, item.limit, item.key) for item in row.held if item.measure == "gives"]
        if run is not None and given:
            done = (*(word for word in run.done if word not in given), *dict.fromkeys(given))
            self.change("run", row.run, done=done[-KEPT_DONE:])

    def note_signal(self, seq: int, row: rows.SignalRow) -> None:
        self._window(self.signals_of, (row.agent, row.signal)).reserve(row.at_us, seq)

    def settle(self, now_us: int) -> None:
        """Let go of what `past` can tell again: windows that nobody changed lately, and what no window counts any more.

        INVARIANT: only what stands before `past.size` may go, or a limit would forget.
        """
        if self.past is None:
            return
        size, limit_us = self.past.size, self.limit_us(now_us)
        _let_go(self.windows, size, limit_us)
        _let_go(self.signals_of, size, now_us)


def given_back(item: rows.Held) -> bool:
    """Whether the proof that an action never started gives this back: it was asked for all the same (rate)."""
    return item.measure not in _NO_WINDOW and item.measure != "rate"


def done_word(agent: str, limit: str, key: str | None) -> str:
    """How a run remembers that what a sequence needs was completed; no agent's id and no limit's has a space."""
    return f"{agent} {limit}" if key is None else f"{agent} {limit} {key}"


def _let_go(windows: dict[Any, Window], size: int, now_us: int) -> None:
    if len(windows) > KEPT_WINDOWS:
        for place in [place for place, window in windows.items() if window.touched < size]:
            del windows[place]
    for window in windows.values():
        if len(window) > KEPT_ROWS and window.asked_us < NEVER:
            window.trim(now_us - window.asked_us, size)


#: The states in which a row of these tables can still matter.
_LIVE = {"action": ("open",), "check": ("owed",), "compensation": ("owed", "begun")}


def _stays(state: Projections, table: str, key: Any, row: Any) -> bool:
    """Whether a stored row belongs into memory, and the indexes that come with it."""
    if table == "run":
        if row.open:
            state.calls.setdefault(key, {})
        return bool(row.open)
    if table in _LIVE:
        return row.state in _LIVE[table]
    if table == "order":
        state.nonces.add((row.person, row.nonce))
        return False
    if table == "signal":
        return False
    if table == "agent":
        state.names[row.name] = key
    elif table == "ticket":
        return not row.ended
    elif table in ("incident", "hold", "page"):
        counter = f"{table}s"
        setattr(state, counter, max(getattr(state, counter), key))
    return table != "page" or bool(row.state == "queued")
