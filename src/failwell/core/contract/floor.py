"""Floors: what an organisation or a group asks of every contract, which a contract can only tighten.

A floor's clauses and limits are judged beside the contract's own, under ids of their own (`FLOOR/RULE`); the strictest
word wins, so that nothing a contract says can take one back. They bind what the contract lists: a floor lists no tool,
and so allows nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256

import msgspec

from failwell.core import canonical
from failwell.core.contract.model import (
    MAX_CANONICAL_BYTES,
    Clause,
    Contract,
    Limit,
    Record,
    Restricted,
)
from failwell.core.errors import ContractError, InputError

#: Digests of floors by id; each with its floor, which lives as long as it stands here.
_DIGESTS: dict[int, tuple[Floor, str]] = {}
_MOST_DIGESTS = 256

#: Of two words about irreversible tools the one that lets less through.
_STRICTNESS = {"allow": 0, "escalate": 1, "deny": 2}


class Floor(Record, frozen=True):
    """One version of a floor. `scope` is `organisation` or `group:NAME`.

    `tools` of a clause or limit may end in `*`. `never`: tools that are denied. `witnessed`, `stoppable`: every tool
    with an effect must name a witness, a deadline. `custody`: the words that such a tool may say of its credential.
    """

    floor: str
    version: int
    scope: str
    purpose: str
    never: tuple[str, ...] = ()
    clauses: tuple[Clause, ...] = ()
    limits: tuple[Limit, ...] = ()
    restricted: Restricted | None = None
    witnessed: bool = False
    stoppable: bool = False
    custody: tuple[str, ...] = ()


def floor_to_canonical(floor: Floor) -> bytes:
    """The canonical JSON of a floor: the bytes that are signed and adopted. ContractError beyond 48 KiB."""
    try:
        return canonical.encode(msgspec.to_builtins(floor), max_bytes=MAX_CANONICAL_BYTES)
    except InputError as error:
        raise ContractError(f"floor {floor.floor}: {error.message}", hint=error.hint) from error


def floor_from_canonical(data: bytes) -> Floor:
    """The floor of canonical bytes; ContractError unless `floor_to_canonical` gives exactly these back."""
    try:
        floor = msgspec.convert(canonical.decode(data, max_bytes=MAX_CANONICAL_BYTES), Floor, strict=True)
    except (InputError, msgspec.ValidationError) as error:
        raise ContractError(f"not a canonical floor: {error}") from error
    if floor_to_canonical(floor) != data:
        raise ContractError("not a canonical floor: a field is written that stands for nothing")
    return floor


def floor_digest(floor: Floor) -> str:
    """The lower-case hex SHA-256 of the floor's canonical bytes."""
    # Every decision asks for it, and a floor never changes. Its id is its own as long as it is kept beside.
    known = _DIGESTS.get(id(floor))
    if known is not None:
        return known[1]
    found = sha256(floor_to_canonical(floor)).hexdigest()
    if len(_DIGESTS) >= _MOST_DIGESTS:
        _DIGESTS.clear()
    _DIGESTS[id(floor)] = (floor, found)
    return found


def matches(pattern: str, tool: str) -> bool:
    """Whether a floor's word for tools is about `tool`."""
    return tool.startswith(pattern[:-1]) if pattern.endswith("*") else tool == pattern


def under(contract: Contract, floors: Iterable[Floor]) -> Contract:
    """The contract as it is judged: its own rules, and those of the floors that speak of its tools."""
    for floor in floors:
        contract = _under_one(contract, floor)
    return contract


def _under_one(contract: Contract, floor: Floor) -> Contract:
    listed = tuple(tool.tool for tool in contract.tools)

    def of(patterns: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(tool for tool in listed if any(matches(pattern, tool) for pattern in patterns))

    clauses = [
        Clause(
            id=f"{floor.floor}/never", then="deny", tools=of(floor.never), severity="major",
            because=f"The floor {floor.floor} denies this tool.",
        ),
        *(msgspec.structs.replace(c, id=f"{floor.floor}/{c.id}", tools=of(c.tools)) for c in floor.clauses),
    ]  # fmt: skip
    limits = [
        msgspec.structs.replace(
            limit,
            id=f"{floor.floor}/{limit.id}",
            # What a sequence begins with does not wait for itself: `"*"` after a tool means every other one.
            tools=tuple(tool for tool in of(limit.tools) if tool != limit.needs),
        )
        for limit in floor.limits
    ]
    return msgspec.structs.replace(
        contract,
        clauses=(*contract.clauses, *(clause for clause in clauses if clause.tools)),
        limits=(*contract.limits, *(limit for limit in limits if limit.tools or limit.kind == "blast")),
        restricted=_stricter(contract.restricted, floor.restricted),
    )


def _stricter(own: Restricted, floor: Restricted | None) -> Restricted:
    if floor is None:
        return own
    return Restricted(
        irreversible=max(own.irreversible, floor.irreversible, key=_STRICTNESS.__getitem__),
        limits="half" if "half" in (own.limits, floor.limits) else "same",
    )
