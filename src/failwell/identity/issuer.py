"""The workspace's own certificate authority, and the X.509-SVIDs that it makes out to agents.

An Ed25519 key in `keys/issuer.key` and a self-signed certificate with the workspace's SPIFFE trust domain (RFC 5280,
RFC 8410; SPIFFE X509-SVID sections 2 to 4). The trust domain is the ledger's origin with dots for slashes. Agents that
are registered under a SPIFFE ID keep it; one with a short name is `spiffe://TRUST-DOMAIN/agent/NAME`.

It judges no certificate (`identity.svids`), and does not know which are on record: the ledger's projections do. Who
can read `keys/` can issue; what such a certificate proves is refused all the same unless the record holds its serial.
"""

from __future__ import annotations

import datetime
import hashlib
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from failwell.core.errors import Corrupt, InputError, NotFound
from failwell.identity import keys, names

FILE_NAME: Final = "issuer.key"
#: How far a certificate reaches back before it was made: the machine it is used on may be late by that much.
BACK_US: Final = 60 * 1_000_000
SERIAL_BYTES: Final = 16
_YEARS: Final = 10
_SECOND_US: Final = 1_000_000
_EPOCH: Final = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


class Made(NamedTuple):
    """A certificate (DER), and from when to when it holds (microseconds since the epoch, whole seconds)."""

    certificate: bytes
    not_before_us: int
    not_after_us: int


@dataclass(frozen=True, slots=True)
class Issuer:
    """The authority in force: its key and its certificate. Its text form shows no secret."""

    key: keys.SigningKey
    certificate: bytes

    @property
    def digest(self) -> str:
        """Hex SHA-256 of the certificate (DER)."""
        return hashlib.sha256(self.certificate).hexdigest()

    def issue(self, spiffe_id: str, public: bytes, serial: bytes, now_us: int, minutes: int) -> Made:
        """A certificate over `public` (32 bytes) for one name. `serial`: 16 random bytes. The same words, same bytes.

        Raises InputError for a malformed part and where the authority's own certificate ends before.
        """
        if len(serial) != SERIAL_BYTES:
            raise InputError(f"a serial is made of {SERIAL_BYTES} random bytes")
        keys.check_public(public)
        parent = x509.load_der_x509_certificate(self.certificate)
        now_us -= now_us % _SECOND_US
        made = Made(b"", now_us - BACK_US, now_us + minutes * 60 * _SECOND_US)
        if instant(made.not_after_us) > parent.not_valid_after_utc:
            raise InputError(
                "the workspace's authority ends before this certificate would",
                hint=f"Remove keys/{FILE_NAME} and start the node again: it makes a new one.",
            )
        subject_key = Ed25519PublicKey.from_public_bytes(public)
        builder = (
            _builder(parent.subject, _named(spiffe_id.rpartition("/")[2]), subject_key, spiffe_id)
            .serial_number(_number(serial))
            .not_valid_before(instant(made.not_before_us))
            .not_valid_after(instant(made.not_after_us))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.private.public_key()), critical=False
            )
        )
        signed = builder.sign(self.key.private, None)
        return made._replace(certificate=signed.public_bytes(serialization.Encoding.DER))

    def issue_server(self, hosts: Sequence[str], public: bytes, serial: bytes, now_us: int, days: int) -> bytes:
        """A certificate (DER) for a server of these host names and addresses. It is no agent's: it has no name of one.

        Raises InputError for a malformed part and where the authority's own certificate ends before.
        """
        if len(serial) != SERIAL_BYTES or not hosts:
            raise InputError(f"a server has a name, and a serial is made of {SERIAL_BYTES} random bytes")
        keys.check_public(public)
        parent = x509.load_der_x509_certificate(self.certificate)
        until = instant(now_us - now_us % _SECOND_US) + datetime.timedelta(days=days)
        if until > parent.not_valid_after_utc:
            raise InputError("the workspace's authority ends before this certificate would")
        subject_key = Ed25519PublicKey.from_public_bytes(public)
        builder = (
            x509.CertificateBuilder()
            .issuer_name(parent.subject)
            .subject_name(_named("http"))
            .public_key(subject_key)
            .serial_number(_number(serial))
            .not_valid_before(instant(now_us - now_us % _SECOND_US - BACK_US))
            .not_valid_after(until)
            .add_extension(x509.SubjectAlternativeName([_host(each) for each in hosts]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(subject_key), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.private.public_key()), critical=False
            )
        )
        return builder.sign(self.key.private, None).public_bytes(serialization.Encoding.DER)


