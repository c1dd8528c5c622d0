"""What the records of a contract must mean together: names, people, tools, clauses, limits, signals, path.

Adopting a text and compiling stored bytes pass the same checks, so that a contract that never was a text
is held to the same rules. Errors keep it from being adopted; warnings say where a bound is weaker than a
reader may think.
"""

from __future__ import annotations

import re
from datetime import date

from failwell.core.contract import model
from failwell.core.contract.finding import Finding
from failwell.core.contract.nearest import meant
from failwell.core.contract.notes import Notes
from failwell.core.contract.path_checks import ROLES, PathChecks
from failwell.core.contract.rule_checks import RuleChecks
from failwell.core.contract.scope import (
    MAX_CLAUSE_WEIGHT,
    MAX_COUNT,
    MAX_TEXT_LENGTH,
    NAME,
    PERSON,
    Path,
    Scope,
    Types,
    clause_weight,
)
from failwell.core.contract.tool_checks import ToolChecks
from failwell.core.errors import ContractError

_SPIFFE = re.compile(r"spiffe://[a-z0-9](?:[a-z0-9._-]{0,253}[a-z0-9])?(?:/[A-Za-z0-9._-]{1,128}){1,16}")
_PRINCIPAL = re.compile(r"[a-z][a-z0-9-]{0,31}(?::[!-~]{1,128})?")
_REVIEWER = re.compile(r"(?:role:)?[a-z0-9][a-z0-9._@-]{0,127}")
_LABEL = re.compile(r"[a-z0-9_.-]{1,64}")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")

_SHORTEST_DECISION_US = 60_000_000
_LONGEST_DECISION_US = 30 * 86_400_000_000


def check(contract: model.Contract) -> tuple[Finding, ...]:
    """Return the findings on a contract that comes without its text."""
    notes = Notes("", f"{contract.contract} v{contract.version}")
    with notes.until_enough():
        note_problems(contract, notes)
    return tuple(notes.findings)


def note_problems(contract: model.Contract, notes: Notes) -> None:
    """Note what is wrong or weak in `contract`; places come from the text that `notes` knows, if any."""
    types: dict[str, Types] = {}
    whole = _Whole(contract, notes, types)
    if not whole.fits():
        return  # Attack: what is far too large takes long to look at
    whole.header()
    whole.people()
    ToolChecks(contract, notes, types).all()
    RuleChecks(contract, notes, types).all()
    PathChecks(contract, notes, types).all()


