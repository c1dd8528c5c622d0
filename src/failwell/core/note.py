"""Signed notes and checkpoints: the few lines of text that commit to a whole ledger.

Implements C2SP signed-note and tlog-checkpoint (https://c2sp.org/signed-note,
https://c2sp.org/tlog-checkpoint):

    example.com/log42                                  the text, here a checkpoint: origin,
    20852163                                           size,
    CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=       root
                                                       the last empty line of the note
    — example.com/log42 Az3grlgtzPICa5OS8npVmf1M...    em dash, key name, base64(key id || signature)

Only Ed25519 keys (signature type 0x01). The cryptography is passed in: signing as `sign(message) ->
signature`, verifying as `verify(public, message, signature) -> bool`; so this file needs the standard library
only. It does not hold keys, does not cosign (type 0x04) and does not decide which keys to trust.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from failwell.core.errors import Corrupt, InputError
from failwell.core.merkle import EMPTY_ROOT, HASH_BYTES

MAX_NOTE_BYTES: Final = 1_000_000
MAX_SIGNATURES: Final = 100  # the standard asks for at least 16
PUBLIC_KEY_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64
MAX_CHECKPOINT_SIZE: Final = 2**63

_ED25519: Final = b"\x01"
_KEY_ID_BYTES: Final = 4
_SIGNATURE_PREFIX: Final = "\N{EM DASH} "
_CONTROL: Final = re.compile(r"[\x00-\x09\x0b-\x1f]")
_DECIMAL: Final = re.compile(r"0|[1-9][0-9]{0,18}")

Sign = Callable[[bytes], bytes]
"""`sign(message)` returns the 64-byte Ed25519 signature."""
Verify = Callable[[bytes, bytes, bytes], bool]
"""`verify(public key of 32 bytes, message, signature of 64 bytes)` returns True only for a good signature."""


# ------------------------------------------------------------------------------------------------------ keys


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A named Ed25519 public key. Raises InputError for a bad name or length."""

    name: str
    public: bytes

    def __post_init__(self) -> None:
        _check_name(self.name)
        if len(self.public) != PUBLIC_KEY_BYTES:
            raise _malformed(f"an Ed25519 public key has {PUBLIC_KEY_BYTES} bytes, not {len(self.public)}")

    @classmethod
    def parse(cls, vkey: str) -> VerifierKey:
        """Read a vkey, `name+hexid+base64(0x01 || public key)`. Raises InputError for all else."""
        parts = vkey.split("+", 2)
        if len(parts) != 3:
            raise _malformed("a vkey has three parts joined by +")
        data = _from_base64(parts[2], "the key of a vkey")
        if data[:1] != _ED25519:
            raise _malformed("only Ed25519 keys (type 0x01) are supported")
        key = cls(parts[0], data[1:])
        # Attack: a key shown under the id of another. The id must follow from name and key.
        if key.text() != vkey:
            raise _malformed("the id of the vkey does not belong to its name and key")
        return key

    @property
    def key_id(self) -> bytes:
        """SHA-256(name || 0x0A || 0x01 || public key)[:4]."""
        return sha256(self.name.encode("utf-8") + b"\n" + _ED25519 + self.public).digest()[:_KEY_ID_BYTES]

    def text(self) -> str:
        """Return the vkey."""
        return f"{self.name}+{self.key_id.hex()}+{_to_base64(_ED25519 + self.public)}"


