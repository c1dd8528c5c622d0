"""What a request shows of its caller, and where it was sent: read from what arrived, judged by nobody here.

A signature comes first, then a token, then the certificate that the connection was made with. Whoever shows two in one
request is refused, and so is a request for a server of another name: what was signed for that one, or is sent by a page
in somebody's browser, is not for us.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import ssl
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from failwell.core.errors import FailwellError, Refused
from failwell.identity import http_signatures, own_tokens, svids
from failwell.identity.http_signatures import Signed

_DEFAULT_PORTS: Final = {"http": ":80", "https": ":443"}


class Shown(NamedTuple):
    """A caller by its own words. `fields` is how it is passed on to the node; `mark` is the same for the same proof."""

    role: str
    name: str
    way: str
    mark: bytes
    fields: Mapping[str, str]
    signed: Signed | None = None


def origins_of(addresses: Iterable[str]) -> dict[str, str]:
    """From the addresses by which a door is reached (https://NAME[:PORT]) to the one for each Host that callers say."""
    found = {}
    for address in addresses:
        scheme, _, host = address.lower().rstrip("/").partition("://")
        host = host.removesuffix(_DEFAULT_PORTS.get(scheme, ":"))
        found[host] = f"{scheme}://{host}"
        found[host + _DEFAULT_PORTS.get(scheme, "")] = f"{scheme}://{host}"
    return found


def origin_of(scope: Mapping[str, Any], origins: Mapping[str, str]) -> str:
    """The address that a request was sent to, as it stands in what its caller signed.

    Attack: a request that was signed for another server, passed on by that one; a page that a browser was made to
    believe is ours (DNS rebinding). Raises Refused.
    """
    hosts = [value for name, value in scope["headers"] if name == b"host"]
    origin = origins.get(hosts[0].decode("latin-1").lower()) if len(hosts) == 1 else None
    if origin is None:
        raise Refused(
            "this request is for a server of another name", code="unauthenticated",
            hint=f"It is reached as {' or '.join(sorted(set(origins.values())))}; [http] addresses adds to them.",
        )  # fmt: skip
    return origin


def read_shown(scope: Mapping[str, Any], body: bytes, origins: Mapping[str, str], *, tokens: bool) -> Shown:
    """Who the caller says to be and by what; Refused (code "unauthenticated") for nothing, or for two things."""
    origin = origin_of(scope, origins)
    headers: list[tuple[bytes, bytes]] = list(scope["headers"])
    bearers = [value for name, value in headers if name == b"authorization"]
    if http_signatures.is_signed(headers):
        # Attack: take the signature away, or make it unreadable, so that something weaker counts.
        if bearers:
            raise _refused("a request is signed or brings a token, not both")
        return _signature(scope, headers, origin, body)
    if bearers:
        return _token(bearers, tokens=tokens)
    tls = scope.get("extensions", {}).get("failwell.tls") or {}
    if tls.get("peer"):
        return _certificate(tls["peer"], tuple(tls.get("chain") or ()))
    raise _refused("nothing shows who the caller is")


def _signature(scope: Mapping[str, Any], headers: list[tuple[bytes, bytes]], origin: str, body: bytes) -> Shown:
    path = scope["raw_path"].decode("latin-1")
    if not path.startswith("/"):
        raise _refused("the target of a signed request is a path")
    query = scope["query_string"].decode("latin-1")
    target = f"{origin}{path}?{query}" if query else f"{origin}{path}"
    signed = http_signatures.read(scope["method"], target, headers, body)
    mark = hashlib.sha256(b"signature\0" + f"{signed.role}:{signed.name}\0".encode() + (signed.certificate or b""))
    fields = {"proof": base64.b64encode(signed.signature).decode(), "base": signed.base.decode("ascii")}
    return Shown(signed.role, signed.name, "signature", mark.digest(), fields, signed)


def _token(bearers: list[bytes], *, tokens: bool) -> Shown:
    scheme, _, text = bearers[0].decode("latin-1").partition(" ")
    if not tokens or len(bearers) != 1 or scheme.lower() != "bearer":
        raise _refused("this door takes no such authorization")
    try:
        name = _agent(text)
    except FailwellError as error:
        raise Refused(error.message, hint=error.hint, code="unauthenticated") from error
    mark = hashlib.sha256(b"token\0" + text.encode()).digest()
    return Shown("agent", name, "token", mark, {"proof": "", "token": text})


def _certificate(peer: bytes, chain: tuple[bytes, ...]) -> Shown:
    try:
        name = _uri(peer)
    except (FailwellError, *svids.BROKEN) as error:
        raise _refused("the certificate is not an agent's") from error
    shown = [peer, *(each for each in chain if each != peer)]
    text = "".join(ssl.DER_cert_to_PEM_cert(each) for each in shown)
    mark = hashlib.sha256(b"tls\0" + text.encode()).digest()
    return Shown("agent", name, "tls", mark, {"proof": "", "certificate": text})


@functools.lru_cache(maxsize=1024)
def _agent(token: str) -> str:
    """Whose token it says it is: a client brings the same one with each of its requests."""
    return own_tokens.read_token(token).agent


@functools.lru_cache(maxsize=1024)
def _uri(certificate: bytes) -> str:
    """The one name of a certificate."""
    found = svids.uris(svids.parse_chain(base64.b64encode(certificate).decode())[0])
    if len(found) != 1:
        raise _refused("the certificate is not an agent's")
    return found[0]


def _refused(why: str) -> Refused:
    return Refused(why, hint="docs/identity.md says how a request shows who sends it.", code="unauthenticated")
