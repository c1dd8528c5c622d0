"""The Python door: standard library and cryptography only."""

from failwell.client.answers import Denied, Escalated, Interrupted, Outcome, Permitted, Ticket, Verdict
from failwell.client.declared import digest_of
from failwell.client.gate import Gate, Run, connect
from failwell.core.errors import FailwellError as Error

__all__ = [
    "Denied",
    "Error",
    "Escalated",
    "Gate",
    "Interrupted",
    "Outcome",
    "Permitted",
    "Run",
    "Ticket",
    "Verdict",
    "connect",
    "digest_of",
]
