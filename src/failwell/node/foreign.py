"""Foreign authorities that prove who an agent is: another trust domain's X.509-SVIDs, an identity provider's tokens.

Which ones are trusted, and for which agents, stands in the settings and takes a signed order to change. What they vouch
for is an agent that is registered here, by its own name; nobody else is let in by them. Their certificates and keys are
read from files when they are asked for: nothing is fetched.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509

from failwell.core.errors import InputError, Refused
from failwell.identity import bearer, svids
from failwell.node.trust import SvidTrust, TokenTrust, Trust

#: Tokens that were shown and have not expired: more are refused, so that a provider cannot fill the memory.
MAX_SHOWN = 100_000
MAX_FILE_BYTES = 1024 * 1024
_SECOND_US = 1_000_000


class Shown:
    """Tokens that were shown on some connection and are still good: each is taken once. One thread's (the loop's)."""

    def __init__(self) -> None:
        self._until: dict[str, int] = {}

    def take(self, marks: Sequence[str], until_us: int, now_us: int) -> None:
        """Raises Refused for what was shown before.

        Attack: a token that somebody saw on its way, shown on a connection of theirs.
        """
        if len(self._until) >= MAX_SHOWN:
            self._until = {mark: end for mark, end in self._until.items() if end > now_us}
        if len(self._until) >= MAX_SHOWN:
            raise Refused("too many tokens are good at once", code="busy")
        if any(self._until.get(mark, 0) > now_us for mark in marks):
            raise Refused("the token was shown before: each is taken once", hint="Fetch a new one.")
        self._until.update(dict.fromkeys(marks, until_us))


def svid_trusts(trust: dict[str, Trust], spiffe_id: str) -> list[SvidTrust]:
    """The authorities that may vouch for `spiffe_id`."""
    return [
        each
        for each in trust.values()
        if isinstance(each, SvidTrust) and spiffe_id.startswith(f"spiffe://{each.trust_domain}/")
    ]


async def check_svid(
    trusted: SvidTrust, chain: Sequence[x509.Certificate], now: datetime.datetime, workspace: Path
) -> None:  # fmt: skip
    """Raises Refused unless the chain leads to the foreign authority, InputError where its bundle cannot be read."""
    roots = _authorities(await asyncio.to_thread(_read, workspace / trusted.bundle))
    svids.check_path(chain, roots, now)


async def check_token(
    trust: dict[str, Trust], names: Sequence[str], token: str, workspace: Path, *, now_us: int, since_us: int
) -> tuple[bearer.Claims, tuple[str, ...]]:  # fmt: skip
    """What a token says that one of the trusted providers made out to the agent of one of `names`, and its marks.

    Raises Refused; InputError where the provider's keys cannot be read.
    """
    refused: Refused | None = None
    for name, each in sorted(trust.items()):
        if not isinstance(each, TokenTrust) or not set(each.agents.values()) & set(names):
            continue
        keys = bearer.parse_keys((await asyncio.to_thread(_read, workspace / each.jwks)).decode("utf-8", "replace"))
        try:
            claims = bearer.check_token(
                token, keys, issuer=each.issuer, audience=each.audience, now_us=now_us, since_us=since_us
            )
        except Refused as error:
            refused = error
            continue
        if each.agents.get(claims.subject) not in names:
            raise Refused("the token proves somebody else")
        jti = () if claims.jti is None else (f"{name}\0{claims.jti}",)
        return claims, (claims.digest, *jti)
    raise refused or Refused("no provider of tokens is trusted for this agent", hint="[trust.NAME] in failwell.toml")


async def read_bundles(trust: dict[str, Trust], workspace: Path) -> list[str]:
    """The authorities of all trusted domains (PEM); one that cannot be read vouches for nobody, here as elsewhere."""
    found = []
    for each in trust.values():
        if isinstance(each, SvidTrust):
            with contextlib.suppress(InputError, UnicodeDecodeError):
                data = await asyncio.to_thread(_read, workspace / each.bundle)
                _authorities(data)
                found.append(data.decode("ascii"))
    return found


def start_us(wall_us: int) -> int:
    """From when on tokens must have been made: which were shown before this node started, nobody remembers."""
    return (wall_us // _SECOND_US + 1) * _SECOND_US


def _authorities(data: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(data)
    except ValueError as error:
        raise InputError("the bundle of a trusted domain holds no certificates (PEM)") from error


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise InputError(f"{path}, which the settings name, cannot be read: {error.strerror}") from error
    if len(data) > MAX_FILE_BYTES:
        raise InputError(f"{path} is larger than {MAX_FILE_BYTES} bytes")
    return data
