"""Growth to show: that a newer checkpoint only appended to an older one, in the text that witnesses are asked with.

Implements the request body of `add-checkpoint` in C2SP tlog-witness (https://c2sp.org/tlog-witness), which is the one
C2SP format that holds a consistency proof (RFC 6962, 2.1.2):

    old 20852014                                       size of the older tree
    PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=       the path
    jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=
                                                       an empty line
    example.com/behind-the-sofa                        the newer checkpoint, a signed note
    20852163
    CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

    — example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1M...

This file needs the standard library only. It sends nothing: it is the text, and its verification against a root that
the reader kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from failwell.core.errors import InputError
from failwell.core.merkle import HASH_BYTES
from failwell.core.note import (
    Checkpoint,
    SignedNote,
    VerifierKey,
    Verify,
    from_base64,
    from_decimal,
    open_checkpoint,
    to_base64,
)
from failwell.core.proof import MAX_TREE_SIZE, verify_consistency
from failwell.core.tlog_proof import MAX_PATH


@dataclass(frozen=True, slots=True)
class AddCheckpoint:
    """A checkpoint and the proof that it extends the tree of `old` leaves, not verified before `open_growth`.

    `path`: at most 63 hashes of 32 bytes; `checkpoint`: the signed note's bytes. Raises InputError (code
    "add-checkpoint", or the note's) for values that the text cannot hold, and for an old size beyond the checkpoint's.
    """

    old: int
    path: tuple[bytes, ...]
    checkpoint: bytes

    def __post_init__(self) -> None:
        if type(self.old) is not int or not 0 <= self.old < MAX_TREE_SIZE:
            raise _malformed("the old size is not an integer from 0 to 2^63 - 1")
        if len(self.path) > MAX_PATH or any(type(each) is not bytes or len(each) != HASH_BYTES for each in self.path):
            raise _malformed(f"the path is not at most {MAX_PATH} hashes of {HASH_BYTES} bytes")
        size = Checkpoint.parse(SignedNote.parse(self.checkpoint).text).size
        if self.old > size:
            raise _malformed(f"the old size {self.old} is beyond the checkpoint's {size}")

    @classmethod
    def parse(cls, data: bytes) -> AddCheckpoint:
        """Read request bytes strictly, so that `parse(data).encode() == data`. Raises InputError for all else."""
        head, separator, checkpoint = data.partition(b"\n\n")
        if not separator or not head.isascii():
            raise _malformed("ASCII lines, an empty line and a checkpoint are needed")
        first, *lines = head.decode("ascii").split("\n")
        if not first.startswith("old ") or len(lines) > MAX_PATH:
            raise _malformed(f"one line with the old size and at most {MAX_PATH} hashes are needed")
        old = from_decimal(first.removeprefix("old "), "the old size", code="add-checkpoint")
        path = tuple(from_base64(line, "a hash of the path", code="add-checkpoint") for line in lines)
        return cls(old, path, checkpoint)

    def encode(self) -> bytes:
        """Return the request's bytes."""
        lines = (f"old {self.old}", *map(to_base64, self.path), "")
        return "".join(f"{line}\n" for line in lines).encode("ascii") + self.checkpoint


def open_growth(
    growth: AddCheckpoint, old_root: bytes, origin: str, verifiers: Sequence[tuple[VerifierKey, Verify]]
) -> Checkpoint:
    """Return the newer checkpoint of log `origin`, shown to extend the tree of `growth.old` leaves with `old_root`.

    Raises as `note.open_checkpoint` and `proof.verify_consistency`.
    """
    checkpoint = open_checkpoint(growth.checkpoint, origin, verifiers)
    verify_consistency(growth.old, old_root, checkpoint.size, checkpoint.root, growth.path)
    return checkpoint


def _malformed(why: str) -> InputError:
    return InputError(f"malformed add-checkpoint request: {why}", code="add-checkpoint")
