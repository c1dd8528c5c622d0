"""Ed25519 as others publish it: RFC 8032, SUPERCOP, Wycheproof, and the corner cases of 'Taming the many EdDSAs'.

The corner cases are where verifiers differ. Ours must answer as OpenSSL does, so that `cryptography` and our own
integers never disagree about one signature, and refuse keys of small order beside.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from failwell.identity import keys
from failwell.verify import ed25519

VECTORS: dict[str, Any] = json.loads((Path(__file__).parent / "ed25519.json").read_text())


def openssl(public: bytes, message: bytes, signature: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def parts(case: dict[str, Any]) -> tuple[bytes, bytes, bytes]:
    return bytes.fromhex(case["public"]), bytes.fromhex(case["message"]), bytes.fromhex(case["signature"])


@pytest.mark.requirement("R13.20")
@pytest.mark.parametrize(
    "case", [*VECTORS["rfc8032"]["cases"], *VECTORS["supercop"]["cases"]], ids=lambda case: case["name"]
)
def test_every_published_signature_holds_and_holds_for_nothing_else(case: dict[str, Any]) -> None:
    public, message, signature = parts(case)
    assert ed25519.verify(public, message, signature)
    assert not ed25519.verify(public, message + b"\0", signature)
    assert not ed25519.verify(public, message, signature[:63] + bytes([signature[63] ^ 1]))
    assert not ed25519.verify(public, message, bytes([signature[0] ^ 1]) + signature[1:])


def test_the_valid_signatures_of_wycheproof_hold() -> None:
    public = bytes.fromhex(VECTORS["wycheproof"]["public"])
    for case in VECTORS["wycheproof"]["valid"]:
        assert ed25519.verify(public, bytes.fromhex(case["message"]), bytes.fromhex(case["signature"]))


def test_the_special_values_of_wycheproof_are_refused() -> None:
    wycheproof = VECTORS["wycheproof"]
    public, message = bytes.fromhex(wycheproof["public"]), bytes.fromhex(wycheproof["invalid_message"])
    for r in wycheproof["invalid_r"]:
        for s in wycheproof["invalid_s"]:
            assert not ed25519.verify(public, message, bytes.fromhex(r + s))


@pytest.mark.requirement("R13.20")
@pytest.mark.parametrize("case", VECTORS["speccheck"]["cases"], ids=lambda case: case["name"])
def test_a_corner_case_is_answered_as_openssl_answers_it_or_refused_for_its_small_key(case: dict[str, Any]) -> None:
    public, message, signature = parts(case)
    # The library answers as published, so what ours is held against is what people run.
    assert openssl(public, message, signature) == case["openssl"]
    small = ed25519.is_small_order(public)
    assert ed25519.verify(public, message, signature) == (case["openssl"] and not small)
    assert ed25519.verify(public, message, signature) == keys.verify(public, message, signature)
