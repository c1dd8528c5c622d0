"""Records of running supervisors (`running/<action>.json`), by which another process can stop them (design
D2).

The record names a process by pid and start time within one boot. It is a pointer, not evidence: it is written
before a tool can start and removed when its end is told, and whoever reads it checks it against /proc.
"""

from __future__ import annotations

import contextlib
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict, TypeVar

from failwell.execute.processes import read_stat, send_signal
from failwell.execute.reports import read_json

T = TypeVar("T")
#: The scope that everything is within.
ALL = "all"


class Record(TypedDict):
    """What stands in a record. `scopes`: what a stop of more than one agent can name its tool by."""

    action: int
    agent: str
    tool: str
    pid: int
    start_ticks: int
    boot_id: str
    scopes: list[str]


@dataclass(frozen=True, slots=True)
class StopSent:
    """One recorded supervisor and whether it got its stop order; `why` says why not."""

    action: int
    agent: str
    tool: str
    pid: int
    sent: bool
    why: str | None


@dataclass(frozen=True, slots=True)
class Recorded:
    """A recorded supervisor of this boot; whether it lives is for /proc to say."""

    action: int
    pid: int
    start_ticks: int


def read_records(runtime_dir: Path) -> list[Recorded]:
    """The supervisors of this boot that are on record; what cannot be read names nobody."""
    boot_id, found = read_boot_id(), []
    for path in sorted((runtime_dir / "running").glob("*.json")):
        with contextlib.suppress(OSError, ValueError):
            record = _read_record(path)
            if record is not None and record["boot_id"] == boot_id:
                found.append(Recorded(record["action"], record["pid"], record["start_ticks"]))
    return found


def read_boot_id() -> str:
    """Read the id of this boot of the machine: start times are only comparable within one."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def record_path(directory: Path, action: int) -> Path:
    """Give the path of the record of one action in the directory of records."""
    return directory / f"{action}.json"


def stop_recorded(runtime_dir: Path, agent: str | None, *, scope: str | None = None) -> list[StopSent]:
    """Order every recorded supervisor (of one agent by its full or short name, of what it handed over, of one scope,
    or all) to stop its tool, without the node's help.

    Sends SIGTERM to exactly the recorded process: the supervisor sweeps, kills, confirms and leaves its
    report. This says "ordered"; what came of it stands in the reports. A record that cannot be read is
    reported as not sent under action -1 (its supervisor may run): never silently skipped.
    """
    sent = []
    boot_id = read_boot_id()
    for path in sorted((runtime_dir / "running").glob("*.json")):
        try:
            record = _read_record(path)
        except (OSError, ValueError) as error:
            sent.append(StopSent(-1, "", "", 0, False, f"unreadable record {path.name}: {error}"))
            continue
        if record is None or not _is_meant(record, agent, scope):
            continue
        pid, ticks = record["pid"], record["start_ticks"]
        why = None
        if record["boot_id"] != boot_id:
            why = "recorded before this boot"
        elif not send_signal(pid, ticks, signal.SIGTERM):
            why = "the supervisor is gone" if not _exists(pid, ticks) else "not permitted to signal the supervisor"
        else:
            send_signal(pid, ticks, signal.SIGCONT)  # its tool may have stopped it
        sent.append(StopSent(record["action"], record["agent"], record["tool"], pid, why is None, why))
    return sent


def clear_stale_records(runtime_dir: Path) -> None:
    """Remove the records of supervisors that no longer exist; one still sweeping for a dead node is kept."""
    boot_id = read_boot_id()
    for path in (runtime_dir / "running").glob("*.json"):
        try:
            record = _read_record(path)
        except ValueError:
            record = None
        if record is None or record["boot_id"] != boot_id or not _exists(record["pid"], record["start_ticks"]):
            _remove(path)
    for path in (runtime_dir / "running").glob("*.tmp"):
        _remove(path)


def _remove(path: Path) -> None:
    """Attack: a tool makes a directory of that name, so that no node starts here any more."""
    with contextlib.suppress(IsADirectoryError, FileNotFoundError):
        path.unlink()


def _is_meant(record: Record, agent: str | None, scope: str | None) -> bool:
    """Whether a recorded tool is of the agent, or within the scope, that is to be stopped."""
    scopes = record["scopes"]
    if scope is not None:
        return scope in (ALL, f"action:{record['action']}", *scopes)
    handed = [name.removeprefix("agent:") for name in scopes if name.startswith("agent:")]
    return agent is None or any(_is_of(name, agent) for name in (record["agent"], *handed))


def _is_of(full: str, named: str) -> bool:
    """Whether a recorded tool's agent is the one named: nobody else's tools may be stopped with it."""
    return full == named or full.rsplit("/", 1)[-1] == named


def _exists(pid: int, start_ticks: int) -> bool:
    stat = read_stat(pid)
    return stat is not None and stat.start_ticks == start_ticks and not stat.dead


def _read_record(path: Path) -> Record | None:
    body = read_json(os.fspath(path))
    if body is None:
        return None
    tool = _require(body, "tool", str)
    scopes = body.get("scopes", [f"tool:{tool}"])  # as a node of an earlier release wrote it
    if not isinstance(scopes, list) or not all(type(name) is str for name in scopes):
        raise ValueError(f"scopes is {scopes!r}")
    return Record(
        action=_require(body, "action", int), pid=_require(body, "pid", int),
        start_ticks=_require(body, "start_ticks", int), agent=_require(body, "agent", str),
        tool=tool, boot_id=_require(body, "boot_id", str), scopes=scopes,
    )  # fmt: skip


def _require(body: dict[str, object], name: str, kind: type[T]) -> T:
    value = body.get(name)
    if type(value) is not kind:
        raise ValueError(f"{name} is {value!r}")
    return value
