"""Limits in the record: what each decision says of every limit that bounds it, held against what was used before it.

Every limit of every contract of the chain must stand in a decision that was weighed: its own agent's, those of the
agents that handed the work over, and those of the floors of each. What it says was used is counted again from the
entries before it; what it may take at most follows from the contract and the authority in force; whether the limit
spoke follows from both. Values that are not public lie in the blobs: of an amount among them only the later sums tell.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from failwell.core import kinds
from failwell.core.contract import STOPPED, UNHEALTHY, Contract, Limit, Tool
from failwell.core.contract.judgment import RESERVED
from failwell.core.contract.measure import bound, concerns, measured_as
from failwell.core.fact_keys import key_of
from failwell.core.folds import own_limit
from failwell.core.instants import parse_at
from failwell.core.records import Entry
from failwell.core.state import State

#: Clauses by which an action is denied before any contract is asked.
_OUTRIGHT = frozenset(
    {
        STOPPED, UNHEALTHY, "agent.detect-only", "agent.unknown", "authority.observed", "call.reused",
        "contract.absent", "evaluation.error", "run.unknown",
    }
)  # fmt: skip
#: Those by which one contract denies before its limits are looked at. What is not among them speaks beside limits.
_BARRING = (frozenset(RESERVED) - {"authority.restricted", "ticket"}) | _OUTRIGHT
_TIGHTENED = frozenset({"RESTRICTED", "PROBATION"})


def wrong_by_itself(body: kinds.Decision) -> Iterator[str]:
    """What a decision says of its limits that does not follow from its own words: who spoke, and what was reserved."""
    spoke = {clause.id for clause in body.clauses}
    for use in body.uses:
        if use.reserved != _taken(use, body.verdict):
            kept = "reserved" if use.reserved else "not reserved"
            yield f"limit {use.limit} is {kept} by {body.verdict}"
        if _over(use) != (use.limit in spoke):
            word = "spoke" if use.limit in spoke else "did not speak"
            yield f"limit {use.limit} stands at {use.used} of {use.at_most} and {word}"


def _taken(use: kinds.Use, verdict: str) -> bool:
    """Whether a decision with this verdict takes of the limit: a rate counts whatever was asked (D6)."""
    measure = getattr(use, "measure", "count")
    return measure not in ("sequence", "gives") and (verdict == "ALLOW" or measure == "rate")


def _over(use: kinds.Use) -> bool:
    measure = getattr(use, "measure", "count")
    if measure == "gives":
        return False
    return use.used < use.at_most if measure == "sequence" else use.used + getattr(use, "adds", 1) > use.at_most


def wrong_by_rules(state: State, entry: Entry[Any], body: kinds.Decision) -> Iterator[str]:
    """What a decision says of limits that does not follow from the contracts, floors and entries before it."""
    if body.verdict == "DENY" and not body.uses and len(body.clauses) == 1 and body.clauses[0].id in _OUTRIGHT:
        return
    working = str(entry.agent)
    run = None if entry.run is None else state.run.get(entry.run)
    chain = () if run is None or run.agent != working else run.chain
    left = list(body.uses)
    for agent in (working, *reversed(chain)):
        row = state.agent.get(agent)
        prefix = "" if agent == working or row is None else f"{row.name}/"
        mine = [use for use in left if getattr(use, "agent", working) == agent and use.limit.startswith(prefix)]
        left = [use for use in left if use not in mine]
        yield from _missing(state, agent, prefix, body, mine)
        for use in mine:
            limit = state.limits_of(agent).get(own_limit(use, working))
            if limit is None:
                yield f"the contract in force has no limit {use.limit}"
            else:
                yield from _measured(state, entry, body, use, agent, limit)
    for use in left:
        yield f"limit {use.limit} is of {getattr(use, 'agent', working)}, which does not bound this action"


def _missing(state: State, agent: str, prefix: str, body: kinds.Decision, mine: list[kinds.Use]) -> Iterator[str]:
    """Attack: the limit that would have spoken is left out. All that bound the tool stand there, or none where the
    action was denied before they were looked at."""
    said = [clause.id.removeprefix(prefix) for clause in body.clauses if clause.id.startswith(prefix)]
    if not mine and body.verdict == "DENY" and not _BARRING.isdisjoint(said):
        return
    wanted = _bounding(state.bounds_of(agent), body.tool)
    listed = [use.limit.removeprefix(prefix) for use in mine]
    if sorted(listed) != sorted(wanted):
        lacking = sorted(set(wanted) - set(listed)) or sorted(set(listed) - set(wanted)) or sorted(listed)
        yield f"it does not say once of every limit of {agent} how far it was used: {', '.join(lacking[:3])}"


def _bounding(contract: Contract | None, name: str) -> list[str]:
    tool = _tool(contract, name)
    return [] if contract is None or tool is None else [one.id for one in contract.limits if concerns(one, tool)]


def _tool(contract: Contract | None, name: str) -> Tool | None:
    return next((tool for tool in (() if contract is None else contract.tools) if tool.tool == name), None)


def _measured(
    state: State, entry: Entry[Any], body: kinds.Decision, use: kinds.Use, agent: str, limit: Limit
) -> Iterator[str]:  # fmt: skip
    """One use, measured again."""
    measure = measured_as(limit, body.tool)
    if isinstance(use, kinds.Use2) and use.measure != measure:
        yield f"limit {use.limit} is measured as {use.measure}, not as {measure}"
    now_us = state.limit_us(parse_at(entry.at))
    used = 0 if measure == "gives" else state.measured(agent, limit, use.key, now_us, entry.run)
    if use.used != used:
        yield f"limit {use.limit} was not used {use.used} times"
    contract = state.bounds_of(agent)
    row = state.agent[agent]
    halved = row.authority in _TIGHTENED and contract is not None and contract.restricted.limits == "half"
    if use.at_most != bound(limit, halved=halved):
        yield f"limit {use.limit} bounds by {bound(limit, halved=halved)}, not by {use.at_most}"
    if (use.key is None) != (not limit.keys and not limit.each):
        yield f"limit {use.limit} is not kept by what its contract names"
    adds = _adds(body, contract, state.bounds_of(str(entry.agent)), limit)
    if isinstance(use, kinds.Use2) and (use.adds < 0 or (adds is not None and use.adds != adds)):
        yield f"limit {use.limit} does not take {use.adds}"
    for clause in body.clauses:
        if clause.id == use.limit:
            yield from _said(state, body, clause, limit)


def _adds(body: kinds.Decision, contract: Contract | None, own: Contract | None, limit: Limit) -> int | None:
    """What the action takes of a limit; None where that lies in the blob, or is not the fact that stands there.

    The facts are as the `own` contract of whoever works reads them; another of the chain may read other amounts.
    """
    if limit.sums is None:
        return 1
    tool, named = _tool(contract, body.tool), _tool(own, body.tool)
    if tool is None or named is None:
        return None
    name = limit.sums if limit.kind == "sum" else "" if tool.affects is None else tool.affects.amount
    types = [{argument.name: argument.type for argument in each.arguments}.get(name or "") for each in (tool, named)]
    fact = body.facts.get(key_of(name or ""))
    known = fact is not None and fact.public and types[0] == types[1]
    return fact.value if known and fact is not None and isinstance(fact.value, int) else None


def _said(state: State, body: kinds.Decision, clause: kinds.Decided, limit: Limit) -> Iterator[str]:
    """A limit says what its contract lets it say; only a ticket turns its question into a record (D6)."""
    if clause.severity != limit.severity:
        yield f"limit {clause.id} is {limit.severity}, not {clause.severity}"
    if clause.then == limit.then:
        return
    # An action that was denied all the same cites no ticket: nothing was used up.
    number = getattr(body, "ticket", None)
    ticket = None if number is None else state.ticket.get(number)
    answered = body.verdict == "DENY" or (ticket is not None and clause.id in ticket.clauses)
    if (limit.then, clause.then) != ("escalate", "record") or not answered:
        yield f"limit {clause.id} says {clause.then}, its contract says {limit.then}"
