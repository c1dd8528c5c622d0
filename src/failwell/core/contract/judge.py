"""Judging a proposed action: `compile` once per contract, `Compiled.judge` for every action, both pure.

The order: who may act at all (authority, validity, tool listed), what the arguments are (typed facts),
what the clauses say (Cedar), how far the limits are used. The strictest word wins; what was not reached
because something before it denied is not judged. `Compiled` never changes; reservations are the caller's
(`usage` in, `reserve` out).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from failwell.core import canonical
from failwell.core.contract.argument import Mismatch, Value, parse_type
from failwell.core.contract.checks import check
from failwell.core.contract.expression import parse_when
from failwell.core.contract.finding import BrokenContract, errors_of
from failwell.core.contract.floor import Floor, under
from failwell.core.contract.floor_checks import floor_findings
from failwell.core.contract.judgment import (
    RESERVED,
    Decided,
    Fact,
    Judgment,
    Proposal,
    Question,
    Situation,
    Verdict,
)
from failwell.core.contract.limit_words import bound, wait
from failwell.core.contract.looking import answers, fact_name, questions
from failwell.core.contract.measure import Bound, concerns, measure
from failwell.core.contract.model import Clause, Contract, Limit, Then, Tool
from failwell.core.contract.policy import EvaluationError, compile_policy
from failwell.core.contract.words import Names, because, names_of, what_would_pass
from failwell.core.errors import ContractError, InputError

_ACTING = frozenset({"ACTIVE", "RESTRICTED", "PROBATION", "OBSERVED"})
_TIGHTENED = frozenset({"RESTRICTED", "PROBATION"})
_MAX_ERRORS = 10
_MAX_LISTED = 8


class _Plan:
    """One tool, ready to judge."""

    __slots__ = ("affects", "arguments", "asked", "clauses", "limits", "names", "policy", "tool")

    def __init__(self, contract: Contract, tool: Tool) -> None:
        types = {argument.name: (parse_type(argument.type), argument.optional) for argument in tool.arguments}
        #: What trusted sources are asked: (the question, the type of its answer, whether the answer is public).
        self.asked = tuple((ask, parse_type(ask.type), fact_name(ask.name) in tool.public) for ask in tool.facts)
        clauses = tuple(clause for clause in contract.clauses if tool.tool in clause.tools)
        self.tool = tool
        self.arguments = tuple((name, of, optional, name in tool.public) for name, (of, optional) in types.items())
        self.names = frozenset(types)
        looked = {ask.name: of for ask, of, _ in self.asked}
        policy, _, unsound = compile_policy(contract.agent, tool.tool, clauses, types, looked)
        if unsound:  # a tool without its clauses would be a tool without bounds
            raise ContractError(f"{tool.tool}: clause {next(iter(unsound))} could fail")
        self.policy = policy
        names = names_of(tool)
        self.clauses = {clause.id: _by_clause(clause, names) for clause in clauses}
        self.limits = tuple(
            Bound(limit, _by_limit(limit, tool), tool) for limit in contract.limits if concerns(limit, tool)
        )
        #: (what is affected, argument that names it)
        self.affects: tuple[tuple[str, str], ...] = ()
        if tool.affects is not None:
            named: dict[str, str | None] = msgspec.structs.asdict(tool.affects)
            self.affects = tuple((name, argument) for name, argument in named.items() if argument is not None)

    def read(self, value: Any) -> tuple[dict[str, Fact], list[str]]:
        """Return the facts of the parsed arguments and what is wrong with them."""
        facts: dict[str, Fact] = {}
        if type(value) is not dict:
            return facts, ["the arguments are not an object"]
        errors = []
        for name, of, optional, public in self.arguments:
            given = value.get(name)
            if given is None and optional:
                if of.cedar is not None:
                    facts[name] = Fact(type=of.text, value=None, public=public, provenance="absent")
                continue
            if given is None and name not in value:
                errors.append(f"{name} is missing")
                continue
            try:
                fact = of.read(given)
            except Mismatch as mismatch:
                errors.append(f"{name} is {mismatch.message}")
                continue
            if of.cedar is not None:
                facts[name] = Fact(type=of.text, value=fact, public=public, provenance="asserted")
        if not value.keys() <= self.names:
            # The name itself is the agent's text and may be anything: only declared names are shown.
            count = len(value.keys() - self.names)
            errors.append(f"{count} not in the contract, which has {_listed(self.names)}")
        return facts, errors[:_MAX_ERRORS]


def compile(contract: Contract, floors: Iterable[Floor] = ()) -> Compiled:
    """Return the contract ready to judge, tightened by the floors that it stands on.

    BrokenContract (a ContractError with `findings`) if it is not sound, or cannot be judged under one of the floors.
    """
    what = f"contract {contract.contract} v{contract.version}"
    if findings := errors_of(check(contract)):
        raise BrokenContract(what, findings)
    floors = tuple(floors)
    for floor in floors:
        if findings := errors_of(floor_findings(contract, floor)):
            raise BrokenContract(f"{what} on floor {floor.floor} v{floor.version}", findings)
    return Compiled(under(contract, floors))


class Compiled:
    """A contract ready to judge. Made by `compile`; immutable, and safe to share between threads."""

    __slots__ = ("_plans", "_since_us", "_unlisted", "_until_us", "contract")

    def __init__(self, contract: Contract) -> None:
        self.contract = contract
        self._plans = {tool.tool: _Plan(contract, tool) for tool in contract.tools}
        self._unlisted = _reserved(
            "tool.unlisted", "deny", f"The tool is not in the contract; listed are {_listed(self._plans)}."
        )
        valid = contract.valid
        self._since_us = None if valid is None or valid.since is None else day_us(valid.since)
        self._until_us = None if valid is None or valid.until is None else day_us(valid.until)

    def judge(self, proposal: Proposal, situation: Situation) -> Judgment:
        """Return the verdict on `proposal` in `situation`, with everything it was judged on."""
        plan = self._plans.get(proposal.tool)
        barred = self._barred(plan, situation)
        facts: dict[str, Fact] = {}
        text: bytes | None = None
        errors: list[str] = []
        try:
            value = canonical.parse(proposal.arguments)
            text = canonical.jcs(value)
            if plan is not None:
                facts, errors = plan.read(value)
        except InputError as error:
            errors = [f"the arguments are unreadable: {error.message}"]
        if errors:
            barred.append(_reserved("arguments", "deny", "The arguments are not what the contract declares."))
        if not barred and plan is not None and plan.asked:
            if situation.looked is None:
                return _undecided(facts, text, questions(plan.asked, facts))
            errors = answers(plan.asked, situation.looked, facts)
            if errors:
                barred.append(_reserved("facts", "deny", "A fact that the contract asks for could not be had."))
        if barred or plan is None:
            return _barred_judgment(barred, facts, text, errors, plan)
        return self._weigh(plan, facts, text, situation)

    def _barred(self, plan: _Plan | None, situation: Situation) -> list[Decided]:
        barred = []
        if situation.authority not in _ACTING:
            barred.append(_no_authority(situation.authority))
        now_us = situation.now_us
        if (self._since_us is not None and now_us < self._since_us) or (
            self._until_us is not None and now_us >= self._until_us
        ):
            valid = self.contract.valid
            since, until = (valid.since, valid.until) if valid is not None else (None, None)
            barred.append(
                _reserved(
                    "contract.valid",
                    "deny",
                    f"The contract is valid from {since or 'ever'} until {until or 'ever'}.",
                )
            )
        if plan is None:
            barred.append(self._unlisted)
        allowed = self.contract.principals
        if allowed and not any(map(situation.acts_for, allowed)):
            barred.append(_reserved("principal", "deny", f"It may act only for {_listed(allowed)}."))
        return barred

    def _restricted(self, tool: Tool, authority: str) -> list[Decided]:
        then = self.contract.restricted.irreversible
        if tool.effect != "irreversible" or then == "allow":
            return []
        word = "wait for a person" if then == "escalate" else "are denied"
        because = f"The agent is in {authority}: irreversible actions {word}."
        return [_reserved("authority.restricted", then, because)]

    def _weigh(self, plan: _Plan, facts: dict[str, Fact], text: bytes | None, situation: Situation) -> Judgment:
        tightened = situation.authority in _TIGHTENED
        clauses = self._restricted(plan.tool, situation.authority) if tightened else []
        errors: tuple[str, ...] = ()
        try:
            clauses.extend(_fired(plan, facts, situation))
        except EvaluationError as error:
            # INVARIANT: never ALLOW when a rule could not be evaluated: it may be the one that forbids.
            errors = (error.message,)
            clauses.append(_reserved("evaluation.error", "deny", "A clause could not be evaluated."))
        halved = tightened and self.contract.restricted.limits == "half"
        uses, spoke = measure(plan.limits, facts, situation, halved=halved)
        clauses = _answered([*clauses, *spoke], situation.passed)
        verdict = strictest(clauses)
        return Judgment(
            verdict=verdict,
            clauses=tuple(clauses),
            facts=facts,
            arguments=text,
            affects=_affected(plan, facts),
            uses=uses,
            hint=None if verdict == "ALLOW" else _hint(clauses),
            errors=errors,
        )


def _fired(plan: _Plan, facts: Mapping[str, Fact], situation: Situation) -> list[Decided]:
    if plan.policy is None:
        return []
    fired = plan.policy.evaluate(
        {name: fact.value for name, fact in facts.items() if fact.value is not None},
        {
            "novel": situation.novel, "baseline": situation.baseline, "request": situation.request,
            "principal": situation.acting_for,
        },
    )  # fmt: skip
    return [decided for key, decided in plan.clauses.items() if key in fired]


def day_us(day: str) -> int:
    """Return the start of a UTC day `YYYY-MM-DD` in microseconds since the epoch; ValueError for anything
    else."""
    return int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()) * 1_000_000


def _undecided(facts: dict[str, Fact], text: bytes | None, asked: tuple[Question, ...]) -> Judgment:
    """Nothing yet: the facts have to be asked for first. It denies, should anybody take it for a verdict."""
    return Judgment(
        verdict="DENY", clauses=(), facts=facts, arguments=text, affects={}, uses=(), hint=None, errors=(),
        questions=asked,
    )  # fmt: skip


def _barred_judgment(
    barred: list[Decided], facts: dict[str, Fact], text: bytes | None, errors: list[str], plan: _Plan | None
) -> Judgment:
    hint = f"{_hint(barred)} {'; '.join(errors)}." if errors else _hint(barred)
    return Judgment(
        verdict="DENY",
        clauses=tuple(barred),
        facts=facts,
        arguments=text,
        affects={} if plan is None else _affected(plan, facts),
        uses=(),
        hint=hint,
        errors=tuple(errors),
    )


def _answered(clauses: list[Decided], passed: frozenset[str]) -> list[Decided]:
    """What a person has answered for is told still, and escalates no more."""
    if not passed:
        return clauses
    return [
        msgspec.structs.replace(decided, then="record")
        if decided.then == "escalate" and decided.id in passed
        else decided
        for decided in clauses
    ]


def _affected(plan: _Plan, facts: Mapping[str, Fact]) -> dict[str, Value]:
    affected = {}
    for name, argument in plan.affects:
        fact = facts.get(argument)
        if fact is not None and fact.value is not None:
            affected[name] = fact.value
    return affected


def strictest(clauses: Iterable[Decided]) -> Verdict:
    """The verdict that these clauses and limits give together."""
    words = {decided.then for decided in clauses}
    return "DENY" if "deny" in words else "ESCALATE" if "escalate" in words else "ALLOW"


def _hint(clauses: list[Decided]) -> str:
    return " ".join(decided.mend or decided.because for decided in clauses if decided.then != "record")


def _no_authority(authority: str) -> Decided:
    known = f"authority.{authority.lower()}"
    if known not in RESERVED or known == "authority.restricted":
        return _reserved("authority.unknown", "deny", "The agent's authority is unknown.")
    mend = {"authority.suspended": " Two people release it."}.get(known, "")
    return _reserved(known, "deny", f"The agent is {authority.lower()}.{mend}")


def _listed(names: Iterable[str]) -> str:
    known = sorted(names)
    more = f" and {len(known) - _MAX_LISTED} more" if len(known) > _MAX_LISTED else ""
    return (", ".join(known[:_MAX_LISTED]) or "none") + more


def _reserved(key: str, then: Then, because: str) -> Decided:
    return Decided(id=key, then=then, severity=RESERVED[key], because=because)


def _by_clause(clause: Clause, names: Names) -> Decided:
    expr = None if clause.when is None else parse_when(clause.when)
    return Decided(
        id=clause.id, then=clause.then, severity=clause.severity,
        because=clause.because or because(clause, names, expr), mend=what_would_pass(clause, names, expr) or "",
    )  # fmt: skip


def _by_limit(limit: Limit, tool: Tool) -> Decided:
    return Decided(
        id=limit.id, then=limit.then, severity=limit.severity, because=limit.because or bound(limit, tool),
        mend=wait(limit),
    )  # fmt: skip
