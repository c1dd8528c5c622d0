"""Limits in the words that a reviewer reads: what they let through, and what it takes to pass one that spoke."""

from __future__ import annotations

from failwell.core.contract.argument import Type, parse_type
from failwell.core.contract.duration import format_duration
from failwell.core.contract.model import Contract, Limit, Tool
from failwell.core.contract.words import amount, listed


def bound(limit: Limit, tool: Tool | None = None) -> str:
    """What a limit says. `tool`: one of its tools, by whose types amounts are told in major units."""
    over = f" in any {format_duration(limit.per_us)}" if limit.per_us else ""
    within = " in one run" if "run" in limit.each else ""
    apart = _apart(limit)
    if limit.kind == "once_per":
        return f"Only once{apart}{within}{over}."
    if limit.kind == "cooldown":
        return f"Not within {format_duration(limit.per_us)} of the one before{apart}{within}."
    if limit.kind == "sequence":
        return f"Only after {limit.needs} was completed in the same run{apart}."
    if limit.kind == "concurrent":
        return f"At most {limit.at_most} at a time{apart}{within}."
    if limit.kind == "rate":
        return f"Asked for at most {limit.at_most} times{apart}{within}{over}, allowed or not."
    ever = "" if over or within else " ever"
    return f"At most {_measured(limit, tool)}{apart}{within}{over}{ever}."


def _apart(limit: Limit) -> str:
    same = [*limit.keys, *(each for each in limit.each if each != "run")]
    return f" for the same {listed(same)}" if same else ""


def _measured(limit: Limit, tool: Tool | None) -> str:
    told = amount(limit.at_most, _summed(limit, tool))
    if limit.kind == "sum":
        return f"{told} of {limit.sums} together"
    if limit.kind == "blast":
        what = "irreversible actions" if limit.sums is None else "of irreversible effect together"
        return f"{told} {what}"
    return f"{told} {'times' if limit.at_most != 1 else 'time'}"


def _summed(limit: Limit, tool: Tool | None) -> Type | None:
    """The type of the argument that a limit adds up."""
    if tool is None or limit.sums is None:
        return None
    name = limit.sums if limit.kind == "sum" else None if tool.affects is None else tool.affects.amount
    return next((parse_type(argument.type) for argument in tool.arguments if argument.name == name), None)


def wait(limit: Limit) -> str:
    """What it takes that a limit which spoke lets an action pass. When that is, is not known to the judge."""
    if limit.kind == "sequence":
        return f"Complete {limit.needs} first, in the same run."
    if limit.kind == "concurrent":
        return "Wait until one has ended."
    if limit.per_us:
        return f"Wait until earlier ones are older than {format_duration(limit.per_us)}."
    return "Another run may." if "run" in limit.each else "Only a new version of the contract changes that."


def tool_of(contract: Contract, limit: Limit) -> Tool | None:
    """A tool by which a limit's amounts can be told."""
    named = [tool for tool in contract.tools if tool.tool in limit.tools]
    if limit.kind == "blast":
        named = [tool for tool in contract.tools if tool.effect == "irreversible" and tool.affects is not None]
    return next((tool for tool in named if _summed(limit, tool) is not None), named[0] if named else None)
