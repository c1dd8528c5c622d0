"""The forger: whoever can write the ledger file, and maybe holds the log key too. Works on an image in memory.

What a forger could do honestly is done for them: leaves, subtree hashes, citations, agents' counts, projections and
the signature are all made new, so that what is found is found in what they could not make new.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import apsw
import msgspec

from failwell.core import merkle, note
from failwell.core.instants import format_at, parse_at
from failwell.core.records import Body, Entry, Ref, decode_entry, encode_entry, kind_of
from failwell.core.rows import TABLES, encode_row
from failwell.core.state import State
from failwell.identity import keys
from failwell.node.copies import DiskShelf, read_ledger
from failwell.node.workspace import Workspace
from failwell.verify.anchors import Anchor
from failwell.verify.conduct import BROKEN
from failwell.verify.finding import Report
from failwell.verify.ledger import verify_ledger
from tests.simulate.guards import checkpoint_key

replace = msgspec.structs.replace


class Image:
    """The bytes of a closed workspace's ledger, its log key and its published half."""

    def __init__(self, path: Path) -> None:
        workspace = Workspace(path)
        data = bytearray(workspace.ledger.read_bytes())
        data[18:20] = b"\1\1"  # read without a write-ahead log: an image in memory can have none
        self.data = bytes(data)
        self.log = checkpoint_key(workspace)
        self.log_key = workspace.log_pub.read_text().strip()
        self.origin = workspace.origin()
        self.checkpoint: bytes = Forger(self).one("SELECT note FROM checkpoint")
        self.size: int = Forger(self).one("SELECT count(*) FROM entry")


class Forger:
    """One copy of the image to be tampered with."""

    def __init__(self, image: Image) -> None:
        self.image = image
        self.db = apsw.Connection(":memory:")
        self.db.deserialize("main", image.data)

    def sql(self, text: str, *bindings: Any) -> list[Any]:
        return self.db.execute(text, bindings).fetchall()

    def one(self, text: str, *bindings: Any) -> Any:
        return self.sql(text, *bindings)[0][0]

    def verify(self, *kept: bytes, log_key: str | None = None) -> Report:
        """What `ledger verify` says, with the published log key unless another is given."""
        shelf = DiskShelf(":memory:")
        report = verify_ledger(
            read_ledger(self.db), shelf=shelf, verify=keys.verify, log_key=log_key or self.image.log_key,
            kept=[Anchor(f"checkpoint {number}", each) for number, each in enumerate(kept)],
        )  # fmt: skip
        shelf.close()
        return report

    def entries(self) -> list[Entry[Any]]:
        return [decode_entry(data) for (data,) in self.sql("SELECT data FROM entry ORDER BY seq")]

    def sign(self, size: int, root: bytes) -> bytes:
        """A checkpoint by the log key itself."""
        text = note.Checkpoint(self.image.origin, size, root).text()
        return note.sign(text, self.image.origin, self.image.log.public, self.image.log.sign)

    def root(self, size: int) -> bytes:
        """The tree head over the first `size` entries."""
        return merkle.root_of(leaf for (leaf,) in self.sql("SELECT leaf FROM entry WHERE seq < ? ORDER BY seq", size))

    def store(self, entries: Iterable[Entry[Any]], *, resign: bool) -> None:
        """Put a whole new history in place, with everything that follows from it; `resign` with the log key."""
        leaves: list[str] = []
        tree = merkle.Frontier()
        state: State | None = State()
        rows: dict[tuple[str, Any], Any] = {}
        self.sql("DELETE FROM entry")
        for entry in entries:
            refs = tuple(Ref(ref.origin, ref.seq, leaves[ref.seq]) for ref in entry.refs)
            data = encode_entry(replace(entry, refs=refs))
            leaf = merkle.leaf_hash(data)
            leaves.append(leaf.hex())
            self.sql("INSERT INTO entry VALUES (?, ?, ?, ?)", len(leaves) - 1, data, leaf, b"".join(tree.append(leaf)))
            state = _fold(state, replace(entry, refs=refs), leaf.hex(), rows)
        if state is not None:
            self._project(rows)
        if resign:
            signed = self.sign(len(leaves), tree.root())
            self.sql("UPDATE checkpoint SET size = ?, note = ?", len(leaves), signed)

    def store_bytes(self, texts: Iterable[bytes], *, resign: bool) -> None:
        """Put entries in place that may not even decode: leaves, subtree hashes and signature follow, rows do not."""
        tree = merkle.Frontier()
        self.sql("DELETE FROM entry")
        for data in texts:
            seq, leaf = tree.size, merkle.leaf_hash(data)
            self.sql("INSERT INTO entry VALUES (?, ?, ?, ?)", seq, data, leaf, b"".join(tree.append(leaf)))
        if resign:
            self.sql("UPDATE checkpoint SET size = ?, note = ?", tree.size, self.sign(tree.size, tree.root()))

    def change(self, seq: int, how: Callable[[Entry[Any]], Entry[Any]], *, resign: bool) -> None:
        """Change one entry and everything that can be made to fit it."""
        self.store([how(entry) if entry.seq == seq else entry for entry in self.entries()], resign=resign)

    def append(
        self, body: Body, actor: str, agent: str | None = None, refs: tuple[int, ...] = (), *, later_us: int = 1
    ) -> int:  # fmt: skip
        """Write one more entry as the node would, `later_us` after the last, and sign; its number."""
        entries = self.entries()
        last, seq = entries[-1], len(entries)
        mine = [entry for entry in entries if entry.agent == agent] if agent is not None else []
        kind, v = kind_of(body)
        entry: Entry[Any] = Entry(
            actor=actor, agent=agent, aprev=mine[-1].seq if mine else None, aseq=None if agent is None else len(mine),
            at=format_at(parse_at(last.at) + later_us), blob=None, body=body, boot=last.boot, kind=kind,
            mono_us=last.mono_us + later_us, origin=last.origin, run=None, seq=seq, tokens=(), v=v,
            refs=tuple(Ref(last.origin, cited, "") for cited in refs),
        )  # fmt: skip
        self.store([*entries, entry], resign=True)
        return seq

    def cut(self, size: int, *, resign: bool) -> None:
        """Cut off the end, with the rows that belong to it."""
        self.sql("DELETE FROM blob WHERE seq >= ?", size)
        self.sql("DELETE FROM token WHERE id >= ?", size * 1024)
        self.store(self.entries()[:size], resign=resign)

    def _project(self, rows: dict[tuple[str, Any], Any]) -> None:
        for table in TABLES:
            self.sql(f'DELETE FROM "{table}"')
        for (table, key), row in rows.items():
            self.sql(f'INSERT INTO "{table}" VALUES (?, ?)', key, encode_row(row))


def _fold(state: State | None, entry: Entry[Any], leaf: str, rows: dict[tuple[str, Any], Any]) -> State | None:
    """Fold on as long as it follows; None once it does not, and then the stored rows stay as they were."""
    if state is None:
        return None
    try:
        state.apply(entry, leaf)
    except BROKEN:
        return None
    rows.update(state.drain())
    return state
