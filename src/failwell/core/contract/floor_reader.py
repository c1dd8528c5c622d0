"""A floor's text to its records: `load_floor`, `lint_floor`. A floor lists no tools, so what its rules need of a tool
is judged where a contract is to stand on it (`floor_checks.floor_findings`)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import get_args

from failwell.core.contract import model
from failwell.core.contract.document import Node
from failwell.core.contract.expression import Unsound, parse_when
from failwell.core.contract.fields import Fields
from failwell.core.contract.finding import BrokenContract, Finding, errors_of
from failwell.core.contract.floor import Floor, floor_to_canonical
from failwell.core.contract.judgment import RESERVED
from failwell.core.contract.limit_checks import faults
from failwell.core.contract.lint import open_text
from failwell.core.contract.notes import Notes
from failwell.core.contract.rule_checks import RULE_ID
from failwell.core.contract.rule_reader import read_clause, read_limit, read_restricted
from failwell.core.contract.scope import MAX_COUNT, MAX_TEXT_LENGTH, NAME, Path
from failwell.core.contract.tool_checks import TOOL_NAME
from failwell.core.errors import ContractError

_GROUP = re.compile(r"group:[a-z0-9](?:[a-z0-9.-]{0,62}[a-z0-9])?")
#: The rule that a floor's `never` becomes (`floor.under`).
_NEVER = "never"


def load_floor(text: str, *, name: str) -> Floor:
    """Return the floor of a YAML text; `name` is the file that messages show.

    Raises BrokenContract (a ContractError) with all `findings` if there is any error.
    """
    floor, findings = _read(text, name)
    if floor is None or errors_of(findings):
        raise BrokenContract(f"floor {name}" if floor is None else f"floor {floor.floor} v{floor.version}", findings)
    return floor


def lint_floor(text: str, *, name: str) -> tuple[Finding, ...]:
    """Return everything to say about a floor's text, in order of place; empty means: nothing to mend."""
    return _read(text, name)[1]


def check_floor(floor: Floor) -> tuple[Finding, ...]:
    """Return the findings on a floor that comes without its text."""
    notes = Notes("", f"{floor.floor} v{floor.version}")
    with notes.until_enough():
        _Floor(floor, notes).all()
    return notes.in_order()


def is_floor(text: str) -> bool:
    """Whether a text is meant as a floor: its first key is `floor`, or one of them is."""
    root = open_text(text, Notes(text, ""))
    return root is not None and root.get("floor") is not None


def _read(text: str, name: str) -> tuple[Floor | None, tuple[Finding, ...]]:
    notes = Notes(text, name)
    root = open_text(text, notes)
    floor: Floor | None = None
    with notes.until_enough():
        floor = None if root is None else _floor(root, notes)
        if floor is not None:
            _Floor(floor, notes).all()
    return floor, notes.in_order()


def _floor(root: Node, notes: Notes) -> Floor | None:
    top = Fields(notes, root, "floor", "floor")
    floor = Floor(
        floor=top.text("floor", required=True) or "",
        version=top.integer("version", required=True),
        scope=top.text("scope", required=True) or "",
        purpose=top.text("purpose", required=True) or "",
        never=top.texts("never"),
        clauses=tuple(read_clause(notes, node) for node in top.children("clauses")),
        limits=tuple(read_limit(notes, node) for node in top.children("limits")),
        restricted=read_restricted(top.fields("restricted", "restricted")),
        witnessed=top.boolean("witnessed"),
        stoppable=top.boolean("stoppable"),
        custody=top.choices("custody", model.Custody),
    )
    return None if errors_of(notes.findings) else floor


