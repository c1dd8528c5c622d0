"""What a backtest found, added up run by run: per verdict, per clause, per suite and per run.

A pure accumulator: it reads no clock, file or ledger; the same runs in the same order give the same summary.
Each run is added whole, with one judgement per recorded call, so that a call that got lost between reader and
gate is an error here and not a smaller number. It keeps one small row per run and no texts of a run.

It gives counts and the recording's own marks; it does not rate a contract and estimates nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from failwell.core.errors import InputError
from failwell.replay.traces import RecordedRun, Scalar

SCHEMA = "failwell/backtest/1"
VERDICTS = ("ALLOW", "ESCALATE", "DENY")  # from the mildest to the strictest


@dataclass(frozen=True, slots=True)
class Judgement:
    """The gate's word on one recorded call: its verdict and the ids of the clauses and limits that spoke."""

    verdict: str
    clauses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RunRow:
    """One run as judged; `first_stopped` is the ordinal of its first call that was not allowed, or None."""

    file: str
    file_digest: str
    run: int
    suite: str | None
    contract: str
    case: str
    actions: int
    verdicts: Mapping[str, int]
    clauses: Mapping[str, int]
    first_stopped: int | None
    metadata: Mapping[str, Scalar]


@dataclass(frozen=True, slots=True)
class Table:
    """A table for a person: the columns named in `counts` hold numbers and stand to the right."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    counts: frozenset[str]


@dataclass(slots=True)
class Summary:
    """Add runs, then read. `expect` names the clauses that exist, so that silence shows as 0."""

    clauses: dict[str, int] = field(default_factory=dict)
    verdicts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(VERDICTS, 0))
    runs: list[RunRow] = field(default_factory=list)
    actions: int = 0
    responses: dict[tuple[str, str, tuple[str, ...]], int] = field(default_factory=dict)

    def expect(self, contract: str, clauses: Iterable[str]) -> None:
        """Name the clauses and limits of a contract that takes part, before its first run is added."""
        for clause in clauses:
            self.clauses.setdefault(f"{contract}/{clause}", 0)

    def add(self, run: RecordedRun, contract: str, judgements: Sequence[Judgement]) -> RunRow:
        """Add one run and return its row; InputError unless each call has a judgement of known verdict."""
        if len(judgements) != len(run.calls):
            place = f"{run.file_name}, run {run.ordinal}"
            raise InputError(f"{place}: {len(run.calls)} recorded calls, {len(judgements)} judged")
        row = _row(run, contract, judgements)
        for verdict, count in row.verdicts.items():
            self.verdicts[verdict] += count
        for key, count in row.clauses.items():
            self.clauses[key] = self.clauses.get(key, 0) + count
        self.actions += row.actions
        self.runs.append(row)
        return row

    def note_responses(self, contract: str, asked: Mapping[tuple[str, tuple[str, ...]], int]) -> None:
        """Count what response rules asked for, by (signal, response); in a backtest nothing of it is done."""
        for (signal, response), count in asked.items():
            key = (contract, signal, response)
            self.responses[key] = self.responses.get(key, 0) + count

    def to_json(self, workspace: str) -> dict[str, Any]:
        """Return the object that `backtest --json` prints; `workspace` is the folder with the ledger."""
        return {
            "schema": SCHEMA,
            "workspace": workspace,
            "runs": len(self.runs),
            "actions": self.actions,
            "verdicts": dict(self.verdicts),
            "clauses": dict(sorted(self.clauses.items())),
            "per_run": [_row_to_json(row) for row in self.runs],
            "responses": [
                {"contract": contract, "signal": signal, "response": list(response), "count": count}
                for (contract, signal, response), count in sorted(self.responses.items())
            ],
        }

    def tables(self) -> tuple[Table, ...]:
        """Return the tables that `backtest` prints: verdicts by suite and case, clauses, responses."""
        return (self._by_case(), self._by_clause(), self._by_response())

    def _by_case(self) -> Table:
        groups: dict[tuple[str, str], list[RunRow]] = {}
        for row in self.runs:
            groups.setdefault((row.suite or "", row.case), []).append(row)
        rows = [(*key, *map(str, _counts(groups[key]))) for key in sorted(groups)]
        rows.append(("all", "", *map(str, _counts(self.runs))))
        columns = ("runs", "runs stopped", "actions", *VERDICTS)
        return Table("Verdicts", ("suite", "case", *columns), tuple(rows), frozenset(columns))

    def _by_clause(self) -> Table:
        stopped = {key: sum(key in row.clauses for row in self.runs) for key in self.clauses}
        ordered = sorted(self.clauses.items(), key=lambda item: (-item[1], item[0]))
        rows = tuple((key, str(count), str(stopped[key])) for key, count in ordered)
        return Table("Clauses and limits", ("clause", "actions", "runs"), rows, frozenset({"actions", "runs"}))

    def _by_response(self) -> Table:
        ordered = sorted(self.responses.items(), key=lambda item: (-item[1], item[0]))
        rows = tuple(
            (f"{contract}: {signal}", ", ".join(response), str(count))
            for (contract, signal, response), count in ordered
        )
        title = "Responses asked for (evaluated, not applied)"
        return Table(title, ("signal", "response", "times"), rows, frozenset({"times"}))


def case_of(run: RecordedRun) -> str:
    """Return the recording's own mark of a run: "benign", "attack failed", "attack succeeded" or "unmarked".

    AgentDojo: `injection_task_id` null is a benign run, and on an attacked one `security` true means that the
    attack succeeded. tau-bench (known by `trial`) has no attacks. Any other recording is unmarked.
    """
    if "injection_task_id" in run.metadata:
        if run.metadata["injection_task_id"] is None:
            return "benign"
        return "attack succeeded" if run.metadata.get("security") is True else "attack failed"
    return "benign" if "trial" in run.metadata else "unmarked"


def _row(run: RecordedRun, contract: str, judgements: Sequence[Judgement]) -> RunRow:
    verdicts = dict.fromkeys(VERDICTS, 0)
    clauses: dict[str, int] = {}
    first_stopped: int | None = None
    for call, judgement in zip(run.calls, judgements, strict=True):
        if judgement.verdict not in verdicts:
            raise InputError(f"{run.file_name}, run {run.ordinal}: unknown verdict {judgement.verdict!r}")
        verdicts[judgement.verdict] += 1
        if judgement.verdict != "ALLOW" and first_stopped is None:
            first_stopped = call.ordinal
        for clause in set(judgement.clauses):
            clauses[f"{contract}/{clause}"] = clauses.get(f"{contract}/{clause}", 0) + 1
    return RunRow(
        file=run.file_name,
        file_digest=run.file_digest,
        run=run.ordinal,
        suite=run.suite,
        contract=contract,
        case=case_of(run),
        actions=len(judgements),
        verdicts=verdicts,
        clauses=dict(sorted(clauses.items())),
        first_stopped=first_stopped,
        metadata=run.metadata,
    )


def _row_to_json(row: RunRow) -> dict[str, Any]:
    return {
        "file": row.file,
        "file_digest": row.file_digest,
        "run": row.run,
        "suite": row.suite,
        "contract": row.contract,
        "case": row.case,
        "actions": row.actions,
        "verdicts": dict(row.verdicts),
        "clauses": dict(row.clauses),
        "first_stopped": row.first_stopped,
        "metadata": dict(row.metadata),
    }


def _counts(rows: Sequence[RunRow]) -> tuple[int, ...]:
    """Runs, runs with at least one call not allowed, actions, and the verdicts in their order."""
    return (
        len(rows),
        sum(row.first_stopped is not None for row in rows),
        sum(row.actions for row in rows),
        *(sum(row.verdicts[verdict] for row in rows) for verdict in VERDICTS),
    )
