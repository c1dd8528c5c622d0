"""Undoing what a stopped action did, on record: a person's order, what is due, each beginning and each end (D28).

What is owed follows from an outcome by rule (`core.undoing`). Who runs the step is the node's; here stands what it is
told, and how its own word is taken: strictly, since an undoing that is believed and did not happen is looked for by
nobody.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any

import msgspec

from failwell.core import canonical, kinds, rows, stops, undoing
from failwell.core.errors import InputError, NotFound, Refused
from failwell.core.orders import SignedOrder, parse_order
from failwell.core.records import Draft
from failwell.core.state import State
from failwell.ledger.jobs import Job, Plan, Turn
from failwell.ledger.orders import VerifyOrder, admit
from failwell.ports.executor import Ended

#: Undoings that one job tells of: however many are owed, a stop waits no longer for it; and under way of one agent.
TOLD_AT_ONCE, STEPS_OF_ONE = 64, 4
MAX_DETAIL, MAX_WORDS = 500, 2000
#: The longest last line that is read of a step.
MAX_LINE_BYTES = 65_536
#: Who may have an ended action undone, beside its agent's owner.
ROLE = "approver"


# ---- a person's order ----------------------------------------------------------------------------------------


def order_undoing(signed: SignedOrder, verify: VerifyOrder) -> Job[int]:
    """A person has an action undone that has ended. Answers the entry that orders it."""

    def job(turn: Turn) -> Plan[int]:
        details = parse_order(signed.order).details
        row = _ended_action(turn, details.action)
        order, draft = admit(turn, signed, verify, wanted="action.compensate", agent=row.agent, source="node")
        _may_order(turn, order.person, row)
        _not_undone(turn, details.action)
        body = undoing.ordered(turn.state, details.action, row, draft.actor)
        if body is None or row.ended is None:
            raise Refused(
                f"no contract in force said how {row.tool} is undone when action {details.action} was decided"
            )
        if (body.tool, body.step, body.contract) != (details.tool, details.step, details.contract):
            raise Refused(
                f"action {details.action} is {body.tool} and is undone by {body.step}: the order says otherwise",
                hint="Look again: failwell action show",
            )
        asked = Draft(body=body, actor=draft.actor, agent=row.agent, run=row.run, refs=(turn.seq, row.ended))
        return Plan((draft, asked), lambda entries: entries[1].seq)

    return job


def _ended_action(turn: Turn, action: int) -> rows.Action:
    if action in turn.state.action:
        raise Refused(
            f"action {action} has not ended", hint="What runs is stopped: failwell agent suspend, failwell stop"
        )
    stored = turn.stored_row("action", action)
    if stored is None:
        raise NotFound(f"there is no action {action}", hint="An action is named by the entry of its decision.")
    row: rows.Action = rows.decode_row("action", stored)
    if row.state not in undoing.STARTED:
        raise Refused(f"action {action} never ran ({row.state}): there is nothing to undo")
    return row


def _may_order(turn: Turn, person: str, row: rows.Action) -> None:
    """Undoing acts on the world: who answers for the agent may order it, or an approver."""
    owner = turn.state.reachable(turn.state.agent[row.agent].owner)
    if person != owner and ROLE not in turn.state.person[person].roles:
        raise Refused(f"{person} neither owns {turn.state.agent[row.agent].name} nor has the role {ROLE}")


def _not_undone(turn: Turn, action: int) -> None:
    """Raises Refused where the action is being undone, or was, and twice would do harm."""
    live = turn.state.compensation.get(action)
    if live is not None:
        if live.state != "owed" or not live.waits:
            raise Refused(f"action {action} is being undone already (entry {live.ordered})", code="replayed")
        return
    stored = turn.stored_row("compensation", action)
    known: rows.Compensation | None = None if stored is None else rows.decode_row("compensation", stored)
    if known is not None and not undoing.again(turn.state, known):
        raise Refused(
            f"action {action} was to be undone already and is {known.state} (ordered by entry {known.ordered})",
            hint=None if known.state == undoing.REVERSED else "A step that may run twice is listed as idempotent.",
        )


# ---- what is due ---------------------------------------------------------------------------------------------


class Due(msgspec.Struct, frozen=True, kw_only=True):
    """An undoing that can go on: its step is run (`run`), or it is given up in the words of `over`."""

    decision: int
    agent: str
    step: str
    within_us: int
    outcome: int
    tries: int
    begun: int | None
    harmless: bool
    over: str | None


def due_besides(known: frozenset[int]) -> Job[tuple[Due, ...]]:
    """The job that tells of undoings that are not among the known ones and wait for nothing. It writes nothing.

    Attack: one agent whose steps hang, with more of them owed than are told of at once. Of each agent a few are told.
    """

    def job(turn: Turn) -> Plan[tuple[Due, ...]]:
        found = tuple(islice(_told(turn, known), TOLD_AT_ONCE))
        return Plan((), lambda _: found)

    return job


def _told(turn: Turn, known: frozenset[int]) -> Iterator[Due]:
    of_one: Counter[str] = Counter()
    for seq, row in turn.state.compensation.items():
        if seq in known:
            of_one[row.agent] += 1
        elif of_one[row.agent] < STEPS_OF_ONE and (due := _due(turn, seq, row)) is not None:
            of_one[row.agent] += 1
            yield due


def _due(turn: Turn, decision: int, row: rows.Compensation) -> Due | None:
    over = None
    if row.waits:
        if turn.now_us < row.due_us:
            return None
        over = (
            f"nobody could confirm within {undoing.WAITS_US // 60_000_000} minutes that action {decision} has ended, so"
            f" {row.step} was not run. To run it all the same: failwell action compensate {decision}"
        )
    elif not undoing.may_begin(turn.state, row):
        over = f"its node ended while {row.step} ran: nobody can say how far it came"
    elif _stopped(turn.state, row.step):
        return None
    return Due(
        decision=decision, agent=row.agent, step=row.step, within_us=row.within_us, outcome=row.outcome,
        tries=row.tries, begun=row.begun, harmless=undoing.harmless(turn.state, row.contract, row.step), over=over,
    )  # fmt: skip


def scopes_of(step: str) -> tuple[str, ...]:
    """What a step is within. It is the node's own work: a stop of an agent, a group or a contract is not about it."""
    return (stops.ALL, stops.TOOL + step)


