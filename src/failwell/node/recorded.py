"""What came of a call that is made again: its outcome as the record has it, with the result where that is still there.

A caller whose connection or node went away in the midst of a call makes it again under the same id, and hears what
it would have heard: nothing runs for it (`gate.verdicts`). What it does NOT do: tell anything that the record does not
hold. Output that was cut stays cut, and of a result that was erased only that it is.
"""

from __future__ import annotations

import asyncio
import base64
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import msgspec

from failwell.core import kinds, rows
from failwell.core.errors import Refused
from failwell.core.records import Entry, decode_entry
from failwell.gate.verdicts import Verdict
from failwell.ledger.jobs import Plan, Turn
from failwell.node.guarding import sealed

if TYPE_CHECKING:
    from failwell.node.service import Node

#: Entries that are read at once on the way from a decision to its outcome.
PAGE = 1000
#: Outcomes that were found lately: the way to one that took hours is gone once.
REMEMBERED = 1024
ERASED = "its result was erased since"
#: States in which a decision has no outcome: nothing was to run, or it still runs.
_WITHOUT = frozenset({"denied", "escalated", "open"})


class Recorded:
    """Finds the outcomes of calls that are made again."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._found: OrderedDict[int, int] = OrderedDict()

    async def told(self, verdict: Verdict) -> tuple[Verdict, dict[str, Any] | None]:
        """An earlier verdict as it leaves once more, with its outcome; None where it has none, or is a new one."""
        if not verdict.repeated:
            return verdict, None
        await self._sealed(verdict)

        def job(turn: Turn) -> Plan[rows.Action | None]:
            live = turn.state.action.get(verdict.entry)
            stored = None if live is not None else turn.stored_row("action", verdict.entry)
            row = live if stored is None else rows.decode_row("action", stored)
            return Plan((), lambda _: row)

        row = await self._node.writer.submit_async(job)
        outcome = None if row is None else await asyncio.to_thread(self.outcome, verdict.entry, row)
        if row is None or outcome is None:
            return verdict, None
        told = await asyncio.to_thread(self._tell, outcome)
        return msgspec.structs.replace(verdict, state=row.state), told

    async def _sealed(self, verdict: Verdict) -> None:
        """Leave for what cannot be undone leaves sealed, also once more.

        Attack: ask twice. The first question waits for the seal, the second carries the leave off without one, or with
        one that comes just after the first was refused.
        """
        if not verdict.may_start or verdict.state != "open" or not verdict.irreversible:
            return
        await sealed(self._node.writer.seals, verdict.entry)
        if not await self._node.questions.look(lambda state: verdict.entry in state.action):
            raise Refused("this call ended while it was asked for again", hint="Make it once more.", code="busy")

    def outcome(self, action: int, row: rows.Action) -> Entry[Any] | None:
        """The entry by which an action ended. It stands behind the decision, as far as the action took."""
        if row.state in _WITHOUT:
            return None
        seq = row.ended if row.ended is not None else self._found.get(action)
        if seq is not None:
            return self._entry(seq)
        named = b'"decision":%d' % action
        first = action + 1
        while page := self._node.storage.entries(first, PAGE):
            for stored in page:
                # Most of what lies between is about something else: it is not decoded to see that.
                entry = decode_entry(stored.data) if named in stored.data else None
                if entry is not None and isinstance(entry.body, kinds.Outcome) and entry.body.decision == action:
                    self._remember(action, entry.seq)
                    return entry
            first = page[-1].seq + 1
        return None

    def _remember(self, action: int, seq: int) -> None:
        self._found[action] = seq
        while len(self._found) > REMEMBERED:
            self._found.popitem(last=False)

    def _entry(self, seq: int) -> Entry[Any] | None:
        stored = self._node.storage.entry(seq)
        return None if stored is None else decode_entry(stored.data)

    def _tell(self, outcome: Entry[Any]) -> dict[str, Any]:
        """The same words as at first (`actions.Result`), and `erased`: why the result is not there any more."""
        body: kinds.Outcome = outcome.body
        blob = self._node.storage.blob(outcome.seq)
        secret = {} if blob is None else self._node.vault.open(blob)
        erased = ERASED if outcome.blob is not None and blob is None else None
        why = ": ".join(said for said in (body.why, secret.get("words")) if said) or None
        return {
            "state": body.state, "entry": outcome.seq, "output": _output(secret), "truncated": body.truncated,
            "exit_code": body.exit_code, "why": why, "erased": erased,
        }  # fmt: skip


def _output(secret: dict[str, Any]) -> str:
    """A result as it goes over the wire, base64."""
    if "result_base64" in secret:
        return str(secret["result_base64"])
    return base64.b64encode(str(secret.get("result", "")).encode()).decode()
