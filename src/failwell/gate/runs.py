"""Runs: one task with its principal and request, each with where it comes from (D24)."""

from __future__ import annotations

from failwell.core import kinds
from failwell.core.errors import Refused
from failwell.core.records import Draft
from failwell.gate.outcomes import Settlement, draft_outcome
from failwell.ledger.jobs import Job, Plan, Turn
from failwell.ledger.vault import commitment


def open_run(
    agent: str, *, principal: str | None, request: str | None, host: str | None, source: str | None = None
) -> Job[int]:  # fmt: skip
    """The job that opens a run; answers its number.

    `host` is the application that proved its own key: only then are principal and request *verified*; given over the
    agent's own connection they are asserted. Refused when the host may not open runs for this agent.
    """

    def job(turn: Turn) -> Plan[int]:
        if host is not None:
            row = turn.state.host.get(host)
            if row is None or agent not in row.agents:
                raise Refused(f"host {host} may not open runs for {agent}")
        provenance = "verified" if host is not None else "asserted"
        salt = turn.entropy(16)
        body = kinds.RunOpened(
            host=host,
            principal=None if principal is None else turn.token("principal", principal),
            principal_provenance="absent" if principal is None else provenance,
            request=None if request is None else commitment(salt, request.encode("utf-8", "replace")),
            request_provenance="absent" if request is None else provenance,
            source=source,
        )
        secret = None if request is None else {"request": request, "salt": salt.hex()}
        actor = f"agent:{agent}" if host is None else f"host:{host}"
        draft = Draft(body=body, actor=actor, agent=agent, run=turn.seq, secret=secret)
        return Plan((draft,), lambda entries: entries[0].seq)

    return job


#: What a run can be closed with in the entry; whatever else the agent's side says lies in the blob.
CLOSED_AS = ("done", "recorded")
MAX_CLOSING = 2000


def close_run(run: int, agent: str, reason: str, running: frozenset[int] = frozenset()) -> Job[None]:
    """The job that closes a run; its call ids are forgotten and nothing more is decided in it.

    Its allowed actions that were never started (all but `running`) are settled as blocked, which gives their
    reservations back.
    """

    def job(turn: Turn) -> Plan[None]:
        row = turn.state.run.get(run)
        if row is None or row.agent != agent:
            raise Refused(f"run {run} is not an open run of {agent}")
        unused = [seq for seq, action in turn.state.action.items() if action.run == run and seq not in running]
        settled = [
            draft_outcome(turn, Settlement(decision=seq, state="blocked", by="gate", why="its run was closed first"))
            for seq in unused
        ]
        known = reason in CLOSED_AS
        closed = Draft(
            body=kinds.RunClosed(reason=reason if known else "other"), actor=f"agent:{agent}", agent=agent, run=run,
            refs=(run,), secret=None if known else {"reason": reason[:MAX_CLOSING]},
        )  # fmt: skip
        return Plan((*settled, closed), lambda entries: None)

    return job
