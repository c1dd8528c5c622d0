"""Who and what is known to the workspace, each by a signed order (R3, I7)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from failwell.core import contract as contracts
from failwell.core import kinds
from failwell.core.errors import Refused
from failwell.core.incidents import locking
from failwell.core.machines import AUTHORITY, step
from failwell.core.orders import PersonEnrol, SignedOrder, check_pair, parse_order
from failwell.core.people import returns
from failwell.core.records import Draft
from failwell.core.stops import leaves_closed
from failwell.gate.credentials import need_unused
from failwell.gate.floors import CheckDistinct, check_contract, need_group
from failwell.gate.people import need_owner
from failwell.gate.postures import floors_digest
from failwell.ledger.jobs import Job, Plan, Turn
from failwell.ledger.orders import VerifyOrder, admit, need_role
from failwell.ledger.vault import commitment

#: Roles a person can hold. Owning an agent is not a role: each agent names its one owner.
ROLES = ("operator", "approver", "reviewer")


class Contact(NamedTuple):
    """Where a person is reached. The order holds SHA-256(salt || address); both lie in the blob."""

    email: str
    salt: bytes

    def secret(self) -> dict[str, Any]:
        return {"email": self.email, "salt": self.salt.hex()}


CheckEnrolment = Callable[[str, PersonEnrol], bytes]


def enrol_person(
    signed: SignedOrder, contact: Contact | None, verify: VerifyOrder, check_enrolment: CheckEnrolment
) -> Job[int]:  # fmt: skip
    """An operator enrols a further person, whose key brought its own proof. Answers the entry number."""

    def job(turn: Turn) -> Plan[int]:
        order, draft = admit(turn, signed, verify, wanted="person.enrol", source="node")
        need_role(turn, order.person, "operator", "enrolling a person")
        details = order.details
        if details.person in turn.state.person:
            raise Refused(f"{details.person} is enrolled already")
        if any(row.key == details.key for row in turn.state.person.values()):
            raise Refused("this key is enrolled under another name: one person, one key")
        need_unused(turn, details.key)
        _known_roles(details.roles)
        check_enrolment(turn.state.origin, details)
        if details.contact != (None if contact is None else commitment(contact.salt, contact.email.encode())):
            raise Refused("the order is over another contact address than the one given")
        body = kinds.PersonEnrolled(person=details.person, key=details.key, roles=details.roles)
        secret = None if contact is None else contact.secret()
        enrolled = Draft(body=body, actor=draft.actor, refs=(turn.seq,), secret=secret)
        return Plan((draft, enrolled), lambda entries: entries[1].seq)

    return job


def _known_roles(roles: tuple[str, ...]) -> None:
    for role in roles:
        if role not in ROLES:
            raise Refused(f"there is no role {role!r}", hint=f"Roles are {', '.join(ROLES)}.")


def register_agent(
    signed: SignedOrder, short_name: str, verify: VerifyOrder, check_distinct: CheckDistinct
) -> Job[int]:  # fmt: skip
    """An operator registers an agent with its public key and its one owner; no name that passes for another's."""

    def job(turn: Turn) -> Plan[int]:
        agent = _details(signed).agent
        order, draft = admit(turn, signed, verify, wanted="agent.register", agent=agent, source="node")
        need_role(turn, order.person, "operator", "registering an agent")
        if agent in turn.state.agent or turn.state.agent_named(short_name) is not None:
            raise Refused(f"an agent {short_name} is registered already", hint="failwell agent list")
        check_distinct(short_name, (row.name for row in turn.state.agent.values()))
        if short_name in turn.state.floor:
            raise Refused(f"a floor is named {short_name}: of its rules nobody could tell whose they are")
        for group in order.details.groups:
            need_group(turn.state, group, check_distinct)
        need_unused(turn, order.details.key)
        need_owner(turn, order.details.owner)
        registered = kinds.AgentRegistered2(
            name=short_name, owner=order.details.owner, groups=tuple(sorted(set(order.details.groups))),
            detect_only=order.details.detect_only,
        )  # fmt: skip
        key = kinds.AgentKey(key=order.details.key, status="active")
        drafts = (
            draft,
            Draft(body=registered, actor=draft.actor, agent=agent, refs=(turn.seq,)),
            Draft(body=key, actor=draft.actor, agent=agent, refs=(turn.seq,)),
        )
        return Plan(drafts, lambda entries: entries[1].seq)

    return job


