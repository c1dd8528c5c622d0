"""Pages in the record: each attempt is the next of its page, and none is given up while somebody is still to be told.

Attack: whoever keeps the log writes that a page was given up, and nobody asks why an owner never heard of a case.
"""

from __future__ import annotations

from typing import Any

from failwell.core import kinds
from failwell.core.escalation.paging import over
from failwell.core.records import Entry
from failwell.core.state import State


class PagesAsTried:
    """What an attempt says of its page, held against the page as it stood."""

    code = "page.tried"

    def fault(self, entry: Entry[Any], state: State) -> str | None:
        body = entry.body
        if not isinstance(body, kinds.PageAttempted2) or body.page not in state.page:
            return None  # earlier releases said less; what is not queued the fold finds
        row = state.page[body.page]
        if body.attempt != row.attempts + 1:
            return f"attempt {body.attempt} of page {body.page} stands behind {row.attempts}"
        if body.accepted:
            again = body.next_due_us is not None or body.permanent
            return f"page {body.page} was taken over, and is tried again" if again else None
        if body.next_due_us is None and row.ticket is None and not over(state, row):
            return f"page {body.page} is given up, and {row.person} is still to be told"
        return None
