"""The projections in memory: rows by table, the indexes over them, and which rows changed since the last drain.

Only `core.folds` changes them. Rows that can no longer change a verdict (settled actions, closed runs, signals) leave
memory; the storage keeps them. No IO: the ledger drains `dirty` into the entry's transaction.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable
from typing import Any

import msgspec

from failwell.core import contract as contracts
from failwell.core import rows
from failwell.core.errors import Corrupt


class Window:
    """Entries of one kind in the order of time, as two arrays of equal length: what a sliding window counts.

    Kept per (agent, limit, key) for reservations, per (agent, signal) for signals.
    """

    __slots__ = ("_seqs", "_times")

    def __init__(self) -> None:
        self._times = array("q")
        self._seqs = array("q")

    def reserve(self, at_us: int, seq: int) -> None:
        """Add one. Limit time stands still at a withheld clock step but never goes back."""
        self._times.append(max(at_us, self._times[-1] if self._times else at_us))
        self._seqs.append(seq)

    def used(self, now_us: int, per_us: int) -> int:
        """How many are younger than `per_us` (0 = of all time) at time `now_us`; O(log n)."""
        oldest = 0 if per_us == 0 else bisect_right(self._times, now_us - per_us)
        return len(self._times) - oldest

    def release(self, seq: int) -> None:
        """Give a reservation back: the action was proved not to have started."""
        if seq in self._seqs:
            place = self._seqs.index(seq)
            del self._times[place], self._seqs[place]


class Projections:
    """All projections that a verdict or a reaction may read, by table; and the rows changed since the last drain."""

    def __init__(self) -> None:
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
        self.signals_of: dict[tuple[str, str], Window] = {}
        self.incidents = 0
        self.holds = 0
        self.pages = 0
        #: The newest decision and its tool: what the signals that follow from it are about.
        self.decided: tuple[int, str] = (-1, "")
        self.dirty: dict[tuple[str, Any], rows.Row] = {}
        self._parsed: dict[str, contracts.Contract] = {}
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
        digest = row.contract
        if digest not in self._parsed:
            self._parsed[digest] = contracts.from_canonical(self.contract[digest].document.encode())
        return self._parsed[digest]

    def agent_named(self, name: str) -> str | None:
        """The full id of the agent whose id or short name is `name`."""
        return name if name in self.agent else self.names.get(name)

    def running(self, agent: str) -> tuple[int, ...]:
        """Decisions of `agent` that were allowed and have no outcome yet, oldest first."""
        return tuple(seq for seq, action in self.action.items() if action.state == "open" and action.agent == agent)

    def used(self, agent: str, limit: str, key: str | None, now_us: int, per_us: int) -> int:
        window = self.windows.get((agent, limit, key))
        return 0 if window is None else window.used(now_us, per_us)

    def signals_within(self, agent: str, signal: str, now_us: int, within_us: int) -> int:
        """How often `signal` was raised for `agent` in the window that ends now."""
        window = self.signals_of.get((agent, signal))
        return 0 if window is None else window.used(now_us, within_us)

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

    def reserve(self, agent: str, seq: int, at_us: int, held: tuple[tuple[str, str | None], ...]) -> None:
        for limit, key in held:
            self.windows.setdefault((agent, limit, key), Window()).reserve(at_us, seq)

    def note_signal(self, seq: int, row: rows.SignalRow) -> None:
        self.signals_of.setdefault((row.agent, row.signal), Window()).reserve(row.at_us, seq)


def _stays(state: Projections, table: str, key: Any, row: Any) -> bool:
    """Whether a stored row belongs into memory, and the indexes that come with it."""
    if table == "run":
        if row.open:
            state.calls.setdefault(key, {})
        return bool(row.open)
    if table == "action":
        if row.run is not None and row.run in state.calls:
            # As in the fold: a denied re-use of a call id never takes the first one's place.
            state.calls[row.run].setdefault(row.call, key)
        if row.held and row.state != "blocked":
            state.reserve(row.agent, key, row.limit_us, row.held)
        return bool(row.state == "open")
    if table == "order":
        state.nonces.add((row.person, row.nonce))
        return False
    if table == "signal":
        state.note_signal(key, row)
        return False
    if table == "agent":
        state.names[row.name] = key
    elif table in ("incident", "hold", "page"):
        counter = f"{table}s"
        setattr(state, counter, max(getattr(state, counter), key))
    return table != "page" or bool(row.state == "queued")
