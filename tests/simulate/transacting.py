"""A tool whose work is one transaction, and deaths of it at any moment: mark and rows are there together, or neither.

    python -m tests.simulate.transacting --kills 5000 --seed 7

prints one line and exits 1 at the first death after which that is not so.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from random import Random

import apsw

from failwell.execute import marks
from failwell.execute.transaction import transaction

#: Rows of one action: enough, with so small a cache, to be written to the file long before they are committed.
ROWS, ROW_BYTES = 120, 2048
#: How a database is set up: with a write-ahead log, with a rollback journal that is deleted or cut, and with a tiny
#: cache in each, so that a kill finds the file half written.
MODES = ("WAL", "DELETE", "TRUNCATE", "PERSIST")


def make(path: Path, mode: str) -> None:
    """A database with the tool's own table."""
    connection = apsw.Connection(str(path))
    connection.execute(f"PRAGMA journal_mode = {mode}")
    connection.execute("CREATE TABLE work (action TEXT, data BLOB)")
    connection.close()


def work(path: Path, action: str) -> None:
    """What the tool does: one transaction, spilled to the file as it grows."""
    with transaction(str(path), action) as connection:
        connection.execute("PRAGMA cache_size = 5")
        for _ in range(ROWS):
            connection.execute("INSERT INTO work VALUES (?, ?)", (action, os.urandom(ROW_BYTES)))


def struck(path: Path, action: str, after_s: float) -> None:
    """Let a process of its own do the work, and kill it a moment later."""
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(BaseException):
            work(path, action)
        os._exit(0)
    time.sleep(after_s)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def found(path: Path, action: str, file: marks.Identity) -> tuple[str, int]:
    """(what the node's side says of the mark, how many rows of the action are there)."""
    looked = marks.void(str(path), action, file, 5.0)
    connection = apsw.Connection(str(path))
    try:
        (rows,) = connection.execute("SELECT count(*) FROM work WHERE action = ?", (action,)).fetchone() or (0,)
    finally:
        connection.close()
    return looked.state, int(rows)


def strike(path: Path, mode: str, kills: int, rng: Random) -> tuple[int, int]:
    """Kill so many tools at drawn moments; (rolled back, committed). AssertionError where the two disagree."""
    make(path, mode)
    file = marks.prepare(str(path))
    began = time.monotonic()
    work(path, "timed")
    took_s = time.monotonic() - began
    counts = {"absent": 0, "present": 0}
    for number in range(kills):
        action = f"test/{number}"
        struck(path, action, rng.uniform(0, 1.6 * took_s + 0.004))
        state, rows = found(path, action, file)
        assert (state, rows) in (("absent", 0), ("present", ROWS)), f"{mode}, {action}: {state}, {rows} rows"
        counts[state] += 1
    return counts["absent"], counts["present"]


def main(arguments: list[str]) -> int:
    """The campaign."""
    parser = argparse.ArgumentParser(prog="tests.simulate.transacting")
    parser.add_argument("--kills", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    asked = parser.parse_args(arguments)
    place = Path(tempfile.mkdtemp(prefix="fw-"))
    rolled_back = committed = 0
    try:
        for number, mode in enumerate(MODES):
            absent, present = strike(
                place / f"{mode}.db", mode, asked.kills // len(MODES), Random(asked.seed + number)
            )  # fmt: skip
            rolled_back, committed = rolled_back + absent, committed + present
    except AssertionError as error:
        print(f"transactions: {error} (seed {asked.seed})")
        return 1
    finally:
        shutil.rmtree(place)
    print(f"transactions: {rolled_back} rolled back and {committed} committed by kills, each whole (seed {asked.seed})")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
