"""How a person is told: one message, one receipt, one error (R10).

Accepted by a mail server is not seen, and seen is not acknowledged: a receipt says only that another party
took the message over. This module sends nothing, and decides neither whom to tell nor when to try again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from failwell.core.errors import FailwellError


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """One message to one address. `message_id` (`<local@domain>`) is its idempotency key at every attempt.

    `subject` and `text` may carry what an agent wrote, so they are untrusted. `headers` are ours, and few; `link`
    is where the text can be answered.
    """

    to: str
    subject: str
    text: str
    message_id: str
    headers: Mapping[str, str] = field(default_factory=dict)
    link: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One page to a channel that is not a person's own. `key` is its idempotency key at every attempt.

    `action`: trigger (somebody is asked), acknowledge (somebody took it) or resolve (there is nothing to take any
    more); all three of one incident bear the same `thread`. `subject` and `text` may carry what an agent wrote, so they
    are untrusted. `link` is where it can be taken, None where no door is reached from outside.
    """

    key: str
    thread: str
    action: Literal["trigger", "acknowledge", "resolve"]
    subject: str
    text: str
    severity: str
    incident: int | None
    agent: str
    persons: tuple[str, ...]
    origin: str
    checkpoint: str
    at_us: int
    link: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What the next party said when it took the message over; `at` is RFC 3339 UTC."""

    accepted: bool
    detail: str
    at: str


class NotifyFailed(FailwellError):
    """The message was not taken over, or it is not known that it was.

    `temporary`: the same attempt may succeed later, and not before `retry_after_s` where the other side said so.
    Otherwise something must be mended first, and the next channel or person is due now.
    """

    code = "notify-failed"

    def __init__(
        self, message: str, *, temporary: bool, hint: str | None = None, retry_after_s: int | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.temporary = temporary
        self.retry_after_s = retry_after_s


class Channel(Protocol):
    """A way to people that is not a person's own address. `provider` is who takes it over."""

    @property
    def provider(self) -> str: ...

    def tell(self, message: Message) -> Receipt:
        """Hand one message over and return the receipt; raises NotifyFailed, InputError if malformed."""
        ...


class Notifier(Protocol):
    def send(self, mail: Mail) -> Receipt:
        """Hand one message over and return the receipt; raises NotifyFailed, InputError if malformed."""
        ...
