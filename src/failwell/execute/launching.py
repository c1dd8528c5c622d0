"""What is written down and what is sent to have one tool started: its record on disk, and the frame to its supervisor.

Nothing here starts or waits for anything, and nothing decides whether the tool may start.
"""

from __future__ import annotations

import os
from pathlib import Path

from failwell.execute.channel import Channel
from failwell.execute.frames import encode_frame
from failwell.execute.records import record_path
from failwell.execute.reports import write_atomically
from failwell.ports.executor import MARKER_VARIABLE, Launch


def write_record(directory: Path, channel: Channel, boot_id: str) -> Path:
    """Name a supervisor where a stop without the node looks for it; raises OSError."""
    path = record_path(directory, channel.launch.action)
    body: dict[str, object] = {
        "action": channel.launch.action,
        "agent": channel.launch.agent,
        "tool": channel.launch.tool,
        "pid": channel.process.pid,
        "start_ticks": channel.process.start_ticks,
        "scopes": list(channel.launch.scopes),
        "boot_id": boot_id,
    }
    write_atomically(str(path), body, durable=False)
    return path


def encode_launch(launch: Launch, report_dir: Path, *, pid_namespace: bool, cgroup: str | None) -> bytes:
    """Tell a supervisor of this process what to start, and with which mechanisms."""
    header: dict[str, object] = {
        "kind": "launch",
        "node": os.getpid(),
        "action": launch.action,
        "agent": launch.agent,
        "tool": launch.tool,
        "command": list(launch.command),
        "cwd": launch.cwd,
        "env": {**launch.env, MARKER_VARIABLE: launch.marker},
        "deadline_us": launch.deadline_us,
        "output_cap_bytes": launch.output_cap_bytes,
        "report_dir": str(report_dir.absolute()),
        "pid_namespace": pid_namespace,
        "cgroup": cgroup,
        "limits": launch.limits,
        "stdio": launch.stdio is not None,
        "passing": launch.heard is not None,
    }
    return encode_frame(header, launch.stdin)