def register_host(signed: SignedOrder, verify: VerifyOrder) -> Job[int]:
    """An operator registers an application that may open runs for the named agents."""

    def job(turn: Turn) -> Plan[int]:
        order, draft = admit(turn, signed, verify, wanted="host.register", source="node")
        need_role(turn, order.person, "operator", "registering a host")
        details = order.details
        unknown = [agent for agent in details.agents if agent not in turn.state.agent]
        if details.host in turn.state.host or unknown:
            raise Refused(f"host {details.host} is registered already" if not unknown else f"no agent {unknown[0]}")
        need_unused(turn, details.key)
        body = kinds.HostRegistered(host=details.host, key=details.key, agents=details.agents)
        return Plan(
            (draft, Draft(body=body, actor=draft.actor, refs=(turn.seq,))), lambda entries: entries[1].seq
        )  # fmt: skip

    return job


def adopt_contract(
    signed: SignedOrder, adopted: SignedOrder, document: bytes, verify: VerifyOrder, evaluator: str
) -> Job[int]:
    """Owner and approver, two persons, put a contract in force. `document` is its canonical text.

    From ACTIVE or REGISTERED the agent is ACTIVE under the new contract; a suspended agent stays suspended.
    """

    def job(turn: Turn) -> Plan[int]:
        state = turn.state
        contract = contracts.from_canonical(document)
        agent = state.agent_named(contract.agent)
        if agent is None:
            raise Refused(f"contract {contract.contract}: no agent {contract.agent} is registered here")
        by_owner, owner_draft = admit(turn, signed, verify, wanted="contract.sign", agent=agent, source="node")
        by_approver, approver_draft = admit(turn, adopted, verify, wanted="contract.adopt", agent=agent, source="node")
        check_pair(by_owner, by_approver)
        if state.person[by_owner.person].key == state.person[by_approver.person].key:
            raise Refused("owner and approver sign with one key: two persons are needed")
        if by_owner.person != state.agent[agent].owner or contract.owner != by_owner.person:
            raise Refused(f"the contract must be signed by the agent's owner, {state.agent[agent].owner}")
        need_role(turn, by_approver.person, "approver", "adopting a contract")
        _same_contract(contract, by_owner.details)
        check_contract(state, agent, contract)
        locking.need_held(state, agent)
        locking.need_tight(state, agent, document.decode())
        drafts = (
            owner_draft,
            approver_draft,
            *_put_in_force(turn, agent, contract, by_approver.person, "live", evaluator),
        )
        return Plan(drafts, lambda entries: entries[2].seq)

    return job


def _same_contract(contract: contracts.Contract, details: Any) -> None:
    given = (contract.contract, contract.version, contracts.digest(contract))
    if given != (details.contract, details.version, details.digest):
        raise Refused("the signatures are over another contract than the one given", hint="Sign this file again.")


def adopt_for_backtest(document: bytes, evaluator: str) -> Job[str]:
    """Adopt a contract in a backtest ledger: agent and contract are registered without any person's key.

    Refused anywhere else. Answers the agent's id.
    """

    def job(turn: Turn) -> Plan[str]:
        if turn.state.mode != "backtest":
            raise Refused("a contract is adopted without signatures only in a backtest ledger")
        contract = contracts.from_canonical(document)
        agent = contract.agent
        drafts: list[Draft] = []
        if agent in turn.state.agent:
            raise Refused(f"two contracts are for agent {agent}")
        registered = kinds.AgentRegistered2(
            name=contract.contract, owner=contract.owner, groups=(), detect_only=False
        )  # fmt: skip
        drafts.append(Draft(body=registered, actor="backtest", agent=agent))
        drafts += _put_in_force(turn, agent, contract, "backtest", "backtest", evaluator)
        return Plan(tuple(drafts), lambda entries: agent)

    return job


