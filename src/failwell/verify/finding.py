"""What a verification found, and which of its numbered steps it could prove.

A finding says what does not hold and in which range of entries the cause lies. Where one entry is proven bad the
range is that entry; where only a kept checkpoint disagrees it is honest about everything that could have been
changed. Values only: nothing here verifies.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

SCHEMA: Final = "failwell/ledger-verify/1"
PROVED: Final = "proved"
NOT_PROVED: Final = "not proved"
NOT_CHECKABLE: Final = "not checkable"

#: Findings kept of one code; the rest are counted. A rewritten ledger of a million entries must not fill memory.
KEPT_PER_CODE: Final = 100

#: Without a signed tree head no entry is bad and none is vouched for: said from entry 0 on, after all other findings.
NOTHING_SEALED: Final = frozenset({"head.missing", "head.shape", "head.signature"})

FILE, BYTES, SEQUENCE, TREE, CITATIONS, HEAD, KEPT, ORDERS, VERDICTS, REACTIONS, BOUND, ROWS, COUNTS, KEYS = range(
    1, 15
)

STEPS: Final[dict[int, str]] = {
    FILE: "the file is whole and declares only what this layout declares",
    BYTES: "every entry is read from the one spelling it can have (RFC 8785)",
    SEQUENCE: "entries are gapless, of one log, in the order of time and of each agent's own count",
    TREE: "leaves and subtree hashes follow from the bytes (RFC 9162 2.1.1)",
    CITATIONS: "what an entry cites stands earlier and has the cited leaf",
    HEAD: "the tree head is signed by the log key and is that of the entries it covers (C2SP tlog-checkpoint)",
    KEPT: "the tree of every checkpoint kept elsewhere is the beginning of this one (RFC 9162 2.1.4)",
    ORDERS: "every human power used is signed by the enrolled key of its person (RFC 8032)",
    VERDICTS: "verdicts agree with their clauses, limits and what was in force, and stand before the acts",
    REACTIONS: "what followed by rule from each entry is what the rules give, nothing less or more",
    BOUND: "every blob and token is the one its entry names, none is missing and none is added",
    ROWS: "every stored row is what the entries make of it",
    COUNTS: "every root over the agents' own counts is that of the entries before it (RFC 9162 2.1.1)",
    KEYS: "each log key and origin follows from the one before it, by both keys or by a person's order",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that does not hold. The cause lies in entries `first`..`last`; `entry` is the one to look at first.

    `table` and `key` name a stored row; all of these are None where the finding is about no row or entry.
    """

    step: int
    code: str
    message: str
    entry: int | None = None
    first: int | None = None
    last: int | None = None
    table: str | None = None
    key: int | str | None = None

    @property
    def exact(self) -> bool:
        """Whether this entry alone is proven bad."""
        return self.entry is not None and self.first == self.last

    @property
    def rank(self) -> tuple[int, int, int]:
        """Order of proof: the smallest proven bad entry first, then rows made from entries, then the rest."""
        if self.entry is None or self.first is None or self.last is None:
            return 3, 0, 0
        if self.code in NOTHING_SEALED:
            return 2, 0, 0
        if self.step == ROWS:
            return 1, self.entry, 0
        return 0, self.last, self.last - self.first


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One numbered step: what it shows, whether it is proved, not proved or not checkable, and why or over how much."""

    number: int
    says: str
    state: str
    detail: str

    def line(self) -> str:
        """One line for people."""
        return f"{self.number:2d} {self.says}: {self.state}" + (f" ({self.detail})" if self.detail else "")


#: The code of a kept checkpoint that this log did not sign: it was changed, or one of the two is another log's.
UNSIGNED: Final = "kept.unsigned"

#: Grades of a seal. A is never given here: it takes a quorum of witnesses of another legal entity and a qualified
#: timestamp, and neither can be told from what a verifier is given.
NO_GRADE: Final = "none"
OPERATOR_ONLY: Final = "C"
OTHER_PARTY: Final = "B"


@dataclass(frozen=True, slots=True, kw_only=True)
class Grade:
    """How strong the seal of a record is: `grade` none, C or B, for the first `entries` of them, and why."""

    grade: str
    entries: int
    why: str

    def line(self) -> str:
        """One line for people."""
        if self.grade == NO_GRADE:
            return f"Grade: none, {self.why}."
        return f"Grade {self.grade} for the first {self.entries:,} entries: {self.why}."


@dataclass(frozen=True, slots=True, kw_only=True)
class Break:
    """Where a log goes on under a new name: entry `entry`, behind the order that gave up what its guard had signed.

    `size` entries were there; `lost_size` is how many the guard had signed, None where it could not be told any more.
    """

    entry: int
    size: int
    lost_size: int | None

    def line(self) -> str:
        """One sentence for people."""
        order = f"by the order in entry {self.entry - 1}."
        if self.lost_size is None:
            return f"Whatever had been sealed beyond entry {self.size - 1} was given up as lost, {order}"
        lost = self.lost_size - self.size
        if lost <= 0:
            return f"Another history of {self.lost_size:,} entries, which its guard had signed, was given up, {order}"
        many = f"{lost:,} sealed {'entry' if lost == 1 else 'entries'} from {self.size} on"
        return f"{many} {'was' if lost == 1 else 'were'} given up as lost, {order}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The result: findings with the smallest proven bad entry first, the steps, and what was read.

    `entries` were read; `good` of them, from 0 on, hold together up to the first bad one; `unsealed` of them, at the
    end, lie beyond the ledger's own head; `counts` holds how many findings of each code there are, also those beyond
    the ones kept; `size` and `root` (hex) are the tree head computed from the bytes.

    `breaks`: where sealed entries were given up, which is no finding, and which nobody should have to look for.
    `unread`: why the memory of the record's own guard, with which an older copy cannot agree, was not held against it.
    """

    findings: tuple[Finding, ...]
    checks: tuple[Step, ...]
    entries: int
    good: int
    counts: dict[str, int]
    origin: str | None
    root: str | None
    size: int
    unsealed: int
    read: dict[str, int]
    breaks: tuple[Break, ...] = ()
    unread: str | None = None
    grade: Grade | None = None

    @property
    def ok(self) -> bool:
        return not self.counts

    @property
    def first_bad(self) -> int | None:
        """The first bad entry: exact where provable, else the last it can be (see the finding's range)."""
        return self.findings[0].entry if self.findings else None

    def as_dict(self) -> dict[str, Any]:
        """The same as JSON values, for `--json`."""
        return {
            "schema": SCHEMA,
            "ok": self.ok,
            "origin": self.origin,
            "entries": self.entries,
            "good": self.good,
            "unsealed": self.unsealed,
            "tree": {"size": self.size, "root": self.root},
            "first_bad": self.first_bad,
            "first_bad_exact": bool(self.findings) and self.findings[0].exact,
            "findings": [asdict(finding) for finding in self.findings],
            "counts": self.counts,
            "checks": [asdict(step) for step in self.checks],
            "read": self.read,
            "breaks": [asdict(each) for each in self.breaks],
            "guard_unread": self.unread,
            "grade": None if self.grade is None else asdict(self.grade),
        }


