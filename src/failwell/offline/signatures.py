"""Which Ed25519 verifies here: `cryptography` where it can be imported, else our own integers; it is said which.

Both give the same answers (`verify.ed25519` says how far that goes), so the choice is one of speed.
"""

from __future__ import annotations

from typing import Final

from failwell.verify import ed25519
from failwell.verify.anchors import VerifySignature

OWN: Final = "failwell.verify.ed25519, after RFC 8032"


def choose(own: bool) -> tuple[str, VerifySignature]:
    """The name of the implementation, and `verify(public, message, signature)`; `own` asks for ours in any case."""
    if not own:
        try:
            return _library()
        except ImportError:  # a bare Python: that is what this verifier is for
            pass
    return OWN, ed25519.verify


def _library() -> tuple[str, VerifySignature]:
    import cryptography
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    def verify(public: bytes, message: bytes, signature: bytes) -> bool:
        # The library takes keys of small order, under which one signature fits every message.
        if len(public) != ed25519.PUBLIC_BYTES or ed25519.is_small_order(public):
            return False
        try:
            Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True

    return f"cryptography {cryptography.__version__}", verify