# ----------------------------------------------------------------------------------------------------- notes


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature line, not verified."""

    name: str
    key_id: bytes
    signature: bytes

    def __post_init__(self) -> None:
        _check_name(self.name)
        if len(self.key_id) != _KEY_ID_BYTES or not self.signature:
            raise _malformed("a signature is a key id of 4 bytes and at least one byte more")

    @classmethod
    def parse(cls, line: str) -> Signature:
        """Read one line without its newline. Raises InputError unless it is `— name base64`."""
        name, _, encoded = line.removeprefix(_SIGNATURE_PREFIX).partition(" ")
        if not line.startswith(_SIGNATURE_PREFIX):
            raise _malformed("a signature line is em dash, space, key name, space, base64")
        data = _from_base64(encoded, "a signature")
        return cls(name, data[:_KEY_ID_BYTES], data[_KEY_ID_BYTES:])

    def line(self) -> str:
        """Return the line with its newline."""
        return f"{_SIGNATURE_PREFIX}{self.name} {_to_base64(self.key_id + self.signature)}\n"


@dataclass(frozen=True, slots=True)
class SignedNote:
    """A text and its signature lines, parsed but not verified: believe nothing in it before `open_note`."""

    text: str
    signatures: tuple[Signature, ...]

    def __post_init__(self) -> None:
        _check_text(self.text)
        if not 1 <= len(self.signatures) <= MAX_SIGNATURES:
            raise _malformed(f"a note has 1 to {MAX_SIGNATURES} signatures, not {len(self.signatures)}")

    @classmethod
    def parse(cls, data: bytes) -> SignedNote:
        """Read note bytes strictly, so that `parse(data).encode() == data`. Code "note" if it fails."""
        if len(data) > MAX_NOTE_BYTES:
            raise _malformed(f"{len(data)} bytes, at most {MAX_NOTE_BYTES} are read")
        try:
            whole = data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise _malformed(f"not UTF-8 at byte {error.start}") from None
        # The last empty line separates, so a text may hold empty lines, and lines that look like signatures.
        text, separator, tail = whole.rpartition("\n\n")
        *lines, rest = tail.split("\n")
        if not separator or rest:
            raise _malformed("the text, an empty line and whole signature lines are needed")
        return cls(text + "\n", tuple(Signature.parse(line) for line in lines))

    def encode(self) -> bytes:
        """Return the note's bytes."""
        return (self.text + "\n" + "".join(each.line() for each in self.signatures)).encode("utf-8")


@dataclass(frozen=True, slots=True)
class VerifiedNote:
    """What `open_note` vouches for: the text, and the keys that signed it (at least one)."""

    text: str
    signers: tuple[VerifierKey, ...]


def sign(text: str, name: str, public_key: bytes, sign_function: Sign) -> bytes:
    """Return the signed note over `text` (ending in a newline) with one Ed25519 signature.

    `name`: key name without spaces and plus; `public_key`: 32 bytes. Raises InputError for a text or name
    that a note cannot hold, and for a signature that is not 64 bytes.
    """
    key = VerifierKey(name, public_key)
    _check_text(text)
    signature = sign_function(text.encode("utf-8"))
    if len(signature) != SIGNATURE_BYTES:
        raise _malformed(f"an Ed25519 signature has {SIGNATURE_BYTES} bytes, not {len(signature)}")
    data = SignedNote(text, (Signature(name, key.key_id, signature),)).encode()
    if len(data) > MAX_NOTE_BYTES:
        raise _malformed(f"{len(data)} bytes, at most {MAX_NOTE_BYTES} can be read again")
    return data


def open_note(data: bytes, verifiers: Sequence[tuple[VerifierKey, Verify]]) -> VerifiedNote:
    """Return the text of a note that at least one of the known keys signed, and who of them did.

    Signatures of unknown keys are ignored, also if they share name or id (not both) with a known one. Raises
    InputError for a malformed note or two verifiers with one name and id; Corrupt with code "note-signature"
    if a known key's signature is bad or stands twice, "note-unsigned" if no known key signed.
    """
    note = SignedNote.parse(data)
    known: dict[tuple[str, bytes], tuple[VerifierKey, Verify]] = {}
    for key, verify in verifiers:
        if known.setdefault((key.name, key.key_id), (key, verify))[0] is not key:
            raise InputError(f"two verifiers share the name and id {key.name}+{key.key_id.hex()}", code="note")
    message = note.text.encode("utf-8")
    signers: list[VerifierKey] = []
    for each in note.signatures:
        found = known.get((each.name, each.key_id))
        if found is None:
            continue
        key, verify = found
        if key in signers:
            raise _distrusted(key, "stands twice")
        # `is True`: a verifier that answers with anything else has not said yes.
        if len(each.signature) != SIGNATURE_BYTES or verify(key.public, message, each.signature) is not True:
            raise _distrusted(key, "does not verify")
        signers.append(key)
    if not signers:
        raise Corrupt(
            "no known key signed this note",
            hint="Compare the key names in it with the vkeys you trust.",
            code="note-unsigned",
        )
    return VerifiedNote(note.text, tuple(signers))


