"""Cases in the record: what people made of one behind their orders, by two where it takes two, and nothing late unsaid.

What follows by rule (a near-miss that is none, a case that is closed, a step that came too late) the reactions say.
Here stands what people had to order, who may, and that a missed objective is on record once a node had the time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from failwell.core import kinds, orders, rows
from failwell.core.errors import FailwellError
from failwell.core.incidents import apart, cases, objectives
from failwell.core.incidents.endings import OVER, REHEARSED, unstopped
from failwell.core.incidents.opening import ACTOR
from failwell.core.instants import parse_at
from failwell.core.records import Body, Entry
from failwell.core.state import State

NEEDED: dict[type[Body], tuple[frozenset[str], ...]] = {
    kinds.Noticed: (frozenset({"incident.report"}),),
    kinds.IncidentUpdated: (frozenset({"incident.acknowledge"}),),
    kinds.IncidentChanged: (
        frozenset({
            "incident.raise", "incident.serious", "incident.reopen", "incident.resolve", "incident.agree",
            "incident.close",
        }),
    ),
    kinds.IncidentProposed: (frozenset({"incident.propose"}),),
    kinds.IncidentMerged: (frozenset({"incident.merge"}),),
    kinds.IncidentNoted: (frozenset({"incident.note"}),),
    kinds.IncidentTask: (frozenset({"incident.task"}),),
    kinds.IncidentTaskEnded: (frozenset({"incident.finish"}),),
    kinds.IncidentOffered: (frozenset({"incident.hand"}),),
    kinds.ChangeClaimed: (frozenset({"incident.claim"}),),
}  # fmt: skip
#: Fields that the order and the entry it leads to both have, and that must say the same.
SHARED = ("change", "cites", "into", "sort", "task", "value", "what", "words")
#: What each order about a state takes a case to.
_STATES = {"incident.reopen": "REOPENED", "incident.resolve": "RESOLVED", "incident.close": "CLOSED"}
#: What people still order about a case that is over.
_OF_WHAT_IS_OVER = frozenset({"incident.acknowledge", "incident.finish", "incident.reopen", "incident.serious"})
_NODE = "node"
#: A node has written down what was missed by the time it has been seen at work for so long. Silence counts little.
_SLACK_US, _SEEN_US = 60_000_000, 2_000_000


def by_rule(entry: Entry[Any]) -> bool:
    """Whether an entry about a case is no person's: the reactions hold it, or it is a host's word."""
    if isinstance(entry.body, kinds.Noticed):
        return not entry.body.by.startswith("person:")
    return entry.actor == ACTOR and isinstance(entry.body, kinds.IncidentChanged | kinds.IncidentUpdated)


def order_fault(entry: Entry[Any], body: Any, order: orders.Order[Any], state: State) -> str | None:
    """What an entry about a case says that its order or the state before it do not bear out; None for nothing."""
    check = _CHECKS.get(type(body))
    if check is None:
        return None
    if entry.actor != f"person:{order.person}":
        return "it is not that person's doing"
    for field in SHARED:
        if (
            hasattr(order.details, field)
            and hasattr(body, field)
            and getattr(order.details, field) != getattr(body, field)
        ):
            return f"its {field} is not that of the order"
    if isinstance(body, kinds.Noticed):
        return check(entry, body, order, state, None)
    row = state.incident.get(body.incident)
    if row is None or (entry.agent or "") != row.agent:
        return "it is about another case or agent"
    if row.state in OVER and order.order not in _OF_WHAT_IS_OVER:
        return f"incident {body.incident} is {row.state}: nothing is made of it any more before it is reopened"
    return check(entry, body, order, state, row)


# ---- what each says ------------------------------------------------------------------------------------------


def _noticed(entry: Entry[Any], body: kinds.Noticed, order: orders.Order[Any], state: State, row: Any) -> str | None:
    details = order.details
    agent = None if details.agent is None else state.agent_named(details.agent)
    said = (details.report, details.severity, details.title, details.aware, details.first, details.last, agent)
    same = said == (body.kind, body.severity, body.title, body.aware, body.first, body.last, entry.agent)
    same = same and (body.by, body.signal, body.evidence) == (f"person:{order.person}", "reported", "asserted")
    return None if same else "it reports something else than the order"


def _updated(
    entry: Entry[Any], body: kinds.IncidentUpdated, order: orders.Order[Any], state: State, row: rows.Incident
) -> str | None:  # fmt: skip
    """Attack: a case is led from state to state by entries that nobody ordered, to be closed in the end."""
    taken = row.state in objectives.UNMET["acknowledge"] and body.state == "TRIAGED"
    same = (body.severity, body.signal, body.note) == (row.severity, None, f"taken by {order.person}")
    return None if taken and same else "it says more than that somebody took the case"


def _changed(
    entry: Entry[Any], body: kinds.IncidentChanged, order: orders.Order[Any], state: State, row: rows.Incident
) -> str | None:  # fmt: skip
    if order.order == "incident.agree":
        return _agreed(body, order, state, row)
    wanted = {
        "incident.raise": ("severity", row.severity, getattr(order.details, "severity", None)),
        "incident.serious": ("serious", "no", "yes"),
    }.get(order.order, ("state", row.state, _STATES.get(order.order)))
    if (body.what, body.was, body.now) != wanted or body.proposal is not None:
        return f"it changes something else than an order {order.order} does"
    reason = getattr(order.details, "reason", None)
    if reason is not None and body.why != reason:
        return "its reason is not that of the order"
    if order.order == "incident.resolve":
        return _resolved(order, state, row)
    return None


def _resolved(order: orders.Order[Any], state: State, row: rows.Incident) -> str | None:
    if not row.factors or unstopped(state, order.details.incident)[0]:
        return "it was resolved before anybody said what contributed, or while actions had not ended"
    return _unheld(order.person, state, row)


def _agreed(body: kinds.IncidentChanged, order: orders.Order[Any], state: State, row: rows.Incident) -> str | None:
    waits = row.proposed
    if waits is None or not waits.digest == body.proposal == order.details.proposal:
        return "it is not what stood proposed"
    if (body.what, body.was, body.now, body.why) != (*cases.agreed_step(row, waits), waits.why):
        return "it is something else than what was proposed"
    proposer, person = state.person.get(waits.person), state.person.get(order.person)
    if proposer is None or person is None or proposer.left is not None:
        return f"{waits.person}, who proposed it, is not known or had left"
    if waits.person == order.person or proposer.key == person.key:
        return "one person, or one key, proposed it and agreed to it"
    if apart.one(state, order.person, waits.person, row.opened):
        return f"{order.person}, who agreed to it, is not shown to be another than {waits.person}, who proposed it"
    unfounded = waits.what == cases.FALSE_ALARM and any(unstopped(state, order.details.incident))
    return "of its actions nobody could say that they had stopped" if unfounded else None


def _proposed(
    entry: Entry[Any], body: kinds.IncidentProposed, order: orders.Order[Any], state: State, row: rows.Incident
) -> str | None:  # fmt: skip
    same = (body.person, body.digest, body.why) == (order.person, orders.order_digest(order), order.details.reason)
    return None if same else "its person, reason or digest are not those of the order"


def _merged(
    entry: Entry[Any], body: kinds.IncidentMerged, order: orders.Order[Any], state: State, row: rows.Incident
) -> str | None:  # fmt: skip
    into = state.incident.get(body.into)
    if (body.person, body.why) != (order.person, order.details.reason):
        return "its person or reason are not those of the order"
    if into is not None and (row.kind in REHEARSED) != (into.kind in REHEARSED):
        return "it tells what is real as rehearsed, or the other way round"
    return None


def _noted(
    entry: Entry[Any], body: kinds.IncidentNoted, order: orders.Order[Any], state: State, row: rows.Incident
) -> str | None:  # fmt: skip
    if body.person != order.person:
        return "it was written by somebody else"
    if body.sort != "note" and not body.cites:
        return "a finding cites nothing"
    cited = {ref.seq for ref in entry.refs}
    return None if set(body.cites) <= cited else "it does not refer to what it cites"


def _task(
    entry: Entry[Any], body: kinds.IncidentTask, order: orders.Order[Any], state: State, row: rows.Incident
) -> str | None:  # fmt: skip
    due_us = None if order.details.due is None else parse_at(order.details.due)
    same = (body.person, body.by, body.due_us) == (order.details.person, f"person:{order.person}", due_us)
    if not same:
        return "whose task it is, who gave it, or until when, is not what the order says"
    return _absent(body.person, state)


def _task_ended(
    entry: Entry[Any], body: kinds.IncidentTaskEnded, order: orders.Order[Any], state: State, row: rows.Incident
) -> str | None:  # fmt: skip
    if (body.person, body.state) != (order.person, order.details.state):
        return "who ended it, or how, is not what the order says"
    task = next((each for each in row.tasks if each.number == body.task), None)
    return None if task is not None and task.person == order.person else _unheld(order.person, state, row)


def _offered(
    entry: Entry[Any], body: kinds.IncidentOffered, order: orders.Order[Any], state: State, row: rows.Incident
) -> str | None:  # fmt: skip
    if (body.person, body.to) != (order.person, order.details.to):
        return "who offers it, or to whom, is not what the order says"
    return _absent(body.to, state) or _unheld(order.person, state, row)


def _claimed(
    entry: Entry[Any], body: kinds.ChangeClaimed, order: orders.Order[Any], state: State, row: rows.Incident
) -> str | None:  # fmt: skip
    return None if body.person == order.person else "somebody else claims it"


def _absent(name: str, state: State) -> str | None:
    person = state.person.get(name)
    return None if person is not None and person.left is None else f"{name} is not known, or had left"


def _unheld(name: str, state: State, row: rows.Incident) -> str | None:
    person = state.person.get(name)
    may = name == row.holder or (person is not None and "operator" in person.roles)
    return None if may else f"{name} neither has the case nor is an operator"


_Check = Callable[[Entry[Any], Any, orders.Order[Any], State, Any], str | None]
_CHECKS: dict[type, _Check] = {
    kinds.Noticed: _noticed,
    kinds.IncidentUpdated: _updated,
    kinds.IncidentChanged: _changed,
    kinds.IncidentProposed: _proposed,
    kinds.IncidentMerged: _merged,
    kinds.IncidentNoted: _noted,
    kinds.IncidentTask: _task,
    kinds.IncidentTaskEnded: _task_ended,
    kinds.IncidentOffered: _offered,
    kinds.ChangeClaimed: _claimed,
}


# ---- what nobody orders --------------------------------------------------------------------------------------


class CasesInTime:
    """Cases are opened by rule alone; what was agreed and missed stands in the record, neither early nor left out."""

    code = "case.objective"

    def __init__(self) -> None:
        self._last_us = 0
        #: How long a node was seen at work while something stood unrecorded, by what.
        self._seen: dict[tuple[int, str], int] = {}

    def fault(self, entry: Entry[Any], state: State) -> str | None:
        at_us, body = parse_at(entry.at), entry.body
        wrong = None
        if isinstance(body, kinds.IncidentOpened) and entry.actor != ACTOR:
            wrong = "an incident that no rule opened"
        elif isinstance(body, kinds.ObjectiveMissed) and entry.actor != ACTOR:
            wrong = _untimely(entry, body, state, at_us)
        wrong = wrong or self._unsaid(body, state, at_us)
        self._last_us = at_us
        return wrong

    def _unsaid(self, body: Any, state: State, at_us: int) -> str | None:
        """Attack: what was missed is left out, so that nobody is late."""
        if state.mode != "live" or not state.workspace or not state.workspace[1].objectives:
            return None
        overdue = objectives.overdue(state, self._last_us)
        if isinstance(body, kinds.NodeStarted) or not overdue:
            self._seen.clear()
            return None
        passed_us = min(at_us - self._last_us, _SEEN_US)
        self._seen = {
            (due.incident, due.objective): self._seen.get((due.incident, due.objective), 0) + passed_us
            for due in overdue
        }
        late = next((place for place, seen_us in self._seen.items() if seen_us > _SLACK_US), None)
        if late is None or isinstance(body, kinds.ObjectiveMissed):
            return None
        self._seen[late] = -(2**53)  # said once
        return f"incident {late[0]} missed to {late[1]} in time, and no entry says so"


def _untimely(entry: Entry[Any], body: kinds.ObjectiveMissed, state: State, at_us: int) -> str | None:
    if entry.actor != _NODE:
        return "a missed objective that neither a node nor a rule noticed"
    said = objectives.Due(body.incident, body.objective, body.severity, body.due_us)
    try:
        return None if said in objectives.overdue(state, at_us) else "what was missed by it was not due, or was met"
    except FailwellError as error:
        return error.message
