"""Runs and what decisions say of them: on whose behalf, through whom, under which posture, as far as could be known.

Whoever keeps the record can write that a host proved whose task it was, that nobody handed it over, or that another
model was declared. A run says it with its host, its parent and its own posture; every decision of it must agree.
"""

from __future__ import annotations

from hashlib import sha256

from failwell.core import contract as contracts
from failwell.core import kinds, rows
from failwell.core.delegating import handed
from failwell.core.records import Entry
from failwell.core.state import State


def run_fault(entry: Entry[kinds.RunOpened], state: State) -> str | None:
    """What a run says of itself that cannot be so; None for nothing."""
    body, agent = entry.body, str(entry.agent)
    if isinstance(body, kinds.RunOpened2) and body.parent is not None:
        return _handed_over_fault(body, agent, state)
    if isinstance(body, kinds.RunOpened2) and body.chain:
        return "it was handed over by nobody, and names who handed it over"
    host = None if body.host is None else state.host.get(body.host)
    if body.host is not None and (host is None or agent not in host.agents):
        return f"{body.host} is no host of {agent}"
    known = "asserted" if body.host is None else "verified"
    for what, value, said in (
        ("principal", body.principal, body.principal_provenance), ("request", body.request, body.request_provenance),
    ):  # fmt: skip
        if said != ("absent" if value is None else known):
            return f"its {what} is {said}, which a run of this kind cannot say"
    return None


def _handed_over_fault(body: kinds.RunOpened2, agent: str, state: State) -> str | None:
    row = state.run.get(body.parent or 0)
    if row is None or not row.open:
        return f"run {body.parent}, which it was handed over from, is not open"
    same = (row.principal, handed(row.principal_provenance), row.principal_kind, handed(row.request))
    if (body.principal, body.principal_provenance, body.principal_kind, body.request_provenance) != same:
        return f"its principal or request is not that of run {body.parent}"
    if body.chain != (*row.chain, row.agent) or agent in body.chain or body.host is not None:
        return "its chain is not that of the run it was handed over from"
    contract = state.contract_of(row.agent)
    if contract is None or not {agent, state.agent[agent].name} & set(contract.delegates):
        return f"the contract of {row.agent} hands no work to {agent}"
    return None


def standing_faults(entry: Entry[kinds.Decision], state: State) -> list[tuple[str, str]]:
    """What a decision says of its run, chain and posture that was not so: (code, words) each."""
    body, agent = entry.body, str(entry.agent)
    row = state.agent.get(agent)
    run = None if entry.run is None else state.run.get(entry.run)
    wrong = []
    if body.principal != (None if run is None else run.principal):
        wrong.append(("decision.principal", "the principal is not that of the run"))
    if isinstance(body, kinds.Decision2):
        known = "absent" if run is None else run.principal_provenance
        if body.principal_provenance != known:
            wrong.append(("decision.principal", f"the principal is {known} in the run, and not in the decision"))
    if row is not None and body.chain != _chain(state, agent, run):
        wrong.append(("decision.chain", "the chain does not name who handed the run over"))
    own = None if run is None else run.posture
    if body.posture != (own if own is not None else None if row is None else row.posture):
        wrong.append(("decision.posture", "the posture is not the one in force"))
    elif isinstance(body, kinds.Decision2) and row is not None and not _governs(body, row, agent, state):
        wrong.append(("decision.posture", "the posture is of another contract, configuration, evaluator or floor"))
    return wrong


def _chain(state: State, agent: str, run: rows.Run | None) -> tuple[str, ...]:
    links = (*(() if run is None else run.chain), agent)
    return (f"owner:{state.agent[links[0]].owner}", *(f"agent:{name}" for name in links))


def _governs(body: kinds.Decision2, row: rows.Agent, agent: str, state: State) -> bool:
    """Whether the posture that a decision cites says what governed it; true for one that is not at hand any more."""
    posture = None if body.posture is None else state.postures.get(body.posture)
    if posture is None:
        return True
    floors = state.floors_of(agent)
    digest = sha256("".join(map(contracts.floor_digest, floors)).encode()).hexdigest() if floors else None
    said = (posture.contract_digest, posture.configuration, posture.evaluator, posture.floors)
    return said == (row.contract, state.configuration, body.evaluator, digest)
