"""Two versions of a contract, and what the change means: looser, tighter, or not known.

INVARIANT: "tighter" is said only where every action that the newer one lets through, the older one let through too,
as far as this one difference goes. Ranges, sets and numbers are compared; what would take a proof (an expression that
reads otherwise) is `unclear`, and whoever signs looks at it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal

import msgspec

from failwell.core.contract import model
from failwell.core.contract.comparing import UNBOUNDED, by_range, by_set, by_type, by_when
from failwell.core.contract.duration import format_duration
from failwell.core.contract.limit_words import bound, tool_of
from failwell.core.contract.path_words import asks
from failwell.core.contract.words import because, listed, names_of

#: What a difference does to what the agent may do. `words`: nothing, it is for people.
Means = Literal["looser", "tighter", "unclear", "words"]


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One difference: `about` is a tool, clause, limit or field; `says` tells it in words."""

    means: Means
    about: str
    says: str


def diff(old: model.Contract, new: model.Contract) -> tuple[Change, ...]:
    """All differences between two sound contracts, looser ones first. Empty: nothing but the version differs."""
    changes = [*_tools(old, new), *_clauses(old, new), *_limits(old, new), *_whole(old, new)]
    order: tuple[Means, ...] = ("looser", "unclear", "tighter", "words")
    return tuple(sorted(changes, key=lambda change: order.index(change.means)))


def loosened(changes: Iterable[Change]) -> bool:
    """Whether anything is looser, or may be."""
    return any(change.means in ("looser", "unclear") for change in changes)


def _together(means: Iterable[Means]) -> Means:
    """Several differences of one thing: one direction where all agree."""
    found = set(means) - {"words"}
    return "words" if not found else found.pop() if len(found) == 1 else "unclear"


# ---- tools ---------------------------------------------------------------------------------------------------


def _tools(old: model.Contract, new: model.Contract) -> Iterable[Change]:
    before, after = ({tool.tool: tool for tool in one.tools} for one in (old, new))
    for name in sorted(before.keys() - after.keys()):
        yield Change(means="tighter", about=name, says="Newly denied: the tool is not listed any more.")
    for name in sorted(after.keys() - before.keys()):
        told = f"Newly allowed, as far as clauses and limits let it: {after[name].effect}."
        yield Change(means="looser", about=name, says=told)
    for name in sorted(before.keys() & after.keys()):
        yield from _tool(before[name], after[name])


def _tool(old: model.Tool, new: model.Tool) -> Iterable[Change]:
    yield from _arguments(old, new)
    for field in model.Tool.__struct_fields__:
        was, now = getattr(old, field), getattr(new, field)
        if field in ("tool", "arguments") or was == now:
            continue
        means, says = _TOOL_FIELDS.get(field, _changed)(was, now)
        yield Change(means=means, about=f"{new.tool}: {field.removesuffix('_us')}", says=says)


def _arguments(old: model.Tool, new: model.Tool) -> Iterable[Change]:
    before, after = ({argument.name: argument for argument in tool.arguments} for tool in (old, new))
    for name in sorted(before.keys() | after.keys()):
        was, now = before.get(name), after.get(name)
        if was == now:
            continue
        means, says = _argument(was, now)
        yield Change(means=means, about=f"{new.tool}: argument {name}", says=says)


def _argument(was: model.Argument | None, now: model.Argument | None) -> tuple[Means, str]:
    if was is None and now is not None:
        if now.optional:
            return "looser", f"It may be given now: {now.type}."
        return "unclear", f"It has to be given now ({now.type}): calls without it are denied, calls with it no more."
    if now is None:
        if was is not None and was.optional:
            return "tighter", "Calls that give it are denied now."
        return "unclear", "It must not be given any more: calls with it are denied now, calls without it no more."
    assert was is not None
    means: list[Means] = []
    says = []
    if was.optional != now.optional:
        means.append("looser" if now.optional else "tighter")
        says.append("It may be left out now." if now.optional else "It has to be given now.")
    if was.type != now.type:
        means.append(by_type(was.type, now.type))
        says.append(f"Its type was {was.type} and is {now.type}.")
    return _together(means), " ".join(says)