class _Whole(Scope):
    """The head and the people."""

    # ---- the head ----------------------------------------------------------------------------------------

    def header(self) -> None:
        contract = self.contract
        self.spelled(("contract",), "The contract's name", contract.contract, NAME, "refund-bot")
        self.spelled(("owner",), "The owner", contract.owner, NAME, "payments-owner")
        agent = _SPIFFE if contract.agent.startswith("spiffe:") else NAME
        self.spelled(("agent",), "The agent", contract.agent, agent, "refund-bot or spiffe://shop.example/refund-bot")
        self.spelled(
            ("on_suspend", "unfinished_runs"),
            "Who gets unfinished runs",
            contract.unfinished_runs,
            PERSON,
            "team:payments",
        )
        if not 1 <= contract.version <= MAX_COUNT:
            self.error(("version",), "The version is out of range.", "Versions count from 1.", "Write version: 1.")
        if not 1 <= len(contract.purpose) <= MAX_TEXT_LENGTH:
            self.error(
                ("purpose",),
                "The purpose is empty or too long.",
                f"It has {len(contract.purpose)} characters.",
                f"Say in 1 to {MAX_TEXT_LENGTH} characters what the agent is for.",
            )
        self._stopping()
        for key, value in contract.applies_to.items():
            for text in (key, value):
                self.spelled(("applies_to", key), f"applies_to: {key}", text, _LABEL, "suite: banking")
        self._validity()

    def _stopping(self) -> None:
        stopping = self.contract.stopping
        if stopping is None:
            return
        self.spelled(("stopping", "cover"), "Who covers for the agent", stopping.cover, PERSON, "team:payments")
        if not 1 <= len(stopping.because) <= MAX_TEXT_LENGTH:
            self.error(
                ("stopping", "because"),
                "stopping: because is empty or too long.",
                "People weigh by it whether to stop the agent.",
                f"Say in 1 to {MAX_TEXT_LENGTH} characters what stands still.",
            )

    def _validity(self) -> None:
        valid = self.contract.valid
        if valid is None:
            return
        for name, day in (("from", valid.since), ("until", valid.until)):
            if day is not None and not _is_day(day):
                self.error(
                    ("valid", name),
                    f"valid: {name} is not a day.",
                    f"It is {day!r}.",
                    "Write it like 2026-11-01.",
                )
                return
        if valid.since is not None and valid.until is not None and valid.since >= valid.until:
            self.error(
                ("valid",),
                "The contract is never valid.",
                "It ends (at the start of the day `until`) before it begins.",
                "Write a later day for until.",
            )

    # ---- people and other agents -------------------------------------------------------------------------

    def people(self) -> None:
        """Principals, delegates and reviewers."""
        contract = self.contract
        own = {contract.agent, contract.agent.rsplit("/", 1)[-1]}
        for number, name in enumerate(contract.principals):
            self.spelled(("principals", number), f"The principal {name!r}", name, _PRINCIPAL, "user or user:anna")
            if name.partition(":")[0] in contract.principals and ":" in name:
                reason = f"{name.partition(':')[0]} stands for all of them."
                self.warn(("principals", number), f"The principal {name} bounds nothing.", reason, "Keep one of them.")
        for number, name in enumerate(contract.delegates):
            self.spelled(("delegates", number), f"The delegate {name!r}", name, NAME, "mail-bot")
            if name in own:
                reason = "Work that it hands to itself leaves no trace of who asked."
                self.error(("delegates", number), "The agent is its own delegate.", reason, "Name other agents.")
        for field, names in (("principals", contract.principals), ("delegates", contract.delegates)):
            if len(set(names)) != len(names):
                self.error((field,), f"{field} holds a name twice.", "Once is enough.", "Name each once.")
        if contract.oversight is not None:
            self._oversight(contract.oversight)

    def _oversight(self, oversight: model.Oversight) -> None:
        path: Path = ("oversight", "reviewers")
        for number, name in enumerate(oversight.reviewers):
            self.spelled((*path, number), f"The reviewer {name!r}", name, _REVIEWER, "anna or role:reviewer")
            role = name.removeprefix("role:")
            if role != name and role not in ROLES:
                mend = meant(role, ROLES) or f"Roles are: {', '.join(ROLES)}."
                self.error((*path, number), f"Nobody has the role {role}.", "Nobody would answer.", mend)
        if len(set(oversight.reviewers)) != len(oversight.reviewers):
            self.error(path, "reviewers holds a name twice.", "Once is enough.", "Name each once.")
        if not oversight.reviewers:
            self.error(path, "reviewers names nobody.", "Nobody would answer.", "Name persons, or role:reviewer.")
        if oversight.reviewers == (self.contract.owner,):
            self.warn(
                path,
                "The owner is the only reviewer.",
                "Who answers for the agent would approve what it asks.",
                "Name another person, or role:reviewer.",
            )
        if not _SHORTEST_DECISION_US <= oversight.decide_within_us <= _LONGEST_DECISION_US:
            self.error(
                ("oversight", "decide_within"),
                "decide_within is out of range.",
                "A person needs a minute, and a question of a month ago is another one.",
                "Write 1m to 30d, such as decide_within: 24h.",
            )

    def fits(self) -> bool:
        """Whether the contract is small enough to be signed, and to be looked at."""
        mend = "Split it, or shorten its texts."
        try:
            model.to_canonical(self.contract)
        except ContractError as error:
            self.error((), "The contract is too large.", f"{error.message}.", mend)
            return False
        weight = clause_weight(self.contract.clauses)
        if weight > MAX_CLAUSE_WEIGHT:
            reason = f"Expressions times tools are {weight} characters, at most {MAX_CLAUSE_WEIGHT}."
            self.error(("clauses",), "The clauses are too large.", reason, mend)
        return weight <= MAX_CLAUSE_WEIGHT


def _is_day(text: str) -> bool:
    if not _DAY.fullmatch(text):
        return False
    try:
        return date.fromisoformat(text).year >= 1970
    except ValueError:
        return False
