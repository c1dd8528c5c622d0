"""Judging X.509-SVIDs: what a certificate must say to stand for one agent, and which authority must stand behind it.

RFC 5280 as far as SPIFFE X509-SVID (sections 2 to 5) asks for it, and stricter: one URI name, no critical extension
that is not judged here, keys of three kinds. Whatever cannot be read is refused. Nothing is fetched: no revocation
list, no issuer's address. It does not know which certificates are on record, or who is registered.
"""

from __future__ import annotations

import base64
import binascii
import datetime
from collections.abc import Sequence
from typing import Final, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from failwell.core.errors import InputError, Refused
from failwell.identity import keys

MAX_CHAIN_BYTES: Final = 65_536
MAX_CHAIN: Final = 5
MIN_RSA_BITS: Final = 2048
_PEM: Final = "-----BEGIN CERTIFICATE-----"
#: Extensions that are judged here. RFC 5280 4.2: a critical one that is not must be refused.
_JUDGED: Final = frozenset(
    {
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
    }
)
_Kind = TypeVar("_Kind", bound=x509.ExtensionType)
#: What reading a stranger's certificate may raise.
BROKEN: Final = (
    ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm, x509.DuplicateExtension, x509.ExtensionNotFound,
    x509.UnsupportedGeneralNameType, x509.InvalidVersion,
)  # fmt: skip


def parse_chain(text: str) -> tuple[x509.Certificate, ...]:
    """The certificates of a PEM text (the agent's own first), or the one of base64 DER; InputError for the rest."""
    try:
        raw = text.encode("ascii")
        if len(raw) > MAX_CHAIN_BYTES:
            raise InputError(f"certificates of {len(raw)} bytes; at most {MAX_CHAIN_BYTES} are read")
        if text.lstrip().startswith(_PEM):
            found = tuple(x509.load_pem_x509_certificates(raw))
        else:
            found = (x509.load_der_x509_certificate(base64.b64decode(raw, validate=True)),)
    except (*BROKEN, UnicodeError, binascii.Error) as error:
        raise InputError("this is no certificate: PEM, or base64 of DER") from error
    if not 1 <= len(found) <= MAX_CHAIN:
        raise InputError(f"{len(found)} certificates; at most {MAX_CHAIN} make up a chain")
    return found


def check_leaf(leaf: x509.Certificate, spiffe_id: str, now: datetime.datetime) -> None:
    """Raises Refused unless the certificate, by its own words, stands for `spiffe_id` at `now`, to prove itself with.

    Attack: a certificate for two names; one that may sign others, used as an agent's; one for servers only; an
    extension that narrows it and that we would overlook.
    """
    try:
        _check_extensions(leaf)
        _check_time(leaf, now)
        found = uris(leaf)
        if found != [spiffe_id]:
            raise Refused(f"the certificate is not for {spiffe_id} alone")
        if leaf.version is not x509.Version.v3:
            raise Refused("the certificate is of an older version than 3")
        constraints = _extension(leaf, x509.BasicConstraints)
        if constraints is not None and constraints.ca:
            raise Refused("the certificate is an authority's, not an agent's")
        usage = _extension(leaf, x509.KeyUsage)
        if usage is None or not usage.digital_signature or usage.key_cert_sign or usage.crl_sign:
            raise Refused("the certificate's key is not for proving who its holder is")
        purposes = _extension(leaf, x509.ExtendedKeyUsage)
        if purposes is None or ExtendedKeyUsageOID.CLIENT_AUTH not in purposes:
            raise Refused("the certificate is not made for clients")
    except BROKEN as error:
        raise Refused("the certificate cannot be read") from error


def issued_by(child: x509.Certificate, parent: x509.Certificate) -> bool:
    """Whether `parent` is named as the issuer of `child` and its key signed it."""
    try:
        child.verify_directly_issued_by(parent)
    except BROKEN:
        return False
    return True


