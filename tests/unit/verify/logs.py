"""Logs for tests, written and read with the standard library's JSON alone, so that any envelope can be made.

Nothing here knows a kind, an order or a verdict: what is found in such a log is found by the chain and its heads.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from failwell.core import canonical, merkle, note
from failwell.core.instants import format_at
from failwell.identity import keys
from failwell.verify.anchors import Anchor
from failwell.verify.finding import Report
from failwell.verify.record import Ledger, Record, silent

ORIGIN, OTHER = "failwell/aaaaaaaaaaaaaaaa", "failwell/bbbbbbbbbbbbbbbb"
START_US = 1_795_000_000_000_000


class Pair:
    """A checkpoint key under the name of a log."""

    def __init__(self, seed: int, name: str = ORIGIN) -> None:
        self.key = keys.from_seed(bytes([seed]) * 32)
        self.verifier = note.VerifierKey(name, self.key.public)
        self.text = self.verifier.text()


def decode(seq: int, data: bytes) -> Any:
    """Entry `seq` as plain attributes."""
    entry = canonical.decode(data)
    if entry["blob"] is not None:
        entry["blob"] = SimpleNamespace(**entry["blob"])
    return SimpleNamespace(
        **{
            **entry,
            "refs": [SimpleNamespace(origin=origin, seq=cited, leaf=leaf) for origin, cited, leaf in entry["refs"]],
            "body": SimpleNamespace(**entry["body"]),
        }
    )


@dataclass
class Log:
    """One log being written, by whoever holds its keys."""

    pair: Pair = field(default_factory=lambda: Pair(1))
    origin: str = ORIGIN
    entries: list[dict[str, Any]] = field(default_factory=list)
    data: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.add("genesis", format=1, mode="live", log_key=self.pair.text, software="test/1")

    @property
    def size(self) -> int:
        return len(self.data)

    def add(self, kind: str, *, agent: str | None = None, envelope: dict[str, Any] | None = None, **body: Any) -> int:
        """Write one more entry as it should be, but for what `envelope` says; its number."""
        mine = [entry["seq"] for entry in self.entries if entry["agent"] == agent]
        entry = {
            "actor": "node", "agent": agent, "aprev": mine[-1] if agent and mine else None,
            "aseq": len(mine) if agent else None, "at": format_at(START_US + self.size), "blob": None,
            "body": body, "boot": "b" * 32, "kind": kind, "mono_us": self.size, "origin": self.origin, "refs": [],
            "run": None, "seq": self.size, "tokens": [], "v": 1, **(envelope or {}),
        }  # fmt: skip
        self.entries.append(entry)
        self.data.append(canonical.encode(entry))
        return self.size - 1

    def fill(self, count: int) -> None:
        """Write `count` entries that change nothing."""
        for _ in range(count):
            self.add("health", part="store", state="ok", detail="")

    def rotate(self, to: Pair, **change: Any) -> int:
        """Change the key with a true statement, but for what `change` says."""
        statement = note.sign_change(self.pair.verifier, to.verifier, self.pair.key.sign, to.key.sign).decode()
        seq = self.add("log.key", **{"was": self.pair.text, "key": to.text, "statement": statement, **change})
        self.pair = to
        return seq

    def go_on(self, to: Pair, *, ordered: bool = True, **change: Any) -> int:
        """Go on under the origin of `to`, as an order says, but for what `change` says."""
        body = {
            "was": self.origin, "size": self.size, "root": self.root(self.size).hex(), "key": to.text,
            "lost_size": None, "lost_root": None, "lost_note": None, "why": "restored", **change,
        }  # fmt: skip
        at = {"at": format_at(START_US + self.size)}
        self.add("order" if ordered else "health", envelope=at)
        self.origin, self.pair = to.verifier.name, to
        return self.add("continued", envelope=at, **body)

    def root(self, size: int) -> bytes:
        """The tree head over the first `size` entries."""
        return merkle.root_of(merkle.leaf_hash(data) for data in self.data[:size])

    def sign(self, size: int, by: Pair, origin: str | None = None) -> bytes:
        """A checkpoint over the first `size` entries."""
        text = note.Checkpoint(by.verifier.name if origin is None else origin, size, self.root(size)).text()
        return note.sign(text, by.verifier.name, by.key.public, by.key.sign)

    def rows(self) -> list[tuple[int, bytes, bytes, bytes]]:
        """The entry table."""
        tree = merkle.Frontier()
        leaves = [merkle.leaf_hash(data) for data in self.data]
        return [
            (seq, data, leaf, b"".join(tree.append(leaf)))
            for seq, (data, leaf) in enumerate(zip(self.data, leaves, strict=True))
        ]

    def verify(
        self, head: bytes | None = None, *kept: bytes, log_key: str | None = None, rows: Iterable[Any] | None = None,
        checkpoints: Iterable[Any] | None = None,
    ) -> Report:  # fmt: skip
        """What the steps that need the standard library only say; by default all is sealed by the key in force."""
        own = self.sign(self.size, self.pair) if head is None else head
        size = note.Checkpoint.parse(note.SignedNote.parse(own).text).size
        ledger = Ledger(
            entries=self.rows() if rows is None else rows, blobs=[], tokens=[],
            checkpoints=[(1, size, own)] if checkpoints is None else checkpoints, rows=lambda table: [],
        )  # fmt: skip
        record = Record(
            ledger, decode=decode, verify=keys.verify, log_key=log_key or self.pair.text,
            kept=[Anchor(f"kept {number}", each) for number, each in enumerate(kept)],
        )  # fmt: skip
        record.walk(None, silent)
        return record.report(0)
