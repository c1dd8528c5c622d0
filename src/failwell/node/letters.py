"""Which letter a page becomes: of an incident, of a stop, of an agent without an owner, of an action that waits."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from failwell.core.rows import Page
from failwell.core.stops import agents_in, scope_of
from failwell.response.case_letters import case_letter
from failwell.response.letters import Letter, notice_letter, stop_letter, ticket_letter

if TYPE_CHECKING:
    from failwell.node.service import Node


def write_letter(node: Node, page: Page) -> Letter:
    """The letter of a page, with the newest checkpoint in it: never waited for, the letter says what it covers.

    Called in the outbox's threads. KeyError where the ticket that it is about has ended meanwhile.
    """
    newest = node.writer.seals.newest
    seal = b"" if newest is None else newest.note
    state = node.writer.book.state
    if page.ticket is not None:
        row = state.ticket[page.ticket]
        return ticket_letter(page.ticket, state.agent[row.agent].name, row, seal)
    scope = scope_of(page)
    if scope is not None:
        return stop_letter(scope, state.stop[scope], len(agents_in(state, scope)), seal)
    if page.incident is None:
        return notice_letter(state.agent[page.agent or ""].name, page.why, state.reachable(page.person), seal)
    future = asyncio.run_coroutine_threadsafe(node.questions.incidents.account(page.incident), node.loop)
    return case_letter(future.result(timeout=30), page, seal)
