"""What the gate answers: a verdict is a value, a refusal is an exception that says what to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from failwell.core.errors import FailwellError, Unreachable


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A decided action. `verdict` is ALLOW, DENY or ESCALATE; `entry` its number in the ledger.

    `repeated`: this call id was decided before, nothing runs again, and `state` says what came of it then. `governed`
    false: the agent is OBSERVED, and the action runs whatever the verdict is.
    """

    verdict: str
    clauses: tuple[str, ...]
    because: str
    hint: str | None
    ticket: str | None
    entry: int
    repeated: bool = False
    state: str = "open"
    governed: bool = True

    @property
    def allowed(self) -> bool:
        return self.verdict == "ALLOW"

    @property
    def may_start(self) -> bool:
        """Whether the action runs: allowed, or of an agent that is not governed."""
        return self.allowed or not self.governed


@dataclass(frozen=True, slots=True, kw_only=True)
class Permitted:
    """A permit for one call of a tool server: `token` goes along with it, and shows in no text form of this.

    `expires` (RFC 3339) is when it lapses, `entry` the one that says it was issued.
    """

    token: str = field(repr=False)
    audience: str
    expires: str
    entry: int
    verdict: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of an executed action: its state, the tool's result, and the entry that records it.

    `truncated`: the tool said more than is kept. `erased` says why a recorded result is not there any more. `given` is
    how much of it a stream had given before.
    """

    state: str
    result: Any
    entry: int
    verdict: Verdict
    exit_code: int | None = None
    why: str | None = None
    truncated: bool = False
    erased: str | None = None
    given: int = 0

    @property
    def repeated(self) -> bool:
        """Whether this was recorded for an earlier call of the same id: nothing ran for this one."""
        return self.verdict.repeated


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """The question that an escalated action left. `state` is open, approved, used, denied or expired.

    An approved one lets the same action pass once, until `expires_at` (RFC 3339); `person` answered it.
    """

    number: int
    state: str
    expires_at: str
    person: str | None
    used_by: int | None

    @property
    def approved(self) -> bool:
        return self.state == "approved"

    def __int__(self) -> int:
        return self.number


class Denied(FailwellError):
    """The action is outside the contract; it did not run."""

    code = "denied"

    _said = "denied"

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(_words(self._said, verdict), hint=verdict.hint)
        self.verdict = verdict
        self.clauses, self.because = verdict.clauses, verdict.because
        self.ticket, self.entry = verdict.ticket, verdict.entry


class Escalated(Denied):
    """A person must decide; until then the action does not run. `ticket` is the question that they answer.

    It is None where too many questions of this agent wait already.
    """

    code = "escalated"
    _said = "escalated: it does not run until a person decides"

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict)
        if (number := verdict.ticket) is not None:
            self.hint = f"A person answers: failwell ticket show {number}. Then call again with ticket={number}."


class Interrupted(FailwellError):
    """The action was stopped while it ran, or before it could start. `outcome.state` says how sure that is."""

    code = "interrupted"

    def __init__(self, outcome: Outcome) -> None:
        because = outcome.why or "by order"
        if not outcome.verdict.allowed and outcome.repeated:  # its agent was stopped since
            because = f"{because}. {outcome.verdict.because}"
        given = f"; {outcome.given} of its results were given before" if outcome.given else ""
        super().__init__(
            f"stopped ({outcome.state}): {because}{given} [entry {outcome.entry}]", hint=_after(outcome.state)
        )
        self.outcome = outcome
        self.entry = outcome.entry


class ToolFailed(FailwellError):
    """The tool ran and failed, in its own words. `outcome` holds what it said besides."""

    code = "tool-failed"

    def __init__(self, outcome: Outcome) -> None:
        given = f" after {outcome.given} results were given" if outcome.given else ""
        super().__init__(
            f"the tool failed{given}: {outcome.why} [entry {outcome.entry}]",
            hint="What it did before that is not undone. To try again is a new action: leave call_id out.",
        )
        self.outcome = outcome
        self.entry = outcome.entry


class Repeated(FailwellError):
    """This call was made before, and this process cannot be given what came of it. Nothing ran for this one.

    `outcome` is what came of it; None where it is not known to have ended.
    """

    code = "repeated"

    def __init__(self, verdict: Verdict, outcome: Outcome | None = None) -> None:
        state = verdict.state.replace("_", " ")
        hint = "Use a new call id for a new action."
        if verdict.state == "open":
            state, hint = "still under way", f"The same call, made again later, gives what came of it. {hint}"
        super().__init__(
            f"this call was decided before (entry {verdict.entry}) and is {state}: it does not run again", hint=hint
        )
        self.verdict = verdict
        self.outcome = outcome
        self.entry = verdict.entry


class Erased(FailwellError):
    """What a call came to is on record, but not its result: that was erased. `outcome` is the rest."""

    code = "erased"

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(
            f"the call was {outcome.state}, and {outcome.erased} [entry {outcome.entry}]",
            hint="It does not run again under this call id, and nobody can bring its result back.",
        )
        self.outcome = outcome
        self.entry = outcome.entry


class Truncated(FailwellError):
    """A stream gave all that is kept of its tool's output, and there was more. `outcome` holds what was kept."""

    code = "truncated"

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(
            f"the tool completed, and said more than is kept of it: its first {outcome.given} results were given"
            f" [entry {outcome.entry}]",
            hint="Have it say less, or raise output_cap_bytes in its settings.",
        )
        self.outcome = outcome
        self.entry = outcome.entry


