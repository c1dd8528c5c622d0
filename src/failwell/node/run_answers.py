"""What is told about one run: whose it is, and how far it is known on whose behalf and because of what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from failwell.core import rows
from failwell.core.errors import InputError, NotFound
from failwell.ledger.jobs import Plan, Turn

if TYPE_CHECKING:
    from failwell.node.service import Node


async def told_run(node: Node, key: Any) -> dict[str, Any]:
    """The run of entry `key`, open or closed. Names of people stay tokens, and are left out."""
    if not isinstance(key, int) or isinstance(key, bool):
        raise InputError("a run is named by the number of its entry")

    def job(turn: Turn) -> Plan[rows.Run | None]:
        live = turn.state.run.get(key)
        stored = None if live is not None else turn.stored_row("run", key)
        row = live if stored is None else rows.decode_row("run", stored)
        return Plan((), lambda _: row)

    row = await node.writer.submit_async(job)
    if row is None:
        raise NotFound(f"there is no run {key}")
    return {
        "run": key, "agent": row.agent, "host": row.host, "principal_provenance": row.principal_provenance,
        "request_provenance": row.request, "parent": row.parent, "chain": list(row.chain), "open": row.open,
    }  # fmt: skip
