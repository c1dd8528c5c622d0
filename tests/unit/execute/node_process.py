"""A node for tests of the executor: a real process that holds one and takes orders as JSON lines.

Run as `python node_process.py DIRECTORY NAMESPACE`. Orders on standard input, answers on standard output.
"""

from __future__ import annotations

import base64
import json
import os
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from failwell.core.errors import FailwellError
from failwell.execute.orphans import sweep_leftovers
from failwell.execute.supervised import SupervisedExecutor
from failwell.ports.executor import Ended, Launch

_writing = threading.Lock()


def say(body: dict[str, Any]) -> None:
    with _writing:
        sys.stdout.write(json.dumps(body) + "\n")
        sys.stdout.flush()


def told(ended: Ended) -> None:
    body = asdict(ended)
    for name in ("output", "errors"):
        body[name] = base64.b64encode(body[name]).decode()
    say({"ended": body, "thread": threading.current_thread().name})


def obey(executor: SupervisedExecutor, order: dict[str, Any]) -> None:
    match order.pop("do"):
        case "launch":
            order["stdin"] = base64.b64decode(order["stdin"])
            order["command"] = tuple(order["command"])
            process = executor.launch(Launch(**order), told)
            say({"process": {"pid": process.pid, "start_ticks": process.start_ticks}})
        case "interrupt":
            executor.interrupt(order["action"])
        case "freeze":
            executor.freeze(order["actions"])
        case "running":
            say({"running": sorted(executor.running())})
        case "self_test":
            say({"self_test": executor.self_test().as_record()})
        case "sweep":
            say({"leftovers": [asdict(left) for left in sweep_leftovers(order["prefix"])]})
        case "fork_holder":
            pid = os.fork()
            if pid == 0:
                time.sleep(30)
                os._exit(0)
            say({"pid": pid})
        case "close":
            executor.close()
            say({"closed": True})


def main() -> None:
    directory = Path(sys.argv[1])
    executor = SupervisedExecutor(
        directory / "run",
        directory / "orders",
        pid_namespace=sys.argv[2] == "1",
        spare=(lambda: ()) if sys.argv[3] == "1" else None,
    )
    say({"up": True})
    for line in sys.stdin:
        try:
            obey(executor, json.loads(line))
        except FailwellError as error:
            say({"error": {"code": error.code, "message": error.message}})
    executor.close()


if __name__ == "__main__":
    main()
