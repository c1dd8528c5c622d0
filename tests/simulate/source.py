"""A trusted source that cannot be trusted: run as a command, it misbehaves as its first argument says.

Arguments come as one JSON object on standard input. `world.json` beside the second argument, where there is one, says
what an honest source answers.
"""

from __future__ import annotations

import json
import os
import sys
import time

WORDS = {
    "right": "50.00", "twice": "50.00 50.00", "lines": "50.00\n50.00", "inexact": "0.1234", "nan": "NaN",
    "infinity": "Infinity", "huge": "9" * 400, "unsafe": "9007199254740993", "far": "10000.01", "text": '"fifty"',
    "null": "null", "list": "[50.00]", "object": '{"paid": 50.00}', "true": "true", "empty": "", "cut": "50.",
    "trailing": "50.00,", "bom": "\ufeff50.00", "exponent": "1e400", "minus": "-50.00",
}  # fmt: skip


def dies() -> None:
    print("50.00", flush=True)
    os.kill(os.getpid(), 9)


def refuses() -> None:
    print("50.00")
    sys.exit(1)


def hangs() -> None:
    print("50.00", flush=True)
    time.sleep(60)


def drips() -> None:
    while True:
        print("5", end="", flush=True)
        time.sleep(0.02)


def floods() -> None:
    while True:
        os.write(1, b"5" * 65536)


def large() -> None:
    os.write(1, b" " * 70_000 + b"50.00")


def forks() -> None:
    for _ in range(8):
        if os.fork() == 0:
            os.setsid()
            time.sleep(60)
    time.sleep(60)


def leaves() -> None:
    if os.fork() == 0:
        os.setsid()
        time.sleep(60)
    print("50.00", flush=True)
    os._exit(0)


MISDEEDS = {each.__name__: each for each in (dies, refuses, hangs, drips, floods, large, forks, leaves)}


def main() -> None:
    how, place = sys.argv[1], sys.argv[2]
    asked = json.load(sys.stdin)
    with open(os.path.join(place, "asked.jsonl"), "a") as log:
        log.write(json.dumps({"how": how, "pid": os.getpid(), "asked": asked, "env": sorted(os.environ)}) + "\n")
    if how in WORDS:
        print(WORDS[how], end="")
    elif how == "world":
        with open(os.path.join(place, "world.json")) as file:
            said = json.load(file)
        time.sleep(said.get("after_s", 0))
        print(json.dumps(said["says"]))
    else:
        MISDEEDS[how]()


if __name__ == "__main__":
    main()
