"""Ends what a test run leaves behind: a mutant that does not stop its tools leaves none on the machine.

Linux only (prctl, /proc). Ends only descendants of this process.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
SWEEPS = 100


def adopt() -> None:
    """From now on descendants whose parents end become children of this process."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill `process` where it still runs, then every orphan it left, until none is there."""
    if process.poll() is None:
        process.kill()
        process.wait()
    for _ in range(SWEEPS):
        left = _children()
        if not left:
            return
        for pid in left:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        time.sleep(0.01)
    raise RuntimeError(f"processes {_children()} cannot be ended")


def _children() -> list[int]:
    """The pids of this process's children, adopted ones included."""
    tasks = Path("/proc/self/task")
    return [int(pid) for task in tasks.iterdir() for pid in (task / "children").read_text().split()]
