"""Our own Ed25519 verification against `cryptography`: whatever is signed, mangled or made up, one answer.

The curve is written a second time here, plainly (affine, double and add), to make what no library makes: keys with a
part of small order, and signatures that only hold without or only with the cofactor.
"""

from __future__ import annotations

import hashlib
import random

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from failwell.identity import keys
from failwell.verify import ed25519

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P

Point = tuple[int, int]


def add(one: Point, other: Point) -> Point:
    (x1, y1), (x2, y2) = one, other
    both = D * x1 * x2 * y1 * y2 % P
    return (x1 * y2 + x2 * y1) * pow(1 + both, P - 2, P) % P, (y1 * y2 + x1 * x2) * pow(1 - both, P - 2, P) % P


def times(scalar: int, point: Point) -> Point:
    result = (0, 1)
    while scalar:
        if scalar & 1:
            result = add(result, point)
        point, scalar = add(point, point), scalar >> 1
    return result


def root(square: int) -> int | None:
    x = pow(square, (P + 3) // 8, P)
    for candidate in (x, x * pow(2, (P - 1) // 4, P) % P):
        if candidate * candidate % P == square % P:
            return candidate
    return None


def at(y: int, odd: int = 0) -> Point:
    x = root((y * y - 1) * pow(D * y * y + 1, P - 2, P))
    assert x is not None
    return (x if x & 1 == odd else (P - x) % P), y


def encode(point: Point) -> bytes:
    return (point[1] | (point[0] & 1) << 255).to_bytes(32, "little")


BASE = at(4 * pow(5, P - 2, P) % P)
#: One of the four points of order 8; its multiples are all eight points of small order.
EIGHTH = at(int.from_bytes(bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little"))
SMALL = [times(count, EIGHTH) for count in range(8)]


def openssl(public: bytes, message: bytes, signature: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def sign_with(a: int, key: bytes, message: bytes, r: int, commitment: bytes) -> bytes:
    """A signature under the public key `key` with scalar `a`, whose R (rB plus what small part one likes) is given."""
    k = int.from_bytes(hashlib.sha512(commitment + key + message).digest(), "little") % L
    return commitment + ((r + k * a) % L).to_bytes(32, "little")


def test_random_signatures_whole_and_mangled_get_the_answer_of_cryptography(rng: random.Random) -> None:
    held = refused = 0
    for _ in range(40):
        private = Ed25519PrivateKey.from_private_bytes(rng.randbytes(32))
        public = private.public_key().public_bytes_raw()
        message = rng.randbytes(rng.randrange(200))
        signature = private.sign(message)
        cases = [(public, message, signature)]
        for _ in range(30):
            mangled = [bytearray(public), bytearray(message + b"."), bytearray(signature)]
            part = mangled[rng.choice((0, 1, 2, 2))]
            part[rng.randrange(len(part))] ^= 1 << rng.randrange(8)
            cases.append((bytes(mangled[0]), bytes(mangled[1][:-1]), bytes(mangled[2])))
        for case in cases:
            answer = openssl(*case)
            assert ed25519.verify(*case) == answer
            held += answer
            refused += not answer
    assert held >= 40
    assert refused >= 900


def test_random_bytes_are_answered_alike(rng: random.Random) -> None:
    """Half of all strings are no point: decoding must fail alike, and never raise."""
    for _ in range(600):
        public, message = rng.randbytes(32), rng.randbytes(8)
        signature = rng.randbytes(63) + bytes([rng.randrange(0x11)])
        assert ed25519.verify(public, message, signature) is openssl(public, message, signature) is False


@pytest.mark.requirement("R13.20")
def test_a_signature_with_the_order_added_to_s_is_refused(rng: random.Random) -> None:
    """The malleability that RFC 8032 8.4 warns of: S + L fits the equation, and anybody can make it."""
    private = Ed25519PrivateKey.from_private_bytes(rng.randbytes(32))
    public = private.public_key().public_bytes_raw()
    signature = private.sign(b"once")
    s = int.from_bytes(signature[32:], "little")
    for added in range(1, 16):
        second = signature[:32] + (s + added * L).to_bytes(32, "little")
        assert not ed25519.verify(public, b"once", second)
        assert not openssl(public, b"once", second)


@pytest.mark.parametrize("order", range(8))
def test_a_key_with_a_part_of_small_order_is_judged_without_the_cofactor(order: int, rng: random.Random) -> None:
    """Its holder can sign what holds only eightfold: the verifier that multiplies by eight would disagree with ours."""
    a, r = rng.randrange(1, L), rng.randrange(1, L)
    key = encode(add(times(a, BASE), SMALL[order]))
    answers = []
    for beside in range(8):  # R guesses what k will leave of the small part: one guess in eight or so is right
        commitment = encode(add(times(r, BASE), SMALL[beside]))
        for number in range(8):
            message = b"%d" % number
            signature = sign_with(a, key, message, r, commitment)
            answers.append(openssl(key, message, signature))
            assert ed25519.verify(key, message, signature) == answers[-1]
    assert any(answers)
    assert not all(answers)  # the others hold only with the cofactor


def test_keys_and_commitments_beyond_the_field_are_refused(rng: random.Random) -> None:
    """The 19 second spellings of points: y + p. Nobody can sign under them, so no honest one is lost."""
    private = Ed25519PrivateKey.from_private_bytes(rng.randbytes(32))
    public = private.public_key().public_bytes_raw()
    signature = private.sign(b"m")
    for y in range(19):
        for sign in (0, 1 << 255):
            spelling = (P + y | sign).to_bytes(32, "little")
            for case in ((spelling, b"m", signature), (public, b"m", spelling + signature[32:])):
                assert not ed25519.verify(*case)
                assert not openssl(*case)


def test_every_spelling_of_a_point_of_small_order_is_refused_as_a_key() -> None:
    """Under them one signature fits every message: R = the key's multiple, S = 0."""
    spellings = {encode(point) for point in SMALL}
    spellings |= {spelling[:31] + bytes([spelling[31] ^ 0x80]) for spelling in spellings}
    spellings |= {(P + y | sign).to_bytes(32, "little") for y in (0, 1) for sign in (0, 1 << 255)}
    forged = 0
    for public in spellings:
        assert ed25519.is_small_order(public)
        for point in SMALL:
            for number in range(8):
                signature = encode(point) + bytes(32)
                forged += openssl(public, b"%d" % number, signature)
                assert not ed25519.verify(public, b"%d" % number, signature)
    assert forged > 0  # the attack is real: the library alone takes them


def test_only_points_of_small_order_are_refused_for_it(rng: random.Random) -> None:
    assert {point[:31] + bytes([point[31] & 0x7F]) for point in map(encode, SMALL)} <= ed25519.SMALL_ORDER
    for spelling in ed25519.SMALL_ORDER:
        assert times(8, at(int.from_bytes(spelling, "little") % P)) == (0, 1)
    assert not ed25519.is_small_order(rng.randbytes(32))


@pytest.mark.parametrize("lengths", [(31, 64), (33, 64), (32, 63), (32, 65), (0, 64), (32, 0)])
def test_keys_and_signatures_of_another_length_are_false(lengths: tuple[int, int]) -> None:
    assert not ed25519.verify(bytes(lengths[0]), b"m", bytes(lengths[1]))


def test_the_key_functions_of_the_node_give_the_same_answers(rng: random.Random) -> None:
    key = keys.from_seed(rng.randbytes(32))
    for number in range(50):
        message = b"%d" % number
        signature = bytearray(key.sign(message))
        if number % 2:
            signature[rng.randrange(64)] ^= 1 << rng.randrange(8)
        case = key.public, message, bytes(signature)
        assert ed25519.verify(*case) == keys.verify(*case) == (number % 2 == 0)
