"""The process that is killed: a real writer with its guard, which tells every acknowledgment to whoever started it.

`python -m tests.faults.child WORKSPACE ACTS SEED HOW` opens the workspace as a node does, works, and closes it.
Each line on standard output is a fact that its reader may rely on: `ack SEQ SHA256`, and `sealed SIZE ROOT` for what
its guard handed out. HOW is `together` (the guard dies with its node), `apart` (it is a process of its own, and is
started again when it dies alone), or names a fault of `mutants.CUT` to be seeded.
"""

from __future__ import annotations

import hashlib
import os
import random
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

from failwell.guard.remote import RemoteGuard
from failwell.guard.sealing import LocalGuard
from failwell.ledger import seals
from failwell.storage import sqlite
from tests.faults import mutants
from tests.faults.work import Labour, Told, watch_answers
from tests.unit.verify import ledgers

BOOT = "d" * 32
#: As in `cuts`: a short life shall see its log moved and its heads signed.
LOG_PAGES, SOON_S = 25, 0.001


def say(text: str) -> None:
    """One line, in one write: a death in between leaves none or all of it."""
    os.write(1, f"{text}\n".encode())


def told(entries: Told) -> None:
    for seq, data in sorted(entries.items()):
        say(f"ack {seq} {hashlib.sha256(data).hexdigest()}")


def guard_apart() -> Any:
    """`ledgers` opens the guard of the workspace in a process of its own."""
    return mock.patch.object(LocalGuard, "open", staticmethod(lambda place: RemoteGuard.at(str(place))))


def main(path: Path, acts: int, seed: int, how: str) -> int:
    kind: Any = RemoteGuard if how == "apart" else LocalGuard
    seal = kind.seal

    def sealing(self: Any, *asked: Any, **named: Any) -> Any:
        sealed = seal(self, *asked, **named)
        say(f"sealed {sealed.size} {sealed.root.hex()}")
        return sealed

    with (
        mutants.CUT[how]() if how in mutants.CUT else nullcontext(),
        guard_apart() if how == "apart" else nullcontext(),
        mock.patch.object(kind, "seal", sealing),
        mock.patch.object(seals, "COALESCE_S", SOON_S),
        mock.patch.object(sqlite, "MOVE_PAGES", LOG_PAGES),
        ledgers.reopened(path, ledgers.StepClock(BOOT)) as made,
    ):
        watch_answers(made, told)
        labour = Labour(made, random.Random(seed))
        for _ in range(acts):
            labour.act()
            made.writer.seals.wait(made.book.state.size).result(10)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]))
