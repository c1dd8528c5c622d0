"""What ran of a launch while all of it stood still, before it was killed (R9): bounded in time and in bytes.

The processes, the names of their environment variables, their open files, arguments and memory maps, and the tail of
what was written, as canonical JSON. Arguments and paths may hold secrets: the text goes to the node alone, which
encrypts it; values of environment variables are never read out. Standard library only, and no neighbour: the supervisor
imports this file alone. What could not be taken is said in `missing`; nothing here delays a kill beyond the bound.
"""

from __future__ import annotations

import _thread
import json
import os
import re
import sys
import time

SCHEMA = "failwell/snapshot/1"
BOUND_US = 10_000
READING_BOUND_US = 6_000
WRITING_BOUND_US = BOUND_US - 1_000
SWITCH_S = 0.0005
LIMIT_BYTES = 64 * 1024
TAIL_BYTES = 1024
ARGUMENTS_BYTES = 1024
FILES, NAMES, NAME_BYTES, PATH_BYTES = 64, 128, 64, 256
_VARIABLE = re.compile(rb"([A-Za-z_][A-Za-z0-9_]*)=")
_PAGE_KIB = os.sysconf("SC_PAGE_SIZE") // 1024
#: In the order in which they are read: what cannot block comes first.
_DETAILS = ("files", "environment", "arguments", "memory_map")

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from failwell.execute.processes import Stat


def take_snapshot(stats: Sequence[Stat], *, still: bool, reason: str | None, output: bytes, errors: bytes) -> bytes:
    """Take it of the given processes, in BOUND_US and LIMIT_BYTES. `still`: whether all of them were seen to stop."""
    began = _now_us()
    details = _Details([stat.pid for stat in stats])
    details.read_for(READING_BOUND_US)
    missing = details.missing()
    tails = {"errors_tail": _text(errors[-TAIL_BYTES:]), "output_tail": _text(output[-TAIL_BYTES:])}
    room = LIMIT_BYTES - len(_encode(tails)) - len(_encode(missing)) - 512
    processes, bare = _fit(stats, details, room, began + WRITING_BOUND_US)
    if bare:
        missing.append(f"details of {_count(bare)}: no room in {LIMIT_BYTES} bytes, or not in time")
    if len(processes) < len(stats):
        missing.append(f"{_count(len(stats) - len(processes))}: no room in {LIMIT_BYTES} bytes")
    before = _encode({**tails, "missing": missing})
    after = _encode(
        {
            "reason": reason,
            "schema": SCHEMA,
            "stood_still": still,
            "taken_us": began,
            "took_us": _now_us() - began,
        }
    )
    # Joined by hand, each process having been written once: "processes" stands between "output_tail" and "reason".
    return b"".join((before[:-1], b',"processes":[', b",".join(processes), b"],", after[1:]))


def _fit(stats: Sequence[Stat], details: _Details, room: int, until_us: int) -> tuple[list[bytes], int]:
    """As many processes as there is room for, and details while there is time; with how many have to do without."""
    written: list[bytes] = []
    for stat in stats:
        text = _encode(_describe(stat))
        if len(text) + 1 > room:
            break  # not for the time: who ran is the least that is kept, and room bounds the time it takes
        room -= len(text) + 1
        written.append(text)
    bare = 0
    for place, stat in enumerate(stats[: len(written)]):
        found = details.of(stat.pid)
        text = _encode({**_describe(stat), **found}) if found and _now_us() <= until_us else b""
        more = len(text) - len(written[place])
        if text and more <= room:
            room -= more
            written[place] = text
        elif found:
            bare += 1
    return written, bare


def _describe(stat: Stat) -> dict[str, object]:
    """What the sweep has seen of it anyway; `state` is the one in which it was told to stop."""
    return {
        "pid": stat.pid,
        "parent": stat.ppid,
        "name": stat.name,
        "state": stat.state,
        "threads": stat.threads,
        "started_ticks": stat.start_ticks,
        "memory_kib": stat.rss_pages * _PAGE_KIB,
    }