class Findings:
    """Collects findings while a ledger, or an extract of one, streams by. The only mutable value of this module.

    `steps`: the numbered steps of this verification, and what each shows.
    """

    def __init__(self, steps: Mapping[int, str] = STEPS) -> None:
        self._says = steps
        self.counts: dict[str, int] = {}
        self._kept: list[Finding] = []
        self._worst: Finding | None = None
        self._steps: set[int] = set()
        self._unchecked: dict[int, str] = {}
        self._details: dict[int, str] = {}

    def add(
        self,
        step: int,
        code: str,
        message: str,
        *,
        entry: int | None = None,
        first: int | None = None,
        last: int | None = None,
        table: str | None = None,
        key: int | str | None = None,
    ) -> None:
        """Note one finding. Without a range, `entry` alone is proven bad."""
        finding = Finding(
            step=step, code=code, message=message, entry=entry, table=table, key=key,
            first=entry if first is None else first, last=entry if last is None else last,
        )  # fmt: skip
        self.counts[code] = self.counts.get(code, 0) + 1
        self._steps.add(step)
        if self._worst is None or finding.rank < self._worst.rank:
            self._worst = finding
        if self.counts[code] <= KEPT_PER_CODE:
            self._kept.append(finding)

    def uncheckable(self, step: int, why: str) -> None:
        """Say that a step could not be made; a finding in it still weighs more."""
        self._unchecked.setdefault(step, why)

    def detail(self, step: int, what: str) -> None:
        """Say over how much a step was made."""
        self._details[step] = what

    def report(
        self, *, entries: int, origin: str | None, root: str | None, size: int, read: dict[str, int],
        unsealed: int = 0, breaks: tuple[Break, ...] = (), unread: str | None = None, grade: Grade | None = None,
    ) -> Report:  # fmt: skip
        """The result, once everything has streamed by."""
        return Report(
            findings=self.found(), checks=self.checks(), entries=entries, good=self._good(entries), counts=self.counts,
            origin=origin, root=root, size=size, unsealed=unsealed, read=read, breaks=breaks,
            unread=unread, grade=grade,
        )  # fmt: skip

    def found(self) -> tuple[Finding, ...]:
        """The findings kept, the smallest proven bad entry first."""
        found = sorted(self._kept, key=lambda finding: finding.rank)
        if self._worst is not None and found[0] != self._worst:
            found.insert(0, self._worst)
        return tuple(found)

    def checks(self) -> tuple[Step, ...]:
        """What came of each step."""
        return tuple(self._step(number) for number in self._says)

    def _good(self, entries: int) -> int:
        worst = self._worst
        if worst is None or worst.rank[0] != 0 or worst.first is None:
            return entries
        return max(0, min(worst.first, entries))

    def _step(self, number: int) -> Step:
        if number in self._steps:
            state, detail = NOT_PROVED, next(each.message for each in self._kept if each.step == number)
        elif number in self._unchecked:
            state, detail = NOT_CHECKABLE, self._unchecked[number]
        else:
            state, detail = PROVED, self._details.get(number, "")
        return Step(number=number, says=self._says[number], state=state, detail=detail)


def unreadable(why: str) -> Report:
    """The report on what cannot be read as a ledger at all."""
    findings = Findings()
    findings.add(FILE, "file.unreadable", why)
    for step in STEPS:
        findings.uncheckable(step, "what was given cannot be read")
    return findings.report(entries=0, origin=None, root=None, size=0, read={})
