"""Pages to Slack by an incoming webhook, whose URL is a secret. Only `200 ok` counts.

Text is plain text: what an agent wrote mentions nobody, links nothing and formats nothing.
Source: docs.slack.dev, "Sending messages using incoming webhooks", "Formatting message text".
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

MAX_TEXT: Final = 2_900
_SAID: Final = {"acknowledge": "Taken", "resolve": "Over"}


class Slack:
    """`endpoint` reads the URL anew, as secrets are."""

    def __init__(self, endpoint: Callable[[], Endpoint], clock: Clock) -> None:
        self._endpoint = endpoint
        self._clock = clock

    @property
    def provider(self) -> str:
        """Who takes it over."""
        return "Slack"

    def tell(self, message: Message) -> Receipt:
        """Post it once. NotifyFailed where it was not taken."""
        body = json.dumps(post_of(message), ensure_ascii=True, separators=(",", ":")).encode()
        headers = {"Content-Type": "application/json", "User-Agent": "failwell"}
        said = expect(self._endpoint().post(body, headers), "Slack", _taken)
        return Receipt(accepted=True, detail=said, at=format_at(self._clock.wall_us()))


def post_of(message: Message) -> dict[str, Any]:
    """The message: its subject, and below it its text as plain text."""
    subject = clean_line(message.subject, 150)
    if message.action != "trigger":
        subject = f"{_SAID[message.action]}: {subject}"
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": {"type": "plain_text", "text": subject, "emoji": False}},
        {"type": "section", "text": {"type": "plain_text", "text": _shown(message.text), "emoji": False}},
    ]
    if message.link is not None and message.action == "trigger":
        button = {"type": "button", "text": {"type": "plain_text", "text": "Open"}, "url": message.link}
        blocks.append({"type": "actions", "elements": [button]})
    return {"text": _escaped(subject), "blocks": blocks, "mrkdwn": False, "unfurl_links": False, "unfurl_media": False}


def _shown(text: str) -> str:
    shown = clean_text(text).strip() or "-"
    return shown if len(shown) <= MAX_TEXT else shown[: MAX_TEXT - 3] + "..."


def _escaped(text: str) -> str:
    """As Slack has it: & < > are its own. Attack: <!channel>, <https://evil|here>."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _taken(answer: Answer) -> bool:
    return answer.status == 200 and answer.body.strip() == b"ok"