def _put_in_force(
    turn: Turn, agent: str, contract: contracts.Contract, approver: str, mode: str, evaluator: str
) -> tuple[Draft, ...]:  # fmt: skip
    """Contract, posture and, where the agent had no authority yet or waited for its new owner, ACTIVE."""
    digest = contracts.digest(contract)
    if (scope := leaves_closed(turn.state, agent, contract.contract)) is not None:
        raise Refused(
            f"{scope} is stopped: under a contract of another name this agent would act again",
            hint=f"Two persons lift the stop: failwell stop show {scope}",
        )
    row = turn.state.agent.get(agent)
    known = turn.state.contract.get(row.contract) if row is not None and row.contract else None
    if digest in turn.state.contract or (known is not None and contract.version <= known.version):
        raise Refused(
            f"contract {contract.contract} version {contract.version} does not follow the one in force",
            hint="An adopted version is immutable: raise `version`.",
        )
    actor = f"person:{approver}" if mode == "live" else "backtest"
    adopted = kinds.ContractAdopted(
        contract=contract.contract, version=contract.version, digest=digest, owner=contract.owner, approver=approver,
        document=contracts.to_canonical(contract).decode(), mode=mode,
    )  # fmt: skip
    posture = kinds.Posture(
        contract=f"{contract.contract}@{contract.version}", contract_digest=digest,
        configuration=turn.state.configuration, baseline="absent", evaluator=evaluator,
        floors=None if row is None else floors_digest(turn, agent),
        response=digest, model=None, prompt=None, tool_schemas=None,
    )  # fmt: skip
    drafts = [
        Draft(body=adopted, actor=actor, agent=agent, refs=(turn.seq,) if mode == "live" else ()),
        Draft(body=posture, actor="gate", agent=agent),
    ]
    was = "REGISTERED" if row is None else row.authority
    if was == "REGISTERED" or (row is not None and returns(row)):
        active = kinds.AuthorityChanged(
            was=was, now=step(AUTHORITY, was, "ACTIVE"), epoch=1 if row is None else row.epoch + 1,
            why="contract adopted" if was == "REGISTERED" else f"{contract.owner} answers for it now",
            incident=None, by=approver,
        )  # fmt: skip
        drafts.append(Draft(body=active, actor=actor, agent=agent))
    return tuple(drafts)


def apply_config(
    signed: SignedOrder, text: str, digest: str, verify: VerifyOrder,
    beside: Callable[[str, int], tuple[Draft, ...]] = lambda text, now_us: (),
) -> Job[int]:  # fmt: skip
    """An operator puts new settings in force, over exactly those seen in force; `beside` is what these need to be told
    with them (the offsets of their time zones).
    """

    def job(turn: Turn) -> Plan[int]:
        order, draft = admit(turn, signed, verify, wanted="config.apply", source="node")
        need_role(turn, order.person, "operator", "changing the settings")
        if (order.details.settings, order.details.previous) != (digest, turn.state.configuration):
            raise Refused("the order is over other settings than these", hint="Look again: failwell config show")
        locking.need_tight_settings(turn.state, _in_force(turn), text)
        body = kinds.Config(digest=digest, text=text)
        config = Draft(body=body, actor=draft.actor, refs=(turn.seq,))
        return Plan((draft, config, *beside(text, turn.now_us)), lambda entries: entries[1].seq)

    return job


def _in_force(turn: Turn) -> str | None:
    """The text of the settings in force, None where it is not there to compare with."""
    configured = turn.state.workspace[1].configured if turn.state.workspace else None
    entry = None if configured is None else turn.entry(configured)
    return entry.body.text if entry is not None and isinstance(entry.body, kinds.Config) else None


def _details(signed: SignedOrder) -> Any:
    return parse_order(signed.order).details
