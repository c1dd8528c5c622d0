"""Heads: one root over how far every agent's own chain reaches, so that leaving out an agent's entry shows (D15)."""

from __future__ import annotations

from failwell.core import kinds, merkle
from failwell.core.records import Draft
from failwell.core.state import State
from failwell.ledger.jobs import Plan, Turn


def heads_root(state: State) -> bytes:
    """RFC 6962 root over the sorted lines `AGENT COUNT LEAF`, leaf in hex."""
    lines = (f"{agent} {head.count} {head.leaf}".encode() for agent, head in sorted(state.head.items()))
    return merkle.root_of(merkle.leaf_hash(line) for line in lines)


def write_heads(turn: Turn) -> Plan[int]:
    """The job that writes a `heads` entry over everything before it."""
    body = kinds.Heads(root=heads_root(turn.state).hex(), agents=len(turn.state.head), upto=turn.seq)
    return Plan((Draft(body=body, actor="node"),), lambda entries: entries[0].seq)
