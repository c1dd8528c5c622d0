"""The verdict before the act: from a proposed action to a durable decision entry (R1, R14, D22, D24).

`Gate.decide` gives the ledger a job: in the writer's turn it looks up who asks and under which contract, lets the
contract judge, and drafts the decision with everything it was judged on. Whatever is unknown, missing or fails is a
DENY that is on record. It starts nothing: that takes a permit from the node's fence.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

from failwell.core import asking, kinds, rows, stops
from failwell.core.contract import UNHEALTHY, Judgment, Looked, Question
from failwell.core.errors import ContractError, FailwellError, Refused
from failwell.core.fact_keys import key_of
from failwell.core.incidents import probation
from failwell.core.observed import ALWAYS_REFUSED
from failwell.core.records import Draft, Entry
from failwell.core.state import State
from failwell.gate.fitting import cut_reason, fits, short_tool
from failwell.gate.judging import Judges, Ruling
from failwell.gate.novelty import NoBaseline
from failwell.gate.observing import observation_over
from failwell.gate.postures import Postures
from failwell.gate.resuming import ANEW, another_call, cited, denied_by, first_of, run_again
from failwell.gate.tickets import NO_TICKET, Redeemed, closed, find_ticket, redeem, state_of
from failwell.gate.withdrawn import as_it_stands
from failwell.ledger.jobs import Job, Plan, Turn
from failwell.ledger.vault import commitment
from failwell.ports.novelty import Novelty

_SALT_BYTES = 16
#: How much of arguments that were not read (no contract, not JSON) is kept as evidence; the digest covers all of it.
MAX_UNREAD_BYTES = 65_536


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    """One action an agent wants to take: `arguments` is the raw JSON text, `call` the caller's id within the run.

    `ticket` is the number of an approved ticket that it rests on. `changed`: why the tool is not the one that a person
    accepted (`tool.changed`), where the door that brings the proposal saw that.
    """

    agent: str
    run: int | None
    call: str
    tool: str
    arguments: bytes
    reason: str | None
    ticket: int | None = None
    changed: str | None = None


class Unanswered(msgspec.Struct, frozen=True, kw_only=True):
    """No verdict yet: these questions have to be asked of trusted sources first.

    `contract`: the digests of the contracts that ask, its own and those of the chain.
    """

    questions: tuple[Question, ...]
    contract: str


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What trusted sources said, by fact; good for a verdict under the contracts that they were asked for.

    `missing`: nobody is asked (any more), and why; every fact that a contract asks for is then one that could not be
    had, which is a denial on record.
    """

    answers: Mapping[str, Looked]
    contract: str
    missing: str | None = None


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What was decided, by entry number. `repeated`: this call was decided before, and `state` says what came of it.

    `irreversible`: leave is given only once the guard has sealed the entry (D18). `governed` false: the agent is
    OBSERVED, and the action may start whatever the verdict is. `chain`: who handed the work over, with their epochs.
    `scopes`: what a stop of more than one agent can name it by, with the epochs of now.
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
    governed: bool = True
    chain: tuple[tuple[str, int], ...] = ()
    scopes: tuple[tuple[str, int], ...] = ()

    @property
    def may_start(self) -> bool:
        """Whether the action may start now: allowed, or of an agent that is not governed."""
        return self.verdict == "ALLOW" or not self.governed


