"""The verdict before the act: from a proposed action to a durable decision entry (R1, R14, D22, D24).

`Gate.decide` gives the ledger a job: in the writer's turn it looks up who asks and under which contract, lets the
contract judge, and drafts the decision with everything it was judged on. Whatever is unknown, missing or fails is a
DENY that is on record. It starts nothing: that takes a permit from the node's fence.
"""

from __future__ import annotations

import hashlib
from typing import Any, Literal, cast

import msgspec

from failwell.core import kinds, rows
from failwell.core.contract import UNHEALTHY, Compiled, Decided, Judgment, Situation, compile, from_canonical
from failwell.core.contract import Proposal as Proposed
from failwell.core.errors import FailwellError, Refused
from failwell.core.records import Draft, Entry
from failwell.core.state import State
from failwell.ledger.jobs import Job, Plan, Turn
from failwell.ledger.vault import commitment

Provenance = Literal["absent", "asserted", "verified"]

_TEXT = msgspec.json.Encoder(order="sorted")
_SALT_BYTES = 16
#: A text beyond this would not fit the entry's blob sensibly; it is cut and its digest kept.
MAX_REASON_BYTES = 16_384
#: How much of arguments that were not read (no contract, not JSON) is kept as evidence; the digest covers all of it.
MAX_UNREAD_BYTES = 65_536
#: A tool's name stands in the entry; contracts know none that is longer than 128 characters.
MAX_TOOL_NAME = 200


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    """One action an agent wants to take: `arguments` is the raw JSON text, `call` the caller's id within the run."""

    agent: str
    run: int | None
    call: str
    tool: str
    arguments: bytes
    reason: str | None


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What was decided, by entry number. `repeated`: this call was decided before, and `state` says what came of it.

    `irreversible`: leave is given only once the guard has sealed the entry (D18).
    """

    entry: int
    verdict: str
    clauses: tuple[str, ...]
    because: str
    hint: str | None
    agent: str
    tool: str
    epoch: int
    repeated: bool = False
    state: str = "open"
    ticket: str | None = None
    irreversible: bool = False


class Gate:
    """Judges by the adopted contracts, each compiled once. Called only from the writer's thread."""

    def __init__(self, evaluator: str) -> None:
        self.evaluator = evaluator
        self._compiled: dict[str, Compiled] = {}

    def decide(self, proposal: Proposal) -> Job[Verdict]:
        """The job that judges `proposal` and records the decision, or finds the one made earlier for this call."""

        # Attack: a name that no entry has room for, so that the denial is not recorded and the whole batch is lost.
        named = msgspec.structs.replace(proposal, tool=_short(proposal.tool))

        def job(turn: Turn) -> Plan[Verdict]:
            earlier = self._earlier(turn, named)
            if earlier is not None:
                return earlier
            return self._judge(turn, named)

        return job

    # -- a call that was decided before ------------------------------------------------------------------------

    def _earlier(self, turn: Turn, proposal: Proposal) -> Plan[Verdict] | None:
        """A retry gets the first decision back; it never runs again what may have run (I2)."""
        calls = turn.state.calls.get(proposal.run) if proposal.run is not None else None
        seq = None if calls is None else calls.get(proposal.call)
        if seq is None or turn.state.run[proposal.run or 0].agent != proposal.agent:
            return None
        row = turn.state.action.get(seq) or rows.decode_row("action", turn.stored_row("action", seq) or "")
        if row.tool != proposal.tool or not _same_arguments(turn, seq, proposal.arguments):
            return self._refuse(turn, proposal, "call.reused", f"Call {proposal.call} was decided for other arguments.")
        verdict = Verdict(
            entry=seq, verdict=row.verdict, clauses=(), because="This call was decided before.", hint=None,
            agent=row.agent, tool=row.tool, epoch=0, repeated=True, state=row.state,
            irreversible=_irreversible(turn.state, row.agent, row.tool),
        )  # fmt: skip
        return Plan((), lambda _: verdict)

    # -- judging -----------------------------------------------------------------------------------------------

    def _judge(self, turn: Turn, proposal: Proposal) -> Plan[Verdict]:
        state = turn.state
        if state.failed:  # INVARIANT (I8): what permits needs everything healthy
            parts = ", ".join(state.failed)
            return self._refuse(turn, proposal, UNHEALTHY, f"Failwell itself is not healthy: {parts}.")
        agent = state.agent.get(proposal.agent)
        if agent is None:
            return self._refuse(turn, proposal, "agent.unknown", "This agent is not registered here.")
        if agent.contract is None:
            return self._refuse(turn, proposal, "contract.absent", "No contract is adopted for this agent.")
        run = state.run.get(proposal.run) if proposal.run is not None else None
        if run is None or run.agent != proposal.agent:
            return self._refuse(turn, proposal, "run.unknown", "The action names no open run of this agent.")
        try:
            compiled = self._compile(agent.contract, state.contract[agent.contract].document)
            judgment = compiled.judge(
                Proposed(tool=proposal.tool, arguments=proposal.arguments, reason=proposal.reason),
                self._situation(turn, proposal.agent, agent.authority, run.request),
            )
        except FailwellError as error:
            return self._refuse(turn, proposal, "evaluation.error", error.message)
        except Exception as error:  # noqa: BLE001  INVARIANT (I4): what cannot be evaluated is denied, on record
            return self._refuse(turn, proposal, "evaluation.error", f"{type(error).__name__} while judging")
        return self._record(turn, proposal, agent, run, judgment)

    def _situation(self, turn: Turn, agent: str, authority: str, request: str) -> Situation:
        return Situation(
            authority=authority, now_us=turn.now_us, request=cast("Provenance", request), novel=(), baseline="absent",
            usage=lambda limit, key, per_us: _used(turn, agent, limit, key, per_us),
        )  # fmt: skip

    def _compile(self, digest: str, document: str) -> Compiled:
        if digest not in self._compiled:
            self._compiled[digest] = compile(from_canonical(document.encode()))
        return self._compiled[digest]

    def _refuse(self, turn: Turn, proposal: Proposal, clause: str, because: str) -> Plan[Verdict]:
        """A denial that no contract had to be asked for."""
        judgment = Judgment(
            verdict="DENY", clauses=(Decided(id=clause, then="deny", severity="minor", because=because),), facts={},
            arguments=None, affects={}, reserve=(), uses=(), hint=None, errors=(),
        )  # fmt: skip
        state = turn.state
        run = state.run.get(proposal.run) if proposal.run is not None else None
        # Attack: a denial in another agent's run would take that agent's call ids and name its principal.
        if run is not None and run.agent != proposal.agent:
            run = None
        return self._record(turn, proposal, state.agent.get(proposal.agent), run, judgment)

    def _record(
        self, turn: Turn, proposal: Proposal, agent: rows.Agent | None, run: rows.Run | None, judgment: Judgment
    ) -> Plan[Verdict]:  # fmt: skip
        body, secret = _decision(turn, proposal, agent, run, judgment, self.evaluator)
        draft = Draft(
            body=body, actor="gate", agent=proposal.agent, run=proposal.run if run is not None else None,
            refs=() if body.posture is None else (body.posture,), secret=secret,
        )  # fmt: skip
        irreversible = judgment.verdict == "ALLOW" and _irreversible(turn.state, proposal.agent, proposal.tool)
        because = "; ".join(clause.because for clause in judgment.clauses if clause.because) or _plain(judgment)

        def answer(entries: tuple[Entry[Any], ...]) -> Verdict:
            return Verdict(
                entry=entries[0].seq, verdict=judgment.verdict, clauses=tuple(c.id for c in judgment.clauses),
                because=because, hint=judgment.hint, agent=proposal.agent, tool=proposal.tool, epoch=body.epoch,
                state={"DENY": "denied", "ESCALATE": "escalated"}.get(judgment.verdict, "open"),
                irreversible=irreversible,
            )  # fmt: skip

        return Plan((draft,), answer)


