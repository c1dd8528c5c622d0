"""A step that undoes, as operators write them, or as they should not: what it does stands in its first argument.

Run as `python -I -S undo.py HOW PLACE`; it notes what it was told in PLACE/undone.jsonl, and each process of it too.
Standard library only, starts fast.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time


def note(place: str, **said: object) -> None:
    line = {"pid": os.getpid(), "marker": os.environ.get("FAILWELL_ACTION"), **said}
    handle = os.open(f"{place}/undone.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(handle, json.dumps(line).encode() + b"\n")
    os.close(handle)


def last_word(state: str, detail: str) -> None:
    print("working", flush=True)
    print(json.dumps({"state": state, "detail": detail}), flush=True)


def resist(place: str) -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    for _ in range(3):
        if os.fork() == 0:
            os.setsid()
            note(place, how="forked")
            break


def main(how: str, place: str) -> int:
    text = sys.stdin.buffer.read()
    told = json.loads(text)
    note(place, how=how, bytes=len(text), told=told | {"arguments": {**told["arguments"], "text": None}},
         secret=os.environ.get("SHOP_KEY"))  # fmt: skip
    if how == "resists":
        resist(place)
    if how in ("hangs", "hangs long", "resists"):
        print(json.dumps({"state": "reversed"}), flush=True)  # a lie: it has not ended
        time.sleep(60)
    if how == "hangs once":
        if told["try"] == 1:
            time.sleep(60)
        last_word("reversed", "the second time")
    if how in ("reverses", "waits"):
        last_word("reversed", f"note of {told['arguments']['customer']} taken back, key {os.environ.get('SHOP_KEY')}")
    if how == "fails":
        print("no route to host", file=sys.stderr)
        return 3
    if how == "is silent":
        print("all good")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
