"""Keeps a stated number of actions queued at a node, from a process of its own; prints how many wait, line by line."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path

from failwell.client.wire import hello, reach
from failwell.identity import agents
from failwell.node.workspace import Workspace


def main() -> None:
    workspace, agent, wanted = Workspace(Path(sys.argv[1])), sys.argv[2], int(sys.argv[3])
    wire = reach(workspace.socket, workspace.path, start=False)
    key = agents.load_agent_key(Path(os.environ["FAILWELL_CONFIG"]), workspace.origin(), agent)
    hello(wire, "agent", agent, key)
    run = wire.call("run.open", agent=agent)
    lock = threading.Lock()
    waiting = 0

    def answered(_: object) -> None:
        nonlocal waiting
        with lock:
            waiting -= 1

    number = 0
    said = time.monotonic()
    while True:
        while waiting < wanted:
            arguments = json.dumps({"customer_id": f"c-{number % 1000}", "order_id": f"o-{number}", "amount": "9.50"})
            with lock:
                waiting += 1
            asked = wire.ask(
                "act", agent=agent, run=run, call=f"call-{number}", tool="payments.refund", arguments=arguments
            )
            asked.add_done_callback(answered)
            number += 1
        if time.monotonic() - said > 0.3:
            said = time.monotonic()
            print(json.dumps({"waiting": waiting}), flush=True)
        time.sleep(0.001)


if __name__ == "__main__":
    main()
