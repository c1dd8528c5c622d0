"""Which letter a page becomes: of an incident, of a stop, of an agent without an owner, of an action that waits,
of who is on call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from failwell.core.errors import NotFound
from failwell.core.escalation.proofs import PROOF, PROVEN, key_of
from failwell.core.escalation.teams import COVER, ON_CALL
from failwell.core.instants import parse_at
from failwell.core.records import decode_entry
from failwell.core.rows import Page
from failwell.core.stops import agents_in, scope_of
from failwell.response import escalation_told
from failwell.response.asked_before import asked_lines
from failwell.response.case_letters import case_letter
from failwell.response.digests import digest_letter
from failwell.response.letters import Letter, notice_letter, stop_letter, ticket_letter
from failwell.response.proofs import proof_letter, proven_letter
from failwell.response.team_letters import team_letter

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
    if page.about.startswith((ON_CALL, COVER)):
        told: Letter = _in_turn(node.questions.look(lambda state: team_letter(state, page, state.last_at_us, seal)))
        return told
    if page.about == PROOF:
        carries = state.channel[key_of(page.channel, page.person)].page
        return proof_letter(page.person, page.channel, node.answering.keys.code(carries), seal)
    if page.about == PROVEN:
        return proven_letter(page.person, page.channel, seal)
    if page.digest is not None:
        return _digest(node, page.digest, seal)
    if page.incident is None:
        return notice_letter(state.agent[page.agent or ""].name, page.why, state.reachable(page.person), seal)
    account = _in_turn(node.questions.incidents.account(page.incident))
    return case_letter(account, page, seal, _asked(node, page.incident, page.person))


def _asked(node: Node, incident: int, person: str) -> list[str]:
    """Who was asked about it beside `person`, and who is next."""
    seen = _in_turn(node.questions.look(lambda state: escalation_told.look(state, incident)))
    return asked_lines(escalation_told.told(incident, seen), person)


def _in_turn(asked: Coroutine[Any, Any, Any]) -> Any:
    """What the writer's turn answers: it may change meanwhile what is read here.

    In a loop of its own, never in the node's: a node that stops has ended its loop while letters are still written, and
    a letter that waited for it held up the end of the node for half a minute.
    """
    return asyncio.run(asked)


def _digest(node: Node, number: int, seal: bytes) -> Letter:
    """The letter of a digest, as its entry tells it."""
    state = node.writer.book.state
    stored = node.storage.entry(state.digest[number].made)
    entry = None if stored is None else decode_entry(stored.data)
    if entry is None:
        raise NotFound(f"digest {number} is not stored yet")
    names = {agent: state.agent[agent].name for agent, _, _ in entry.body.counts if agent in state.agent}
    return digest_letter(entry.body, names, parse_at(entry.at), seal)
