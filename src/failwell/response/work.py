"""What people order about single runs and actions: to stop them, and what became of work that a stop left (R7, I8).

Stopping restricts: any enrolled person may, and it never waits. What an order leads to follows in its own commit
(`core.incidents.work`).
"""

from __future__ import annotations

from failwell.core import kinds, rows
from failwell.core.errors import NotFound, Refused
from failwell.core.incidents.work import may_end, place_of, stop_runs
from failwell.core.orders import SignedOrder, parse_order
from failwell.core.records import Draft
from failwell.ledger.jobs import Job, Plan, Turn
from failwell.ledger.orders import VerifyOrder, admit
from failwell.response.said import MakeJob, Said


def stop_run(signed: SignedOrder, verify: VerifyOrder, *, source: str) -> Job[int]:
    """A person stops a run and those it was handed over to; answers the order's entry number."""

    def job(turn: Turn) -> Plan[int]:
        details = parse_order(signed.order).details
        row = _run(turn, details.run)
        _, draft = admit(turn, signed, verify, wanted="run.stop", agent=row.agent, source=source)
        if not stop_runs(turn.state, details.run, incident=None, why="", by="")[1]:
            raise NotFound(
                f"run {details.run} is closed, and nothing of it runs",
                hint="failwell agent suspend stops all of an agent.",
            )
        return Plan((draft,), lambda entries: entries[0].seq)

    return job


def stop_action(signed: SignedOrder, verify: VerifyOrder, *, source: str) -> Job[int]:
    """A person stops one action; answers the order's entry number. Its run goes on."""

    def job(turn: Turn) -> Plan[int]:
        details = parse_order(signed.order).details
        row = turn.state.action.get(details.action)
        if row is None:
            raise NotFound(
                f"action {details.action} is not open: it has ended, or there is none of that number",
                hint=f"failwell action show {details.action}",
            )
        _, draft = admit(turn, signed, verify, wanted="action.stop", agent=row.agent, source=source)
        return Plan((draft,), lambda entries: entries[0].seq)

    return job


def end_work(signed: SignedOrder, verify: VerifyOrder, said: Said) -> Job[int]:
    """A person says what became of a run that a stopped agent left."""

    def job(turn: Turn) -> Plan[int]:
        state = turn.state
        details = parse_order(signed.order).details
        row = state.work.get(place_of(details.incident, details.run))
        if row is None:
            raise NotFound(
                f"incident {details.incident} left no run {details.run}",
                hint=f"failwell incident work {details.incident}",
            )
        order, draft = admit(turn, signed, verify, wanted="work.end", agent=row.agent, source="node")
        _may_end(turn, row, order.person, details.state)
        ended = kinds.WorkEnded(
            incident=details.incident, run=details.run, person=order.person, state=details.state, words=details.words
        )  # fmt: skip
        secret = said.secret(details.words)
        told = Draft(body=ended, actor=draft.actor, agent=row.agent, refs=(turn.seq, row.entry), secret=secret)
        return Plan((draft, told), lambda entries: entries[1].seq)

    return job


def _may_end(turn: Turn, row: rows.Work, person: str, state: str) -> None:
    """Whoever was asked, the owner, or an operator; and nothing that has ended already."""
    agent = turn.state.agent[row.agent]
    if person not in may_end(turn.state, row) and "operator" not in turn.state.person[person].roles:
        raise Refused(
            f"{person} was not asked to take the work of {agent.name}",
            hint=f"Asked are {', '.join(row.to)}; an operator may too.",
        )
    if row.state in ("finished", "dropped"):
        raise Refused(f"this run is {row.state} already, by {row.person} (entry {row.entry})")
    if (state, row.person) == ("taken", person):
        raise Refused(f"{person} has this run already (entry {row.entry})")


def _run(turn: Turn, run: int) -> rows.Run:
    """The run of a number, open or closed."""
    live = turn.state.run.get(run)
    if live is not None:
        return live
    stored = turn.stored_row("run", run)
    if stored is None:
        raise NotFound(f"there is no run {run}", hint="failwell incident work N lists those that a stop left.")
    found: rows.Run = rows.decode_row("run", stored)
    return found


#: What carries out the orders of this module.
JOBS: dict[str, MakeJob] = {
    "run.stop": lambda signed, verify, said: stop_run(signed, verify, source="node"),
    "action.stop": lambda signed, verify, said: stop_action(signed, verify, source="node"),
    "work.end": end_work,
}
