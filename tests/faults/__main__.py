"""`python -m tests.faults`: the whole campaign against crashes and disks. Progress on standard error, then a table.

Power cuts of ledger and guard together, power cuts of the guard's memory alone, deaths at system calls, and honest
histories; each in as many processes as there are cores. Exit codes: 0 nothing wrong and all was tried, 1 something is
wrong (each line says what, and with which seed), 2 what was asked for could not be tried here.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time

from tests.faults.campaign import COUNTED, CUTS, GUARDS, HONEST, KILLS, campaign
from tests.simulate import syscalls


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main(arguments: list[str]) -> int:
    """Read what is wanted, try it, print the table; returns the exit code."""
    parser = argparse.ArgumentParser(prog="tests.faults", description=__doc__)
    parser.add_argument("--states", type=int, default=100_000, help="disks that a power cut may leave")
    parser.add_argument("--guard-states", type=int, default=10_000, help="memories of a guard that one may leave")
    parser.add_argument(
        "--kills", type=int, default=400, help="deaths on entering a system call; 400 are all there are"
    )
    parser.add_argument("--histories", type=int, default=1000, help="honest histories")
    parser.add_argument("--seed", type=int, default=20260101)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    wanted = {CUTS: given.states, GUARDS: given.guard_states, KILLS: given.kills, HONEST: given.histories}
    wanted = {part: number for part, number in wanted.items() if number > 0}
    if KILLS in wanted and not syscalls.can_trace():
        say(f"faults: {syscalls.NEEDS} (or --kills 0)")
        return 2
    started = time.monotonic()
    sums = campaign(wanted, given.seed, given.processes, say)
    seconds = time.monotonic() - started
    short = [part for part, result in sums.items() if result.tried < wanted[part]]
    if given.json:
        parts = {part: {"tried": r.tried, "wanted": wanted[part], **r._asdict()} for part, r in sums.items()}
        told = {"schema": "failwell/faults/1", "seed": given.seed, "seconds": round(seconds, 1), "parts": parts}
        print(json.dumps(told))
    else:
        for part, result in sums.items():
            facts = ", ".join(f"{name} {number}" for name, number in sorted(result.facts.items()))
            print(
                f"{part}: {result.tried} {COUNTED[part]}, {len(result.wrong)} wrong" + (f" ({facts})" if facts else "")
            )
        print(f"faults: seed {given.seed}, {given.processes} processes, {seconds:.0f} s")
    for part in short:
        say(f"faults: {part}: only {sums[part].tried} of {wanted[part]} were tried")
    return 1 if short or any(result.wrong for result in sums.values()) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