def _changed(was: Any, now: Any) -> tuple[Means, str]:
    return "unclear", f"It was {_told(was)} and is {_told(now)}."


def _told(value: Any) -> str:
    if isinstance(value, msgspec.Struct):
        value = {k: v for k, v in msgspec.to_builtins(value).items() if v not in (None, (), [])}
    if isinstance(value, tuple):
        return listed([_told(item) for item in value])
    if isinstance(value, dict):
        told = {key: format_duration(item) if key.endswith("_us") else _told(item) for key, item in value.items()}
        return ", ".join(f"{key.removesuffix('_us')} {item}" for key, item in told.items()) or "nothing"
    return "not said" if value is None else str(value)


def _ordered(*weakest_first: Any) -> Callable[[Any, Any], tuple[Means, str]]:
    """Of words that stand in an order: later ones are tighter; the effect of any other is not known."""

    def compare(was: Any, now: Any) -> tuple[Means, str]:
        means: Means = "unclear"
        if was in weakest_first and now in weakest_first:
            means = "tighter" if weakest_first.index(now) > weakest_first.index(was) else "looser"
        return means, _changed(was, now)[1]

    return compare


def _presence(was: Any, now: Any) -> tuple[Means, str]:
    """Something that is only ever asked in addition: having it is tighter than not having it."""
    means: Means = "tighter" if was is None else "looser" if now is None else "unclear"
    return means, _changed(was, now)[1]


def _asked(was: tuple[Any, ...], now: tuple[Any, ...]) -> tuple[Means, str]:
    """Questions to trusted sources: each that is not answered denies, or is noticed."""
    before, after = ({ask.name: ask for ask in asks} for asks in (was, now))
    means: Means = by_set(frozenset(before), frozenset(after), more="tighter")
    if any(before[name] != after[name] for name in before.keys() & after.keys()):
        means = "unclear"
    told = (", ".join(f"{ask.name} of {ask.lookup}" for ask in asks) or "nothing" for asks in (was, now))
    return means, "It asked for {} and asks for {}.".format(*told)


def _undoing(was: model.Compensate | None, now: model.Compensate | None) -> tuple[Means, str]:
    """It lets through nothing more and nothing less: what it changes is what is left of an action that was stopped."""
    means: Means = "tighter" if was is None else "looser" if now is None else "unclear"
    told = tuple(
        "not undone" if step is None else f"undone by {step.tool} within {format_duration(step.within_us)}"
        for step in (was, now)
    )
    return means, f"An action that was stopped was {told[0]} and is {told[1]}."


def _deadline(was: int | None, now: int | None) -> tuple[Means, str]:
    told = tuple("no bound" if us is None else format_duration(us) for us in (was, now))
    return by_range(was or UNBOUNDED, now or UNBOUNDED), f"It could run for {told[0]} and can for {told[1]}."


_TOOL_FIELDS: dict[str, Callable[[Any, Any], tuple[Means, str]]] = {
    # Irreversible ones are what RESTRICTED tightens, blast budgets count and seals are waited for.
    "effect": lambda was, now: (
        "tighter" if now == "irreversible" else "looser" if was == "irreversible" else "unclear",
        _changed(was, now)[1],
    ),
    "custody": lambda was, now: (
        "looser" if now == "none" else "tighter" if was == "none" else "unclear",
        _changed(was, now)[1],
    ),
    "deadline_us": _deadline,
    "idempotent": lambda was, now: (
        "looser" if now else "tighter",
        "A retry may run it again." if now else "A retry never runs it again.",
    ),
    "witness": _presence,
    "contest": _presence,
    "facts": _asked,
    "ensure": _asked,
    "compensate": _undoing,
}


