"""Pages to a webhook, signed after Standard Webhooks 1.0: Ed25519 (`v1a`), and HMAC-SHA256 (`v1`) with a shared key.

The id is the page's key at every attempt, by which a receiver tells a repetition.
Source: standard-webhooks/standard-webhooks, spec/standard-webhooks.md.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Callable
from typing import Any, Final

from failwell.core.errors import InputError
from failwell.core.instants import format_at
from failwell.notify.pinned import Answer, Endpoint, expect
from failwell.ports.clock import Clock
from failwell.ports.notifier import Message, NotifyFailed, Receipt

PUBLIC_PREFIX: Final = "whpk_"
SHARED_PREFIX: Final = "whsec_"

_KEY: Final = re.compile(r"[A-Za-z0-9_-]{1,200}")

#: Ed25519 over these bytes, 64 of them.
Sign = Callable[[bytes], bytes]


class Webhook:
    """`sign` is the workspace's own Ed25519 key; `shared` the secret of `v1`, None where none is agreed on."""

    def __init__(self, endpoint: Endpoint, clock: Clock, sign: Sign, shared: Callable[[], str] | None = None) -> None:
        self._endpoint = endpoint
        self._clock = clock
        self._sign = sign
        self._shared = shared

    @property
    def provider(self) -> str:
        """Who takes it over."""
        return self._endpoint.where

    def tell(self, message: Message) -> Receipt:
        """Post it once. NotifyFailed where it was not taken."""
        said = self.post(message.key, payload(message))
        return Receipt(accepted=True, detail=said, at=format_at(self._clock.wall_us()))

    def post(self, key: str, content: dict[str, Any]) -> str:
        """Post `content` once, signed; what the other side said. NotifyFailed where it was not taken."""
        if not _KEY.fullmatch(key):  # it is signed with dots round it
            raise InputError(f"{key[:80]!r} is no key of a message: letters, digits, _ and -")
        body = json.dumps(content, ensure_ascii=True, separators=(",", ":")).encode()
        at_s = self._clock.wall_us() // 1_000_000
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "failwell",
            "webhook-id": key,
            "webhook-timestamp": str(at_s),
            "webhook-signature": self.signatures(key, at_s, body),
        }
        return expect(self._endpoint.post(body, headers), self.provider, _taken)

    def signatures(self, key: str, at_s: int, body: bytes) -> str:
        """The header's value: a signature for each key, blanks between them."""
        signed = f"{key}.{at_s}.".encode() + body
        found = [f"v1a,{base64.b64encode(self._sign(signed)).decode()}"]
        if self._shared is not None:
            mac = hmac.new(_shared_key(self._shared()), signed, hashlib.sha256).digest()
            found.append(f"v1,{base64.b64encode(mac).decode()}")
        return " ".join(found)


def _shared_key(secret: str) -> bytes:
    """The bytes of `whsec_...`. NotifyFailed for another spelling, or for fewer than 24 bytes."""
    try:
        key = base64.b64decode(secret.strip().removeprefix(SHARED_PREFIX), validate=True)
    except ValueError:
        key = b""
    if not 24 <= len(key) <= 64:
        raise NotifyFailed("a webhook's shared secret is whsec_ and 24 to 64 bytes in base64", temporary=False)
    return key


def public_text(public: bytes) -> str:
    """A public key as receivers are given it."""
    return PUBLIC_PREFIX + base64.b64encode(public).decode("ascii")


def payload(message: Message) -> dict[str, Any]:
    """What a webhook is told: `type`, `timestamp` and `data`, as the specification recommends."""
    about = "notice" if message.incident is None else "incident"
    return {
        "type": f"{about}.{'paged' if message.action == 'trigger' else message.action + 'd'}",
        "timestamp": format_at(message.at_us),
        "data": {
            "origin": message.origin, "incident": message.incident, "agent": message.agent,
            "severity": message.severity, "persons": list(message.persons), "subject": message.subject,
            "text": message.text, "link": message.link, "thread": message.thread, "checkpoint": message.checkpoint,
        },
    }  # fmt: skip


def _taken(answer: Answer) -> bool:
    return 200 <= answer.status < 300