class Gate:
    """Judges by the adopted contracts, each compiled once. Called only from the writer's thread."""

    def __init__(self, evaluator: str, novelty: Novelty | None = None) -> None:
        """`novelty`: who keeps the agents' baselines; None: nobody, and every verdict says so."""
        self.evaluator = evaluator
        self._judges = Judges(novelty or NoBaseline())
        self._postures = Postures(evaluator)

    def decide(self, proposal: Proposal, asked: Asked | None = None) -> Job[Verdict | Unanswered]:
        """The job that judges `proposal` and records the decision, or finds the one made earlier for this call.

        Where the contract asks trusted sources for facts and `asked` holds none that are good for it, nothing is
        recorded and the job answers with the questions.
        """

        # Attack: a name that no entry has room for, so that the denial is not recorded and the whole batch is lost.
        named = msgspec.structs.replace(proposal, tool=short_tool(proposal.tool))

        def job(turn: Turn) -> Plan[Verdict | Unanswered]:
            return self._earlier(turn, named, asked) or self._judge(turn, named, asked)

        return job

    # -- a call that was decided before ------------------------------------------------------------------------

    def _earlier(self, turn: Turn, proposal: Proposal, asked: Asked | None) -> Plan[Verdict | Unanswered] | None:
        """A retry gets the first decision back; it never runs again what may have run (I2), but where it was cut off
        and its contracts say that this does no harm.
        """
        calls = turn.state.calls.get(proposal.run) if proposal.run is not None else None
        seq = None if calls is None else calls.get(proposal.call)
        if seq is None or turn.state.run[proposal.run or 0].agent != proposal.agent:
            return None
        row = turn.state.action.get(seq) or rows.decode_row("action", turn.stored_row("action", seq) or "")
        other = another_call(turn, seq, row, proposal)
        if other is not None:
            return self._refuse(turn, proposal, "call.reused", other)
        verdict = Verdict(
            entry=seq, verdict=row.verdict, clauses=denied_by(turn, seq, row), because="This call was decided before.",
            hint=ANEW if row.verdict == "DENY" else None, agent=row.agent, tool=row.tool, epoch=0, repeated=True,
            state=row.state, governed=row.governed,
            irreversible=_irreversible(turn.state, (row.agent, *row.chain), row.tool),
        )  # fmt: skip
        waits = row.state == "escalated"
        told = _told_of_ticket(turn, verdict) if waits else as_it_stands(turn.state, row, verdict)
        return run_again(turn, row, Plan((), lambda _: told), lambda: self._judge(turn, proposal, asked))

    # -- judging -----------------------------------------------------------------------------------------------

    def _judge(self, turn: Turn, proposal: Proposal, asked: Asked | None) -> Plan[Verdict | Unanswered]:
        state = turn.state
        if state.failed:  # INVARIANT (I8): what permits needs everything healthy
            parts = ", ".join(state.failed)
            return self._refuse(turn, proposal, UNHEALTHY, f"Failwell itself is not healthy: {parts}.")
        agent = state.agent.get(proposal.agent)
        run = state.run.get(proposal.run) if proposal.run is not None else None
        barred = _barred(turn, proposal, agent, run)
        if barred is not None or agent is None or agent.contract is None or run is None:
            return self._refuse(turn, proposal, *(barred or ("evaluation.error", "")))
        try:
            redeemed = NO_TICKET if proposal.ticket is None else redeem(turn, proposal.ticket, proposal, run)
            # Attack: answers to the questions of a contract that was replaced while its sources were asked.
            answers = None if asked is None or asked.contract != _askers(state, proposal, run) else asked.answers
            ruling = self._judges.rule(turn, proposal, run, redeemed.passed, answers)
            if redeemed.passed and ruling.verdict == "ESCALATE":
                # Something else waits for a person by now: who is asked next is asked about all of it, or an answer to
                # one would bring up the other for ever. The ticket is not used.
                redeemed = NO_TICKET
                ruling = self._judges.rule(turn, proposal, run, redeemed.passed, answers)
            if ruling.questions and asked is not None and asked.missing is not None:
                none = _unanswerable(ruling.questions, asked.missing)
                ruling = self._judges.rule(turn, proposal, run, redeemed.passed, none)
        except FailwellError as error:
            return self._refuse(turn, proposal, "evaluation.error", error.message)
        except Exception as error:  # noqa: BLE001  INVARIANT (I4): what cannot be evaluated is denied, on record
            return self._refuse(turn, proposal, "evaluation.error", f"{type(error).__name__} while judging")
        if ruling.questions:
            unanswered = Unanswered(questions=ruling.questions, contract=_askers(state, proposal, run))
            return Plan((), lambda _: unanswered)
        return self._record(turn, proposal, ruling.with_clause(redeemed.refused), redeemed)

    def _refuse(self, turn: Turn, proposal: Proposal, clause: str, because: str) -> Plan[Verdict | Unanswered]:
        """A denial that no contract had to be asked for."""
        return self._record(turn, proposal, Ruling.denied(proposal.agent, clause, because), NO_TICKET)

    def _record(
        self, turn: Turn, proposal: Proposal, ruling: Ruling, redeemed: Redeemed
    ) -> Plan[Verdict | Unanswered]:  # fmt: skip
        state = turn.state
        agent = state.agent.get(proposal.agent)
        run = state.run.get(proposal.run) if proposal.run is not None else None
        # Attack: a denial in another agent's run would take that agent's call ids and name its principal.
        if run is not None and run.agent != proposal.agent:
            run = None
        number = proposal.run if run is not None else None
        renewed, posture = self._postures.in_force(turn, proposal.agent, number)
        # What one governed agent hands over is governed, whoever works on it: a delegation only narrows.
        handed = () if run is None else run.chain
        governed = (
            agent is None
            or agent.authority != "OBSERVED"
            or any(state.agent[name].authority != "OBSERVED" for name in handed)
            or ruling.has(*ALWAYS_REFUSED)
        )
        # The epochs of now, not of when the answer leaves: a stop in between voids the leave.
        chain = tuple([(name, state.agent[name].epoch) for name in handed]) if handed else ()
        leave = ruling.verdict == "ALLOW" or not governed
        within = stops.scopes_of(state, (proposal.agent, *handed), proposal.tool) if leave else ()
        scopes = stops.epochs_of(state, within)
        ticket = proposal.ticket if ruling.verdict == "ALLOW" and redeemed.passed else None
        body, secret = _decision(
            turn, proposal, run, ruling, posture, ticket=ticket, governed=governed, evaluator=self.evaluator
        )  # fmt: skip
        if not fits(body, turn.minted):
            turn.minted.clear()
            return self._record(turn, proposal, ruling.too_much(), NO_TICKET)
        draft = Draft(
            body=body, actor="gate", agent=proposal.agent, run=number,
            refs=cited(posture, ticket, first_of(state, number, proposal.call, ruling.verdict)), secret=secret,
        )  # fmt: skip
        asks = asking.opens_ticket(state, proposal.agent, ruling.verdict, governed=governed)
        irreversible = leave and _irreversible(state, (proposal.agent, *handed), proposal.tool)

        def answer(entries: tuple[Entry[Any], ...]) -> Verdict:
            seq = entries[-1].seq
            return Verdict(
                entry=seq, verdict=ruling.verdict, clauses=tuple(c.id for c in ruling.clauses),
                because=ruling.because, hint=ruling.hint, agent=proposal.agent, tool=proposal.tool, epoch=body.epoch,
                state=_state(ruling.verdict, governed=governed), irreversible=irreversible, governed=governed,
                ticket=str(seq) if asks else None,
                chain=chain, scopes=scopes,
            )  # fmt: skip

        return Plan((*renewed, draft), answer)


