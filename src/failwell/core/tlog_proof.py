"""Proofs to carry away: that an entry is in a log, in one file that is verified alone and offline.

Implements C2SP tlog-proof (https://c2sp.org/tlog-proof), RFC 6962 inclusion proofs:

    c2sp.org/tlog-proof@v1
    extra YWdlLXYxLjIuMS1kYXJ3aW4=                     only where there is extra data
    index 73894
    gSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlQ=       the path: the leaf's sibling first,
    B95lDa8R83lS8n0eG+o0buTxRKQTYFi//1U8anccXmA=       the root's child last
                                                       an empty line
    example.com/fancylog                               the checkpoint, a signed note, as the log gave it
    109482
    sFodV/vSp5O8n9a8QpW6PRY97tfOSW5bsc2Xl/EQi08=

    — example.com/fancylog hI2DJw...

Extra data is vouched for by nothing. Failwell puts the entry's own bytes there, so that one file says what was logged;
they count only because they hash to the leaf that is proven. This file needs the standard library only; it does not
decide which keys to trust, and it does not say that the checkpoint is the newest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from failwell.core.errors import InputError
from failwell.core.merkle import HASH_BYTES
from failwell.core.note import (
    MAX_NOTE_BYTES,
    Checkpoint,
    SignedNote,
    VerifierKey,
    Verify,
    from_base64,
    from_decimal,
    open_checkpoint,
    to_base64,
)
from failwell.core.proof import MAX_TREE_SIZE, verify_inclusion

MAX_EXTRA_BYTES: Final = 1_000_000
MAX_PATH: Final = 63
"""Hashes in a path: no tree is higher, sizes being below 2^63."""
MAX_PROOF_BYTES: Final = MAX_NOTE_BYTES + 4 * (MAX_EXTRA_BYTES + 2) // 3 + 10_000

_HEADER: Final = "c2sp.org/tlog-proof@v1"


@dataclass(frozen=True, slots=True)
class TlogProof:
    """An inclusion proof with its checkpoint, not verified: believe nothing in it before `open_proof`.

    `index`: number of the leaf, 0 to 2^63 - 1; `path`: hashes of 32 bytes, from the leaf's side up; `checkpoint`: the
    signed note's bytes; `extra`: bytes that nothing vouches for, b"" for none. Raises InputError (code "tlog-proof",
    or the note's) for values that the format cannot hold.
    """

    index: int
    path: tuple[bytes, ...]
    checkpoint: bytes
    extra: bytes = b""

    def __post_init__(self) -> None:
        if type(self.index) is not int or not 0 <= self.index < MAX_TREE_SIZE:
            raise _malformed("the index is not an integer from 0 to 2^63 - 1")
        if len(self.path) > MAX_PATH or any(type(each) is not bytes or len(each) != HASH_BYTES for each in self.path):
            raise _malformed(f"the path is not at most {MAX_PATH} hashes of {HASH_BYTES} bytes")
        if len(self.extra) > MAX_EXTRA_BYTES:
            raise _malformed(f"{len(self.extra)} bytes of extra data, at most {MAX_EXTRA_BYTES} can be held")
        Checkpoint.parse(SignedNote.parse(self.checkpoint).text)

    @classmethod
    def parse(cls, data: bytes) -> TlogProof:
        """Read proof bytes strictly, so that `parse(data).encode() == data`. Raises InputError for all else."""
        if len(data) > MAX_PROOF_BYTES:
            raise _malformed(f"{len(data)} bytes, at most {MAX_PROOF_BYTES} are read")
        head, separator, checkpoint = data.partition(b"\n\n")
        if not separator or not head.isascii():
            raise _malformed("ASCII lines, an empty line and a checkpoint are needed")
        header, *lines = head.decode("ascii").split("\n")
        if header != _HEADER:
            raise _malformed(f"the first line is not {_HEADER}")
        extra = b""
        if lines and lines[0].startswith("extra "):
            extra = from_base64(lines.pop(0).removeprefix("extra "), "the extra data", code="tlog-proof")
            if not extra:
                raise _malformed("without extra data there is no such line")
        if not lines or not lines[0].startswith("index "):
            raise _malformed("the index is missing")
        index = from_decimal(lines[0].removeprefix("index "), "the index", code="tlog-proof")
        path = tuple(from_base64(line, "a hash of the path", code="tlog-proof") for line in lines[1:])
        return cls(index, path, checkpoint, extra)

    def encode(self) -> bytes:
        """Return the proof's bytes, for a file that ends in `.tlog-proof`."""
        lines = [_HEADER, f"index {self.index}", *map(to_base64, self.path)]
        if self.extra:
            lines.insert(1, f"extra {to_base64(self.extra)}")
        return "".join(f"{line}\n" for line in [*lines, ""]).encode("ascii") + self.checkpoint


def open_proof(
    proof: TlogProof, leaf: bytes, origin: str, verifiers: Sequence[tuple[VerifierKey, Verify]]
) -> Checkpoint:
    """Return the checkpoint of log `origin` under which `leaf` (a 32-byte leaf hash) is shown to be leaf `proof.index`.

    Raises as `note.open_checkpoint` and `proof.verify_inclusion`: Corrupt where signature, origin or path do not hold.
    """
    checkpoint = open_checkpoint(proof.checkpoint, origin, verifiers)
    verify_inclusion(leaf, proof.index, checkpoint.size, proof.path, checkpoint.root)
    return checkpoint


def _malformed(why: str) -> InputError:
    return InputError(f"malformed tlog-proof: {why}", code="tlog-proof")
