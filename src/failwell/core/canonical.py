"""Canonical JSON: one value has one byte string, and one byte string has one value.

Three faces, from narrow to wide:

    encode / decode   the profile of entries, orders and contracts: objects, arrays, strings, booleans, null,
                      integers below 2^53, keys [a-z0-9_.-]+, at most 32 deep, at most 65,535 bytes
    parse             strict JSON from a stranger: the arguments of a tool call
    jcs, number_text  RFC 8785 in full: any keys, any finite number

Implements RFC 8785 (JSON Canonicalization Scheme) with ECMAScript's Number::toString, over I-JSON (RFC 7493).
It does not know records or kinds of entries, does not normalise Unicode, and never repairs what it reads.
Messages name places and rules, never the content of arguments: it may be personal.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from json import JSONDecoder, dumps
from json.encoder import encode_basestring
from math import isinf
from typing import Any, Final, NoReturn

from failwell.core.errors import InputError

MAX_DEPTH: Final = 32
MAX_PROFILE_BYTES: Final = 65_535
MAX_ARGUMENT_BYTES: Final = 1_048_576
SAFE_INTEGER_LIMIT: Final = 2**53
"""Below it an integer, its decimal text and the double that others read are one number (RFC 7493, 2.2)."""

_FIXED_NOTATION_LIMIT: Final = 1e21  # ECMAScript writes an exponent from here on
_LONGEST_DOUBLE_DIGITS: Final = 309  # digits of the largest double; longer literals overflow
_CACHED_KEY_LENGTH: Final = 64  # longer keys are checked each time: no stranger fills memory by the cache
_KEY: Final = re.compile(r"[a-z0-9_.-]+")
_SURROGATE_ESCAPE: Final = re.compile(r"\\u[dD][89a-fA-F]")


# ------------------------------------------------------------------------------------------------ the profile


def encode(value: object, *, max_bytes: int = MAX_PROFILE_BYTES) -> bytes:
    """Return the only bytes that stand for `value` under the profile (RFC 8785 bytes).

    `value`: dict, list or tuple, str, bool, None, int with |n| < 2^53; exact types, so that no subclass
    brings its own text. Raises InputError (code "canonical") for everything else, and for results over
    `max_bytes`, because `decode` would not read them again.
    """
    data = _to_utf8(_write_profile(value, MAX_DEPTH), "canonical")
    if len(data) > max_bytes:
        raise InputError(f"the value takes {len(data)} bytes, at most {max_bytes} are allowed", code="canonical")
    return data


def decode(data: bytes, *, max_bytes: int = MAX_PROFILE_BYTES) -> Any:
    """Return the value of profile bytes, accepting `data` only if `encode(decode(data)) == data`.

    Raises InputError (code "canonical") naming the rule that is broken: size, UTF-8, byte order mark, syntax,
    depth, duplicate key, float, NaN, integer range, key letters, or any other departure from the one
    canonical spelling.
    """
    text = _from_utf8(data, max_bytes, "canonical")
    try:
        value = _PLAIN.decode(text)
        # INVARIANT: the comparison alone decides. A second spelling of an accepted value (duplicate keys,
        # spaces, escapes, order) would let one entry have two leaves.
        if encode(value, max_bytes=max_bytes) == data:
            return value
    except RecursionError:
        raise InputError(f"nested more than {MAX_DEPTH} deep", code="canonical") from None
    except ValueError as error:
        raise InputError(f"not JSON: {error}", code="canonical") from None
    raise InputError(
        f"not in canonical form: {_departure(text)}",
        hint="Write it with failwell.core.canonical.encode.",
        code="canonical",
    )


def _departure(text: str) -> str:
    """Say what keeps readable JSON from being canonical."""
    try:
        _STRICT.decode(text)
    except InputError as error:
        return error.message
    return "spaces, order of keys, escapes or the spelling of a number differ from RFC 8785"


# ------------------------------------------------------------------------------------------- RFC 8785 in full


def jcs(value: object) -> bytes:
    """Return the RFC 8785 bytes of `value`: keys in UTF-16 order, numbers as ECMAScript writes them.

    `value`: dict with str keys, list or tuple, str, bool, None, int, float; exact types. Raises InputError
    (code "json") for NaN, infinities, lone surrogates, more than 32 levels, other types, and integers that
    `number_text` refuses.
    """
    return _to_utf8(_write_any(value, MAX_DEPTH), "json")


def number_text(number: float | int) -> str:
    """Return the shortest decimal text of a number, as ECMAScript's Number::toString (RFC 8785, 3.2.2.3).

    A double has exactly one such text. An integer of 2^53 or more is taken only if it is a double *and* that
    text denotes the same integer (10^20 passes; 2^60 does not: its text is 1152921504606847000). To write it
    "as the double would" would seal another number than a tool with exact integers gets. Raises
    InputError (code "json") for NaN, infinities, such integers, and other types, booleans included.
    """
    if type(number) is float:
        return _float_text(number)
    if type(number) is int:
        return _integer_text(number)
    raise InputError(f"{type(number).__name__} is not a number", code="json")


def _float_text(number: float) -> str:
    # repr gives the shortest digits that read back as the same double, which are ECMAScript's digits too; the
    # two only disagree on when to use an exponent and how to write it.
    text = repr(number)
    if "e" not in text:
        if text[-2:] == ".0":
            return text[:-2] if number else "0"  # -0 is 0
        if text[-1] in "fn":  # inf, nan
            raise InputError("NaN and infinities are not JSON numbers", code="json")
        return text
    mantissa, _, power_text = text.partition("e")
    sign = "-" if mantissa[0] == "-" else ""
    digits = mantissa.lstrip("-").replace(".", "")
    power = int(power_text)
    if 0 < power < 21:
        return sign + digits.ljust(power + 1, "0")
    if -7 < power < 0:
        return sign + "0." + "0" * (-power - 1) + digits
    fraction = "." + digits[1:] if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{fraction}e{power:+d}"


def _integer_text(number: int) -> str:
    if -SAFE_INTEGER_LIMIT < number < SAFE_INTEGER_LIMIT:
        return int.__repr__(number)
    try:
        double = float(number)
    except OverflowError:
        raise _inexact("json") from None
    text = _float_text(double)
    if int(double) == number == _exact_integer(text):
        return text
    raise _inexact("json")


def _inexact(code: str) -> InputError:
    return InputError(
        "a number of 2^53 or more that its shortest decimal text does not give back exactly",
        hint="Send it as a string.",
        code=code,
    )


def _exact_integer(text: str) -> int:
    """Read the ECMAScript text of an integral double of 2^53 or more as an exact integer."""
    mantissa, _, power = text.partition("e")
    whole, _, fraction = mantissa.partition(".")
    zeros = int(power or 0) - len(fraction)
    return int((whole + fraction).ljust(len(whole + fraction) + zeros, "0"))


# --------------------------------------------------------------------------------------- JSON from a stranger


def parse(text: bytes | str, *, max_bytes: int = MAX_ARGUMENT_BYTES, max_depth: int = MAX_DEPTH) -> Any:
    """Return the value of strict JSON text, refusing everything that two readers could read differently.

    `text`: UTF-8 bytes or str, at most `max_bytes` as UTF-8. Numbers without "." and "e" become int, others
    float. INVARIANT: whatever is accepted has RFC 8785 text that parses to an equal value. Raises InputError
    (code "arguments"): over size or depth, not UTF-8, byte order mark, bad syntax, a key twice in one object,
    NaN or Infinity, a lone surrogate, a number that overflows or vanishes, or one of 2^53 or more that its
    RFC 8785 text would not give back exactly.
    """
    data = _to_utf8(text, "arguments") if isinstance(text, str) else text
    text = _from_utf8(data, max_bytes, "arguments")
    try:
        value = _STRICT.decode(text)
        # Only an escape can bring a surrogate in, since the UTF-8 was strict.
        if _SURROGATE_ESCAPE.search(text):
            dumps(value, ensure_ascii=False).encode("utf-8")
    except RecursionError:  # attack: two mebibytes of "["
        raise InputError(f"nested more than {max_depth} deep", code="arguments") from None
    except UnicodeEncodeError:
        raise InputError("a lone surrogate is not a character", code="arguments") from None
    except ValueError as error:
        raise InputError(f"not JSON: {error}", code="arguments") from None
    if text.count("[") + text.count("{") > max_depth:  # fewer brackets cannot nest deeper
        _check_depth(value, max_depth)
    return value


def _check_depth(value: object, max_depth: int) -> None:
    level = _containers([value])
    for _ in range(max_depth):
        level = [
            child
            for container in level
            for child in _containers(container.values() if isinstance(container, dict) else container)
        ]
    if level:
        raise InputError(f"nested more than {max_depth} deep", code="arguments")


def _containers(values: Iterable[object]) -> list[dict[str, object] | list[object]]:
    return [value for value in values if isinstance(value, (dict, list))]


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        # Attack: {"amount": 1, "amount": 9000}. The gate would judge the one and the tool take the other.
        raise InputError("a key stands twice in one object", code="arguments")
    return members


def _integer(literal: str) -> int:
    if len(literal) < 16:
        return int(literal)
    if len(literal) <= _LONGEST_DOUBLE_DIGITS + 1:
        number = int(literal)
        if _is_exact(number):
            return number
    raise _inexact("arguments")


def _is_exact(number: int) -> bool:
    try:
        _integer_text(number)
    except InputError:
        return False
    return True


def _float(literal: str) -> float:
    number = float(literal)
    if -SAFE_INTEGER_LIMIT < number < SAFE_INTEGER_LIMIT:
        if number == 0.0 and literal.lower().partition("e")[0].strip("-0."):
            raise InputError("a number too small for a double", code="arguments")
        return number
    if isinf(number):
        raise InputError("a number too large for a double", code="arguments")
    if abs(number) < _FIXED_NOTATION_LIMIT and not _is_exact(int(number)):
        # Its RFC 8785 text is an integer literal of another value, which a later reading would refuse.
        raise _inexact("arguments")
    return number


def _constant(_name: str) -> NoReturn:
    raise InputError("NaN and Infinity are not JSON", code="arguments")


_PLAIN: Final = JSONDecoder()
_STRICT: Final = JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_float, parse_constant=_constant
)


# ------------------------------------------------------------------------------------------------- the writer


def _writer(
    scalars: dict[type, Callable[[Any], str]],
    ordered: Callable[[Iterable[Any]], list[str]],
    key_text: Callable[[str], str],
    code: str,
) -> Callable[[object, int], str]:
    """Build a writer of canonical text from the texts of scalars, the order of keys and the text of a key."""
    scalar_of = scalars.get

    def write(value: object, levels: int) -> str:
        scalar = scalar_of(type(value))
        if scalar is not None:
            return scalar(value)
        if not levels:
            raise InputError(f"nested more than {MAX_DEPTH} deep", code=code)
        levels -= 1
        parts = []
        if type(value) is dict:
            for key in ordered(value):
                item = value[key]
                scalar = scalar_of(type(item))
                parts.append(key_text(key) + (write(item, levels) if scalar is None else scalar(item)))
            return "{" + ",".join(parts) + "}"
        if type(value) is list or type(value) is tuple:
            for item in value:
                scalar = scalar_of(type(item))
                parts.append(write(item, levels) if scalar is None else scalar(item))
            return "[" + ",".join(parts) + "]"
        raise InputError(f"{type(value).__name__} has no place in JSON", code=code)

    return write


def _profile_order(keys: Iterable[Any]) -> list[str]:
    try:
        return sorted(keys)  # ASCII: code points and UTF-16 code units sort alike
    except TypeError:
        raise InputError("a key is not a string", code="canonical") from None


def _profile_key(key: str) -> str:
    if type(key) is not str:
        raise InputError("a key is not a string", code="canonical")
    return _cached_key(key) if len(key) <= _CACHED_KEY_LENGTH else _checked_key(key)


def _checked_key(key: str) -> str:
    if _KEY.fullmatch(key) is None:
        raise InputError(f"key {key[:40]!r} has other characters than a-z 0-9 _ . -", code="canonical")
    return f'"{key}":'


_cached_key: Final = lru_cache(maxsize=4096)(_checked_key)


def _profile_integer(number: int) -> str:
    if -SAFE_INTEGER_LIMIT < number < SAFE_INTEGER_LIMIT:
        return int.__repr__(number)
    raise InputError("an integer of 2^53 or more", hint="Write it as a string.", code="canonical")


def _profile_float(_number: float) -> NoReturn:
    raise InputError("floats are not allowed", hint="Use an integer of a smaller unit.", code="canonical")


def _any_order(keys: Iterable[Any]) -> list[str]:
    members = list(keys)
    try:
        joined = "".join(members)
    except TypeError:
        raise InputError("a key is not a string", code="json") from None
    if joined.isascii():
        return sorted(members)
    # RFC 8785, 3.2.3: by UTF-16 code units; a character beyond the basic plane sorts before U+E000.
    return sorted(members, key=_utf16)


def _utf16(key: str) -> bytes:
    try:
        return key.encode("utf-16-be")
    except UnicodeEncodeError:
        raise InputError("a lone surrogate is not a character", code="json") from None


def _any_key(key: str) -> str:
    return encode_basestring(key) + ":"


_CONSTANTS: Final[dict[type, Callable[[Any], str]]] = {
    str: encode_basestring,  # escapes exactly what RFC 8785, 3.2.2.2 escapes, in the same spelling
    bool: {True: "true", False: "false"}.__getitem__,
    type(None): {None: "null"}.__getitem__,
}
_write_profile: Final = _writer(
    {**_CONSTANTS, int: _profile_integer, float: _profile_float}, _profile_order, _profile_key, "canonical"
)
_write_any: Final = _writer({**_CONSTANTS, int: _integer_text, float: _float_text}, _any_order, _any_key, "json")


# -------------------------------------------------------------------------------------------------- the bytes


def _to_utf8(text: str, code: str) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        raise InputError("a lone surrogate is not a character", code=code) from None


def _from_utf8(data: bytes, max_bytes: int, code: str) -> str:
    if len(data) > max_bytes:
        raise InputError(f"{len(data)} bytes, at most {max_bytes} are allowed", code=code)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"not UTF-8 at byte {error.start}", code=code) from None
    if text[:1] == "\ufeff":
        raise InputError("a byte order mark is not JSON", code=code)
    return text
