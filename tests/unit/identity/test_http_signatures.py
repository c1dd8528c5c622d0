"""Signed requests: what is taken is one form, held against the vectors of the RFCs; everything else is refused."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import given
from hypothesis import strategies as st

from failwell.core.errors import InputError, Refused
from failwell.identity import http_signatures as hs
from failwell.identity import keys

KEY = keys.from_seed(bytes(range(32)))
TARGET = "https://door.example/v1/actions?x=%20"
STAMP = hs.Stamp(1_800_000_000, "abcdefghijklmnop")
BODY = b'{"tool":"note.write"}'


def signed(**more: Any) -> dict[str, str]:
    said: dict[str, Any] = {
        "role": "agent", "name": "refund-bot", "method": "POST", "target": TARGET, "body": BODY, "stamp": STAMP,
    }  # fmt: skip
    return hs.sign(KEY, **{**said, **more})


def raw(fields: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode(), value.encode()) for name, value in fields.items()]


def read(fields: dict[str, str], **more: Any) -> hs.Signed:
    said: dict[str, Any] = {"method": "POST", "target": TARGET, "headers": raw(fields), "body": BODY}
    return hs.read(**{**said, **more})


def test_what_was_signed_is_read_back_and_holds_with_that_key_alone() -> None:
    found = read(signed())
    assert (found.role, found.name, found.created, found.nonce) == ("agent", "refund-bot", *STAMP)
    assert found.holds(KEY.public)
    assert not found.holds(keys.from_seed(bytes(32)).public)
    assert hs.read_base(found.base, found.signature) == found


def test_the_base_and_the_signature_are_those_of_rfc_9421_b_2_6() -> None:
    pem = b"""-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIJ+DYvh6SEqVTm50DFtMDoQikTmiCqirVv9mWG9qfSnF
