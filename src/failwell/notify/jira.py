"""Incidents to Jira by its REST API 2, which its cloud and its own servers both speak: an issue for each, and a comment
for all that follows. Its status is theirs: it is neither set nor read.

Source: developer.atlassian.com, "Jira Cloud REST API v2" (issues, issue search, issue comments).
"""

from __future__ import annotations

import re
from typing import Any, Final

from failwell.core.escalation.feeds import THEIRS
from failwell.notify.pinned import Answer
from failwell.notify.tickets import Desk, text_of, title_of
from failwell.ports.systems import Happening

API: Final = "/rest/api/2"
_MACRO: Final = re.compile(r"\{(?=\s*noformat)|\[(?=\s*~)", re.IGNORECASE)
#: There is no such page: of the two searches, each sort of Jira has one.
_GONE: Final = (404, 405, 410)


class Jira:
    """`project` is a key like OPS, `sort` the name of the type of its issues."""

    tickets = True

    def __init__(self, desk: Desk, project: str, sort: str) -> None:
        self._desk = desk
        self._project = project
        self._sort = sort

    @property
    def provider(self) -> str:
        """Who takes it over."""
        return self._desk.provider

    def take(self, happening: Happening, theirs: str | None) -> str | None:
        """Make the issue, or comment on it. NotifyFailed."""
        known = theirs if theirs is not None else self._found(happening.thread)
        if known is not None:
            if self._noted(known, happening):
                return known
            known = self._found(happening.thread)  # moved or deleted there
            if known is not None and self._noted(known, happening):
                return known
        fields = {
            "project": {"key": self._project}, "issuetype": {"name": self._sort}, "summary": title_of(happening),
            "description": quoted(text_of(happening)), "labels": ["failwell", happening.thread],
        }  # fmt: skip
        answer = self._desk.ask("POST", f"{API}/issue", {"fields": fields})
        return self._named(answer, self._desk.told(answer, 201))

    def probe(self) -> str:
        """Ask whether the project is there."""
        answer = self._desk.ask("GET", f"{API}/project/{self._project}")
        told = self._desk.told(answer, 200)
        if not isinstance(told, dict) or told.get("key") != self._project:
            self._desk.strange(answer)
        return f"{answer.status}, project {self._project} is there"

    def _noted(self, issue: str, happening: Happening) -> bool:
        """Whether the issue was there to be commented on."""
        answer = self._desk.ask("POST", f"{API}/issue/{issue}/comment", {"body": quoted(text_of(happening))})
        if answer.status == 404:
            return False
        told = self._desk.told(answer, 201)
        if not isinstance(told, dict) or "id" not in told:
            self._desk.strange(answer)
        return True

    def _found(self, thread: str) -> str | None:
        asked = {"jql": f'project = "{self._project}" AND labels = "{thread}"', "maxResults": 1, "fields": ["key"]}
        answer = self._desk.ask("POST", f"{API}/search/jql", asked)
        if answer.status in _GONE:
            answer = self._desk.ask("POST", f"{API}/search", asked)
        told = self._desk.told(answer, 200)
        issues = told.get("issues") if isinstance(told, dict) else None
        if not isinstance(issues, list):
            self._desk.strange(answer)
        return self._named(answer, issues[0]) if issues else None

    def _named(self, answer: Answer, issue: Any) -> str:
        name = issue.get("key") if isinstance(issue, dict) else None
        if not isinstance(name, str) or not THEIRS.fullmatch(name):
            self._desk.strange(answer)
        return name


def quoted(text: str) -> str:
    """Text that is shown as it is. Attack: what an agent wrote ends the quotation, and mentions a person or draws."""
    inner = _MACRO.sub(lambda found: f"{found[0]} ", text)
    return f"{{noformat}}\n{inner}\n{{noformat}}"
