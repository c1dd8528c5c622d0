"""A tool that keeps its own log: the witness whose word no test of ours has to take from the node.

Run as `python -I -S tool.py LOG`; arguments as a JSON object on standard input. Standard library only, starts fast.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time


def note(log: str, what: str, **more: object) -> None:
    """Append one line: which action, which process, when by the boot clock."""
    line = {
        "action": os.environ["FAILWELL_ACTION"], "pid": os.getpid(), "what": what,
        "boottime_us": time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000, **more,
    }  # fmt: skip
    handle = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(handle, json.dumps(line).encode() + b"\n")
    os.close(handle)


def main(log: str) -> None:
    arguments = json.load(sys.stdin)
    note(log, "began", customer=arguments["customer"])
    if arguments.get("deaf"):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
    if arguments.get("grandchild") and os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            note(log, "grandchild")
            time.sleep(60)
        os._exit(0)
    time.sleep(arguments.get("millis", 0) / 1000)
    note(log, "done")
    print(json.dumps({"wrote": arguments["customer"]}))


if __name__ == "__main__":
    main(sys.argv[1])
