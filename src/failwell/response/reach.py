"""What an agent could still have done when it was suspended: what its contract and limits had left at that moment.

Reachable but untouched is what the suspension saved. It is computed from the contract and floors that were in force and
from what had been reserved by then; what an agent would have done with it nobody can say.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from failwell.core import contract as contracts
from failwell.core import rows
from failwell.core.contract import Contract, Limit, Tool, parse_type
from failwell.core.contract.duration import format_duration
from failwell.core.contract.measure import bound
from failwell.core.errors import ContractError
from failwell.core.state import State
from failwell.core.windows import EVER

#: Under which authority limits are halved, where the contract says so.
_TIGHTENED = frozenset({"RESTRICTED", "PROBATION"})
#: What a window of reservations counts; the others bound what one action may stand beside or behind.
_COUNTED = frozenset({"count", "sum", "rate", "blast"})
#: Kinds that leave nothing to be counted: an order of steps is no amount.
_NO_AMOUNT = frozenset({"sequence"})


class Left(msgspec.Struct, frozen=True, kw_only=True):
    """What one limit had left. `used` and `left` None: it is kept apart for each of `apart`, and `at_most` is for each.

    `unit`: actions, or the argument whose amounts are added up (then the figures are decimal text in major units).
    `then`: what lies beyond, deny or escalate.
    """

    limit: str
    kind: str
    tools: tuple[str, ...]
    unit: str
    at_most: str
    used: str | None
    left: str | None
    per: str | None
    apart: tuple[str, ...]
    then: str


class Reach(msgspec.Struct, frozen=True, kw_only=True):
    """What was left of `contract` at entry `suspended`. `unbounded`: tools with an effect that no limit counted."""

    suspended: int
    contract: str
    authority: str
    left: tuple[Left, ...]
    unbounded: tuple[str, ...]
    #: Irreversible tools that were within reach without a person.
    irreversible: tuple[str, ...]
    unknown: tuple[str, ...]


def reach(state: State, agent: str, suspended: int, at_us: int, was: str) -> Reach | None:
    """What `agent` had left at its suspension (entry, ledger time, the authority it had); None without a contract.

    Asks for windows of reservations, as a verdict does: called in the writer's turn.
    """
    found = _contract_at(state, agent, suspended)
    if found is None:
        return None
    row, own = found
    floors, unknown = _floors_at(state, agent, suspended)
    contract = contracts.under(own, floors)
    tight = was in _TIGHTENED
    halved = tight and contract.restricted.limits == "half"
    limit_us = state.limit_us(at_us)
    limits = [each for each in contract.limits if each.then != "record" and each.kind not in _NO_AMOUNT]
    left = tuple(_left(state, agent, contract, each, suspended, limit_us, halved=halved) for each in limits)
    acting = [tool for tool in contract.tools if tool.effect != "read"]
    waits = tight and contract.restricted.irreversible != "allow"
    return Reach(
        suspended=suspended, contract=f"{row.id}@{row.version}", authority=was, left=left,
        unbounded=tuple(tool.tool for tool in acting if not any(_counts(each, tool) for each in limits)),
        irreversible=() if waits else tuple(tool.tool for tool in acting if tool.effect == "irreversible"),
        unknown=unknown,
    )  # fmt: skip


def _contract_at(state: State, agent: str, suspended: int) -> tuple[rows.ContractRow, Contract] | None:
    """The contract that was in force then: what was adopted since bounded nothing yet."""
    mine = [(row.adopted, digest) for digest, row in state.contract.items() if row.agent == agent]
    before = [digest for adopted, digest in sorted(mine) if adopted < suspended]
    if not before:
        return None
    try:
        contract = state.contract_at(before[-1])
    except ContractError:  # of an earlier release: it allowed nothing
        return None
    return None if contract is None else (state.contract[before[-1]], contract)


def _floors_at(state: State, agent: str, suspended: int) -> tuple[tuple[contracts.Floor, ...], tuple[str, ...]]:
    """The floors that were in force then, and which of them cannot be told any more."""
    floors, unknown = [], []
    for name, row in state.floor_rows_of(agent):
        if row.adopted < suspended:
            floors.append(contracts.floor_from_canonical(row.document.encode()))
        elif row.version > 1:
            unknown.append(f"floor {name} was replaced since: what it left is not counted")
    return tuple(floors), tuple(unknown)


def _counts(limit: Limit, tool: Tool) -> bool:
    """Whether a limit bounds how much of a tool there can be, whatever it is asked for."""
    if limit.kind not in _COUNTED or limit.keys or limit.each:
        return False
    return tool.effect == "irreversible" if limit.kind == "blast" else tool.tool in limit.tools


def _left(
    state: State, agent: str, contract: Contract, limit: Limit, suspended: int, limit_us: int, *, halved: bool
) -> Left:  # fmt: skip
    at_most = bound(limit, halved=halved)
    unit, places = _unit(contract, limit)
    apart = (*limit.keys, *limit.each)
    used = None
    if not apart and limit.kind in _COUNTED:
        used = _used(state, agent, limit, suspended, limit_us)
    return Left(
        limit=limit.id, kind=limit.kind, tools=limit.tools, unit=unit, at_most=major(at_most, places),
        used=None if used is None else major(used, places),
        left=None if used is None else major(max(0, at_most - used), places),
        per=format_duration(limit.per_us) if limit.per_us else None, apart=apart, then=limit.then,
    )  # fmt: skip


def _used(state: State, agent: str, limit: Limit, suspended: int, limit_us: int) -> int:
    """What was reserved of a limit when the agent was suspended: by what was decided before, and is within its time."""
    since_us = limit_us - limit.per_us if limit.per_us else EVER
    held = state.limit_window(agent, limit.id, None, since_us).held
    counted = [adds for at_us, seq, adds in held if seq < suspended and at_us > since_us]
    return sum(counted) if limit.sums is not None else len(counted)


def _unit(contract: Contract, limit: Limit) -> tuple[str, int]:
    """(what a limit counts, decimals of its amounts)."""
    if limit.sums is None:
        return "actions", 0
    for tool in contract.tools:
        name = amount_argument(tool) if limit.kind == "blast" else limit.sums
        if limit.kind == "blast" or tool.tool in limit.tools:
            places = places_of(tool, name)
            if places is not None:
                return str(name), places
    return limit.sums, 0


def amount_argument(tool: Tool) -> str | None:
    """The argument that says how much an action of the tool touches."""
    return None if tool.affects is None else tool.affects.amount


def places_of(tool: Tool, name: str | None) -> int | None:
    """The decimals of an argument's amounts; None where it is none."""
    for argument in tool.arguments:
        if argument.name == name:
            places: int | None = getattr(parse_type(argument.type), "places", None)
            return places
    return None


def major(amount: int, places: int) -> str:
    """An amount in smallest units as decimal text in major units."""
    return str(Decimal(amount).scaleb(-places)) if places else str(amount)
