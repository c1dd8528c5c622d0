"""Near-misses: cases where the gate held and nothing had an effect. They count as catches, so the bar is high (R26).

What only might have had an effect makes a case real: a limit that counts what ran was reached by what ran.
"""

from __future__ import annotations

from failwell.core import kinds
from failwell.core.errors import ContractError
from failwell.core.projections import Projections

REAL, NEAR_MISS = "real", "near-miss"
#: Signals of what did not run, or not before a person had answered.
_DID_NOT_RUN = ("denied", "escalated", "ticket.denied")
#: Limits that are reached by what ran before.
_COUNTED = frozenset({"count", "sum", "rate", "blast"})
#: What says so even where no rule acts on it.
_HARM = ("ensure", "bypass", "executor.unconfirmed", "compensate")


def had_effect(state: Projections, agent: str, signal: str, about: int) -> bool:
    """Whether a signal tells of something that may have had an effect; where nobody can say, it may."""
    what, _, rest = signal.partition("(")
    if what == "recorded":
        return about in state.action  # told of a denied action it tells of nothing that ran
    if what != "denied":
        return what not in _DID_NOT_RUN
    name = rest.removesuffix(")")
    if "/" in name:
        return True  # a limit of who handed the work over
    try:
        limit = state.limits_of(agent).get(name)
    except ContractError:
        return True
    return limit is not None and limit.kind in _COUNTED


def kind_of(state: Projections, agent: str, signal: kinds.Signal, began: int, tools: frozenset[str]) -> str:
    """What kind of case a signal of the gate opens that `began` with an entry about one of `tools`."""
    if state.workspace[1].rules < 2 or had_effect(state, agent, signal.signal, signal.about):
        return REAL
    acted = state.agent[agent].acted
    return REAL if any(acted.get(tool, -1) >= began for tool in tools) else NEAR_MISS


def is_caught_up(state: Projections, agent: str, signal: kinds.Signal) -> bool:
    """Whether a further signal shows that more happened than the gate held."""
    if not had_effect(state, agent, signal.signal, signal.about):
        return False
    return signal.applied or signal.signal.partition("(")[0] in _HARM


def note(state: Projections, agent: str, signal: str, about: int, tool: str) -> dict[str, int]:
    """By tool what the newest signal was about that may have had an effect, with this one."""
    acted = state.agent[agent].acted
    if state.workspace[1].rules < 2 or not had_effect(state, agent, signal, about):
        return acted
    return {**acted, tool: about}
