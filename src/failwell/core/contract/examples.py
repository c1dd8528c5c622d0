"""A contract's own examples: actions with the verdict that their author expects, judged by the real judge.

Examples stand in the contract's text and are not part of what is signed. What was done before an example is judged
too, at its own time, and counts against limits only where it was allowed; limits count in memory as the ledger does.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import msgspec

from failwell.core.contract.document import Node
from failwell.core.contract.duration import LONGEST_US
from failwell.core.contract.fields import Fields, called
from failwell.core.contract.judge import Compiled, day_us
from failwell.core.contract.judgment import Judgment, Looked, Proposal, Situation, Standing, Use, Verdict
from failwell.core.contract.model import Contract, Limit
from failwell.core.contract.notes import Notes
from failwell.core.errors import InputError

Baseline = Literal["absent", "learning", "locked"]
Authority = Literal["ACTIVE", "RESTRICTED", "PROBATION", "SUSPENDED", "OBSERVED", "REGISTERED", "RETIRED"]

_SECOND_US = 1_000_000
#: When an example is judged that names no day, under a contract that names none: it decides nothing then.
_SOME_DAY = "2026-11-01"


class Earlier(msgspec.Struct, frozen=True, kw_only=True):
    """`times` actions that were allowed `ago_us` before; `running`: they have not ended."""

    tool: str
    arguments: bytes
    ago_us: int
    times: int = 1
    run: int = 1
    running: bool = False
    principal: str | None = None


class Example(msgspec.Struct, frozen=True, kw_only=True):
    """One action and what is expected of it. `facts`: what trusted sources answer; one left out is not answered.

    `by`: ids that must be among those that speak. `approved`: those that a person has answered for.
    """

    about: str
    tool: str
    arguments: bytes
    expect: Verdict
    by: tuple[str, ...] = ()
    facts: dict[str, Any] = {}
    principal: str | None = None
    request: Standing = "asserted"
    authority: Authority = "ACTIVE"
    novel: tuple[str, ...] = ()
    baseline: Baseline = "absent"
    approved: tuple[str, ...] = ()
    at: str | None = None
    after: tuple[Earlier, ...] = ()


class Tried(msgspec.Struct, frozen=True, kw_only=True):
    """How an example went: `problem` is what was otherwise than expected, with the reason; None: nothing."""

    about: str
    expect: Verdict
    verdict: Verdict
    by: tuple[str, ...]
    because: str
    problem: str | None


# ---- reading -------------------------------------------------------------------------------------------------


def read_examples(root: Node, notes: Notes) -> tuple[Example, ...]:
    """The examples in a document; what is wrong with them is noted."""
    listed = root.get("examples")
    if listed is None:
        return ()
    if listed.kind != "list":
        notes.error(listed, "examples is not a list.", "Each is one action.", "Write dashed lines.")
    return tuple(_example(number, node, notes) for number, node in enumerate(listed.items, 1))


def _example(number: int, node: Node, notes: Notes) -> Example:
    fields = Fields(notes, node, called(node, "about", f"example {number}:").removesuffix(":"), "example")
    at = fields.text("at")
    if at is not None:
        fields.parsed("at", at, _day, 0)
    return Example(
        about=fields.text("about") or f"example {number}",
        tool=fields.text("tool", required=True) or "",
        arguments=_arguments(fields),
        expect=fields.choice("expect", Verdict, required=True),
        by=fields.texts("by", single=True),
        facts={name: _value(fields, below) for name, below in fields.members("facts")},
        principal=fields.text("principal"),
        request=fields.choice("request", Standing, "asserted"),
        authority=fields.choice("authority", Authority, "ACTIVE"),
        novel=fields.texts("novel"),
        baseline=fields.choice("baseline", Baseline, "absent"),
        approved=fields.texts("approved"),
        at=at,
        after=tuple(_earlier(below, notes) for below in fields.children("after")),
    )


def _earlier(node: Node, notes: Notes) -> Earlier:
    fields = Fields(notes, node, called(node, "tool", "after"), "earlier")
    return Earlier(
        tool=fields.text("tool", required=True) or "",
        arguments=_arguments(fields),
        ago_us=fields.duration_us("ago") or _SECOND_US,
        times=fields.integer("times") or 1,
        run=fields.integer("run") or 1,
        running=fields.boolean("running"),
        principal=fields.text("principal"),
    )


def _arguments(fields: Fields) -> bytes:
    """The JSON text of the arguments; a text is taken as it stands, so that an example can show what is no JSON."""
    node = fields.get("arguments")
    if node is None:
        return b"{}"
    return node.raw.encode() if node.kind == "text" else msgspec.json.encode(_value(fields, node))


def _value(fields: Fields, node: Node) -> Any:
    try:
        return node.value()
    except InputError as error:
        fields.notes.error(node, f"{fields.what}: this is no JSON value.", f"{error.message}.", error.hint or "")
        return None


def _day(text: str) -> int:
    try:
        return day_us(text)
    except ValueError:
        raise InputError(f"{text!r} is not a day", hint="Write it like 2026-11-01.") from None


# ---- trying --------------------------------------------------------------------------------------------------


def try_all(compiled: Compiled, examples: Iterable[Example]) -> tuple[Tried, ...]:
    """Judge each example by itself: what one did does not count for the next."""
    return tuple(_try(compiled, example) for example in examples)


def _try(compiled: Compiled, example: Example) -> Tried:
    uses = _Uses()
    now_us = day_us(example.at) if example.at is not None else _some_time(compiled.contract)
    broken = None
    for earlier in sorted(example.after, key=lambda one: -one.ago_us):
        broken = broken or _do(compiled, example, earlier, now_us - earlier.ago_us, uses)
    proposal = Proposal(tool=example.tool, arguments=example.arguments)
    judgment = compiled.judge(proposal, _situation(compiled, example, now_us, uses, 1, example.principal))
    by = tuple(clause.id for clause in judgment.clauses)
    missing = [key for key in example.by if key not in by]
    problem = broken
    if problem is None and judgment.verdict != example.expect:
        problem = f"expected {example.expect}, it is {judgment.verdict}: {_why(judgment)}"
    if problem is None and missing:
        problem = f"{judgment.verdict}, but not by {', '.join(missing)}: {_why(judgment)}"
    return Tried(
        about=example.about, expect=example.expect, verdict=judgment.verdict, by=by, because=_why(judgment),
        problem=problem,
    )  # fmt: skip


def _do(compiled: Compiled, example: Example, earlier: Earlier, at_us: int, uses: _Uses) -> str | None:
    """Judge what was done before; why it could not have been done, if it could not."""
    principal = earlier.principal or example.principal
    proposal = Proposal(tool=earlier.tool, arguments=earlier.arguments)
    for number in range(1, earlier.times + 1):
        judgment = compiled.judge(proposal, _situation(compiled, example, at_us, uses, earlier.run, principal))
        if judgment.verdict != "ALLOW":
            which = f" ({number} of {earlier.times})" if earlier.times > 1 else ""
            return f"what it comes after, {earlier.tool}{which}, is {judgment.verdict}: {_why(judgment)}"
        uses.take(judgment, at_us, earlier)
    return None


def _situation(
    compiled: Compiled, example: Example, now_us: int, uses: _Uses, run: int, principal: str | None
) -> Situation:
    asked = {ask.name: ask.lookup for tool in compiled.contract.tools for ask in tool.facts}
    looked = {
        name: Looked(source=source, state="answered", elapsed_us=0, value=example.facts[name])
        if name in example.facts
        else Looked(source=source, state="failed", elapsed_us=0)
        for name, source in asked.items()
    }

    def acts_for(wanted: str) -> bool:
        return principal is not None and (principal == wanted or principal.partition(":")[0] == wanted)

    proven = example.request if example.request in ("derived", "verified") else "asserted"
    standing: Standing = "absent" if principal is None else proven
    return Situation(
        authority=example.authority, now_us=now_us, request=example.request, novel=example.novel,
        baseline=example.baseline, acting_for=standing, acts_for=acts_for, principal=principal, run=run, looked=looked,
        passed=frozenset(example.approved), usage=lambda limit, key: uses.used(limit, key, now_us, run),
    )  # fmt: skip


class _Uses:
    """What was taken of limits, and what sequences were given."""

    def __init__(self) -> None:
        self._taken: list[tuple[int, Use, Earlier]] = []

    def take(self, judgment: Judgment, at_us: int, earlier: Earlier) -> None:
        self._taken += [(at_us, use, earlier) for use in judgment.uses if use.gives or use.taken("ALLOW")]

    def used(self, limit: Limit, key: tuple[str, ...], now_us: int, run: int) -> int:
        """How far `limit` is used before an action at `now_us`."""
        found = [
            (at_us, use.adds, earlier)
            for at_us, use, earlier in self._taken
            if use.limit.id == limit.id and use.key == key
        ]
        if limit.kind == "sequence":
            return sum(earlier.run == run and not earlier.running for _, _, earlier in found)
        if limit.kind == "concurrent":
            return sum(earlier.running for _, _, earlier in found)
        oldest_us = now_us - limit.per_us if limit.per_us else 0
        return sum(adds for at_us, adds, _ in found if at_us > oldest_us)


def _some_time(contract: Contract) -> int:
    """A moment at which the contract is in force, with as much of that behind it as there is."""
    valid = contract.valid
    if valid is not None and valid.until is not None:
        return day_us(valid.until) - _SECOND_US
    return day_us(_SOME_DAY) if valid is None or valid.since is None else day_us(valid.since) + LONGEST_US


def _why(judgment: Judgment) -> str:
    said = "; ".join((*(f"{clause.id}: {clause.because}" for clause in judgment.clauses), *judgment.errors))
    return said or "Inside the contract."
