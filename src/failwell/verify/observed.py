"""OBSERVED held against its rules: who may have an agent observed, how it ends, and what is not governed (D25).

An agent is observed by its owner's order alone, until the date that the owner signed; it ends by an order, or by the
node once that date is past. Whoever keeps the record can write that an action was not governed only while that holds.
"""

from __future__ import annotations

from typing import Any

from failwell.core import kinds, orders, rows
from failwell.core.instants import parse_at
from failwell.core.observed import ALWAYS_REFUSED
from failwell.core.records import Entry
from failwell.core.state import State


def observation_fault(entry: Entry[Any], body: Any, given: list[orders.Order[Any]], state: State) -> str | None:
    """What an observation says otherwise than its order; None for nothing, and for every other entry."""
    if not isinstance(body, kinds.Observation):
        return None
    order = given[0]
    details, row = order.details, state.agent.get(str(entry.agent))
    if state.agent_named(details.agent) != entry.agent:
        return f"the order is about {details.agent}"
    if (body.until_us, body.person, body.why) != (parse_at(details.until), order.person, details.reason):
        return "it is not the observation that was ordered"
    if row is None or order.person != row.owner:
        return f"{order.person} is not the owner of {entry.agent}"
    return None


def change_fault(entry: Entry[Any], body: kinds.AuthorityChanged, commit: list[orders.Order[Any]], state: State) -> Any:
    """Why a change to or from OBSERVED is not one that may be; None for a change that is in order.

    Not asked of a suspension: that takes authority away from whatever was there.
    """
    row = state.agent.get(str(entry.agent))
    if row is None:
        return "there is no such agent"
    if body.now == "OBSERVED":
        order = _order(commit, "agent.observe", entry, state)
        if order is None:
            return "no order agent.observe stands before it"
        until_us = parse_at(order.details.until)
        return None if row.observed_until_us == until_us else "no observation of that order stands before it"
    if body.now != ("REGISTERED" if row.contract is None else "ACTIVE"):
        return f"an agent {'without' if row.contract is None else 'with'} a contract is not {body.now} then"
    if (entry.actor, body.by) == ("node", "node"):
        over = parse_at(entry.at) >= (row.observed_until_us or 0)
        return None if over else "the node ended an observation before its date"
    order = _order(commit, "agent.govern", entry, state)
    if order is None:
        return "no order agent.govern stands before it"
    person = state.person.get(order.person)
    if order.person != row.owner and (person is None or "operator" not in person.roles):
        return f"{order.person} is neither its owner nor an operator"
    return None


def _order(
    commit: list[orders.Order[Any]], kind: str, entry: Entry[Any], state: State
) -> orders.Order[Any] | None:  # fmt: skip
    """The newest order of a kind about this agent in the commit."""
    return next(
        (
            each
            for each in reversed(commit)
            if each.order == kind and state.agent_named(each.details.agent) == entry.agent
        ),
        None,
    )


def governed_fault(entry: Entry[Any], body: kinds.Decision, state: State) -> str | None:
    """What is wrong with what a decision says of being governed; None where it is right.

    Attack: the record is rewritten so that what a governed agent did against its contract seems to have been observed
    only, or what was only observed seems to have been enforced.
    """
    row = state.agent.get(str(entry.agent))
    if row is None:
        return None if body_governed(body) else "no agent is known here that could be observed"
    run = None if entry.run is None else state.run.get(entry.run)
    chain = () if run is None else tuple(state.agent.get(name) for name in run.chain)
    if not any(map(_observed, (row, *chain))):  # nearly always
        return None if body_governed(body) else "it counts as not governed, and nobody was observed"
    now_us = parse_at(entry.at)
    observed = all(_observed(each) for each in (row, *chain))
    over = any(_over(each, now_us) for each in (row, *chain))
    refused = any(clause.id in ALWAYS_REFUSED for clause in body.clauses)
    if body_governed(body) == (observed and not refused):
        return "it counts as governed, and the agent was observed" if observed else "it counts as not governed"
    if over and body.verdict != "DENY":
        return f"{body.verdict} after the observation was over"
    if over and not body_governed(body):
        return "it counts as not governed after the observation was over"
    return None


def body_governed(body: kinds.Decision) -> bool:
    """Whether the decision's verdict was kept; so it was in releases that knew nothing else."""
    return bool(getattr(body, "governed", True))


def _observed(row: rows.Agent | None) -> bool:
    return row is not None and row.authority == "OBSERVED"


def _over(row: rows.Agent | None, now_us: int) -> bool:
    return row is not None and row.authority == "OBSERVED" and now_us >= (row.observed_until_us or 0)
