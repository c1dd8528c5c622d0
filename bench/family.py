"""A tool with a small family, the same for us and for the peers, and a look at it from outside.

Run as `python -I -S family.py FOLDER SECONDS` it is three processes: itself, a child in its process group, and a
grandchild that has left for a session of its own. Each leaves `finished-NAME` in FOLDER if it gets to its end. None
resists: SIGTERM ends it. Imported, it watches such a family through pidfds. Standard library only: the peers' Pythons
run it too.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

NAMES = ("itself", "child", "detached")
SETTLE_S = 0.5


def command(folder: Path, life_s: float) -> list[str]:
    """What starts one."""
    return [sys.executable, "-I", "-S", __file__, str(folder), str(life_s)]


class Watched:
    """A family that stands, by its pidfds: what is gone is told by the kernel, not by who stopped it."""

    def __init__(self, folder: Path, within_s: float = 10.0) -> None:
        self.folder = folder
        until = time.monotonic() + within_s
        while not (folder / "standing").exists():
            if time.monotonic() > until:
                raise TimeoutError(f"no family stands in {folder}")
            time.sleep(0.002)
        inside = {pid: name for name, pid in json.loads((folder / "standing").read_text()).items()}
        self._handles = {inside[number]: os.pidfd_open(pid) for pid, number in _running_in(folder) if number in inside}
        if set(self._handles) != set(NAMES):
            raise RuntimeError(f"of the family in {folder} only {sorted(self._handles)} can be seen")

    def await_gone(self, names: tuple[str, ...] = NAMES, within_s: float = 10.0) -> float | None:
        """Wait until these are gone; when that was (perf_counter), None if it did not come about."""
        poll = select.poll()
        waiting = {self._handles[name] for name in names}
        for handle in waiting:
            poll.register(handle, select.POLLIN)
        until = time.perf_counter() + within_s
        while waiting and (left := until - time.perf_counter()) > 0:
            for handle, _ in poll.poll(left * 1000):
                poll.unregister(handle)
                waiting.discard(handle)
        return None if waiting else time.perf_counter()

    def left(self) -> list[str]:
        """Who is still there."""
        return [name for name, handle in self._handles.items() if not select.select([handle], [], [], 0)[0]]

    def finished(self) -> list[str]:
        """Who got to its end."""
        return [name for name in NAMES if (self.folder / f"finished-{name}").exists()]

    def close(self) -> None:
        """End what is left, by pidfd."""
        for handle in self._handles.values():
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
            os.close(handle)


def _running_in(folder: Path) -> Iterator[tuple[int, int]]:
    """The processes of the family in a folder: their pids, and what they take them for (they may be in a namespace)."""
    for entry in os.listdir("/proc"):
        with contextlib.suppress(OSError, ValueError):
            said = Path(f"/proc/{int(entry)}/cmdline").read_bytes().split(b"\0")
            if __file__.encode() in said and str(folder).encode() in said:
                status = Path(f"/proc/{entry}/status").read_text()
                numbers = next(line for line in status.splitlines() if line.startswith("NSpid:"))
                yield int(entry), int(numbers.split()[-1])


def _be(name: str, folder: str, life_s: float) -> None:
    time.sleep(life_s)
    open(f"{folder}/finished-{name}", "wb").close()
    os._exit(0)


def main(folder: str, life_s: float) -> None:
    """Be a family, and say so once all three stand."""
    there, telling = os.pipe()
    pids = {"itself": os.getpid(), "child": os.fork()}
    if pids["child"] == 0:
        _be("child", folder, life_s)
    middle = os.fork()
    if middle == 0:
        os.setsid()
        pid = os.fork()
        if pid == 0:
            _be("detached", folder, life_s)
        os.write(telling, str(pid).encode())
        os._exit(0)
    os.waitpid(middle, 0)
    pids["detached"] = int(os.read(there, 16))
    with open(f"{folder}/standing.part", "w") as file:
        file.write(json.dumps(pids))
    os.rename(f"{folder}/standing.part", f"{folder}/standing")
    _be("itself", folder, life_s)


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
