"""A node that is not made to show again what another of this session showed of the machine: the test entry by which
most nodes of tests start.

Run as `python -m tests.simulate.shown_node WORKSPACE SELF_TEST`. SELF_TEST is a file with the result of the start-up
self-test, made by the first node of a session and used again by the later ones: it proves the machine and not the
workspace, and costs more than all the rest of a start. The node itself is the product's, unchanged. A test that is
about the self-test or about the program itself asks for `House.node(tested=True)`.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from failwell.execute import retest
from failwell.execute.supervised import SupervisedExecutor
from failwell.node import __main__ as entry
from failwell.ports.executor import SelfTest


def reuse_self_test(cache: Path, told: Callable[[SelfTest], SelfTest] = lambda made: made) -> None:
    """Take the result from `cache`, where there is one; `told` may have the node told something else."""
    original = SupervisedExecutor.self_test

    def self_test(executor: SupervisedExecutor, marker: str = "self-test") -> SelfTest:
        if not cache.exists():
            part = cache.with_suffix(f".{os.getpid()}")
            part.write_text(json.dumps(dataclasses.asdict(original(executor, marker))))
            part.rename(cache)
        made = SelfTest(**json.loads(cache.read_text()))
        executor.use(made)
        return told(made)

    replace: Any = setattr
    replace(SupervisedExecutor, "self_test", self_test)
    # The other half of it; in a process of its own it is made anew.
    replace(retest, "prove_rollback", lambda *_: "confirmed")


def main(workspace: Path, cache: Path) -> int:
    reuse_self_test(cache)
    entry.run(workspace, idle_s=0, ready=entry._say_ready)
    return 0


if __name__ == "__main__":
    sys.exit(main(*[Path(part) for part in sys.argv[1:3]]))
