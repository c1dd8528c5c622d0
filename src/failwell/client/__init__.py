"""The Python door: standard library and cryptography only."""

from failwell.client.answers import (
    Denied,
    Erased,
    Escalated,
    Interrupted,
    Outcome,
    Permitted,
    Repeated,
    Ticket,
    ToolFailed,
    Truncated,
    Unsettled,
    Verdict,
)
from failwell.client.awaited import AsyncRun
from failwell.client.connecting import connect
from failwell.client.declared import digest_of
from failwell.client.gate import Gate
from failwell.client.run import Run
from failwell.client.stopped import Acting
from failwell.client.streams import AsyncStream, Stream
from failwell.core.errors import FailwellError as Error

__all__ = [
    "Acting",
    "AsyncRun",
    "AsyncStream",
    "Denied",
    "Erased",
    "Error",
    "Escalated",
    "Gate",
    "Interrupted",
    "Outcome",
    "Permitted",
    "Repeated",
    "Run",
    "Stream",
    "Ticket",
    "ToolFailed",
    "Truncated",
    "Unsettled",
    "Verdict",
    "connect",
    "digest_of",
]