-----END PRIVATE KEY-----
"""
    private: Any = serialization.load_pem_private_key(pem, None)
    values = [
        ("date", "Tue, 20 Apr 2021 02:07:55 GMT"), ("@method", "POST"), ("@path", "/foo"),
        ("@authority", "example.com"), ("content-type", "application/json"), ("content-length", "18"),
    ]  # fmt: skip
    covered = " ".join(f'"{name}"' for name, _ in values)
    base = hs.signature_base(values, f'({covered});created=1618884473;keyid="test-key-ed25519"')
    made = "wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw=="
    key = keys.SigningKey(private)
    assert base64.b64encode(key.sign(base)).decode() == made
    assert keys.verify(key.public, base, base64.b64decode(made))


def test_the_digest_is_that_of_rfc_9530() -> None:
    assert hs.digest_field(b'{"hello": "world"}\n') == "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:"
    assert hs.digest_field(b"") == "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:"


def test_a_certificate_is_covered_where_there_is_one() -> None:
    fields = signed(certificate=b"\x30\x82")
    assert read(fields).certificate == b"\x30\x82"
    with pytest.raises(Refused, match="client-cert"):
        read({name: value for name, value in fields.items() if name != "Client-Cert"})
    with pytest.raises(Refused, match="leaves out client-cert"):
        read({**signed(), "Client-Cert": ":MII=:"})


def changed(name: str, old: str, new: str) -> dict[str, str]:
    fields = signed()
    assert old in fields[name]
    return {**fields, name: fields[name].replace(old, new)}


@pytest.mark.parametrize(
    "fields",
    [
        {}, {**signed(), "Signature": ""}, {**signed(), "Signature-Input": ""}, {**signed(), "Content-Digest": ""},
        changed("Signature-Input", "failwell=(", "other=("),
        changed("Signature-Input", ";tag=", ";expires=1;tag="),
        changed("Signature-Input", ';tag="failwell"', ""),
        changed("Signature-Input", ';tag="failwell"', ';tag="other"'),
        changed("Signature-Input", ';tag="failwell"', ';tag=failwell'),
        changed("Signature-Input", ";tag=", ';alg="hmac-sha256";tag='),
        changed("Signature-Input", ";tag=", ';alg="rsa-v1_5-sha256";tag='),
        changed("Signature-Input", ";tag=", ';created=1800000001;tag='),
        changed("Signature-Input", ";tag=", ';keyid="agent:other-bot";tag='),
        changed("Signature-Input", 'keyid="agent:', 'keyid="root:'),
        changed("Signature-Input", "created=", "created=-"),
        changed("Signature-Input", "created=1800000000", "created=1800000000.0"),
        changed("Signature-Input", 'nonce="abcdefghijklmnop"', 'nonce="short"'),
        changed("Signature-Input", '"@method" ', '"@method"  '),
        changed("Signature-Input", '"@method" ', '"@method";req '),
        changed("Signature-Input", '"@method" ', ""),
        changed("Signature-Input", '"content-digest"', '"@authority"'),
        changed("Signature-Input", '"content-digest")', '"content-digest" "x-more")'),
        changed("Signature-Input", '"content-digest")', '"content-digest" "content-digest")'),
        {**signed(), "Signature-Input": signed()["Signature-Input"] + ", " + signed()["Signature-Input"]},
        {**signed(), "Signature": signed()["Signature"] + ", b=:AAAA:"},
        changed("Signature", ":", "::"), changed("Signature", "==:", "=:"),
        changed("Signature", "failwell=:", "failwell=:\u00e4"),
        changed("Content-Digest", "sha-256", "sha-512"), changed("Content-Digest", "sha-256=", "md5=:AAAA:, sha-256="),
    ],
)  # fmt: skip
def test_any_other_form_is_refused(fields: dict[str, str]) -> None:
    with pytest.raises(Refused) as refused:
        read(fields)
    assert refused.value.code == "unauthenticated"
    assert refused.value.hint


@pytest.mark.parametrize(
    "more",
    [
        {"method": "PUT"}, {"target": TARGET + "1"}, {"target": TARGET.replace("https", "http")},
        {"target": TARGET.replace("door", "other")},
    ],
)  # fmt: skip
def test_a_request_that_is_another_one_does_not_hold(more: dict[str, Any]) -> None:
    assert not read(signed(), **more).holds(KEY.public)


def test_a_changed_body_is_refused_and_so_is_a_digest_changed_with_it() -> None:
    with pytest.raises(Refused, match="body"):
        read(signed(), body=BODY + b" ")
    fields = {**signed(), "Content-Digest": hs.digest_field(BODY + b" ")}
    assert not read(fields, body=BODY + b" ").holds(KEY.public)


@pytest.mark.parametrize("name", [b"signature", b"signature-input", b"content-digest", b"client-cert"])
@pytest.mark.parametrize("first", [True, False])
def test_a_field_that_is_there_twice_is_refused(name: bytes, first: bool) -> None:
    fields = raw(signed(certificate=b"x"))
    more = next(field for field in fields if field[0] == name)
    with pytest.raises(Refused, match="twice"):
        read({}, headers=[more, *fields] if first else [*fields, more])


def test_what_cannot_be_signed_is_said_before_it_is_sent() -> None:
    for more in ({"target": "/v1"}, {"target": TARGET + "\n"}, {"target": TARGET + "\u00e4"}, {"name": 'a"b'}):
        with pytest.raises(InputError):
            signed(**more)


@given(st.binary(max_size=200))
def test_no_text_that_is_told_of_raises_anything_else(text: bytes) -> None:
    with pytest.raises(Refused):
        hs.read_base(text, bytes(64))


@given(st.integers(0, 400), st.integers(0, 255))
def test_a_text_with_one_byte_changed_is_refused_or_does_not_hold(place: int, byte: int) -> None:
    found = read(signed())
    text = bytearray(found.base)
    place %= len(text)
    if text[place] == byte:
        return
    text[place] = byte
    try:
        again = hs.read_base(bytes(text), found.signature)
    except Refused:
        return
    assert not again.holds(KEY.public)


BEHALF = {"failwell-agent": "token", "failwell-principal": "customer:8841", "failwell-request": "=?base64?w7xi?="}


def test_what_a_host_says_of_the_run_is_covered_by_its_signature() -> None:
    fields = {**signed(behalf=BEHALF), **BEHALF}
    assert read(fields).holds(KEY.public)
    for name in BEHALF:
        changed = {**fields, name: "customer:1"}
        assert not read(changed).holds(KEY.public)


@pytest.mark.parametrize("name", hs.BEHALF)
@pytest.mark.requirement("R3.24")
def test_a_principal_put_beside_a_signature_that_does_not_speak_of_it_is_refused(name: str) -> None:
    with pytest.raises(Refused):
        read({**signed(), name: "customer:8841"})
    with pytest.raises(Refused):
        read(signed(behalf={name: "customer:8841"}))
