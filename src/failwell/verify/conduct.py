"""The conduct: what the entries say was done, held against the rules that were in force when it was done.

The state is folded again from the entries alone (I6). Against it stand: each order under its person's enrolled key,
each verdict beside its clauses, limits and authority, each act behind its durable ALLOW, and every reaction. So a
verdict that was changed with all hashes recomputed is found where it stands, because what followed from it in the same
commit does not follow any more. What the blobs hold (arguments, reasons) is not opened here.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Protocol

from failwell.core import kinds
from failwell.core.errors import FailwellError
from failwell.core.incidents.opening import ACTOR
from failwell.core.react import react
from failwell.core.records import Draft, Entry
from failwell.core.rows import Row
from failwell.core.state import State
from failwell.verify.answers import AnswersAsSent
from failwell.verify.cases import CasesInTime
from failwell.verify.compensated import Undone
from failwell.verify.customers import CustomersShown
from failwell.verify.digests import DigestsInTime
from failwell.verify.ends import Ends
from failwell.verify.escalations import EscalationsInTime
from failwell.verify.facts import fact_faults
from failwell.verify.feeds import FeedsWhole
from failwell.verify.finding import REACTIONS, VERDICTS, Findings
from failwell.verify.followed import Followed
from failwell.verify.holds import Holds
from failwell.verify.leftovers import Leftovers
from failwell.verify.measured import Measured
from failwell.verify.noticed import HostsWords
from failwell.verify.observed import body_governed, governed_fault
from failwell.verify.owed import Owed
from failwell.verify.pages import PagesAsTried
from failwell.verify.permitted import Permitted
from failwell.verify.powers import Powers, VerifySignature
from failwell.verify.preserved import StatesPreserved
from failwell.verify.proofs import AskedInTime
from failwell.verify.releases import GivenBack
from failwell.verify.resumed import Repeats
from failwell.verify.runs import run_fault, standing_faults
from failwell.verify.served import Served
from failwell.verify.stops import decision_fault
from failwell.verify.takeovers import Takeovers
from failwell.verify.teams import TurnsAsDeclared
from failwell.verify.tested import ClassesShown
from failwell.verify.tickets import Words
from failwell.verify.uses import wrong_by_itself, wrong_by_rules

#: What folding or reacting to an entry that nobody of ours wrote may raise.
BROKEN = (FailwellError, LookupError, TypeError, ValueError, ArithmeticError, AttributeError)

_ALLOWED, _REFUSED = 1, 2
_ACTING = frozenset({"ACTIVE", "RESTRICTED", "PROBATION", "OBSERVED"})
_CHANGED = dict[tuple[str, Any], tuple[Row, int]]


class Rule(Protocol):
    """What one sort of entry must bear out; `code` names its findings."""

    code: str

    def fault(self, entry: Entry[Any], state: State) -> str | None:
        """What is wrong with an entry, in the state that it met; None if nothing."""
        ...


class Conduct:
    """Takes the entries in order. After the first that does not follow it takes no more: nothing could be told."""

    def __init__(self, findings: Findings, verify: VerifySignature) -> None:
        self._findings = findings
        self.powers = Powers(findings, verify)
        self.state = State()
        #: First entry that the fold could not take; None while all follow.
        self.broken_at: int | None = None
        #: Rows made since they were last taken away, each with the entry that made it.
        self.made: _CHANGED = {}
        self.decided = 0
        self.reacted = 0
        self._verdicts = bytearray()
        self._waiting: deque[Entry[Any]] = deque()
        self._expected: deque[tuple[Draft, Entry[Any]]] = deque()
        self._reacting = False
        self._last_at = ""
        self._owed = Owed(findings)
        self._followed = Followed(findings)
        self._measured = Measured()
        self._words = Words()
        self._rules: tuple[Rule, ...] = (
            Repeats(), ClassesShown(), Leftovers(), StatesPreserved(), Ends(), Undone(), Permitted(), Served(),
            Takeovers(), GivenBack(), CustomersShown(), Holds(), HostsWords(), CasesInTime(), EscalationsInTime(),
            TurnsAsDeclared(), DigestsInTime(), PagesAsTried(), AnswersAsSent(), AskedInTime(),
            FeedsWhole(),
        )  # fmt: skip

    def stop(self, seq: int) -> None:
        """Say that entry `seq` is missing or unreadable: the fold ends before it."""
        if self.broken_at is None:
            self.broken_at = seq

    def take(self, entry: Entry[Any], leaf: str) -> None:
        """Hold one entry against the state before it, fold it, and hold what follows it against the rules."""
        if self.broken_at is not None:
            return
        caused = entry.actor == ACTOR
        try:
            if caused:
                self._reaction(entry)
            else:
                self._finish(entry.seq, entry.at)
            self._verdicts.append(0)
            self._judge(entry)
            self.powers.take(entry, self.state)
            self._owed.take(entry)
            self._followed.take(entry, self.state)
            if (wrong := self._measured.take(entry)) is not None:
                self._findings.add(
                    REACTIONS, "containment.measured", f"entry {entry.seq}: {wrong}", entry=entry.seq
                )  # fmt: skip
            self._hold(entry)
            self.state.apply(entry, leaf)
            for place, row in self.state.drain().items():
                self.made[place] = row, entry.seq
            # What a job drafted stands before all that follows from it, so an entry that sets nothing off when it
            # is written needs no place in the queue.
            if caused or react(self.state, entry):
                self._waiting.append(entry)
        except BROKEN as error:
            self._does_not_follow(entry, error)
        self._last_at = entry.at

    def _hold(self, entry: Entry[Any]) -> None:
        for rule in self._rules:
            if (wrong := rule.fault(entry, self.state)) is not None:
                self._findings.add(VERDICTS, rule.code, f"entry {entry.seq}: {wrong}", entry=entry.seq)

    def end(self) -> None:
        """After the last entry: nothing may be owed."""
        if self.broken_at is None:
            try:
                self._finish(self.state.size, None)
                self._owed.end(self.state)
                self._followed.end()
            except BROKEN as error:
                self._findings.add(
                    REACTIONS, "reaction.error", f"what follows at the end cannot be told: {error}",
                    entry=self.state.size - 1, first=0, last=self.state.size - 1,
                )  # fmt: skip

    def _does_not_follow(self, entry: Entry[Any], error: Exception) -> None:
        self.broken_at = entry.seq
        why = error.message if isinstance(error, FailwellError) else f"{type(error).__name__}: {error}"
        self._findings.add(
            VERDICTS, "entry.fold", f"entry {entry.seq} ({entry.kind}) does not follow from those before it: {why}",
            entry=entry.seq, first=0, last=entry.seq,
        )  # fmt: skip

    # -- reactions (D4) ----------------------------------------------------------------------------------------

    def _next(self) -> None:
        """Let the next waiting entry say what must follow it, in the state that the writer asked it in."""
        while not self._expected and self._waiting:
            cause = self._waiting.popleft()
            self._expected.extend((draft, cause) for draft in react(self.state, cause))

    def _reaction(self, entry: Entry[Any]) -> None:
        self._reacting = True
        self.reacted += 1
        self._next()
        cited = entry.refs[0].seq if entry.refs else entry.seq
        if not self._expected:
            self._findings.add(
                REACTIONS, "reaction.uncaused", entry=cited, first=cited, last=entry.seq,
                message=f"entry {entry.seq} ({entry.kind}) does not follow from entry {cited}, which it answers",
            )  # fmt: skip
            return
        draft, cause = self._expected.popleft()
        if not self._same(entry, draft):
            self._findings.add(
                REACTIONS, "reaction.changed", entry=cause.seq, first=min(cause.seq, cited), last=entry.seq,
                message=f"entry {entry.seq} ({entry.kind}) is not what follows from entry {cause.seq} by the rules",
            )  # fmt: skip

    def _same(self, entry: Entry[Any], draft: Draft) -> bool:
        return (
            entry.body == draft.body
            and (entry.actor, entry.agent, entry.run) == (draft.actor, draft.agent, draft.run)
            and tuple(ref.seq for ref in entry.refs) == draft.refs
            and entry.blob is None
            and entry.at == self._last_at  # one commit has one ledger time
        )

    def _finish(self, seq: int, at: str | None) -> None:
        """Entry `seq` of ledger time `at` begins a new job (None: the ledger ends): the one before it owes nothing.

        While nothing has followed yet, an entry of the same time may be a further draft of the same job.
        """
        if not self._reacting and at == self._last_at:
            return
        self._next()
        owed: set[int] = set()
        while self._expected:
            draft, cause = self._expected.popleft()
            if cause.seq not in owed:
                owed.add(cause.seq)
                self._findings.add(
                    REACTIONS, "reaction.missing", entry=cause.seq, first=cause.seq, last=seq,
                    message=f"entry {cause.seq} must be followed by {type(draft.body).__name__}, entry {seq} is not it",
                )  # fmt: skip
            self._next()
        self._waiting.clear()
        self._reacting = False

    # -- what was done -----------------------------------------------------------------------------------------

    def _judge(self, entry: Entry[Any]) -> None:
        body = entry.body
        if isinstance(body, kinds.Decision):
            self.decided += 1
            self._decision(entry, body)
        elif isinstance(body, kinds.RunOpened) and (fault := run_fault(entry, self.state)) is not None:
            self._findings.add(VERDICTS, "run.standing", f"entry {entry.seq}: {fault}", entry=entry.seq)
        elif isinstance(body, kinds.Started | kinds.Outcome):
            self._act(entry, body.decision, f"{entry.kind} of")
        elif isinstance(body, kinds.InterruptAttempted | kinds.InterruptConfirmed | kinds.InterruptUnconfirmed):
            self._named(entry, body.action, f"{entry.kind} of")
        elif isinstance(body, kinds.EffectWitnessed) and body.decision is not None:
            self._act(entry, body.decision, "effect of")
        elif isinstance(body, kinds.InterruptOrdered):
            for action in body.actions:
                self._named(entry, action, "interrupt of")

    def _named(self, entry: Entry[Any], action: int, what: str) -> int:
        """The verdict of the decision that an entry names; 0 and a finding where there is none before it."""
        verdict = self._verdicts[action] if 0 <= action < len(self._verdicts) else 0
        if not verdict:
            self._findings.add(
                VERDICTS, "action.undecided", entry=entry.seq,
                message=f"entry {entry.seq}: {what} {action}, which is no earlier decision",
            )  # fmt: skip
        return verdict

    def _act(self, entry: Entry[Any], action: int, what: str) -> None:
        """INVARIANT (I2): what ran stands behind a durable ALLOW, or a decision that governs nothing (OBSERVED)."""
        if self._named(entry, action, what) == _REFUSED:
            self._findings.add(
                VERDICTS, "action.not-allowed", entry=action, first=action, last=entry.seq,
                message=f"entry {entry.seq}: {what} {action}, which was not allowed",
            )  # fmt: skip

    def _decision(self, entry: Entry[Any], body: kinds.Decision) -> None:
        runs = body.verdict == "ALLOW" or not body_governed(body)
        self._verdicts[-1] = _ALLOWED if runs else _REFUSED
        for code, wrong in (*_against_itself(body), *self._against_state(entry, body)):
            exact = code == "decision.verdict"
            self._findings.add(
                VERDICTS, code, f"entry {entry.seq}: {wrong}", entry=entry.seq, first=entry.seq if exact else 0,
                last=entry.seq,
            )  # fmt: skip

    def _against_state(self, entry: Entry[Any], body: kinds.Decision) -> list[tuple[str, str]]:
        """A decision names what was in force: authority, posture, contract, principal, limits, health."""
        state, agent = self.state, str(entry.agent)
        row = state.agent.get(agent)
        contract = None if row is None or row.contract is None else state.contract[row.contract]
        run = None if entry.run is None else state.run.get(entry.run)
        wrong: list[tuple[str, str]] = []
        in_force = ("UNREGISTERED", 0) if row is None else (row.authority, row.epoch)
        if (body.authority, body.epoch) != in_force:
            wrong.append(("decision.authority", "authority or epoch are not those in force"))
        if body.contract != (None if contract is None else f"{contract.id}@{contract.version}"):
            wrong.append(("decision.contract", f"{body.contract} is not the contract in force"))
        wrong += standing_faults(entry, state)
        wrong += [("decision.fact", each) for each in fact_faults(entry, state)]
        if body.verdict == "ALLOW" and (contract is None or run is None or run.agent != agent):
            wrong.append(("decision.unbounded", "an ALLOW without a contract in force or an open run"))
        if (unlike := governed_fault(entry, body, state)) is not None:
            wrong.append(("decision.governed", unlike))
        runs = body.verdict == "ALLOW" or not body_governed(body)
        if (stopped := decision_fault(entry, body, state, runs=runs)) is not None:
            wrong.append(("decision.stopped", stopped))
        if body.verdict == "ALLOW" and state.failed:
            wrong.append(("decision.health", f"an ALLOW while {', '.join(state.failed)} had failed"))
        wrong += [("decision.clause", each) for each in self._words.faults(entry, body, state)]
        return wrong + [("decision.limit", each) for each in wrong_by_rules(state, entry, body)]


def _against_itself(body: kinds.Decision) -> list[tuple[str, str]]:
    """A verdict follows from its own clauses, limits and errors (I4)."""
    said = {clause.then for clause in body.clauses}
    strictest = "DENY" if "deny" in said else "ESCALATE" if "escalate" in said else "ALLOW"
    wrong = []
    if body.verdict != strictest:
        wrong.append(f"the verdict is {body.verdict}, its clauses give {strictest}")
    if body.errors and body.verdict != "DENY":
        wrong.append(f"{body.verdict} though the evaluation had errors")
    if body.verdict == "ALLOW" and body.authority not in _ACTING:
        wrong.append(f"ALLOW for an agent that is {body.authority}")
    wrong += wrong_by_itself(body)
    return [("decision.verdict", each) for each in wrong]
