"""A guard's Ed25519 key under the name of its log (RFC 8032; vkey after C2SP signed-note). Holds no files.

The seed lies in this process's memory as long as the guard runs; Python cannot wipe it.
"""

from __future__ import annotations

import secrets
from functools import cached_property

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from failwell.core.note import VerifierKey

SEED_BYTES = 32


class KeyPair:
    """A private key, by its seed of 32 bytes, and the vkey of its public half. Raises ValueError for other lengths."""

    def __init__(self, name: str, seed: bytes) -> None:
        self.seed = seed
        self._private = Ed25519PrivateKey.from_private_bytes(seed)
        self.verifier = VerifierKey(name, self._private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))

    def __repr__(self) -> str:
        return f"KeyPair({self.key})"

    @classmethod
    def generate(cls, name: str) -> KeyPair:
        """A new key from the operating system's randomness."""
        return cls(name, secrets.token_bytes(SEED_BYTES))

    @cached_property
    def key(self) -> str:
        """The vkey."""
        return self.verifier.text()

    def sign(self, message: bytes) -> bytes:
        """The 64-byte signature over `message`."""
        return self._private.sign(message)


def verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether the signature holds; anything malformed is False (`note.Verify`)."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True
