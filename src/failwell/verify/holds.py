"""Holds against their rules: who placed and who lifted, what was preserved, and what passed before its time (I5, R9).

What a hold describes, and whom it asks, follows by rule and is held there. That the copies of directories are still
what they were, no entry shows: their files are looked at beside the ledger (`copy_faults`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from failwell.core import kinds, orders, rows
from failwell.core.incidents import apart
from failwell.core.incidents.endings import is_over
from failwell.core.incidents.holding import ACTOR
from failwell.core.incidents.locking import passed_untold
from failwell.core.instants import parse_at
from failwell.core.records import Body, Entry
from failwell.core.state import State
from failwell.verify.finding import BOUND, Findings

#: What is wrong with the copy of a directory that has this digest, in words; None where it is what it was.
LookAt = Callable[[str], str | None]
#: Which orders must stand before an entry of a kind. Of `hold.placed` only what a person placed: see `Holds`.
NEEDED: dict[type[Body], tuple[frozenset[str], ...]] = {
    kinds.HoldProposed: (frozenset({"hold.propose"}),),
    kinds.HoldLifted: (frozenset({"hold.lift"}),),
    kinds.AuthorityInformed: (frozenset({"incident.inform"}),),
}


class Holds:
    """See `verify.conduct.Rule`: takes the entries in order, each before it is folded."""

    code = "hold"

    def __init__(self) -> None:
        self._at = ""
        #: The orders to hold something of the commit that the entry is in, each with its entry.
        self._placing: list[tuple[int, orders.Order[Any]]] = []
        #: The text of the settings in force.
        self._settings: str | None = None

    def fault(self, entry: Entry[Any], state: State) -> str | None:
        """What is wrong with an entry; None if nothing."""
        body = entry.body
        if entry.at != self._at:
            self._at, self._placing = entry.at, []
        if isinstance(body, kinds.Order):
            if body.order == "hold.place":
                self._placing.append((entry.seq, orders.parse_order(body.text)))
            return None
        wrong = passed_untold(entry, state, self._settings)
        if isinstance(body, kinds.Config):
            self._settings = body.text
        elif isinstance(body, kinds.HoldPlaced):
            wrong = wrong or self._placed(entry, body, state)
        elif isinstance(body, kinds.HoldDescribed | kinds.PreservationAsked):
            wrong = None if entry.actor == ACTOR else "it is another's word than the rules'"
        elif isinstance(body, kinds.DirectoryPreserved):
            wrong = _preserved(entry, body, state.hold.get(body.hold))
        return wrong

    def _placed(self, entry: Entry[Any], body: kinds.HoldPlaced, state: State) -> str | None:
        """Attack: a hold that nobody placed and no rule asked for, to keep what was to be erased; or one too short."""
        if entry.actor == ACTOR:
            return None  # held against the reactions
        for seq, order in self._placing:
            details = order.details
            about = None if details.agent is None else state.agent_named(details.agent)
            same = (about, details.incident, details.reason) == (entry.agent, body.incident, body.why)
            if same and (f"person:{order.person}", 0, seq) == (entry.actor, body.first, body.last):
                return None
        return "no rule placed this hold, and no order in its commit did"


def _preserved(entry: Entry[Any], body: kinds.DirectoryPreserved, hold: rows.Hold | None) -> str | None:
    if hold is None or (entry.actor, entry.agent) != ("node", hold.agent or None):
        return "it is another's word, or about another agent's hold"
    if hold.lifted is not None:
        return f"hold {body.hold} was lifted before"
    if body.complete != (body.missing is None):
        return "it says that all was taken, and what was not" if body.complete else "it does not say what is missing"
    if len({body.digest is None, body.listing is None, entry.blob is None}) != 1:
        return "copy, listing and key are not all there or all missing"
    if min(body.files, body.bytes, body.took_us) < 0 or (body.digest is None and (body.files or body.bytes)):
        return "it counts less than nothing, or what it does not hold"
    return None


# ---- what people ordered -------------------------------------------------------------------------------------


def order_fault(entry: Entry[Any], body: Any, order: orders.Order[Any], state: State) -> str | None:
    """What an entry about a hold or an authority says that its order, or the state before it, does not bear out."""
    if isinstance(body, kinds.AuthorityInformed):
        return _informed(entry, body, order, state)
    if not isinstance(body, kinds.HoldProposed | kinds.HoldLifted):
        return None
    row = state.hold.get(body.hold)
    if row is None or (body.person, body.hold) != (order.person, order.details.hold):
        return "it is not that person's order about a hold that stands"
    if entry.agent != (row.agent or None):
        return "it is about another agent than its hold"
    if row.incident is not None and not is_over(state, row.incident):
        return f"incident {row.incident}, whose evidence hold {body.hold} locks, is not over"
    if isinstance(body, kinds.HoldProposed):
        same = (body.digest, body.why) == (orders.order_digest(order), order.details.reason)
        return None if same else "it proposes another order than its own"
    return _lifted(body, order, row, state)


def _lifted(body: kinds.HoldLifted, order: orders.Order[Any], row: rows.Hold, state: State) -> str | None:
    if not row.proposal == body.digest == order.details.proposal:
        return "it is not the lift that was proposed"
    proposer, person = state.person.get(row.proposed_by or ""), state.person.get(body.person)
    if proposer is None or person is None or proposer.left is not None:
        return f"{row.proposed_by}, who proposed it, is not known or had left"
    one = row.proposed_by == body.person or proposer.key == person.key
    if not one and apart.one(state, body.person, str(row.proposed_by), apart.since_hold(state, row)):
        return f"{body.person}, who lifted it, is not shown to be another than {row.proposed_by}, who proposed it"
    return "one person, or one key, proposed it and lifted it" if one else None


def _informed(
    entry: Entry[Any], body: kinds.AuthorityInformed, order: orders.Order[Any], state: State
) -> str | None:  # fmt: skip
    """Attack: the lock is opened by a word of somebody who may not, of another incident, or of last year."""
    details, case, person = order.details, state.incident.get(body.incident), state.person.get(order.person)
    said = (details.incident, details.authority, details.at, details.complete, details.words, order.person)
    if said != (body.incident, body.authority, body.informed_at, body.complete, body.words, body.person):
        return "the incident, authority, time, words or person is not that of the order"
    if case is None or person is None or case.serious is None or entry.agent != (case.agent or None):
        return "it is about an incident that nobody marked as serious, or about another agent's"
    if (entry.blob is None) != (body.words is None):
        return (
            "it commits to words, and there are none" if entry.blob is None else "its blob is committed to by nothing"
        )
    if parse_at(body.informed_at) < case.opened_us:
        return "nothing was detected yet when it says that an authority was informed"
    agent = state.agent.get(case.agent)
    owns = agent is not None and state.reachable(agent.owner) == body.person
    return None if owns or "operator" in person.roles else f"{body.person} neither owns the agent nor is an operator"


# ---- beside the entries --------------------------------------------------------------------------------------


def copy_faults(findings: Findings, holds: Mapping[int, rows.Hold], look: LookAt) -> None:
    """Hold the copies of directories against the entries that name them."""
    for number, row in holds.items():
        for kept in row.preserved:
            if kept.digest is not None and (wrong := look(kept.digest)) is not None:
                findings.add(
                    BOUND, "hold.copy", f"entry {kept.entry}: the copy of {kept.name} for hold {number} {wrong}",
                    entry=kept.entry,
                )  # fmt: skip
