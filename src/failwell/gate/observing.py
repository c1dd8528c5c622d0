"""Agents that already run: observed for a while before they are governed, by their owner's signed order (D25, R32).

OBSERVED is no authority that somebody earned: everything is recorded and judged, nothing is enforced. So it begins only
where nothing was governed yet, once, for at most 90 days; and it ends by itself, by an order, or with a suspension.
"""

from __future__ import annotations

from failwell.core import kinds, rows
from failwell.core.errors import NotFound, Refused
from failwell.core.incidents.locking import need_told
from failwell.core.instants import format_at, parse_at
from failwell.core.machines import AUTHORITY, step
from failwell.core.observed import MAX_OBSERVED_US
from failwell.core.orders import SignedOrder, parse_order
from failwell.core.records import Draft
from failwell.ledger.jobs import Job, Plan, Turn
from failwell.ledger.orders import VerifyOrder, admit

DAYS = MAX_OBSERVED_US // (24 * 3600 * 1_000_000)


def observation_over(row: rows.Agent, now_us: int) -> bool:
    """Whether an OBSERVED agent's time is over at ledger time `now_us`, written down or not."""
    return row.authority == "OBSERVED" and now_us >= (row.observed_until_us or 0)


def observe(signed: SignedOrder, verify: VerifyOrder) -> Job[int]:
    """The owner has an agent observed until a date. Answers the entry that says so.

    Refused for anybody else, from any authority but REGISTERED (that would loosen), a second time, for a detect-only
    agent, and for a date that is past or more than 90 days ahead.
    """

    def job(turn: Turn) -> Plan[int]:
        agent, row = _agent(turn, signed)
        order, draft = admit(turn, signed, verify, wanted="agent.observe", agent=agent, source="node")
        _may_observe(row, order.person)
        need_told(turn.state, (agent,), f"letting {row.name} act ungoverned")
        until_us = parse_at(order.details.until)
        if not turn.now_us < until_us <= turn.now_us + MAX_OBSERVED_US:
            raise Refused(
                f"{order.details.until} is not within the {DAYS} days from now, {format_at(turn.now_us)}",
                hint="An observation ends on a date; after it the agent is governed.",
            )
        body = kinds.Observation(until_us=until_us, person=order.person, why=order.details.reason)
        changed = kinds.AuthorityChanged(
            was=row.authority, now=step(AUTHORITY, row.authority, "OBSERVED"), epoch=row.epoch + 1,
            why=f"observed, not governed, until {order.details.until}", incident=None, by=draft.actor,
        )  # fmt: skip
        drafts = (
            draft,
            Draft(body=body, actor=draft.actor, agent=agent, refs=(turn.seq,)),
            Draft(body=changed, actor=draft.actor, agent=agent, refs=(turn.seq,)),
        )
        return Plan(drafts, lambda entries: entries[1].seq)

    return job


def _may_observe(row: rows.Agent, person: str) -> None:
    if person != row.owner:
        raise Refused(f"only its owner, {row.owner}, has {row.name} observed")
    if row.detect_only:
        raise Refused(f"{row.name} is detect-only: no gate stands before it that could observe it")
    if row.authority != "REGISTERED":
        raise Refused(
            f"{row.name} is {row.authority}: only an agent that was never governed is observed",
            hint="Once is all: a date that can be moved is none."
            if row.authority == "OBSERVED"
            else "Observing it would loosen what binds it.",
        )
    if row.observed_until_us is not None:
        # Attack: an end date that is moved each time it comes near is none.
        raise Refused(
            f"{row.name} was observed until {format_at(row.observed_until_us)}, and is observed once",
            hint="It is governed by a contract: failwell contract sign FILE",
        )


def govern(signed: SignedOrder, verify: VerifyOrder) -> Job[int]:
    """Owner or operator end an observation early. Answers the entry of the change; it takes authority away (I8)."""

    def job(turn: Turn) -> Plan[int]:
        agent, row = _agent(turn, signed)
        order, draft = admit(turn, signed, verify, wanted="agent.govern", agent=agent, source="node")
        if order.person != row.owner and "operator" not in turn.state.person[order.person].roles:
            raise Refused(f"this takes the owner of {row.name}, {row.owner}, or an operator")
        if row.authority != "OBSERVED":
            raise Refused(f"{row.name} is {row.authority}: there is no observation to end")
        changed = Draft(
            body=_ended(row, f"observation ended by {order.person}", draft.actor), actor=draft.actor, agent=agent,
            refs=(turn.seq,),
        )  # fmt: skip
        return Plan((draft, changed), lambda entries: entries[1].seq)

    return job


def end_observations(turn: Turn) -> Plan[tuple[str, ...]]:
    """The job that writes down which observations are over, by ledger time; answers whose."""
    over = [(agent, row) for agent, row in turn.state.agent.items() if observation_over(row, turn.now_us)]
    drafts = tuple(
        Draft(body=_ended(row, f"observed until {format_at(row.observed_until_us or 0)}", "node"), actor="node",
              agent=agent)
        for agent, row in over
    )  # fmt: skip
    return Plan(drafts, lambda entries: tuple(agent for agent, _ in over))


def _ended(row: rows.Agent, why: str, by: str) -> kinds.AuthorityChanged:
    """Governed from now on: by its contract, or by having none."""
    now = "REGISTERED" if row.contract is None else "ACTIVE"
    return kinds.AuthorityChanged(
        was=row.authority, now=step(AUTHORITY, row.authority, now), epoch=row.epoch + 1, why=why, incident=None, by=by
    )


def _agent(turn: Turn, signed: SignedOrder) -> tuple[str, rows.Agent]:
    named = parse_order(signed.order).details.agent
    agent = turn.state.agent_named(named)
    if agent is None:
        raise NotFound(f"no agent {named} is registered here", hint="failwell agent list")
    return agent, turn.state.agent[agent]
