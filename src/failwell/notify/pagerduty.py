"""Pages to PagerDuty by its Events API v2: trigger, acknowledge and resolve under one deduplication key an incident.

Only its own answer counts: 202 with `success` and our key. Source: developer.pagerduty.com, "Send an Alert Event".
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

from failwell.core.instants import format_at
from failwell.notify.message import clean_line, clean_text
from failwell.notify.pinned import Answer, Endpoint, expect
from failwell.ports.clock import Clock
from failwell.ports.notifier import Message, Receipt

URL: Final = "https://events.pagerduty.com/v2/enqueue"
_SEVERITY: Final = {"critical": "critical", "major": "error", "minor": "warning"}
MAX_SUMMARY: Final = 1024
MAX_TEXT: Final = 20_000


class PagerDuty:
    """`routing_key` reads the integration's key, which stands in no entry and in no message of an error."""

    def __init__(self, endpoint: Endpoint, clock: Clock, routing_key: Callable[[], str]) -> None:
        self._endpoint = endpoint
        self._clock = clock
        self._routing_key = routing_key

    @property
    def provider(self) -> str:
        """Who takes it over."""
        return f"PagerDuty at {self._endpoint.where}"

    def tell(self, message: Message) -> Receipt:
        """Send the event once. NotifyFailed where it was not taken."""
        event = event_of(message) | {"routing_key": self._routing_key().strip()}
        body = json.dumps(event, ensure_ascii=True, separators=(",", ":")).encode()
        headers = {"Content-Type": "application/json", "User-Agent": "failwell"}
        said = expect(self._endpoint.post(body, headers), self.provider, lambda answer: _taken(answer, message.thread))
        return Receipt(accepted=True, detail=said, at=format_at(self._clock.wall_us()))


def event_of(message: Message) -> dict[str, Any]:
    """The event, without its routing key."""
    event: dict[str, Any] = {"event_action": message.action, "dedup_key": message.thread}
    if message.action != "trigger":
        return event
    event["payload"] = {
        "summary": clean_line(message.subject, MAX_SUMMARY),
        "source": clean_line(message.agent or message.origin, 255),
        "severity": _SEVERITY.get(message.severity, "error"),
        "timestamp": format_at(message.at_us),
        "component": clean_line(message.agent, 255),
        "class": "incident",
        "custom_details": {
            "text": clean_text(message.text)[:MAX_TEXT], "persons": ", ".join(message.persons),
            "incident": message.incident, "ledger": message.origin, "checkpoint": message.checkpoint,
            "delivery": message.key,
        },
    }  # fmt: skip
    if message.link is not None:
        event["links"] = [{"href": message.link, "text": "Take it"}]
    return event


def _taken(answer: Answer, key: str) -> bool:
    if answer.status != 202:
        return False
    try:
        told = json.loads(answer.body)
    except ValueError:
        return False
    return isinstance(told, dict) and told.get("status") == "success" and told.get("dedup_key") == key
