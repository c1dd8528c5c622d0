"""The index beside the ledger: it changes no answer, finds an agent's entries, and is thrown away where it is wrong."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from failwell.core import kinds, projections
from failwell.core.records import decode_entry
from failwell.core.state import rows_of
from failwell.core.windows import EVER
from failwell.gate import runs
from failwell.ledger import book as books
from failwell.ledger import vault as vaults
from failwell.ledger.book import Book
from failwell.ports.storage import Batch, StorageFailed, StoredEntry
from failwell.storage import index as indexes
from failwell.storage import sqlite
from failwell.storage.index import Follower, Index
from failwell.storage.sqlite import SqliteStorage
from tests.unit.core.test_folds import memory, told
from tests.unit.gate.history import STEPS, Step, play, take
from tests.unit.gate.house import AGENT, FINE, HOUR_US, ORIGIN, OTHER, RULES, House, folded, open_house

#: Every kind of limit that a store tells of, or must not.
EVERY_KIND = f"""{RULES}
  - {{id: budget, sum: payments.refund.amount, at_most: 1500, per: 1h, then: record}}
  - {{id: worth, blast: amount, at_most: 2500, then: record}}
  - {{id: asked, rate: payments.refund, at_most: 4, per: 10m, each: [run], then: record}}
  - {{id: running, concurrent: payments.refund, at_most: 2, then: record}}
  - {{id: pause, cooldown: payments.refund, per: 1d, keys: [order_id], then: record}}