def trust_domain(origin: str) -> str:
    """The SPIFFE trust domain of a ledger: its origin, dots for slashes."""
    return names.check_name(origin.replace("/", "."), "trust domain")


def spiffe_id(agent: str, domain: str) -> str:
    """The one name that an agent's certificate bears."""
    return agent if agent.startswith("spiffe://") else f"spiffe://{domain}/agent/{agent}"


def make_issuer(directory: Path, origin: str, now_us: int, serial: bytes) -> Issuer:
    """The authority over the key in `directory`, which is made where there is none, with a new certificate.

    Raises InputError for a key that others could use, or a file that holds none.
    """
    path = directory / FILE_NAME
    try:
        key = keys.load_key(path)
    except NotFound:
        key = keys.generate()
        keys.save_key(path, key)
    now_us -= now_us % _SECOND_US
    name = _named(f"authority of {origin}"[:64])
    public = key.private.public_key()
    builder = (
        _builder(name, name, public, f"spiffe://{trust_domain(origin)}")
        .serial_number(_number(serial))
        .not_valid_before(instant(now_us - BACK_US))
        .not_valid_after(instant(now_us) + datetime.timedelta(days=365 * _YEARS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
    )
    return Issuer(key, builder.sign(key.private, None).public_bytes(serialization.Encoding.DER))


def load_issuer(directory: Path, certificate: bytes, origin: str) -> Issuer | str:
    """The authority on record with its key from `directory`, or why the two do not belong together any more.

    Raises InputError (code "key-permissions") for a key that others could use, Corrupt for what is no certificate.
    """
    try:
        key = keys.load_key(directory / FILE_NAME)
    except NotFound:
        return "its key was lost"
    try:
        recorded = x509.load_der_x509_certificate(certificate)
        public = recorded.public_key()
        domain = recorded.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound) as error:
        raise Corrupt("the record's issuer is no certificate that can be read") from error
    if public != key.private.public_key():
        return "its key was replaced"
    if domain.get_values_for_type(x509.UniformResourceIdentifier) != [f"spiffe://{trust_domain(origin)}"]:
        return "the record goes on under another name"
    return Issuer(key, certificate)


def pem(certificate: bytes) -> str:
    """A certificate's PEM text, from its DER."""
    return x509.load_der_x509_certificate(certificate).public_bytes(serialization.Encoding.PEM).decode("ascii")


def instant(us: int) -> datetime.datetime:
    """Microseconds since the epoch as a UTC time."""
    return _EPOCH + datetime.timedelta(microseconds=us)


def micros(at: datetime.datetime) -> int:
    """A UTC time as microseconds since the epoch."""
    return (at - _EPOCH) // datetime.timedelta(microseconds=1)


def serial_text(number: int) -> str:
    """A serial number as the record spells it: lower-case hex."""
    return f"{number:032x}"


def _number(serial: bytes) -> int:
    # RFC 5280 4.1.2.2: positive. The top bits are set so, and not left to chance.
    return int.from_bytes(bytes([serial[0] & 0x7F | 0x40]) + serial[1:], "big")


def _host(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        pass
    try:
        return x509.DNSName(name)
    except ValueError as error:
        raise InputError(f"{name!r} is no host's name") from error


def _named(name: str) -> x509.Name:
    return x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Failwell"), x509.NameAttribute(NameOID.COMMON_NAME, name)]
    )


def _builder(issuer: x509.Name, subject: x509.Name, public: Ed25519PublicKey, uri: str) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .issuer_name(issuer)
        .subject_name(subject)
        .public_key(public)
        .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, key_cert_sign=signs_certificates, crl_sign=False,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip
