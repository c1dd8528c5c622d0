"""Failwell: when an AI agent fails, it fails well.

gate = failwell.connect()
with gate.run(agent="refund-bot", principal="customer:8841", request=ticket) as run:
    run.call("payments.refund", order_id="A-1009", amount="49.90", reason="Parcel lost")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from failwell.core import release

__version__ = release.VERSION

__all__ = [
    "Acting", "AsyncRun", "AsyncStream", "Denied", "Erased", "Error", "Escalated", "Gate", "Interrupted", "Outcome",
    "Permitted", "Repeated", "Run", "Stream", "Ticket", "ToolFailed", "Truncated", "Unsettled", "Verdict", "connect",
    "digest_of", "transaction",
]  # fmt: skip

if TYPE_CHECKING:
    from failwell.client import (
        Acting,
        AsyncRun,
        AsyncStream,
        Denied,
        Erased,
        Error,
        Escalated,
        Gate,
        Interrupted,
        Outcome,
        Permitted,
        Repeated,
        Run,
        Stream,
        Ticket,
        ToolFailed,
        Truncated,
        Unsettled,
        Verdict,
        connect,
        digest_of,
    )
    from failwell.execute.transaction import transaction


def __getattr__(name: str) -> Any:
    """The public names, imported at first use: a supervised tool's process must start without the client."""
    if name == "transaction":  # within a tool's process, which needs nothing else
        from failwell.execute.transaction import transaction

        return transaction
    if name in __all__:
        from failwell import client

        return getattr(client, name)
    raise AttributeError(f"module 'failwell' has no attribute {name!r}")
