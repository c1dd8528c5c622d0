"""Tokens of an identity provider (JWT, RFC 7519, signed as RFC 7515 says) as proof of who an agent is.

A token is bearer: whoever holds it can show it. So it is read strictly: one provider, one audience and no other, three
algorithms, a key that the provider is known by and that the token names, a short life. Signatures are verified by
joserfc. Nothing is fetched: the provider's keys (RFC 7517) are handed in, and keys that a token brings along are
refused. It does not know which tokens were shown before (`node.trust`).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, Key, KeySet, OKPKey, RSAKey

from failwell.core.errors import InputError, Refused

MAX_TOKEN_BYTES: Final = 16_384
#: How far the provider's clock may stand ahead of ours.
AHEAD_S: Final = 60
#: No token is taken that lives longer: it is good for whoever finds it.
LONGEST_S: Final = 2 * 3600
MIN_RSA_BITS: Final = 2048
#: RFC 8725 3.1: algorithms are named here and held against the key, never chosen by the token.
ALGORITHMS: Final = {"RS256": "RSA", "ES256": "EC", "EdDSA": "OKP"}
_CURVES: Final = {"EC": "P-256", "OKP": "Ed25519"}
#: Header fields by which a token would bring its own key, or change what is signed.
_NEVER: Final = ("b64", "crit", "jku", "jwk", "x5c", "x5u")


class Claims(NamedTuple):
    """What a token that holds says. `digest` is over what is signed: the same token in any spelling has the same."""

    subject: str
    issued_us: int
    expires_us: int
    digest: str
    jti: str | None


class _Registry(jws.JWSRegistry):
    """The algorithms that are allowed here, and none by default."""

    max_header_length = 4096

    def get_alg(self, name: str) -> Any:
        if name not in ALGORITHMS:
            raise Refused("the token is signed by an algorithm that is not allowed")
        return self.algorithms[name]


_REGISTRY: Final = _Registry(algorithms=list(ALGORITHMS), strict_check_header=False)


def parse_keys(text: str) -> dict[str, Key]:
    """A provider's public keys by their ids, from a JWK set. InputError for a set that holds anything else.

    Attack: a symmetric key in the set, so that whoever reads the file can sign; a private one, left by mistake.
    """
    try:
        found = KeySet.import_key_set(msgspec.json.decode(text)).keys
    except (JoseError, msgspec.MsgspecError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise InputError(f"this is no set of keys (RFC 7517): {error}") from error
    keys: dict[str, Key] = {}
    for key in found:
        kid, use = key.kid, key.get("use")
        if use not in (None, "sig"):
            continue
        if not isinstance(key, RSAKey | ECKey | OKPKey) or key.is_private:
            raise InputError("the set holds a key that is secret: only public ones of providers are read")
        if kid is None or kid in keys:
            raise InputError("each key of the set has an id (kid) of its own")
        if _usable(key):
            keys[kid] = key
    if not keys:
        raise InputError("the set holds no key that a token could be signed with here: RSA, P-256 or Ed25519")
    return keys


def check_token(
    token: str, keys: Mapping[str, Key], *, issuer: str, audience: str, now_us: int, since_us: int
) -> Claims:  # fmt: skip
    """What the token says, if `issuer` made it out to `audience` and nobody else, after `since_us`, and it holds now.

    Raises Refused for everything else.
    """
    head, signed = _parts(token)
    algorithm, kid = head.get("alg"), head.get("kid")
    # Attack: `none`, or HS256 with the provider's public key as the secret.
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise Refused("the token is signed by an algorithm that is not allowed")
    if any(name in head for name in _NEVER):
        raise Refused("the token brings a key of its own, or asks for what is not supported")
    key = keys.get(kid) if isinstance(kid, str) else None
    if key is None or key.key_type != ALGORITHMS[algorithm] or key.get("alg") not in (None, algorithm):
        raise Refused("the token is signed by no key that its provider is known by")
    try:
        payload = jws.deserialize_compact(token, key, algorithms=list(ALGORITHMS), registry=_REGISTRY).payload
        claims = msgspec.json.decode(payload)
    except (JoseError, msgspec.MsgspecError, ValueError, TypeError) as error:
        raise Refused("the token's signature does not hold") from error
    if not isinstance(claims, dict):
        raise Refused("the token says nothing")
    return _held(claims, signed, issuer=issuer, audience=audience, now_us=now_us, since_us=since_us)


def _held(
    claims: dict[str, Any], signed: bytes, *, issuer: str, audience: str, now_us: int, since_us: int
) -> Claims:  # fmt: skip
    if claims.get("iss") != issuer:
        raise Refused("the token is another provider's")
    # Attack: a token for several: each of the others could show it here.
    if claims.get("aud") not in (audience, [audience]):
        raise Refused("the token is for another audience, or for others too")
    issued_us, expires_us = _instant(claims, "iat"), _instant(claims, "exp")
    begins_us = _instant(claims, "nbf") if "nbf" in claims else issued_us
    ahead_us = now_us + AHEAD_S * 1_000_000
    if not now_us < expires_us or issued_us > ahead_us or begins_us > ahead_us:
        raise Refused("the token has expired, or is not valid yet", hint="Fetch a new one; compare the clocks.")
    if expires_us - issued_us > LONGEST_S * 1_000_000:
        raise Refused(f"the token lives longer than {LONGEST_S // 3600} hours")
    if issued_us < since_us:
        raise Refused("the token is older than this node, or than the agent's key", hint="Fetch a new one.")
    subject, jti = claims.get("sub"), claims.get("jti")
    if not isinstance(subject, str) or not subject or not isinstance(jti, str | None) or len(jti or "") > 1024:
        raise Refused("the token names nobody")
    return Claims(subject, issued_us, expires_us, hashlib.sha256(signed).hexdigest(), jti)


def _parts(token: str) -> tuple[dict[str, Any], bytes]:
    """The header of a compact token, and the bytes that are signed."""
    if len(token) > MAX_TOKEN_BYTES or not token.isascii() or token.count(".") != 2:
        raise Refused("this is no signed token")
    signed = token.rpartition(".")[0]
    first = signed.partition(".")[0]
    try:
        raw = base64.b64decode(first + "=" * (-len(first) % 4), altchars=b"-_", validate=True)
        head = msgspec.json.decode(raw)
    except (binascii.Error, ValueError, msgspec.MsgspecError) as error:
        raise Refused("this is no signed token") from error
    if not isinstance(head, dict):
        raise Refused("this is no signed token")
    return head, signed.encode()


def _usable(key: RSAKey | ECKey | OKPKey) -> bool:
    if isinstance(key, RSAKey):
        return key.public_key.key_size >= MIN_RSA_BITS
    return key.curve_name == _CURVES[key.key_type]


def _instant(claims: dict[str, Any], name: str) -> int:
    """A NumericDate (RFC 7519 2) in microseconds since the epoch."""
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 2**40:  # NaN is neither
        raise Refused(f"the token does not say {name}")
    return int(value * 1_000_000)
