"""The headers of a page's mail: by which programs show a case in one place, filters sort, and a bounce is known."""

from __future__ import annotations

import hashlib

from failwell.core.escalation.paging import URGENT
from failwell.node.posting import Due


def mail_headers(due: Due, origin: str, returned: str | None) -> dict[str, str]:
    """`returned` is what only this mail bears. None of it is an agent's: names and severities are the house's own."""
    page = due.page
    headers = {"X-Failwell-Ledger": origin}
    if page.incident is not None:
        headers |= _thread(origin, page.incident)
        headers |= {"X-Failwell-Incident": str(page.incident), "X-Failwell-Severity": due.severity}
    if page.about in URGENT and page.ticket is None and due.severity != "minor":
        headers["Importance"] = "high"  # what lets a telephone ring that is set to be quiet (RFC 4021 2.1.22)
    if returned is not None:
        headers["X-Failwell-Returned"] = returned
    return headers


def _thread(origin: str, incident: int) -> dict[str, str]:
    """The headers by which mail programs show all letters of an incident together (RFC 5322 3.6.4).

    Each reader's first letter is another one, so what all refer to is a name for the incident.
    """
    first = hashlib.sha256(f"{origin}/incident/{incident}".encode()).hexdigest()[:24]
    return {name: f"<incident-{first}@failwell.invalid>" for name in ("References", "In-Reply-To")}
