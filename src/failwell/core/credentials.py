"""What proves an agent's identity: its key, the workspace's issuer, and the certificates that are in force.

The rows here are folded as all others are (`core.folds`), and what an order about a key leads to is a reaction
(`core.react`): so a revocation and the state it leaves are one commit, and `ledger verify` finds one without the other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from failwell.core import kinds, rows
from failwell.core.errors import Corrupt
from failwell.core.instants import parse_at
from failwell.core.orders import parse_order
from failwell.core.projections import Projections
from failwell.core.records import Entry

#: Orders that change what an agent proves itself with.
KEY_ORDERS = ("agent.rekey", "agent.revoke")


def key_after(state: Projections, entry: Entry[Any], body: kinds.Order) -> kinds.AgentKey | None:
    """The agent's key after an order that rekeys or revokes it; None where there is nothing to change."""
    row = state.agent.get(str(entry.agent))
    if row is None:
        return None
    if body.order == "agent.rekey":
        return kinds.AgentKey(key=parse_order(body.text).details.key, status="active")
    return None if row.key is None else kinds.AgentKey(key=row.key, status="revoked")


def _key(state: Projections, entry: Entry[Any], body: kinds.AgentKey, at_us: int) -> None:
    active = body.key if body.status == "active" else None
    state.change("agent", entry.agent, key=active, keyed=entry.seq, certificates=())


def _issuer(state: Projections, entry: Entry[Any], body: kinds.IdentityIssuer, at_us: int) -> None:
    state.change("workspace", 1, issuer=(entry.seq, body.digest))
    for agent in [agent for agent, row in state.agent.items() if row.certificates]:
        state.change("agent", agent, certificates=())


def _certificate(state: Projections, entry: Entry[Any], body: kinds.AgentCertificate, at_us: int) -> None:
    row = state.agent.get(str(entry.agent))
    issuer = state.workspace[1].issuer if state.workspace else None
    if row is None or row.key is None or issuer is None or body.issuer != issuer[1]:
        raise Corrupt(f"entry {entry.seq} certifies {entry.agent}, which has no key, by an issuer that is not in force")
    kept = tuple(held for held in row.certificates if held.not_after_us > at_us)
    made = rows.Certificate(body.serial, body.key, parse_at(body.not_after), entry.seq)
    state.change("agent", entry.agent, certificates=(*kept, made))


FOLDS: dict[type, Callable[[Projections, Entry[Any], Any, int], None]] = {
    kinds.AgentKey: _key,
    kinds.IdentityIssuer: _issuer,
    kinds.AgentCertificate: _certificate,
}
