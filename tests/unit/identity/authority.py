"""Certificates as an adversary would have them made: our own authority's, a stranger's, and everything in between."""

from __future__ import annotations

import base64
import datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

HOUR = datetime.timedelta(hours=1)


def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def usage(*, sign: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=sign, crl_sign=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip


class Authority:
    """A certificate authority that makes out whatever it is told to."""

    def __init__(
        self, domain: str = "spiffe://mesh.example", key: Any = None, certificate: x509.Certificate | None = None
    ) -> None:
        self.key = key or Ed25519PrivateKey.generate()
        self.name = named("authority") if certificate is None else certificate.subject
        self.certificate = certificate or self.sign(self.key.public_key(), [domain], ca=True, name=self.name)

    def sign(
        self, public: Any, uris: list[str], *, ca: bool = False, name: x509.Name | None = None,
        since: datetime.datetime | None = None, until: datetime.datetime | None = None, path_length: int | None = None,
        purpose: x509.ObjectIdentifier | None = ExtendedKeyUsageOID.CLIENT_AUTH, keys: x509.KeyUsage | None = None,
        extra: x509.ExtensionType | None = None, critical: bool = True, serial: int | None = None,
    ) -> x509.Certificate:  # fmt: skip
        builder = (
            x509.CertificateBuilder()
            .subject_name(name or named("agent"))
            .issuer_name(self.name)
            .public_key(public)
            .serial_number(serial or x509.random_serial_number())
            .not_valid_before(since or now() - HOUR)
            .not_valid_after(until or now() + HOUR)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=path_length if ca else None), critical=True)
            .add_extension(keys or usage(sign=ca), critical=True)
        )
        if uris:
            names = [x509.UniformResourceIdentifier(uri) for uri in uris]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        if purpose is not None and not ca:
            builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        if extra is not None:
            builder = builder.add_extension(extra, critical=critical)
        algorithm = None if isinstance(self.key, Ed25519PrivateKey) else hashes.SHA256()
        return builder.sign(self.key, algorithm)

    def below(self, **more: Any) -> Authority:
        """An authority that this one signed."""
        key = Ed25519PrivateKey.generate()
        return Authority(key=key, certificate=self.sign(key.public_key(), [], ca=True, name=named("below"), **more))


def pem(*certificates: x509.Certificate) -> str:
    return "".join(each.public_bytes(serialization.Encoding.PEM).decode() for each in certificates)


def der(certificate: x509.Certificate) -> str:
    return base64.b64encode(certificate.public_bytes(serialization.Encoding.DER)).decode()


def secret(key: Any) -> bytes:
    pem_text: bytes = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return pem_text


def other_keys() -> list[Any]:
    """Keys that X.509-SVIDs of other authorities have."""
    return [
        ec.generate_private_key(ec.SECP256R1()),
        rsa.generate_private_key(65537, 2048),
        Ed25519PrivateKey.generate(),
    ]
