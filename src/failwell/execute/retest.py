"""The whole self-test, in a process of its own: it disturbs nothing that runs, and can itself be stopped as a whole.

Run as `python -P -S -m failwell.execute.retest MARKER`, like a tool under a supervisor; prints its result as one JSON
object. A node runs it at intervals; whatever this process started is gone when it is over, or is swept with it.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import tempfile
from pathlib import Path

from failwell.execute.rolledback import prove_rollback
from failwell.execute.selftest import surroundings
from failwell.execute.supervised import SupervisedExecutor
from failwell.ports.executor import Ended, Launch, SelfTest

#: As long as it may take, however it hangs: the bounds of its parts add up to less.
DEADLINE_US = 20_000_000


def retest_launch(action: int, marker: str) -> Launch:
    """The launch of a self-test. `action` is no entry's number, so below zero."""
    return Launch(
        action=action, agent="self-test", tool="self-test",
        command=(sys.executable, "-P", "-S", "-m", "failwell.execute.retest", marker),
        cwd=None, env=surroundings(), stdin=b"", deadline_us=DEADLINE_US, output_cap_bytes=65_536, marker=marker,
    )  # fmt: skip


def read_result(ended: Ended) -> SelfTest | str:
    """What a self-test showed; why nothing is known where it came to no end, or says what makes no sense."""
    if ended.state != "completed":
        said = ended.errors.decode("utf-8", "replace").strip().rpartition("\n")[2][:200]
        return f"the self-test {ended.state}: {ended.why or ''}{f' ({said})' if said else ''}".replace(": :", ":")
    try:
        return SelfTest(**json.loads(ended.output))
    except (ValueError, TypeError):
        return "the self-test gave no result that can be read"


def self_test(executor: SupervisedExecutor, marker: str) -> SelfTest:
    """All that is shown of stopping here: processes stopped, and the work of a transaction rolled back."""
    shown = executor.self_test(marker)
    with tempfile.TemporaryDirectory(prefix="failwell-self-test-") as name:
        place = Path(name)

        def make(directory: Path) -> SupervisedExecutor:
            return SupervisedExecutor(directory / "run", directory / "reports")

        rollback = prove_rollback(place / "rollback", sys.executable, make, f"{marker}-rollback")
    return dataclasses.replace(shown, rollback=rollback)


def main(marker: str) -> None:
    """Test and say so."""
    with tempfile.TemporaryDirectory(prefix="failwell-self-test-") as name:
        executor = SupervisedExecutor(Path(name) / "run", Path(name) / "reports")
        try:
            result = self_test(executor, marker)
        finally:
            executor.close()
    sys.stdout.write(json.dumps(dataclasses.asdict(result)))


if __name__ == "__main__":
    main(sys.argv[1])
