"""Transactional tools that are killed anywhere, cheat, or lose their database: rolled back is said where it is so."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from failwell.core.errors import Refused
from failwell.execute import marks
from failwell.execute.transaction import MARK, transaction
from failwell.node.endings.statement import ended
from failwell.node.endings.transactional import DOUBTED, OUTSIDE, Transactional
from failwell.ports.executor import Ended, State
from tests.simulate.house import ROOT
from tests.simulate.transacting import MODES, ROWS, found, make, strike, work

ACTION = "log.example/7"


@pytest.fixture
def database(tmp_path: Path) -> Path:
    make(tmp_path / "shop.db", "WAL")
    return tmp_path / "shop.db"


@pytest.mark.requirement("R6.3")
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.requirement("R6.8")
def test_a_kill_at_any_moment_leaves_the_mark_and_all_rows_or_neither(tmp_path: Path, mode: str) -> None:
    rolled_back, committed = strike(tmp_path / "shop.db", mode, 20, Random(f"cut {mode}"))
    assert rolled_back + committed == 20


@pytest.mark.requirement("R6.7")
def test_what_comes_late_cannot_be_committed_once_it_was_called_rolled_back(database: Path) -> None:
    file = marks.prepare(str(database))
    assert marks.void(str(database), ACTION, file, 1).state == "absent"
    with pytest.raises(sqlite3.IntegrityError):
        work(database, ACTION)
    with sqlite3.connect(database) as own:  # by the recipe, without our help
        own.execute("BEGIN IMMEDIATE")
        own.execute("INSERT INTO work VALUES (?, 'late')", (ACTION,))
        with pytest.raises(sqlite3.IntegrityError):
            own.execute(MARK, (ACTION,))
        own.rollback()
    own.close()
    assert found(database, ACTION, file) == ("absent", 0)


def test_a_tool_that_is_at_work_or_holds_the_lock_is_not_called_rolled_back(database: Path) -> None:
    file = marks.prepare(str(database))
    with at_work(database, ACTION):
        looked = marks.void(str(database), ACTION, file, 0.05)
        assert (looked.state, "lock" in looked.why) == ("unknown", True)
    assert found(database, ACTION, file) == ("present", 1)


@contextlib.contextmanager
def at_work(database: Path, action: str) -> Iterator[None]:
    """Another process in the midst of its transaction, which it commits in the end."""
    working, done = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(BaseException), transaction(str(database), action) as connection:
            connection.execute("INSERT INTO work VALUES (?, 'x')", (action,))
            os.write(working[1], b"x")
            os.read(done[0], 1)
        os._exit(0)
    os.read(working[0], 1)
    yield
    os.write(done[1], b"x")
    os.waitpid(pid, 0)
    for end in (*working, *done):
        os.close(end)


def replaced(path: Path) -> None:
    path.rename(path.with_name("old"))
    make(path, "DELETE")


def overwritten(path: Path) -> None:
    path.write_bytes(b"no database" * 100)


def without_table(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("DROP TABLE failwell_marks")
    connection.close()


@pytest.mark.parametrize("spoil", [Path.unlink, replaced, overwritten, without_table])
def test_a_database_that_cannot_be_asked_any_more_confirms_nothing(
    database: Path, spoil: Callable[[Path], None]
) -> None:
    file = marks.prepare(str(database))
    spoil(database)
    for ask in (marks.look, marks.void):
        assert ask(str(database), ACTION, file, 0.2).state == "unknown"


def test_a_tool_whose_database_is_not_there_is_not_started(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="cannot be used"):
        marks.prepare(str(tmp_path / "typo.db"))
    assert not (tmp_path / "typo.db").exists()


@pytest.mark.parametrize(
    "attempt",
    [
        lambda held: held.commit(), lambda held: held.rollback(), lambda held: held.execute("COMMIT"),
        lambda held: held.execute("END"), lambda held: held.execute("ROLLBACK"),
        lambda held: held.executescript("SELECT 1"), lambda held: held.execute("ATTACH ':memory:' AS other"),
    ],
)  # fmt: skip
def test_a_tool_does_not_end_its_transaction_half_way_by_mistake(
    database: Path, attempt: Callable[[sqlite3.Connection], object]
) -> None:  # fmt: skip
    file = marks.prepare(str(database))

    def tool() -> None:
        with transaction(str(database), ACTION) as held:
            held.execute("INSERT INTO work VALUES (?, 'x')", (ACTION,))
            attempt(held)

    with pytest.raises(sqlite3.Error):
        tool()
    assert found(database, ACTION, file) == ("absent", 0)


def test_a_block_of_the_tools_own_is_undone_alone_and_commits_nothing(database: Path) -> None:
    file = marks.prepare(str(database))
    with transaction(str(database), ACTION) as held:
        with held:
            held.execute("INSERT INTO work VALUES (?, 'kept')", (ACTION,))
        with contextlib.suppress(ZeroDivisionError), held:
            held.execute("INSERT INTO work VALUES (?, 'undone')", (ACTION,))
            _ = 1 // 0
        assert marks.look(str(database), ACTION, file, 0.2).state == "absent"
    assert found(database, ACTION, file) == ("present", 1)


# ---- a function --------------------------------------------------------------------------------------------------

FUNCTION = """
import asyncio, os, sqlite3
def good(connection, n):
    connection.execute("INSERT INTO work VALUES (?, ?)", (os.environ["FAILWELL_ACTION"], n))
    return n