class _Details:
    """What must be read of each process, by a thread of its own: it may never come back.

    Attack: the files of a process that show its memory wait for a lock of that memory, and a tool that reads from a
    file system of its own can hold that lock for ever. Its supervisor would wait with it, and kill nothing.
    """

    def __init__(self, pids: list[int]) -> None:
        self._pids = pids
        self._found: dict[str, dict[int, list[object]]] = {name: {} for name in _DETAILS}
        self._refused = dict.fromkeys(_DETAILS, 0)
        self._cut = dict.fromkeys(_DETAILS, 0)
        self._over = False
        self._why = "not in time"

    def read_for(self, bound_us: int) -> None:
        """Read until all is there or the time is over."""
        sys.setswitchinterval(SWITCH_S)  # or the interpreter gives us the word back late, by half of our time
        done = _thread.allocate_lock()
        done.acquire()
        try:
            _thread.start_new_thread(self._read, (done,))
        except RuntimeError:
            self._why = "no thread to read them"  # a fork storm may have used up what this user may start
            return
        done.acquire(timeout=bound_us / 1e6)
        self._over = True

    def of(self, pid: object) -> dict[str, object]:
        """What was read of one process."""
        return {name: list(found[pid]) for name, found in self._found.items() if isinstance(pid, int) and pid in found}

    def missing(self) -> list[str]:
        """What was not, for a person."""
        said = []
        for name in _DETAILS:
            refused, cut = self._refused[name], self._cut[name]
            late = len(self._pids) - len(self._found[name]) - refused
            for count, why in ((refused, "gone or not permitted"), (cut, "cut"), (late, self._why)):
                if count > 0:
                    said.append(f"{name} of {_count(count)}: {why}")
        return said

    def _read(self, done: _thread.LockType) -> None:
        readers: dict[str, Callable[[int], tuple[list[object], bool]]] = {
            "files": _files, "environment": _variables, "arguments": _arguments,
            "memory_map": _memory_map,
        }  # fmt: skip
        try:
            for name, read in readers.items():
                for pid in self._pids:
                    if self._over:
                        return
                    try:
                        found, cut = read(pid)
                    except OSError:
                        self._refused[name] += 1
                        continue
                    self._cut[name] += cut
                    self._found[name][pid] = found
        finally:
            done.release()


def _files(pid: int) -> tuple[list[object], bool]:
    """Its descriptors, and what each stands for."""
    found: list[object] = []
    with os.scandir(f"/proc/{pid}/fd") as entries:
        for entry in entries:
            if len(found) >= FILES:
                return found, True
            try:
                target = os.readlink(entry.path)
            except OSError:
                continue
            found.append({"fd": int(entry.name), "to": _text(os.fsencode(target)[:PATH_BYTES])})
    return found, False


def _variables(pid: int) -> tuple[list[object], bool]:
    """The names of its environment variables, as it was executed with them. Anything that is no name is left out."""
    data, cut = _head(pid, "environ", 64 * 1024)
    names: list[object] = []
    for part in data.split(b"\0"):
        match = _VARIABLE.match(part)
        if match is not None and len(match[1]) <= NAME_BYTES:
            names.append(match[1].decode("ascii"))
    return names[:NAMES], cut or len(names) > NAMES


def _arguments(pid: int) -> tuple[list[object], bool]:
    data, cut = _head(pid, "cmdline", ARGUMENTS_BYTES)
    return [_text(part) for part in data.rstrip(b"\0").split(b"\0")] if data else [], cut


def _memory_map(pid: int) -> tuple[list[object], bool]:
    """What its memory holds: each file (or stack, heap) that is mapped, and how much of it."""
    data, cut = _head(pid, "maps", 64 * 1024)
    sizes: dict[bytes, int] = {}
    for line in data.splitlines():
        fields = line.split(maxsplit=5)
        first, _, last = fields[0].partition(b"-")
        if len(fields) == 6 and last:
            sizes[fields[5]] = sizes.get(fields[5], 0) + (int(last, 16) - int(first, 16)) // 1024
    found: list[object] = [{"of": _text(name[:PATH_BYTES]), "kib": kib} for name, kib in sizes.items()]
    return found[:FILES], cut or len(found) > FILES


def _head(pid: int, name: str, limit: int) -> tuple[bytes, bool]:
    fd = os.open(f"/proc/{pid}/{name}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = b""
        while len(data) <= limit and (more := os.read(fd, limit + 1 - len(data))):
            data += more
    finally:
        os.close(fd)
    return data[:limit], len(data) > limit


def _count(number: int) -> str:
    return f"{number} process" if number == 1 else f"{number} processes"


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


_write = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode


def _encode(value: object) -> bytes:
    # Without floats and with names in ASCII this is RFC 8785.
    return _write(value).encode("utf-8", "replace")


def _now_us() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000