def _barred(
    turn: Turn, proposal: Proposal, agent: rows.Agent | None, run: rows.Run | None
) -> tuple[str, str] | None:  # fmt: skip
    """The clause and the reason for which no contract has to be asked; None where one has to be."""
    if agent is None:
        return "agent.unknown", "This agent is not registered here."
    if agent.detect_only:
        return "agent.detect-only", "This agent is registered as one that no gate stands before."
    if run is None or run.agent != proposal.agent:
        return "run.unknown", "The action names no open run of this agent."
    stopped = stops.barred(turn.state, (*run.chain, proposal.agent), proposal.tool)
    if stopped is not None:
        return stopped
    for name in (*run.chain, proposal.agent):
        # Attack: nobody writes down that an observation is over. It ends on its date all the same.
        row = turn.state.agent[name]
        if observation_over(row, turn.now_us):
            return "authority.observed", f"The observation of {row.name} is over: it is governed from now on."
        if probation.over(row, turn.now_us):
            return "authority.suspended", f"What one person alone gave back to {row.name} is over: it is suspended."
    if agent.contract is None:
        return "contract.absent", "No contract is adopted for this agent."
    return None if proposal.changed is None else ("tool.changed", proposal.changed)


def _askers(state: State, proposal: Proposal, run: rows.Run) -> str:
    """The contracts that ask for facts of an action: of everybody who handed it over, and of who works."""
    return " ".join(str(state.agent[name].contract) for name in (*run.chain, proposal.agent))


def _unanswerable(questions: tuple[Question, ...], why: str) -> dict[str, Looked]:
    return {each.fact: Looked(source=each.source, state="failed", elapsed_us=0, detail=why) for each in questions}


def _state(verdict: str, *, governed: bool) -> str:
    return {"DENY": "denied", "ESCALATE": "escalated"}.get(verdict, "open") if governed else "open"


def _told_of_ticket(turn: Turn, verdict: Verdict) -> Verdict:
    """An escalated call asked for again: it waits still, or has ended in a denial (silence is one)."""
    row = find_ticket(turn, verdict.entry)
    if row is None:
        return verdict
    stands = state_of(row, turn.now_us)
    if stands not in ("denied", "expired"):
        return msgspec.structs.replace(verdict, ticket=str(verdict.entry))
    because = closed(verdict.entry, row, turn.now_us) or ""
    return msgspec.structs.replace(verdict, verdict="DENY", clauses=("ticket",), because=because, state="denied")


