"""Answers without a person's key in the record: by the node's word, to what was sent, in time (R10).

That an answer quotes the secret that an attempt on record carried, is its person's, and is the only one of its page,
the fold holds; that it takes its incident and does nothing else, the reactions. Here stands what neither sees.
"""

from __future__ import annotations

from typing import Any

from failwell.core import kinds
from failwell.core.escalation.answered import ACTOR, GOOD_FOR_US, LINK, SERVICE
from failwell.core.instants import parse_at
from failwell.core.records import Entry
from failwell.core.state import State

_NODE = "node"
#: What failed for good is tried half an hour before its time again, once people changed the settings.
_EARLY_US = 1_800_000_000
#: What the outbox, the door and the inbox say of pages.
_WORDS = (kinds.PageAnswered, kinds.PageAttempted2, kinds.PageBounced, kinds.PageBundled)


class AnswersAsSent:
    """See `verify.conduct.Rule`: takes the entries in order, each before it is folded."""

    code = "page.answer"

    def __init__(self) -> None:
        #: When the newest attempt that carried a secret was on record, by page; until it is answered.
        self._carried: dict[int, int] = {}

    def fault(self, entry: Entry[Any], state: State) -> str | None:
        """What is wrong with what an entry says of a page; None for nothing."""
        body, at_us = entry.body, parse_at(entry.at)
        if isinstance(body, kinds.Acknowledged2) and entry.actor != ACTOR:
            # Attack: somebody is said to have it, by no answer and no order, and nobody is asked any more.
            return f"incident {body.incident} is taken by no answer that was given"
        if not isinstance(body, _WORDS):
            return None
        if entry.actor != _NODE:
            return f"{entry.actor} says what became of a page"
        if isinstance(body, kinds.PageAttempted2) and body.token is not None:
            self._carried[body.page] = at_us
        if isinstance(body, kinds.PageAnswered):
            carried_us = self._carried.pop(body.page, None)
            if body.how != SERVICE and carried_us is None:
                return f"page {body.page} was answered by what never travelled with it"
            if body.how == LINK and at_us > (carried_us or 0) + GOOD_FOR_US + _EARLY_US:
                return f"page {body.page} was answered by a link that was too old"
        return None
