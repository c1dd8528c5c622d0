"""Two versions of a floor, and what the change means for every contract that stands on it: `diff` for floors.

INVARIANT: "tighter" is said only where the newer one lets nothing through that the older one did not, as far as this
one difference goes. What would take a proof is `unclear`, and both persons who sign look at it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, get_args

import msgspec

from failwell.core.contract.comparing import UNBOUNDED, by_range, by_set, by_when
from failwell.core.contract.diff import Change, Means
from failwell.core.contract.duration import format_duration
from failwell.core.contract.floor import Floor
from failwell.core.contract.model import Clause, Custody, Limit

_THEN = ("record", "escalate", "deny")
_IRREVERSIBLE = ("allow", "escalate", "deny")
_ORDER: tuple[Means, ...] = ("looser", "unclear", "tighter", "words")


def floor_diff(old: Floor | None, new: Floor) -> tuple[Change, ...]:
    """All differences, looser ones first; without `old` everything that the floor asks is new."""
    was = Floor(floor=new.floor, version=0, scope=new.scope, purpose=new.purpose) if old is None else old
    changes = [*_never(was, new), *_asked(was, new), *_restricted(was, new)]
    changes += _rules("clause", was.clauses, new.clauses)
    changes += _rules("limit", was.limits, new.limits)
    if was.purpose != new.purpose:
        changes.append(Change(means="words", about="purpose", says=f"It says now: {new.purpose}"))
    return tuple(sorted(changes, key=lambda change: _ORDER.index(change.means)))


def _never(was: Floor, new: Floor) -> Iterable[Change]:
    for tool in sorted(set(was.never) - set(new.never)):
        yield Change(means="looser", about="never", says=f"{tool} is not denied by the floor any more.")
    for tool in sorted(set(new.never) - set(was.never)):
        yield Change(means="tighter", about="never", says=f"{tool} is denied, whatever a contract says.")


def _asked(was: Floor, new: Floor) -> Iterable[Change]:
    for field, what in (("witnessed", "witness"), ("stoppable", "deadline")):
        before, after = getattr(was, field), getattr(new, field)
        if before != after:
            says = f"Every tool with an effect needs {f'a {what}' if after else f'no {what} any more'}."
            yield Change(means="tighter" if after else "looser", about=field, says=says)
    if was.custody != new.custody:
        everything = frozenset(get_args(Custody))
        before, after = (frozenset(floor.custody) or everything for floor in (was, new))
        told = " or ".join(new.custody) or "anybody"
        says = f"The credential of a tool with an effect may be held by: {told}."
        yield Change(means=by_set(before, after, more="looser"), about="custody", says=says)


def _restricted(was: Floor, new: Floor) -> Iterable[Change]:
    if was.restricted == new.restricted:
        return
    strict = [0 if one.restricted is None else _IRREVERSIBLE.index(one.restricted.irreversible) for one in (was, new)]
    half = [one.restricted is not None and one.restricted.limits == "half" for one in (was, new)]
    worse, better = strict[1] < strict[0] or half[1] < half[0], strict[1] > strict[0] or half[1] > half[0]
    means: Means = "unclear" if worse and better else "looser" if worse else "tighter" if better else "words"
    now = "as the contract says" if new.restricted is None else f"{new.restricted.irreversible} what cannot be undone"
    yield Change(means=means, about="restricted", says=f"A restricted agent: {now}.")


def _rules(what: str, was: tuple[Any, ...], new: tuple[Any, ...]) -> Iterable[Change]:
    before, after = ({rule.id: rule for rule in rules} for rules in (was, new))
    for key in sorted(before.keys() - after.keys()):
        yield Change(means="looser", about=key, says=f"The {what} is gone. It said: {_says(before[key])}")
    for key in sorted(after.keys() - before.keys()):
        means: Means = "words" if after[key].then == "record" else "tighter"
        yield Change(means=means, about=key, says=f"New: {_says(after[key])}")
    for key in sorted(before.keys() & after.keys()):
        if before[key] != after[key]:
            says = f"It said: {_says(before[key])} It says: {_says(after[key])}"
            yield Change(means=_changed(before[key], after[key]), about=key, says=says)


def _changed(was: Any, now: Any) -> Means:
    compared = {"tools", "then", "when", "at_most", "per_us", "because"}
    if any(getattr(was, each.name) != getattr(now, each.name) for each in _others(was, compared)):
        return "unclear"
    found: list[Means] = []
    if set(was.tools) != set(now.tools):
        # A pattern that became a list, or the other way round, is for people to read.
        named = not any(tool.endswith("*") for tool in (*was.tools, *now.tools))
        found.append(by_set(frozenset(was.tools), frozenset(now.tools), more="tighter") if named else "unclear")
    if was.then != now.then:
        found.append("tighter" if _THEN.index(now.then) > _THEN.index(was.then) else "looser")
    if isinstance(was, Clause) and was.when != now.when:
        found.append(by_when(was.when, now.when))
    if isinstance(was, Limit) and was.at_most != now.at_most:
        found.append(by_range(was.at_most, now.at_most))
    if isinstance(was, Limit) and was.per_us != now.per_us:
        found.append(by_range(-(was.per_us or UNBOUNDED), -(now.per_us or UNBOUNDED)))
    return "words" if not found else found[0] if len(set(found)) == 1 else "unclear"


def _others(rule: Any, but: set[str]) -> Iterable[Any]:
    return (field for field in msgspec.structs.fields(type(rule)) if field.name not in but)


def _says(rule: Clause | Limit) -> str:
    tools = ", ".join(rule.tools) or "all tools whose effect is irreversible"
    if isinstance(rule, Clause):
        return f"{rule.then} {tools}{'' if rule.when is None else f' when {rule.when}'}."
    per = f" per {format_duration(rule.per_us)}" if rule.per_us else ""
    return f"{rule.kind} of {tools}: at most {rule.at_most}{per}, beyond it {rule.then}."
