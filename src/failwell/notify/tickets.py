"""What the ticket systems have in common: who we are to them, one ticket for an incident, one note for what follows.

INVARIANT: before a ticket is made it is looked for under the incident's own key. Attack: a node that is killed after
its ticket was made and before that is on record makes a second one.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any, Final, NoReturn

from failwell.core.instants import format_at
from failwell.notify.message import clean_line, clean_text
from failwell.notify.pinned import Answer, Endpoint, expect
from failwell.ports.notifier import NotifyFailed
from failwell.ports.systems import Happening

MAX_TITLE: Final = 160
MAX_TEXT: Final = 8_000


class Desk:
    """A ticket system that is asked over HTTP. `secret` reads `USER:PASSWORD`, or a token, anew for each question."""

    def __init__(self, endpoint: Endpoint, secret: Callable[[], str], name: str) -> None:
        self._endpoint = endpoint
        self._secret = secret
        self.provider = f"{name} at {endpoint.where}"

    def ask(self, method: str, under: str, body: Any = None) -> Answer:
        """Its answer, whatever it is. NotifyFailed where there is none."""
        secret = self._secret().strip()
        user = ":" in secret
        word = base64.b64encode(secret.encode()).decode() if user else secret
        if not word.isascii() or not word.isprintable():
            raise NotifyFailed("the secret of this feed is no USER:PASSWORD and no token", temporary=False)
        headers = {
            "Accept": "application/json", "Content-Type": "application/json", "User-Agent": "failwell",
            "Authorization": f"{'Basic' if user else 'Bearer'} {word}",
        }  # fmt: skip
        data = b"" if body is None else json.dumps(body, ensure_ascii=True, separators=(",", ":")).encode()
        return self._endpoint.ask(method, data, headers, under=under)

    def told(self, answer: Answer, *good: int) -> Any:
        """The JSON of an answer that is as it should be; NotifyFailed for another, also for one that says yes in words
        that this system does not use.
        """
        expect(answer, self.provider, lambda each: each.status in good)
        try:
            return json.loads(answer.body)
        except ValueError:
            self.strange(answer)

    def strange(self, answer: Answer) -> NoReturn:
        """It answered, and not as it does."""
        raise NotifyFailed(f"{self.provider} did not answer as it does: {answer.said()}", temporary=True)


def title_of(happening: Happening) -> str:
    """The ticket's title."""
    name = clean_line(happening.agent_name, 60) or "an agent nobody knows yet"
    return clean_line(f"Incident {happening.incident}: {name}: {happening.title}", MAX_TITLE)


def text_of(happening: Happening) -> str:
    """What one happening says, for a description or a note: what it was, where it stands, by what it is proven."""
    said = clean_text(f"{happening.what}: {happening.detail}".removesuffix(": "))
    lines = [
        f"{format_at(happening.at_us)}  {said}",
        f"Severity {happening.severity}, {happening.state}.",
        "",
        f"Entry {happening.seq} of {happening.origin}, leaf {happening.leaf}",
        f"More: failwell incident show {happening.incident}. What is done to this ticket changes nothing there.",
    ]
    if happening.checkpoint:
        lines += ["", "Checkpoint:", happening.checkpoint.strip()]
    return clean_text("\n".join(lines))[:MAX_TEXT]
