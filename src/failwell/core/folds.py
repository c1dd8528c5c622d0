"""From an entry to the rows it changes: one small fold per kind.

This is the only place that turns entries into projection rows, so that a rebuild from the entries gives the rows that
were stored (I6). A fold that finds an entry to speak of nothing, or of something twice, raises Corrupt: such an entry
must never be stored.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from failwell.core import (
    credentials,
    custody,
    ends,
    kinds,
    observed,
    orders,
    owing,
    people,
    permitting,
    resumed,
    rows,
    stops,
    tickets,
    undoing,
)
from failwell.core.contract import STOPPED, UNHEALTHY
from failwell.core.ends import mark
from failwell.core.errors import Corrupt
from failwell.core.escalation import digests
from failwell.core.escalation import folds as escalation
from failwell.core.escalation.settings_of import escalating_of
from failwell.core.escalation.taking import acknowledged
from failwell.core.incidents import catches, endings, releasing
from failwell.core.incidents import folds as incidents
from failwell.core.incidents.agreed import settings_of
from failwell.core.incidents.noticing import note_ended
from failwell.core.machines import AUTHORITY, INCIDENT, OUTCOMES, worse
from failwell.core.projections import Projections
from failwell.core.records import Entry

replace = msgspec.structs.replace

#: A forward step of the wall clock over a boot frees limit windows by itself up to this; a longer one, and any while
#: the node ran, needs a person (D7).
FREE_STEP_US = 60 * 1_000_000
#: Clauses by which an action is denied before its contract was asked about the tool.
NO_TOOL = frozenset({"tool.unlisted", "contract.absent", "run.unknown", "evaluation.error", UNHEALTHY, STOPPED})
#: Nothing began with it: what is denied because people stopped it is nobody's fault.
DENIED_BY_STOP = f"denied({STOPPED})"

_Fold = Callable[[Projections, Entry[Any], Any, int], None]
FOLDS: dict[type, _Fold] = {
    **people.FOLDS,
    **tickets.FOLDS,
    **credentials.FOLDS,
    **owing.FOLDS,
    **stops.FOLDS,
    **undoing.FOLDS,
    **permitting.FOLDS,
    **incidents.FOLDS,
    **escalation.FOLDS,
}


def _folds(kind: type) -> Callable[[_Fold], _Fold]:
    def enter(fold: _Fold) -> _Fold:
        FOLDS[kind] = fold
        return fold

    return enter


@_folds(kinds.Genesis)
def _genesis(state: Projections, entry: Entry[Any], body: kinds.Genesis, at_us: int) -> None:
    if entry.seq != 0:
        raise Corrupt(f"entry {entry.seq} is a second genesis")
    row = rows.Workspace(
        mode=body.mode, origins=((0, entry.origin),), log_key=body.log_key, configuration="", configured=None,
        mail=False, withheld_us=0, failed=(),
    )  # fmt: skip
    state.put("workspace", 1, row)


@_folds(kinds.Health)
def _health(state: Projections, entry: Entry[Any], body: kinds.Health, at_us: int) -> None:
    others = tuple(part for part in state.failed if part != body.part)
    failed = tuple(sorted((*others, body.part))) if body.state == "failed" else others
    if failed != state.failed:
        state.change("workspace", 1, failed=failed)


@_folds(kinds.NodeStarted)
def _node_started(state: Projections, entry: Entry[Any], body: kinds.NodeStarted, at_us: int) -> None:
    # A start opens the store anew and proves anew that tools can be stopped; what fails still is told again behind it.
    # Nodes of layout 1 said no more than this when a part worked again.
    if state.failed:
        state.change("workspace", 1, failed=())


@_folds(kinds.LogKey)
def _log_key(state: Projections, entry: Entry[Any], body: kinds.LogKey, at_us: int) -> None:
    if body.was != state.log_key:
        raise Corrupt(f"entry {entry.seq} replaces a key that is not in force")
    state.change("workspace", 1, log_key=body.key)


@_folds(kinds.Continued)
def _continued(state: Projections, entry: Entry[Any], body: kinds.Continued, at_us: int) -> None:
    if body.was != state.origin or body.size + 1 != entry.seq or entry.origin == body.was:
        raise Corrupt(f"entry {entry.seq} goes on from another log than this one")
    state.change("workspace", 1, origins=(*state.origins, (entry.seq, entry.origin)), log_key=body.key)


@_folds(kinds.Config)
def _config(state: Projections, entry: Entry[Any], body: kinds.Config, at_us: int) -> None:
    mail = tickets.mails(body.text)
    agreed = settings_of(body.text)
    state.change(
        "workspace", 1, configuration=body.digest, configured=entry.seq, mail=mail, objectives=agreed.objectives,
        keepers=agreed.keepers, preserve=agreed.preserve, escalation=escalating_of(body.text),
    )  # fmt: skip


@_folds(kinds.Clock)
def _clock(state: Projections, entry: Entry[Any], body: kinds.Clock, at_us: int) -> None:
    if body.reason != "boot" or body.stepped_us > FREE_STEP_US:
        state.change("workspace", 1, withheld_us=state.workspace[1].withheld_us + body.stepped_us)


@_folds(kinds.Order)
def _order(state: Projections, entry: Entry[Any], body: kinds.Order, at_us: int) -> None:
    order = orders.parse_order(body.text)
    if (body.person, order.nonce) in state.nonces:
        raise Corrupt(f"entry {entry.seq} plays an order of {body.person} a second time")
    state.nonces.add((body.person, order.nonce))
    state.put("order", entry.seq, rows.OrderRow(person=body.person, order=body.order, nonce=order.nonce))
    state.forget("order", entry.seq)
    people.note_order(state, order)


@_folds(kinds.ContractAdopted)
def _contract(state: Projections, entry: Entry[Any], body: kinds.ContractAdopted, at_us: int) -> None:
    row = rows.ContractRow(
        id=body.contract, version=body.version, agent=str(entry.agent), owner=body.owner, approver=body.approver,
        document=body.document, mode=body.mode, adopted=entry.seq,
    )  # fmt: skip
    state.put("contract", body.digest, row)
    state.change("agent", entry.agent, contract=body.digest)


@_folds(kinds.Posture)
def _posture(state: Projections, entry: Entry[Any], body: kinds.Posture, at_us: int) -> None:
    state.remember_posture(entry.seq, body)
    if entry.run is None:
        state.change("agent", entry.agent, posture=entry.seq)
    else:
        state.change("run", entry.run, posture=entry.seq)


@_folds(kinds.RunOpened)
@_folds(kinds.RunOpened2)
def _run_opened(state: Projections, entry: Entry[Any], body: kinds.RunOpened, at_us: int) -> None:
    parent = getattr(body, "parent", None)
    if parent is not None:
        handed = state.run.get(parent)
        if handed is None or body.chain != (*handed.chain, handed.agent) or body.principal != handed.principal:  # type: ignore[attr-defined]
            raise Corrupt(f"entry {entry.seq} hands over run {parent}, and does not follow from it")
    row = rows.Run(
        agent=str(entry.agent),
        host=body.host,
        principal=body.principal,
        principal_provenance=body.principal_provenance,
        principal_kind=getattr(body, "principal_kind", None),
        request=body.request_provenance,
        parent=parent,
        chain=getattr(body, "chain", ()),
        posture=getattr(body, "posture", None),
        done=(),
        open=True,
    )
    state.calls[entry.seq] = {}
    state.put("run", entry.seq, row)


@_folds(kinds.RunClosed)
def _run_closed(state: Projections, entry: Entry[Any], body: kinds.RunClosed, at_us: int) -> None:
    state.change("run", entry.run, open=False)
    state.forget("run", entry.run)
    if entry.run is not None:
        state.calls.pop(entry.run, None)


def own_limit(use: kinds.Use, agent: str) -> str:
    """The id of a limit as the one it bounds knows it, in a decision about `agent`: a delegator's stands there behind
    its name and a slash.
    """
    return use.limit if getattr(use, "agent", agent) == agent else use.limit.partition("/")[2]


def decided_by(entry: Entry[kinds.Decision]) -> tuple[int, str]:
    """A decision's number, and the tool whose onset its signals are.

    A tool that no contract lists is a stranger's word: it names no onset of its own, and cannot fill the row.
    """
    strange = any(clause.id in NO_TOOL for clause in entry.body.clauses)
    return entry.seq, "" if strange else entry.body.tool


@_folds(kinds.Decision)
@_folds(kinds.Decision2)
def _decision(state: Projections, entry: Entry[Any], body: kinds.Decision, at_us: int) -> None:
    agent = str(entry.agent)
    governed = getattr(body, "governed", True)
    state.decided = decided_by(entry)
    settled = {"DENY": "denied", "ESCALATE": "escalated"}.get(body.verdict, "open") if governed else "open"
    limit_us = state.limit_us(at_us)
    held = _held(agent, body, may_run=settled == "open")
    chain = () if entry.run is None or entry.run not in state.run else state.run[entry.run].chain
    row = rows.Action(
        agent=agent, run=entry.run, call=body.call, tool=body.tool, verdict=body.verdict, state=settled,
        limit_us=limit_us, customer=body.customer, governed=governed, ticket=getattr(body, "ticket", None),
        chain=chain, held=held, owes=owing.owed_by(state, agent, chain, body.tool) if settled == "open" else (),
        undo=undoing.declared_by(state, agent, chain, body.tool) if settled == "open" and governed else None,
    )  # fmt: skip
    state.put("action", entry.seq, row)
    resumed.note_call(state, entry, body.tool, chain)
    state.reserve(entry.seq, limit_us, held)
    tickets.used(state, entry, body, at_us)
    if settled == "open":
        state.begin(held)
    else:
        state.forget("action", entry.seq)


def _held(agent: str, body: kinds.Decision, *, may_run: bool) -> tuple[rows.Held, ...]:
    """What a decision took of limits, and what a later one stands on once its action is completed."""
    if not isinstance(body, kinds.Decision2):
        return tuple(rows.Held(agent, use.limit, use.key, 1, "count") for use in body.uses if use.reserved)
    return tuple(
        [
            rows.Held(
                use.agent, use.limit if use.agent == agent else own_limit(use, agent), use.key, use.adds, use.measure
            )
            for use in body.uses
            if use.reserved or (may_run and use.measure == "gives")
        ]
    )


@_folds(kinds.Outcome)
def _outcome(state: Projections, entry: Entry[Any], body: kinds.Outcome, at_us: int) -> None:
    row = state.action.get(body.decision)
    if row is None or row.state != "open":
        raise Corrupt(f"entry {entry.seq} is an outcome of {body.decision}, which is not an open action")
    if body.state not in OUTCOMES:
        raise Corrupt(f"entry {entry.seq} says that action {body.decision} is {body.state!r}, which is no outcome")
    if body.state == "blocked":  # proved not started: only this gives a reservation back (D6)
        state.release(row, body.decision, entry.seq)
    elif body.state == "completed":
        state.complete(row)
    state.begin(row.held, -1)
    state.put(
        "action",
        body.decision,
        replace(
            row, state=body.state, cut=resumed.cut_off(body) and not row.stopped, ended=undoing.outcome_of(row, entry)
        ),
    )
    state.forget("action", body.decision)
    note_ended(state, entry, row)
    tickets.settled(state, row, body.state)
    owing.owe(state, row, body, at_us)
    undoing.ended(state, row, entry)


@_folds(kinds.EffectWitnessed)
def _effect(state: Projections, entry: Entry[Any], body: kinds.EffectWitnessed, at_us: int) -> None:
    row = state.witness.get(body.witness) or rows.WitnessRow(cursor="", effects=0)
    state.put(
        "witness", body.witness, replace(row, cursor=body.cursor or row.cursor, effects=row.effects + 1)
    )  # fmt: skip


@_folds(kinds.Signal)
def _signal(state: Projections, entry: Entry[Any], body: kinds.Signal, at_us: int) -> None:
    name = entry.agent or ""
    agent = state.agent.get(name)
    state.lately.ended.pop(body.about, None)
    row = rows.SignalRow(
        agent=name,
        signal=body.signal,
        at_us=at_us,
        about=body.about,
        incident=None if agent is None else agent.incident,
    )
    state.put("signal", entry.seq, row)
    state.forget("signal", entry.seq)
    state.note_signal(entry.seq, row)
    if agent is not None and agent.incident is None and body.signal != DENIED_BY_STOP:
        tool = state.decided[1] if state.decided[0] == body.about else ""
        began, noticed_us = agent.onsets.get(tool, (body.about, at_us))
        if at_us - noticed_us > owing.QUIET_US:
            began = body.about
        acted = catches.note(state, name, body.signal, body.about, tool)
        early = {} if body.applied else digests.noted(agent, body.signal, at_us)
        state.change("agent", name, onsets={**agent.onsets, tool: (began, at_us)}, acted=acted, **early)
    elif agent is not None and agent.incident in state.incident:
        # Whoever orders a stop that a rule had given already has stopped the agent too (R23).
        stopped_by = state.incident[agent.incident].stopped_by
        if _persons(body.by) and body.by not in stopped_by:
            state.change("incident", agent.incident, stopped_by=(*stopped_by, body.by))


def _persons(by: str) -> tuple[str, ...]:
    return (by,) if by.startswith("person:") else ()


@_folds(kinds.IncidentOpened)
def _incident_opened(state: Projections, entry: Entry[Any], body: kinds.IncidentOpened, at_us: int) -> None:
    if body.incident != state.incidents + 1:
        raise Corrupt(f"entry {entry.seq} opens incident {body.incident} after {state.incidents}")
    row = rows.Incident(
        kind=body.kind, severity=body.severity, state="OPEN", title=body.title, agent=entry.agent or "",
        opened=entry.seq, onset_first=body.onset_first, onset_last=body.onset_last, response=body.response,
        marks={"DETECTED": entry.seq}, waiting=(), signals=1, proposed_by=None, proposal=None,
        stopped_by=_persons(body.by), opened_us=at_us, state_us=at_us,
    )  # fmt: skip
    state.incidents = body.incident
    state.put("incident", body.incident, ends.opened_by_unproven(state, body.onset_last, row))
    if endings.binds(state, row.agent, body.kind):
        state.change("agent", entry.agent, incident=body.incident, onsets={}, acted={})
    digests.near_miss(state, row.agent, body, at_us)


@_folds(kinds.IncidentUpdated)
def _incident_updated(state: Projections, entry: Entry[Any], body: kinds.IncidentUpdated, at_us: int) -> None:
    row = state.incident.get(body.incident)
    if row is None:
        raise Corrupt(f"entry {entry.seq} updates incident {body.incident}, which there is not")
    if body.state != row.state and body.state not in INCIDENT[row.state]:
        raise Corrupt(f"entry {entry.seq} takes incident {body.incident} from {row.state} to {body.state}")
    if worse(row.severity, body.severity) != body.severity:
        raise Corrupt(f"entry {entry.seq} lowers the severity of incident {body.incident}")
    more = 1 if body.signal is not None else 0
    since_us = row.state_us if body.state == row.state else at_us
    state.change(
        "incident", body.incident, state=body.state, severity=body.severity, signals=row.signals + more,
        state_us=since_us, proposed=None if more else row.proposed,
    )  # fmt: skip


@_folds(kinds.AuthorityChanged)
def _authority(state: Projections, entry: Entry[Any], body: kinds.AuthorityChanged, at_us: int) -> None:
    row = state.agent.get(str(entry.agent))
    if row is None or row.authority != body.was or body.epoch <= row.epoch:
        raise Corrupt(f"entry {entry.seq} changes the authority of {entry.agent} from a state it is not in")
    if body.now not in AUTHORITY[row.authority]:
        raise Corrupt(f"entry {entry.seq}: {body.was} -> {body.now} is not a step of authority")
    by = body.by if body.now == "SUSPENDED" else row.suspended_by
    stands = releasing.stands(row, body)
    state.change("agent", entry.agent, authority=body.now, epoch=body.epoch, suspended_by=by, **stands)
    if row.orphaned and body.now != "RESTRICTED":
        state.change("agent", entry.agent, orphaned=False)
    if body.now == "SUSPENDED":
        releasing.suspended(state, body.incident)
        mark(state, body.incident, "SUSPENDED", entry.seq)
    elif body.now in ("PROBATION", "ACTIVE"):
        mark(state, body.incident, "RELEASED", entry.seq)


@_folds(kinds.Acknowledged)
@_folds(kinds.Acknowledged2)
def _acknowledged(state: Projections, entry: Entry[Any], body: kinds.Acknowledged, at_us: int) -> None:
    mark(state, body.incident, "ACKNOWLEDGED", entry.seq, holder=body.person, offered=None)
    acknowledged(state, body.incident, body.person, at_us)


FOLDS.update(releasing.after(FOLDS))
FOLDS.update(observed.FOLDS)
FOLDS.update(custody.FOLDS)
FOLDS.update(ends.FOLDS)
