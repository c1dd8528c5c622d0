"""How a person is told: one message, one receipt, one error (R10).

Accepted by a mail server is not seen, and seen is not acknowledged: a receipt says only that another party
took the message over. This module sends nothing, and decides neither whom to tell nor when to try again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from failwell.core.errors import FailwellError


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """One message to one address. `message_id` (`<local@domain>`) is its idempotency key at every attempt.

    `subject` and `text` may carry what an agent wrote, so they are untrusted. `headers` are ours, and few.
    """

    to: str
    subject: str
    text: str
    message_id: str
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What the next party said when it took the message over; `at` is RFC 3339 UTC."""

    accepted: bool
    detail: str
    at: str


class NotifyFailed(FailwellError):
    """The message was not taken over, or it is not known that it was.

    `temporary`: the same attempt may succeed later. Otherwise something must be mended first, and the next
    channel or person is due now.
    """

    code = "notify-failed"

    def __init__(self, message: str, *, temporary: bool, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.temporary = temporary


class Notifier(Protocol):
    def send(self, mail: Mail) -> Receipt:
        """Hand one message over and return the receipt; raises NotifyFailed, InputError if malformed."""
        ...
