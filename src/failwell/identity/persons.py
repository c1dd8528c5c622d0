"""Persons: an Ed25519 key under a passphrase in the person's own configuration directory, and signed orders
(D31).

A key file is one PEM text: an encrypted PKCS #8 block (RFC 5958) and the public key (RFC 5280
SubjectPublicKeyInfo). The PKCS #8 passphrase is not what the person types but scrypt (RFC 7914) of it,
since the library's own derivation is 2,048 rounds of PBKDF2, which a stolen file would not survive long.

It does not know who is enrolled, which roles they hold, or which nonces were used; and it cannot keep apart
two persons who work under one user of the operating system: `keys_not_separated` says so.
"""

from __future__ import annotations

import base64
import binascii
import os
import stat
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from failwell.core import canonical
from failwell.core.errors import FailwellError, InputError, Refused
from failwell.core.orders import (
    SIGNED_PREFIX,
    Order,
    PersonEnrol,
    SignedOrder,
    order_bytes,
    parse_order,
)
from failwell.identity import keys, names

_HEADER: Final = "failwell person key 1"
_SALT_BYTES: Final = 16
# RFC 7914 2: cost, block size, parallelism; 32 MiB and about a quarter of a second on a small machine.
_SCRYPT_N: Final = 2**15
_SCRYPT_R: Final = 8
_SCRYPT_P: Final = 3
_ENROL_PREFIX: Final = b"failwell/enrol/1\n"


@dataclass(frozen=True, slots=True)
class Signer:
    """A person's key, unlocked. Lives as short as possible; its text form shows no secret."""

    person: str
    key: keys.SigningKey


@dataclass(frozen=True, slots=True)
class PersonKey:
    """A person's key as it lies in their configuration directory, locked."""

    person: str
    path: Path
    public: bytes

    @property
    def key_id(self) -> str:
        """First 16 hex digits of SHA-256 over the raw public key."""
        return keys.key_id(self.public)

    @classmethod
    def create(cls, directory: Path, name: str, passphrase: str) -> PersonKey:
        """Make a new key for `name` under `passphrase` in the configuration directory.

        Raises InputError for an empty passphrase, for what is no name, and where the person has a key
        already.
        """
        path = names.person_key_path(directory, name)
        key, salt = keys.generate(), os.urandom(_SALT_BYTES)
        block = key.private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(_stretch(passphrase, salt)),
        )
        head = f"{_HEADER}\nscrypt {base64.b64encode(salt).decode()}\n".encode()
        keys.write_private(path, head + block + _public_pem(key.public))
        return cls(name, path, key.public)

    @classmethod
    def load(cls, directory: Path, name: str) -> PersonKey:
        """The key of `name`; raises NotFound, InputError for wrong modes or a file that holds no such key."""
        path = names.person_key_path(directory, name)
        return cls(name, path, _KeyFile.parse(path, keys.read_private(path)).public)

    @classmethod
    def list(cls, directory: Path) -> list[PersonKey]:
        """All keys in the configuration directory, by name; raises as `load` where one is not in order."""
        return [cls.load(directory, path.stem) for path in sorted((directory / "persons").glob("*.pem"))]

    def unlock(self, passphrase: str) -> Signer:
        """The key, ready to sign.

        Raises Refused (code "passphrase") for a wrong passphrase, InputError for an empty one or a damaged
        file.
        """
        file = _KeyFile.parse(self.path, keys.read_private(self.path))
        try:
            private = serialization.load_pem_private_key(file.private, _stretch(passphrase, file.salt))
        except ValueError as error:
            raise Refused(
                f"the passphrase does not open the key of {self.person}",
                hint="Try again. A forgotten passphrase cannot be recovered: enrol a new key.",
                code="passphrase",
            ) from error
        # Attack: a public block swapped for another person's would show them a key that is not the one that
        # signs.
        if not isinstance(private, Ed25519PrivateKey) or keys.public_bytes(private) != self.public:
            raise InputError(f"{self.path}: the public key is not that of the private key")
        return Signer(self.person, keys.SigningKey(private))


@dataclass(frozen=True, slots=True)
class NotSeparated:
    """Keys of several persons that one user of the operating system can read (`uid` None: any user)."""

    uid: int | None
    paths: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Separation:
    """What was found out: groups that are not separated, and key files that could not be looked at."""

    shared: tuple[NotSeparated, ...]
    unknown: tuple[Path, ...]


def sign_order(signer: Signer, order: Order[Any]) -> SignedOrder:
    """Sign an order with its own person's key; Refused for another person's, InputError if malformed."""
    if order.person != signer.person:
        raise Refused(f"{signer.person} cannot sign an order of {order.person}")
    text = order_bytes(order)
    signature = signer.key.sign(SIGNED_PREFIX + text)
    return SignedOrder(order=text.decode(), key=signer.key.key_id, signature=base64.b64encode(signature).decode())


