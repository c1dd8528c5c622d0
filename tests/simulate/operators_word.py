"""An operator's command (fence, confirm): writes down what it was told, and answers as a file beside it says.

Run as `python -I -S operators_word.py LOG ANSWERS`; in ANSWERS a file named like the agent holds an exit code, `hang`,
or `leave` (a child that goes on); without one it is 0.
"""

from __future__ import annotations

import json
import os
import sys
import time


def main(log: str, answers: str) -> int:
    told = json.load(sys.stdin)
    env = {name: value for name, value in os.environ.items() if name.startswith("FAILWELL_")}
    line = {"told": told, "env": env, "boottime_us": time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000}
    handle = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(handle, json.dumps(line).encode() + b"\n")
    os.close(handle)
    path = os.path.join(answers, told["agent"].rpartition("/")[2])
    word = "0"
    if os.path.exists(path):
        with open(path) as file:
            word = file.read().strip()
    if word == "leave" and os.fork() == 0:
        os.setsid()
        word = "hang"
    if word == "hang":
        time.sleep(60)
    return 0 if word == "leave" else int(word)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
