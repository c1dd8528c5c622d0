"""Whether a change of contract, floor or settings lets more through than what is in force, or may.

INVARIANT: "no" is said only where the change is known to tighten, or to concern nothing that a verdict, a stop or the
record hangs on. What cannot be told loosens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from failwell.core import contract as contracts
from failwell.core.contract.diff import diff, loosened
from failwell.core.errors import ContractError, FailwellError
from failwell.core.people import returns
from failwell.core.projections import Projections


def contract_loosens(state: Projections, agent: str, document: str) -> str | None:
    """What a contract (its canonical text) loosens for `agent`, in words; None where it only tightens."""
    row = state.agent[agent]
    if row.contract is None:
        return "it is the agent's first: without one everything is denied"
    if returns(row):
        return "with it the agent acts unrestricted again"
    try:
        old, new = state.contract_of(agent), contracts.from_canonical(document.encode())
    except ContractError:
        return "it cannot be compared with the one in force"
    return "there is none to compare it with" if old is None else _first(diff(old, new))


def floor_loosens(state: Projections, document: str) -> str | None:
    """The same for a floor."""
    try:
        new = contracts.floor_from_canonical(document.encode())
        known = state.floor.get(new.floor)
        old = None if known is None else contracts.floor_from_canonical(known.document.encode())
    except FailwellError:
        return "it cannot be compared with the one in force"
    return _first(contracts.floor_diff(old, new))


def _first(changes: Iterable[Any]) -> str | None:
    return next((f"{change.about}: {change.says}" for change in changes if loosened((change,))), None)


# ---- settings ------------------------------------------------------------------------------------------------

#: Tables of which more is never less safe: what is noticed, kept, told or taken away by them.
_MORE = frozenset({"keepers", "objectives", "preserve", "revocation", "witness"})
#: Tables of which less is never less safe: what runs, is trusted, held or asked. A source that is gone denies.
_LESS = frozenset({"http", "secrets", "sources", "tools", "trust", "upstreams"})
#: Single fields that bind or free nobody, and those of which less is safer.
_FREE = frozenset({"idle_s", "warm_supervisors"})
_LOWER = frozenset({"certificate_minutes", "interrupt_bound_ms", "lifetime_s", "self_test_minutes"})


def settings_loosen(old: str, new: str) -> str | None:
    """What settings (their canonical texts) loosen, in words; None where they only tighten."""
    try:
        was, now = (msgspec.json.decode(text, type=dict[str, Any]) for text in (old, new))
    except msgspec.MsgspecError:
        return "they cannot be compared with those in force"
    for section in sorted(was.keys() | now.keys()):
        before, after = was.get(section), now.get(section)
        if before != after and not _of(section)(section, before, after):
            return f"[{section}]"
    return None


def _of(section: str) -> Callable[[str, Any, Any], bool]:
    if section in _MORE or section in _LESS:
        return _table
    return _mail if section == "mail" else _fields


def _table(section: str, before: Any, after: Any) -> bool:
    """Whether nothing but whole items came (`_MORE`) or went (`_LESS`)."""
    one, other = _items(before), _items(after)
    kept, grown = (one, other) if section in _MORE else (other, one)
    return all(name in grown and grown[name] == value for name, value in kept.items())


def _items(table: Any) -> dict[str, Any]:
    """A table as its items by name, however it is spelled: pairs, an object, nothing; a section alone is one item."""
    if not table:
        return {}
    if isinstance(table, list):
        return {f"{name} {value}" if isinstance(value, str) else name: value for name, value in table}
    return table if all(isinstance(value, dict) for value in table.values()) else {"": table}


def _mail(section: str, before: Any, after: Any) -> bool:
    """Another way to reach people may be needed tonight; none may not."""
    return after is not None


def _fields(section: str, before: Any, after: Any) -> bool:
    """Whether each field that changed is free, or lower. A section that was left out says what is so by itself."""
    if not isinstance(before, dict) or not isinstance(after, dict):
        return False
    changed = [name for name in before.keys() | after.keys() if before.get(name) != after.get(name)]
    return all(
        name in _FREE
        or (name in _LOWER and name in before and name in after and after[name] < before[name])
        for name in changed
    )  # fmt: skip
