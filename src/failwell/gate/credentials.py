"""What people order about an agent's key: a new one in its place, or none (R3).

The order alone is written here; the key it leaves is a reaction in the same commit (`core.credentials`). Revoking
restricts, so anybody who is enrolled may, and it waits for nothing; a new key permits, and takes an operator.
"""

from __future__ import annotations

from failwell.core import kinds
from failwell.core.errors import NotFound, Refused
from failwell.core.incidents.locking import need_told, needs_key
from failwell.core.orders import SignedOrder, parse_order
from failwell.ledger.jobs import Job, Plan, Turn
from failwell.ledger.orders import VerifyOrder, admit, need_role


def revoke_key(signed: SignedOrder, verify: VerifyOrder, *, source: str) -> Job[int]:
    """A person takes an agent's key and all its certificates out of force. Answers the order's entry number.

    Repeated for an agent without a key it changes nothing.
    """

    def job(turn: Turn) -> Plan[int]:
        agent = _agent(turn, signed)
        _, draft = admit(turn, signed, verify, wanted="agent.revoke", agent=agent, source=source)
        return Plan((draft,), lambda entries: entries[0].seq)

    return job


def rekey(signed: SignedOrder, verify: VerifyOrder) -> Job[int]:
    """An operator gives an agent a new key, in the place of any that it has. Answers the order's entry number."""

    def job(turn: Turn) -> Plan[int]:
        agent = _agent(turn, signed)
        order, draft = admit(turn, signed, verify, wanted="agent.rekey", agent=agent, source="node")
        need_role(turn, order.person, "operator", "giving an agent a new key")
        # Attack: the key that was revoked is put back, with whoever stole it.
        if order.details.key == _newest(turn, agent):
            raise Refused("this key is or was in use: a new one is needed", hint="failwell agent rekey makes one.")
        need_unused(turn, order.details.key)
        if needs_key(turn.state, agent):
            need_told(turn.state, (agent,), "a new key in the place of one that was revoked")
        return Plan((draft,), lambda entries: entries[0].seq)

    return job


def _agent(turn: Turn, signed: SignedOrder) -> str:
    named = parse_order(signed.order).details.agent
    agent = turn.state.agent_named(named)
    if agent is None:
        raise NotFound(f"no agent {named} is registered here", hint="failwell agent list")
    return agent


def _newest(turn: Turn, agent: str) -> str | None:
    """The key of the agent's newest key entry, revoked or not."""
    keyed = turn.state.agent[agent].keyed
    entry = None if keyed is None else turn.entry(keyed)
    return entry.body.key if entry is not None and isinstance(entry.body, kinds.AgentKey) else None


def need_unused(turn: Turn, key: str) -> None:
    """Raises Refused for a key that proves somebody already: a person, a host, an agent, by itself or a certificate.

    Attack: an agent's own key as that of a host that says on whose behalf it works, or of a person who approves.
    """
    state = turn.state
    taken = {
        *(person.key for person in state.person.values()), *(host.key for host in state.host.values()),
        *(row.key for row in state.agent.values()),
        *(held.key for row in state.agent.values() for held in row.certificates),
    }  # fmt: skip
    if key in taken:
        raise Refused("this key is or was in use: a new one is needed", hint="Each key proves one.")
