"""A stand-in for the node in the self-test: holds an executor with one resisting tool until it is killed.

Run as `python -m failwell.execute.standin DIRECTORY MARKER NAMESPACE CGROUP WARM`, the last three being 0 or 1. It
cleans up nothing: that nothing of its tool outlives it is what the self-test shows.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from failwell.execute.resisting import LIFETIME_S
from failwell.execute.selftest import Mechanisms, make_launch
from failwell.execute.supervised import STANDBY_BOUND_S, SupervisedExecutor


def main(directory: Path, marker: str, mechanisms: Mechanisms) -> None:
    """Launch the resisting tool and wait to be killed."""
    executor = SupervisedExecutor(
        directory, directory / "reports", pid_namespace=mechanisms.namespace, cgroup=mechanisms.cgroup,
        warm=int(mechanisms.warm),
    )  # fmt: skip
    executor.await_standby(STANDBY_BOUND_S)
    executor.launch(make_launch(sys.executable, marker), lambda _ended: None)
    time.sleep(LIFETIME_S)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Mechanisms(*(used == "1" for used in sys.argv[3:6])))
