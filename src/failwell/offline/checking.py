"""One verification from end to end: opens what was given, takes every step that can be taken here, and says the rest.

The steps are those of `verify` and their code is the same as under `failwell ledger verify`; only the decoder is
another one (`entries`). What needs the rules by which verdicts were made is not part of this verifier and is reported
as not checkable, never as proved.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from failwell.core import cosignature
from failwell.core.errors import Corrupt
from failwell.core.extract import Extract
from failwell.offline import attested, entries, reading
from failwell.offline.collector import without_collector
from failwell.offline.database import LedgerFile
from failwell.offline.hashes import verify_hashes
from failwell.offline.orders import Orders
from failwell.offline.tile_files import TileDirectory
from failwell.verify.anchors import Anchor, VerifySignature
from failwell.verify.extract import verify_extract
from failwell.verify.extract_report import HEAD as EXTRACT_HEAD
from failwell.verify.finding import HEAD, NOT_PROVED, PROVED, REACTIONS, ROWS, VERDICTS, Report, Step, unreadable
from failwell.verify.record import Ledger, Record, Tell

FULL: Final = "full"
HASH_ONLY: Final = "hash-only"
_NEEDS_RULES: Final = "needs the rules that were in force, which an installed failwell ledger verify has"


class Asked(NamedTuple):
    """What to verify, and against what. `key`: the log's vkey, None where the caller wants to do without."""

    given: reading.Given
    key: str | None
    kept: Sequence[Anchor]
    witnesses: Sequence[cosignature.CosignerKey]
    stamp: Path | None
    authority: Path | None
    mode: str
    verify: VerifySignature


class Outcome(NamedTuple):
    """A report (of a ledger or of an extract), what others attest beside it, and how long it took.

    `vouched`: the key from outside vouches for the newest head here; also False where none was asked for.
    `elapsed_s` is by the clock, `cpu_s` of the processor.
    """

    report: Any
    vouched: bool
    attested: tuple[Step, ...]
    unknown: dict[tuple[str, int], int]
    elapsed_s: float
    cpu_s: float

    @property
    def ok(self) -> bool:
        return bool(self.report.ok) and all(step.state != NOT_PROVED for step in self.attested)


def check(asked: Asked, tell: Tell) -> Outcome:
    """Verify what was asked; everything that does not hold is in the outcome.

    Raises InputError for an extract that cannot be opened as a file, Unhealthy where this machine cannot do it.
    """
    began, cpu_began = time.monotonic(), time.process_time()
    unknown: dict[tuple[str, int], int] = {}
    heads: list[Anchor] = list(asked.kept)
    try:
        with without_collector():
            report = _OPENED[asked.given.kind](asked, heads, unknown, tell)
    except Corrupt as error:
        report = unreadable(error.message)
    elapsed_s, cpu_s = time.monotonic() - began, time.process_time() - cpu_began
    first = report.checks[-1].number + 1
    steps = [attested.check_witness(first + at, key, heads, asked.verify) for at, key in enumerate(asked.witnesses)]
    if asked.stamp is not None:
        steps.append(attested.check_timestamp(first + len(steps), asked.stamp, asked.authority, heads))
    head = HEAD if isinstance(report, Report) else EXTRACT_HEAD
    vouched = next(step.state for step in report.checks if step.number == head) == PROVED
    return Outcome(report, vouched, tuple(steps), unknown, elapsed_s, cpu_s)


def _database(asked: Asked, heads: list[Anchor], unknown: dict[tuple[str, int], int], tell: Tell) -> Report:
    with LedgerFile(asked.given.path) as file:
        return _ledger(file.ledger(whole=asked.mode == FULL), asked, heads, unknown, tell)


def _tiles(asked: Asked, heads: list[Anchor], unknown: dict[tuple[str, int], int], tell: Tell) -> Report:
    return _ledger(TileDirectory(asked.given.path).ledger(), asked, heads, unknown, tell)


def _extract(asked: Asked, heads: list[Anchor], unknown: dict[tuple[str, int], int], tell: Tell) -> Any:
    data = reading.read_bytes(asked.given.path, "extract")
    report = verify_extract(
        data, decode=entries.decode_entry, verify=asked.verify, log_key=asked.key or "", kept=asked.kept
    )
    if report.size:
        heads.append(Anchor("of the extract", Extract.parse(data).checkpoint))
    return report


_OPENED: Final = {reading.DATABASE: _database, reading.TILES: _tiles, reading.EXTRACT: _extract}


def _ledger(
    ledger: Ledger, asked: Asked, heads: list[Anchor], unknown: dict[tuple[str, int], int], tell: Tell
) -> Report:  # fmt: skip
    own = _own_head(ledger)
    heads += [Anchor("of the log itself", row[2]) for row in own if len(row) == 3 and type(row[2]) is bytes]
    ledger = ledger._replace(checkpoints=own)
    if asked.mode == HASH_ONLY:
        return verify_hashes(ledger, verify=asked.verify, log_key=asked.key, kept=asked.kept, tell=tell)
    record: Record[entries.Entry] = Record(
        ledger, decode=entries.decode_entry, verify=asked.verify, log_key=asked.key, kept=asked.kept
    )
    orders = Orders(record.findings, asked.verify, entries.KNOWN)
    record.walk(orders, tell)
    orders.end()
    unknown |= orders.unknown
    for step in (VERDICTS, REACTIONS, ROWS):
        record.findings.uncheckable(step, _NEEDS_RULES)
    return record.report(rows=0)


def _own_head(ledger: Ledger) -> list[Any]:
    """The rows of the checkpoint table; none where it cannot be read, which is a finding as if it were empty."""
    try:
        return list(ledger.checkpoints)
    except Corrupt:
        return []
