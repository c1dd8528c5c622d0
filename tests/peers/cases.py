"""Honest checkpoints and proofs as the product hands them out, and every way in which one field of them is made wrong.

The judges see texts: tlog-proofs and add-checkpoint requests. A corrupted one is put together here by hand, so that
nothing of ours stands between the fault and the judge.
"""

from __future__ import annotations

import random
from base64 import b64decode, b64encode
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from failwell.core.merkle import leaf_hash
from failwell.core.note import Checkpoint, SignedNote, sign
from failwell.identity import keys
from failwell.ledger.proofs import StoredTree
from tests.peers.logs import Log, some_entries

SIZES = (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 64, 100, 127, 128, 129, 200, 255, 256, 257, 258, 300, 321)
STRANGER = keys.from_seed(b"stranger".ljust(32))


@dataclass(frozen=True)
class Inclusion:
    """Entry `entry` is number `index` of the log of `vkey`."""

    vkey: str
    origin: str
    note: bytes
    index: int
    path: tuple[bytes, ...]
    entry: bytes

    def text(self) -> bytes:
        """The tlog-proof, with the entry in it."""
        head = f"c2sp.org/tlog-proof@v1\nextra {_base64(self.entry)}\nindex {self.index}\n" + _lines(self.path)
        return head.encode() + b"\n" + self.note


@dataclass(frozen=True)
class Growth:
    """The tree of `old` entries with head `old_root` is the beginning of the log of `vkey`."""

    vkey: str
    origin: str
    note: bytes
    old: int
    path: tuple[bytes, ...]
    old_root: bytes

    def text(self) -> bytes:
        """The add-checkpoint request."""
        return f"old {self.old}\n{_lines(self.path)}\n".encode() + self.note


Case = Inclusion | Growth


@dataclass(frozen=True)
class Fault:
    """One thing made wrong in a case. `bare`: also wrong for a judge that sees neither signatures nor origins."""

    what: str
    case: Case
    bare: bool


def _base64(data: bytes) -> str:
    return b64encode(data).decode()


def _lines(path: tuple[bytes, ...]) -> str:
    return "".join(f"{_base64(each)}\n" for each in path)


# ---- honest


def honest_cases(place: Path, rng: random.Random) -> list[Case]:
    """Proofs of three logs at many sizes, out of their ledger files."""
    cases: list[Case] = []
    for number in range(1, 4):
        with Log(place / f"log-{number}", origin=f"failwell.example/log-{number}", seed=number) as log:
            log.grow(some_entries(rng, max(SIZES)))
            tree = StoredTree(log.storage.entry)
            for size in SIZES:
                cases += _of_size(log, tree, size, rng)
    return cases


def _of_size(log: Log, tree: StoredTree, size: int, rng: random.Random) -> Iterator[Case]:
    note, vkey = log.note(size), log.vkey.text()
    for index in {0, size - 1, rng.randrange(size), rng.randrange(size)}:
        proof = tree.prove_entry(index, note)
        case = Inclusion(vkey, log.origin, note, index, proof.path, proof.extra)
        assert case.text() == proof.encode()
        yield case
    for old in {1, size, rng.randrange(1, size + 1), rng.randrange(1, size + 1)}:
        growth = tree.prove_growth(old, note, log.root(old))
        grown = Growth(vkey, log.origin, note, old, growth.path, log.root(old))
        assert grown.text() == growth.encode()
        yield grown


# ---- corrupted


def all_faults(honest: list[Case], rng: random.Random) -> list[Fault]:
    """The faults of all cases, each made with the help of a case of another log."""
    by_log: dict[str, list[Case]] = {}
    for case in honest:
        by_log.setdefault(case.vkey, []).append(case)
    strangers = {vkey: [case for other in by_log if other != vkey for case in by_log[other]] for vkey in by_log}
    return [fault for case in honest for fault in faults(case, rng.choice(strangers[case.vkey]), rng)]


