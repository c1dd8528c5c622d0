"""The adversary has orders, keys and files of their own, and wants a power that nobody gave them."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from failwell.core import orders
from failwell.core.errors import FailwellError, InputError, Refused
from failwell.core.instants import parse_at
from failwell.core.orders import Order, SignedOrder
from failwell.identity import agents, keys, persons
from failwell.verify import ed25519

ORIGIN = "failwell/5d41402abc4b2a76"
AT = "2026-11-23T05:00:00.000000Z"
SIGHT = orders.shown_digest(b'{"agent":"refund-bot"}')
ANN = persons.Signer("ann", keys.from_seed(b"a" * 32))
BEN = persons.Signer("ben", keys.from_seed(b"b" * 32))


def release(person: str = "ann", nonce: str = "0" * 32) -> Order[Any]:
    return Order(
        order="release.approve",
        origin=ORIGIN,
        person=person,
        nonce=nonce,
        at=AT,
        shown=SIGHT,
        details=orders.ReleaseApprove(incident=1, agent="refund-bot", proposal="ab" * 32),
    )


SIGNED = persons.sign_order(ANN, release())


def refused(signed: SignedOrder, public: bytes = ANN.key.public) -> bool:
    try:
        persons.verify_order(signed, public)
    except Refused:
        return True
    return False


def test_the_true_order_passes() -> None:
    assert persons.verify_order(SIGNED, ANN.key.public) == release()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"agent":"refund-bot"', '"agent":"payout-bot"'),
        ('"incident":1', '"incident":2'),
        ('"person":"ann"', '"person":"ben"'),
        (ORIGIN, "failwell/0000000000000000"),
        ('"nonce":"0', '"nonce":"1'),
        (AT, "2027-11-23T05:00:00.000000Z"),
        (SIGHT, "0" * 64),
    ],
)
def test_an_altered_order_is_refused(old: str, new: str) -> None:
    assert old in SIGNED.order
    assert refused(msgspec.structs.replace(SIGNED, order=SIGNED.order.replace(old, new)))


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(["order", "key", "signature"]), st.integers(0, 5000), st.integers(32, 126))
def test_no_single_letter_of_a_signed_order_can_change(field: str, place: int, letter: int) -> None:
    text = getattr(SIGNED, field)
    place %= len(text)
    if text[place] == chr(letter):
        return
    changed = text[:place] + chr(letter) + text[place + 1 :]
    assert refused(msgspec.structs.replace(SIGNED, **{field: changed}))


def test_an_order_in_another_persons_name_is_refused() -> None:
    with pytest.raises(Refused, match="cannot sign an order of ann"):
        persons.sign_order(BEN, release("ann"))
    text = orders.order_bytes(release("ann"))
    forged = SignedOrder(
        order=text.decode(),
        key=ANN.key.key_id,  # the claim is ann's key, the signature ben's
        signature=base64.b64encode(BEN.key.sign(orders.SIGNED_PREFIX + text)).decode(),
    )
    assert refused(forged)
    assert refused(msgspec.structs.replace(forged, key=BEN.key.key_id))


def test_a_key_id_of_another_key_is_refused() -> None:
    assert refused(msgspec.structs.replace(SIGNED, key=BEN.key.key_id))
    assert refused(SIGNED, BEN.key.public)


def test_a_signature_made_for_another_purpose_is_no_order() -> None:
    text = orders.order_bytes(release())
    for prefix in (b"", b"failwell/hello/1\n", b"failwell/order/2\n", b"failwell/enrol/1\n"):
        signature = base64.b64encode(ANN.key.sign(prefix + text)).decode()
        assert refused(SignedOrder(order=text.decode(), key=ANN.key.key_id, signature=signature))


def test_an_answered_challenge_is_never_an_order() -> None:
    proof = agents.prove(ANN.key, ORIGIN, "person", "ann", b"c" * 32, "node-1")
    assert refused(msgspec.structs.replace(SIGNED, signature=base64.b64encode(proof).decode()))


def test_the_same_order_in_a_second_spelling_is_refused() -> None:
    loose = json.dumps(json.loads(SIGNED.order))
    assert refused(msgspec.structs.replace(SIGNED, order=loose))
    signature = base64.b64encode(ANN.key.sign(orders.SIGNED_PREFIX + loose.encode())).decode()
    assert refused(SignedOrder(order=loose, key=ANN.key.key_id, signature=signature))


def test_a_signature_in_a_second_spelling_is_refused() -> None:
    # Attack: the unused bits of base64, or S + L (RFC 8032 5.1.7), give a second signature over the same
    # order, which a careless replay check by signature would take for a new one.
    raw = base64.b64decode(SIGNED.signature)
    last = SIGNED.signature[-3]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    twin = alphabet[alphabet.index(last) + 1]
    second = SIGNED.signature[:-3] + twin + "=="
    assert base64.b64decode(second) == raw
    assert refused(msgspec.structs.replace(SIGNED, signature=second))
    group_order = 2**252 + 27742317777372353535851937790883648493
    high = int.from_bytes(raw[32:], "little") + group_order
    malleated = raw[:32] + high.to_bytes(32, "little")
    assert refused(msgspec.structs.replace(SIGNED, signature=base64.b64encode(malleated).decode()))
    for odd in ("", "====", SIGNED.signature + "\n", SIGNED.signature.replace("=", ""), "é" * 88):
        assert refused(msgspec.structs.replace(SIGNED, signature=odd))


def test_a_replayed_order_is_refused_everywhere() -> None:
    used: set[str] = set()
    now_us = parse_at(AT)

    def play(origin: str, shown: str, at_us: int) -> None:
        order = persons.verify_order(SIGNED, ANN.key.public)
        orders.check_order(order, origin=origin, shown=shown, now_us=at_us, used=used.__contains__)
        used.add(order.nonce)

    with pytest.raises(Refused, match="is for ledger"):
        play("failwell/1111111111111111", SIGHT, now_us)
    with pytest.raises(Refused, match="something else"):
        play(ORIGIN, "0" * 64, now_us)
    with pytest.raises(Refused, match="was signed at"):
        play(ORIGIN, SIGHT, now_us + 2 * orders.HOUR_US)
    assert not used
    play(ORIGIN, SIGHT, now_us)
    with pytest.raises(Refused, match="used before"):
        play(ORIGIN, SIGHT, now_us)


@pytest.mark.parametrize("point", sorted(ed25519.SMALL_ORDER))
@pytest.mark.parametrize("sign_bit", [0, 0x80])
def test_a_key_under_which_anything_verifies_is_refused(point: bytes, sign_bit: int) -> None:
    # With a public key of small order, the signature (R = that point's multiple, S = 0) fits some or all
    # messages.
    weak = point[:31] + bytes([point[31] | sign_bit])
    for r in ed25519.SMALL_ORDER:
        for count in range(16):
            assert not keys.verify(weak, b"%d" % count, r + bytes(32))
    with pytest.raises(Refused, match="nobody made"):
        keys.check_public(weak)


def test_the_weak_key_attack_is_real_in_the_library_below() -> None:
    # If the library refuses this one day, our own table may go.
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    identity = b"\x01" + bytes(31)
    Ed25519PublicKey.from_public_bytes(identity).verify(identity + bytes(32), b"pay the attacker")
    assert not keys.verify(identity, b"pay the attacker", identity + bytes(32))


# ---- enrolment -------------------------------------------------------------------------------------------


def enrolment(signer: persons.Signer, person: str, proof: str) -> orders.PersonEnrol:
    key = base64.b64encode(signer.key.public).decode()
    return orders.PersonEnrol(person=person, key=key, proof=proof, roles=(), contact=None)


def test_the_holder_of_a_key_can_be_enrolled() -> None:
    details = enrolment(BEN, "ben", persons.prove_enrolment(BEN, ORIGIN))
    assert persons.check_enrolment(ORIGIN, details) == BEN.key.public


def test_anothers_key_cannot_be_enrolled_under_ones_own_name() -> None:
    stolen = persons.prove_enrolment(BEN, ORIGIN)
    with pytest.raises(Refused, match="whoever holds it"):
        persons.check_enrolment(ORIGIN, enrolment(BEN, "mallory", stolen))
    with pytest.raises(Refused, match="whoever holds it"):
        persons.check_enrolment(ORIGIN, enrolment(ANN, "ben", stolen))


def test_an_enrolment_made_for_another_ledger_is_refused() -> None:
    elsewhere = persons.prove_enrolment(BEN, "failwell/2222222222222222")
    with pytest.raises(Refused):
        persons.check_enrolment(ORIGIN, enrolment(BEN, "ben", elsewhere))


def test_a_weak_key_cannot_be_enrolled() -> None:
    identity = b"\x01" + bytes(31)
    proof = base64.b64encode(identity + bytes(32)).decode()
    details = orders.PersonEnrol(
        person="mallory", key=base64.b64encode(identity).decode(), proof=proof, roles=(), contact=None
    )
    with pytest.raises(Refused, match="nobody made"):
        persons.check_enrolment(ORIGIN, details)


# ---- the key file ----------------------------------------------------------------------------------------


def test_a_stolen_key_file_without_the_passphrase_signs_nothing(tmp_path: Path) -> None:
    locked = persons.PersonKey.create(tmp_path, "ann", "four words make it")
    content = locked.path.read_bytes()
    assert b"BEGIN ENCRYPTED PRIVATE KEY" in content
    for guess in ("four words make i", "FOUR WORDS MAKE IT", " four words make it", "x"):
        with pytest.raises(Refused, match="does not open"):
            locked.unlock(guess)


def test_the_pem_does_not_open_with_the_typed_passphrase_directly(tmp_path: Path) -> None:
    # Else guessing would cost 2,048 rounds of PBKDF2 a try, and the scrypt in front of it nothing.
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    locked = persons.PersonKey.create(tmp_path, "ann", "four words make it")
    with pytest.raises(ValueError, match="password"):
        load_pem_private_key(locked.path.read_bytes(), b"four words make it")


def test_a_swapped_public_key_is_noticed_before_anything_is_signed(tmp_path: Path) -> None:
    ann = persons.PersonKey.create(tmp_path, "ann", "four words make it")
    ben = persons.PersonKey.create(tmp_path, "ben", "other words it is")
    mark = b"-----BEGIN PUBLIC KEY-----"
    private, _, _ = ann.path.read_bytes().partition(mark)
    _, _, public = ben.path.read_bytes().partition(mark)
    ann.path.write_bytes(private + mark + public)
    with pytest.raises(InputError, match="not that of the private key"):
        persons.PersonKey.load(tmp_path, "ann").unlock("four words make it")


@settings(
    max_examples=25,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_damaged_key_file_signs_nothing_else(tmp_path: Path, place: int, flip: int) -> None:
    name = f"ann{hashlib.sha256(f'{place} {flip}'.encode()).hexdigest()[:16]}"
    locked = persons.PersonKey.create(tmp_path, name, "four words make it")
    data = bytearray(locked.path.read_bytes())
    data[place % len(data)] ^= flip
    locked.path.write_bytes(bytes(data))
    try:
        signer = persons.PersonKey.load(tmp_path, name).unlock("four words make it")
    except FailwellError:
        return
    assert signer.key.public == locked.public
