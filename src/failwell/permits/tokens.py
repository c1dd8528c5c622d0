"""The signed form of a permit: a compact JWS of three parts, under a key that the server was given (RFC 7515, 8037).

joserfc verifies the signature; what it is asked to verify is held to one spelling first. The header has exactly three
members, so a token that brings its own key (`jwk`, `jku`, `x5c`, `x5u`), other rules (`crit`, `b64`) or another
algorithm (`none`, HS256 under the public key) is refused before any key is looked at (RFC 8725 3.1, 3.10).
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any, Final

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey

from failwell.core import canonical
from failwell.core.errors import InputError
from failwell.permits.claims import ALGORITHM, MAX_TOKEN_BYTES, TYPE
from failwell.permits.refusal import PermitRefused

_CURVE: Final = "Ed25519"
_MEMBERS: Final = {"alg", "kid", "typ"}
_PUBLIC_MEMBERS: Final = {"kty", "crv", "x", "kid", "alg", "use", "key_ops"}
#: Three parts, none of them empty, in the letters of RFC 4648 5.
_COMPACT: Final = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]{86})")


class _Registry(jws.JWSRegistry):
    """The one algorithm. RFC 9864 has a newer name for it, which few libraries know yet; the key fixes the curve."""

    max_header_length = 512

    def get_alg(self, name: str) -> Any:
        if name != ALGORITHM:
            raise PermitRefused("algorithm", "the permit is signed by an algorithm that is not allowed")
        return self.algorithms[name]


_REGISTRY: Final = _Registry(algorithms=[ALGORITHM])


# ---- keys ------------------------------------------------------------------------------------------------


def thumbprint(public: bytes) -> str:
    """The id of a raw Ed25519 public key: its JWK thumbprint (RFC 7638; the members of RFC 8037 A.3)."""
    text = json.dumps({"crv": _CURVE, "kty": "OKP", "x": _encode(public)}, separators=(",", ":"), sort_keys=True)
    return _encode(hashlib.sha256(text.encode()).digest())


def public_set(*publics: bytes) -> dict[str, Any]:
    """Raw public keys as a JWK set (RFC 7517 5), to be handed to tool servers."""
    return {
        "keys": [
            {"alg": ALGORITHM, "crv": _CURVE, "kid": thumbprint(each), "kty": "OKP", "use": "sig", "x": _encode(each)}
            for each in publics
        ]
    }


def read_keys(text: str | bytes) -> dict[str, OKPKey]:
    """The public keys of a JWK set by their ids. InputError for a set that holds anything but Ed25519 public keys.

    Attack: a private key left in the set by mistake; a symmetric one, by which whoever reads the set can sign; an id
    that is another key's.
    """
    try:
        listed = canonical.parse(text)["keys"]
        if type(listed) is not list or not listed:
            raise InputError("it holds no key")
        found = dict(map(_read_key, listed))
    except (InputError, JoseError, LookupError, TypeError, ValueError) as error:
        raise InputError(f"this is no set of keys for permits: {error}", hint="failwell permit keys") from error
    if len(found) != len(listed):
        raise InputError("this is no set of keys for permits: a key stands twice in it", hint="failwell permit keys")
    return found


def _read_key(listed: Any) -> tuple[str, OKPKey]:
    if type(listed) is not dict or (listed.get("kty"), listed.get("crv")) != ("OKP", _CURVE):
        raise InputError("it holds a key of another kind than Ed25519")
    if not listed.keys() <= _PUBLIC_MEMBERS:
        raise InputError("it holds more than public keys")
    if listed.get("alg", ALGORITHM) != ALGORITHM or listed.get("use", "sig") != "sig":
        raise InputError("it holds a key for another use")
    public = _decode(listed.get("x"))
    if public is None or len(public) != 32:
        raise InputError("it holds a key that is not 32 bytes")
    if listed.get("kid", thumbprint(public)) != thumbprint(public):
        raise InputError("it holds a key under another id than its own (RFC 7638)")
    key = OKPKey.import_key({"kty": "OKP", "crv": _CURVE, "x": listed["x"]})
    return thumbprint(public), key


# ---- tokens ----------------------------------------------------------------------------------------------


def sign(payload: bytes, private: OKPKey, kid: str) -> str:
    """The permit with these claims, signed. InputError where it became too large to travel."""
    header = {"alg": ALGORITHM, "kid": kid, "typ": TYPE}
    token = jws.serialize_compact(header, payload, private, algorithms=[ALGORITHM], registry=_REGISTRY)
    if len(token) > MAX_TOKEN_BYTES:
        raise InputError(f"a permit of {len(token)} bytes; at most {MAX_TOKEN_BYTES} travel")
    return token


def open_token(token: str, keys: Mapping[str, OKPKey]) -> bytes:
    """The payload that one of `keys` signed. PermitRefused for everything else."""
    if type(token) is not str:
        raise PermitRefused("malformed", "a permit is text")
    if len(token) > MAX_TOKEN_BYTES:
        raise PermitRefused("too-large", f"a permit has at most {MAX_TOKEN_BYTES} bytes")
    parts = _COMPACT.fullmatch(token)
    head, payload, signature = (None, None, None) if parts is None else map(_decode, parts.groups())
    if head is None or payload is None or signature is None:
        raise PermitRefused("malformed", "this is no permit: three parts in base64url are one")
    key = keys.get(_kid(head))
    if key is None:
        raise PermitRefused(
            "key", "the permit is signed by a key that this server was not given",
            hint="Where the node's key changed, fetch the new set: failwell permit keys",
        )  # fmt: skip
    try:
        return jws.deserialize_compact(token, key, algorithms=[ALGORITHM], registry=_REGISTRY).payload
    except (JoseError, ValueError, TypeError) as error:
        raise PermitRefused("signature", "the permit's signature does not hold") from error


def _kid(head: bytes) -> str:
    """The key that a permit's header names; the header says nothing else than it must."""
    try:
        said = canonical.decode(head, max_bytes=512)
    except InputError as error:
        raise PermitRefused("header", f"the permit's header cannot be read: {error.message}") from error
    if type(said) is not dict or not all(type(value) is str for value in said.values()):
        raise PermitRefused("header", "the permit's header is not that of a permit")
    # Attack: `none`, or HS256 with the published key as the secret.
    if said.get("alg") != ALGORITHM:
        raise PermitRefused("algorithm", "the permit is signed by an algorithm that is not allowed")
    if said.get("typ") != TYPE:
        raise PermitRefused("type", f"this is a token of another kind than {TYPE}")
    if said.keys() != _MEMBERS:
        raise PermitRefused("header", "the permit's header brings more than a permit's does, or less")
    return str(said["kid"])


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _decode(text: Any) -> bytes | None:
    """Base64url without padding in its one spelling, None for any other: unused bits in its last letter count."""
    if type(text) is not str or len(text) % 4 == 1:
        return None
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError:
        return None
    return data if _encode(data) == text else None
