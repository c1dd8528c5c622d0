"""The path of an incident: whose it is, what its steps are, and after how long at most its last resort is asked.

A contract's own path goes before the house's. Behind every path stands a last resort, declared or not: there is no
path that ends in nobody.
"""

from __future__ import annotations

from failwell.core.contract import Contract, Step
from failwell.core.contract.path_words import AGAIN_US, WITHIN_US, within_us
from failwell.core.errors import ContractError
from failwell.core.kinds import PathStep
from failwell.core.projections import Projections

EMAIL = "email"
ANY, ALL = "any", "all"
#: The target of a last resort that nobody declared: whoever runs the house, else everybody.
HOUSE = "house"

_OWNER = PathStep(
    notify="owner", by=(EMAIL,), within_us=WITHIN_US, rounds=1, require=ANY, severity="minor", hours="",
    last_resort=False,
)  # fmt: skip
#: Where neither a contract nor the settings say anything.
DEFAULT = (
    _OWNER,
    PathStep(
        notify="role:operator", by=(EMAIL,), within_us=WITHIN_US, rounds=1, require=ANY, severity="minor", hours="",
        last_resort=False,
    ),
)  # fmt: skip


def path_of(state: Projections, agent: str, instead: Contract | None = None) -> tuple[str, tuple[PathStep, ...]]:
    """Whose path an incident of `agent` ("": nobody knows it yet) takes, and its steps, the last resort included.
    `instead` is a contract that is not in force yet.
    """
    source, steps = steps_of(state, agent, instead)
    return source, closed(state, steps or DEFAULT)


def steps_of(state: Projections, agent: str, instead: Contract | None = None) -> tuple[str, tuple[PathStep, ...]]:
    """The same as somebody wrote them down: without a last resort that nobody declared, () where nobody did."""
    contract = _contract(state, agent) if instead is None else instead
    if contract is not None and contract.escalation:
        return f"{contract.contract} v{contract.version}", tuple(_declared(step) for step in contract.escalation)
    escalating = state.workspace[1].escalation if state.workspace else None
    if escalating is not None and escalating.path:
        return "the house", escalating.path
    return "the default", ()


def closed(state: Projections, path: tuple[PathStep, ...]) -> tuple[PathStep, ...]:
    """The steps up to the first last resort; with one where none is declared, by every channel there is."""
    for number, step in enumerate(path):
        if step.last_resort:
            return path[: number + 1]
    escalating = state.workspace[1].escalation if state.workspace else None
    shared = () if escalating is None else tuple(name for name, _ in escalating.channels)
    last = PathStep(
        notify=HOUSE, by=(EMAIL, *shared), within_us=AGAIN_US, rounds=1, require=ANY, severity="minor", hours="",
        last_resort=True,
    )  # fmt: skip
    return (*path, last)


def total_us(path: tuple[PathStep, ...]) -> int:
    """After how long at most the last resort is asked for the first time, with no step passed over."""
    return sum(step.within_us * step.rounds for step in path if not step.last_resort)


def _contract(state: Projections, agent: str) -> Contract | None:
    try:
        return state.contract_of(agent)
    except ContractError:
        return None


def _declared(step: Step) -> PathStep:
    """A contract's step, with what it leaves to the house."""
    return PathStep(
        notify=step.notify, by=step.by, within_us=within_us(step), rounds=1 + step.repeat, require=str(step.require),
        severity=step.severity, hours=step.hours, last_resort=step.last_resort,
    )  # fmt: skip
