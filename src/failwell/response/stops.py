"""What people order about more than one agent: stop a scope, and give it back by two persons (I8, R23).

A stop restricts: one enrolled person is enough, it never waits, and what it leads to (`core.stops`) follows in the same
commit, whether or not anything of that name is known. Lifting it permits: two persons with two keys, neither of whom
ordered it, over evidence, once everything that it interrupted has its end.
"""

from __future__ import annotations

from failwell.core import kinds, rows, stops
from failwell.core.errors import NotFound, Refused
from failwell.core.incidents import apart
from failwell.core.incidents.locking import need_told
from failwell.core.orders import SignedOrder, order_digest, parse_order
from failwell.core.records import Draft
from failwell.ledger.jobs import Job, Plan, Turn
from failwell.ledger.orders import VerifyOrder, admit, need_role


def stop_scope(signed: SignedOrder, verify: VerifyOrder, *, source: str) -> Job[int]:
    """A person stops everything within a scope. Answers the order's entry number.

    Attack: a name that nothing has yet. It is stopped all the same, and whatever takes the name later finds it so.
    """

    def job(turn: Turn) -> Plan[int]:
        _, draft = admit(turn, signed, verify, wanted=stops.ORDER, source=source)
        return Plan((draft,), lambda entries: entries[0].seq)

    return job


def propose_lift(signed: SignedOrder, verify: VerifyOrder) -> Job[int]:
    """One person proposes to lift a stop, citing evidence; refused while it waits for the end of an action."""

    def job(turn: Turn) -> Plan[int]:
        details = parse_order(signed.order).details
        order, draft = admit(turn, signed, verify, wanted="stop.propose", source="node")
        _liftable(turn, details.scope, details.epoch, order.person)
        beyond = [seq for seq in details.evidence if seq >= turn.seq]
        if beyond:
            raise Refused(f"there is no entry {beyond[0]} to cite as evidence")
        body = kinds.ScopeProposed(
            scope=details.scope, epoch=details.epoch, person=order.person, digest=order_digest(order),
            conditions=details.conditions,
        )  # fmt: skip
        proposed = Draft(body=body, actor=draft.actor, refs=(turn.seq, *details.evidence))
        return Plan((draft, proposed), lambda entries: entries[1].seq)

    return job


def approve_lift(signed: SignedOrder, verify: VerifyOrder) -> Job[int]:
    """A second person lifts it: not the proposer, nobody who ordered it, and with another key."""

    def job(turn: Turn) -> Plan[int]:
        people = turn.state.person
        details = parse_order(signed.order).details
        order, draft = admit(turn, signed, verify, wanted="stop.lift", source="node")
        need_role(turn, order.person, "approver", "lifting a stop")
        row = _liftable(turn, details.scope, details.epoch, order.person)
        if row.proposal is None or row.proposed_by is None or row.proposal != details.proposal:
            raise Refused("this is not the lift that stands proposed", hint=f"failwell stop show {details.scope}")
        if people[row.proposed_by].left is not None:
            raise Refused(f"{row.proposed_by}, who proposed this, has left", hint="Another person proposes it.")
        if order.person == row.proposed_by or people[order.person].key == people[row.proposed_by].key:
            raise Refused(f"{order.person} proposed to lift this stop: another person lifts it")
        _need_another(turn, row, order.person, row.proposed_by)
        need_told(turn.state, stops.agents_in(turn.state, details.scope), "lifting this stop")
        body = kinds.ScopeLifted(
            scope=details.scope, epoch=details.epoch, person=order.person, digest=details.proposal
        )  # fmt: skip
        return Plan(
            (draft, Draft(body=body, actor=draft.actor, refs=(turn.seq,))), lambda entries: entries[1].seq
        )  # fmt: skip

    return job


def _liftable(turn: Turn, scope: str, epoch: int, person: str) -> rows.Stop:
    """The stop in force, if it is the one that is meant, nothing waits, and `person` did not order it."""
    row = turn.state.stop.get(scope)
    if row is None or not row.closed:
        raise NotFound(f"{stops.words(scope)} is not stopped", hint="failwell stop list shows what is.")
    if row.epoch != epoch:
        # Attack: what was agreed on for an earlier stop, used to lift the one that followed.
        raise Refused(f"{stops.words(scope)} was lifted and stopped anew since: this is stop {row.epoch}, not {epoch}")
    if f"person:{person}" in row.stopped_by:
        raise Refused(
            f"{person} ordered this stop: two other persons lift it",
            hint="failwell person add enrols one, where there are not two others.",
        )
    _need_another(turn, row, person, None)
    if row.waiting:
        raise Refused(
            f"{len(row.waiting)} of its actions have no end yet: {', '.join(map(str, row.waiting[:8]))}",
            hint=f"failwell stop show {scope} tells which; each ends by itself, or as unconfirmed.",
        )
    return row


def _need_another(turn: Turn, row: rows.Stop, person: str, by: str | None) -> None:
    """Attack: who may not lift it, or proposed it, enrols a second name meanwhile, and lifts it with that."""
    why = apart.kept_from_lifting(turn.state, row, person, by)
    if why is not None:
        raise Refused(why, hint="Another person does, who was enrolled before the stop or by somebody else.")
