"""Tokens that an agent signs with its own key, for clients that can send a header and nothing else (RFC 7519, 6750).

Claims: `iss` the agent by its registered name, `aud` the ledger's origin and nobody else, `iat`, `exp` (at most a day
later), `jti` random; header `kid` the key's thumbprint (RFC 7638) and `typ` of its own, so that neither a permit nor
another provider's token is ever taken for one. Whoever holds it is taken for the agent until it lapses, or until the
agent's key is revoked or replaced: that voids it at once. This module makes them; who checks them, and whose key is in
force, stands in the node.
"""

from __future__ import annotations

import base64
import json
from typing import Any, Final

from failwell.core.errors import InputError
from failwell.identity import keys, names
from failwell.permits.tokens import thumbprint

ALGORITHM: Final = "EdDSA"
TYPE: Final = "failwell-agent+jwt"
LONGEST_S: Final = 24 * 3600


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


def _part(value: dict[str, Any]) -> str:
    return _text(json.dumps(value, separators=(",", ":"), sort_keys=True).encode())


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")