def faults(case: Case, other: Case, rng: random.Random) -> Iterator[Fault]:
    """Every field of a case made wrong; `other` is an honest case of another log and size."""
    for what, note in _faulty_notes(case, other, rng):
        yield Fault(f"note: {what}", replace(case, note=note), bare=False)
    for what, path in _faulty_paths(case, other, rng):
        yield Fault(f"path: {what}", replace(case, path=path), bare=True)
    if isinstance(case, Inclusion):
        size = Checkpoint.parse(SignedNote.parse(case.note).text).size
        for index in {case.index - 1, case.index + 1, case.index ^ 1, case.index ^ 2, size, 2**62} - {case.index}:
            if index >= 0:
                yield Fault("index", replace(case, index=index), bare=True)
        yield Fault("leaf: a bit", replace(case, entry=_flip(case.entry, rng)), bare=True)
        yield Fault("leaf: longer", replace(case, entry=case.entry + b"\0"), bare=True)
        yield Fault("leaf: of another log", replace(case, entry=b"another log's entry"), bare=True)
    else:
        for old in {case.old - 1, case.old + 1, case.old ^ 1, case.old ^ 2, case.old * 2} - {case.old, 0, -1}:
            yield Fault("old size", replace(case, old=old), bare=True)
        yield Fault("old root: a bit", replace(case, old_root=_flip(case.old_root, rng)), bare=True)
        yield Fault("old root: of another log", replace(case, old_root=leaf_hash(b"another log")), bare=True)


def _faulty_notes(case: Case, other: Case, rng: random.Random) -> Iterator[tuple[str, bytes]]:
    parsed = SignedNote.parse(case.note)
    checkpoint = Checkpoint.parse(parsed.text)
    signature = parsed.signatures[0].line()

    def resaid(**fields: object) -> bytes:
        return (replace(checkpoint, **fields).text() + "\n" + signature).encode()  # type: ignore[arg-type]

    yield "size up", resaid(size=checkpoint.size + 1)
    yield "size down", resaid(size=checkpoint.size - 1) if checkpoint.size > 1 else resaid(size=2)
    yield "size in another digit", resaid(size=checkpoint.size + 10)
    yield "root", resaid(root=_flip(checkpoint.root, rng))
    yield "origin", resaid(origin=checkpoint.origin[:-1] + "9")
    yield "an extension line", resaid(extensions=("more",))
    yield from _faulty_signatures(checkpoint.text(), signature, rng)
    yield "of another log", other.note
    yield "signed by a stranger under the log's name", _signed(checkpoint, checkpoint.origin, STRANGER)
    forged = _signed(checkpoint, checkpoint.origin, STRANGER).decode().rpartition(" ")[2]
    id_of_log = b64decode(signature.rpartition(" ")[2])[:4]
    line = f"— {checkpoint.origin} {_base64(id_of_log + b64decode(forged)[4:])}\n"
    yield "signed by a stranger under the log's key id", (checkpoint.text() + "\n" + line).encode()
    yield "another log's signature", (checkpoint.text() + "\n" + _signature_of(other.note)).encode()


def _faulty_signatures(text: str, line: str, rng: random.Random) -> Iterator[tuple[str, bytes]]:
    head, _, encoded = line.rstrip("\n").rpartition(" ")
    data = b64decode(encoded)
    for what, begin, end in (("key id", 0, 4), ("signature, first half", 4, 36), ("signature, second half", 36, 68)):
        at = rng.randrange(begin, end)
        bent = data[:at] + _flip(data[at : at + 1], rng) + data[at + 1 :]
        yield what, f"{text}\n{head} {_base64(bent)}\n".encode()
    yield "signature cut", f"{text}\n{head} {_base64(data[:-1])}\n".encode()
    yield "signature longer", f"{text}\n{head} {_base64(data + b'x')}\n".encode()
    yield "key name", f"{text}\n{head}x {encoded}\n".encode()


def _faulty_paths(case: Case, other: Case, rng: random.Random) -> Iterator[tuple[str, tuple[bytes, ...]]]:
    path = case.path
    for at in range(len(path)):
        yield "a bit", (*path[:at], _flip(path[at], rng), *path[at + 1 :])
        yield "one dropped", (*path[:at], *path[at + 1 :])
        if at:
            yield "two swapped", (*path[: at - 1], path[at], path[at - 1], *path[at + 1 :])
    yield "one too many", (*path, rng.randbytes(32))
    yield "one before", (rng.randbytes(32), *path)
    if path:
        yield "none", ()
        yield "one twice", (path[0], *path)
    if other.path != path:
        yield "another log's", other.path


def _flip(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]


def _signed(checkpoint: Checkpoint, name: str, key: keys.SigningKey) -> bytes:
    return sign(checkpoint.text(), name, key.public, key.sign)


def _signature_of(note: bytes) -> str:
    return SignedNote.parse(note).signatures[0].line()