def check_path(chain: Sequence[x509.Certificate], roots: Sequence[x509.Certificate], now: datetime.datetime) -> None:
    """Raises Refused unless `chain` (the agent's own certificate first) leads to one of `roots`, all in force at `now`.

    Names are compared by their bytes; constraints on names are not judged, so a chain that has them is refused.
    """
    child, between = chain[0], list(chain[1:])
    for below in range(MAX_CHAIN):
        root = next((root for root in roots if issued_by(child, root)), None)
        if root is not None:
            _check_authority(root, now, below)
            return
        parent = next((each for each in between if issued_by(child, each)), None)
        if parent is None:
            break
        between.remove(parent)
        _check_authority(parent, now, below)
        child = parent
    raise Refused("the certificate does not chain to an authority that is trusted here")


def check_signature(leaf: x509.Certificate, message: bytes, signature: bytes) -> bool:
    """Whether the certificate's key signed `message`: Ed25519; ECDSA with SHA-256 over P-256; RSA-PSS with SHA-256.

    Anything malformed, other curves and short RSA keys are False.
    """
    try:
        public = leaf.public_key()
        if isinstance(public, Ed25519PublicKey):
            raw = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
            return keys.verify(raw, message, signature)
        if isinstance(public, ec.EllipticCurvePublicKey) and isinstance(public.curve, ec.SECP256R1):
            public.verify(signature, message, ec.ECDSA(hashes.SHA256()))
            return True
        if isinstance(public, rsa.RSAPublicKey) and public.key_size >= MIN_RSA_BITS:
            pss = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=padding.PSS.DIGEST_LENGTH)
            public.verify(signature, message, pss, hashes.SHA256())
            return True
    except BROKEN:
        return False
    return False


def raw_key(leaf: x509.Certificate) -> str | None:
    """The certificate's key in base64 as the record spells it; None for one of another kind than Ed25519."""
    try:
        public = leaf.public_key()
    except BROKEN:
        return None
    if not isinstance(public, Ed25519PublicKey):
        return None
    raw = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return base64.b64encode(raw).decode()


def uris(certificate: x509.Certificate) -> list[str]:
    """The URI names of a certificate."""
    names = _extension(certificate, x509.SubjectAlternativeName)
    return [] if names is None else names.get_values_for_type(x509.UniformResourceIdentifier)


def _check_authority(certificate: x509.Certificate, now: datetime.datetime, below: int) -> None:
    """Raises Refused unless the certificate may sign others, with `below` authorities between it and the agent's."""
    try:
        _check_extensions(certificate)
        _check_time(certificate, now)
        constraints = _extension(certificate, x509.BasicConstraints)
        usage = _extension(certificate, x509.KeyUsage)
    except BROKEN as error:
        raise Refused("an authority's certificate cannot be read") from error
    if constraints is None or not constraints.ca or usage is None or not usage.key_cert_sign:
        raise Refused("the certificate was signed by one that may not sign others")
    if constraints.path_length is not None and constraints.path_length < below:
        raise Refused("the certificate's chain is longer than its authority allows")


def _check_time(certificate: x509.Certificate, now: datetime.datetime) -> None:
    if now < certificate.not_valid_before_utc:
        raise Refused("the certificate is not valid yet", hint="Compare the clocks of its issuer and of this machine.")
    if now >= certificate.not_valid_after_utc:
        raise Refused("the certificate has lapsed", hint="Ask for a new one: failwell agent certify")


def _check_extensions(certificate: x509.Certificate) -> None:
    for extension in certificate.extensions:
        # Attack: an authority that is bound to other names, and does not call that critical as RFC 5280 4.2.1.10 asks.
        narrows = extension.critical or extension.oid == ExtensionOID.NAME_CONSTRAINTS
        if narrows and extension.oid not in _JUDGED:
            raise Refused(f"the certificate has a critical extension {extension.oid.dotted_string}: it is not judged")


def _extension(certificate: x509.Certificate, kind: type[_Kind]) -> _Kind | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
