"""What is told of one incident: its account, and the parts that others add to it (`response/parts.py`)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from failwell.core import kinds, rows
from failwell.core.errors import InputError, NotFound
from failwell.core.escalation.due import ASKING
from failwell.core.incidents.objectives import Due, agreed
from failwell.core.records import Entry
from failwell.core.state import State
from failwell.response import standing
from failwell.response.account import Account, account
from failwell.response.headline import happened
from failwell.response.parts import Material, Part, all_asked, tell_parts
from failwell.response.whole import PARTS

if TYPE_CHECKING:
    from failwell.node.service import Node


class _Seen(NamedTuple):
    """What was looked at in the writer's turn."""

    row: rows.Incident
    agent: rows.Agent | None
    holds: frozenset[int]
    due: tuple[Due, ...]
    asking: bool
    parts: dict[str, Any]


class IncidentAnswers:
    """Answers about the incidents of one node."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def listed(self, key: Any) -> dict[str, dict[str, Any]]:
        """All incidents by number: each row, the agent's name and, in words, what happened; `asking`: whether people
        are asked to take it now.
        """
        asking = {
            number
            for number, stored in self._node.storage.rows("escalation")
            if rows.decode_row("escalation", stored).state == ASKING
        }
        names = {agent: rows.decode_row("agent", row).name for agent, row in self._node.storage.rows("agent")}
        found = {}
        for number, stored in self._node.storage.rows("incident"):
            row = rows.decode_row("incident", stored)
            name = names.get(row.agent, "")
            said = happened(name, row.title, row.kind)
            found[str(number)] = {
                **msgspec.to_builtins(row),
                "name": name,
                "happened": said,
                "asking": number in asking,
            }
        return found

    async def told(self, key: Any) -> dict[str, Any]:
        """Everything about incident `key`: the account, each part under its own key, and `untold`."""
        try:
            number = int(key)
        except (TypeError, ValueError) as error:
            raise InputError("an incident is named by its number", hint="failwell incident list") from error
        seen = await self._look(number, PARTS)
        return await asyncio.to_thread(self._tell_all, number, seen)

    async def account(self, number: int) -> Account:
        """The account alone, read from the ledger: what a letter is made of."""
        seen = await self._look(number, ())
        material = await asyncio.to_thread(self._material, number, seen)
        return self._tell(material, seen)

    async def _look(self, number: int, parts: tuple[Part, ...]) -> _Seen:
        def see(state: State) -> _Seen:
            row = state.incident.get(number)
            if row is None:
                raise NotFound(f"there is no incident {number}", hint="failwell incident list shows those there are.")
            holds = frozenset(hold for hold, held in state.hold.items() if held.incident == number)
            looked = {part.key: part.look(state, number) for part in parts}
            return _Seen(
                row, state.agent.get(row.agent), holds, agreed(state, number, row), _asking(state, number), looked
            )

        found: _Seen = await self._node.questions.look(see)
        return found

    def _tell_all(self, number: int, seen: _Seen) -> dict[str, Any]:
        material = self._material(number, seen)
        told, untold = tell_parts(PARTS, material, seen.parts)
        fields: dict[str, Any] = msgspec.to_builtins(self._tell(material, seen))
        about = number, material.row, material.agent
        asked = all_asked(standing.asked(*about), told, standing.asked_last(*about))
        return {**fields, **msgspec.to_builtins(told), "asked": asked, "untold": untold}

    def _tell(self, material: Material, seen: _Seen) -> Account:
        return account(
            material.number, material.row, material.agent, material.entries,
            stated_ms=self._node.settings.node.interrupt_bound_ms, reveal=material.reveal, due=seen.due,
            asking=seen.asking,
        )  # fmt: skip

    def _material(self, number: int, seen: _Seen) -> Material:
        row, questions = seen.row, self._node.questions
        first = min(row.onset_first, row.opened)
        # How it was tried to stop stands before what came of it.
        entries = _about(questions.read(max(0, first - 1)), number, row.agent, seen.holds)
        entries = self._decisions_before(first, entries) + entries
        return Material(
            number=number, row=row, agent=seen.agent, entries=entries, read=questions.read, text=self._text,
            reveal=self._revealing(entries),
        )  # fmt: skip

    def _decisions_before(self, first: int, entries: list[Entry[Any]]) -> list[Entry[Any]]:
        """The decisions of actions that were stopped but had begun before the onset."""
        stopped: set[int] = set()
        for entry in entries:
            if isinstance(entry.body, kinds.InterruptOrdered):
                stopped.update(entry.body.actions)
            elif isinstance(entry.body, kinds.InterruptUnconfirmed):
                stopped.add(entry.body.action)
        return self._node.questions.decisions(sorted(action for action in stopped if action < first))

    def _revealing(self, entries: list[Entry[Any]]) -> Callable[[str], str]:
        """From a customer's token to their name; those that no entry here names are looked up when they are asked."""
        wanted = {getattr(entry.body, "customer", None) for entry in entries} - {None}
        names = self._node.questions.names(wanted) if wanted else {}

        def reveal(token: str) -> str:
            if token not in names and token not in wanted:
                names.update(self._node.questions.names({token}))
                wanted.add(token)
            return names.get(token, token)

        return reveal

    def _text(self, seq: int) -> str | None:
        blob = self._node.storage.blob(seq)
        text = {} if blob is None else self._node.vault.open(blob)
        found = text.get("text")
        return None if found is None else str(found)


def _asking(state: State, number: int) -> bool:
    """Whether people are asked to take it now, taken before or not."""
    row = state.escalation.get(number)
    return row is not None and row.state == ASKING


def _about(entries: list[Entry[Any]], number: int, agent: str, holds: frozenset[int]) -> list[Entry[Any]]:
    """What incident `number` is told from: what names it or its holds, its agent's entries, and those of work that the
    agent handed over and that was stopped.
    """
    stopped = {
        action
        for entry in entries
        if isinstance(entry.body, kinds.InterruptOrdered) and entry.agent == agent
        for action in entry.body.actions
    }
    # What became of a page stands with its number alone where the case is nobody's yet.
    pages = {
        entry.body.page
        for entry in entries
        if isinstance(entry.body, kinds.PageQueued) and entry.body.incident == number
    }

    def told(entry: Entry[Any]) -> bool:
        body = entry.body
        return (
            (bool(agent) and entry.agent == agent)
            or entry.seq in stopped
            or getattr(body, "decision", None) in stopped
            or getattr(body, "action", None) in stopped
            or getattr(body, "incident", None) == number
            or getattr(body, "hold", None) in holds
            or (isinstance(body, kinds.PageAttempted | kinds.PageBounced | kinds.PageAnswered) and body.page in pages)
        )

    return [entry for entry in entries if told(entry)]
