"""What the workspace's authority makes out: agents' certificates, on record, and the entry by which it is in force.

It makes out what it is asked for; who may ask, and what is believed of a certificate that is shown, stands in
`node.proving`.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from failwell.core import kinds
from failwell.core.errors import Refused
from failwell.core.instants import format_at
from failwell.core.records import Draft
from failwell.core.state import State
from failwell.identity import issuer as issuers
from failwell.identity import svids
from failwell.identity.issuer import Issuer
from failwell.ledger.jobs import Job, Plan, Turn

#: Certificates of one agent that may be in force at once: more are refused, its key still proves.
MAX_IN_FORCE = 64
#: Why an action was stopped or never started whose agent's key was revoked or replaced meanwhile.
KEY_GONE = "the key that its caller proved itself with is not in force any more"


def make_out(
    agent: str, public: bytes, issuer: Issuer, minutes: int, proved: Callable[[], bool]
) -> Job[dict[str, Any]]:
    """The job that makes a certificate out and records it; Refused for a key that is anybody's already."""
    key = base64.b64encode(public).decode()

    def job(turn: Turn) -> Plan[dict[str, Any]]:
        row, in_force = turn.state.agent[agent], turn.state.workspace[1].issuer
        # Attack: the key is replaced while this waits, and the thief of the old one gets a certificate after it.
        if row.key is None or row.keyed is None or not proved():
            raise Refused(KEY_GONE, code="unauthenticated")
        if in_force is None or in_force[1] != issuer.digest:
            raise Refused("the workspace's authority was replaced meanwhile", hint="Ask again.", code="busy")
        if key in _taken(turn.state, agent):
            raise Refused("this key is in use already", hint="Make a fresh key for each certificate.")
        held = sum(1 for each in row.certificates if each.not_after_us > turn.now_us)
        if held >= MAX_IN_FORCE:
            raise Refused(f"{held} certificates of {row.name} are in force", hint="Use one of them, or its key.")
        name = issuers.spiffe_id(agent, issuers.trust_domain(turn.state.origin))
        made = issuer.issue(name, public, turn.entropy(issuers.SERIAL_BYTES), turn.now_us, minutes)
        serial = issuers.serial_text(svids.parse_chain(base64.b64encode(made.certificate).decode())[0].serial_number)
        body = kinds.AgentCertificate(
            serial=serial, key=key, issuer=issuer.digest, certificate=base64.b64encode(made.certificate).decode(),
            not_before=format_at(made.not_before_us), not_after=format_at(made.not_after_us),
        )  # fmt: skip
        draft = Draft(body=body, actor="node", agent=agent, refs=(in_force[0], row.keyed))
        told = {
            "agent": agent, "spiffe_id": name, "serial": serial, "not_after": body.not_after,
            "certificate": issuers.pem(made.certificate), "issuer": issuers.pem(issuer.certificate),
        }  # fmt: skip
        return Plan((draft,), lambda entries: {**told, "entry": entries[0].seq})

    return job


def _taken(state: State, agent: str) -> set[str]:
    """Keys that prove somebody already: persons', hosts', agents' own, and those of other agents' certificates."""
    rows = state.agent.items()
    return {
        *(person.key for person in state.person.values()), *(host.key for host in state.host.values()),
        *(row.key for _, row in rows if row.key is not None),
        *(held.key for name, row in rows if name != agent for held in row.certificates),
    }  # fmt: skip


def issuer_draft(issuer: Issuer, why: str) -> Draft:
    """The entry by which an authority comes into force."""
    certificate = base64.b64encode(issuer.certificate).decode()
    return Draft(body=kinds.IdentityIssuer(certificate=certificate, digest=issuer.digest, why=why), actor="node")
