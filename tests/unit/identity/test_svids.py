"""What a certificate must say, and who must stand behind it, without a node."""

from __future__ import annotations

import datetime
import os
import stat
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier

from failwell.core.errors import FailwellError, InputError, Refused
from failwell.identity import issuer, keys, svids
from failwell.identity.credential import parse_credential
from tests.unit.identity.authority import HOUR, Authority, der, now, other_keys, pem, secret, usage

BOT = "spiffe://mesh.example/agent/refund-bot"
CA = Authority()
KEY = Ed25519PrivateKey.generate()


def leaf(**more: Any) -> x509.Certificate:
    given: dict[str, Any] = {"uris": [BOT], **more}
    return CA.sign(KEY.public_key(), **given)


UNKNOWN = x509.UnrecognizedExtension(ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00")
BAD: dict[str, dict[str, Any]] = {
    "lapsed": {"since": now() - 2 * HOUR, "until": now() - datetime.timedelta(seconds=1)},
    "not yet valid": {"since": now() + 2 * HOUR, "until": now() + 3 * HOUR},
    "for another agent": {"uris": ["spiffe://mesh.example/agent/other-bot"]},
    "for a name that begins so": {"uris": [f"{BOT}2"]},
    "of another trust domain": {"uris": ["spiffe://evil.example/agent/refund-bot"]},
    "for the trust domain itself": {"uris": ["spiffe://mesh.example"]},
    "for two agents": {"uris": [BOT, "spiffe://mesh.example/agent/other-bot"]},
    "for one agent twice": {"uris": [BOT, BOT]},
    "for nobody": {"uris": []},
    "an authority's": {"ca": True},
    "for signing certificates": {"keys": usage(sign=True)},
    "for servers": {"purpose": ExtendedKeyUsageOID.SERVER_AUTH},
    "for no purpose": {"purpose": None},
    "with a critical extension nobody judges": {"extra": UNKNOWN},
}


@pytest.mark.parametrize("what", BAD)
def test_a_certificate_that_is(what: str) -> None:
    with pytest.raises(Refused):
        svids.check_leaf(leaf(**BAD[what]), BOT, now())


def test_the_plain_one_stands_for_its_agent() -> None:
    svids.check_leaf(leaf(), BOT, now())
    svids.check_path([leaf()], [CA.certificate], now())


def test_a_chain_leads_through_authorities_that_may_sign() -> None:
    between = CA.below()
    made = between.sign(KEY.public_key(), [BOT])
    svids.check_path([made, between.certificate], [CA.certificate], now())
    with pytest.raises(Refused, match="does not chain"):
        svids.check_path([made], [CA.certificate], now())


def test_a_stranger_of_the_same_name_signs_nothing() -> None:
    stranger = Authority()
    assert stranger.name == CA.name
    with pytest.raises(Refused, match="does not chain"):
        svids.check_path([stranger.sign(KEY.public_key(), [BOT])], [CA.certificate], now())


def test_an_agents_own_certificate_signs_nothing() -> None:
    # Attack: a leaf's key signs another leaf, and the first goes along as if it were an authority.
    mine = leaf()
    forged = Authority(key=KEY, certificate=mine).sign(Ed25519PrivateKey.generate().public_key(), [BOT])
    with pytest.raises(Refused, match="may not sign"):
        svids.check_path([forged, mine], [CA.certificate], now())


@pytest.mark.parametrize("fault", ["lapsed", "too long", "names bounded", "names bounded, not critical"])
def test_an_authority_in_between_is_held_too(fault: str) -> None:
    bounded = x509.NameConstraints(permitted_subtrees=[x509.DNSName("a.example")], excluded_subtrees=None)
    more: dict[str, dict[str, Any]] = {
        "lapsed": {"since": now() - 2 * HOUR, "until": now() - HOUR},
        "too long": {"path_length": 0},
        "names bounded": {"extra": bounded},
        "names bounded, not critical": {"extra": bounded, "critical": False},
    }
    between = CA.below(**more[fault])
    chain = [between.certificate]
    if fault == "too long":
        between = between.below()
        chain.insert(0, between.certificate)
    made = between.sign(KEY.public_key(), [BOT])
    with pytest.raises(Refused):
        svids.check_path([made, *chain], [CA.certificate], now())


def test_proofs_are_made_with_keys_of_three_kinds_and_no_weaker_ones() -> None:
    for key in other_keys():
        made = CA.sign(key.public_key(), [BOT])
        held = parse_credential(secret(key), pem(made).encode(), "here")
        proof = held.prove("failwell/0", BOT, b"c" * 32, "node-1")
        message = svids_message()
        assert svids.check_signature(made, message, proof)
        assert not svids.check_signature(made, message + b".", proof)
        assert not svids.check_signature(made, message, proof[:-1])
        assert not svids.check_signature(made, message, b"")
    weak: list[Any] = [ec.generate_private_key(ec.SECP384R1()), rsa.generate_private_key(65537, 1024)]
    for key in weak:
        made = CA.sign(key.public_key(), [BOT])
        proof = parse_credential(secret(key), pem(made).encode(), "here").prove("failwell/0", BOT, b"c" * 32, "node-1")
        assert not svids.check_signature(made, svids_message(), proof)


def svids_message() -> bytes:
    from failwell.identity import agents

    return agents.hello_bytes("failwell/0", "agent", BOT, b"c" * 32, "node-1")


@pytest.mark.parametrize(
    "text", ["", "AAAA", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "é", "=" * 9]
)
def test_what_is_no_certificate_is_said_to_be_none(text: str) -> None:
    with pytest.raises(InputError):
        svids.parse_chain(text)


def test_cut_off_and_altered_certificates_never_break_the_reader() -> None:
    raw = pem(leaf())
    whole = der(leaf())
    for cut in range(0, len(whole), 37):
        for text in (whole[:cut], whole[:cut] + "AAAA" + whole[cut + 4 :], raw[:cut]):
            try:
                found = svids.parse_chain(text)[0]
                svids.check_leaf(found, BOT, now())
                svids.check_path([found], [CA.certificate], now())
            except FailwellError:
                continue
            assert found == leaf() or text == whole or svids.issued_by(found, CA.certificate)


def test_a_chain_without_end_is_not_read() -> None:
    with pytest.raises(InputError, match="at most"):
        svids.parse_chain(pem(*[leaf()] * 6))
    with pytest.raises(InputError, match="at most"):
        svids.parse_chain("A" * 70_000)


# ---- our own authority -----------------------------------------------------------------------------------------


def test_the_workspaces_authority_makes_out_what_is_accepted(tmp_path: Path) -> None:
    made = issuer.make_issuer(tmp_path / "keys", "failwell/00ff", time.time_ns() // 1000, os.urandom(16))
    path = tmp_path / "keys" / issuer.FILE_NAME
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    authority = x509.load_der_x509_certificate(made.certificate)
    assert svids.uris(authority) == ["spiffe://failwell.00ff"]
    key = keys.generate()
    name = issuer.spiffe_id("refund-bot", "failwell.00ff")
    assert name == "spiffe://failwell.00ff/agent/refund-bot"
    out = issuer_leaf(made, name, key.public)
    svids.check_leaf(out, name, now())
    svids.check_path([out], [authority], now())
    assert out.not_valid_before_utc < now() - datetime.timedelta(seconds=30)
    assert svids.check_signature(out, b"x", key.sign(b"x"))
    loaded = issuer.load_issuer(tmp_path / "keys", made.certificate, "failwell/00ff")
    assert isinstance(loaded, issuer.Issuer)
    assert "SigningKey(" in repr(loaded)


def issuer_leaf(made: issuer.Issuer, name: str, public: bytes) -> x509.Certificate:
    out = made.issue(name, public, os.urandom(16), time.time_ns() // 1000, 60)
    return x509.load_der_x509_certificate(out.certificate)


def test_an_authority_whose_key_is_lost_replaced_or_another_logs_issues_no_more(tmp_path: Path) -> None:
    made = issuer.make_issuer(tmp_path / "keys", "failwell/00ff", time.time_ns() // 1000, os.urandom(16))
    path = tmp_path / "keys" / issuer.FILE_NAME
    assert issuer.load_issuer(path.parent, made.certificate, "failwell/0100") == "the record goes on under another name"
    path.chmod(0o644)
    with pytest.raises(InputError, match="0600"):
        issuer.load_issuer(path.parent, made.certificate, "failwell/00ff")
    path.unlink()
    assert issuer.load_issuer(path.parent, made.certificate, "failwell/00ff") == "its key was lost"
    keys.save_key(path, keys.generate())
    assert issuer.load_issuer(path.parent, made.certificate, "failwell/00ff") == "its key was replaced"


def test_no_certificate_is_made_out_over_a_key_that_verifies_anything(tmp_path: Path) -> None:
    made = issuer.make_issuer(tmp_path / "keys", "failwell/00ff", time.time_ns() // 1000, os.urandom(16))
    with pytest.raises(Refused):
        issuer_leaf(made, BOT, bytes([1]) + bytes(31))