# ---- clauses -------------------------------------------------------------------------------------------------

_SEVERITY = ("minor", "major", "critical")
_STRICT = ("record", "escalate", "deny")


def _clauses(old: model.Contract, new: model.Contract) -> Iterable[Change]:
    before, after = ({clause.id: clause for clause in one.clauses} for one in (old, new))
    for key in sorted(before.keys() - after.keys()):
        yield Change(means="looser", about=key, says=f"The clause is gone. It said: {_clause_says(old, before[key])}")
    for key in sorted(after.keys() - before.keys()):
        word = "Newly denied" if after[key].then == "deny" else "Newly asked of a person"
        yield Change(means="tighter", about=key, says=f"{word}: {_clause_says(new, after[key])}")
    for key in sorted(before.keys() & after.keys()):
        was, now = before[key], after[key]
        if was != now:
            differences = _rule_differences(was, now)
            if was.when != now.when:
                differences.append(by_when(was.when, now.when))
            told = "Its words for people are others."
            if (means := _together(differences)) != "words":
                told = f"It said: {_clause_says(old, was)} It says: {_clause_says(new, now)}{_severities(was, now)}"
            yield Change(means=means, about=key, says=told)


def _rule_differences(was: Any, now: Any) -> list[Means]:
    """Tools, what follows, and severity of a clause or a limit."""
    found: list[Means] = []
    if set(was.tools) != set(now.tools):
        found.append(by_set(frozenset(was.tools), frozenset(now.tools), more="tighter"))
    for words, one, other in ((_STRICT, was.then, now.then), (_SEVERITY, was.severity, now.severity)):
        if one != other:
            found.append("tighter" if words.index(other) > words.index(one) else "looser")
    return found


def _clause_says(contract: model.Contract, clause: model.Clause) -> str:
    tools = {tool.tool: tool for tool in contract.tools}
    known = next(tools[name] for name in clause.tools if name in tools)
    said = because(msgspec.structs.replace(clause, because=None), names_of(known)).removeprefix("This is ")
    return f"{listed(list(clause.tools))}: {said}"


def _severities(was: Any, now: Any) -> str:
    return "" if was.severity == now.severity else f" Its severity was {was.severity} and is {now.severity}."


# ---- limits --------------------------------------------------------------------------------------------------


def _limits(old: model.Contract, new: model.Contract) -> Iterable[Change]:
    before, after = ({limit.id: limit for limit in one.limits} for one in (old, new))
    for key in sorted(before.keys() - after.keys()):
        yield Change(means="looser", about=key, says=f"The limit is gone. It said: {_limit_says(old, before[key])}")
    for key in sorted(after.keys() - before.keys()):
        means: Means = "words" if after[key].then == "record" else "tighter"
        yield Change(means=means, about=key, says=f"New: {_limit_says(new, after[key])}")
    for key in sorted(before.keys() & after.keys()):
        was, now = before[key], after[key]
        if was != now:
            means = _limit(was, now)
            told = "Its words for people are others."
            if means != "words":
                told = f"It said: {_limit_says(old, was)} It says: {_limit_says(new, now)}{_severities(was, now)}"
            yield Change(means=means, about=key, says=told)


def _limit(was: model.Limit, now: model.Limit) -> Means:
    fixed = ("kind", "keys", "each", "sums", "needs")
    if any(getattr(was, field) != getattr(now, field) for field in fixed):
        # Kept apart otherwise, what was used before does not count for it: for a while it may let more through.
        return "unclear"
    found = _rule_differences(was, now)
    if was.at_most != now.at_most:
        found.append(by_range(was.at_most, now.at_most))
    if was.per_us != now.per_us:
        # The longer a window, the more of what was done counts.
        found.append(by_range(-(was.per_us or UNBOUNDED), -(now.per_us or UNBOUNDED)))
    return _together(found)


