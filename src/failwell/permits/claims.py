"""What a permit says: the claims of its JWT, in one spelling, read strictly (RFC 7519; RFC 8725 3.10 to 3.12).

Registered claims keep their meaning: `iss` the log's origin, `aud` the one tool server, `sub` the agent, `jti`, `iat`,
`nbf` and `exp` in whole seconds. Ours: `iat_us` the microsecond of issue, `tool`, `action` (the entry that allowed it),
`salt` and `digest` (SHA-256 over the salt and the RFC 8785 text of the arguments), `epoch` of the agent, `chain` (who
handed the work over, outermost first) and `scopes`, each name with its epoch. All of them are there, and no others.

The text is the ledger's canonical JSON (`core.canonical`), so that a permit has one spelling: a claim that stands
twice, a float or another order of keys is no permit. It judges no time and no key (`permits.verifier`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from failwell.core import canonical
from failwell.core.errors import InputError
from failwell.permits.refusal import PermitRefused

#: The media type of RFC 8725 3.11: a token of another kind that the same key signed is no permit.
TYPE: Final = "failwell-permit+jwt"
#: RFC 8037 3.1, with Ed25519 keys only.
ALGORITHM: Final = "EdDSA"
#: A permit travels in one header of a request.
MAX_TOKEN_BYTES: Final = 8192
SALT_BYTES: Final = 16
_MAX_NAMED: Final = 256
_SECOND_US: Final = 1_000_000
_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,15}")

Epochs = tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """The claims of one permit. `chain` and `scopes` hold names with the epochs that they must not have passed."""

    issuer: str
    audience: str
    agent: str
    jti: str
    issued_us: int
    expires: int
    tool: str
    action: int
    salt: str
    digest: str
    epoch: int
    chain: Epochs = ()
    scopes: Epochs = ()

    @property
    def epochs(self) -> Epochs:
        """Every scope that a stop can name this permit by, each with its epoch: agents as `agent:NAME`, and the action
        itself, which has none until it is stopped.
        """
        agents = ((self.agent, self.epoch), *self.chain)
        return ((f"action:{self.action}", 0), *((f"agent:{name}", epoch) for name, epoch in agents), *self.scopes)


def encode(claims: Claims) -> bytes:
    """The payload of a permit's JWT. InputError where it cannot be one."""
    issued = claims.issued_us // _SECOND_US
    return canonical.encode(
        {
            "iss": claims.issuer, "aud": claims.audience, "sub": claims.agent, "jti": claims.jti, "iat": issued,
            "nbf": issued, "exp": claims.expires, "iat_us": claims.issued_us, "tool": claims.tool,
            "action": claims.action, "salt": claims.salt, "digest": claims.digest, "epoch": claims.epoch,
            "chain": claims.chain, "scopes": claims.scopes,
        },
        max_bytes=MAX_TOKEN_BYTES,
    )  # fmt: skip


def decode(payload: bytes) -> Claims:
    """The claims of a payload. PermitRefused (code "claims") for any other than `encode` writes."""
    try:
        said = canonical.decode(payload, max_bytes=MAX_TOKEN_BYTES)
    except InputError as error:
        raise PermitRefused("claims", f"the permit's claims cannot be read: {error.message}") from error
    if type(said) is not dict or said.keys() != _KINDS.keys():
        raise PermitRefused("claims", "the permit's claims are not those of a permit, each of them once")
    for name, fits in _KINDS.items():
        if not fits(said[name]):
            raise PermitRefused("claims", f"the permit's claim {name} is not what it must be")
    if said["iat"] != said["iat_us"] // _SECOND_US or said["nbf"] != said["iat"] or said["exp"] <= said["iat"]:
        raise PermitRefused("claims", "the permit's times contradict each other")
    return Claims(
        issuer=said["iss"], audience=said["aud"], agent=said["sub"], jti=said["jti"], issued_us=said["iat_us"],
        expires=said["exp"], tool=said["tool"], action=said["action"], salt=said["salt"], digest=said["digest"],
        epoch=said["epoch"], chain=_pairs(said["chain"]), scopes=_pairs(said["scopes"]),
    )  # fmt: skip


def argument_digest(salt: str, arguments: Mapping[str, Any] | str | bytes) -> str:
    """SHA-256(salt || RFC 8785 text), in hex, as the decision binds it. `arguments`: an object, or its JSON text.

    InputError for text that two readers could read differently (a key twice, a number that no double holds) and for
    what is no object.
    """
    value = canonical.parse(arguments) if isinstance(arguments, str | bytes) else dict(arguments)
    if type(value) is not dict:
        raise InputError("the arguments of a tool are one JSON object", code="arguments")
    return hashlib.sha256(bytes.fromhex(salt) + canonical.jcs(value)).hexdigest()


def check_scope(scope: str) -> str:
    """The same text, if a stop can name permits by it: `agent:NAME`, `action:N`, `all`, `group:`, `tool:` or
    `contract:NAME`.

    InputError otherwise: a fence under a name that no permit bears would stop nothing.
    """
    kind, _, name = scope.partition(":")
    named = (kind == "agent" and _is_name(name)) or (kind == "action" and _NUMBER.fullmatch(name) is not None)
    if not named and not _is_scope(scope):
        raise InputError(
            f"{scope[:80]!r} names nothing that permits bear",
            hint="Use agent:NAME (its full id), action:N, all, group:NAME, tool:NAME or contract:NAME.",
        )
    return scope


def _is_name(value: object) -> bool:
    return type(value) is str and 0 < len(value) <= 300 and value.isprintable()


def _is_scope(value: object) -> bool:
    if type(value) is not str:
        return False
    kind, _, name = value.partition(":")
    return value == "all" or (kind in ("group", "tool", "contract") and _is_name(name))


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0


def _is_hex(size: int) -> Callable[[object], bool]:
    letters = re.compile(rf"[0-9a-f]{{{2 * size}}}")
    return lambda value: type(value) is str and letters.fullmatch(value) is not None


def _are_epochs(named: Callable[[object], bool]) -> Callable[[object], bool]:
    def fits(value: object) -> bool:
        return type(value) is list and len(value) <= _MAX_NAMED and all(map(is_pair, value))

    def is_pair(value: object) -> bool:
        return type(value) is list and len(value) == 2 and named(value[0]) and _is_count(value[1])

    return fits


def _pairs(value: list[list[Any]]) -> Epochs:
    return tuple((name, epoch) for name, epoch in value)


#: Attack: an array of audiences, a number as text, true for 1: each claim is of one type, exactly.
_KINDS: Final[dict[str, Callable[[object], bool]]] = {
    "iss": _is_name, "aud": _is_name, "sub": _is_name, "tool": _is_name, "jti": _is_hex(16),
    "salt": _is_hex(SALT_BYTES), "digest": _is_hex(32), "iat": _is_count, "nbf": _is_count, "exp": _is_count,
    "iat_us": _is_count, "action": _is_count, "epoch": _is_count, "chain": _are_epochs(_is_name),
    "scopes": _are_epochs(_is_scope),
}  # fmt: skip
