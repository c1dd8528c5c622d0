"""Whether limits make sense: their numbers, and what they need of each tool that they are about."""

from __future__ import annotations

from failwell.core.canonical import SAFE_INTEGER_LIMIT
from failwell.core.contract.measure import concerns
from failwell.core.contract.model import Limit, Tool
from failwell.core.contract.nearest import meant
from failwell.core.contract.scope import MAX_COUNT, Path, Scope

#: Kinds that bound how often for the same keys, so that their number is 1.
_ONCE = frozenset({"cooldown", "once_per", "sequence"})
_WINDOWED = frozenset({"rate", "cooldown"})
_TIMELESS = frozenset({"concurrent", "sequence"})


class LimitChecks(Scope):
    """The limits of one contract under check."""

    def all(self) -> None:
        """Note everything about the limits that their ids and texts do not show."""
        for number, limit in enumerate(self.contract.limits):
            path: Path = ("limits", number)
            what = f"limit {limit.id}"
            for problem, reason, mend in faults(limit):
                self.error(path, f"{what}{problem}", reason, mend)
            self.fits(path, what, limit)
            self._idle(path, limit, number)

    def fits(self, path: Path, what: str, limit: Limit) -> None:
        """Note where a tool lacks what the limit is measured by."""
        tools = [tool for tool in self.contract.tools if concerns(limit, tool)]
        if limit.kind == "blast" and not tools:
            reason = "No tool of this contract is irreversible."
            self.warn(path, f"{what} bounds nothing.", reason, "Leave it out.")
        if limit.needs is not None and limit.needs not in self.types:
            mend = meant(limit.needs, self.types) or "List the tool, or drop the limit."
            self.error((*path, "after"), f"{what} names {limit.needs}.", "The tool is not listed.", mend)
        for tool in tools:
            self._keys(path, what, limit, tool)
            self._added_up(path, what, limit, tool)

    def _keys(self, path: Path, what: str, limit: Limit, tool: Tool) -> None:
        types = self.types.get(tool.tool, {})
        declared = {argument.name for argument in tool.arguments}
        for key in limit.keys:
            if key in declared and key not in types:
                continue  # its type is wrong, which is told at its own place
            if key not in types:
                mend = meant(key, types) or "Name a declared argument."
                self.error((*path, "keys"), f"{what} is kept per {key}.", f"{tool.tool} has no such argument.", mend)
            elif types[key][0].cedar is None:
                reason = f"{tool.tool}: {key} is {types[key][0].text}, which has no value to compare."
                self.error((*path, "keys"), f"{what} is kept per {key}.", reason, "Name a typed argument.")
        customer = None if tool.affects is None else tool.affects.customer
        if "subject" in limit.each and tool.subject is None and customer is None:
            reason = f"{tool.tool} names neither affects.customer nor subject."
            self.error((*path, "each"), f"{what} is kept per subject.", reason, "Name the argument that says who.")

    def _added_up(self, path: Path, what: str, limit: Limit, tool: Tool) -> None:
        """An argument that is added up is there, is a number, and never takes anything back."""
        if limit.sums is None:
            return
        field = "blast" if limit.kind == "blast" else "sum"
        name: str | None = limit.sums
        if limit.kind == "blast":
            name = None if tool.affects is None else tool.affects.amount
        types = self.types.get(tool.tool, {})
        problem = f"{what} adds up {name or 'amounts'}."
        if name not in types and name in {argument.name for argument in tool.arguments}:
            return  # its type is wrong, which is told at its own place
        if name is None or name not in types:
            lacking = "says no affects.amount" if limit.kind == "blast" else "has no such argument"
            mend = meant(name or "", types) or "Name a declared argument."
            self.error((*path, field), problem, f"{tool.tool} {lacking}.", mend)
            return
        of, optional = types[name]
        mend = "Declare it required, such as money(2, 0..10000)."
        if optional:
            self.error((*path, field), problem, f"{tool.tool}: {name} may be absent.", mend)
        elif of.cedar != "Long":
            self.error((*path, field), problem, f"{tool.tool}: {name} is {of.text}, no number.", mend)
        elif of.bounds is None or of.bounds[0] < 0:
            # Attack: a refund of -200.00 would make room for one of 400.00.
            reason = f"{tool.tool}: {name} has no declared range from 0 on."
            self.error((*path, field), problem, reason, mend)
        elif of.bounds[0] > limit.at_most:
            reason = f"The least {name} of {tool.tool} is {of.bounds[0]}, in the smallest unit."
            self.warn((*path, "at_most"), f"{what} lets nothing through.", reason, "Write at_most in smallest units.")

    def _idle(self, path: Path, limit: Limit, number: int) -> None:
        """A limit that another one always speaks before looks like a bound, and is none."""
        for other_number, other in enumerate(self.contract.limits):
            same = other == limit or not _within(other, limit)
            if other_number != number and _within(limit, other) and (same or other_number < number):
                self.warn(
                    path,
                    f"limit {limit.id} can never be reached.",
                    f"limit {other.id} denies before it speaks.",
                    "Drop one of the two, or tighten this one.",
                )
                return


