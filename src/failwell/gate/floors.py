"""Floors, and the groups that bring them: put in force by two persons, and what every contract under them is held to.

A contract and its floors fit each other before either is in force: a contract that cannot stand on its agent's floors
is not adopted, and neither is a floor, nor joined a group, that a contract in force cannot stand on. So no agent is
found the next morning that nothing can judge any more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache

from failwell.core import contract as contracts
from failwell.core import kinds
from failwell.core.errors import ContractError, NotFound, Refused
from failwell.core.incidents.locking import need_tight_floor
from failwell.core.orders import SignedOrder, check_pair, parse_order
from failwell.core.records import Draft
from failwell.core.state import State
from failwell.ledger.jobs import Job, Plan, Turn
from failwell.ledger.orders import VerifyOrder, admit, need_role

#: So many agents that a floor does not fit are named; more are counted.
NAMED = 8
#: Raises Refused for a name that could be taken for one of those that there are (`identity.names`).
CheckDistinct = Callable[[str, Iterable[str]], None]


@lru_cache(maxsize=2048)
def faults(document: str, floors: tuple[str, ...]) -> tuple[str, ...]:
    """What keeps a contract from standing on floors, in words; all by their canonical text. Compiles, so it is kept."""
    contract = contracts.from_canonical(document.encode())
    under = tuple(contracts.floor_from_canonical(floor.encode()) for floor in floors)
    found = [
        f"{floor.floor}: {finding.problem}"
        for floor in under
        for finding in contracts.floor_findings(contract, floor)
        if finding.level == "error"
    ]
    if not found:
        try:
            contracts.compile(contract, under)
        except ContractError as error:
            found.append(error.message)
    return tuple(found)


def floors_in(state: State, groups: Iterable[str]) -> tuple[str, ...]:
    """The texts of the floors that bind an agent of `groups`, by name."""
    scopes = {"organisation", *(f"group:{group}" for group in groups)}
    return tuple(row.document for _, row in sorted(state.floor.items()) if row.scope in scopes)


def affected(state: State, scope: str) -> tuple[tuple[str, str], ...]:
    """(name, text of the contract in force) of every agent that a floor of `scope` binds."""
    found = []
    for row in state.agent.values():
        if row.contract is None or row.authority == "RETIRED":
            continue
        if scope == "organisation" or scope.removeprefix("group:") in row.groups:
            found.append((row.name, state.contract[row.contract].document))
    return tuple(sorted(found))


def warm(document: str, bound: Iterable[tuple[str, str]]) -> None:
    """Compile beforehand, in another thread than the writer's, what `adopt_floor` will ask for."""
    for _, text in bound:
        faults(text, (document,))


def need_group(state: State, group: str, check_distinct: CheckDistinct) -> None:
    """Raises Refused for a group that is new and looks like one that there is.

    Attack: an agent registered into `payrnents`, which no floor speaks of; a floor for it, which binds nobody.
    """
    known = {each for row in state.agent.values() for each in row.groups}
    known |= {row.scope.removeprefix("group:") for row in state.floor.values() if row.scope.startswith("group:")}
    if group not in known:
        check_distinct(group, known)


def adopt_floor(
    signed: SignedOrder, adopted: SignedOrder, document: bytes, verify: VerifyOrder, check_distinct: CheckDistinct
) -> Job[int]:  # fmt: skip
    """Two persons put a floor in force: an operator or owner, and an approver. `document` is its canonical text.

    A later version may also loosen: that is what two persons are for. Refused where an agent's contract in force could
    not stand on it.
    """

    def job(turn: Turn) -> Plan[int]:
        state = turn.state
        floor = contracts.floor_from_canonical(document)
        text = document.decode()
        first, first_draft = admit(turn, signed, verify, wanted="floor.sign", source="node")
        second, second_draft = admit(turn, adopted, verify, wanted="floor.adopt", source="node")
        check_pair(first, second)
        if state.person[first.person].key == state.person[second.person].key:
            raise Refused("both orders are signed with one key: two persons are needed")
        _may_sign(turn, first.person)
        need_role(turn, second.person, "approver", "adopting a floor")
        given = (floor.floor, floor.version, contracts.floor_digest(floor))
        if given != (first.details.floor, first.details.version, first.details.digest):
            raise Refused("the signatures are over another floor than the one given", hint="Sign this file again.")
        _follows(turn, floor)
        _apart(turn, floor, check_distinct)
        _sound(floor)
        unfit = [(name, wrong[0]) for name, bound in affected(state, floor.scope) if (wrong := faults(bound, (text,)))]
        if unfit:
            raise _unfit(f"the floor {floor.floor}", unfit)
        need_tight_floor(state, text, floor.scope)
        body = kinds.FloorAdopted(
            floor=floor.floor, version=floor.version, digest=given[2], scope=floor.scope, signer=first.person,
            approver=second.person, document=text,
        )  # fmt: skip
        put = Draft(body=body, actor=second_draft.actor, refs=(turn.seq, turn.seq + 1))
        return Plan((first_draft, second_draft, put), lambda entries: entries[2].seq)

    return job