"""
ROOT = Path(__file__).resolve().parents[3]
RELEASED = ROOT / "tests" / "vectors" / "ledgers" / "layout-1"
TABLES = ("reach", "agent", "numbered", "called", "reserved", "raised", "token")

#: Allowed actions of one order, one given back, a restart behind each: what a limit forgets shows at once.
COUNTED: list[Step] = [
    *[("ask", number) for number in (0, 1, 2, 8)], ("settle", 0), ("restart", 0), ("ask", 0), ("settle", 1),
    ("ask again", 0), ("restart", 3), ("ask", 1), ("skip", 5), ("ask", 0), ("restart", 6), ("ask", 2), ("ask", 8),
]  # fmt: skip


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """An index from the first entry on, in pages of a few, and a memory that lets go of what it can at once."""
    monkeypatch.setattr(sqlite, "INDEX_FROM", 0)
    monkeypatch.setattr(indexes, "PAGE", 3)
    monkeypatch.setattr(books, "SETTLE_ENTRIES", 4)
    monkeypatch.setattr(vaults, "KEPT_TOKENS", 1)
    monkeypatch.setattr(projections, "KEPT_WINDOWS", 1)
    monkeypatch.setattr(projections, "KEPT_ROWS", 0)


def content(path: Path) -> dict[str, Any]:
    """What an index holds, agents by name."""
    connection = apsw.Connection(str(path))
    names = dict(connection.execute("SELECT id, name FROM agent"))
    found: dict[str, Any] = {"reach": connection.execute("SELECT size, leaf FROM reach").fetchall()}
    for table in ("numbered", "reserved", "raised"):
        found[table] = sorted((names[row[0]], *row[1:]) for row in connection.execute(f"SELECT * FROM {table}"))
    for table in ("called", "token"):
        found[table] = sorted(connection.execute(f"SELECT * FROM {table}"))
    connection.close()
    return found


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """The ledger of an earlier release, brought to this layout."""
    path = Path(shutil.copy(RELEASED / "ledger.db", tmp_path / "ledger.db"))
    SqliteStorage(path, rows_of).close()
    return path


@pytest.fixture
def index(ledger: Path) -> Iterator[Index]:
    made = Index(ledger)
    made.catch_up()
    yield made
    made.close()


# ---- it changes no answer ------------------------------------------------------------------------------------------


def lag(house: House, number: int) -> None:
    """The index is anywhere behind the ledger, gone, or broken when the house is opened again."""
    storage = house.storage
    path = storage.path.with_name(indexes.NAME)
    house.close()
    if number % 5 == 0:
        indexes.remove(path)
    elif number % 5 == 1:
        path.write_bytes(b"not a database, yet long enough to be looked at" * 99)
    # Without its reserve a store leaves the index where it is, as on a full disk.
    behind = Index(storage.path)
    behind.catch_up(pages=number % 7)
    behind.close()
    storage.reserve_path.unlink(missing_ok=True)
    storage.reserve_path.mkdir()
    house.book = house._book()
    storage.reserve_path.rmdir()
    if number % 3 == 0:
        storage.refill_reserve()  # the thread behind the writer goes on
        house.storage.index_more(number % 4)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS, st.lists(st.integers(0, 209), min_size=3, max_size=12))
@example(COUNTED, [0, 1, 2, 3, 30, 60, 90])
@example(COUNTED, [90, 6, 33, 63])
def test_a_ledger_opened_anew_with_any_index_decides_as_one_that_reads_everything(
    steps: list[Step], lags: list[int]
) -> None:
    steady, restless = open_house(EVERY_KIND), open_house(EVERY_KIND)
    steady.close()
    indexes.remove(steady.path.with_name(indexes.NAME))
    steady.path.with_name(indexes.NAME).mkdir()  # no index can be made there: it reads all that ever was
    steady.reopen()
    assert steady.state.past is None
    for house in (steady, restless):
        play(house, [])
    for number, step in enumerate(steps):
        if number % 2 == 0:
            lag(restless, lags[number // 2 % len(lags)])
        assert take(steady, step) == take(restless, step)
    assert [told(entry) for entry in steady.entries()] == [told(entry) for entry in restless.entries()]
    state, _ = folded((entry, restless.book.leaf(entry.seq)) for entry in restless.entries())
    assert memory(restless.state, state) == memory(state, state)
    steady.close()
    restless.close()


@pytest.mark.parametrize("forgets", ["reserved", "calls", "token"])
def test_the_comparison_would_notice_an_index_that_forgets(forgets: str, monkeypatch: pytest.MonkeyPatch) -> None:
    empty: dict[str, Any] = {"reserved": [], "calls": [], "token": None}
    monkeypatch.setattr(Index, forgets, lambda self, *_, **__: empty[forgets])
    with pytest.raises(AssertionError):
        test_a_ledger_opened_anew_with_any_index_decides_as_one_that_reads_everything.hypothesis.inner_test(  # type: ignore[attr-defined]
            COUNTED, [13, 34, 48, 62]
        )


def test_what_was_given_back_behind_the_index_is_not_counted_again() -> None:
    """An action is indexed, then memory and index go apart while it is proved not to have started."""
    house = open_house()
    run = house.run()
    first = house.ask(run, FINE).entry
    house.reopen()
    assert house.storage.past().size > first  # type: ignore[union-attr]
    house.settle(first, "blocked")
    reserve = house.storage.reserve_path
    reserve.unlink()
    house.close()
    reserve.mkdir()
    house.book = house._book()
    assert house.state.past is not None
    assert first < house.state.past.size < house.state.size
    assert house.state.used(AGENT, "per-hour", None, house.state.last_at_us, HOUR_US) == 0
    reserve.rmdir()
    house.close()


def test_memory_lets_go_of_windows_and_tokens_that_the_index_can_tell_again() -> None:
    house = open_house()
    house.reopen()
    run = house.run()
    for number in range(40):
        house.ask(run, FINE, order=f"o-{number}")
        house.clock.skip(HOUR_US // 4)
        house.storage.index_more(100)
    assert house.state.used(AGENT, "per-hour", None, house.state.last_at_us, 0) > 30
    assert len(house.state.windows) < 10
    assert len(house.book.vault._tokens) + len(house.book.vault._older) < 30
    state, _ = folded((entry, house.book.leaf(entry.seq)) for entry in house.entries())
    assert len(state.windows) == 41
    for place, window in state.windows.items():
        assert house.state.limit_window(*place, EVER).held == window.held
    house.close()


class Counting(SqliteStorage):
    """The store itself; `read` counts the rows that it gives."""

    read = 0

    def _page(self, sql: str, *bindings: Any) -> list[Any]:
        found = super()._page(sql, *bindings)
        self.read += len(found)
        return found

    def _one(self, sql: str, *bindings: Any) -> Any:
        self.read += 1
        return super()._one(sql, *bindings)


def test_a_start_reads_no_more_of_a_long_ledger_than_of_a_short_one() -> None:
    """What is still open is the same; what was done and ended is a hundred times as much."""
    read = []
    for done in (3, 300):
        house = open_house()
        for number in range(done):
            run = house.run()
            house.settle(house.ask(run, FINE, order=f"o-{number}").entry, "completed")
            house.do(runs.close_run(run, AGENT, "done"))
            house.clock.skip(HOUR_US)
        house.ask(house.run(), FINE)
        house.reopen()  # the index is brought up to now
        house.close()
        counting = Counting(house.path)
        before = counting.read
        house.book = Book(counting, house.book.vault, house.clock, ORIGIN, house.reactions)
        assert house.state.size > 3 * done
        assert len(house.state.action) == len(house.state.run) == 1
        read.append(counting.read - before)
        house.close()
    # A longer ledger has a few more subtrees on its right edge, and nothing else that is read.
    assert read[1] - read[0] < 12, read


# ---- it finds an agent's entries -----------------------------------------------------------------------------------


def test_an_agents_entries_are_found_by_its_own_count(ledger: Path, index: Index) -> None:
    storage = SqliteStorage(ledger)
    entries = [(entry.agent, entry.aseq) for entry in (decode_entry(row.data) for row in storage.entries(0, 1000))]
    for agent in (AGENT, "spiffe://shop.example/agent/stranger"):
        truth = [seq for seq, (name, _) in enumerate(entries) if name == agent]
        assert [aseq for name, aseq in entries if name == agent] == list(range(len(truth)))
        assert index.count(agent) == len(truth)
        assert list(index.entries_of(agent)) == truth
        assert list(index.entries_of(agent, 3, 9)) == truth[3:9]
        assert index.newest_of(agent, 4) == truth[-4:][::-1]
    assert (index.count(OTHER), list(index.entries_of(OTHER)), index.newest_of(OTHER, 3)) == (0, [], [])
    storage.close()


# ---- it is thrown away where it is wrong ---------------------------------------------------------------------------


def spoil(path: Path, how: str, rng: random.Random) -> None:
    data = path.read_bytes()
    if how == "text":
        path.write_bytes(b"no database at all, but long enough to be looked at" * 99)
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "cut":
        path.write_bytes(data[: len(data) // 2])
    elif how == "noise":
        path.write_bytes(data[:4096] + rng.randbytes(len(data) - 4096))
    else:
        connection = apsw.Connection(str(path))
        connection.execute(how)
        connection.close()


@pytest.mark.parametrize(
    "how",
    [
        "text", "empty", "cut", "noise", "PRAGMA user_version = 99", "PRAGMA application_id = 5", "DROP TABLE reach",
        "DELETE FROM reach", "UPDATE reach SET size = 10000", "UPDATE reach SET leaf = x'00'",
    ],
)  # fmt: skip
def test_an_index_that_is_no_index_of_this_ledger_is_made_anew(
    ledger: Path, index: Index, how: str, rng: random.Random
) -> None:
    index.close()
    whole = content(index.path)
    spoil(index.path, how, rng)
    for _ in range(2):  # what shows only when it is used is thrown away then
        again = Index(ledger)
        try:
            again.catch_up()
            assert again.count(AGENT) == 85
            break
        except StorageFailed:
            assert not again.open
        finally:
            again.close()
    assert content(index.path) == whole


def test_an_index_of_another_ledger_or_of_a_longer_past_is_made_anew(
    ledger: Path, index: Index, tmp_path: Path
) -> None:
    """A restored backup goes on from an earlier entry; what was indexed of the lost ones must not be counted."""
    index.close()
    connection = apsw.Connection(str(ledger))
    connection.execute("DELETE FROM entry WHERE seq >= 90")
    connection.execute("DELETE FROM action WHERE key >= 90")
    connection.close()
    again = Index(ledger)
    assert again.size == 0
    again.catch_up()
    assert again.size == 90
    again.close()
    house = open_house()
    house.close()
    shutil.copy(index.path, house.path.with_name(indexes.NAME))
    other = Index(house.path)
    assert other.size == 0
    other.close()


CHILD = """
    import os, signal, sys
    from pathlib import Path
    import apsw
    from failwell.storage import index

    index.PAGE = 9
    count, at = 0, int(sys.argv[2])

    def step():
        global count
        count += 1
        if count == at:
            os.kill(os.getpid(), signal.SIGKILL)

    class File(apsw.VFSFile):
        def xWrite(self, data, offset):
            step()
            super().xWrite(data, offset)
        def xSync(self, flags):
            step()
            super().xSync(flags)

    class Steps(apsw.VFS):
        def __init__(self):
            self.below = apsw.vfs_names()[0]
            super().__init__("steps", self.below, makedefault=True)
        def xOpen(self, name, flags):
            return File(self.below, name, flags)

    steps = Steps()
    made = index.Index(Path(sys.argv[1]))
    made.catch_up()
    made.close()
    print(count)
