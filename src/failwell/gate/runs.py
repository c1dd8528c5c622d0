"""Runs: one task with its principal and request, each with where it comes from (D24)."""

from __future__ import annotations

import re
from functools import partial
from typing import Any, NamedTuple

import msgspec

from failwell.core import kinds
from failwell.core.delegating import handed
from failwell.core.errors import InputError, Refused
from failwell.core.records import Draft
from failwell.gate.judging import MAX_CHAIN, lets_hand_over
from failwell.gate.outcomes import Settlement, draft_outcome
from failwell.gate.postures import NOTHING, wanted_posture
from failwell.ledger.jobs import Job, Plan, Turn
from failwell.ledger.vault import commitment

_KIND = re.compile(r"([a-z][a-z0-9-]{0,31}):.")


class Declared(NamedTuple):
    """Digests of what the agent works with, by its own word; None: not declared."""

    model: str | None = None
    prompt: str | None = None
    tool_schemas: str | None = None


UNDECLARED = Declared()
_DIGEST = re.compile(r"[0-9a-f]{64}")


def open_run(
    agent: str, *, principal: str | None, request: str | None, host: str | None, source: str | None = None,
    parent: int | None = None, declared: Declared = UNDECLARED, evaluator: str = "",
) -> Job[int]:  # fmt: skip
    """The job that opens a run; answers its number.

    `host` is the application that proved its own key: only then are principal and request *verified*; given over the
    agent's own connection they are asserted. `parent` is the open run of an agent that hands its work over: principal
    and request are then that run's, and nobody can name others. Refused when the host may not open runs for this agent,
    or the other agent's contract does not let it hand work to this one.
    """
    for name, digest in declared._asdict().items():
        if digest is not None and not _DIGEST.fullmatch(digest):
            raise InputError(f"{name} is not a digest", hint="Give the SHA-256 as 64 lower-case hex digits.")

    def job(turn: Turn) -> Plan[int]:
        if host is not None:
            row = turn.state.host.get(host)
            if row is None or agent not in row.agents:
                raise Refused(f"host {host} may not open runs for {agent}")
        if agent not in turn.state.agent:
            raise Refused(f"no agent {agent} is registered here", hint="failwell agent list")
        own = turn.seq + 1 if any(declared) else None
        provenance = "verified" if host is not None else "asserted"
        salt = turn.entropy(16)
        kind = None if principal is None else _KIND.match(principal)
        body = kinds.RunOpened2(
            host=host,
            principal=None if principal is None else turn.token("principal", principal),
            principal_provenance="absent" if principal is None else provenance,
            principal_kind=None if kind is None else kind[1],
            request=None if request is None else commitment(salt, request.encode("utf-8", "replace")),
            request_provenance="absent" if request is None else provenance,
            source=source, parent=parent, chain=(), posture=own,
        )  # fmt: skip
        secret = None if request is None else {"request": request, "salt": salt.hex()}
        actor = f"agent:{agent}" if host is None else f"host:{host}"
        if parent is not None:
            body, secret = _handed_over(turn, body, agent, parent, principal, request)
        refs = () if parent is None else (parent,)
        drafts = [Draft(body=body, actor=actor, agent=agent, run=turn.seq, refs=refs, secret=secret)]
        if own is not None:
            declared_now = msgspec.structs.replace(NOTHING, **declared._asdict())
            posture = wanted_posture(turn, agent, evaluator, declared_now)
            drafts.append(Draft(body=posture, actor="gate", agent=agent, run=turn.seq))
        return Plan(tuple(drafts), lambda entries: entries[0].seq)

    return job


def _handed_over(
    turn: Turn, body: kinds.RunOpened2, agent: str, parent: int, principal: str | None, request: str | None
) -> tuple[kinds.RunOpened2, dict[str, Any] | None]:  # fmt: skip
    """The run of a sub-agent: whose work it is, for whom and because of what are those of the run it came from."""
    if principal is not None or request is not None:
        raise Refused("a run that was handed over has the principal and the request of the run it came from")
    row = turn.state.run.get(parent)
    if row is None:
        raise Refused(f"run {parent} is not open")
    if not lets_hand_over(turn, row.agent, agent):
        raise Refused(
            f"the contract of {row.agent} lets it hand no work to {agent}",
            hint="A contract names them in `delegates`.",
        )
    chain = (*row.chain, row.agent)
    if agent in chain or len(chain) > MAX_CHAIN:
        raise Refused(f"work is handed over at most {MAX_CHAIN} times, and never back to an agent that handed it over")
    return (
        msgspec.structs.replace(
            body, principal=row.principal, principal_provenance=handed(row.principal_provenance),
            principal_kind=row.principal_kind, request_provenance=handed(row.request), chain=chain, parent=parent,
        ),
        None,
    )  # fmt: skip


_UNUSED = partial(Settlement, state="blocked", by="gate", why="its run was closed first")
#: Attack: ask for leave, act by oneself, close the run, and have the limit and the approval back for the next time.
_TOLD = partial(Settlement, state="unknown", by="gate", why="its caller had leave to act by itself, and closed its run")

#: What a run can be closed with in the entry; whatever else the agent's side says lies in the blob.
CLOSED_AS = ("done", "recorded")
MAX_CLOSING = 2000


def close_run(
    run: int, agent: str, reason: str, running: frozenset[int] = frozenset(), told: frozenset[int] = frozenset()
) -> Job[None]:  # fmt: skip
    """The job that closes a run; its call ids are forgotten and nothing more is decided in it.

    Its allowed actions that were never started (all but `running`) are settled as blocked, which gives their
    reservations back. Of those among `told` their caller was given leave to act by itself: nobody can prove that it
    did not (D6).
    """

    def job(turn: Turn) -> Plan[None]:
        row = turn.state.run.get(run)
        if row is None or row.agent != agent:
            raise Refused(f"run {run} is not an open run of {agent}")
        unused = [seq for seq, action in turn.state.action.items() if action.run == run and seq not in running]
        settled = [draft_outcome(turn, (_TOLD if seq in told else _UNUSED)(decision=seq)) for seq in unused]
        known = reason in CLOSED_AS
        closed = Draft(
            body=kinds.RunClosed(reason=reason if known else "other"), actor=f"agent:{agent}", agent=agent, run=run,
            refs=(run,), secret=None if known else {"reason": reason[:MAX_CLOSING]},
        )  # fmt: skip
        return Plan((*settled, closed), lambda entries: None)

    return job
