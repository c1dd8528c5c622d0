"""What our judge says of an action, against Cedar run on the uncompiled whole: every clause of every tool in one policy
set, no schema, every fact handed over, nothing filtered (D22).

    python -m tests.property.cedar_whole --pairs 100000 --seed 7

prints one line and exits 1 at the first pair on which the two, or the reference in Python, do not agree.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from random import Random
from typing import Any

import cedarpy
from cedarpy import PolicySet

from failwell.core import contract as contracts
from tests.property import drawn
from tests.property.reference import Facts, NotTyped, facts_of, fired, looked_up, parsed, strictest

CALLS_PER_CONTRACT = 25
AGENT = "spiffe://shop.example/agent/drawn-bot"


class Disagreement(AssertionError):
    """Two judges of one action say different things."""


def whole(contract: dict[str, Any]) -> tuple[PolicySet, list[tuple[str, str]]]:
    """All clauses of all tools as one policy set; and (id, then) by place, the permits first."""
    texts, names = [], []
    for tool in contract["tools"]:
        texts.append(f'permit(principal, action, resource == Tool::"{tool["tool"]}");')
        names.append(("", ""))
    for clause in contract["clauses"]:
        for tool in clause["tools"]:
            when = "true" if clause["when"] is None else drawn.cedar(clause["when"])
            texts.append(f'forbid(principal, action, resource == Tool::"{tool}") when {{ {when} }};')
            names.append((clause["id"], clause["then"]))
    return PolicySet.from_str("\n".join(texts)), names


def by_cedar(
    policies: PolicySet, names: list[tuple[str, str]], tool: str, facts: Facts, context: dict[str, Any]
) -> list[tuple[str, str]] | None:  # fmt: skip
    """(id, then) of the clauses that speak; None where the tool is not listed."""
    looked = {name.partition(".")[2] for name in facts if name in drawn.ASKED}
    kinds = {value: {"__extn": {"fn": "datetime", "arg": value}} for value in drawn.DATES}
    typed = {name: sorted(value) if isinstance(value, frozenset) else value for name, value in facts.items()}
    dated = {name: kinds[str(value)] if name in context["dates"] else value for name, value in typed.items()}
    given = {name: context[name] for name in ("novel", "baseline", "request", "principal")}
    given["args"] = {name: value for name, value in dated.items() if name not in drawn.ASKED}
    given["facts"] = {name: dated[f"facts.{name}"] for name in looked}
    request = {
        "principal": {"type": "Agent", "id": AGENT}, "action": {"type": "Action", "id": "call"},
        "resource": {"type": "Tool", "id": tool}, "context": json.dumps(given),
    }  # fmt: skip
    result = cedarpy.is_authorized(request, policies, "[]")
    if result.diagnostics.errors:
        raise Disagreement(f"Cedar cannot evaluate the whole: {result.diagnostics.errors}")
    if result.decision is cedarpy.Decision.Allow:
        return []
    spoke = [names[int(reason.removeprefix("policy"))] for reason in result.diagnostics.reasons]
    return spoke or None


def looked_of(answers: dict[str, tuple[str, Any]]) -> dict[str, contracts.Looked]:
    """The same answers as the judge gets them."""
    short = {name.partition(".")[2]: answer for name, answer in answers.items()}
    return {
        name: contracts.Looked(source=drawn.source_of(name), state=state, elapsed_us=5, value=value)  # type: ignore[arg-type]
        for name, (state, value) in short.items()
    }


class Counted(Counter[str]):
    """How many pairs ended how."""


def compare(rng: Random, counted: Counted) -> None:
    """Draw one contract, and hold some calls of it against each judge."""
    known = drawn.tools(rng, asking=True)
    contract = drawn.contract(rng, AGENT, known, limits=[], principals=[], irreversible="allow")
    try:
        judge = contracts.compile(contracts.load(drawn.yaml_of(contract), name="drawn.yaml"))
    except contracts.BrokenContract as broken:
        # What can never hold, or nothing but hold, is refused as a mistake; nothing else of what is drawn is one.
        counted["refused"] += 1
        if counted["refused"] > 20 + counted["contracts"]:
            raise Disagreement(f"too many of the drawn contracts are refused: {broken}") from broken
        return
    counted["contracts"] += 1
    policies, names = whole(contract)
    for _ in range(CALLS_PER_CONTRACT):
        tool, raw = drawn.call(rng, known)
        context: dict[str, Any] = {
            "novel": rng.sample([*drawn.NAMES, "tool", "target"], rng.randint(0, 4)), "baseline": "absent",
            "request": rng.choice(drawn.REQUESTS), "principal": rng.choice(drawn.REQUESTS),
        }  # fmt: skip
        listed = next((each for each in contract["tools"] if each["tool"] == tool), None)
        context["answers"] = drawn.answers(rng, [] if listed is None else listed["asked"])
        wanted = expected(policies, names, contract, listed, tool, raw, context)
        judgment = judge.judge(
            contracts.Proposal(tool=tool, arguments=raw),
            contracts.Situation(
                authority="ACTIVE", now_us=1_796_126_400_000_000, request=context["request"], usage=lambda *_: 0,
                novel=tuple(context["novel"]), acting_for=context["principal"], looked=looked_of(context["answers"]),
            ),
        )  # fmt: skip
        found = judgment.verdict, sorted((each.id, each.then) for each in judgment.clauses)
        if found != wanted:
            raise Disagreement(f"{found} is not {wanted}: {tool} {raw!r} {context}\n{drawn.yaml_of(contract)}")
        counted["pairs"] += 1
        counted[judgment.verdict] += 1
        counted["unanswered"] += any(each.id == "facts" for each in judgment.clauses)
        counted["untyped"] += any(each.id == "arguments" for each in judgment.clauses)


def expected(
    policies: PolicySet, names: list[tuple[str, str]], contract: dict[str, Any], listed: dict[str, Any] | None,
    tool: str, raw: bytes, context: dict[str, Any],
) -> tuple[str, list[tuple[str, str]]]:  # fmt: skip
    """The verdict by Cedar's whole over the reference's facts; the reference must say the same."""
    said: list[tuple[str, str]] = []
    facts: Facts = {}
    try:
        if listed is None:
            parsed(raw)
        else:
            facts = facts_of(raw, listed["arguments"])
    except NotTyped:
        said.append(("arguments", "deny"))
    if listed is None:
        said.append(("tool.unlisted", "deny"))
        if by_cedar(policies, names, tool, {}, {**context, "dates": ()}) is not None:
            raise Disagreement(f"the whole permits {tool}, which is not listed")
    if said or listed is None:
        return "DENY", sorted(said)
    try:
        facts |= looked_up(context["answers"], listed["asked"])
    except NotTyped:
        return "DENY", [("facts", "deny")]
    dates = {each.name for each in (*listed["arguments"], *listed["asked"]) if each.kind == "date"}
    odd = {name for name in dates & facts.keys() if facts[name] not in drawn.DATES}
    if odd:
        raise Disagreement(f"a date was drawn that is none of those known: {odd}")
    spoke = by_cedar(policies, names, tool, facts, {**context, "dates": dates})
    if spoke is None or sorted(spoke) != sorted(fired(contract["clauses"], tool, facts, context)):
        raise Disagreement(f"Cedar says {spoke}, the reference does not: {tool} {raw!r} {context}")
    return strictest(spoke), sorted(spoke)


def compare_pairs(pairs: int, seed: int | str) -> Counted:
    """Draw until so many pairs were held against each other; Disagreement at the first that is not the same."""
    counted, number = Counted(), 0
    while counted["pairs"] < pairs:
        try:
            compare(Random(f"{seed}/{number}"), counted)
        except Disagreement as wrong:
            raise Disagreement(f"seed {seed}, contract {number}: {wrong}") from None
        number += 1
    return counted


def main() -> int:
    """The campaign."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=100_000)
    parser.add_argument("--seed", default="")
    given = parser.parse_args()
    seed = given.seed or "20260101"
    began = time.monotonic()
    try:
        counted = compare_pairs(given.pairs, seed)
    except Disagreement as wrong:
        sys.stdout.write(f"cedar-whole FAILED: {wrong}\n")
        return 1
    told = ", ".join(
        f"{counted[name]} {name}"
        for name in ("ALLOW", "DENY", "ESCALATE", "untyped", "unanswered", "refused", "contracts")
    )
    sys.stdout.write(
        f"cedar-whole: {counted['pairs']} pairs agree ({told}); seed {seed}, {time.monotonic() - began:.0f} s\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
