"""What other response rules would have made of a workspace's record; starts nothing and writes nothing (D1)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from failwell.core.contract import Contract, from_canonical
from failwell.core.errors import NotFound
from failwell.core.records import Entry, decode_entry
from failwell.core.simulate import Simulated, simulate
from failwell.node.reading import LedgerRows
from failwell.node.workspace import Workspace

_PAGE = 2000


def simulate_workspace(workspace: Workspace, contract: Contract) -> Simulated:
    """Answer the signals of the whole record by the rules of `contract`. Corrupt where the record cannot be read."""
    with LedgerRows(workspace) as rows:
        return simulate(_record(rows), contract)


def contract_in_force(workspace: Workspace, agent: str) -> tuple[str, Contract]:
    """The full id of an agent, and the contract that bounds it; NotFound where there is none."""
    with LedgerRows(workspace) as rows:
        full = rows.agent_named(agent)
        text = None if full is None else rows.contract_of(full)
    if full is None:
        raise NotFound(f"no agent {agent} is registered here", hint="failwell agent list")
    if text is None:
        raise NotFound(f"no contract is in force for {full}", hint="failwell response lint FILE reads one.")
    return full, from_canonical(text.encode())


def _record(rows: LedgerRows) -> Iterator[tuple[Entry[Any], str]]:
    first = 0
    while page := rows.entries(first, _PAGE):
        for row in page:
            yield decode_entry(row.data), row.leaf.hex()
        first = page[-1].seq + 1
