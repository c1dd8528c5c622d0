"""What people answered, and what an answer let pass: by whom, over what they saw, until when, for which rules (R20).

That a ticket is used once, in time, by the agent, tool, principal and very arguments that it is for, is the fold's
(`core.tickets`): the decision that uses it commits to its arguments under the ticket's own salt, so that the two
digests are compared without opening a blob. What the arguments are, and that they are those that were shown, is known
only to whoever holds the blobs.
"""

from __future__ import annotations

from typing import Any

from failwell.core import asking, kinds, orders, rows
from failwell.core import contract as contracts
from failwell.core.errors import FailwellError
from failwell.core.instants import parse_at
from failwell.core.records import Entry
from failwell.core.sight import sight_digest
from failwell.core.state import State

_RESTRICTED = "authority.restricted"


def answer_fault(entry: Entry[Any], body: kinds.TicketDecided, order: orders.Order[Any], state: State) -> str | None:
    """What an answer says that its order or the state before it does not bear out; None if nothing."""
    row = state.ticket.get(body.ticket)
    if row is None or (order.details.ticket, order.person) != (body.ticket, body.person):
        return "the order is another person's, or about another ticket than one that waits"
    if (order.order, body.answer) not in (("ticket.approve", "approved"), ("ticket.deny", "denied")):
        return f"the answer is {body.answer}, the order {order.order}"
    if body.measured:
        return "it claims that the answer was measured, which nothing does yet"
    if body.answer == "denied":
        return None if body.expires_us == row.expires_us else "its time is not that of the ticket"
    return _approval_fault(entry, body, order, row, state)


def _approval_fault(
    entry: Entry[Any], body: kinds.TicketDecided, order: orders.Order[Any], row: rows.Ticket, state: State
) -> str | None:  # fmt: skip
    person = state.person.get(order.person)
    if not asking.may_answer(state, row, order.person) or person is None:
        return f"{order.person} was not asked, or would not be asked any more"
    if any(agent.key == person.key for agent in state.agent.values()):
        return f"{order.person} signs with an agent's key"
    if order.details.arguments != row.arguments or order.shown != sight_digest(state, order.order, order.details):
        return "what was signed is not what the ticket asks about"
    if body.expires_us != asking.good_until_us(row.expires_us, parse_at(entry.at)):
        return "the approval is good for another time than the rules give"
    stopped = [name for name in (row.agent, *row.chain) if state.agent[name].authority in ("SUSPENDED", "RETIRED")]
    return f"{stopped[0]} was stopped" if stopped else None


class Words:
    """What each rule says by the contracts and floors in force; read once for each of them."""

    def __init__(self) -> None:
        self._words: dict[tuple[str, ...], dict[str, str]] = {}

    def faults(self, entry: Entry[Any], body: kinds.Decision, state: State) -> list[str]:
        """Rules that a decision which is no denial tells otherwise than they speak.

        INVARIANT (I4): what a contract denies is not told as less, and what it escalates only as far as a ticket, used
        up by this very decision, answers for it.
        """
        if body.verdict == "DENY" or not body.clauses:
            return []
        ticket = body.ticket if isinstance(body, kinds.Decision2) else None
        row = None if ticket is None else state.ticket.get(ticket)
        passed = () if row is None else row.clauses
        words = self._in_force(entry, state)
        wrong = []
        for clause in body.clauses:
            said = words.get(clause.id, clause.then)
            answered = said == "escalate" and clause.then == "record" and clause.id in passed
            if said != clause.then and not answered:
                wrong.append(f"{clause.id} says {said} and is told as {clause.then}")
        return wrong

    def _in_force(self, entry: Entry[Any], state: State) -> dict[str, str]:
        """Rule -> its word, of the agent's own contract and those of the agents that handed the work over."""
        run = None if entry.run is None else state.run.get(entry.run)
        found = self._of(str(entry.agent), state)
        for agent in () if run is None else run.chain:
            row = state.agent.get(agent)
            if row is not None:
                found = found | {f"{row.name}/{rule}": then for rule, then in self._of(agent, state).items()}
        return found

    def _of(self, agent: str, state: State) -> dict[str, str]:
        row = state.agent.get(agent)
        if row is None or row.contract is None:
            return {}
        # Versions of a floor only grow, so that its name and version stand for its text.
        place = (row.contract, *(f"{floor.floor}@{floor.version}" for floor in state.floors_of(agent)))
        if place not in self._words:
            self._words[place] = _words(state, agent)
        return self._words[place]


def _words(state: State, agent: str) -> dict[str, str]:
    try:
        contract = state.contract_of(agent)
    except FailwellError:
        contract = None
    if contract is None:
        return {}
    whole = contracts.under(contract, state.floors_of(agent))
    rules: dict[str, str] = {clause.id: clause.then for clause in whole.clauses}
    rules |= {limit.id: limit.then for limit in whole.limits}
    return rules | {_RESTRICTED: whole.restricted.irreversible}
