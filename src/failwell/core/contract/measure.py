"""Limits of one action: how far each is used, what the action would take of it, and which of them speak.

Nothing is counted here: usage comes in (`Situation.usage`), what is taken is told (`Use`) and kept by the caller.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from failwell.core import canonical
from failwell.core.contract.argument import Value
from failwell.core.contract.judgment import Decided, Fact, Situation, Use
from failwell.core.contract.model import Limit, Tool
from failwell.core.errors import ContractError

#: What RESTRICTED and PROBATION halve; the others bound what one action may stand beside or behind.
_HALVED = frozenset({"count", "sum", "rate", "blast", "concurrent"})


def bound(limit: Limit, *, halved: bool) -> int:
    """How much a limit lets through, for an agent that is bound more tightly now if `halved`."""
    return limit.at_most // 2 if halved and limit.kind in _HALVED else limit.at_most


def measured_as(limit: Limit, tool: str) -> str:
    """What a limit measures when `tool` is called: its kind, or `gives` where a sequence needs that to be done."""
    return "gives" if limit.kind == "sequence" and tool not in limit.tools else limit.kind


def concerns(limit: Limit, tool: Tool) -> bool:
    """Whether a limit is measured when `tool` is called, or an action of `tool` is what a sequence needs."""
    if limit.kind == "blast":
        return tool.effect == "irreversible"
    return tool.tool in limit.tools or limit.needs == tool.tool


class Bound:
    """A limit as it bounds one tool."""

    __slots__ = ("adds", "apart", "decided", "gives", "limit", "subject")

    def __init__(self, limit: Limit, decided: Decided, tool: Tool) -> None:
        self.limit = limit
        self.decided = decided
        self.apart = bool(limit.keys or limit.each)
        self.gives = measured_as(limit, tool.tool) == "gives"
        affects = tool.affects
        #: The argument whose values it adds up; None: actions are counted.
        self.adds = limit.sums
        if limit.kind == "blast" and limit.sums is not None:
            self.adds = None if affects is None else affects.amount
            if self.adds is None:
                raise ContractError(f"{tool.tool}: limit {limit.id} adds up amounts, and it declares none")
        #: The argument that names the person whom it is about.
        self.subject = tool.subject or (None if affects is None else affects.customer)

    def key(self, facts: Mapping[str, Fact], situation: Situation) -> tuple[str, ...]:
        """The values that this limit is kept apart for."""
        parts = [_text(facts[name].value) for name in self.limit.keys]
        for each in self.limit.each:
            if each == "run":
                parts.append(f"run {situation.run}")
            elif each == "principal":
                parts.append(f"principal {situation.principal}")
            else:
                named = None if self.subject is None else facts[self.subject].value
                parts.append(f"subject {_text(named)}")
        return tuple(parts)


def measure(
    bounds: Iterable[Bound], facts: Mapping[str, Fact], situation: Situation, *, halved: bool
) -> tuple[tuple[Use, ...], list[Decided]]:
    """How far each limit is used, and those that speak."""
    uses, spoke = [], []
    for each in bounds:
        limit = each.limit
        key = each.key(facts, situation) if each.apart else ()
        at_most = bound(limit, halved=True) if halved else limit.at_most
        used = 0 if each.gives else situation.usage(limit, key)
        adds = 1 if each.adds is None else facts[each.adds].value
        if type(adds) is not int or adds < 0:  # lint lets no such contract through
            raise ContractError(f"limit {limit.id} adds up what is not an amount")
        use = Use(limit=limit, at_most=at_most, used=used, key=key, adds=adds, gives=each.gives)
        uses.append(use)
        if use.over:
            spoke.append(each.decided)
    return tuple(uses), spoke


def _text(value: Value | None) -> str:
    """The RFC 8785 text of a key value: null and the text "null" are different keys."""
    # A list is a set of values here: another order must not make another key.
    return canonical.jcs(sorted(set(value)) if isinstance(value, tuple) else value).decode()