class Unsettled(Unreachable):
    """The node went away while a call was under way: what came of it is not known here. The record will say.

    `call_id` and `run` are what the same call is made again with: it then gives what came of it, and runs nothing that
    may have run.
    """

    def __init__(self, tool: str, call_id: str, run: int | None, reason: str, given: int = 0) -> None:
        got = f" after {given} of its results" if given else ""
        super().__init__(
            f"the node went away while {tool} was under way{got}: what came of it is not known here ({reason})",
            hint="What the node ran for it is stopped. To hear what the record says of it: connect again,"
            f" gate.run(agent, resume={run}), and make the same call with call_id={call_id!r}. That runs nothing that"
            " may have run.",
        )  # fmt: skip
        self.tool = tool
        self.call_id = call_id
        self.run = run
        self.given = given


#: What to do about an action that did not come to its own end.
_AFTER = {
    "blocked": "It never started, and took nothing of its limits. Who stopped it: failwell stop report",
    "unknown": "It may have run: look where it acts before you do it again. Under the same call id nothing runs twice.",
    "interrupted_unconfirmed": "It may still go on. What is known of it: failwell stop report",
    "completed_after_interrupt": "It had done its work when it was to stop: outcome.result. Why: failwell stop report",
}


def _after(state: str) -> str:
    otherwise = "Who ordered it: failwell stop report. The agent may be suspended: failwell agent list"
    return _AFTER.get(state, otherwise)


def _words(what: str, verdict: Verdict) -> str:
    named = f" by {', '.join(verdict.clauses)}" if verdict.clauses else ""
    return f"{what}{named}: {verdict.because} [entry {verdict.entry}]"


def read_ticket(raw: dict[str, Any]) -> Ticket:
    """A ticket as the node tells of it."""
    return Ticket(
        number=raw["ticket"], state=raw["state"], expires_at=raw["expires_at"], person=raw["person"],
        used_by=raw["used_by"],
    )  # fmt: skip


def read_verdict(raw: dict[str, Any]) -> Verdict:
    """A verdict as the node sends it."""
    return Verdict(
        verdict=raw["verdict"], clauses=tuple(raw["clauses"]), because=raw["because"], hint=raw["hint"],
        ticket=raw["ticket"], entry=raw["entry"], repeated=raw["repeated"], state=raw["state"],
        governed=raw["governed"],
    )  # fmt: skip
