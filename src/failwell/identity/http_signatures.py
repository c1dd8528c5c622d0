"""Signed HTTP requests: RFC 9421 with RFC 9530 digests and RFC 9440 certificates, for exactly one profile.

A request is signed with Ed25519 over its method, its whole target, the digest of its body and, where a certificate's
key signs, that certificate:

    Content-Digest: sha-256=:BASE64:
    Signature-Input: failwell=("@method" "@target-uri" "content-digest");created=SECONDS;nonce="TEXT";
                     keyid="agent:NAME";tag="failwell"
    Signature: failwell=:BASE64:

on one line each, and over those fields in which a host says on whose behalf it passes something on (`BEHALF`). The
label is free, the components and the parameters may stand in any order, `alg="ed25519"` may be said. Anything else is
refused, also what RFC 9421 allows: a second signature, further components, other digests, a field given twice, a second
spelling of the same. Structured fields (RFC 9651) are read as far as that needs.

It knows no keys and no clock: who signed, and whether the request is new, is the caller's to judge (`web.callers`,
`node.passed`). Standard library and `cryptography` only: the client carries it into the agent's process.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from failwell.core.errors import InputError, Refused
from failwell.identity import keys

TAG: Final = "failwell"
LABEL: Final = "failwell"
ALGORITHM: Final = "ed25519"
ROLES: Final = ("agent", "host", "person")
METHOD, TARGET, DIGEST, CERTIFICATE = "@method", "@target-uri", "content-digest", "client-cert"
_COVERED: Final = frozenset({METHOD, TARGET, DIGEST})
#: What a request says of the run that it is for, and which agent's token a host passes on (`gateway.on_behalf`).
BEHALF: Final = ("failwell-agent", "failwell-principal", "failwell-request", "failwell-run")
#: What makes up a signature: each once, or the request has none.
FIELDS: Final = (b"signature-input", b"signature", b"content-digest")
_ALL_FIELDS: Final = (*FIELDS, b"client-cert", *(name.encode() for name in BEHALF))
_MAX_FIELD_BYTES: Final = 16_384

_LABEL: Final = r"[a-z*][a-z0-9_.*-]{0,63}"
_TEXT: Final = r"[ !#-\[\]-~]{0,400}"  # printable ASCII; what a string would have to escape is in none of ours
_PARAMETER: Final = rf';(?:created=[0-9]{{1,12}}|(?:nonce|keyid|tag|alg)="{_TEXT}")'
_PARAMS: Final = re.compile(rf'\(("[a-z@-]{{1,32}}"(?: "[a-z@-]{{1,32}}"){{0,7}})\)((?:{_PARAMETER}){{1,5}})')
_INPUT: Final = re.compile(rf"({_LABEL})=(\(.*)")
_SIGNATURE: Final = re.compile(rf"({_LABEL})=(:[A-Za-z0-9+/=]*:)")
_DIGEST: Final = re.compile(r"sha-256=(:[A-Za-z0-9+/=]{44}:)")
_ONE: Final = re.compile(rf';([a-z]+)=(?:"({_TEXT})"|([0-9]+))')
_METHOD: Final = re.compile(r"[A-Z]{1,16}")
_TARGET: Final = re.compile(r"https?://[!-~]{1,8000}")
_NONCE: Final = re.compile(r"[!#-\[\]-~]{16,128}")
_KEYID: Final = re.compile(r"(agent|host|person):([!#-\[\]-~]{1,255})")
_HINT: Final = "docs/identity.md says what is signed, and how."


NO_BEHALF: Final[Mapping[str, str]] = {}


class Signed(NamedTuple):
    """A request whose signature is well formed; whether it holds, `holds` says. `certificate` is DER."""

    role: str
    name: str
    method: str
    target: str
    digest: str
    created: int
    nonce: str
    certificate: bytes | None
    signature: bytes
    base: bytes

    def holds(self, public: bytes) -> bool:
        """Whether the raw Ed25519 key `public` signed exactly this request."""
        return keys.verify(public, self.base, self.signature)


class Stamp(NamedTuple):
    """When a request was signed (seconds since the epoch), and what makes it unlike every other one."""

    created: int
    nonce: str


def sign(
    key: keys.SigningKey, role: str, name: str, method: str, target: str, body: bytes, stamp: Stamp,
    certificate: bytes | None = None, behalf: Mapping[str, str] = NO_BEHALF,
) -> dict[str, str]:  # fmt: skip
    """The header fields that sign a request; `certificate` (DER) where `key` is that certificate's. `behalf`: those of
    the fields `BEHALF` that the request has, by their lower-case names.

    InputError for a request that cannot be signed, such as a target that is no absolute address.
    """
    values = [(METHOD, method), (TARGET, target), (DIGEST, digest_field(body))]
    fields = {"Content-Digest": values[2][1]}
    if certificate is not None:
        fields["Client-Cert"] = _binary(certificate)
        values.append((CERTIFICATE, fields["Client-Cert"]))
    values += [(name, behalf[name]) for name in BEHALF if name in behalf]
    covered = " ".join(f'"{component}"' for component, _ in values)
    params = f'({covered});created={stamp.created};nonce="{stamp.nonce}";keyid="{role}:{name}";tag="{TAG}"'
    try:
        base = signature_base(values, params)
        read_base(base, bytes(keys.SIGNATURE_BYTES))
    except Refused as error:
        raise InputError(f"the request cannot be signed: {error.message}") from error
    signature = key.sign(base)
    return {**fields, "Signature-Input": f"{LABEL}={params}", "Signature": f"{LABEL}={_binary(signature)}"}


def is_signed(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether a request claims to be signed (field names in lower case)."""
    return any(name in (b"signature-input", b"signature") for name, _ in headers)


