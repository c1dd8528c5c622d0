"""Ed25519 signatures, verified with nothing but Python's integers: for whoever checks the record without our libraries.

Implements the verifying half of RFC 8032, 5.1 (5.1.3 decoding, 5.1.4 point addition, 5.1.7 verification). It accepts
exactly what OpenSSL, and with it `cryptography`, accepts under keys that are not of small order:

- *cofactorless*: [S]B = R + [k]A itself, not eight times both sides. RFC 8032 allows either; OpenSSL does this one,
  and two verifiers that differ in it can be made to disagree about one signature by whoever holds the key;
- R is compared as bytes with what it must be, so a second spelling of the same point is refused;
- S must be below the order of the group: S + L would be a second signature made from the first by anybody;
- keys of small order are refused, as `identity.keys` does: under such a "key" one signature fits every message;
- a key whose y is not below p is refused (RFC 8032, 5.1.3). OpenSSL reads it modulo p, but nobody can sign under one
  that is not of small order: the 19 points in question have no known private key.

Everything here is public (keys, messages, signatures), so nothing needs to take constant time, and nothing does: this
code must never see a private key. It does not sign and makes no keys.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha512
from typing import Final, NamedTuple

PUBLIC_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64

# RFC 8032, 5.1: the prime of the field, the order of the base point, and the constant of the curve.
_P: Final = 2**255 - 19
_L: Final = 2**252 + 27742317777372353535851937790883648493
_D: Final = -121665 * pow(121666, -1, _P) % _P
_SQRT_MINUS_ONE: Final = pow(2, (_P - 1) // 4, _P)
_BASE_Y: Final = 4 * pow(5, -1, _P) % _P

#: The points of small order without the sign bit: 0, 1 and -1 in both spellings, and the two of order 8 (RFC 7748, 7;
#: libsodium lists the same seven). Their y alone tells them.
SMALL_ORDER: Final = frozenset(
    bytes.fromhex(y)
    for y in (
        "00" * 32,
        "01" + "00" * 31,
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "ec" + "ff" * 30 + "7f",
        "ed" + "ff" * 30 + "7f",
        "ee" + "ff" * 30 + "7f",
    )
)

#: Digits of the signed windows: 2^(bits - 2) odd multiples are kept. The base point's are made once.
_BASE_BITS: Final = 8
_KEY_BITS: Final = 5


class _Cached(NamedTuple):
    """A point as the addend of an addition: Y + X, Y - X, 2dT and 2Z of its extended coordinates."""

    plus: int
    minus: int
    t2d: int
    z2: int


#: A point in extended homogeneous coordinates (X, Y, Z, T), x = X/Z, y = Y/Z, xy = T/Z (RFC 8032, 5.1.4).
_Point = tuple[int, int, int, int]
_NEUTRAL: Final[_Point] = (0, 1, 1, 0)


def is_small_order(public: bytes) -> bool:
    """Whether these 32 bytes are a point of small order: as a key it proves nothing."""
    return public[:31] + bytes([public[31] & 0x7F]) in SMALL_ORDER


def verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether `signature` (64 bytes) over `message` was made by the private key of `public` (32 bytes).

    Anything malformed, keys of small order included, is False. Source: RFC 8032, 5.1.7.
    """
    if len(public) != PUBLIC_BYTES or len(signature) != SIGNATURE_BYTES or is_small_order(public):
        return False
    # 1. S is an integer below L, and the key decodes to a point. R needs no decoding: it is compared as bytes.
    r, s = signature[:32], int.from_bytes(signature[32:], "little")
    if s >= _L:
        return False
    table = _negated_key(bytes(public))
    if table is None:
        return False
    # 2. k is the hash of both points and the message.
    k = int.from_bytes(sha512(r + public + message).digest(), "little") % _L
    # 3. [S]B = R + [k]A: R must be the encoding of [S]B - [k]A.
    return _encode(_multiply_both(s, k, table)) == r


# ------------------------------------------------------------------------------------------------------- points