async def later(connection, n):
    await asyncio.sleep(0)
    return good(connection, n)
def untold(connection, n):
    good(connection, n)
    return object()
def fails(connection, n):
    good(connection, n)
    raise ValueError("no")
def leaves(connection, n):
    good(connection, n)
    raise SystemExit(0)
def outside(connection, n):
    connection.close()
    other = sqlite3.connect(os.environ["FAILWELL_TRANSACTION"])
    good(other, n)
    other.commit()
    os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize(
    ("name", "state", "rows"),
    [("good", "present", 1), ("later", "present", 1), ("untold", "absent", 0), ("fails", "absent", 0),
     ("leaves", "absent", 0)],
)  # fmt: skip
def test_a_function_is_committed_once_its_result_can_be_told_and_not_before(
    database: Path, name: str, state: str, rows: int
) -> None:  # fmt: skip
    file = marks.prepare(str(database))
    code = run_function(database, name)
    assert (code == 0) == (state == "present")
    assert found(database, ACTION, file) == (state, rows)


def run_function(database: Path, name: str) -> int:
    (database.parent / "shop_tools.py").write_text(FUNCTION)
    env = {
        **os.environ, "PYTHONPATH": f"{database.parent}:{ROOT / 'src'}", "FAILWELL_TRANSACTION": str(database),
        "FAILWELL_ACTION": ACTION,
    }  # fmt: skip
    command = [sys.executable, "-m", "failwell.execute.function", f"shop_tools:{name}"]
    done = subprocess.run(command, check=False, env=env, input=json.dumps({"n": 5}).encode(), capture_output=True)
    return done.returncode


def test_what_a_tool_commits_past_its_transaction_is_not_claimed_to_be_rolled_back_with_it(database: Path) -> None:
    """Attack: a second connection. What is claimed is that of the mark's own transaction alone, and says so."""
    file = marks.prepare(str(database))
    assert run_function(database, "outside") == -9
    state, rows = found(database, ACTION, file)
    assert (state, rows) == ("absent", 1)
    said = ending(database).say(killed("interrupted_confirmed"), ordered=True).end
    assert said.proven_by.endswith(f"its mark is not in {database}, and cannot be set any more")


# ---- what it is worth --------------------------------------------------------------------------------------------


def ending(database: Path, doubts: list[bool] | None = None) -> Transactional:
    doubts = [] if doubts is None else doubts
    return Transactional(
        str(database), ACTION, marks.prepare(str(database)), doubted=lambda: bool(doubts),
        doubt=lambda: doubts.append(True), mono_us=lambda: 77,
    )  # fmt: skip


def killed(state: State, **more: object) -> Ended:
    return replace(ended(7, state, "ordered", "no child left to wait for"), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("state", "ordered", "mark", "said"),
    [
        ("interrupted_confirmed", True, False, "interrupted_confirmed"),
        ("interrupted_confirmed", True, True, "completed_after_interrupt"),
        ("interrupted_confirmed", False, False, "interrupted_confirmed"),  # its deadline
        ("interrupted_unconfirmed", True, False, "interrupted_unconfirmed"),
        ("interrupted_unconfirmed", True, True, "interrupted_unconfirmed"),
        ("completed_after_interrupt", True, True, "completed_after_interrupt"),
        ("unknown", False, True, "completed"),  # the supervisor died with the result
        ("unknown", True, True, "completed_after_interrupt"),
        ("unknown", False, False, "interrupted_confirmed"),
        ("failed", False, False, "failed"),
        ("completed", False, True, "completed"),
        ("blocked", True, False, "blocked"),
    ],
)
def test_what_an_end_is_worth_is_said_by_the_database(
    database: Path, state: State, ordered: bool, mark: bool, said: State
) -> None:  # fmt: skip
    if mark:
        marks.prepare(str(database))
        work(database, ACTION)
    assert ending(database).say(killed(state), ordered=ordered).end.state == said


def test_a_tool_that_ends_well_without_its_mark_is_told_and_none_of_its_stops_believed(database: Path) -> None:
    doubts: list[bool] = []
    said = ending(database, doubts).say(killed("completed", exit_code=0), ordered=False).end
    assert (said.state, said.why) == ("completed", OUTSIDE)
    stopped = ending(database, doubts).say(killed("interrupted_confirmed"), ordered=True)
    assert (stopped.end.state, stopped.end.why, stopped.later) == ("interrupted_unconfirmed", DOUBTED, None)


def test_a_stop_that_the_database_could_not_show_is_shown_once_it_can_be_asked(database: Path) -> None:
    made = ending(database)
    with at_work(database, "another's"):
        said = made.say(killed("interrupted_confirmed"), ordered=True)
    assert said.end.state == "interrupted_unconfirmed"
    assert said.later is not None
    shown = said.later.look()
    assert not isinstance(shown, str)
    assert (shown.state, shown.ended_us) == ("interrupted_confirmed", 77)


def test_all_rows_of_a_whole_action_are_there(database: Path) -> None:
    file = marks.prepare(str(database))
    work(database, ACTION)
    assert found(database, ACTION, file) == ("present", ROWS)
