"""A backtest's memory does not follow the recording: what a run said is forgotten once it is judged."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.integration.recordings import Step, case, run

ROOT = Path(__file__).resolve().parents[2]
RESULT_BYTES = 60_000
CALLS = 10

# VmHWM is this process's own peak; ru_maxrss would start from the parent's.
MEASURED = """
import sys
from pathlib import Path
from failwell.cli.main import _main
assert _main(["backtest", *sys.argv[1:]]) == 0
(peak,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")]
print(peak.split()[1], file=sys.stderr)
"""


def peak_kib(folder: Path, runs: int) -> int:
    """Peak memory of a process that backtests `runs` runs of ten calls with large results."""
    long = "x" * RESULT_BYTES
    steps: list[Step] = [("post", {"text": f"{n}"}, "Posting", long) for n in range(CALLS)]
    options = case(folder, [run("slack", steps)] * runs)
    command = [sys.executable, "-c", MEASURED, *options, "--into", str(folder / "ledger"), "--json"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=55, check=False)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["actions"] == runs * CALLS
    return int(ended.stderr.split()[-1])


def test_five_times_the_recording_takes_no_more_memory(tmp_path: Path) -> None:
    few, many = peak_kib(tmp_path / "few", 30), peak_kib(tmp_path / "many", 150)
    recorded_kib = (150 - 30) * CALLS * RESULT_BYTES // 1024
    assert many - few < recorded_kib // 4, f"{few} KiB for 30 runs, {many} KiB for 150"
