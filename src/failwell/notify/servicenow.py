"""Incidents to ServiceNow by its Table API: one record for each, and a work note for all that follows.

Its state is theirs: it is neither set nor read. Source: ServiceNow, "Table API" (`/api/now/table/incident`).
"""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import quote

from failwell.core.escalation.feeds import THEIRS
from failwell.notify.pinned import Answer
from failwell.notify.tickets import Desk, text_of, title_of
from failwell.ports.systems import Happening

TABLE: Final = "/api/now/table/incident"
#: Impact and urgency, of which its priority follows.
_WEIGHT: Final = {"critical": "1", "major": "2", "minor": "3"}
_CODE: Final = re.compile(r"\[(?=\s*/?\s*code\s*\])", re.IGNORECASE)


class ServiceNow:
    """See the module."""

    tickets = True

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    @property
    def provider(self) -> str:
        """Who takes it over."""
        return self._desk.provider

    def take(self, happening: Happening, theirs: str | None) -> str | None:
        """Make the record, or add a note to it. NotifyFailed."""
        weight = _WEIGHT.get(happening.severity, "2")
        fields = {"impact": weight, "urgency": weight}
        known = theirs if theirs is not None else self._found(happening.thread)
        if known is not None:
            note = {**fields, "work_notes": inert(text_of(happening))}
            answer = self._desk.ask("PATCH", f"{TABLE}/{known}?sysparm_fields=sys_id", note)
            if answer.status != 404:
                return self._name(answer, 200)
            # It is not there any more: it is told anew, once it is sure that none stands under our key.
            known = self._found(happening.thread)
            if known is not None:
                return self._name(self._desk.ask("PATCH", f"{TABLE}/{known}?sysparm_fields=sys_id", note), 200)
        made = {
            **fields, "short_description": inert(title_of(happening)), "description": inert(text_of(happening)),
            "correlation_id": happening.thread, "correlation_display": "Failwell",
        }  # fmt: skip
        return self._name(self._desk.ask("POST", f"{TABLE}?sysparm_fields=sys_id", made), 201)

    def probe(self) -> str:
        """Ask whether the table may be read."""
        answer = self._desk.ask("GET", f"{TABLE}?sysparm_limit=1&sysparm_fields=sys_id")
        self._rows(answer)
        return f"{answer.status}, its incidents can be read"

    def _found(self, thread: str) -> str | None:
        query = quote(f"correlation_id={thread}", safe="")
        answer = self._desk.ask("GET", f"{TABLE}?sysparm_query={query}&sysparm_fields=sys_id&sysparm_limit=1")
        rows = self._rows(answer)
        return self._named(answer, rows[0]) if rows else None

    def _rows(self, answer: Answer) -> list[Any]:
        told = self._desk.told(answer, 200)
        rows = told.get("result") if isinstance(told, dict) else None
        if not isinstance(rows, list):
            self._desk.strange(answer)
        return rows

    def _name(self, answer: Answer, good: int) -> str:
        told = self._desk.told(answer, good)
        return self._named(answer, told.get("result") if isinstance(told, dict) else None)

    def _named(self, answer: Answer, row: Any) -> str:
        name = row.get("sys_id") if isinstance(row, dict) else None
        if not isinstance(name, str) or not THEIRS.fullmatch(name):
            self._desk.strange(answer)
        return name


def inert(text: str) -> str:
    """Attack: `[code]<img src=x>[/code]`, which its journals show as HTML."""
    return _CODE.sub("[ ", text)
