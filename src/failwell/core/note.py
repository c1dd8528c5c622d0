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
only. It does not hold keys, does not cosign (`cosignature`, type 0x04) and does not decide which keys to trust.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import ClassVar, Final, Self

from failwell.core.errors import Corrupt, InputError
from failwell.core.merkle import EMPTY_ROOT, HASH_BYTES

MAX_NOTE_BYTES: Final = 1_000_000
MAX_SIGNATURES: Final = 100  # the standard asks for at least 16
PUBLIC_KEY_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64
MAX_CHECKPOINT_SIZE: Final = 2**63

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

    TYPE: ClassVar[bytes] = b"\x01"
    """The signature type, which separates keys of one name and use from those of another."""

    name: str
    public: bytes

    def __post_init__(self) -> None:
        _check_name(self.name)
        if len(self.public) != PUBLIC_KEY_BYTES:
            raise _malformed(f"an Ed25519 public key has {PUBLIC_KEY_BYTES} bytes, not {len(self.public)}")

    @classmethod
    def parse(cls, vkey: str) -> Self:
        """Read a vkey, `name+hexid+base64(type || public key)`. Raises InputError for all else."""
        parts = vkey.split("+", 2)
        if len(parts) != 3:
            raise _malformed("a vkey has three parts joined by +")
        data = from_base64(parts[2], "the key of a vkey")
        if data[:1] != cls.TYPE:
            raise _malformed(f"only keys of type 0x{cls.TYPE.hex()} are supported here")
        key = cls(parts[0], data[1:])
        # Attack: a key shown under the id of another. The id must follow from name and key.
        if key.text() != vkey:
            raise _malformed("the id of the vkey does not belong to its name and key")
        return key

    @property
    def key_id(self) -> bytes:
        """SHA-256(name || 0x0A || type || public key)[:4]."""
        return sha256(self.name.encode("utf-8") + b"\n" + self.TYPE + self.public).digest()[:_KEY_ID_BYTES]

    def text(self) -> str:
        """Return the vkey."""
        return f"{self.name}+{self.key_id.hex()}+{to_base64(self.TYPE + self.public)}"


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
        data = from_base64(encoded, "a signature")
        return cls(name, data[:_KEY_ID_BYTES], data[_KEY_ID_BYTES:])

    def line(self) -> str:
        """Return the line with its newline."""
        return f"{_SIGNATURE_PREFIX}{self.name} {to_base64(self.key_id + self.signature)}\n"


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
        root_hash = from_base64(root, "the root", code="checkpoint")
        return cls(origin, from_decimal(size, "the size", code="checkpoint"), root_hash, tuple(extensions))

    def text(self) -> str:
        """Return the note text to be signed."""
        return "".join(f"{line}\n" for line in (self.origin, self.size, to_base64(self.root), *self.extensions))


def open_checkpoint(data: bytes, origin: str, verifiers: Sequence[tuple[VerifierKey, Verify]]) -> Checkpoint:
    """Return the checkpoint of log `origin` from a note that at least one known key signed.

    Raises as `open_note` and `Checkpoint.parse`; Corrupt (code "note-origin") if it speaks for another log: a
    key that signs for two logs must not let one stand in for the other.
    """
    checkpoint = Checkpoint.parse(open_note(data, verifiers).text)
    if checkpoint.origin != origin:
        raise Corrupt(f"the checkpoint is of log {checkpoint.origin!r}, not of {origin!r}", code="note-origin")
    return checkpoint


# ----------------------------------------------------------------------------------------------- key changes

_CHANGE: Final = "failwell/log-key/1"


def sign_change(was: VerifierKey, key: VerifierKey, sign_was: Sign, sign_key: Sign) -> bytes:
    """Return the note by which a log's key `was` hands over to `key`: both sign it, so neither is forced on the other.

    Its lines are `failwell/log-key/1`, the origin (both keys' name), the old vkey and the new one. Raises InputError
    for keys of two names or one key twice.
    """
    text = _change_text(was, key)
    message = text.encode("utf-8")
    signed = [Signature(each.name, each.key_id, made(message)) for each, made in ((was, sign_was), (key, sign_key))]
    return SignedNote(text, tuple(signed)).encode()


def open_change(data: bytes, verify: Verify) -> tuple[VerifierKey, VerifierKey]:
    """Return the old and the new key of a change that both of them signed; whether to trust either is not said here.

    Raises InputError for a note that is no change of a key, Corrupt as `open_note` and (code "note-unsigned") where
    one of the two did not sign.
    """
    lines = SignedNote.parse(data).text.split("\n")
    if len(lines) != 5 or lines[0] != _CHANGE:
        raise _malformed(f"a change of a log's key has four lines, the first is {_CHANGE}")
    was, key = VerifierKey.parse(lines[2]), VerifierKey.parse(lines[3])
    opened = open_note(data, [(was, verify), (key, verify)])
    # The text is made again from the two keys: its origin cannot be another than their name.
    if opened.text != _change_text(was, key):
        raise _malformed("the origin of a change is the name of both keys")
    if len(opened.signers) != 2:
        raise Corrupt("a change of a log's key was not signed by both keys", code="note-unsigned")
    return was, key


def _change_text(was: VerifierKey, key: VerifierKey) -> str:
    if was.name != key.name or was.public == key.public:
        raise _malformed("a change is from one key to another one of the same name")
    return f"{_CHANGE}\n{was.name}\n{was.text()}\n{key.text()}\n"


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


def to_base64(data: bytes) -> str:
    """Encode as RFC 4648, 4."""
    return b64encode(data).decode("ascii")


def from_base64(text: str, what: str, *, code: str = "note") -> bytes:
    """Decode RFC 4648, 4, taking only the spelling that encoding gives back: no second note says the same.

    Raises InputError with `code`, naming `what`.
    """
    try:
        data = b64decode(text)
    except ValueError:  # also non-ASCII and bad padding
        data = b""
    if to_base64(data) != text:
        raise InputError(f"{what} is not strict base64", code=code)
    return data


def from_decimal(text: str, what: str, *, code: str = "note") -> int:
    """Read an ASCII decimal number without leading zeros, below 2^63; raises InputError with `code`, naming `what`."""
    if not _DECIMAL.fullmatch(text) or int(text) >= MAX_CHECKPOINT_SIZE:
        raise InputError(f"{what} is not a decimal number below 2^63 without leading zeros", code=code)
    return int(text)


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
