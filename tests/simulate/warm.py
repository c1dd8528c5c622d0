"""Nodes of tests that start warm: one process has read the program already, and forks each of them.

Most of a node's start is reading the program, and a session starts many hundreds. What runs then is the same, in a
process of its own and a session of its own; a test about the start itself has the product's own program started
(`House.node(tested=True)`).
Run as `python -m tests.simulate.warm FD`: it forks as it is told on that socket, and ends when the other end is closed.
"""

from __future__ import annotations

import atexit
import contextlib
import faulthandler
import functools
import gc
import importlib
import json
import os
import random
import select
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parents[2]
MODULES = ("tests.simulate.shown_node", "tests.simulate.crashing_node")
_MOST = 1 << 20


class Forked:
    """A process that was forked elsewhere, as `subprocess.Popen` shows one of its own."""

    def __init__(self, stable: Stable, pid: int, args: list[str]) -> None:
        self._stable = stable
        self._handle = os.pidfd_open(pid)
        self.pid = pid
        self.args = args
        self.returncode: int | None = None

    def kill(self) -> None:
        """End it."""
        if self.poll() is None:
            signal.pidfd_send_signal(self._handle, signal.SIGKILL)

    def poll(self) -> int | None:
        """Its exit code, None while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code, or the signal that ended it with a minus. TimeoutExpired."""
        if self.returncode is None:
            waiting = select.poll()
            waiting.register(self._handle, select.POLLIN)
            if not waiting.poll(None if timeout is None else timeout * 1000):
                raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
            self.returncode = int(self._stable.tell({"ended": self.pid}))
            os.close(self._handle)
        return self.returncode


class Stable:
    """The process that forks, as the tests see it."""

    def __init__(self) -> None:
        self._line, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._lock = threading.Lock()
        with other:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.simulate.warm", str(other.fileno())], cwd=ROOT,
                pass_fds=(other.fileno(),), stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip

    def start(self, module: str, args: list[str], env: dict[str, str], errors: IO[bytes]) -> tuple[Forked, IO[bytes]]:
        """A node with this environment; with what it prints."""
        reading, writing = os.pipe()
        try:
            pid = int(self.tell({"module": module, "args": args, "env": env}, (writing, errors.fileno())))
        finally:
            os.close(writing)
        return Forked(self, pid, [module, *args]), os.fdopen(reading, "rb")

    def tell(self, what: dict[str, Any], files: tuple[int, ...] = ()) -> Any:
        """What it answers."""
        with self._lock:
            socket.send_fds(self._line, [json.dumps(what).encode()], list(files))
            answer = self._line.recv(_MOST)
        if not answer:
            raise RuntimeError("the process that nodes of tests are forked from is gone")
        return json.loads(answer)

    def close(self) -> None:
        """Nodes that run go on."""
        self._line.close()
        self._process.wait(10)


@functools.cache
def stable() -> Stable:
    """The one of this process."""
    made = Stable()
    atexit.register(made.close)
    return made


# ---- the process that forks --------------------------------------------------------------------------------------


def serve(line: socket.socket) -> int:
    """Fork what is asked for. Returns in each child with its exit code, and in the parent once nobody asks any more."""
    programs = {name: importlib.import_module(name) for name in MODULES}
    gc.collect()
    gc.freeze()
    while True:
        data, files, _, _ = socket.recv_fds(line, _MOST, 2)
        if not data:
            return 0
        asked = json.loads(data)
        if "ended" in asked:
            _, status = os.waitpid(asked["ended"], 0)
            line.send(json.dumps(os.waitstatus_to_exitcode(status)).encode())
            continue
        pid = os.fork()
        if not pid:
            line.close()
            become(asked["env"], files)
            return int(programs[asked["module"]].main(*map(Path, asked["args"])))
        for file in files:
            os.close(file)
        line.send(json.dumps(pid).encode())


def become(env: dict[str, str], files: list[int]) -> None:
    """What `subprocess.Popen` makes of a new process."""
    os.setsid()
    for number, file in enumerate(files, 1):
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(env)
    random.seed()
    if env.get("PYTHONFAULTHANDLER"):
        faulthandler.enable()


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as own:
        sys.exit(serve(own))