def _irreversible(state: State, agent: str, tool: str) -> bool:
    """Whether this tool's effect cannot be undone, by the contract in force; a tool that it does not name counts so."""
    contract = state.contract_of(agent)
    if contract is not None:
        for item in contract.tools:
            if item.tool == tool:
                return item.effect == "irreversible"
    return True


def _short(tool: str) -> str:
    return tool if len(tool) <= MAX_TOOL_NAME else f"{tool[:MAX_TOOL_NAME]}... ({len(tool)} characters)"


def _plain(judgment: Judgment) -> str:
    decided = ", ".join(clause.id for clause in judgment.clauses if clause.then != "record")
    return f"Decided by {decided}." if decided else "Inside the contract."


def _used(turn: Turn, agent: str, limit: str, key: tuple[str, ...], per_us: int) -> int:
    """Usage of a limit so far. Key values are looked up as their token: a value never seen has used nothing."""
    token = turn.known_token("limit", _key_text(limit, key)) if key else None
    if key and token is None:
        return 0
    return turn.state.used(agent, limit, token, turn.state.limit_us(turn.now_us), per_us)


def _key_text(limit: str, key: tuple[str, ...]) -> str:
    return _TEXT.encode((limit, *key)).decode()


def _cut(reason: str) -> bytes:
    """A reason as it lies in the blob: whole characters, so that its commitment can be verified from there."""
    return reason.encode("utf-8", "replace")[:MAX_REASON_BYTES].decode("utf-8", "ignore").encode()