def _may_sign(turn: Turn, person: str) -> None:
    owns = any(row.owner == person for row in turn.state.agent.values())
    if "operator" not in turn.state.person[person].roles and not owns:
        raise Refused(f"a floor is signed by an operator, or by somebody who owns an agent; {person} is neither")


def _follows(turn: Turn, floor: contracts.Floor) -> None:
    known = turn.state.floor.get(floor.floor)
    if known is None:
        return
    if known.scope != floor.scope:
        raise Refused(f"the floor {floor.floor} is for {known.scope}: for {floor.scope} it is another floor")
    if floor.version <= known.version:
        raise Refused(
            f"the floor {floor.floor} version {floor.version} does not follow version {known.version}",
            hint="An adopted version is immutable: raise `version`.",
        )


def _apart(turn: Turn, floor: contracts.Floor, check_distinct: CheckDistinct) -> None:
    # Attack: `planner/big` is a clause of the floor planner, or of the agent planner that handed the work over: its
    # reviewers answer for a floor that is not theirs, and one approval for both.
    if turn.state.agent_named(floor.floor) is not None:
        raise Refused(f"an agent is named {floor.floor}: of its rules nobody could tell whose they are")
    if floor.scope != "organisation":
        need_group(turn.state, floor.scope.removeprefix("group:"), check_distinct)


def _sound(floor: contracts.Floor) -> None:
    for finding in contracts.check_floor(floor):
        if finding.level == "error":
            raise Refused(f"the floor {floor.floor} cannot be judged by: {finding.problem}", hint=finding.mend or None)


def _unfit(what: str, unfit: list[tuple[str, str]]) -> Refused:
    """The refusal of what contracts in force cannot stand on, with the names of their agents."""
    named = ", ".join(name for name, _ in unfit[:NAMED])
    more = f" and {len(unfit) - NAMED} more" if len(unfit) > NAMED else ""
    return Refused(
        f"{what} does not fit the contracts in force for {named}{more}; {unfit[0][0]}: {unfit[0][1]}",
        hint="Adopt contracts first that stand on it, then it.",
    )


def check_contract(state: State, agent: str, contract: contracts.Contract) -> None:
    """Raises Refused where a contract cannot stand on the floors of its agent."""
    floors = floors_in(state, state.agent[agent].groups)
    wrong = faults(contracts.to_canonical(contract).decode(), floors) if floors else ()
    if wrong:
        raise Refused(
            f"contract {contract.contract} cannot stand on the floors of {state.agent[agent].name}: {wrong[0]}",
            hint="A contract can only tighten what a floor asks. failwell floor list",
        )


def join_group(signed: SignedOrder, verify: VerifyOrder, check_distinct: CheckDistinct) -> Job[int]:
    """An operator puts an agent into a group, whose floors bind it from then on. Nobody takes it out again."""

    def job(turn: Turn) -> Plan[int]:
        named = parse_order(signed.order).details.agent
        agent = turn.state.agent_named(named)
        if agent is None:
            raise NotFound(f"no agent {named} is registered here", hint="failwell agent list")
        order, draft = admit(turn, signed, verify, wanted="agent.group", agent=agent, source="node")
        need_role(turn, order.person, "operator", "putting an agent into a group")
        row, group = turn.state.agent[agent], order.details.group
        if group in row.groups:
            raise Refused(f"{row.name} is in {group} already", code="repeated")
        need_group(turn.state, group, check_distinct)
        groups = tuple(sorted({*row.groups, group}))
        if row.contract is not None and f"group:{group}" in {floor.scope for floor in turn.state.floor.values()}:
            wrong = faults(turn.state.contract[row.contract].document, floors_in(turn.state, groups))
            if wrong:
                raise _unfit(f"what binds the group {group}", [(row.name, wrong[0])])
        body = kinds.AgentGrouped(group=group, groups=groups)
        return Plan(
            (draft, Draft(body=body, actor=draft.actor, agent=agent, refs=(turn.seq,))), lambda entries: entries[1].seq
        )  # fmt: skip

    return job