def _decode(data: bytes) -> _Point | None:
    """The point of 32 bytes, None where there is none. Source: RFC 8032, 5.1.3."""
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & (1 << 255) - 1
    if y >= _P:
        return None
    u, v = (y * y - 1) % _P, (_D * y * y + 1) % _P
    # The candidate root (u/v)^((p+3)/8), with one exponentiation.
    x = u * pow(v, 3, _P) * pow(u * pow(v, 7, _P), (_P - 5) // 8, _P) % _P
    if v * x * x % _P != u:
        x = x * _SQRT_MINUS_ONE % _P
        if v * x * x % _P != u:
            return None
    if x == 0 and sign:
        return None
    if x & 1 != sign:
        x = _P - x
    return x, y, 1, x * y % _P


def _encode(point: _Point) -> bytes:
    """The 32 bytes of a point. Source: RFC 8032, 5.1.2."""
    x, y, z, _ = point
    inverse = pow(z, -1, _P)
    x, y = x * inverse % _P, y * inverse % _P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def _cache(point: _Point) -> _Cached:
    x, y, z, t = point
    return _Cached((y + x) % _P, (y - x) % _P, 2 * _D * t % _P, 2 * z % _P)


def _add(point: _Point, other: _Cached) -> _Point:
    """Source: RFC 8032, 5.1.4, the addition."""
    x, y, z, t = point
    a = (y - x) * other.minus % _P
    b = (y + x) * other.plus % _P
    c = t * other.t2d % _P
    d = z * other.z2 % _P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _subtract(point: _Point, other: _Cached) -> _Point:
    """The same with the addend negated: its sum and difference change places, and T its sign."""
    return _add(point, _Cached(other.minus, other.plus, -other.t2d, other.z2))


def _double(point: _Point) -> _Point:
    """Source: RFC 8032, 5.1.4, the doubling."""
    x, y, z, _ = point
    a, b = x * x % _P, y * y % _P
    h = a + b
    e = h - (x + y) * (x + y) % _P
    g = a - b
    f = 2 * z * z + g
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


# ----------------------------------------------------------------------------------------------- multiplication


def _odd_multiples(point: _Point, bits: int) -> tuple[_Cached, ...]:
    """P, 3P, 5P ... up to (2^(bits - 1) - 1)P, for signed windows of that many bits."""
    twice = _cache(_double(point))
    multiples = [point]
    for _ in range((1 << bits - 2) - 1):
        multiples.append(_add(multiples[-1], twice))
    return tuple(_cache(each) for each in multiples)


def _digits(scalar: int, bits: int) -> list[tuple[int, int]]:
    """The non-adjacent form of a scalar: (place, odd digit below 2^(bits - 1) in size), highest place first."""
    found, place = [], 0
    while scalar:
        zeros = (scalar & -scalar).bit_length() - 1
        scalar >>= zeros
        place += zeros
        digit = scalar & (1 << bits) - 1
        if digit >> bits - 1:
            digit -= 1 << bits
        found.append((place, digit))
        scalar -= digit
    return found[::-1]


def _multiply_both(s: int, k: int, key: tuple[_Cached, ...]) -> _Point:
    """[s]B + [k]K in one run of doublings (Straus); `key` are the odd multiples of K."""
    base = _base()
    additions: dict[int, list[tuple[int, tuple[_Cached, ...]]]] = {}
    for place, digit in _digits(s, _BASE_BITS):
        additions.setdefault(place, []).append((digit, base))
    for place, digit in _digits(k, _KEY_BITS):
        additions.setdefault(place, []).append((digit, key))
    point = _NEUTRAL
    for place in range(max(additions, default=-1), -1, -1):
        point = _double(point)
        for digit, table in additions.get(place, ()):
            point = _add(point, table[digit >> 1]) if digit > 0 else _subtract(point, table[-digit >> 1])
    return point


@lru_cache(maxsize=256)
def _negated_key(public: bytes) -> tuple[_Cached, ...] | None:
    """Odd multiples of -A; kept, because a record bears many signatures of few people."""
    point = _decode(public)
    if point is None:
        return None
    x, y, z, t = point
    return _odd_multiples((_P - x, y, z, _P - t), _KEY_BITS)


@lru_cache(maxsize=1)
def _base() -> tuple[_Cached, ...]:
    """Odd multiples of B, made when first needed: the node shares this module and verifies otherwise."""
    point = _decode(_BASE_Y.to_bytes(32, "little"))
    assert point is not None  # INVARIANT: 4/5 is the base point's y (RFC 8032, 5.1), its x the even one
    return _odd_multiples(point, _BASE_BITS)