def _irreversible(state: State, agents: tuple[str, ...], tool: str) -> bool:
    """Whether this tool's effect cannot be undone, by any contract of the chain; one that does not name it says so."""
    for agent in agents:
        try:
            contract = state.contract_of(agent)
        except ContractError:  # it denies, and of an OBSERVED agent the action starts all the same
            return True
        items = () if contract is None else contract.tools
        if next((item.effect for item in items if item.tool == tool), "irreversible") == "irreversible":
            return True
    return False


def _decision(
    turn: Turn, proposal: Proposal, run: rows.Run | None, ruling: Ruling, posture: int | None, *, ticket: int | None,
    governed: bool, evaluator: str,
) -> tuple[kinds.Decision2, dict[str, Any]]:  # fmt: skip
    """The decision's body, and what of it lies in the blob: arguments, reason, facts that are not public."""
    salt = turn.entropy(_SALT_BYTES)
    if ticket is not None:
        # Under the salt of the ticket the same arguments have the same digest: the record alone shows that what ran is
        # what a person saw.
        salt = bytes.fromhex((turn.secret(ticket) or {})["salt"])
    judgment = ruling.judgment
    text = judgment.arguments
    reason = None if proposal.reason is None else cut_reason(proposal.reason)
    agent = turn.state.agent.get(proposal.agent)
    # The digest of what was received tells a retry from another call, also where it could not be parsed.
    secret: dict[str, Any] = {
        "arguments": proposal.arguments[:MAX_UNREAD_BYTES].decode("utf-8", "replace")
        if text is None
        else text.decode(),
        "received": hashlib.sha256(proposal.arguments).hexdigest(),
        "salt": salt.hex(),
        "reason": None if reason is None else reason.decode(),
        "facts": {key_of(name): fact.value for name, fact in judgment.facts.items() if not fact.public},
    }
    if ruling.verdict == "ESCALATE":  # for whoever answers it: in the words that were true when it was asked
        secret["because"] = {clause.id: clause.because for clause in ruling.clauses}
    customer, resource = judgment.affects.get("customer"), judgment.affects.get("resource")
    contract = turn.state.contract.get(agent.contract) if agent is not None and agent.contract else None
    body = kinds.Decision2(
        call=proposal.call,
        tool=proposal.tool,
        arguments=commitment(salt, proposal.arguments if text is None else text),
        arguments_bytes=len(proposal.arguments),
        verdict=ruling.verdict,
        clauses=tuple(kinds.Decided(id=c.id, then=c.then, severity=c.severity) for c in ruling.clauses),
        facts=_facts(judgment),
        uses=ruling.uses(turn),
        customer=None if customer is None else turn.token("customer", str(customer)),
        resource=None if resource is None else turn.token("resource", str(resource)),
        reason=None if reason is None else commitment(salt, reason),
        reason_provenance="absent" if reason is None else "asserted",
        principal=None if run is None else run.principal,
        chain=() if agent is None else _chain(turn.state, proposal.agent, run),
        posture=posture,
        contract=None if contract is None else f"{contract.id}@{contract.version}",
        evaluator=evaluator,
        authority="UNREGISTERED" if agent is None else agent.authority,
        epoch=0 if agent is None else agent.epoch,
        errors=ruling.errors,
        governed=governed,
        ticket=ticket,
        principal_provenance="absent" if run is None else run.principal_provenance,
        lookups=ruling.lookups,
        floors=tuple(f"{name}@{row.version}" for name, row in turn.state.floor_rows_of(proposal.agent)),
    )
    return body, secret


def _facts(judgment: Judgment) -> dict[str, kinds.Fact]:
    return {
        key_of(name): kinds.Fact(
            value=fact.value if fact.public else None, public=fact.public, provenance=fact.provenance
        )
        for name, fact in judgment.facts.items()
    }


def _chain(state: State, agent: str, run: rows.Run | None) -> tuple[str, ...]:
    """On whose behalf it is done, outermost first: the owner, each agent that handed it over, the one who works."""
    handed = () if run is None else run.chain
    first = handed[0] if handed else agent
    return (f"owner:{state.agent[first].owner}", *(f"agent:{name}" for name in handed), f"agent:{agent}")


def check_call_id(call: str) -> str:
    """A caller's id for one call: 1..128 printable ASCII characters; Refused otherwise (it stands in the record)."""
    if not 1 <= len(call) <= 128 or not call.isascii() or not call.isprintable():
        raise Refused("a call id has 1 to 128 printable ASCII characters", hint="Use a fresh UUID.")
    return call
