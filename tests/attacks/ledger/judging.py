"""What an outsider holds before the attack, and how a verification after it is judged and counted.

`Ground` is one honest, closed ledger with its published key, a checkpoint that somebody kept at every size, and the
inclusion proof of every entry, carried away in time. `caught` asserts that an attack was found and located;
`undetected` that it was not, where docs/threats.md says so; `fair` that an honest ledger is accused of nothing.
All three count, and the totals are printed after the tests. Nothing here attacks: see `unit.verify.forgery`.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Final

import apsw

from failwell.core import merkle, note, proof
from failwell.core.errors import Corrupt
from failwell.core.rows import TABLES
from failwell.core.tokens import MAX_TOKENS
from failwell.identity import keys
from failwell.verify.finding import KEPT, ROWS, Findings, Report
from failwell.verify.ledger import Ledger, verify_ledger
from failwell.verify.rebuilt import compare_rows
from tests.unit.verify.forgery import Forger, Image

#: Every table of the file: its columns, the key first.
COLUMNS: Final = {
    "entry": ("seq", "data", "leaf", "nodes"),
    "blob": ("seq", "ciphertext", "wrapped"),
    "token": ("id", "token", "lookup", "sealed"),
    "checkpoint": ("id", "size", "note"),
    **{table: ("key", "row") for table in TABLES},
}


class Tally:
    """Cases that were judged, by what was to come of them."""

    def __init__(self) -> None:
        self.attacks = self.detected = 0
        self.beyond = self.unseen = 0
        self.honest = self.accused = 0

    def line(self) -> str:
        """One line for the end of the run."""
        return (
            f"threats: {self.detected} of {self.attacks} attack cases detected where the table says so; "
            f"{self.unseen} of {self.beyond} undetected where the table says so; "
            f"{self.accused} of {self.honest} honest variants accused"
        )


TALLY: Final = Tally()


def caught(
    report: Report,
    *,
    entry: int | None = None,
    within: tuple[int, int] | None = None,
    row: tuple[str, Any] | None = None,
    code: str | None = None,
) -> None:
    """The attack was found. `entry`: this one alone is proven bad. `within`: the range named is not wider and holds it.

    `row`: this row of a projection is named. `code`: there is a finding of this code.
    """
    TALLY.attacks += 1
    assert not report.ok, "the attack was not noticed"
    first = report.findings[0]
    if entry is not None:
        assert (first.entry, first.first, first.last) == (entry, entry, entry), first
        assert report.good == entry, (report.good, first)
    if within is not None:
        assert first.first is not None, first
        assert first.last is not None, first
        assert within[0] <= first.first <= first.last <= within[1], first
    if row is not None:
        assert first.step == ROWS, first
        assert row in {(each.table, each.key) for each in report.findings}, report.findings
    if code is not None:
        assert code in report.counts, report.counts
    TALLY.detected += 1


def undetected(report: Report) -> None:
    """It passes, and docs/threats.md says so: the claim ends here. Without a kept checkpoint the report itself says
    that this step could not be made."""
    TALLY.beyond += 1
    assert report.ok, report.findings
    TALLY.unseen += 1


def kept_unchecked(report: Report) -> bool:
    """Whether the report says that no checkpoint from elsewhere was there to hold the ledger against."""
    return report.checks[KEPT - 1].state == "not checkable"


def fair(report: Report) -> None:
    """An honest ledger, accused of nothing."""
    TALLY.honest += 1
    if not report.ok:
        TALLY.accused += 1
    assert report.ok, report.findings


#: Checked once: the same signatures stand in thousands of variants of one ledger.
_verified = cache(keys.verify)


class Held:
    """`verify.rebuilt.Shelf` in memory: a ledger of a hundred entries is judged faster than a file is set up."""

    def __init__(self) -> None:
        self._made: dict[str, dict[Any, tuple[Any, str, int]]] = {table: {} for table in TABLES}

    def put(self, rows: Iterable[tuple[str, Any, str, int]]) -> None:
        for table, *row in rows:
            self._made[table][row[0]] = (row[0], row[1], row[2])

    def rows(self, table: str) -> list[tuple[Any, str, int]]:
        made = self._made[table]
        return [made[key] for key in sorted(made, key=lambda key: key if isinstance(key, int) else key.encode())]


class Ground:
    """One honest ledger of a closed workspace, and what outsiders hold of it."""

    def __init__(self, workspace: Path) -> None:
        self.workspace = workspace
        self.image = Image(workspace)
        self.size = self.image.size
        honest = Forger(self.image)
        self.entries = honest.entries()
        self.data: list[bytes] = [data for (data,) in honest.sql("SELECT data FROM entry ORDER BY seq")]
        self.leaves = [merkle.leaf_hash(data) for data in self.data]
        frontier = merkle.Frontier()
        self.roots = [frontier.root()]
        for leaf in self.leaves:
            frontier.append(leaf)
            self.roots.append(frontier.root())
        self.rows: dict[str, list[Any]] = {
            table: honest.sql(f'SELECT * FROM "{table}" ORDER BY {columns[0]}') for table, columns in COLUMNS.items()
        }
        get = hashes(honest)
        self.paths = [merkle.inclusion_path(seq, self.size, get) for seq in range(self.size)]

    def forger(self) -> Forger:
        """A fresh copy for one attack."""
        return Forger(self.image)

    def kept(self, size: int | None = None) -> bytes:
        """The checkpoint that the log signed when it had `size` entries (all of them), kept by another party."""
        if size is None or size == self.size:
            return self.image.checkpoint
        return Forger(self.image).sign(size, self.roots[size])

    def judge(self, rows: dict[str, list[Any]]) -> Report:
        """Verify rows as they are, without a file around them: faster where a table is tried byte by byte."""
        return self._judge(rows, Held())

    def judge_rows(self, rows: dict[str, list[Any]]) -> Report:
        """The last step of that alone: for rows of which only projections differ from those of the honest ledger."""
        findings = Findings()
        compare_rows(findings, self.size, self._rebuilt, rows.__getitem__)
        return findings.report(entries=self.size, origin=self.image.origin, root=None, size=self.size, read={})

    @cached_property
    def _rebuilt(self) -> Held:
        """What the honest entries make of the projections."""
        shelf = Held()
        assert self._judge(self.rows, shelf).ok
        return shelf

    def _judge(self, rows: dict[str, list[Any]], shelf: Held) -> Report:
        ledger = Ledger(
            entries=rows["entry"], blobs=rows["blob"], tokens=rows["token"], checkpoints=rows["checkpoint"],
            rows=rows.__getitem__,
        )  # fmt: skip
        return verify_ledger(ledger, shelf=shelf, verify=_verified, log_key=self.image.log_key)

    @cached_property
    def head(self) -> note.Checkpoint:
        """What the newest kept checkpoint says, opened with the published key alone."""
        key = note.VerifierKey.parse(self.image.log_key)
        return note.open_checkpoint(self.kept(), self.image.origin, [(key, keys.verify)])

    def proving(self, forger: Forger) -> set[int]:
        """Entries of the tampered file that prove against the kept checkpoint by the hashes left in the file."""
        get = hashes(forger)
        return {seq for seq, data in _data(forger) if self._proves(seq, data, get)}

    def _proves(self, seq: int, data: bytes, get: merkle.Get) -> bool:
        head = self.head
        try:
            path = merkle.inclusion_path(seq, head.size, get)
            proof.verify_inclusion(merkle.leaf_hash(data), seq, head.size, path, head.root)
        except (Corrupt, LookupError):
            return False
        return True

    def hold(self, forger: Forger) -> None:
        """Whatever was done to the others: an entry whose bytes still stand at its number proves against the kept
        checkpoint by the proof that was carried away in time, and nothing else does."""
        for seq, data in _data(forger):
            if not 0 <= seq < self.size:
                continue
            try:
                proof.verify_inclusion(merkle.leaf_hash(data), seq, self.size, self.paths[seq], self.head.root)
            except Corrupt:
                assert data != self.data[seq], f"entry {seq} was not touched, yet does not prove"
            else:
                assert data == self.data[seq], f"entry {seq} was touched, yet proves"


def hashes(forger: Forger) -> merkle.Get:
    """The subtree hashes as the file has them; LookupError where a row that held one is gone."""
    rows = {seq: (leaf, nodes) for seq, leaf, nodes in forger.sql("SELECT seq, leaf, nodes FROM entry")}

    def get(level: int, index: int) -> bytes:
        leaf, nodes = rows[(index + 1 << level) - 1]
        return bytes(leaf if level == 0 else nodes[(level - 1) * 32 : level * 32])

    return get


def _data(forger: Forger) -> list[tuple[int, bytes]]:
    rows: list[tuple[int, bytes]] = forger.sql("SELECT seq, data FROM entry ORDER BY seq")
    return rows


def entry_of(table: str, key: Any) -> int | None:
    """The entry that must be named for a row of a table, where its key tells."""
    if table in ("entry", "blob"):
        return int(key)
    return int(key) // MAX_TOKENS if table == "token" else None


def told(report: Report, table: str, key: Any) -> None:
    """Found and named: its entry where the row belongs to one, the row of a projection, entry 0 for the checkpoint."""
    expected = entry_of(table, key)
    if expected is not None:
        caught(report, entry=expected)
    elif table == "checkpoint":
        caught(report)
    else:
        caught(report, row=(table, key))


def logical(path: Path) -> Any:
    """Everything a file says, table by table; None where SQLite cannot say it."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
    try:
        return [connection.execute(f'SELECT * FROM "{table}"').fetchall() for table in (*COLUMNS, "sqlite_schema")]
    except (apsw.Error, UnicodeDecodeError):
        return None
    finally:
        connection.close()
