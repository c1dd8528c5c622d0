"""Shows that a real transaction which is killed half-way leaves neither its work nor its mark, and that one which comes
to its end leaves both. Part of the self-test.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import apsw

from failwell.core.errors import FailwellError
from failwell.execute import marks
from failwell.execute.transacting import ROWS
from failwell.ports.executor import Ended, Executor, Launch

TRANSACTING = str(Path(__file__).with_name("transacting.py"))
CONFIRMED = "confirmed"
BOUND_S = 5.0
LOOK_S = 1.0
PAUSE_S = 0.003


def prove_rollback(directory: Path, interpreter: str, make: Callable[[Path], Executor], marker: str) -> str:
    """ "confirmed", or why that was not shown. `make` gives an executor for a directory; it is closed here."""
    directory.mkdir(mode=0o700)
    database = directory / "work.db"
    with_table = apsw.Connection(str(database))
    with_table.execute("CREATE TABLE work (action TEXT, body BLOB)")
    with_table.close(True)
    executor = make(directory)
    try:
        file = marks.prepare(str(database))
        for action, whole in ((1, True), (2, False)):
            ended = _run(executor, directory, interpreter, action, whole, marker)
            if (wrong := _wrong(ended, database, file, action, whole)) is not None:
                return wrong
    except (FailwellError, apsw.Error) as error:
        return str(error) or type(error).__name__
    finally:
        executor.close()
    return CONFIRMED


def _run(
    executor: Executor, directory: Path, interpreter: str, action: int, whole: bool, marker: str
) -> Ended | None:  # fmt: skip
    """How one transaction ended; killed once it has written, unless it is to come to its end."""
    standing = directory / f"standing-{action}"
    arguments = (str(directory / "work.db"), str(action), str(standing), *(("whole",) if whole else ()))
    launch = Launch(
        action=action, agent="self-test", tool="self-test", command=(interpreter, "-I", "-S", TRANSACTING, *arguments),
        cwd=None, env={"LC_ALL": "C"}, stdin=b"", deadline_us=10_000_000, output_cap_bytes=1024,
        marker=f"{marker}-{action}",
    )  # fmt: skip
    results: list[Ended] = []
    over = threading.Event()

    def ended(end: Ended) -> None:
        results.append(end)
        over.set()

    executor.launch(launch, ended)
    until = time.monotonic() + BOUND_S
    while not (standing.exists() or over.is_set()) and time.monotonic() < until:
        time.sleep(PAUSE_S)
    if not whole:
        executor.interrupt(action)
    over.wait(BOUND_S)
    return results[0] if results and standing.exists() else None


def _wrong(ended: Ended | None, database: Path, file: marks.Identity, action: int, whole: bool) -> str | None:
    wanted = ("completed", "present", ROWS) if whole else ("interrupted_confirmed", "absent", 0)
    if ended is None:
        return "the transaction did not stand"
    ask = marks.look if whole else marks.void
    looked = ask(str(database), str(action), file, LOOK_S)
    reader = apsw.Connection(str(database), flags=apsw.SQLITE_OPEN_READONLY)
    count = reader.execute("SELECT count(*) FROM work WHERE action = ?", (str(action),)).get
    reader.close(True)
    found = (ended.state, looked.state, count)
    if found == wanted:
        return None
    what = "that ended by itself" if whole else "that was killed half-way"
    said = ended.why or looked.why
    return f"a transaction {what}: {found[0]}, mark {found[1]}, {found[2]} of {ROWS} rows{f': {said}' if said else ''}"
