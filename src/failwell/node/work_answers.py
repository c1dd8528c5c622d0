"""What is told of the work that an incident left, with what each run was asked to do (`response.unfinished_work`)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from failwell.core.errors import InputError, NotFound
from failwell.core.state import State
from failwell.response import unfinished_work
from failwell.response.unfinished_work import Seen

if TYPE_CHECKING:
    from failwell.node.service import Node


class WorkAnswers:
    """Answers about unfinished work of one node."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def told(self, key: Any) -> dict[str, Any]:
        """The runs that incident `key` left. What they were asked is for who takes them: it may be personal."""
        if not isinstance(key, int) or isinstance(key, bool):
            raise InputError("an incident is named by its number", hint="failwell incident list")

        def see(state: State) -> Seen:
            if key not in state.incident:
                raise NotFound(f"there is no incident {key}", hint="failwell incident list shows those there are.")
            return unfinished_work.look(state, key)

        seen: Seen = await self._node.questions.look(see)
        return await asyncio.to_thread(self._tell, key, seen)

    def _tell(self, number: int, seen: Seen) -> dict[str, Any]:
        questions = self._node.questions
        entries = questions.read(min(seen.work)) if seen.work else []
        opened = {entry.seq: entry for entry in entries if entry.seq in seen.work}
        wanted = {getattr(entry.body, "principal", None) for entry in opened.values()} - {None}
        names = questions.names(wanted) if wanted else {}
        told = unfinished_work.told(number, seen, entries, lambda token: names.get(token, token))
        fields: dict[str, Any] = msgspec.to_builtins(told)
        return {**fields, "runs": [{**run, "request": self._request(run["run"])} for run in fields["runs"]]}

    def _request(self, run: int) -> str | None:
        """What the run was opened for, of itself or of the run that it came from; None where nobody said, or erased."""
        seen: set[int] = set()
        while run not in seen:
            seen.add(run)
            blob = self._node.storage.blob(run)
            found = None if blob is None else self._node.vault.open(blob).get("request")
            if found is not None:
                return str(found)
            row = self._node.questions.decisions([run])
            parent = getattr(row[0].body, "parent", None) if row else None
            if parent is None:
                return None
            run = parent
        return None
