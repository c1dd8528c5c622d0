"""A backtest's ledger read back: which recorded runs it holds, how each call was judged, what would have
followed.

Everything is read from the entries, so that an interrupted, a resumed and a finished backtest are told
apart, and summed up, by the record alone. It checks no hash and no signature: that is `ledger verify`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from failwell.core import kinds
from failwell.core.errors import Corrupt, InputError
from failwell.core.records import Entry, decode_entry
from failwell.ports.storage import Storage
from failwell.replay.declaration import Declaration, call_of, differences, source_of
from failwell.replay.summary import Judgement, Summary
from failwell.replay.traces import RecordedRun

_PAGE = 500


@dataclass(slots=True)
class JudgedRun:
    """One run in the ledger; judgements by call id, and how often a signal asked for a response."""

    seq: int
    agent: str
    source: str | None
    judgements: dict[str, Judgement] = field(default_factory=dict)
    responses: Counter[tuple[str, tuple[str, ...]]] = field(default_factory=Counter)
    closed: bool = False


def entries(storage: Storage, upto: int) -> Iterator[Entry[Any]]:
    """Yield entries 0 .. upto-1, a page at a time; Corrupt if one is missing or not an entry."""
    first = 0
    while first < upto:
        page = storage.entries(first, min(_PAGE, upto - first))
        if not page:
            raise Corrupt(f"entry {first} is missing")
        for row in page:
            yield decode_entry(row.data)
        first = page[-1].seq + 1


def judged_runs(storage: Storage, upto: int) -> Iterator[JudgedRun]:
    """Yield the runs among the first `upto` entries in their order, the last one perhaps not closed."""
    run: JudgedRun | None = None
    for entry in entries(storage, upto):
        body = entry.body
        if isinstance(body, kinds.RunOpened):
            if run is not None:
                raise Corrupt(f"entry {entry.seq} opens a run before the one of entry {run.seq} is closed")
            run = JudgedRun(entry.seq, str(entry.agent), body.source)
        elif run is not None and entry.run == run.seq:
            _note(run, entry, body)
            if run.closed:
                yield run
                run = None
    if run is not None:
        yield run


def _note(run: JudgedRun, entry: Entry[Any], body: Any) -> None:
    if isinstance(body, kinds.Decision):
        if body.call in run.judgements:
            raise Corrupt(f"entry {entry.seq} decides the recorded call {body.call} a second time")
        run.judgements[body.call] = Judgement(body.verdict, tuple(clause.id for clause in body.clauses))
    elif isinstance(body, kinds.Signal):
        if body.response != ("record",):
            run.responses[body.signal, body.response] += 1
    elif isinstance(body, kinds.RunClosed):
        run.closed = True


def check_same_run(judged: JudgedRun, run: RecordedRun, agent: str) -> None:
    """Raise InputError unless the run in the ledger is this recorded one under this agent's contract."""
    if (judged.source, judged.agent) != (source_of(run), agent):
        raise InputError(
            f"entry {judged.seq} holds another run than {run.file_name}, run {run.ordinal}",
            hint="This ledger is of another backtest: choose another --into.",
        )


def check_declared(storage: Storage, declaration: Declaration) -> None:
    """Raise InputError unless the ledger is a backtest of exactly this declaration."""
    for entry in entries(storage, min(storage.size(), _PAGE)):
        if isinstance(entry.body, kinds.Config):
            differs = differences(entry.body.text, declaration)
            if differs is not None:
                raise InputError(
                    f"the backtest in this folder is another one: {differs}",
                    hint="Repeat the command it was begun with, or choose another --into.",
                )
            return
    raise InputError("the ledger in this folder declares no backtest", hint="Choose another --into.")


def sum_up(storage: Storage, declaration: Declaration) -> Summary:
    """Return the summary of a finished backtest from the ledger; the recordings tell what a run was.

    Raises InputError where ledger and recordings do not show the same runs and calls.
    """
    summary = Summary()
    for contract in declaration.contracts:
        clauses = [clause.id for clause in contract.clauses]
        summary.expect(contract.contract, [*clauses, *(limit.id for limit in contract.limits)])
    judged = judged_runs(storage, storage.size())
    for run in declaration.read():
        contract = declaration.contract_of(run)
        found = next(judged, None)
        if found is None or not found.closed:
            raise InputError(f"{run.file_name}, run {run.ordinal} is not in the ledger to its end")
        check_same_run(found, run, contract.agent)
        known = (found.judgements.get(call_of(run, call)) for call in run.calls)
        summary.add(run, contract.contract, [judgement for judgement in known if judgement is not None])
        summary.note_responses(contract.contract, found.responses)
    return summary