def _limit_says(contract: model.Contract, limit: model.Limit) -> str:
    about = listed(list(limit.tools)) if limit.tools else "all tools whose effect is irreversible"
    then = {"deny": "beyond it denied", "escalate": "beyond it a person is asked", "record": "beyond it noted"}
    return f"{about}: {bound(limit, tool_of(contract, limit))[:-1]}, {then[limit.then]}."


# ---- the rest ------------------------------------------------------------------------------------------------


def _whole(old: model.Contract, new: model.Contract) -> Iterable[Change]:
    for field in model.Contract.__struct_fields__:
        was, now = getattr(old, field), getattr(new, field)
        if field in ("contract", "version", "tools", "clauses", "limits") or was == now:
            continue
        means, says = _FIELDS.get(field, _changed)(was, now)
        yield Change(means=means, about=field.removesuffix("_us"), says=says)


def _valid(was: model.Validity | None, now: model.Validity | None) -> tuple[Means, str]:
    one, other = was or model.Validity(), now or model.Validity()
    found: list[Means] = []
    if one.since != other.since:
        found.append("tighter" if (other.since or "") > (one.since or "") else "looser")
    if one.until != other.until:
        found.append("tighter" if (other.until or "9999-99-99") < (one.until or "9999-99-99") else "looser")
    told = (f"from {valid.since or 'ever'} until {valid.until or 'ever'}" for valid in (one, other))
    return _together(found), "It was valid {} and is valid {}.".format(*told)


def _restricted(was: model.Restricted, now: model.Restricted) -> tuple[Means, str]:
    found: list[Means] = []
    for words, one, other in (
        (("allow", "escalate", "deny"), was.irreversible, now.irreversible),
        (("same", "half"), was.limits, now.limits),
    ):
        if one != other:
            found.append("tighter" if words.index(other) > words.index(one) else "looser")
    return _together(found), _changed(was, now)[1]


def _principals(was: tuple[str, ...], now: tuple[str, ...]) -> tuple[Means, str]:
    told = (listed(list(names), "or") if names else "anybody" for names in (was, now))
    says = "It could act for {} and can for {}.".format(*told)
    if not was or not now:
        return ("looser" if not now else "tighter"), says
    return by_set(frozenset(was), frozenset(now), more="looser"), says


def _delegates(was: tuple[str, ...], now: tuple[str, ...]) -> tuple[Means, str]:
    says = f"It could hand a run to {listed(list(was), 'or')} and can to {listed(list(now), 'or')}."
    return by_set(frozenset(was), frozenset(now), more="looser"), says


def _stopping(was: model.Stopping | None, now: model.Stopping | None) -> tuple[Means, str]:
    """The graver a stop is said to be, the less is stopped without a person."""
    one, other = (_SEVERITY.index("minor" if said is None else said.harm) for said in (was, now))
    means: Means = "words" if one == other else "looser" if other > one else "tighter"
    told = ("not said" if said is None else f"{said.harm} ({said.because.rstrip('.')})" for said in (was, now))
    return means, "The harm of a stop was {} and is {}.".format(*told)


def _path(was: tuple[model.Step, ...], now: tuple[model.Step, ...]) -> tuple[Means, str]:
    """It lets through nothing more and nothing less; whether people are told sooner or later takes a person to say."""
    told = (" Then ".join(f"{asks(step)}." for step in steps) or "the house's own path." for steps in (was, now))
    return "unclear", "Asked was: {} Asked is: {}".format(*told)


_FIELDS: dict[str, Callable[[Any, Any], tuple[Means, str]]] = {
    "valid": _valid,
    "restricted": _restricted,
    "principals": _principals,
    "delegates": _delegates,
    "stopping": _stopping,
    "escalation": _path,
    "purpose": lambda was, now: ("words", f"It was: {was} It is: {now}"),
    "applies_to": lambda was, now: ("words", _changed(was, now)[1]),
}
