"""What a backtest is over: contracts, recorded files and pace, read and checked whole before anything is
judged.

The declaration is the ledger's first `config` entry. A backtest that goes on later must declare the same: a
contract, recording, pace or evaluator that changed in between would put two backtests into one record.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import msgspec

from failwell.core import canonical
from failwell.core import contract as contracts
from failwell.core.contract import Contract
from failwell.core.errors import InputError, NotFound
from failwell.core.instants import format_at
from failwell.replay.pace import Pace, check_room, start_us
from failwell.replay.traces import RecordedCall, RecordedRun, read_runs

#: More would not fit the declaring entry.
MAX_TRACES = 256
MAX_NAME = 64
MAX_CONTRACT_BYTES = 1_048_576


class Trace(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One recorded file as it was read: name, SHA-256 of the file as stored, runs and calls in it."""

    name: str
    digest: str
    runs: int
    calls: int


class _Bound(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One contract, by its digest."""

    contract: str
    version: int
    digest: str


class Declared(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The declaration as it stands in the ledger (profile JSON, durations in microseconds)."""

    backtest: int
    call_every_us: int
    contracts: tuple[_Bound, ...]
    evaluator: str
    run_every_us: int
    start: str
    traces: tuple[Trace, ...]


@dataclass(frozen=True, slots=True)
class Declaration:
    """A checked backtest: each run has exactly one contract, and at this pace all stay in force."""

    contracts: tuple[Contract, ...]
    paths: tuple[Path, ...]
    traces: tuple[Trace, ...]
    pace: Pace
    start_us: int
    evaluator: str

    @property
    def runs(self) -> int:
        return sum(trace.runs for trace in self.traces)

    @property
    def calls(self) -> int:
        return sum(trace.calls for trace in self.traces)

    def text(self) -> str:
        """Return the canonical JSON that the ledger holds."""
        bound = (_Bound(contract=c.contract, version=c.version, digest=contracts.digest(c)) for c in self.contracts)
        declared = Declared(
            backtest=1, call_every_us=self.pace.call_every_us, contracts=tuple(bound),
            evaluator=self.evaluator, run_every_us=self.pace.run_every_us, start=format_at(self.start_us),
            traces=self.traces,
        )  # fmt: skip
        return canonical.encode(msgspec.to_builtins(declared)).decode()

    def digest(self) -> str:
        """Return the SHA-256 (hex) of `text`."""
        return sha256(self.text().encode()).hexdigest()

    def read(self) -> Iterator[RecordedRun]:
        """Yield all runs in file order; InputError if a file is no longer the one declared."""
        for path, trace in zip(self.paths, self.traces, strict=True):
            for run in read_runs(path):
                if run.file_digest != trace.digest:
                    raise InputError(f"{path} was changed while it was backtested", hint="Begin again with --into NEW.")
                yield run

    def contract_of(self, run: RecordedRun) -> Contract:
        """Return the one contract that applies to `run`; InputError with file and run unless one does."""
        found = [contract for contract in self.contracts if contract.applies_to.get("suite") in (None, run.suite)]
        if len(found) == 1:
            return found[0]
        suite = "no suite" if run.suite is None else f"suite {run.suite}"
        what = f"{run.file_name}, run {run.ordinal} ({suite})"
        if not found:
            raise InputError(
                f"{what}: no contract applies",
                hint=f"Give one with applies_to: {{suite: {run.suite or 'NAME'}}}, or with none.",
            )
        raise InputError(
            f"{what}: {len(found)} contracts apply: {', '.join(contract.contract for contract in found)}",
            hint="Give each contract its own applies_to: {suite: NAME}, or leave one out.",
        )


def declare(contract_files: Sequence[Path], trace_files: Sequence[Path], pace: Pace, evaluator: str) -> Declaration:
    """Read and check everything that a backtest is over.

    Raises NotFound and InputError (BrokenContract among them) with the file, and the run where there is
    one.
    """
    bound = _contracts(contract_files)
    began_us = start_us(bound)
    if not 1 <= len(trace_files) <= MAX_TRACES:
        raise InputError(f"{len(trace_files)} recorded files: give 1 to {MAX_TRACES}", hint="Concatenate JSON lines.")
    empty = Declaration(bound, (), (), pace, began_us, evaluator)
    traces: list[Trace] = []
    passed_us = 0
    for path in trace_files:
        trace, passed_us = _trace(empty, path, passed_us)
        if any(trace.digest == other.digest for other in traces):
            raise InputError(f"{path} is given twice", hint="Each recorded run is judged once.")
        traces.append(trace)
    check_room(bound, began_us, began_us + passed_us - pace.run_every_us)
    return Declaration(bound, tuple(trace_files), tuple(traces), pace, began_us, evaluator)


def _trace(declaration: Declaration, path: Path, passed_us: int) -> tuple[Trace, int]:
    runs = calls = 0
    digest = ""
    for run in read_runs(path):
        declaration.contract_of(run)
        passed_us = declaration.pace.next_us(passed_us, len(run.calls))
        runs, calls, digest = runs + 1, calls + len(run.calls), run.file_digest
    return Trace(name=_name(path), digest=digest, runs=runs, calls=calls), passed_us


def _name(path: Path) -> str:
    """A file's name for messages; one that is not UTF-8 still has to fit the ledger's JSON."""
    return path.name.encode("utf-8", "replace").decode()[:MAX_NAME]


def _contracts(files: Sequence[Path]) -> tuple[Contract, ...]:
    found: dict[str, Contract] = {}
    agents: set[str] = set()
    for path in files:
        contract = contracts.load(_text(path), name=str(path))
        if contract.contract in found or contract.agent in agents:
            raise InputError(
                f"{path}: contract {contract.contract} or its agent {contract.agent} is given already",
                hint="One contract per agent: compare two versions by two backtests.",
            )
        unknown = contract.applies_to.keys() - {"suite"}
        if unknown:
            raise InputError(
                f"{path}: applies_to names {min(unknown)}", hint="A recorded run is told by its suite only."
            )
        found[contract.contract] = contract
        agents.add(contract.agent)
    if not found:
        raise InputError("no contract is given", hint="--contract FILE")
    return tuple(contract for _, contract in sorted(found.items()))


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_CONTRACT_BYTES + 1)
        if len(data) > MAX_CONTRACT_BYTES:
            raise InputError(f"{path} is too large for a contract")
        return data.decode("utf-8")
    except FileNotFoundError:
        raise NotFound(f"no such file: {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}") from None