def _same_arguments(turn: Turn, seq: int, arguments: bytes) -> bool:
    secret = turn.secret(seq)
    if secret is None:
        return False
    return bool(secret["received"] == hashlib.sha256(arguments).hexdigest())


def _decision(
    turn: Turn, proposal: Proposal, agent: rows.Agent | None, run: rows.Run | None, judgment: Judgment, evaluator: str
) -> tuple[kinds.Decision, dict[str, Any]]:  # fmt: skip
    """The decision's body, and what of it lies in the blob: arguments, reason, facts that are not public."""
    salt = turn.entropy(_SALT_BYTES)
    text = judgment.arguments
    reason = None if proposal.reason is None else _cut(proposal.reason)
    # The digest of what was received tells a retry from another call, also where it could not be parsed.
    secret: dict[str, Any] = {
        "arguments": proposal.arguments[:MAX_UNREAD_BYTES].decode("utf-8", "replace")
        if text is None
        else text.decode(),
        "received": hashlib.sha256(proposal.arguments).hexdigest(),
        "salt": salt.hex(),
        "reason": None if reason is None else reason.decode(),
        "facts": {name: fact.value for name, fact in judgment.facts.items() if not fact.public},
    }
    reserved = {(item.limit, item.key) for item in judgment.reserve}
    uses = tuple(
        kinds.Use(
            limit=use.limit,
            key=turn.token("limit", _key_text(use.limit, use.key)) if use.key else None,
            used=use.used,
            at_most=use.at_most,
            reserved=(use.limit, use.key) in reserved,
        )
        for use in judgment.uses
    )
    customer, resource = judgment.affects.get("customer"), judgment.affects.get("resource")
    contract = turn.state.contract.get(agent.contract) if agent is not None and agent.contract else None
    body = kinds.Decision(
        call=proposal.call,
        tool=proposal.tool,
        arguments=commitment(salt, proposal.arguments if text is None else text),
        arguments_bytes=len(proposal.arguments),
        verdict=judgment.verdict,
        clauses=tuple(kinds.Decided(id=c.id, then=c.then, severity=c.severity) for c in judgment.clauses),
        facts={
            name: kinds.Fact(value=fact.value if fact.public else None, public=fact.public, provenance=fact.provenance)
            for name, fact in judgment.facts.items()
        },
        uses=uses,
        customer=None if customer is None else turn.token("customer", str(customer)),
        resource=None if resource is None else turn.token("resource", str(resource)),
        reason=None if reason is None else commitment(salt, reason),
        reason_provenance="absent" if reason is None else "asserted",
        principal=None if run is None else run.principal,
        chain=() if agent is None else (f"owner:{agent.owner}", f"agent:{proposal.agent}"),
        posture=None if agent is None else agent.posture,
        contract=None if contract is None else f"{contract.id}@{contract.version}",
        evaluator=evaluator,
        authority="UNREGISTERED" if agent is None else agent.authority,
        epoch=0 if agent is None else agent.epoch,
        errors=judgment.errors,
    )
    return body, secret


def check_call_id(call: str) -> str:
    """A caller's id for one call: 1..128 printable ASCII characters; Refused otherwise (it stands in the record)."""
    if not 1 <= len(call) <= 128 or not call.isascii() or not call.isprintable():
        raise Refused("a call id has 1 to 128 printable ASCII characters", hint="Use a fresh UUID.")
    return call
