"""Who is asked when an action waits for a person, until when, and who of them is written to (R1, R7).

Pure, from the state alone, so that a replay of the ledger asks the same people. What an answer does is `gate.tickets`'.
"""

from __future__ import annotations

from typing import Any

from failwell.core import kinds, rows
from failwell.core.contract import Contract
from failwell.core.errors import ContractError
from failwell.core.instants import parse_at
from failwell.core.projections import Projections
from failwell.core.records import Entry

MINUTE_US = 60 * 1_000_000
HOUR_US = 60 * MINUTE_US
DAY_US = 24 * HOUR_US
#: How long people have where the contract says nothing.
DECIDE_WITHIN_US = DAY_US
#: An approval is good until its ticket's own time, but for an hour at least and a day at most.
USE_AT_LEAST_US, USE_AT_MOST_US = HOUR_US, DAY_US
#: Tickets of one agent that wait at once. Attack: an agent that asks without end, until memory or attention is full.
OPEN_AT_ONCE = 256
#: One mail about tickets per agent in this time; later ones stand in the list.
MAILED_EVERY_US = MINUTE_US
#: Persons who are asked about one ticket, by name: of thousands the entry would have no room, and the question be lost.
ASKED_AT_ONCE = 256
#: Persons that are written to for one ticket or case, by name; all others that are asked find it in the list.
MAILED_AT_ONCE = 16

REVIEWER = "reviewer"
_ROLE = "role:"


def opens_ticket(state: Projections, agent: str, verdict: str, *, governed: bool) -> bool:
    """Whether a decision with this verdict leaves a ticket: not in a backtest, where nobody could answer it."""
    if verdict != "ESCALATE" or not governed or state.mode != "live" or agent not in state.agent:
        return False
    return sum(row.agent == agent for row in state.ticket.values()) < OPEN_AT_ONCE


def ticket_of(state: Projections, entry: Entry[Any], body: kinds.Decision2) -> kinds.TicketOpened | None:
    """The ticket that the decision `entry` leaves; None where it leaves none."""
    agent = str(entry.agent)
    if not opens_ticket(state, agent, body.verdict, governed=body.governed):
        return None
    run = None if entry.run is None else state.run.get(entry.run)
    clauses = tuple(clause.id for clause in body.clauses if clause.then == "escalate")
    bound = _escalating(state, agent, () if run is None else run.chain, clauses)
    return kinds.TicketOpened(
        ticket=entry.seq, tool=body.tool, arguments=body.arguments, clauses=clauses,
        asked=_asked(state, bound)[:ASKED_AT_ONCE],
        expires_us=parse_at(entry.at) + min(_decide_within_us(state, each) for each in bound),
    )  # fmt: skip


def mails_of(state: Projections, entry: Entry[Any], body: kinds.TicketOpened) -> tuple[kinds.PageQueued2, ...]:
    """The mails that a new ticket leads to: one for each person asked, where mail goes out and none went just now."""
    agent = state.agent[str(entry.agent)]
    now_us = parse_at(entry.at)
    if not state.workspace[1].mail or (agent.asked_us is not None and now_us - agent.asked_us < MAILED_EVERY_US):
        return ()
    return tuple(
        kinds.PageQueued2(
            page=state.pages + number, incident=None, person=person, channel="email", step=1, due_us=now_us,
            why=f"ticket {body.ticket}", ticket=body.ticket,
        )
        for number, person in enumerate(body.asked[:MAILED_AT_ONCE], 1)
    )  # fmt: skip


def good_until_us(expires_us: int, now_us: int) -> int:
    """Until when an approval given now may be used, of a ticket that could be answered until `expires_us`."""
    return max(now_us + USE_AT_LEAST_US, min(expires_us, now_us + USE_AT_MOST_US))


def reviewers(state: Projections, agent: str) -> tuple[str, ...]:
    """Who answers for `agent`, by name: whom its contract names, else who is a reviewer, else its owner: somebody."""
    contract = _contract(state, agent)
    named = (f"{_ROLE}{REVIEWER}",) if contract is None or contract.oversight is None else contract.oversight.reviewers
    roles = {word.removeprefix(_ROLE) for word in named if word.startswith(_ROLE)}
    found = [
        name for name, row in state.person.items() if row.left is None and (name in named or roles & set(row.roles))
    ]
    return tuple(sorted(found)) or (state.reachable(state.agent[agent].owner),)


def may_answer(state: Projections, row: rows.Ticket, person: str) -> bool:
    """Whether `person` was asked and would be asked still: enrolled, not gone, and named by whoever's clauses spoke."""
    known = state.person.get(person)
    if known is None or known.left is not None or person not in row.asked:
        return False
    return person in _asked(state, _escalating(state, row.agent, row.chain, row.clauses))


def _escalating(state: Projections, agent: str, chain: tuple[str, ...], clauses: tuple[str, ...]) -> tuple[str, ...]:
    """The agents whose contracts escalated, outermost first: a delegator's clauses bear its short name in front."""
    handed = {state.agent[name].name: name for name in chain if name in state.agent}
    spoke = {handed.get(clause.partition("/")[0], agent) if "/" in clause else agent for clause in clauses}
    return tuple(name for name in (*chain, agent) if name in spoke) or (agent,)


def _asked(state: Projections, bound: tuple[str, ...]) -> tuple[str, ...]:
    """Whoever all of these agents' contracts name. Attack: a delegator's question that the other's reviewers answer.

    Where nobody is named by all, those answer that the outermost names, whose authority it is.
    """
    first, *more = [reviewers(state, agent) for agent in bound]
    return tuple(name for name in first if all(name in each for each in more)) or first


def _decide_within_us(state: Projections, agent: str) -> int:
    contract = _contract(state, agent)
    if contract is None or contract.oversight is None:
        return DECIDE_WITHIN_US
    return contract.oversight.decide_within_us


def _contract(state: Projections, agent: str) -> Contract | None:
    try:
        return state.contract_of(agent)
    except ContractError:
        return None
