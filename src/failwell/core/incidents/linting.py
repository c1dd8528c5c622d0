"""What is weak about how a contract answers signals: rules that never speak, that do less than the ladder would have,
that stop where a stop harms more, and tools that nothing would stop.

A contract that is told so may be adopted all the same: whoever signs it has read it.
"""

from __future__ import annotations

from collections.abc import Iterator

from failwell.core.contract import COMPENSATE, RESERVED, Contract, Finding, Rule, Tool, parse_signal
from failwell.core.contract.lint import load, open_text
from failwell.core.contract.measure import concerns
from failwell.core.contract.notes import Notes
from failwell.core.contract.signal import ASSERTED, ENSURE, OF_TOOLS, THEN_OF_VERB
from failwell.core.incidents.ladder import LADDER
from failwell.core.machines import SEVERITIES

#: How much a word of a response does; the strongest of a response counts.
_STRENGTH = {
    "record": 0, "ask": 1, "notify": 1, "hold": 1, "interrupt": 2, "restrict": 3, "suspend": 4, "suspend_group": 5,
}  # fmt: skip
_STOPS = 2
_EVER = 2**62
_CRITICAL = ("bypass", "executor.unconfirmed")


def lint_response(text: str, *, name: str) -> tuple[Finding, ...]:
    """What is weak about the responses of a contract's text, in order of place; BrokenContract where it is unsound."""
    contract = load(text, name=name)
    notes = Notes(text, name)
    open_text(text, notes)
    for number, rule in enumerate(contract.response):
        for problem, reason, mend in _rule(contract, number, rule):
            notes.add("warning", notes.place("response", number), problem, reason, mend)
    for number, tool in enumerate(contract.tools):
        if tool.effect == "irreversible" and not any(_stopped_by(contract, tool)):
            notes.add("warning", notes.place("tools", number), *_nothing_stops(tool))
    stopping = contract.stopping
    if stopping is not None and stopping.harm == "critical" and stopping.cover is None:
        notes.add(
            "warning", notes.place("stopping"), "Nobody covers for the agent while it is stopped.",
            "A stop is said to do critical harm: only what is critical makes one, and then nobody does its work.",
            "Name in `cover` who does.",
        )  # fmt: skip
    return notes.in_order()


# ---- one rule ------------------------------------------------------------------------------------------------

_Told = tuple[str, str, str]


def _rule(contract: Contract, number: int, rule: Rule) -> Iterator[_Told]:
    shadowed = tuple(_shadowed(contract, number, rule))
    if shadowed:
        yield from shadowed
        return
    yield from _unraised(contract, rule)
    if {"suspend", "suspend_group"} & set(rule.do):
        yield from _on_a_word(number, rule)
        yield from _harms_more(contract, number, rule)
    yield from _weaker(contract, number, rule)


def _shadowed(contract: Contract, number: int, rule: Rule) -> Iterator[_Told]:
    for earlier, other in enumerate(contract.response[:number], 1):
        if other.signal == rule.signal and _speaks_whenever(other, rule):
            yield (
                f"Rule {number + 1} never decides anything.",
                f"Rule {earlier} matches {rule.signal} whenever this one does, and the first match wins.",
                "Put the one that counts more first, or drop one of them.",
            )
            return


def _unraised(contract: Contract, rule: Rule) -> Iterator[_Told]:
    signal = parse_signal(rule.signal)
    bounded = any(tool.tool == signal.about and tool.deadline_us is not None for tool in contract.tools)
    if signal.verb == "overdue" and not bounded:
        yield (
            f"{rule.signal} is never raised.",
            f"{signal.about} has no deadline that it could run into.",
            "Give the tool a deadline, or drop the rule.",
        )


def _on_a_word(number: int, rule: Rule) -> Iterator[_Told]:
    if parse_signal(rule.signal).verb in ASSERTED:
        yield (
            f"Rule {number + 1} suspends the agent on somebody's word.",
            "Nobody has shown what is said; whoever can say it can stop the agent.",
            "Write do: [restrict, interrupt, hold, notify], and let a person suspend.",
        )


def _harms_more(contract: Contract, number: int, rule: Rule) -> Iterator[_Told]:
    stopping, severities = contract.stopping, _severities(contract, rule.signal)
    if stopping is None or not severities or "critical" in severities:
        return
    worst = max(severities, key=SEVERITIES.index)
    if SEVERITIES.index(stopping.harm) > SEVERITIES.index(worst):
        yield (
            f"Rule {number + 1} suspends although that harms more.",
            f"{rule.signal} is {worst}, and a stop is said to do {stopping.harm} harm: {stopping.because}",
            "Write do: [ask, restrict, interrupt, hold, notify], or drop the rule: the ladder weighs it.",
        )


