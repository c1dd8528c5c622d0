"""The kill switch of hummbl-governance; run by the peer's own Python, prints one JSON line.

Used as its README and docstrings say: `KillSwitch.check_or_raise(task)` before each action, `engage(EMERGENCY)`,
"immediate halt, preserve state" (HALT_ALL would "complete in-flight"). Its state is kept in a file (`state_dir`, with
HMAC) that `load_from_file` reads, so that a process started later has it. Nothing in the package ends a running
action; `subscribe` tells of the change, and a subscriber of its user's may end a process: that way is shown too, with
SIGKILL to the group.
"""

import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from importlib.metadata import version
from pathlib import Path

logging.disable(logging.CRITICAL)

from family import Watched, command  # noqa: E402
from hummbl_governance import KillSwitch, KillSwitchMode  # noqa: E402
from hummbl_governance.kill_switch import KillSwitchEngagedError  # noqa: E402
from peer_stops import in_folder, tell  # noqa: E402

SECRET = b"bench-secret-of-32-bytes-........"


def _next_call(switch: KillSwitch) -> str:
    try:
        switch.check_or_raise("report")
    except KillSwitchEngagedError as error:
        return f"refused: {type(error).__name__}"
    return "runs"


def _engage(switch: KillSwitch) -> str:
    event = switch.engage(KillSwitchMode.EMERGENCY, reason="measured", triggered_by="bench")
    return f"mode={event.mode.name}"


def _elsewhere(opened: KillSwitch, folder: Path) -> str:
    fresh = KillSwitch.load_from_file(folder, signing_secret=SECRET)
    return f"one that was open: {_next_call(opened)}; a fresh one: {_next_call(fresh)}"


def a_function(life_s: float = 1.0) -> dict[str, object]:
    """The tool is a Python function in the agent's process."""
    with tempfile.TemporaryDirectory(prefix="failwell-bench-") as name:
        switch = KillSwitch(state_dir=Path(name), signing_secret=SECRET)
        opened = KillSwitch.load_from_file(Path(name), signing_secret=SECRET)
        finished: list[bool] = []

        def report() -> None:
            switch.check_or_raise("report")
            time.sleep(life_s)
            finished.append(True)

        running = threading.Thread(target=report)
        running.start()
        time.sleep(0.2)
        ordered = time.perf_counter()
        claims = _engage(switch)
        running.join()
        took = (time.perf_counter() - ordered) * 1000
        return {
            "way": "tool: a function in its process", "running_tool": "finished" if finished else "stopped",
            "group_p50_ms": took, "all_p50_ms": took, "rounds": 1, "next_call": _next_call(switch),
            "other_process": _elsewhere(opened, Path(name)), "claims": claims,
        }  # fmt: skip


def a_process(rounds: int) -> dict[str, object]:
    """The tool is a process, and a subscriber kills its process group."""
    seen: dict[str, str] = {}

    def once(folder: Path) -> tuple[float, Watched]:
        switch = KillSwitch(state_dir=folder / "state", signing_secret=SECRET)
        opened = KillSwitch.load_from_file(folder / "state", signing_secret=SECRET)
        switch.check_or_raise("report")
        started = subprocess.Popen(command(folder, 20), start_new_session=True)
        switch.subscribe(lambda event: os.killpg(started.pid, signal.SIGKILL))
        threading.Thread(target=started.wait, daemon=True).start()
        watched = Watched(folder)
        ordered = time.perf_counter()
        seen["claims"] = _engage(switch)
        seen["next_call"] = _next_call(switch)
        seen["other_process"] = _elsewhere(opened, folder / "state")
        return ordered, watched

    found = in_folder(rounds, once)
    return {"way": "tool: a process, subscriber of its user's: killpg", "running_tool": "killed", **seen, **found}


name = "hummbl-governance"
tell(f"{name} {version(name)}", [a_function(), a_process(int(sys.argv[1]))])
