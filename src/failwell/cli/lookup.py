"""What several commands look up at the node: an agent by any of its names, and the contract that bounds it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from failwell.core.errors import InputError, NotFound

if TYPE_CHECKING:
    from failwell.client.wire import Line
    from failwell.core.contract import Contract

#: States of an incident in which nobody has to take it any more.
ENDED = ("CLOSED", "MERGED", "FALSE_ALARM")


def find_agent(wire: Line, name: str) -> tuple[str, dict[str, Any]]:
    """Full id and row of the agent with this id or short name; NotFound otherwise."""
    rows: dict[str, dict[str, Any]] = wire.call("ask", about="agents")
    for full, row in rows.items():
        if name in (full, row["name"]):
            return full, row
    raise NotFound(f"no agent {name} is registered here", hint="failwell agent list")


def governed(row: dict[str, Any]) -> bool:
    """Whether what an agent asks for is decided by its contract. Not so: OBSERVED, and agents no gate stands before."""
    return row["authority"] != "OBSERVED" and not row["detect_only"]


def taken(row: dict[str, Any]) -> bool:
    """Whether somebody has taken this incident, and has it still: it was not opened again, nobody is asked anew."""
    return "ACKNOWLEDGED" in row["marks"] and row["state"] not in ("OPEN", "REOPENED") and not row["asking"]


def standing(row: dict[str, Any]) -> str:
    """An agent's authority in words that hide nothing."""
    from failwell.core.instants import format_at

    if row["authority"] == "OBSERVED":
        until = format_at(row["observed_until_us"])
        return f"OBSERVED, NOT GOVERNED, until {until[:10]} {until[11:19]}"
    if row["detect_only"]:
        return f"{row['authority']}, detect-only: NOT GOVERNED"
    return str(row["authority"])


def ends(row: dict[str, Any]) -> str | None:
    """When an OBSERVED agent's observation ends (RFC 3339 UTC), None for all others."""
    from failwell.core.instants import format_at

    return format_at(row["observed_until_us"]) if row["authority"] == "OBSERVED" else None


def contract_in_force(wire: Line, agent: str) -> Contract | None:
    """The contract that is adopted for an agent, None while there is none."""
    from failwell.core.contract import from_canonical

    try:
        row = wire.call("ask", about="contract", key=agent)
    except NotFound:
        return None
    return from_canonical(row["document"].encode())


def sources_of(contract: Contract) -> list[tuple[str, str]]:
    """(tool, source) of every fact and every check of the world that a contract asks for, each once."""
    facts = {(tool.tool, fact.lookup) for tool in contract.tools for fact in tool.facts}
    return sorted(facts | {(tool.tool, ensure.lookup) for tool in contract.tools for ensure in tool.ensure})


def entries_of(text: str) -> tuple[int, ...]:
    """The entry numbers that `--evidence` lists; InputError where it lists none."""
    numbers = [part.strip().replace("_", "") for part in text.split(",") if part.strip()]
    if not numbers or not all(part.isascii() and part.isdigit() and len(part) < 16 for part in numbers):
        raise InputError(f"--evidence: {text!r} is no list of entries", hint="Write --evidence 1198,1204")
    return tuple(int(part) for part in numbers)
