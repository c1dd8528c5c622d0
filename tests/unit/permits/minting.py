"""Permits as a node makes them, and as an adversary would have them made: a key, a clock, claims that can be bent."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
from pathlib import Path
from typing import Any

from joserfc.jwk import OKPKey

from failwell.identity import keys
from failwell.permits import Verifier
from failwell.permits.claims import argument_digest
from failwell.permits.tokens import public_set, thumbprint

ISSUER, AUDIENCE, AGENT, TOOL = "failwell/0123456789abcdef", "orders-api", "refund-bot", "payments.refund"
ARGUMENTS: dict[str, Any] = {"order_id": "A-1009", "amount": "49.90"}
#: A Monday in November 2026, some microseconds after a full second.
START_US = 1_795_000_000_000_123
SECOND_US = 1_000_000
_numbers = itertools.count(1)


def part(value: Any) -> str:
    """One part of a compact token: bytes as they are, anything else as compact JSON with sorted keys."""
    raw = value if isinstance(value, bytes) else json.dumps(value, separators=(",", ":"), sort_keys=True).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self, now_us: int = START_US) -> None:
        self.now_us = now_us

    def __call__(self) -> int:
        return self.now_us

    def pass_s(self, seconds: float) -> None:
        self.now_us += round(seconds * SECOND_US)


class Node:
    """A node's key and clock. `token` makes a good permit, unless told otherwise."""

    def __init__(self, clock: Clock, seed: bytes = bytes(range(32))) -> None:
        self.clock = clock
        self.key = keys.from_seed(seed)
        self.kid = thumbprint(self.key.public)
        self.private = OKPKey.import_key(
            {"kty": "OKP", "crv": "Ed25519", "x": _text(self.key.public), "d": _text(seed)}
        )

    def jwks(self) -> str:
        return json.dumps(public_set(self.key.public))

    def claims(self, **bent: Any) -> dict[str, Any]:
        """The claims of a good permit, issued now for 30 s; `bent` ones replace them, None takes one away."""
        issued_us = bent.pop("issued_us", self.clock.now_us)
        salt = hashlib.sha256(f"salt {next(_numbers)}".encode()).hexdigest()[:32]
        arguments = bent.pop("arguments", ARGUMENTS)
        said: dict[str, Any] = {
            "iss": ISSUER, "aud": AUDIENCE, "sub": AGENT, "jti": hashlib.sha256(salt.encode()).hexdigest()[:32],
            "iat": issued_us // SECOND_US, "nbf": issued_us // SECOND_US, "exp": issued_us // SECOND_US + 30,
            "iat_us": issued_us, "tool": TOOL, "action": 7, "salt": salt, "digest": argument_digest(salt, arguments),
            "epoch": 1, "chain": [], "scopes": [["all", 0], [f"tool:{TOOL}", 0]],
        }  # fmt: skip
        return {name: value for name, value in {**said, **bent}.items() if value is not None}

    def header(self, **bent: Any) -> dict[str, Any]:
        said = {"alg": "EdDSA", "kid": self.kid, "typ": "failwell-permit+jwt", **bent}
        return {name: value for name, value in said.items() if value is not None}

    def token(self, *, head: Any = None, payload: Any = None, **bent: Any) -> str:
        """A signed token; `head` and `payload` stand in for the whole header and claims."""
        said = self.claims(**bent) if payload is None else payload
        signed = f"{part(self.header() if head is None else head)}.{part(said)}"
        return f"{signed}.{part(self.key.sign(signed.encode()))}"


def server(node: Node, clock: Clock, store: Path | None = None, **more: Any) -> Verifier:
    """A tool server's verifier that has been up for an hour."""
    started = Clock(clock.now_us - 3600 * SECOND_US)
    fields: dict[str, Any] = {"issuer": ISSUER, "audience": AUDIENCE, "store": store, "clock": started, **more}
    verifier = Verifier(node.jwks(), **fields)
    verifier._clock = clock
    return verifier


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
