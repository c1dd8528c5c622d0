"""The working state of an action that was stopped, as it goes on record: commitments in the entry, texts in the blob.

Personal and secret as it may be (R9, D13): nothing of what a process was given or wrote stands in the entry itself.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

from failwell.core import kinds, rows
from failwell.core.records import Draft
from failwell.ledger.jobs import Job, Plan, Turn
from failwell.ledger.vault import commitment

MAX_MISSING = 1000
#: Ends of an action that somebody stopped.
STOPPED = ("interrupted_confirmed", "interrupted_unconfirmed", "completed_after_interrupt")


class Preserved(msgspec.Struct, frozen=True, kw_only=True):
    """What was taken of one action. `snapshot` and `directory` are canonical texts, None where there is none."""

    decision: int
    snapshot: bytes | None
    directory: bytes | None
    files: int
    bytes: int
    missing: tuple[str, ...]


def preserve(taken: Preserved) -> Job[int | None]:
    """The job that records it; answers its entry, None where the action is not one that was stopped."""

    def job(turn: Turn) -> Plan[int | None]:
        action = _action(turn, taken.decision)
        if action is None or action.state not in STOPPED:
            return Plan((), lambda _: None)
        salt = turn.entropy(16)
        texts = {name: getattr(taken, name) for name in ("snapshot", "directory") if getattr(taken, name) is not None}
        secret = {name: text.decode("utf-8", "replace") for name, text in texts.items()}
        commits = {name: commitment(salt, text.encode()) for name, text in secret.items()}
        seen = _seen(taken.snapshot)
        missing = "; ".join([*seen.missing, *taken.missing])[:MAX_MISSING] or None
        body = kinds.StatePreserved(
            decision=taken.decision, processes=seen.processes, took_us=seen.took_us, snapshot=commits.get("snapshot"),
            directory=commits.get("directory"), files=taken.files, bytes=taken.bytes, complete=missing is None,
            missing=missing,
        )  # fmt: skip
        draft = Draft(
            body=body, actor="node", agent=action.agent, run=action.run, refs=(taken.decision,),
            secret={**secret, "salt": salt.hex()} if secret else None,
        )  # fmt: skip
        return Plan((draft,), lambda entries: entries[0].seq)

    return job


def _action(turn: Turn, decision: int) -> rows.Action | None:
    live = turn.state.action.get(decision)
    stored = turn.stored_row("action", decision) if live is None else None
    return live if stored is None else rows.decode_row("action", stored)


class _Seen(msgspec.Struct):
    """What the entry says of a snapshot without telling what is in it."""

    processes: int = 0
    took_us: int = 0
    missing: tuple[str, ...] = ()


def _seen(snapshot: bytes | None) -> _Seen:
    """A supervisor's word: whatever makes no sense of it is said to be missing."""
    if snapshot is None:
        return _Seen(missing=("what ran: it had ended, or was not seen",))
    try:
        body: dict[str, Any] = json.loads(snapshot)
        missing = [str(each)[:200] for each in body["missing"]]
        if body.get("stood_still") is False:
            missing.append("not all of it was seen to stand still")
        return _Seen(len(body["processes"]), max(0, int(body["took_us"])), tuple(missing))
    except (ValueError, KeyError, TypeError):
        return _Seen(missing=("what ran: its snapshot cannot be read",))
