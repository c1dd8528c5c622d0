"""`python -m tests.claims requirements|campaign|sample`: what is shown, what is open, which mutants live.

Standard output holds the lines (or one JSON object), standard error the progress and the reasons. Exit
codes: 0 everything asked for is shown or caught, 1 something is open or a mutant lives, 2 the table, a mark
or a mutant says something that cannot be.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.claims import judgment, orphans, table

ID_LIMIT_S = 40.0  # what the marked tests of one id may take
SAMPLE = 10
SAMPLE_LIMIT_S = 60.0  # then what was begun is ended, and what is left out is said


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def requirements(court: judgment.Court, asked: tuple[table.Requirement, ...], *, as_json: bool) -> int:
    """Judge each asked id in turn and print its line as soon as it is known."""
    rows: list[dict[str, Any]] = []
    for requirement in asked:
        judged, sound = court.judge(requirement.claims)
        shown = sum(one.shown for one in judged)
        total = len(judged)
        state = "shown" if shown == total else "open"
        for one in judged:
            if not one.shown and one.open_because != "no test":
                say(f"  {one.claim.id}: {one.open_because}")
        if sound.seconds > ID_LIMIT_S:
            say(f"  {requirement.id}: its tests took {sound.seconds:.0f} s, more than {ID_LIMIT_S:.0f} s")
        if any(how in ("failed", "broke") for how in sound.ended.values()) or not sound.complete:
            say(sound.output)
        if not as_json:
            print(f"{requirement.id} {state} {total if state == 'shown' else f'{shown}/{total}'}", flush=True)
        rows.append(
            {
                "id": requirement.id,
                "state": state,
                "shown": shown,
                "of": total,
                "seconds": round(sound.seconds, 1),
                "claims": [one.as_json() for one in judged],
            }
        )
    still_open = [row["id"] for row in rows if row["state"] == "open"]
    if as_json:
        print(json.dumps({"schema": "failwell/requirements/1", "requirements": rows, "open": still_open}))
    return 1 if still_open else 0


def campaign(court: judgment.Court, claims: list[table.Claim], *, limit_s: float, as_json: bool) -> int:
    """Try the mutant of each claim; stop when `limit_s` are over, saying how many were left out."""
    started = time.monotonic()
    judged: list[judgment.Judged] = []
    if not claims:
        say("mutants: none is written for what was asked; nothing was tried")
    for claim in claims:
        if time.monotonic() - started > limit_s:
            say(f"mutants: {len(claims) - len(judged)} left out after {limit_s:.0f} s")
            break
        one = court.judge((claim,))[0][0]
        judged.append(one)
        if not as_json:
            told = f"caught by {one.caught_by}" if one.caught_by else f"NOT CAUGHT: {one.open_because}"
            print(f"{claim.mutant} ({claim.id}) {told}", flush=True)
    alive = [one.claim.mutant for one in judged if not one.caught_by]
    if as_json:
        rows = [one.as_json() for one in judged]
        print(json.dumps({"schema": "failwell/campaign/1", "mutants": rows, "not_caught": alive}))
    else:
        print(f"mutants: {len(judged) - len(alive)} of {len(judged)} caught", flush=True)
    return 1 if alive or not judged else 0


def seed_of(given: str, root: Path) -> str:
    """The seed as given, else the commit: each commit samples other mutants, and the same one the same."""
    if given:
        return given
    head = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=root, capture_output=True, text=True, check=False
    )
    return head.stdout.strip() or "0"


def main(arguments: list[str]) -> int:
    """Read the command, judge, print; returns the exit code."""
    parser = argparse.ArgumentParser(prog="tests.claims", description=__doc__)
    parser.add_argument("command", choices=["requirements", "campaign", "sample"])
    parser.add_argument("--only", default="", help="ids, separated by blanks")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--seed", default="", help="which mutants a sample takes, and in which order")
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parents[2])
    given = parser.parse_args(arguments)
    orphans.adopt()
    try:
        whole = table.load(given.root)
        asked = table.chosen(whole, given.only)
        with judgment.court(given.root, whole) as court:
            if given.command == "requirements":
                return requirements(court, asked, as_json=given.json)
            claims = [c for r in asked for c in r.claims if c.mutant in court.mutants]
            if given.command == "campaign":
                return campaign(court, claims, limit_s=float("inf"), as_json=given.json)
            seed = seed_of(given.seed, given.root)
            claims = random.Random(seed).sample(claims, min(SAMPLE, len(claims)))
            say(f"mutants: a sample of {len(claims)}, seed {seed}")
            return campaign(court, claims, limit_s=SAMPLE_LIMIT_S, as_json=given.json)
    except table.TableError as error:
        say(f"claims: {error}")
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
