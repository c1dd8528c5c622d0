"""The kill switch of sf-smartswitch; run by the peer's own Python, prints one JSON line.

What its README calls the stronger choice is used: the process wrapper, `sf-smartswitch agent ... -- program`, polling a
coordinator on loopback as its own demo sets one up (three keyholders, tokens, a log file). The order is measured from
before the vote that completes the quorum is sent to the coordinator; the proposal and the first vote lie there already.
Shown with the default poll (1000 ms) and with that of its demo (100 ms). `--grace-s` stays at its default: the program
ends on SIGTERM, so no grace is used. The next call is asked of `Agent.checkpoint()` in a process that was open.
"""

import json
import logging
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from importlib.metadata import version
from pathlib import Path

logging.disable(logging.CRITICAL)

from family import Watched, command  # noqa: E402
from peer_stops import in_folder, tell  # noqa: E402
from sf_smartswitch import Agent, ed25519  # noqa: E402
from sf_smartswitch.client import Client  # noqa: E402
from sf_smartswitch.coordinator import Coordinator  # noqa: E402
from sf_smartswitch.protocol import new_proposal, sign_vote  # noqa: E402
from sf_smartswitch.server import Config, make_server  # noqa: E402

HOLDERS = ("alice", "bob", "carol")
AGENT_TOKEN, OPERATOR_TOKEN = "agent-token-of-the-bench-........", "operator-token-of-the-bench-......"
WRAPPER_HALTED = 75


class Fleet:
    """A coordinator on loopback with its keyholders."""

    def __init__(self, folder: Path) -> None:
        self.seeds = {name: ed25519.new_seed() for name in (*HOLDERS, "coordinator")}
        public = {name: ed25519.public_key(seed) for name, seed in self.seeds.items()}
        self.document = {
            "type": "smartswitch.fleet", "version": 1, "fleet_id": "bench", "threshold": None,
            "keyholders": [{"id": name, "public_key": public[name]} for name in HOLDERS],
            "coordinator_key": public["coordinator"], "offline_timeout_ms": 30000, "proposal_max_ttl_ms": 600000,
            "agents": [{"id": "worker", "max_instances": 64}],
        }  # fmt: skip
        self.path = folder / "fleet.json"
        self.path.write_text(json.dumps(self.document))
        self.coordinator = Coordinator(self.document, self.seeds["coordinator"], str(folder / "switch.jsonl"))
        self.server = make_server(self.coordinator, Config(AGENT_TOKEN, OPERATOR_TOKEN), "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.operator = Client(self.url, OPERATOR_TOKEN, 5.0)

    def order(self, action: str) -> float:
        """Halt or resume everything; gives when the vote that completed the quorum was about to be sent."""
        proposal = new_proposal(self.coordinator.state, action, "*", "measured", int(time.time() * 1000), 60000)
        votes = [sign_vote(self.seeds[name], name, proposal) for name in HOLDERS[:2]]
        self.operator.vote(proposal, votes[0])
        ordered = time.perf_counter()
        answer = self.operator.vote(proposal, votes[1])
        if answer["status"] == "pending":
            raise SystemExit("the quorum was not reached: this measures nothing")
        return ordered

    def wrapper(self, program: list[str], poll_ms: int, wait_s: float = 30.0) -> subprocess.Popen[bytes]:
        arguments = ["--url", self.url, "--fleet", str(self.path), "--agent-id", "worker", "--poll-ms", str(poll_ms)]
        return subprocess.Popen(
            [sys.executable, "-m", "sf_smartswitch", "agent", *arguments, "--wait-s", str(wait_s), "--", *program],
            env={**os.environ, "SMARTSWITCH_AGENT_TOKEN": AGENT_TOKEN}, stderr=subprocess.DEVNULL,
        )  # fmt: skip


def measure(rounds: int, poll_ms: int) -> dict[str, object]:
    claims: set[str] = set()
    refused_ms: list[float] = []
    under: list[subprocess.Popen[bytes]] = []
    asked: list[int] = []
    rng = random.Random(poll_ms)
    with tempfile.TemporaryDirectory(prefix="failwell-bench-") as name:
        fleet = Fleet(Path(name))
        opened = Agent(fleet.url, AGENT_TOKEN, str(fleet.path), "worker", poll_ms=poll_ms).start()
        opened.wait_until_running(10)

        def once(folder: Path) -> tuple[float, Watched]:
            under.append(fleet.wrapper(command(folder, 30), poll_ms))
            watched = Watched(folder)
            time.sleep(rng.random() * poll_ms / 1000)  # an order comes at any moment between two polls
            ordered = fleet.order("halt")
            threading.Thread(target=refused, args=(ordered,)).start()
            return ordered, watched

        def refused(ordered: float) -> None:
            while opened.may_run():
                time.sleep(0.001)
            refused_ms.append((time.perf_counter() - ordered) * 1000)

        def after() -> None:
            claims.add(f"exit code {under.pop().wait(15)}")
            while len(refused_ms) < len(asked) + 1:
                time.sleep(0.01)
            asked.append(fleet.wrapper([sys.executable, "-c", ""], poll_ms, wait_s=1.0).wait(15))
            fleet.order("resume")
            opened.wait_until_running(10)

        found = in_folder(rounds, once, after)
        opened.stop()
        fleet.server.shutdown()
    fresh = "refused" if set(asked) == {WRAPPER_HALTED} else "runs"
    return {
        "way": f"tool: under its process wrapper, poll {poll_ms} ms" + (" (default)" if poll_ms == 1000 else ""),
        "running_tool": "ended by SIGTERM", "next_call": f"runs for up to {max(refused_ms):,.0f} ms more, then refused",
        "other_process": f"the same; a fresh one: {fresh}", "claims": ", ".join(sorted(claims)), **found,
    }  # fmt: skip


name = "sf-smartswitch"
tell(f"{name} {version(name)}", [measure(int(sys.argv[1]), poll_ms) for poll_ms in (1000, 100)])
