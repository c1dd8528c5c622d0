"""What the record says of keys, issuers and certificates, held against orders, state and signatures.

A key changes by a person's order for that very agent. A certificate is signed by the issuer in force, over the name and
key that its entry says, for an agent whose key is not revoked. Of X.509 only the outer structure is read (RFC 5280 4.1:
what is signed, and the signature; RFC 8410 for keys): what else a certificate says is judged where it is used
(`identity.svids`). Standard library only, besides the types of the record.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable
from typing import Any, NamedTuple

from failwell.core import kinds, orders
from failwell.core.instants import parse_at
from failwell.core.records import Entry
from failwell.core.state import State

VerifySignature = Callable[[bytes, bytes, bytes], bool]

#: No certificate is made out for longer: the settings allow a day, and each reaches back a minute.
LONGEST_US = (24 * 3600 + 60) * 1_000_000
#: DER of the header that an Ed25519 public key has in a certificate (RFC 8410 4): 32 bytes of key follow.
_ED25519 = bytes.fromhex("302a300506032b6570032100")
_SEQUENCE, _BITS, _URI = 0x30, 0x03, 0x86


class Signed(NamedTuple):
    """The two halves of a certificate: the bytes that are signed, and the signature."""

    text: bytes
    signature: bytes


def order_fault(entry: Entry[Any], order: orders.Order[Any], state: State) -> str | None:
    """Whether an order about an agent's key, or one that stops it, stands in the name of the agent that it is about.

    Attack: a true order to revoke one agent, entered as one about another: the first goes on.
    """
    if not isinstance(order.details, orders.AgentRekey | orders.AgentRevoke | orders.AgentSuspend):
        return None
    if state.agent_named(order.details.agent) != entry.agent:
        return f"the order is about {order.details.agent}"
    if isinstance(order.details, orders.AgentRekey):
        person = state.person.get(order.person)
        if person is None or "operator" not in person.roles:
            return f"{order.person} is no operator"
    return None


def key_fault(entry: Entry[Any], body: kinds.AgentKey, order: orders.Order[Any], state: State) -> str | None:
    """What a change of key says that its order does not. A reaction's content is held against the rules elsewhere."""
    if isinstance(order.details, orders.AgentRegister):
        same = (entry.agent, body.status) == (order.details.agent, "active")
        return None if same else "the key is not that of the agent that was registered"
    if entry.actor != "response":
        return f"{entry.actor} changed a key, which only the order itself does"
    row = state.agent.get(str(entry.agent))
    wanted = "active" if isinstance(order.details, orders.AgentRekey) else "revoked"
    if row is None or body.status != wanted or state.agent_named(order.details.agent) != entry.agent:
        return "the key's status or agent is not that of the order"
    return "the key revoked is not the one in force" if wanted == "revoked" and body.key != row.key else None


def issuer_fault(entry: Entry[Any], body: kinds.IdentityIssuer, verify: VerifySignature) -> str | None:
    """What is wrong with a new issuer: its certificate must be its own, signed by the key that it holds."""
    try:
        der = base64.b64decode(body.certificate, validate=True)
        signed, key = split(der), public_key(der)
    except (binascii.Error, ValueError) as error:
        return f"the issuer's certificate cannot be read: {error}"
    if entry.actor != "node" or entry.agent is not None:
        return "an issuer is made by the node, and for no agent"
    if hashlib.sha256(der).hexdigest() != body.digest or not verify(key, signed.text, signed.signature):
        return "the issuer's certificate is not the one that its key signed"
    return None


def certificate_fault(
    entry: Entry[Any], body: kinds.AgentCertificate, state: State, issuer: bytes | None, verify: VerifySignature
) -> str | None:  # fmt: skip
    """What is wrong with a certificate. `issuer`: the public key of the issuer in force, None while there is none."""
    row = state.agent.get(str(entry.agent))
    if row is None or row.key is None or entry.actor != "node":
        return "a certificate for an agent whose key is not in force, or not made by the node"
    in_force = state.workspace[1].issuer
    if issuer is None or in_force is None or body.issuer != in_force[1]:
        return "the certificate's issuer is not the one in force"
    try:
        der = base64.b64decode(body.certificate, validate=True)
        signed, key = split(der), public_key(der)
        since_us, until_us, at_us = parse_at(body.not_before), parse_at(body.not_after), parse_at(entry.at)
    except (binascii.Error, ValueError) as error:
        return f"the certificate cannot be read: {error}"
    if not verify(issuer, signed.text, signed.signature):
        return "the certificate was not signed by the issuer in force"
    if base64.b64encode(key).decode() != body.key or not _names(signed.text, str(entry.agent)):
        return "the certificate is over another key or name than its entry says"
    if not since_us <= at_us < until_us <= since_us + LONGEST_US:
        return "the certificate does not hold from when it was made, or for too long"
    return None


def split(der: bytes) -> Signed:
    """The halves of a certificate (RFC 5280 4.1): SEQUENCE of what is signed, algorithm, BIT STRING. ValueError."""
    _, inner, rest = _element(der, _SEQUENCE)
    text, _, inner = _element(inner, _SEQUENCE)
    _, _, inner = _element(inner, _SEQUENCE)
    _, bits, inner = _element(inner, _BITS)
    if rest or inner or not bits or bits[0]:
        raise ValueError("it is no certificate")
    return Signed(text, bits[1:])


def public_key(der: bytes) -> bytes:
    """The one Ed25519 key (32 bytes) that a certificate is over. ValueError where that is not one."""
    text = split(der).text
    if text.count(_ED25519) != 1:
        raise ValueError("it is not over one Ed25519 key")
    start = text.index(_ED25519) + len(_ED25519)
    if len(text) < start + 32:
        raise ValueError("its key is cut off")
    return text[start : start + 32]


def _names(text: bytes, agent: str) -> bool:
    """Whether what is signed holds the URI that stands for the agent: its full id, or one that ends in its name."""
    if agent.startswith("spiffe://"):
        named = agent.encode()
        return bytes([_URI]) + _length(len(named)) + named in text
    return f"/agent/{agent}".encode() in text


def _element(data: bytes, tag: int) -> tuple[bytes, bytes, bytes]:
    """(whole element, its content, what follows it) of DER that begins with `tag`. ValueError otherwise."""
    if len(data) < 2 or data[0] != tag:
        raise ValueError("it is not built as a certificate is")
    length, head = data[1], 2
    if length & 0x80:
        size = length & 0x7F
        head += size
        if not 1 <= size <= 3 or len(data) < head:
            raise ValueError("a length in it cannot be read")
        length = int.from_bytes(data[2:head], "big")
    if len(data) < head + length:
        raise ValueError("it is cut off")
    return data[: head + length], data[head : head + length], data[head + length :]


def _length(count: int) -> bytes:
    if count < 0x80:
        return bytes([count])
    size = (count.bit_length() + 7) // 8
    return bytes([0x80 | size]) + count.to_bytes(size, "big")
