"""What is told about one action: what was decided and how it ended, how it would be undone, and what became of that.

The evidence that a person sees before they have an action undone. Arguments come in clear with the salt of their
commitment; what a tool or a step said of itself is named as its own words.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from failwell.core import kinds, rows, undoing
from failwell.core.errors import InputError, NotFound
from failwell.core.records import Entry, decode_entry
from failwell.gate.preserving import STOPPED
from failwell.ledger.jobs import Plan, Turn
from failwell.node.preserved_answers import preserved

if TYPE_CHECKING:
    from failwell.node.service import Node

#: Entries that are read at once.
PAGE = 1000


class ActionAnswers:
    """Answers about the actions of one node."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def told(self, key: Any) -> dict[str, Any]:
        """Everything about the action whose decision is entry `key`."""
        try:
            number = int(key)
        except (TypeError, ValueError) as error:
            raise InputError("an action is named by the number of its decision's entry") from error

        def job(turn: Turn) -> Plan[Any]:
            action = turn.state.action.get(number) or _stored(turn, "action", number)
            row = turn.state.compensation.get(number) or _stored(turn, "compensation", number)
            step = (
                None if action is None or action.undo is None else undoing.step_of(turn.state, action.undo, action.tool)
            )
            may = action is not None and action.ended is not None and action.state in undoing.STARTED
            if row is not None:
                may = may and (undoing.again(turn.state, row) or (row.state == "owed" and row.waits))
            found = action, row, step, may and step is not None
            return Plan((), lambda _: found)

        action, row, step, may = await self._node.writer.submit_async(job)
        if action is None:
            raise NotFound(f"there is no action {number}", hint="An action is named by the entry of its decision.")
        return await asyncio.to_thread(self._tell, number, action, row, step, may)

    async def undoings(self, key: Any) -> list[dict[str, Any]]:
        """Undoings that have not ended, oldest first; `running` says whether the step runs now."""
        running = {each["action"] for each in self._node.duties.compensator.running()}

        def job(turn: Turn) -> Plan[Any]:
            found = sorted(turn.state.compensation.items())
            return Plan((), lambda _: found)

        return [
            {"action": seq, **msgspec.to_builtins(row), "running": seq in running}
            for seq, row in await self._node.writer.submit_async(job)
        ]

    # -- telling -----------------------------------------------------------------------------------------------

    def _tell(
        self, number: int, action: rows.Action, row: rows.Compensation | None, step: Any, may: bool
    ) -> dict[str, Any]:
        decided = self._entry(number)
        if decided is None or not isinstance(decided.body, kinds.Decision):
            raise NotFound(f"entry {number} is no decision")
        secret = self._secret(number)
        outcome = self._node.questions.recorded.outcome(number, action)
        came = {} if outcome is None else self._secret(outcome.seq)
        return {
            "action": number, "at": decided.at, "agent": action.agent,
            "name": self._node.writer.book.state.agent[action.agent].name if decided.agent else None,
            "tool": action.tool, "verdict": action.verdict, "state": action.state, "contract": decided.body.contract,
            "text": secret.get("arguments"), "salt": secret.get("salt"), "arguments": decided.body.arguments,
            "outcome": None if outcome is None else outcome.seq, "why": None if outcome is None else outcome.body.why,
            "result": came.get("result"), "unproven": self._unproven(number, action),
            "undo": None if step is None else {
                "step": step.tool, "within_us": step.within_us, "contract": action.undo,
                "declared": step.tool in self._node.settings.tools,
            },
            "undoing": None if row is None else self._undoing(row),
            "may_order": may,
            "preserved": preserved(self._node, number) if action.state in STOPPED else None,
        }  # fmt: skip

    def _undoing(self, row: rows.Compensation) -> dict[str, Any]:
        """How far the newest undoing is; `words` are the step's own."""
        ended = None if row.ended is None else self._entry(row.ended)
        words = None if row.ended is None else self._secret(row.ended).get("words")
        return {
            "state": row.state, "step": row.step, "by": row.by, "ordered": row.ordered, "waits": row.waits,
            "tries": row.tries, "ended": row.ended, "detail": None if ended is None else ended.body.detail,
            "exit_code": None if ended is None else ended.body.exit_code,
            "elapsed_us": None if ended is None else ended.body.elapsed_us, "words": words,
        }  # fmt: skip

    def _unproven(self, number: int, action: rows.Action) -> dict[str, Any] | None:
        """Of an action that could not be shown to have stopped: the newest word on that, and whether it is a proof."""
        if action.state != "interrupted_unconfirmed":
            return None
        found: dict[str, Any] | None = None
        page = self._node.storage.entries(number, PAGE)
        while page:
            for entry in map(decode_entry, (stored.data for stored in page)):
                body = entry.body
                if isinstance(body, kinds.InterruptConfirmed) and body.action == number:
                    return {"entry": entry.seq, "stopped": True, "why": body.proven_by}
                if isinstance(body, kinds.InterruptUnconfirmed) and body.action == number:
                    found = {"entry": entry.seq, "stopped": False, "why": body.why}
            page = self._node.storage.entries(page[-1].seq + 1, PAGE)
        return found

    def _entry(self, number: int) -> Entry[Any] | None:
        stored = self._node.storage.entry(number)
        return None if stored is None else decode_entry(stored.data)

    def _secret(self, number: int) -> dict[str, Any]:
        blob = self._node.storage.blob(number)
        return {} if blob is None else self._node.vault.open(blob)


def _stored(turn: Turn, table: str, key: int) -> Any:
    stored = turn.stored_row(table, key)
    return None if stored is None else rows.decode_row(table, stored)
