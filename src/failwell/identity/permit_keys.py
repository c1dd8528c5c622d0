"""The key that a workspace signs permits with that leave its node (`permits`), and the set that tool servers are given.

An Ed25519 key in `keys/permits.key`, made when the first permit is needed, and its public half as a JWK set (RFC 7517)
in `keys/permits.jwks`. Who can read `keys/` can sign permits; a tool server cannot tell those from the node's. So the
key is this and nothing else: no identity, no order and no entry is signed with it. To change it, take `permits.key`
away while no node runs: the next permit makes another, and the record says so.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives import serialization
from joserfc.jwk import OKPKey

from failwell.core.errors import InputError, NotFound
from failwell.identity import keys
from failwell.permits import tokens
from failwell.permits.claims import Claims, encode

KEY_FILE: Final = "permits.key"
SET_FILE: Final = "permits.jwks"


@dataclass(frozen=True, slots=True)
class PermitKey:
    """The key in force. Its text form shows no secret."""

    key: keys.SigningKey
    private: OKPKey

    def __repr__(self) -> str:
        return f"PermitKey({self.kid})"

    @property
    def kid(self) -> str:
        """Its JWK thumbprint (RFC 7638), by which permits name it."""
        return tokens.thumbprint(self.key.public)

    @property
    def public(self) -> str:
        """Its public half, 32 bytes in base64, as the record has it."""
        return base64.b64encode(self.key.public).decode("ascii")

    def jwks(self) -> str:
        """The set for tool servers."""
        return json.dumps(tokens.public_set(self.key.public), indent=1, sort_keys=True) + "\n"

    def sign(self, claims: Claims) -> str:
        """A permit with these claims. InputError where it is too large to travel."""
        return tokens.sign(encode(claims), self.private, self.kid)


def check_key(directory: Path) -> None:
    """Raises InputError (code "key-permissions") where the key is there and others could use it."""
    if (directory / KEY_FILE).exists():
        keys.check_private(directory / KEY_FILE)


def open_key(directory: Path) -> PermitKey:
    """The key in `directory`, made where there is none, and its public half beside it.

    Raises InputError for a key that others could use, or a file that holds none.
    """
    path = directory / KEY_FILE
    try:
        key = keys.load_key(path)
    except NotFound:
        key = keys.generate()
        keys.save_key(path, key)
    raw = key.private.private_bytes(
        serialization.Encoding.Raw, serialization.PrivateFormat.Raw, serialization.NoEncryption()
    )
    made = PermitKey(key, OKPKey.import_key({"kty": "OKP", "crv": "Ed25519", "x": _text(key.public), "d": _text(raw)}))
    published = directory / SET_FILE
    try:
        known = keys.read_private(published).decode("utf-8", "replace")
    except (NotFound, InputError):  # it holds no secret, so what is wrong with it is mended
        known = ""
    if known != made.jwks():
        keys.replace_private(published, made.jwks().encode())
    return made


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")
