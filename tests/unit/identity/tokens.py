"""Tokens as an adversary would have them made: a provider's own, and forgeries that its keys never signed."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import Any

from cryptography.hazmat.primitives import serialization
from joserfc.jwk import ECKey, OKPKey, RSAKey

from failwell.identity.bearer import _REGISTRY

ISSUER, AUDIENCE, SUBJECT = "https://login.example", "failwell", "repo:shop/bots:ref"


def part(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


class Provider:
    """A provider of identities with a key of each kind, by its algorithm's name."""

    def __init__(self) -> None:
        self.keys: dict[str, Any] = {
            "RS256": RSAKey.generate_key(2048, {"kid": "r"}),
            "ES256": ECKey.generate_key("P-256", {"kid": "e"}),
            "EdDSA": OKPKey.generate_key("Ed25519", {"kid": "o"}),
        }

    def jwks(self) -> str:
        return json.dumps({"keys": [key.as_dict(private=False) for key in self.keys.values()]})

    def claims(self, **more: Any) -> dict[str, Any]:
        now = int(time.time())
        said = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": SUBJECT,
            "iat": now,
            "exp": now + 300,
            "jti": f"j{time.time_ns()}",
        }
        return {name: value for name, value in {**said, **more}.items() if value is not None}

    def token(self, algorithm: str = "ES256", head: dict[str, Any] | None = None, **more: Any) -> str:
        key = self.keys[algorithm]
        header = {"alg": algorithm, "kid": key.kid, **(head or {})}
        signed = f"{part(header)}.{part(self.claims(**more))}"
        return f"{signed}.{part(_REGISTRY.get_alg(algorithm).sign(signed.encode(), key))}"

    def unsigned(self, **more: Any) -> str:
        return f"{part({'alg': 'none', 'kid': 'r'})}.{part(self.claims(**more))}."

    def by_public_key(self, **more: Any) -> str:
        """HS256 with the provider's public RSA key, as PEM, for the secret."""
        public = self.keys["RS256"].public_key.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        signed = f"{part({'alg': 'HS256', 'kid': 'r'})}.{part(self.claims(**more))}"
        return f"{signed}.{part(hmac.new(public, signed.encode(), hashlib.sha256).digest())}"
