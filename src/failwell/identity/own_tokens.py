"""Tokens that an agent signs with its own key, for clients that can send a header and nothing else (RFC 7519, 6750).

Claims: `iss` the agent by its registered name, `aud` the ledger's origin and nobody else, `iat`, `exp` (at most a day
later), `jti` random; header `kid` the key's thumbprint (RFC 7638) and `typ` of its own, so that neither a permit nor
another provider's token is ever taken for one. Whoever holds it is taken for the agent until it lapses, or until the
agent's key is revoked or replaced: that voids it at once. This module makes them and reads them; whose key is in force
is the node's to say.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from typing import Any, Final, NamedTuple

from failwell.core import canonical
from failwell.core.errors import InputError, Refused
from failwell.identity import keys, names
from failwell.permits.tokens import thumbprint

ALGORITHM: Final = "EdDSA"
TYPE: Final = "failwell-agent+jwt"
LONGEST_S: Final = 24 * 3600
#: How far the clock of who made it may stand ahead of ours.
AHEAD_S: Final = 10
MAX_BYTES: Final = 2048
_COMPACT: Final = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]{86})")
_CLAIMS: Final = frozenset({"iss", "aud", "iat", "exp", "jti"})
_HINT: Final = "Make a new one: failwell gateway token"


class Read(NamedTuple):
    """A token that is well formed; whether it holds, `check` says."""

    agent: str
    audience: str
    issued_s: int
    expires_s: int
    kid: str
    signed: bytes
    signature: bytes

    def check(self, public: bytes, agent: str, origin: str, *, now_us: int, since_us: int) -> int:
        """Until when (microseconds since the epoch) it proves `agent`, whose key is `public` since `since_us`.

        Raises Refused: another agent's, for another ledger, not in its time, older than the key.
        """
        if self.kid != thumbprint(public) or not keys.verify(public, self.signed, self.signature):
            raise Refused("the token is not signed by the agent's key in force", hint=_HINT)
        if self.audience != origin or self.agent != agent:
            raise Refused("the token is for another ledger, or another agent's", hint=_HINT)
        if not self.issued_s < self.expires_s <= self.issued_s + LONGEST_S:
            raise Refused(f"the token lives longer than {LONGEST_S // 3600} hours", hint=_HINT)
        if not self.issued_s * 1_000_000 <= now_us + AHEAD_S * 1_000_000 or now_us >= self.expires_s * 1_000_000:
            raise Refused("the token has expired, or is not valid yet", hint=f"{_HINT}; compare the clocks.")
        # Attack: made by whoever had the key before it was the agent's.
        if self.issued_s * 1_000_000 < since_us:
            raise Refused("the token is older than the agent's key", hint=_HINT)
        return self.expires_s * 1_000_000


def make_token(key: keys.SigningKey, agent: str, origin: str, *, issued_s: int, hours: float, jti: str) -> str:
    """A token by which `agent` is known at the ledger `origin` for `hours`. InputError for more than a day, or less
    than a minute.
    """
    lifetime_s = int(hours * 3600)
    if not 60 <= lifetime_s <= LONGEST_S:
        raise InputError(
            f"a token lives a minute to {LONGEST_S // 3600} hours, not {hours:g}",
            hint="Make a new one each day, or let the client show a certificate: failwell agent certify",
        )
    claims = {
        "iss": names.parse_agent(agent).full, "aud": origin, "iat": issued_s, "exp": issued_s + lifetime_s, "jti": jti,
    }  # fmt: skip
    header = {"alg": ALGORITHM, "kid": thumbprint(key.public), "typ": TYPE}
    signed = f"{_part(header)}.{_part(claims)}"
    return f"{signed}.{_text(key.sign(signed.encode()))}"


def read_token(token: str) -> Read:
    """A token's parts, in their one spelling. Raises Refused for anything else, such as a key that it brings along."""
    found = _COMPACT.fullmatch(token) if len(token) <= MAX_BYTES else None
    if found is None:
        raise Refused("this is no token of an agent", hint=_HINT)
    head, claims, signature = (_bytes(part) for part in found.groups())
    said, claimed = _object(head), _object(claims)
    # Attack: `none`, or HS256 with the public key as the secret; `jwk`, `x5u`, `crit`; another kind of token.
    if said.keys() != {"alg", "kid", "typ"} or said["alg"] != ALGORITHM or said["typ"] != TYPE:
        raise Refused("this is no token of an agent", hint=_HINT)
    if claimed.keys() != _CLAIMS:
        raise Refused("the token says more or less than a token of an agent", hint=_HINT)
    texts, times = [claimed["iss"], claimed["aud"], claimed["jti"], said["kid"]], [claimed["iat"], claimed["exp"]]
    if not all(type(each) is str for each in texts) or not all(type(each) is int and each > 0 for each in times):
        raise Refused("the token cannot be read", hint=_HINT)
    signed = token.rpartition(".")[0].encode()
    return Read(claimed["iss"], claimed["aud"], claimed["iat"], claimed["exp"], said["kid"], signed, signature)


def _object(data: bytes) -> dict[str, Any]:
    try:
        value = canonical.decode(data, max_bytes=MAX_BYTES)
    except InputError as error:
        raise Refused("the token cannot be read", hint=_HINT) from error
    if type(value) is not dict:
        raise Refused("the token cannot be read", hint=_HINT)
    return value


def _bytes(text: str) -> bytes:
    """Base64url without padding in its one spelling."""
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refused("this is no token of an agent", hint=_HINT) from error
    if _text(data) != text:
        raise Refused("this is no token of an agent", hint=_HINT)
    return data


def _part(value: dict[str, Any]) -> str:
    return _text(json.dumps(value, separators=(",", ":"), sort_keys=True).encode())


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")
