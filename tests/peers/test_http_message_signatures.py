"""An independent implementation of RFC 9421 and RFC 9530 judges our signed requests, and we judge its."""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field
from typing import Any

import pytest

from failwell.core.errors import Refused
from failwell.identity import http_signatures as hs
from failwell.identity import keys

peer = pytest.importorskip("http_message_signatures", reason="requirements/install.py run dev installs it")

KEY, OTHER = keys.generate(), keys.generate()
TARGET = "https://door.example:7341/v1/actions?run=7&x=%2F"
COVERED = ("@method", "@target-uri", "content-digest")
NOW = int(datetime.datetime.now(datetime.UTC).timestamp())


@dataclass
class Request:
    """A request as that library reads one."""

    method: str = "POST"
    url: str = TARGET
    headers: dict[str, str] = field(default_factory=dict)


def resolver(key: keys.SigningKey) -> Any:
    name = "agent:refund-bot"
    return peer.MappingKeyResolver(public_keys={name: key.private.public_key()}, private_keys={name: key.private})


def theirs(body: bytes, certificate: str | None = None, **more: Any) -> Request:
    """Signed by them."""
    request = Request(headers={} if certificate is None else {"Client-Cert": certificate})
    signer = peer.HTTPMessageSigner(signature_algorithm=peer.algorithms.ED25519, key_resolver=resolver(KEY))
    said: dict[str, Any] = {
        "key_id": "agent:refund-bot", "created": datetime.datetime.fromtimestamp(NOW, datetime.UTC),
        "nonce": "a-nonce-that-is-long", "tag": "failwell", "label": "sig1", "body": body,
        "covered_component_ids": COVERED if certificate is None else (*COVERED, "client-cert"),
    }  # fmt: skip
    signer.sign(request, **{**said, **more})
    return request


def read(request: Request, body: bytes) -> hs.Signed:
    headers = [(name.lower().encode(), value.encode()) for name, value in request.headers.items()]
    return hs.read(request.method, request.url, headers, body)


@pytest.mark.parametrize("body", [b"", b'{"a":1}', bytes(range(256)) * 300])
@pytest.mark.parametrize("certificate", [None, b"\x30\x82\x01\x02der"])
def test_they_verify_what_we_sign(body: bytes, certificate: bytes | None) -> None:
    stamp = hs.Stamp(NOW, "a-nonce-that-is-long")
    fields = hs.sign(KEY, "agent", "refund-bot", "POST", TARGET, body, stamp, certificate)
    verifier = peer.HTTPMessageVerifier(signature_algorithm=peer.algorithms.ED25519, key_resolver=resolver(KEY))
    found = verifier.verify(Request(headers=fields), expect_tag="failwell", body=body)
    assert [(each.parameters["keyid"], each.nonce, each.body) for each in found] == [
        ("agent:refund-bot", stamp.nonce, body)
    ]
    strange = peer.HTTPMessageVerifier(signature_algorithm=peer.algorithms.ED25519, key_resolver=resolver(OTHER))
    with pytest.raises(peer.InvalidSignature):
        strange.verify(Request(headers=fields), expect_tag="failwell")


@pytest.mark.parametrize("body", [b"", b'{"a":1}', bytes(range(256)) * 300])
@pytest.mark.parametrize("certificate", [None, ":MIIBAg==:"])
@pytest.mark.parametrize("include_alg", [True, False])
def test_we_verify_what_they_sign(body: bytes, certificate: str | None, include_alg: bool) -> None:
    found = read(theirs(body, certificate, include_alg=include_alg), body)
    assert found.holds(KEY.public)
    assert not found.holds(OTHER.public)
    assert (found.name, found.created, found.certificate is None) == ("refund-bot", NOW, certificate is None)


def test_we_refuse_of_theirs_what_is_outside_the_profile() -> None:
    with pytest.raises(Refused):
        read(theirs(b"", expires=datetime.datetime.now(datetime.UTC)), b"")
    with pytest.raises(Refused):
        read(theirs(b"", covered_component_ids=(*COVERED, "@authority")), b"")
    with pytest.raises(Refused, match="body"):
        read(theirs(b"one"), b"two")
