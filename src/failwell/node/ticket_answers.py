"""What is told about tickets: how one stands, and the evidence that a person sees before they answer (R20).

The evidence is what the action would do, on whose behalf and because of what, and what spoke: never what a machine
would answer. Arguments come in clear with the salt of their commitment, so that whoever signs can hold what they saw
against the digest that they sign.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from failwell.core import kinds, rows
from failwell.core.errors import InputError, NotFound
from failwell.core.fact_keys import name_of
from failwell.core.instants import format_at
from failwell.core.records import Entry, decode_entry
from failwell.gate.tickets import find_ticket, state_of
from failwell.ledger.jobs import Plan, Turn

if TYPE_CHECKING:
    from failwell.node.service import Node

#: How far a request is looked for along runs that were handed over.
MAX_HANDED = 8


class TicketAnswers:
    """Answers about the tickets of one node."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def listed(self, key: Any) -> list[dict[str, Any]]:
        """All tickets, oldest first, or with a key only those that can still be answered or used."""
        now_us = await self._now_us()
        return await asyncio.to_thread(self._list, now_us, only_live=bool(key))

    def _list(self, now_us: int, *, only_live: bool) -> list[dict[str, Any]]:
        stored = self._node.storage.live_rows("ticket") if only_live else self._node.storage.rows("ticket")
        return [self._told(int(number), rows.decode_row("ticket", row), now_us) for number, row in stored]

    async def state(self, key: Any) -> dict[str, Any]:
        """How one ticket stands by now; nothing of what it is about."""
        number = _number(key)

        def job(turn: Turn) -> Plan[tuple[rows.Ticket | None, int]]:
            found = find_ticket(turn, number), turn.now_us
            return Plan((), lambda entries: found)

        row, now_us = await self._node.writer.submit_async(job)
        if row is None:
            raise NotFound(f"there is no ticket {number}", hint="failwell ticket list --all")
        return self._told(number, row, now_us)

    async def evidence(self, key: Any) -> dict[str, Any]:
        """Everything that a person needs to answer a ticket."""
        return await asyncio.to_thread(self._tell, await self.state(key))

    def _tell(self, told: dict[str, Any]) -> dict[str, Any]:
        number: int = told["ticket"]
        entry = self._entry(number)
        if entry is None or not isinstance(entry.body, kinds.Decision2):
            raise NotFound(f"entry {number} is no decision that asks anybody")
        body = entry.body
        secret = self._secret(number)
        hidden = secret.get("facts", {})
        names = self._node.questions.names({body.principal, body.customer})
        return told | {
            "at": entry.at,
            "run": entry.run,
            "text": secret.get("arguments"),
            "salt": secret.get("salt"),
            "reason": secret.get("reason"),
            "reason_provenance": body.reason_provenance,
            "principal": names.get(body.principal or "", body.principal),
            "request": self._request(entry.run),
            "chain": list(body.chain),
            "contract": body.contract,
            "floors": list(body.floors),
            "facts": [
                {"name": name_of(key), "value": _plain(hidden.get(key, fact.value)), "provenance": fact.provenance}
                for key, fact in sorted(body.facts.items())
            ],
            "lookups": [
                {"fact": look.fact, "source": look.source, "state": look.state} for look in body.lookups
            ],
            "spoke": [
                {"id": clause.id, "then": clause.then, "because": secret.get("because", {}).get(clause.id)}
                for clause in body.clauses
            ],
            "limits": [{"limit": use.limit, "used": use.used, "at_most": use.at_most} for use in body.uses],
        }  # fmt: skip

    # -- where it stands ---------------------------------------------------------------------------------------

    def _told(self, number: int, row: rows.Ticket, now_us: int) -> dict[str, Any]:
        state = state_of(row, now_us)
        agent = self._node.writer.book.state.agent[row.agent]
        return {
            "ticket": number, "state": state, "agent": row.agent, "name": agent.name, "tool": row.tool,
            "clauses": list(row.clauses), "asked": list(row.asked), "arguments": row.arguments,
            "expires_at": format_at(row.expires_us), "person": row.person, "used_by": row.used_by,
            "principal_provenance": row.principal_provenance, "measured": False,
        }  # fmt: skip

    async def _now_us(self) -> int:
        def job(turn: Turn) -> Plan[int]:
            now_us = turn.now_us
            return Plan((), lambda entries: now_us)

        return await self._node.writer.submit_async(job)

    def _entry(self, number: int) -> Entry[Any] | None:
        stored = self._node.storage.entry(number)
        return None if stored is None else decode_entry(stored.data)

    def _secret(self, number: int) -> dict[str, Any]:
        blob = self._node.storage.blob(number)
        return {} if blob is None else self._node.vault.open(blob)

    def _request(self, run: int | None) -> dict[str, Any]:
        """What was asked for, and how far that is known; of work that was handed over, where it began."""
        for _ in range(MAX_HANDED):
            entry = None if run is None else self._entry(run)
            if entry is None or run is None or not isinstance(entry.body, kinds.RunOpened):
                break
            parent = getattr(entry.body, "parent", None)
            if parent is None:
                text = self._secret(run).get("request")
                return {"text": text, "provenance": entry.body.request_provenance}
            run = parent
        return {"text": None, "provenance": "absent"}


def _number(key: Any) -> int:
    try:
        return int(key)
    except (TypeError, ValueError) as error:
        raise InputError("a ticket is named by its number", hint="failwell ticket list") from error


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