class _Floor:
    """One floor under check."""

    def __init__(self, floor: Floor, notes: Notes) -> None:
        self.floor = floor
        self.notes = notes

    def all(self) -> None:
        self._head()
        self._custody()
        self._patterns(("never",), "never", self.floor.never)
        seen = {_NEVER}
        for path, what, rule in self._rules():
            self._rule(path, what, rule, seen)
        if self.floor == Floor(
            floor=self.floor.floor, version=self.floor.version, scope=self.floor.scope, purpose=self.floor.purpose,
        ):  # fmt: skip
            self._error(("floor",), "The floor asks nothing.", "Every contract stands on it.", "Say what it asks.")
        try:
            floor_to_canonical(self.floor)
        except ContractError as error:
            self._error((), "The floor is too large.", f"{error.message}.", "Split it, or shorten its texts.")

    def _error(self, path: Path, problem: str, reason: str, mend: str, excerpt: str = "") -> None:
        self.notes.add("error", self.notes.place(*path), problem, reason, mend, excerpt)

    def _head(self) -> None:
        floor = self.floor
        if not NAME.fullmatch(floor.floor):
            reason = "It names things in the record."
            self._error(("floor",), "The floor's name is not well formed.", reason, "Write it like company-floor.")
        if not 1 <= floor.version <= MAX_COUNT:
            self._error(("version",), "The version is out of range.", "Versions count from 1.", "Write version: 1.")
        if floor.scope != "organisation" and not _GROUP.fullmatch(floor.scope):
            reason = "It would bind nobody."
            self._error(("scope",), "The scope is not known.", reason, "Write organisation, or group:payments.")
        if not 1 <= len(floor.purpose) <= MAX_TEXT_LENGTH:
            reason = f"It has {len(floor.purpose)} characters."
            mend = f"Say in 1 to {MAX_TEXT_LENGTH} characters what it is for."
            self._error(("purpose",), "The purpose is empty or too long.", reason, mend)

    def _custody(self) -> None:
        words = self.floor.custody
        if len(set(words)) != len(words) or not set(words) <= set(get_args(model.Custody)):
            reason = "It would not be clear."
            self._error(("custody",), "custody holds a word twice, or an unknown one.", reason, "Name each once.")

    def _patterns(self, path: Path, what: str, patterns: tuple[str, ...]) -> None:
        if len(set(patterns)) != len(patterns):
            self._error(path, f"{what} names a tool twice.", "Once is enough.", "Name each once.")
        for pattern in patterns:
            if pattern != "*" and not TOOL_NAME.fullmatch(pattern.removesuffix("*")):
                mend = "Write payments.refund or payments.*; a star stands at the end alone."
                self._error(path, f"{what} names {pattern!r}.", "No tool can have this name.", mend)

    def _rules(self) -> Iterator[tuple[Path, str, model.Clause | model.Limit]]:
        for number, clause in enumerate(self.floor.clauses):
            yield ("clauses", number), f"clause {clause.id}", clause
        for number, limit in enumerate(self.floor.limits):
            yield ("limits", number), f"limit {limit.id}", limit

    def _rule(self, path: Path, what: str, rule: model.Clause | model.Limit, seen: set[str]) -> None:
        if not RULE_ID.fullmatch(rule.id):
            reason = "It names things in the record."
            self._error((*path, "id"), f"The id of {what} is not well formed.", reason, "Write it like no-shell.")
        if rule.id in seen or rule.id in RESERVED:
            self._error((*path, "id"), f"The id {rule.id} is taken.", "Ids stand in verdicts.", "Choose another id.")
        seen.add(rule.id)
        if rule.because is not None and not 1 <= len(rule.because) <= MAX_TEXT_LENGTH:
            self._error((*path, "because"), f"{what}: because is empty or too long.", "People read it.", "Shorten it.")
        self._patterns(path, what, rule.tools)
        if isinstance(rule, model.Limit):
            for problem, reason, mend in faults(rule):
                self._error(path, f"{what}{problem}", reason, mend)
            return
        if not rule.tools:
            self._error(path, f"{what} names no tool.", "It would bind nothing.", "Name tools, or write '*'.")
        if rule.when is not None:
            try:
                parse_when(rule.when)
            except Unsound as error:
                reason, mend = f"{error.message.rstrip('.')}.", error.hint or ""
                self._error((*path, "when"), f"clause {rule.id} could fail.", reason, mend, rule.when)