def verify_order(signed: SignedOrder, public_key: bytes) -> Order[Any]:
    """The order, if `public_key` (32 raw bytes) signed exactly it.

    Which person the key belongs to, the ledger, the nonce and the age are the caller's to check
    (`core.orders.check_order`). Raises Refused for anything forged, altered or malformed.
    """
    try:
        order = parse_order(signed.order)
    except InputError as error:
        raise Refused(f"the order is not well formed: {error.message}") from error
    if signed.key != keys.key_id(public_key):
        raise Refused(f"the order of {order.person} was signed with another key than the one enrolled")
    if not keys.verify(public_key, SIGNED_PREFIX + signed.order.encode(), decode_base64(signed.signature)):
        raise Refused(f"the signature under the order of {order.person} does not verify")
    return order


def prove_enrolment(signer: Signer, origin: str) -> str:
    """Base64 signature by which a new person shows that the key is theirs (`PersonEnrol.proof`)."""
    signature = signer.key.sign(_enrolment_bytes(origin, signer.person, signer.key.public))
    return base64.b64encode(signature).decode()


def check_enrolment(origin: str, details: PersonEnrol) -> bytes:
    """The new person's public key (32 bytes), if its holder asked to be enrolled under this name in this
    ledger.

    Raises Refused. Attack: enrolling somebody else's key under another name, to answer for their orders, or
    a key under which anything verifies.
    """
    public = keys.check_public(decode_base64(details.key))
    proof = decode_base64(details.proof)
    if not keys.verify(public, _enrolment_bytes(origin, details.person, public), proof):
        raise Refused(f"the key for {details.person} was not brought by whoever holds it")
    return public


def keys_not_separated(paths: Iterable[Path]) -> Separation:
    """Which person keys one user of the operating system can read, by owner and mode of the files.

    Root is not counted: it reads everything, on every machine. A file that cannot be looked at is unknown,
    not fine.
    """
    readers: dict[int | None, list[Path]] = {}
    unknown = []
    for path in paths:
        try:
            found = path.stat()
        except OSError:
            unknown.append(path)
            continue
        open_to_all = bool(stat.S_IMODE(found.st_mode) & 0o044)
        readers.setdefault(None if open_to_all else found.st_uid, []).append(path)
    for path in readers.get(None, []):
        for uid in [reader for reader in readers if reader is not None]:
            readers[uid].append(path)
    shared = [NotSeparated(uid, tuple(group)) for uid, group in readers.items() if len(group) > 1]
    return Separation(tuple(shared), tuple(unknown))


def decode_base64(text: str) -> bytes:
    """Bytes of standard base64 in its one spelling; raises Refused for any other."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refused("not base64") from error
    if base64.b64encode(data).decode() != text:
        raise Refused("base64 in a second spelling")
    return data


@dataclass(frozen=True, slots=True)
class _KeyFile:
    salt: bytes
    private: bytes
    public: bytes

    @classmethod
    def parse(cls, path: Path, data: bytes) -> _KeyFile:
        try:
            header, kdf, rest = data.decode("ascii").split("\n", 2)
            private, end, public = rest.partition("-----END ENCRYPTED PRIVATE KEY-----\n")
            method, salt_text = kdf.split(" ")
            salt = decode_base64(salt_text)
            key = serialization.load_pem_public_key(public.encode())
        except (ValueError, FailwellError) as error:
            raise InputError(f"{path} is not a person's key file") from error
        known = header == _HEADER and method == "scrypt" and len(salt) == _SALT_BYTES and end
        if not known or not isinstance(key, Ed25519PublicKey):
            raise InputError(f"{path} is not a person's key file")
        raw = key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        return cls(salt, (private + end).encode(), raw)


def _stretch(passphrase: str, salt: bytes) -> bytes:
    # NFC, so that one passphrase typed on two keyboards is one passphrase.
    normal = unicodedata.normalize("NFC", passphrase)
    if not normal.strip():
        raise InputError("an empty passphrase protects nothing", hint="Choose a passphrase of several words.")
    derive = Scrypt(salt=salt, length=32, n=_SCRYPT_N, r=_SCRYPT_R, p=_SCRYPT_P)
    return base64.b64encode(derive.derive(normal.encode()))


def _public_pem(public: bytes) -> bytes:
    return Ed25519PublicKey.from_public_bytes(public).public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _enrolment_bytes(origin: str, person: str, public: bytes) -> bytes:
    body = {"origin": origin, "person": person, "key": base64.b64encode(public).decode()}
    return _ENROL_PREFIX + canonical.encode(body)
