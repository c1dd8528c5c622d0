"""What signs and what checks a signature, seen by the floors that hold no key files themselves.

The ledger signs checkpoints and the node proves itself through `Signing`; where the key lies (a file, later
the guard or a hardware module) is the outside's business. This module does no cryptography.
"""

from __future__ import annotations

from typing import Protocol


class Signing(Protocol):
    """One Ed25519 key that can sign (RFC 8032)."""

    @property
    def public(self) -> bytes:
        """The raw public key, 32 bytes."""
        ...

    @property
    def key_id(self) -> str:
        """First 16 hex digits of SHA-256 over the raw public key."""
        ...

    def sign(self, message: bytes) -> bytes:
        """The 64 byte signature over `message`."""
        ...


class Verifying(Protocol):
    """A verify function as proof and note code takes it: raw public key, message, signature."""

    def __call__(self, public: bytes, message: bytes, signature: bytes) -> bool: ...