# ----------------------------------------------------------------------------------------------- checkpoints


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The head of a log at one size: who the log is, how many leaves, and the root over them.

    `size`: leaves, 0 to 2^63 - 1; `root`: 32 bytes; `extensions`: further non-empty lines, kept as they are.
    Raises InputError (code "checkpoint") for values that the text cannot hold, and an empty tree's wrong
    root.
    """

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for line in (self.origin, *self.extensions):
            if not line or "\n" in line or _CONTROL.search(line) or not _is_utf8(line):
                raise _bad_checkpoint("origin and extension lines are non-empty and hold no control characters")
        if type(self.size) is not int or not 0 <= self.size < MAX_CHECKPOINT_SIZE:
            raise _bad_checkpoint("the size is not an integer from 0 to 2^63 - 1")
        if type(self.root) is not bytes or len(self.root) != HASH_BYTES:
            raise _bad_checkpoint(f"the root is not {HASH_BYTES} bytes")
        if self.size == 0 and self.root != EMPTY_ROOT:
            raise _bad_checkpoint("the root of an empty tree is SHA-256 of nothing")

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """Read a note text strictly, so that `parse(text).text() == text`. Code "checkpoint"."""
        lines = text.split("\n")
        if len(lines) < 4 or lines[-1]:
            raise _bad_checkpoint("origin, size and root are needed, each line ending in a newline")
        origin, size, root, *extensions = lines[:-1]
        if not _DECIMAL.fullmatch(size):
            raise _bad_checkpoint("the size is not a decimal number without leading zeros")
        return cls(origin, int(size), _from_base64(root, "the root", code="checkpoint"), tuple(extensions))

    def text(self) -> str:
        """Return the note text to be signed."""
        return "".join(f"{line}\n" for line in (self.origin, self.size, _to_base64(self.root), *self.extensions))


def open_checkpoint(data: bytes, origin: str, verifiers: Sequence[tuple[VerifierKey, Verify]]) -> Checkpoint:
    """Return the checkpoint of log `origin` from a note that at least one known key signed.

    Raises as `open_note` and `Checkpoint.parse`; Corrupt (code "note-origin") if it speaks for another log: a
    key that signs for two logs must not let one stand in for the other.
    """
    checkpoint = Checkpoint.parse(open_note(data, verifiers).text)
    if checkpoint.origin != origin:
        raise Corrupt(f"the checkpoint is of log {checkpoint.origin!r}, not of {origin!r}", code="note-origin")
    return checkpoint


# ---------------------------------------------------------------------------------------------------- shapes


def _check_name(name: str) -> None:
    if not name or "+" in name or any(letter.isspace() for letter in name) or _CONTROL.search(name):
        raise _malformed("a key name is non-empty and holds no spaces, plus or control characters")
    if not _is_utf8(name):
        raise _malformed("a key name holds a lone surrogate")


def _check_text(text: str) -> None:
    if not text.endswith("\n"):
        raise _malformed("the text does not end in a newline")
    if _CONTROL.search(text) or not _is_utf8(text):
        raise _malformed("the text holds a control character or a lone surrogate")


def _is_utf8(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _to_base64(data: bytes) -> str:
    return b64encode(data).decode("ascii")


def _from_base64(text: str, what: str, *, code: str = "note") -> bytes:
    """Decode RFC 4648, 4, taking only the spelling that encoding gives back: no second note says the same."""
    try:
        data = b64decode(text)
    except ValueError:  # also non-ASCII and bad padding
        data = b""
    if _to_base64(data) != text:
        raise InputError(f"{what} is not strict base64", code=code)
    return data


def _malformed(why: str) -> InputError:
    return InputError(f"malformed note or key: {why}", code="note")


def _bad_checkpoint(why: str) -> InputError:
    return InputError(f"malformed checkpoint: {why}", code="checkpoint")


def _distrusted(key: VerifierKey, why: str) -> Corrupt:
    return Corrupt(
        f"the signature of known key {key.name}+{key.key_id.hex()} {why}",
        hint="The text was changed after signing, or somebody signs under this name.",
        code="note-signature",
    )
