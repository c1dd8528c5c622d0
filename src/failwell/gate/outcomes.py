"""What came of an action: the outcome that settles it, and the effects that the tool side's own log shows (D6, R5)."""

from __future__ import annotations

import base64
import json
from typing import Any

import msgspec

from failwell.core import kinds
from failwell.core.errors import Refused
from failwell.core.machines import OUTCOMES
from failwell.core.records import Draft, Entry
from failwell.ledger.jobs import Job, Plan, Turn
from failwell.ledger.vault import commitment

#: Results beyond this are cut and marked (D12).
MAX_RESULT_BYTES = 1_048_576
MAX_WORDS = 2000


class Settlement(msgspec.Struct, frozen=True, kw_only=True):
    """How one action ended. `by` is who says so: supervisor, agent, gate or recovery.

    `why` stands in the entry and is ours to say; `words` are the tool side's own, personal until shown otherwise, and
    go to the blob.
    """

    decision: int
    state: str
    by: str
    exit_code: int | None = None
    result: bytes | None = None
    truncated: bool = False
    elapsed_us: int | None = None
    why: str | None = None
    words: str | None = None


def settle(settlement: Settlement) -> Job[int]:
    """The job that records an outcome; answers its entry number. Refused when the action is not open."""

    def job(turn: Turn) -> Plan[int]:
        return Plan((draft_outcome(turn, settlement),), lambda entries: entries[0].seq)

    return job


def draft_outcome(turn: Turn, settlement: Settlement) -> Draft:
    """The outcome entry; the result goes to the blob under a salted commitment.

    A result that is not UTF-8 lies there as base64, so that the commitment over its bytes can always be verified.
    """
    action = turn.state.action.get(settlement.decision)
    if action is None:
        raise Refused(f"action {settlement.decision} is not open", code="not-open")
    if settlement.state not in OUTCOMES:
        raise Refused(f"{settlement.state!r} is not how an action ends")
    secret: dict[str, Any] = {} if settlement.words is None else {"words": settlement.words[:MAX_WORDS]}
    result, commit = settlement.result, None
    truncated = settlement.truncated
    if result is not None:
        if len(result) > MAX_RESULT_BYTES:
            result, truncated = result[:MAX_RESULT_BYTES], True
        salt = turn.entropy(16)
        secret |= {**_kept(result), "salt": salt.hex()}
        commit = commitment(salt, result)
    body = kinds.Outcome(
        decision=settlement.decision, state=settlement.state, by=settlement.by, exit_code=settlement.exit_code,
        result=commit, result_bytes=0 if result is None else len(result), truncated=truncated,
        elapsed_us=settlement.elapsed_us, why=settlement.why,
    )  # fmt: skip
    return Draft(
        body=body, actor=settlement.by, agent=action.agent, run=action.run, refs=(settlement.decision,),
        secret=secret or None,
    )  # fmt: skip


def _kept(result: bytes) -> dict[str, str]:
    try:
        return {"result": result.decode()}
    except UnicodeDecodeError:
        return {"result_base64": base64.b64encode(result).decode()}


class Witnessed(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a tool side's own log; `action` is the decision it names, if it names one."""

    witness: str
    ref: str
    tool: str
    at: str | None
    customer: str | None
    action: int | None
    line: str
    fault: str | None = None
    cursor: str | None = None


def record_effects(agent: str, effects: tuple[Witnessed, ...]) -> Job[tuple[int, ...]]:
    """The job that seals what a witness saw, each effect paired with its verdict or marked as without one."""

    def job(turn: Turn) -> Plan[tuple[int, ...]]:
        drafts = tuple(_draft_effect(turn, agent, effect) for effect in effects)
        return Plan(drafts, lambda entries: tuple(entry.seq for entry in entries))

    return job


def _draft_effect(turn: Turn, agent: str, effect: Witnessed) -> Draft:
    decision = effect.action if _allowed(turn, agent, effect) else _undone(turn, agent, effect)
    body = kinds.EffectWitnessed(
        witness=effect.witness, ref=effect.ref, tool=effect.tool, at_tool=effect.at,
        customer=None if effect.customer is None else turn.token("customer", effect.customer),
        decision=decision, line=effect.line, fault=effect.fault, cursor=effect.cursor,
    )  # fmt: skip
    refs = () if decision is None else (decision,)
    return Draft(body=body, actor=f"witness:{effect.witness}", agent=agent, refs=refs)


def _undone(turn: Turn, agent: str, effect: Witnessed) -> int | None:
    """The decision whose undoing was begun by the entry that the effect names, by the tool that it is of."""
    if effect.action is None or not 0 <= effect.action < turn.seq:
        return None
    begun = turn.entry(effect.action)
    if begun is None or not isinstance(begun.body, kinds.CompensationBegun) or begun.agent != agent:
        return None
    return begun.body.decision if begun.body.step == effect.tool else None


def _allowed(turn: Turn, agent: str, effect: Witnessed) -> bool:
    """Whether the decision that the effect names exists, is this agent's, for this tool, and let it happen: by an
    ALLOW, or because the agent was OBSERVED; and was not blocked before it started.
    """
    row: dict[str, Any] | None
    if effect.action is None or not 0 <= effect.action < turn.seq:
        return False
    live = turn.state.action.get(effect.action)
    if live is not None:
        return live.agent == agent and live.tool == effect.tool and (live.verdict == "ALLOW" or not live.governed)
    stored = turn.stored_row("action", effect.action)
    row = None if stored is None else json.loads(stored)
    if row is None or (row["agent"], row["tool"]) != (agent, effect.tool) or row["state"] == "blocked":
        return False
    return row["verdict"] == "ALLOW" or not row.get("governed", True)


def started(
    decision: int, executor: str, pid: int, start_ticks: int, command: tuple[str, ...] | None = None
) -> Job[None]:  # fmt: skip
    """The job that notes which process runs an action; written behind, never awaited. Nothing if it already ended."""

    def job(turn: Turn) -> Plan[None]:
        action = turn.state.action.get(decision)
        if action is None:
            return Plan((), _nothing)
        secret = digest = None
        if command is not None:
            salt = turn.entropy(16)
            digest = commitment(salt, json.dumps(command, ensure_ascii=False, separators=(",", ":")).encode())
            secret = {"command": list(command), "salt": salt.hex()}
        body = kinds.Started(
            decision=decision, command=digest, executor=executor, pid=pid, start_ticks=start_ticks
        )  # fmt: skip
        draft = Draft(body=body, actor="node", agent=action.agent, run=action.run, refs=(decision,), secret=secret)
        return Plan((draft,), _nothing)

    return job


def _nothing(entries: tuple[Entry[Any], ...]) -> None:
    return None
