"""A whole contract in plain words: whom it bounds, what each tool may do, what is asked, and what is not protected.

Where something is written otherwise than it is told (amounts in smallest units, expressions), the way it is written
stands beside it in brackets, so that both can be compared.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from failwell.core.contract.argument import parse_type
from failwell.core.contract.duration import format_duration
from failwell.core.contract.limit_words import bound, tool_of
from failwell.core.contract.measure import concerns
from failwell.core.contract.model import Clause, Contract, Limit, Stopping, Tool
from failwell.core.contract.path_words import asks
from failwell.core.contract.words import because, listed, names_of

_STOPPED = {
    "fenced": "A start can be prevented until the last moment; what has started is not stopped.",
    "supervised": "It runs under a supervisor that kills it and all it started.",
    "transactional": "It is one transaction that is rolled back.",
    "cooperative": "It stops if its own code looks for the order: not if it does not.",
    "unstoppable": "Once started, it cannot be stopped.",
    None: "How it can be stopped is not said: as an adapter declares it.",
}
_EFFECT = {
    "read": "changes nothing", "reversible": "can be undone", "irreversible": "cannot be undone",
}  # fmt: skip
_HELD = {
    "broker": "A broker holds its credential, so that it is not reached round the gate.",
    "network": "The network lets it be reached only through the gate.",
}
_THEN = {"deny": "Otherwise denied", "escalate": "Otherwise a person is asked", "record": "Otherwise noted"}


#: An amount in major units: it is written otherwise than it is told.
_AMOUNT = re.compile(r"(?<![0-9A-Za-z.])[0-9]+\.[0-9]+(?![0-9A-Za-z.])")


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """Some lines under a title."""

    title: str
    lines: tuple[str, ...]


def explain(contract: Contract) -> tuple[Part, ...]:
    """A sound contract in words: the whole first, then each tool, then what follows when something is off."""
    return (
        Part(title=f"{contract.contract} v{contract.version}", lines=tuple(_whole(contract))),
        *(_tool(contract, tool) for tool in contract.tools),
        Part(title="When something is off", lines=tuple(_off(contract))),
    )


def outline(contract: Contract) -> list[str]:
    """Each clause and limit on a line of its own: `ID: tools, what it says`; amounts both as told and as written."""
    tools = {tool.tool: tool for tool in contract.tools}
    lines = [
        f"{clause.id}: {', '.join(clause.tools)} {_clause_says(clause, tools[clause.tools[0]])}"
        for clause in contract.clauses
    ]
    for limit in contract.limits:
        about = ", ".join(limit.tools) or "irreversible tools"
        lines.append(f"{limit.id}: {about}: {_limit_says(limit, tool_of(contract, limit))} {_THEN[limit.then]}")
    return lines


# ---- the whole -----------------------------------------------------------------------------------------------


def _whole(contract: Contract) -> Iterator[str]:
    yield f"Bounds {contract.agent}; {contract.owner} answers for it."
    yield f"Purpose: {contract.purpose}"
    valid = contract.valid
    if valid is None or (valid.since is None and valid.until is None):
        yield "It has no end: it permits until another version is adopted."
    else:
        yield f"It permits from {valid.since or 'its adoption'} until {valid.until or 'another version is adopted'}."
    if contract.principals:
        yield f"It may act only for {listed(list(contract.principals), 'or')}."
    else:
        yield "It may act on anybody's behalf."
    if contract.delegates:
        yield f"It may hand a run to {listed(list(contract.delegates), 'or')}, which then may do no more than it may."
    else:
        yield "It may hand a run to nobody."
    yield f"It may call {len(contract.tools)} tool{'s' if len(contract.tools) != 1 else ''}; every other is denied."


# ---- one tool ------------------------------------------------------------------------------------------------


def _tool(contract: Contract, tool: Tool) -> Part:
    lines = [
        *_given(tool),
        *(f"Before: {line}" for line in _asked(tool)),
        *_ruled(contract, tool),
        *_bounded(contract, tool),
        *_afterwards(tool),
        *(f"NOT PROTECTED: {line}" for line in _open(contract, tool)),
    ]
    return Part(title=f"{tool.tool} ({tool.effect}: {_EFFECT[tool.effect]})", lines=tuple(lines))


def _given(tool: Tool) -> Iterator[str]:
    if not tool.arguments:
        yield "It takes no arguments."
        return
    told = (f"{a.name} {a.type}{' (may be left out)' if a.optional else ''}" for a in tool.arguments)
    yield f"Takes {', '.join(told)}; anything else is denied."


def _asked(tool: Tool) -> Iterator[str]:
    for ask in tool.facts:
        told = f", told {listed(list(ask.given))}" if ask.given else ""
        yield f"{ask.lookup} is asked for {ask.name} ({ask.type}){told}; without an answer it is denied."


def _clauses(contract: Contract, tool: Tool) -> list[Clause]:
    return [clause for clause in contract.clauses if tool.tool in clause.tools]


def _bare(clause: Clause) -> Clause:
    return msgspec.structs.replace(clause, because=None)


def _clause_says(clause: Clause, tool: Tool) -> str:
    said = because(_bare(clause), names_of(tool)).removeprefix("This is ").removesuffix(".")
    return f"{said} [{' '.join(clause.when.split())}]" if clause.when and _AMOUNT.search(said) else said


def _limit_says(limit: Limit, tool: Tool | None) -> str:
    written = f" [at_most: {limit.at_most}]" if limit.sums is not None else ""
    return f"{bound(limit, tool).removesuffix('.')}{written}."


def _ruled(contract: Contract, tool: Tool) -> Iterator[str]:
    for then, word in (("deny", "Denied"), ("escalate", "A person decides")):
        for clause in _clauses(contract, tool):
            if clause.then == then:
                said = _clause_says(clause, tool).partition(" when ")[2]
                why = f" {clause.because}" if clause.because else ""
                yield f"{word} {f'when {said}' if said else 'always'} ({clause.id}, {clause.severity}).{why}"


def _bounded(contract: Contract, tool: Tool) -> Iterator[str]:
    for limit in contract.limits:
        if limit.kind == "sequence" and tool.tool not in limit.tools:
            continue  # it is what another tool waits for: nothing bounds it here
        if concerns(limit, tool):
            others = [name for name in limit.tools if name != tool.tool]
            shared = f" Counted together with {listed(others)}." if others else ""
            yield f"{_limit_says(limit, tool)} {_THEN[limit.then]} ({limit.id}, {limit.severity}).{shared}"


def _afterwards(tool: Tool) -> Iterator[str]:
    for check in tool.ensure:
        within = format_duration(check.within_us)
        expected = str(check.expected).lower() if isinstance(check.expected, bool) else check.expected
        yield f"After: {check.lookup} must say within {within} that {check.name} is {expected} ({check.severity})."
    if tool.subject is not None:
        yield f"It is about the person that {tool.subject} names."
    if tool.contest is not None:
        within = format_duration(tool.contest.within_us)
        yield f"That person may object to {tool.contest.to} within {within}."
    if tool.effect != "read":
        yield f"Stopping: {_STOPPED[tool.executor]}"
        if tool.deadline_us is not None:
            after = format_duration(tool.deadline_us)
            stoppable = tool.executor in ("supervised", "transactional")
            yield f"After {after} it is {'stopped' if stoppable else 'waited for no longer'}."
    if tool.compensate is not None:
        step, within = tool.compensate.tool, format_duration(tool.compensate.within_us)
        yield f"Stopped on its way, it is undone by {step} within {within}. A person can have a completed one undone."
    if tool.idempotent:
        yield "After a crash it may be run again."
    if tool.custody != "none":
        yield _HELD[tool.custody]
    if tool.public:
        yield f"Readable in the record: {listed(list(tool.public))}. Everything else is sealed apart."


def _open(contract: Contract, tool: Tool) -> Iterator[str]:
    if tool.custody == "none":
        yield "whoever runs the agent holds the credential and can call it without asking (advisory)."
    if tool.effect != "read" and tool.witness is None:
        yield "no witness: what goes round the gate is not noticed."
    if tool.effect != "read" and tool.deadline_us is None:
        yield "no deadline: how long a stop may take has no bound."
    if tool.effect != "read" and not tool.ensure:
        yield "nobody looks at the world afterwards: a permitted act that was wrong is not noticed."
    opaque = [argument.name for argument in tool.arguments if parse_type(argument.type).cedar is None]
    if opaque:
        yield f"{listed(opaque)}: passed on unread, no clause can see it."
    bounded = _clauses(contract, tool) or any(concerns(limit, tool) for limit in contract.limits)
    if tool.effect == "irreversible" and not bounded:
        yield "no clause and no limit is about it."


# ---- when something is off -----------------------------------------------------------------------------------


def _off(contract: Contract) -> Iterator[str]:
    for rule in contract.response:
        often = f" {rule.at_least} times within {format_duration(rule.within_us)}" if rule.within_us else ""
        yield f"On {rule.signal}{often}: {', '.join(rule.do)}."
    yield "Whatever no rule answers, the default ladder does, by severity."
    restricted = contract.restricted
    word = {"escalate": "a person decides on", "deny": "denied are", "allow": "allowed as before are"}
    half = "limits are halved" if restricted.limits == "half" else "limits stay as they are"
    yield f"Restricted or on probation: {word[restricted.irreversible]} irreversible actions, and {half}."
    oversight = contract.oversight
    who = "everybody with the role reviewer" if oversight is None or not oversight.reviewers else listed(
        list(oversight.reviewers), "or"
    )  # fmt: skip
    within = "24h" if oversight is None else format_duration(oversight.decide_within_us)
    yield f"What escalates is decided by {who} within {within}; nobody in time is a denial."
    if contract.unfinished_runs is not None:
        yield f"Work that a stop leaves goes to {contract.unfinished_runs}."
    if contract.stopping is not None:
        yield from _stopping(contract.stopping)
    yield from _path(contract)


def _path(contract: Contract) -> Iterator[str]:
    if not contract.escalation:
        yield "Who is asked to take an incident is not said here: the house's own path is taken (failwell.toml)."
    for number, step in enumerate(contract.escalation, 1):
        yield f"Asked {_place(number)}: {asks(step)}."
    if contract.escalation and not any(step.last_resort for step in contract.escalation):
        yield "Asked in the end: every operator and approver, every 30m until one of them has taken it."


def _place(number: int) -> str:
    return {1: "first", 2: "then", 3: "third"}.get(number, f"{number}th")


def _stopping(stopping: Stopping) -> Iterator[str]:
    yield f"Stopping it does {stopping.harm} harm: {stopping.because}"
    if stopping.harm != "minor":
        yield (
            f"So what is less than {stopping.harm} restricts it, stops what it is about and asks a person, where no "
            "rule says otherwise. What is critical always suspends it."
        )
    if stopping.cover is not None:
        yield f"Meanwhile {stopping.cover} does the work."