def read(method: str, target: str, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> Signed:
    """The signature of a request as it arrived: field names in lower case, `target` as this server is addressed.

    Raises Refused (code "unauthenticated") for none, for any other form, and for a body that is not the digest's.
    """
    fields = _fields(headers)
    found = _INPUT.fullmatch(fields["signature-input"])
    signature = _SIGNATURE.fullmatch(fields["signature"])
    if found is None or signature is None or found[1] != signature[1]:
        raise _refused("the signature is not one member with its input, under the same label")
    values = {METHOD: method, TARGET: target, DIGEST: fields["content-digest"]}
    values |= {name: fields[name] for name in (CERTIFICATE, *BEHALF) if name in fields}
    covered = _covered(found[2])
    missing = [component for component in covered if component not in values]
    if missing:
        raise _refused(f"the signature is over {missing[0]}, which the request does not have or we do not read")
    # Attack: a certificate, or a principal, that was put beside a signature which does not speak of it.
    if values.keys() != set(covered):
        raise _refused(f"the signature leaves out {min(values.keys() - set(covered))}")
    base = signature_base([(component, values[component]) for component in covered], found[2])
    # Attack: a value of two lines, by which the text that is signed tells more than its components.
    if base.count(b"\n") != len(covered):
        raise _refused("the signed text is not that of its parameters")
    signed = _signed(values, found[2], base, _bytes(signature[2]))
    if not hmac.compare_digest(signed.digest, digest_field(body)):
        raise _refused("the body is not the one that was signed")
    return signed


def read_base(base: bytes, signature: bytes) -> Signed:
    """The same from the text that was signed: what a request was, told by somebody who saw it.

    Raises Refused for a text of any other form.
    """
    try:
        *lines, last = base.decode("ascii").split("\n")
    except UnicodeDecodeError as error:
        raise _refused("the signed text is not ASCII") from error
    head, _, params = last.partition(": ")
    covered = _covered(params)
    pairs = [line.partition(": ") for line in lines]
    if head != '"@signature-params"' or [pair[0] for pair in pairs] != [f'"{each}"' for each in covered]:
        raise _refused("the signed text is not that of its parameters")
    values = {component: pair[2] for component, pair in zip(covered, pairs, strict=True)}
    return _signed(values, params, base, signature)


def _signed(values: Mapping[str, str], params: str, base: bytes, signature: bytes) -> Signed:
    """What the components and parameters of a signed text say, each of them well formed."""
    if not _METHOD.fullmatch(values[METHOD]) or not _TARGET.fullmatch(values[TARGET]):
        raise _refused("the method or the target of what was signed is malformed")
    digest = _DIGEST.fullmatch(values[DIGEST])
    if digest is None or len(_bytes(digest[1])) != 32:
        raise _refused("the digest is not one SHA-256 of the body")
    if len(signature) != keys.SIGNATURE_BYTES:
        raise _refused("the signature is not one of Ed25519")
    said = _said(params)
    certificate = _bytes(values[CERTIFICATE]) if CERTIFICATE in values else None
    return Signed(
        said.role, said.name, values[METHOD], values[TARGET], values[DIGEST], said.created, said.nonce, certificate,
        signature, base,
    )  # fmt: skip


def signature_base(values: Sequence[tuple[str, str]], params: str) -> bytes:
    """The text that is signed (RFC 9421 2.5) over components without parameters, in order; Refused if not ASCII."""
    lines = [f'"{component}": {value}' for component, value in values]
    try:
        return "\n".join((*lines, f'"@signature-params": {params}')).encode("ascii")
    except UnicodeEncodeError as error:
        raise _refused("what is signed is not ASCII") from error


def digest_field(body: bytes) -> str:
    """The Content-Digest of a body, also of an empty one (RFC 9530)."""
    return f"sha-256={_binary(hashlib.sha256(body).digest())}"


# ---- one spelling --------------------------------------------------------------------------------------------


class _Said(NamedTuple):
    role: str
    name: str
    created: int
    nonce: str


def _fields(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    fields: dict[str, str] = {}
    for name, value in headers:
        if name not in _ALL_FIELDS:
            continue
        # Attack: a field added in front of or behind the signed one, for a reader that takes the other of the two.
        if name.decode() in fields:
            raise _refused(f"the field {name.decode()} is there twice")
        if len(value) > _MAX_FIELD_BYTES or not value.isascii():
            raise _refused(f"the field {name.decode()} is malformed")
        fields[name.decode()] = value.decode("ascii").strip(" \t")
    missing = [name.decode() for name in FIELDS if name.decode() not in fields]
    if missing:
        raise _refused(f"the request is not signed: it has no {missing[0]}")
    return fields


def _covered(params: str) -> list[str]:
    found = _PARAMS.fullmatch(params)
    if found is None:
        raise _refused("the signature's input is not of the form that is read here")
    covered = [each.strip('"') for each in found[1].split(" ")]
    if len(set(covered)) != len(covered) or not _COVERED <= set(covered) <= _COVERED | {CERTIFICATE, *BEHALF}:
        raise _refused(
            'what is signed is "@method" "@target-uri" "content-digest", and "client-cert" and what is said of the run '
            "where there is any"
        )
    return covered


def _said(params: str) -> _Said:
    found = _ONE.findall(params[params.index(")") + 1 :])
    said = {name: text or number for name, text, number in found}
    if len(said) != len(found) or not {"created", "nonce", "keyid", "tag"} <= said.keys():
        raise _refused("the signature says created, nonce, keyid and tag, each once")
    # Attack: `hmac-sha256` with the published key as the secret. The key says what it is for, never the request.
    if said.get("alg", ALGORITHM) != ALGORITHM:
        raise _refused("the signature is of another algorithm than ed25519")
    if said["tag"] != TAG:
        raise _refused(f"the signature is for another use: its tag is not {TAG}")
    who = _KEYID.fullmatch(said["keyid"])
    if who is None or not _NONCE.fullmatch(said["nonce"]):
        raise _refused("keyid is agent:NAME, host:NAME or person:NAME, and the nonce 16 to 128 characters")
    return _Said(who[1], who[2], int(said["created"]), said["nonce"])


def _binary(data: bytes) -> str:
    """A byte sequence as structured fields spell it."""
    return f":{base64.b64encode(data).decode('ascii')}:"


def _bytes(text: str) -> bytes:
    try:
        data = base64.b64decode(text[1:-1], validate=True)
    except (binascii.Error, ValueError) as error:
        raise _refused("a byte sequence is not base64") from error
    if _binary(data) != text:
        raise _refused("a byte sequence is in a second spelling")
    return data


def _refused(why: str) -> Refused:
    return Refused(why, hint=_HINT, code="unauthenticated")