def _within(loose: Limit, tight: Limit) -> bool:
    """Whether `tight` denies whatever `loose` would be reached by."""
    alike = (loose.kind, loose.keys, loose.each, loose.sums, loose.needs) == (
        tight.kind, tight.keys, tight.each, tight.sums, tight.needs,
    )  # fmt: skip
    longer = tight.per_us == 0 or (loose.per_us != 0 and tight.per_us >= loose.per_us)
    # A rate counts what was denied too, and a limit that escalates or records lets some of it happen.
    return (
        alike and longer and loose.kind in ("count", "sum", "blast", "once_per") and tight.then == "deny"
        and set(loose.tools) <= set(tight.tools) and tight.at_most <= loose.at_most
    )  # fmt: skip


def faults(limit: Limit) -> list[tuple[str, str, str]]:
    """What is wrong with a limit by itself, as (problem, reason, mend)."""
    found = []
    most = SAFE_INTEGER_LIMIT - 1 if limit.sums is not None else MAX_COUNT
    if not 1 <= limit.at_most <= most or (limit.kind in _ONCE and limit.at_most != 1):
        found.append((": at_most is out of range.", "It counts actions, or smallest units.", "Write 1 or more."))
    if limit.per_us < 0 or (limit.kind in _WINDOWED and limit.per_us == 0):
        found.append((" has no period.", "A rate needs one.", "Add per: 1h."))
    if limit.kind in _TIMELESS and limit.per_us:
        found.append((" has a period.", f"A {limit.kind} limit is about now, or this run.", "Leave per out."))
    if len(set(limit.keys)) != len(limit.keys) or len(set(limit.each)) != len(limit.each):
        found.append((": keys are repeated.", "Once is enough.", "Name each once."))
    if limit.kind == "once_per" and not limit.keys and not limit.each:
        found.append((": keys are missing.", "once_per is per keys.", "Add keys: [order_id], or use count."))
    if (limit.kind == "sequence") != (limit.needs is not None):
        found.append((": after is missing or out of place.", "A sequence has one.", "Add after: orders.read."))
    if limit.needs is not None and limit.needs in limit.tools:
        reason = "The first could never come."
        found.append((" comes after itself.", reason, "Name the tool that has to come first."))
    fits = {"sum": limit.sums is not None, "blast": limit.sums in (None, "amount")}
    if not fits.get(limit.kind, limit.sums is None):
        found.append((": what it adds up is missing or out of place.", "Only sum and blast add up.", "Mend sum."))
    if (limit.kind == "blast") != (not limit.tools):
        found.append((" names no tool, or does where it is about all.", "It would not be clear.", "Mend its tools."))
    return found
