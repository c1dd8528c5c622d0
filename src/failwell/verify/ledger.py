"""Verification of a whole ledger from streams of its rows, by somebody who need not trust whoever kept it (R13).

`record` walks entries, what lies beside them and their heads; here their conduct follows behind
(8 orders, 9 verdicts, 10 reactions), and the rows that must follow from it (12).

Takes iterables and bytes, opens nothing, writes only to the shelf it is given (a place for rebuilt rows, so that
memory does not grow with the rows; 33 bytes per entry are kept). Everything is collected; nothing stops at the first
finding. It cannot tell what blobs hold, and without a checkpoint kept elsewhere it cannot tell a ledger that was
rewritten whole by whoever holds the log key.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from failwell.core.cosignature import CosignerKey
from failwell.core.records import Entry, decode_entry
from failwell.core.rows import encode_row
from failwell.verify.anchors import Anchor, VerifySignature
from failwell.verify.conduct import Conduct
from failwell.verify.envelope import Decode
from failwell.verify.finding import ORDERS, REACTIONS, ROWS, VERDICTS, Findings, Report
from failwell.verify.holds import LookAt, copy_faults
from failwell.verify.rebuilt import Shelf, compare_rows
from failwell.verify.record import ROWS_PHASE, Ledger, Record, Tell, silent

__all__ = ["Ledger", "Shelf", "verify_ledger"]

#: Rebuilt rows held in memory before they go to the shelf.
_HELD_ROWS = 4096


def verify_ledger(
    ledger: Ledger, *, shelf: Shelf, verify: VerifySignature, log_key: str | None, kept: Iterable[Anchor] = (),
    witnesses: Sequence[CosignerKey] = (), unread: str | None = None, copies: LookAt | None = None,
    tell: Tell = silent,
) -> Report:  # fmt: skip
    """Verify everything that can be verified without opening blobs.

    `verify(public, message, signature)` checks Ed25519; `log_key` is the C2SP vkey of the log, from outside the
    ledger; `kept` are checkpoints from elsewhere, `witnesses` the known keys that may have cosigned them, `unread` is
    why what the guard remembers is not among them; `copies` says what is wrong with a copy of a directory that a hold
    preserved; `tell` is told of progress. Raises nothing for what the ledger holds: all of it is findings.
    """
    record: Record[Entry[Any]] = Record(
        ledger, decode=_decoder(), verify=verify, log_key=log_key, kept=kept, witnesses=witnesses, unread=unread
    )
    conduct = Conduct(record.findings, verify)
    record.walk(_Behind(conduct, shelf), tell)
    size = record.chain.size
    if record.chain.broken_at is not None:
        conduct.stop(record.chain.broken_at)
    conduct.end()
    rows = _compare_rows(record.findings, size, conduct, shelf, ledger)
    if copies is not None and conduct.broken_at is None:
        copy_faults(record.findings, conduct.state.hold, copies)
    tell(ROWS_PHASE, size)
    record.findings.detail(VERDICTS, f"{conduct.decided} verdicts")
    record.findings.detail(REACTIONS, f"{conduct.reacted} reactions")
    record.findings.detail(ORDERS, f"{conduct.powers.count} orders")
    record.findings.detail(ROWS, f"{rows} rows")
    return record.report(rows)


class _Behind:
    """The conduct behind the chain; rows that it makes go to the shelf before they fill memory."""

    def __init__(self, conduct: Conduct, shelf: Shelf) -> None:
        self._conduct = conduct
        self._shelf = shelf
        self.stop = conduct.stop

    def take(self, entry: Entry[Any], leaf: bytes) -> None:
        self._conduct.take(entry, leaf.hex())
        if len(self._conduct.made) >= _HELD_ROWS:
            lay_down(self._conduct, self._shelf)


def lay_down(conduct: Conduct, shelf: Shelf) -> None:
    """Put the rows made since the last time on the shelf."""
    shelf.put((table, key, encode_row(row), seq) for (table, key), (row, seq) in conduct.made.items())
    conduct.made.clear()


def _decoder() -> Decode[Entry[Any]]:
    buffer = bytearray()

    def decode(seq: int, data: bytes) -> Entry[Any]:
        return decode_entry(data, buffer)

    return decode


def _compare_rows(findings: Findings, size: int, conduct: Conduct, shelf: Shelf, ledger: Ledger) -> int:
    if conduct.broken_at is not None:
        why = f"the entries stop following from each other at entry {conduct.broken_at}"
        for step in (ORDERS, VERDICTS, REACTIONS, ROWS):
            findings.uncheckable(step, why)
        return 0
    lay_down(conduct, shelf)
    return compare_rows(findings, size, shelf, ledger.rows)
