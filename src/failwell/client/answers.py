"""What the gate answers: a verdict is a value, a refusal is an exception that says what to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from failwell.core.errors import FailwellError


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
    """What came of an executed action: its state, the tool's result, and the entry that records it."""

    state: str
    result: Any
    entry: int
    verdict: Verdict
    exit_code: int | None = None
    why: str | None = None


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
        super().__init__(
            f"stopped ({outcome.state}): {outcome.why or 'by order'} [entry {outcome.entry}]",
            hint="Who ordered it: failwell stop report. The agent may be suspended: failwell agent list",
        )
        self.outcome = outcome
        self.entry = outcome.entry


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