def differences(stored: str, declaration: Declaration) -> str | None:
    """Say what a ledger's declaration (`stored` text) and this one differ in; None if they are the same."""
    mine = declaration.text()
    if stored == mine:
        return None
    try:
        was, now = msgspec.json.decode(stored, type=Declared), msgspec.json.decode(mine, type=Declared)
    except msgspec.MsgspecError:
        return "it was declared by another release"
    if was.evaluator != now.evaluator:
        return f"it was judged by {was.evaluator}, this is {now.evaluator}"
    if was.contracts != now.contracts:
        return f"it is under {_names(was.contracts)}, not {_names(now.contracts)}"
    if was.traces != now.traces:
        pairs = zip(was.traces, now.traces, strict=False)
        for old, new in pairs:
            if old != new:
                return f"{old.name} " + ("is not the file it was" if old.name == new.name else f"became {new.name}")
        return f"it is over {len(was.traces)} recorded files, not {len(now.traces)}"
    return "its pace is another one"


def _names(bound: tuple[_Bound, ...]) -> str:
    return ", ".join(f"{each.contract}@{each.version} ({each.digest[:8]})" for each in bound)


def source_of(run: RecordedRun) -> str:
    """Return what names a recorded run in its `run.opened` entry: file digest and ordinal."""
    return f"{run.file_digest}:{run.ordinal}"


def call_of(run: RecordedRun, call: RecordedCall) -> str:
    """Return the action id of a recorded call (file digest, run, ordinal): it can be found again."""
    return f"{run.file_digest}:{run.ordinal}:{call.ordinal}"
