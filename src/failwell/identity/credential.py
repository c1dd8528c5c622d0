"""A certificate and its private key as they lie with whoever runs the agent, and the proof that is made with them.

One PEM file of mode 0600, beside the agent's key: the private key (PKCS #8), the agent's certificate, the authority's.
An X.509-SVID of another trust domain is read the same way, from one file or two; its key may be Ed25519, EC P-256 or
RSA. `cryptography` only: the client carries it into the agent's process. It judges nothing: the node does.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from failwell.core.errors import InputError, NotFound
from failwell.identity import agents, keys
from failwell.identity.issuer import micros

PrivateKey = Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
_CERTIFICATE: Final = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Credential:
    """A certificate chain (PEM) with its key. Its text form shows no secret."""

    key: PrivateKey
    chain: str
    not_before_us: int
    not_after_us: int

    def __repr__(self) -> str:
        return f"Credential(until {self.not_after_us})"

    @property
    def half_us(self) -> int:
        """When half its time is over: then another one is asked for."""
        return (self.not_before_us + self.not_after_us) // 2

    def prove(self, origin: str, name: str, challenge: bytes, channel: str) -> bytes:
        """Answer a connection's challenge with the certificate's key (`identity.agents`, `identity.svids`)."""
        message = agents.hello_bytes(origin, "agent", name, challenge, channel)
        if isinstance(self.key, Ed25519PrivateKey):
            return self.key.sign(message)
        if isinstance(self.key, ec.EllipticCurvePrivateKey):
            return self.key.sign(message, ec.ECDSA(hashes.SHA256()))
        pss = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=padding.PSS.DIGEST_LENGTH)
        return self.key.sign(message, pss, hashes.SHA256())


def load_credential(certificate: Path, key: Path | None = None) -> Credential:
    """The credential of one private PEM file, or of a certificate's file and its key's.

    Raises NotFound, and InputError for keys that others could use and files that hold no such thing.
    """
    secret = keys.read_private(certificate if key is None else key)
    try:
        chain = secret if key is None else certificate.read_bytes()
    except OSError as error:
        raise NotFound(f"there is no certificate {certificate}") from error
    return parse_credential(secret, chain, str(certificate))


def parse_credential(secret: bytes, chain: bytes, where: str) -> Credential:
    """The credential of a private key's PEM and a chain's, which may be the same text; InputError for anything else."""
    try:
        private = serialization.load_pem_private_key(secret, password=None)
        found = "".join(_CERTIFICATE.findall(chain.decode("ascii")))
        leaf = x509.load_pem_x509_certificates(found.encode())[0]
    except (ValueError, TypeError, IndexError) as error:
        raise InputError(f"{where} holds no certificate with its key (PEM)") from error
    if not isinstance(private, PrivateKey) or private.public_key() != leaf.public_key():
        raise InputError(f"{where}: the key is not the certificate's")
    return Credential(private, found, micros(leaf.not_valid_before_utc), micros(leaf.not_valid_after_utc))


def credential_text(key: keys.SigningKey, certificate: str, issuer: str) -> bytes:
    """The PEM file of a fresh key and the certificate that was made out for it."""
    secret = key.private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return secret + certificate.encode("ascii") + issuer.encode("ascii")


def write_new(path: Path, data: bytes) -> None:
    """Write a file of mode 0600 where none is, in any directory; InputError where one is."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except FileExistsError as error:
        raise InputError(f"{path} is already there", hint="Choose another name.") from error
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from error
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