def _stopped(state: State, step: str) -> bool:
    found = (state.stop.get(scope) for scope in scopes_of(step))
    return any(row is not None and row.closed for row in found)


def begin(due: Due) -> Job[int | None]:
    """The job that records that the step is about to be started; None where it may not be (any more)."""

    def job(turn: Turn) -> Plan[int | None]:
        row = turn.state.compensation.get(due.decision)
        if (
            row is None
            or row.tries != due.tries
            or not undoing.may_begin(turn.state, row)
            or _stopped(turn.state, row.step)
        ):
            return Plan((), lambda _: None)
        body = kinds.CompensationBegun(decision=due.decision, tool=row.tool, step=row.step, tries=row.tries + 1)
        draft = Draft(body=body, actor="node", agent=row.agent, refs=(due.decision, row.ordered))
        return Plan((draft,), lambda entries: entries[0].seq)

    return job


# ---- how it ended --------------------------------------------------------------------------------------------


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """How a step ended. `detail` is ours to say; `words` are the step's own, personal until shown otherwise."""

    state: str
    detail: str
    exit_code: int | None = None
    elapsed_us: int | None = None
    words: str | None = None


def end(decision: int, begun: int | None, seen: Seen) -> Job[int | None]:
    """The job that records how an undoing ended; answers the entry, None where that is on record already."""

    def job(turn: Turn) -> Plan[int | None]:
        row = turn.state.compensation.get(decision)
        if row is None or row.begun != begun:
            return Plan((), lambda _: None)
        body = kinds.Compensated(
            decision=decision, tool=row.tool, step=row.step, state=seen.state, exit_code=seen.exit_code,
            elapsed_us=seen.elapsed_us, detail=seen.detail[:MAX_DETAIL],
        )  # fmt: skip
        secret = None if not seen.words else {"words": seen.words[:MAX_WORDS]}
        cited = row.ordered if begun is None else begun
        draft = Draft(body=body, actor="node", agent=row.agent, refs=(decision, cited), secret=secret)
        return Plan((draft,), lambda entries: entries[0].seq)

    return job


def seen_of(ended: Ended, step: str) -> Seen:
    """What a step's end is taken for. INVARIANT: `reversed` is said only where the step ended by itself with code 0
    and said so, last of all.
    """
    said, words = _said(ended)
    state, detail = _judged(ended, step, said)
    elapsed_us = max(0, ended.ended_us - ended.started_us) if ended.started_us else None
    return Seen(state=state, detail=detail, exit_code=ended.exit_code, elapsed_us=elapsed_us, words=words)


def _judged(ended: Ended, step: str, said: str | None) -> tuple[str, str]:
    if ended.state == "blocked":
        return undoing.NOT, f"{step} was not started: {ended.why}"
    if ended.state not in ("completed", "failed", "completed_after_interrupt"):
        proof = ", and nobody can say that it has ended" if ended.state == undoing.MAY_GO_ON else ""
        return undoing.UNKNOWN, f"{step} was stopped on its way ({ended.why or ended.state}){proof}"
    if ended.exit_code is None or ended.exit_code < 0 or ended.signal is not None:
        return undoing.UNKNOWN, f"{step} ended by a signal: nobody can say how far it came"
    if ended.exit_code != 0:
        if said == undoing.REVERSED:
            return undoing.UNKNOWN, f"{step} says that it reversed it, and ended with {ended.exit_code}"
        return said or undoing.NOT, f"{step} ended with {ended.exit_code}"
    if ended.truncated:
        return undoing.UNKNOWN, f"{step} printed more than is read, so its last word is not known"
    if said is None:
        return undoing.UNKNOWN, f"{step} ended with 0, and did not say as its last line what became of it"
    return said, f"{step} says so"


def _said(ended: Ended) -> tuple[str | None, str | None]:
    """(the state that the last line of the output gives, the step's words): None where it gives none."""
    lines = ended.output.decode("utf-8", "replace").strip().splitlines()
    errors = ended.errors.decode("utf-8", "replace").strip().splitlines()
    words = errors[-1] if errors else None
    try:
        told: Any = canonical.parse(lines[-1].encode(), max_bytes=MAX_LINE_BYTES) if lines else None
    except InputError:
        return None, words
    if not isinstance(told, dict) or told.get("state") not in (undoing.REVERSED, undoing.PARTLY, undoing.NOT):
        return None, words
    detail = told.get("detail")
    return told["state"], detail if isinstance(detail, str) and detail else words
