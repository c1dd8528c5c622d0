"""The kill switch of agent-governance-toolkit-core; run by the peer's own Python, prints one JSON line.

What its API offers is used as its docstrings say: `hypervisor.security.kill_switch.KillSwitch`, "Terminates agent
processes via registered callbacks". `register_agent` takes the callback, so how well a tool is stopped is up to
whoever writes it. Two ways are shown: the tool is the governed function itself (`agentmesh.governance.govern`), where
a callback has no process to end; and the tool is a process, with the best callback that is one line: SIGKILL to its
group. The next call goes through the governed function again. Nothing in the package ties the one to the other:
`govern` takes no kill switch, and `KillSwitch` lives in the memory of one process.
"""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from importlib.metadata import version
from pathlib import Path

warnings.simplefilter("ignore")
logging.disable(logging.CRITICAL)

from agentmesh.governance import govern  # noqa: E402
from family import Watched, command  # noqa: E402
from hypervisor.security.kill_switch import KillReason, KillSwitch  # noqa: E402
from peer_stops import in_folder, tell  # noqa: E402

AGENT, SESSION = "did:mesh:bench", "session:bench"
POLICY = """
apiVersion: governance.toolkit/v1
name: reports
agents: ["*"]
default_action: allow
rules: []
"""


def a_function(life_s: float = 1.0) -> dict[str, object]:
    """The tool is a Python function in the agent's process."""
    finished: list[bool] = []

    def report(action: str) -> None:
        time.sleep(life_s)
        finished.append(True)

    governed = govern(report, policy=POLICY, agent_id=AGENT)
    switch = KillSwitch()  # no callback: there is no process here that one could end
    running = threading.Thread(target=governed, kwargs={"action": "report"})
    began = time.perf_counter()
    running.start()
    time.sleep(0.2)
    ordered = time.perf_counter()
    result = switch.kill(AGENT, SESSION, KillReason.MANUAL)
    running.join()
    took = (time.perf_counter() - ordered) * 1000
    assert time.perf_counter() - began >= life_s
    return {
        "way": "tool: a function in its process", "running_tool": "finished" if finished else "stopped",
        "group_p50_ms": took, "all_p50_ms": took, "rounds": 1, "next_call": _next_call(),
        "other_process": _elsewhere(), "claims": f"terminated={result.terminated}",
    }  # fmt: skip


def a_process(rounds: int) -> dict[str, object]:
    """The tool is a process, and the callback kills its process group."""
    claims: set[str] = set()

    def once(folder: Path) -> tuple[float, Watched]:
        started: list[subprocess.Popen[bytes]] = []

        def report(action: str) -> int:
            started.append(subprocess.Popen(command(folder, 20), start_new_session=True))
            return started[0].wait()

        governed = govern(report, policy=POLICY, agent_id=AGENT)
        switch = KillSwitch()
        switch.register_agent(AGENT, lambda: os.killpg(started[0].pid, signal.SIGKILL))
        threading.Thread(target=governed, kwargs={"action": "report"}, daemon=True).start()
        watched = Watched(folder)
        ordered = time.perf_counter()
        claims.add(f"terminated={switch.kill(AGENT, SESSION, KillReason.MANUAL).terminated}")
        return ordered, watched

    found = in_folder(rounds, once)
    return {
        "way": "tool: a process, callback of its user's: killpg", "running_tool": "killed", "next_call": _next_call(),
        "other_process": _elsewhere(), "claims": ", ".join(sorted(claims)), **found,
    }  # fmt: skip


def _elsewhere() -> str:
    """The same asked in a fresh process."""
    said = subprocess.run([sys.executable, __file__, "next-call"], capture_output=True, text=True, check=True)
    return f"a fresh one: {said.stdout.strip()}"


def _next_call() -> str:
    """Whether a governed call of the agent, which was killed before, still runs."""
    ran: list[bool] = []

    def report(action: str) -> None:
        ran.append(True)

    try:
        govern(report, policy=POLICY, agent_id=AGENT)(action="report")
    except Exception as error:  # noqa: BLE001 - whatever it refuses with
        return f"refused: {type(error).__name__}"
    return "runs" if ran else "refused"


name = "agent-governance-toolkit-core"
if sys.argv[1] == "next-call":
    print(_next_call())
    sys.exit(0)
tell(f"{name} {version(name)}", [a_function(), a_process(int(sys.argv[1]))])
