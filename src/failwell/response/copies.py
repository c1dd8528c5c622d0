"""Copies of the directories that an agent works in, on record: what is owed, and what was kept or could not be (R9)."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from failwell.core import kinds
from failwell.core.incidents.holding import owed
from failwell.core.records import Draft
from failwell.core.state import State
from failwell.ledger.jobs import Job, Plan, Turn

MAX_MISSING = 1000


class Owed(NamedTuple):
    """A directory that is to be copied for a hold."""

    hold: int
    agent: str
    directory: str


class Copied(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one. `digest` names the copy; `listing` is SHA-256(salt || listing), which lies in the copy."""

    hold: int
    directory: str
    files: int = 0
    bytes: int = 0
    digest: str | None = None
    listing: str | None = None
    secret: dict[str, Any] | None = None
    missing: tuple[str, ...] = ()
    took_us: int = 0


def copies_owed(state: State) -> tuple[Owed, ...]:
    """The directories that are to be copied, the oldest hold first; none for a hold that was lifted."""
    return tuple(
        Owed(number, row.agent, directory)
        for number, row in sorted(list(state.hold.items()))  # copied at once: also another thread looks
        if row.lifted is None
        for directory in owed(row)
    )


def keep_copy(copied: Copied) -> Job[int | None]:
    """The job that records it; answers its entry, None where it is not owed (any more)."""

    def job(turn: Turn) -> Plan[int | None]:
        row = turn.state.hold.get(copied.hold)
        if row is None or row.lifted is not None or copied.directory not in owed(row):
            return Plan((), lambda _: None)
        missing = "; ".join(copied.missing)[:MAX_MISSING] or None
        body = kinds.DirectoryPreserved(
            hold=copied.hold, name=copied.directory, files=copied.files, bytes=copied.bytes, digest=copied.digest,
            listing=copied.listing, complete=missing is None, missing=missing, took_us=copied.took_us,
        )  # fmt: skip
        draft = Draft(body=body, actor="node", agent=row.agent or None, secret=copied.secret)
        return Plan((draft,), lambda entries: entries[0].seq)

    return job
