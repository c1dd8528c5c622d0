"""Verification of a whole ledger from streams of its rows, by somebody who need not trust whoever kept it (R13).

    1 file   2 bytes   3 sequence   4 tree   5 citations   6 head   7 kept checkpoints
    8 orders   9 verdicts   10 reactions   11 blobs and tokens   12 rows

Takes iterables and bytes, opens nothing, writes only to the shelf it is given (a place for rebuilt rows, so that
memory does not grow with the rows; 33 bytes per entry are kept for citations). Everything is collected; nothing stops
at the first finding. It cannot tell what blobs hold, and without a checkpoint kept elsewhere it cannot tell a ledger
that was rewritten whole by whoever holds the log key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from failwell.core.errors import Corrupt
from failwell.core.rows import encode_row
from failwell.verify.anchors import Anchor, Anchors, VerifySignature
from failwell.verify.bound import Beside, Shelf, compare_rows
from failwell.verify.chain import Chain
from failwell.verify.conduct import Conduct
from failwell.verify.finding import (
    BOUND,
    BYTES,
    CITATIONS,
    FILE,
    ORDERS,
    REACTIONS,
    ROWS,
    VERDICTS,
    Findings,
    Report,
)

#: Rebuilt rows held in memory before they go to the shelf.
_HELD_ROWS = 4096

Object = tuple[str, str, str | None]


class Ledger(NamedTuple):
    """The rows of one ledger, each table in the order of its key. An iterable that cannot be read on raises Corrupt.

    `entries` (seq, data, leaf, nodes) · `blobs` (seq, ciphertext, wrapped) · `tokens` (id, token, lookup, sealed) ·
    `checkpoints` (id, size, note) · `rows(table)` (key, text) · `objects` what the file declares, beside what it
    should (`declared`), and `complaints` its own integrity check's; None where there is no file.
    """

    entries: Iterable[Any]
    blobs: Iterable[Any]
    tokens: Iterable[Any]
    checkpoints: Iterable[Any]
    rows: Callable[[str], Iterable[Any]]
    objects: Iterable[Object] | None = None
    declared: Iterable[Object] = ()
    complaints: Iterable[str] = ()


def verify_ledger(
    ledger: Ledger, *, shelf: Shelf, verify: VerifySignature, log_key: str | None, kept: Iterable[Anchor] = ()
) -> Report:
    """Verify everything that can be verified without opening blobs.

    `verify(public, message, signature)` checks Ed25519; `log_key` is the C2SP vkey of the log, from outside the
    ledger; `kept` are checkpoints from elsewhere. Raises nothing for what the ledger holds: all of it is findings.
    """
    findings = Findings()
    _check_file(findings, ledger)
    anchors = Anchors(findings, log_key, verify, kept)
    anchors.take_own(_until_corrupt(findings, FILE, "checkpoint", ledger.checkpoints))
    chain = Chain(findings, anchors.sizes)
    conduct = Conduct(findings, verify)
    beside = Beside(findings, ledger.blobs, ledger.tokens)
    _walk(findings, ledger.entries, chain, conduct, beside, shelf)
    chain.end(sealed=anchors.seals(chain.size, chain.roots))
    anchors.compare(chain.size, chain.roots, chain.broken_at)
    anchors.compare_genesis(chain.genesis, chain.origin)
    rows = _compare_rows(findings, chain, conduct, shelf, ledger)
    _details(findings, chain, conduct, beside, rows)
    root = chain.root()
    blobs, tokens = beside.counts
    return findings.report(
        entries=chain.rows, origin=chain.origin, root=None if root is None else root.hex(), size=chain.size,
        read={"entries": chain.rows, "blobs": blobs, "tokens": tokens, "rows": rows},
    )  # fmt: skip


def _walk(
    findings: Findings, entries: Iterable[Any], chain: Chain, conduct: Conduct, beside: Beside, shelf: Shelf
) -> None:  # fmt: skip
    for row in _entries(findings, chain, conduct, entries):
        before = chain.size
        read = chain.take(row)
        for missing in range(before, min(chain.size - 1, before + _HELD_ROWS)):
            conduct.stop(missing)
            beside.pass_over(missing)
        if read is None:
            conduct.stop(before)
            if chain.size > before:
                beside.pass_over(chain.size - 1)
            continue
        entry, leaf = read
        if entry.seq == chain.size - 1:
            beside.take(entry)
        else:
            conduct.stop(before)
            beside.pass_over(chain.size - 1)
        conduct.take(entry, leaf)
        if len(conduct.made) >= _HELD_ROWS:
            _lay_down(conduct, shelf)
    conduct.end()
    beside.end(chain.size)
    _lay_down(conduct, shelf)


def _entries(findings: Findings, chain: Chain, conduct: Conduct, entries: Iterable[Any]) -> Iterator[Any]:
    try:
        yield from entries
    except Corrupt as error:
        conduct.stop(chain.size)
        chain.break_off()
        findings.add(BYTES, "entry.unreadable", f"entry {chain.size} cannot be read: {error.message}", entry=chain.size)


def _lay_down(conduct: Conduct, shelf: Shelf) -> None:
    shelf.put((table, key, encode_row(row), seq) for (table, key), (row, seq) in conduct.made.items())
    conduct.made.clear()


def _check_file(findings: Findings, ledger: Ledger) -> None:
    """The file's own structure, and that it declares nothing of its own, such as a view over what is read."""
    for complaint in ledger.complaints:
        findings.add(FILE, "file.integrity", f"SQLite: {complaint}")
    if ledger.objects is None:
        findings.uncheckable(FILE, "no file was given, only rows")
        return
    here, wanted = set(ledger.objects), set(ledger.declared)
    for kind, name, _ in sorted(here - wanted, key=str):
        changed = any(other[:2] == (kind, name) for other in wanted)
        what = "is declared otherwise than this layout declares it" if changed else "is not part of this layout"
        findings.add(FILE, "file.object", f"{kind} {name} {what}", table=str(name))
    for kind, name, _ in sorted(wanted - here, key=str):
        if not any(other[:2] == (kind, name) for other in here):
            findings.add(FILE, "file.object", f"{kind} {name} is missing", table=str(name))


def _compare_rows(findings: Findings, chain: Chain, conduct: Conduct, shelf: Shelf, ledger: Ledger) -> int:
    if conduct.broken_at is not None:
        why = f"the entries stop following from each other at entry {conduct.broken_at}"
        for step in (ORDERS, VERDICTS, REACTIONS, ROWS):
            findings.uncheckable(step, why)
        return 0
    return compare_rows(findings, chain.size, shelf, ledger.rows)


def _until_corrupt(findings: Findings, step: int, table: str, rows: Iterable[Any]) -> list[Any]:
    read: list[Any] = []
    try:
        read.extend(rows)
    except Corrupt as error:
        findings.add(step, f"{table}.unreadable", f"table {table} cannot be read: {error.message}", table=table)
    return read


def _details(findings: Findings, chain: Chain, conduct: Conduct, beside: Beside, rows: int) -> None:
    blobs, tokens = beside.counts
    findings.detail(BYTES, f"{chain.rows} entries")
    findings.detail(CITATIONS, f"{chain.cited} citations")
    findings.detail(VERDICTS, f"{conduct.decided} verdicts")
    findings.detail(REACTIONS, f"{conduct.reacted} reactions")
    findings.detail(ORDERS, f"{conduct.powers.count} orders")
    findings.detail(BOUND, f"{blobs} blobs, {tokens} tokens")
    findings.detail(ROWS, f"{rows} rows")
