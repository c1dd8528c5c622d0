"""The lock before the fix: while an authority has to hear of an incident first, nothing that gives or loosens passes.

A person marks an incident as serious (Article 73); until somebody writes down that an authority was informed, its agent
gets no looser contract, floor or settings, no authority back, no key, and no hold is lifted. Whatever stops, restricts
or tightens never waits (I8). The verdicts stand in one place: the node asks before it writes, `ledger verify` after.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from failwell.core import kinds
from failwell.core.errors import Refused
from failwell.core.incidents import loosening
from failwell.core.incidents.endings import is_over
from failwell.core.projections import Projections
from failwell.core.records import Entry
from failwell.core.stops import agents_in


def untold(state: Projections, agents: Iterable[str] | None) -> int | None:
    """The first serious incident about one of `agents` (None: about any) of which no authority was informed yet.

    One of which nobody knows whose it is concerns every agent.
    """
    among = None if agents is None else {"", *agents}
    for number, row in sorted(state.incident.items()):
        if row.serious is None or row.informed or (among is not None and row.agent not in among):
            continue
        if not is_over(state, number):
            return number
    return None


def need_told(state: Projections, agents: Iterable[str] | None, what: str) -> None:
    """Raises Refused where `what` has to wait for that."""
    number = untold(state, agents)
    if number is not None:
        raise Refused(
            f"{what} waits: incident {number} is serious, and no authority was informed of it yet",
            hint=f'failwell incident inform {number} --authority "..."   What only tightens or stops is taken at once.',
        )


def need_held(state: Projections, agent: str) -> None:
    """Raises Refused where a suspended agent's record is not under hold: the lock comes before any fix (R9)."""
    row = state.agent[agent]
    case = None if row.incident is None else state.incident.get(row.incident)
    if row.authority == "SUSPENDED" and case is not None and "HELD" not in case.marks:
        raise Refused(
            f"{row.name} is suspended for incident {row.incident}, and its record is not held",
            hint=f'failwell hold place {row.name} --incident {row.incident} --reason "..."',
        )


def need_tight(state: Projections, agent: str, document: str) -> None:
    """Raises Refused where a contract loosens and has to wait."""
    if untold(state, (agent,)) is not None and (why := loosening.contract_loosens(state, agent, document)):
        need_told(state, (agent,), f"this contract ({why})")


def need_tight_floor(state: Projections, document: str, scope: str) -> None:
    """The same for a floor of `scope`."""
    if untold(state, bound_by(state, scope)) is not None and (why := loosening.floor_loosens(state, document)):
        need_told(state, bound_by(state, scope), f"this floor ({why})")


def need_tight_settings(state: Projections, old: str | None, new: str) -> None:
    """The same for settings, which bind every agent. `old` are those in force, None where they cannot be read."""
    if untold(state, None) is None:
        return
    why = "they cannot be compared with those in force" if old is None else loosening.settings_loosen(old, new)
    if why is not None:
        need_told(state, None, f"what these settings change ({why})")


def bound_by(state: Projections, scope: str) -> tuple[str, ...] | None:
    """The agents that a floor of `scope` binds; None for all."""
    if scope == "organisation":
        return None
    group = scope.removeprefix("group:")
    return tuple(name for name, row in state.agent.items() if group in row.groups)


# ---- after the fact ------------------------------------------------------------------------------------------


def passed_untold(entry: Entry[Any], state: Projections, settings: str | None) -> str | None:
    """What an entry let pass that had to wait, in the state that it met; None for nothing.

    `settings` is the canonical text of those in force then.
    """
    try:
        if isinstance(entry.body, kinds.ContractAdopted) and entry.agent in state.agent:
            need_held(state, entry.agent)
        if untold(state, None) is not None:  # nearly never
            _hold_against(entry, entry.body, state, settings)
    except Refused as error:
        return error.message
    return None


def _hold_against(entry: Entry[Any], body: Any, state: Projections, settings: str | None) -> None:
    agent = str(entry.agent)
    if isinstance(body, kinds.ContractAdopted):
        need_tight(state, agent, body.document)
    elif isinstance(body, kinds.FloorAdopted):
        need_tight_floor(state, body.document, body.scope)
    elif isinstance(body, kinds.Config):
        need_tight_settings(state, settings, body.text)
    elif isinstance(body, kinds.ReleaseApproved | kinds.ReleaseBroken):
        need_told(state, (agent,), "the release")
    elif isinstance(body, kinds.Observation):
        need_told(state, (agent,), "to let it act ungoverned")
    elif isinstance(body, kinds.AgentKey) and body.status == "active" and needs_key(state, agent):
        need_told(state, (agent,), "the key")
    elif isinstance(body, kinds.ScopeLifted):
        need_told(state, agents_in(state, body.scope), "to lift the stop")
    elif isinstance(body, kinds.HoldLifted):
        held = state.hold[body.hold].agent
        need_told(state, (held,) if held else None, "to lift the hold")


def needs_key(state: Projections, agent: str) -> bool:
    """Whether an agent that had a key has none: a new one lets it act again."""
    row = state.agent.get(agent)
    return row is not None and row.key is None and row.keyed is not None
