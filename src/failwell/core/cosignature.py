"""Cosignatures: what witnesses add to a checkpoint, each with the time at which it had seen the log only grow.

Implements the Ed25519 form of C2SP tlog-cosignature (https://c2sp.org/tlog-cosignature), signature type 0x04.
A cosignature is one more signature line of the checkpoint's note,

    — witness.example.com/w1 jWbPPwAAAABkGFDLEZMH...   em dash, key name,
                                                       base64(key id || u64 timestamp || signature)

and what is signed is not the note's text alone:

    cosignature/v1                                     so that it can never pass as a log's own signature
    time 1679315147                                    POSIX seconds
    example.com/behind-the-sofa                        the whole text of the checkpoint
    20852163
    CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

The cryptography is passed in, as in `note`; this file needs the standard library only. It reads no clock: who
judges how old or how far in the future a timestamp is has it here. It does not ask witnesses and does not decide
how many of them are enough.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from failwell.core.errors import Corrupt, InputError
from failwell.core.note import (
    SIGNATURE_BYTES,
    Checkpoint,
    Sign,
    Signature,
    SignedNote,
    VerifierKey,
    Verify,
    open_checkpoint,
)

MAX_TIMESTAMP: Final = 2**63 - 1

_HEADER: Final = "cosignature/v1"
_TIMESTAMP_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class CosignerKey(VerifierKey):
    """A witness's named Ed25519 public key; its vkey has type 0x04. Raises InputError for a bad name or length.

    The signed text does not hold the key's name: one key must not cosign under two names.
    """

    TYPE: ClassVar[bytes] = b"\x04"


@dataclass(frozen=True, slots=True)
class Cosignature:
    """One cosignature, not verified: believe nothing in it before `open_cosigned`.

    `timestamp`: POSIX seconds, 0 to 2^63 - 1; `signature`: 64 bytes. Raises InputError (code "cosignature").
    """

    name: str
    key_id: bytes
    timestamp: int
    signature: bytes

    def __post_init__(self) -> None:
        if type(self.timestamp) is not int or not 0 <= self.timestamp <= MAX_TIMESTAMP:
            raise _malformed("the timestamp is not an integer from 0 to 2^63 - 1")
        if len(self.signature) != SIGNATURE_BYTES:
            raise _malformed(f"a cosignature holds {SIGNATURE_BYTES} bytes of Ed25519, not {len(self.signature)}")
        self._as_signature()

    @classmethod
    def read(cls, signature: Signature) -> Cosignature:
        """Take a note's signature apart. Raises InputError unless it is a timestamp and 64 bytes."""
        data = signature.signature
        if len(data) != _TIMESTAMP_BYTES + SIGNATURE_BYTES:
            raise _malformed(f"{len(data)} bytes are no timestamp and Ed25519 signature")
        timestamp = int.from_bytes(data[:_TIMESTAMP_BYTES], "big")
        return cls(signature.name, signature.key_id, timestamp, data[_TIMESTAMP_BYTES:])

    @classmethod
    def parse(cls, line: str) -> Cosignature:
        """Read one line as a witness answers it, with its newline, so that `parse(line).line() == line`."""
        body = line.removesuffix("\n")
        if body == line:
            raise _malformed("the line does not end in a newline")
        return cls.read(Signature.parse(body))

    def line(self) -> str:
        """Return the signature line with its newline."""
        return self._as_signature().line()

    def _as_signature(self) -> Signature:
        return Signature(self.name, self.key_id, self.timestamp.to_bytes(_TIMESTAMP_BYTES, "big") + self.signature)


@dataclass(frozen=True, slots=True)
class Witnessed:
    """A cosignature that holds: by `key`, `timestamp` POSIX seconds."""

    key: CosignerKey
    timestamp: int


def message(text: str, timestamp: int) -> bytes:
    """Return the bytes that a witness signs for the checkpoint `text` at `timestamp`."""
    return f"{_HEADER}\ntime {timestamp}\n{text}".encode()


def cosign(data: bytes, key: CosignerKey, timestamp: int, sign_function: Sign) -> Cosignature:
    """Return the cosignature of `key` over the checkpoint note `data` at `timestamp` (POSIX seconds).

    That the checkpoint is signed by its log and grew from the last one is the caller's to have shown. Raises
    InputError for a malformed checkpoint or timestamp.
    """
    text = SignedNote.parse(data).text
    Checkpoint.parse(text)  # a witness signs tree heads, never other texts
    if type(timestamp) is not int or not 0 <= timestamp <= MAX_TIMESTAMP:
        raise _malformed("the timestamp is not an integer from 0 to 2^63 - 1")
    return Cosignature(key.name, key.key_id, timestamp, sign_function(message(text, timestamp)))


def add(data: bytes, *cosignatures: Cosignature) -> bytes:
    """Return the checkpoint note `data` with more signature lines; nothing is verified.

    Raises InputError for a malformed checkpoint, and for a second signature under one name and key id: a note that
    holds two is refused by `open_note`.
    """
    note = SignedNote.parse(data)
    Checkpoint.parse(note.text)
    signatures = list(note.signatures)
    for each in cosignatures:
        if any((other.name, other.key_id) == (each.name, each.key_id) for other in signatures):
            raise _malformed(f"{each.name}+{each.key_id.hex()} has signed this checkpoint already")
        signatures.append(Signature.parse(each.line().removesuffix("\n")))
    return SignedNote(note.text, tuple(signatures)).encode()


def open_cosigned(
    data: bytes,
    origin: str,
    log_keys: Sequence[tuple[VerifierKey, Verify]],
    witnesses: Sequence[tuple[CosignerKey, Verify]],
) -> tuple[Checkpoint, tuple[Witnessed, ...]]:
    """Return the checkpoint of log `origin`, and which of the known witnesses cosigned it, in the note's order.

    At least one of `log_keys` must have signed; witnesses may be none. Raises as `note.open_checkpoint`; Corrupt
    (code "note-signature") if a known witness's line is bad or stands twice.
    """
    checkpoint = open_checkpoint(data, origin, log_keys)
    known: dict[tuple[str, bytes], tuple[CosignerKey, Verify]] = {}
    for key, verify in witnesses:
        if known.setdefault((key.name, key.key_id), (key, verify))[0] is not key:
            raise InputError(f"two witnesses share the name and id {key.name}+{key.key_id.hex()}", code="note")
    note = SignedNote.parse(data)
    seen: dict[CosignerKey, Witnessed] = {}
    for each in note.signatures:
        found = known.get((each.name, each.key_id))
        if found is None:
            continue
        key, verify = found
        if key in seen:
            raise _distrusted(key, "stands twice")
        seen[key] = _verified(each, note.text, key, verify)
    return checkpoint, tuple(seen.values())


def _verified(signature: Signature, text: str, key: CosignerKey, verify: Verify) -> Witnessed:
    try:
        cosignature = Cosignature.read(signature)
    except InputError as error:
        raise _distrusted(key, f"is malformed: {error.message}") from None
    # `is True`: a verifier that answers with anything else has not said yes.
    if verify(key.public, message(text, cosignature.timestamp), cosignature.signature) is not True:
        raise _distrusted(key, "does not verify")
    return Witnessed(key, cosignature.timestamp)


def _malformed(why: str) -> InputError:
    return InputError(f"malformed cosignature: {why}", code="cosignature")


def _distrusted(key: CosignerKey, why: str) -> Corrupt:
    return Corrupt(
        f"the cosignature of known witness {key.name}+{key.key_id.hex()} {why}",
        hint="The checkpoint was changed after it was cosigned, or somebody signs under this witness's name.",
        code="note-signature",
    )