"""


def fill_killed(path: Path, at: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(CHILD), str(path), str(at)], cwd=ROOT, capture_output=True, text=True,
        check=False, timeout=50,
    )  # fmt: skip


def test_filling_that_is_killed_at_any_write_goes_on_to_the_same_index(ledger: Path, rng: random.Random) -> None:
    counted = fill_killed(ledger, 0)
    assert counted.returncode == 0, counted.stderr
    path = ledger.with_name(indexes.NAME)
    whole, steps = content(path), int(counted.stdout)
    indexes.remove(path)
    reached = set()
    for at in sorted(rng.sample(range(1, steps), 8)):
        assert fill_killed(ledger, at).returncode == -9
        again = Index(ledger)
        reached.add(again.size)
        again.catch_up()
        again.close()
        assert content(path) == whole
        indexes.remove(path)
    assert len(reached) > 2


def test_a_full_disk_leaves_its_last_room_to_the_ledger(ledger: Path) -> None:
    """What the reserve gave back is for a suspension, not for an index."""
    storage = SqliteStorage(ledger)
    storage.past()
    data = b'{"agent":null,"aseq":null,"body":{},"kind":"test"}'
    storage.commit(Batch([StoredEntry(107, data, b"\0" * 32, b"")], [], [], {}, None, None))
    storage.spend_reserve()
    assert storage.index_more()
    past = storage.past()
    assert past is not None
    assert past.size == 107
    assert storage.refill_reserve()
    assert storage.index_more(100)
    assert past.size == 108
    storage.close()


# ---- the thread behind the writer ----------------------------------------------------------------------------------


def test_the_follower_tries_again_after_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexes, "RETRY_S", 0.01)
    asked: list[int] = []
    done = threading.Event()

    def catch_up() -> bool:
        asked.append(1)
        if len(asked) == 2:
            raise StorageFailed("no room for the index")
        if len(asked) == 5:
            done.set()
        return len(asked) > 4

    follower = Follower(catch_up, interval_s=0.01)
    assert done.wait(10)
    follower.close()
    follower.close()


def test_the_index_follows_what_is_committed_and_tells_what_keeps_it_from_it() -> None:
    house = open_house()
    house.reopen()
    storage = house.storage
    storage.follow()
    run = house.run()
    for _ in range(5):
        house.ask(run, FINE)
    past = house.state.past
    assert past is not None
    assert reached(lambda: past.size == house.state.size)
    assert storage.index_failure is None
    assert storage._index is not None
    storage._index._write.close()  # as on a disk that only gives errors
    house.ask(run, FINE)
    assert reached(lambda: storage.index_failure is not None)
    house.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "ledger-index"]


def reached(true: Callable[[], bool]) -> bool:
    for _ in range(1000):
        if true():
            return True
        threading.Event().wait(0.01)
    return False


def test_a_token_that_no_index_knows_yet_is_kept_however_many_come_after_it() -> None:
    """Let go of too early, a value would get a second token, and a limit for it would be counted from nothing."""
    house = open_house()
    house.reopen()
    run = house.run()
    reached = house.state.past.size  # type: ignore[union-attr]
    for number in range(30):
        house.ask(run, FINE, order=f"o-{number}")
        house.clock.skip(HOUR_US)
    assert house.state.past is not None
    assert house.state.past.size == reached, "nothing was indexed meanwhile"
    again = house.ask(run, FINE, order="o-0")
    decided = next(entry.body for entry in house.entries(again.entry) if isinstance(entry.body, kinds.Decision))
    assert [(use.limit, use.used) for use in decided.uses if use.key is not None] == [("repeat", 1)]
    house.close()
