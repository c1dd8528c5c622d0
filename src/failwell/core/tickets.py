"""Tickets as the entries make them: opened, answered, used once, given back, expired; and whom they are mailed to.

An entry that uses a ticket a second time, after its time or for another action does not fold: such an entry must never
be stored. Part of `core.folds`, which enters these with all others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from failwell.core import kinds, rows
from failwell.core.errors import Corrupt
from failwell.core.machines import TICKET
from failwell.core.projections import Projections
from failwell.core.records import Entry

replace = msgspec.structs.replace

_ANSWERS = ("approved", "denied")


def _opened(state: Projections, entry: Entry[Any], body: kinds.TicketOpened, at_us: int) -> None:
    if body.ticket in state.ticket or not body.ticket < entry.seq:
        raise Corrupt(f"entry {entry.seq} opens ticket {body.ticket} a second time, or of a later decision")
    run = None if entry.run is None else state.run.get(entry.run)
    row = rows.Ticket(
        agent=str(entry.agent), run=entry.run, principal=None if run is None else run.principal,
        principal_provenance="absent" if run is None else run.principal_provenance,
        chain=() if run is None else run.chain, tool=body.tool, arguments=body.arguments, clauses=body.clauses,
        asked=body.asked, state="open", expires_us=body.expires_us, opened=entry.seq, person=None, used_by=None,
        ended=False,
    )  # fmt: skip
    state.put("ticket", body.ticket, row)


def _decided(state: Projections, entry: Entry[Any], body: kinds.TicketDecided, at_us: int) -> None:
    row = _step(state, entry, body.ticket, body.answer)
    if body.answer not in _ANSWERS:
        raise Corrupt(f"entry {entry.seq} answers a ticket with {body.answer!r}")
    if body.answer == "denied":
        _end(state, body.ticket, replace(row, state="denied", person=body.person))
        return
    if at_us >= row.expires_us or body.expires_us <= at_us:
        raise Corrupt(f"entry {entry.seq} approves ticket {body.ticket} after its time")
    state.put("ticket", body.ticket, replace(row, state="approved", person=body.person, expires_us=body.expires_us))


def _expired(state: Projections, entry: Entry[Any], body: kinds.TicketExpired, at_us: int) -> None:
    row = _step(state, entry, body.ticket, "expired")
    if at_us < row.expires_us or body.was != row.state:
        raise Corrupt(f"entry {entry.seq} lets ticket {body.ticket} expire before its time, or from another state")
    _end(state, body.ticket, replace(row, state="expired"))


def used(state: Projections, entry: Entry[Any], body: kinds.Decision, at_us: int) -> None:
    """An allowed decision uses up the ticket that it names."""
    if not isinstance(body, kinds.Decision2) or body.ticket is None:
        return
    row = _step(state, entry, body.ticket, "used")
    run = None if entry.run is None else state.run.get(entry.run)
    # The decision commits to its arguments under the ticket's own salt: the same digest is the same arguments.
    same = (row.agent, row.tool, row.arguments, row.principal, row.principal_provenance, row.chain) == (
        entry.agent, body.tool, body.arguments, body.principal, body.principal_provenance,
        () if run is None else run.chain,
    )  # fmt: skip
    if not same or body.verdict != "ALLOW" or at_us >= row.expires_us:
        raise Corrupt(f"entry {entry.seq} uses ticket {body.ticket}, which is not good for it")
    state.put("ticket", body.ticket, replace(row, state="used", used_by=entry.seq))


def settled(state: Projections, action: rows.Action, outcome: str) -> None:
    """The action that used a ticket has ended: one that was proved not to have started gives it back (D6)."""
    row = None if action.ticket is None else state.ticket.get(action.ticket)
    if row is None or action.ticket is None:
        return
    if outcome == "blocked":
        state.put("ticket", action.ticket, replace(row, state="approved", used_by=None))
    else:
        _end(state, action.ticket, row)


class _Settings(msgspec.Struct):
    mail: Any = None


def mails(settings: str) -> bool:
    """Whether these settings (their canonical text) say how mail goes out."""
    try:
        return isinstance(msgspec.json.decode(settings, type=_Settings).mail, dict)
    except msgspec.MsgspecError:
        return False


def _step(state: Projections, entry: Entry[Any], ticket: int, now: str) -> rows.Ticket:
    row = state.ticket.get(ticket)
    if row is None or entry.agent != row.agent:
        raise Corrupt(f"entry {entry.seq} speaks of ticket {ticket}, which this agent has not or no longer")
    if now not in TICKET[row.state]:
        raise Corrupt(f"entry {entry.seq} takes ticket {ticket} from {row.state} to {now}")
    return row


def _end(state: Projections, ticket: int, row: rows.Ticket) -> None:
    state.put("ticket", ticket, replace(row, ended=True))
    state.forget("ticket", ticket)


FOLDS: dict[type, Callable[[Projections, Entry[Any], Any, int], None]] = {
    kinds.TicketOpened: _opened,
    kinds.TicketDecided: _decided,
    kinds.TicketExpired: _expired,
}
