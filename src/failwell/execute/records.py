"""Records of running supervisors (`running/<action>.json`), by which another process can stop them (design
D2).

The record names a process by pid and start time within one boot. It is a pointer, not evidence: it is written
before a tool can start and removed when its end is told, and whoever reads it checks it against /proc.
"""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path

from failwell.execute.processes import read_stat, send_signal
from failwell.execute.reports import read_json


@dataclass(frozen=True, slots=True)
class StopSent:
    """One recorded supervisor and whether it got its stop order; `why` says why not."""

    action: int
    agent: str
    tool: str
    pid: int
    sent: bool
    why: str | None


def read_boot_id() -> str:
    """Read the id of this boot of the machine: start times are only comparable within one."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def record_path(directory: Path, action: int) -> Path:
    """Give the path of the record of one action in the directory of records."""
    return directory / f"{action}.json"


def stop_recorded(runtime_dir: Path, agent: str | None) -> list[StopSent]:
    """Order every recorded supervisor (of one agent by its full or short name, or all) to stop its tool, without the
    node's help.

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
        if record is None or (agent is not None and not _is_of(str(record["agent"]), agent)):
            continue
        pid, ticks = int(record["pid"]), int(record["start_ticks"])
        why = None
        if record["boot_id"] != boot_id:
            why = "recorded before this boot"
        elif not send_signal(pid, ticks, signal.SIGTERM):
            why = "the supervisor is gone" if not _exists(pid, ticks) else "not permitted to signal the supervisor"
        else:
            send_signal(pid, ticks, signal.SIGCONT)  # its tool may have stopped it
        sent.append(StopSent(int(record["action"]), str(record["agent"]), str(record["tool"]), pid, why is None, why))
    return sent


def clear_stale_records(runtime_dir: Path) -> None:
    """Remove the records of supervisors that no longer exist; one still sweeping for a dead node is kept."""
    boot_id = read_boot_id()
    for path in (runtime_dir / "running").glob("*.json"):
        try:
            record = _read_record(path)
        except ValueError:
            record = None
        if (
            record is None
            or record["boot_id"] != boot_id
            or not _exists(int(record["pid"]), int(record["start_ticks"]))
        ):
            path.unlink(missing_ok=True)
    for path in (runtime_dir / "running").glob("*.tmp"):
        path.unlink(missing_ok=True)


def _is_of(full: str, named: str) -> bool:
    """Whether a recorded tool's agent is the one named: nobody else's tools may be stopped with it."""
    return full == named or full.rsplit("/", 1)[-1] == named


def _exists(pid: int, start_ticks: int) -> bool:
    stat = read_stat(pid)
    return stat is not None and stat.start_ticks == start_ticks and not stat.dead


def _read_record(path: Path) -> dict[str, int | str] | None:
    body = read_json(os.fspath(path))
    if body is None:
        return None
    record: dict[str, int | str] = {}
    for name, kind in (("action", int), ("pid", int), ("start_ticks", int)):
        record[name] = _require(body, name, kind)
    for name in ("agent", "tool", "boot_id"):
        record[name] = _require(body, name, str)
    return record


def _require(body: dict[str, object], name: str, kind: type[int] | type[str]) -> int | str:
    value = body.get(name)
    if type(value) is not kind:
        raise ValueError(f"{name} is {value!r}")
    return value