def _speaks_whenever(earlier: Rule, later: Rule) -> bool:
    """Whether an earlier rule on the same signal has matched wherever a later one does."""
    longer = (earlier.within_us or _EVER) >= (later.within_us or _EVER)
    return earlier.at_least == 1 or (earlier.at_least <= later.at_least and longer)


def _weaker(contract: Contract, number: int, rule: Rule) -> Iterator[_Told]:
    """Attack: a rule that only notes what the ladder would have suspended for, and looks like care.

    Told at the signal's first rule, of all of its rules together.
    """
    if any(other.signal == rule.signal for other in contract.response[:number]):
        return
    same = [other for other in contract.response if other.signal == rule.signal]
    for severity in sorted(_severities(contract, rule.signal), key=SEVERITIES.index, reverse=True):
        for at_least, within_us, response in LADDER.get((_prefix(rule.signal), severity), ()):
            need = _strength(response)
            if need >= _STOPS and not any(_reaches(other, at_least, within_us, need) for other in same):
                often = _often(at_least, within_us)
                yield (
                    f"What the contract does about {rule.signal} is weaker than the default ladder.",
                    f"Without a rule, {often} of it ({severity}) is answered with: {', '.join(response)}.",
                    "Drop the rules on it, or add one that does no less.",
                )
                return


def _reaches(rule: Rule, at_least: int, within_us: int, need: int) -> bool:
    """Whether a rule does as much no later than a rung of the ladder."""
    longer = (rule.within_us or _EVER) >= (within_us or _EVER)
    soon = rule.at_least == 1 or (rule.at_least <= at_least and longer)
    return soon and _strength(rule.do) >= need


def _often(at_least: int, within_us: int) -> str:
    return "one" if at_least == 1 else f"number {at_least} within {within_us // 60_000_000} minutes"


def _prefix(signal: str) -> str:
    return signal.partition("(")[0]


def _strength(response: tuple[str, ...]) -> int:
    return max((_STRENGTH[word] for word in response), default=0)


# ---- what a signal can weigh ---------------------------------------------------------------------------------


def _severities(contract: Contract, name: str) -> frozenset[str]:
    """The severities that a signal of this contract can have; none where whoever says it decides."""
    signal = parse_signal(name)
    if signal.verb in THEN_OF_VERB:
        clauses = (clause.severity for clause in contract.clauses if clause.id == signal.about)
        limits = (limit.severity for limit in contract.limits if limit.id == signal.about)
        reserved = [RESERVED[signal.about]] if signal.about in RESERVED else []
        return frozenset((*clauses, *limits, *reserved))
    if signal.verb == ENSURE:
        return frozenset(e.severity for tool in contract.tools for e in tool.ensure if e.name == signal.about)
    if signal.verb == COMPENSATE:
        return frozenset({"major", "critical"})
    if signal.verb in OF_TOOLS:
        effect = next(tool.effect for tool in contract.tools if tool.tool == signal.about)
        return frozenset({"major" if effect == "irreversible" and signal.verb != "failed" else "minor"})
    return frozenset({"critical"}) if name in _CRITICAL else frozenset()


# ---- tools that nothing would stop ---------------------------------------------------------------------------


def _stopped_by(contract: Contract, tool: Tool) -> Iterator[bool]:
    """For each signal that says of what a tool does that it is wrong: whether it ever interrupts or suspends."""
    for clause in contract.clauses:
        if tool.tool not in clause.tools:
            continue
        if clause.then == "escalate":
            yield clause.when in (None, "true")  # a person decides on each of them
        else:
            yield _ends_in_a_stop(contract, f"denied({clause.id})", clause.severity)
    for limit in contract.limits:
        if concerns(limit, tool) and limit.then == "deny":
            yield _ends_in_a_stop(contract, f"denied({limit.id})", limit.severity)
    for ensure in tool.ensure:
        yield _ends_in_a_stop(contract, f"{ENSURE}({ensure.name})", ensure.severity)
    for verb in OF_TOOLS:
        if any(rule.signal == f"{verb}({tool.tool})" for rule in contract.response):
            yield any(
                _strength(rule.do) >= _STOPS for rule in contract.response if rule.signal == f"{verb}({tool.tool})"
            )


def _ends_in_a_stop(contract: Contract, signal: str, severity: str) -> bool:
    same = [rule for rule in contract.response if rule.signal == signal]
    if same:
        return any(_strength(rule.do) >= _STOPS for rule in same)
    return any(_strength(response) >= _STOPS for _, _, response in LADDER.get((_prefix(signal), severity), ()))


def _nothing_stops(tool: Tool) -> _Told:
    return (
        f"Nothing would stop an agent that does wrong with {tool.tool}.",
        "It cannot be undone, and no clause or limit that denies it and no ensure of it ends in a stop.",
        "Add a clause or limit that denies, or an ensure of severity major; or a response rule that interrupts.",
    )
