"""Secrets, taken out of everything that comes back from a tool which held them (R6, custody).

A secret is found as it is and as programs commonly spell it: percent-encoded, escaped as in JSON, in hexadecimal, in
base64 wherever in it the secret begins, wrapped into lines or not. What it does NOT do: it stops no tool that wants to
give its secret away. Reversed, encrypted or told letter by letter it is not found; a tool that holds a secret is its
operator's program, and its word is all that keeps it.

INVARIANT: nobody learns by asking whether they guessed a part of a secret. Only the whole of it is replaced; where
output was cut, so much of its edge is left out, whatever stands there, that no part of a secret can be left over.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

import re2  # type: ignore[import-untyped]

from failwell.core.errors import InputError
from failwell.execute.snapshot import ARGUMENTS_BYTES, PATH_BYTES
from failwell.execute.supervisor import ERRORS_TAIL_BYTES
from failwell.ports.executor import Ended

#: A shorter one would be found everywhere, and guessed soon.
MIN_BYTES: Final = 8
MAX_BYTES: Final = 4096
#: The most bytes that one byte of a secret takes in the spellings that are looked for.
_WIDEST: Final = 6
_MAX_MEMORY: Final = 64 << 20
#: What is longer is looked for in parts of so many letters.
_PART: Final = 128
_SHORT: Final = {"\n": b"n", "\r": b"r", "\t": b"t", "\b": b"b", "\f": b"f"}
_HTML: Final = {"&": b"amp", "<": b"lt", ">": b"gt", '"': b"quot", "'": b"apos"}
#: What stands between two letters of base64, or two bytes of hexadecimal, in wrapped and in spaced output.
_WRAPPED: Final = rb"(?:\s|\\+[nr])*"
_SPACED: Final = rb"(?:[\s:,-]|0x|\\+[nrx])*"
_ANY64: Final = rb"[A-Za-z0-9+/_-]"
#: What a snapshot has of the middle of something longer.
_TAILS: Final = ("output_tail", "errors_tail")


class Redaction:
    """Replaces the secrets in `values` (name -> value) by `[secret NAME]`; without any it changes nothing."""

    __slots__ = ("_edge", "_found")

    def __init__(self, values: Mapping[str, str]) -> None:
        longest_first = sorted(values.items(), key=lambda item: -len(item[1].encode()))
        parts = [(f"[secret {name}]".encode(), part) for name, value in longest_first for part in _parts(value)]
        self._found = [(marker, _Sought(part)) for marker, part in parts]
        self._edge = _WIDEST * max((len(part.encode()) for _, part in parts), default=0)

    def __repr__(self) -> str:
        return f"Redaction({len(self._found)})"

    @property
    def holds_none(self) -> bool:
        """Whether there is nothing to look for."""
        return not self._found

    def also(self, other: Redaction) -> Redaction:
        """Both of them in one."""
        both = Redaction({})
        both._found, both._edge = [*self._found, *other._found], max(self._edge, other._edge)
        return both

    def clean(self, data: bytes) -> bytes:
        """`data` without the secrets."""
        spans = sorted(self._spans(data), key=lambda span: (span[0], -span[1]))
        kept, done, last = bytearray(), 0, b""
        for start, end, marker in spans:
            if start > done or (start == done and marker != last):
                kept += data[done:start] + marker
                last = marker
            done = max(done, end)
        return bytes(kept + data[done:]) if spans else data

    def _spans(self, data: bytes) -> Iterator[tuple[int, int, bytes]]:
        """Where what stands of a secret begins and ends, also where two of them overlap."""
        for marker, sought in self._found:
            for start, end in sought.spans(data):
                yield start, end, marker

    def text(self, text: str) -> str:
        """`text` without the secrets."""
        return self.clean(text.encode("utf-8", "surrogatepass")).decode("utf-8", "replace") if self._found else text

    def cut(self, data: bytes, *, head: bool = False, tail: bool = False) -> bytes:
        """What was cut out of something longer, without the secrets, and without the edges where one can begin."""
        cleaned = self.clean(data)
        return cleaned[self._edge if head else 0 : max(0, len(cleaned) - self._edge) if tail else None]

    def ended(self, end: Ended) -> Ended:
        """An end whose words, output and snapshot hold no secret, nor a part of one."""
        if not self._found:
            return end
        # A tool that was stopped can have been in the midst of writing one.
        stopped = end.exit_code is None
        cut = end.truncated or stopped
        return replace(
            end, output=self.cut(end.output, tail=cut), truncated=end.truncated or (stopped and bool(end.output)),
            errors=self.cut(end.errors, head=len(end.errors) >= ERRORS_TAIL_BYTES, tail=stopped),
            why=None if end.why is None else self.text(end.why), proven_by=self.text(end.proven_by),
            snapshot=None if end.snapshot is None else self.snapshot(end.snapshot),
        )  # fmt: skip

    def snapshot(self, text: bytes) -> bytes:
        """A snapshot (`execute.snapshot`), whose texts hold no secret, nor a part of one; nothing of what is none."""
        try:
            found = json.loads(text)
        except ValueError:
            return b"{}"
        return json.dumps(self._below(found), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()

    def _below(self, value: Any) -> Any:
        if isinstance(value, str):
            # A path can have been cut.
            return self._part(value, tail=len(value) >= PATH_BYTES)
        if isinstance(value, list):
            cleaned = [self._below(each) for each in value]
            texts = [each for each in value if isinstance(each, str)]
            if texts and sum(len(each.encode("utf-8", "replace")) + 1 for each in texts) >= ARGUMENTS_BYTES:
                cleaned[-1] = self._part(texts[-1], tail=True)  # so can a command line, in its last word
            return cleaned
        if isinstance(value, dict):
            return {
                self.text(key): self._part(each, head=True, tail=True) if key in _TAILS else self._below(each)
                for key, each in value.items()
            }
        return value

    def _part(self, text: str, *, head: bool = False, tail: bool = False) -> str:
        data = text.encode("utf-8", "surrogatepass")
        return self.cut(data, head=head, tail=tail).decode("utf-8", "replace")


#: For tools that hold none.
NOTHING: Final = Redaction({})


def period(text: str) -> int:
    """The least shift by which `text` lies on itself: its length, where nothing of it repeats."""
    # Knuth, Morris, Pratt: `borders[n]` is the longest proper beginning of the first n letters that also ends them.
    borders, border = [0, 0], 0
    for at in range(1, len(text)):
        while border and text[at] != text[border]:
            border = borders[border]
        border += text[at] == text[border]
        borders.append(border)
    return len(text) - borders[len(text)]


class _Sought:
    """One part of a secret, in all its spellings. Two of it can overlap by no less than its period."""

    __slots__ = ("_pattern", "_step")

    def __init__(self, part: str) -> None:
        self._pattern = _compiled(part)
        # A part that repeats itself tells nothing where it is cut through, and would be found at every turn of it.
        self._step = period(part) if 2 * period(part) > len(part) else None

    def spans(self, data: bytes) -> Iterator[tuple[int, int]]:
        found = self._pattern.search(data)
        while found is not None:
            yield found.start(), found.end()
            found = self._pattern.search(data, found.end() if self._step is None else found.start() + self._step)


# ---- spellings -----------------------------------------------------------------------------------------------


def _compiled(value: str) -> Any:
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.never_capture = True
    options.log_errors = False
    options.max_mem = _MAX_MEMORY
    try:
        return re2.compile(b"|".join(_spellings(value)), options)
    except re2.error:  # its words hold the pattern, and so the secret
        raise InputError("this secret cannot be taken out of what a tool says") from None


def _parts(value: str) -> list[str]:
    """The secret, and what of it is told as often: without blanks around it, and each of several lines.

    Attack: a long secret that repeats itself, and a tool that echoes the most of it again and again: looking for the
    whole took minutes. What is long is looked for in parts, each of which nobody guesses.
    """
    pieces = [value, value.strip(), *(line.strip() for line in value.splitlines())]
    parts: list[str] = []
    for piece in pieces:
        count = max(1, -(-len(piece) // _PART))
        parts += [piece[len(piece) * at // count : len(piece) * (at + 1) // count] for at in range(count)]
    return [part for part in dict.fromkeys(parts) if part == value or len(part.encode()) >= MIN_BYTES]


def _spellings(value: str) -> Iterator[bytes]:
    yield b"".join(_letter(letter) for letter in value)
    raw = value.encode()
    yield _SPACED.join(b"(?i:%02x)" % byte for byte in raw)
    for before in range(3):
        yield _base64(raw, before)


def _letter(letter: str) -> bytes:
    """One letter as it is and as it is escaped: percent-encoded, once or more often, in JSON, by a shell, in HTML."""
    raw = letter.encode()
    plain = re.escape(raw)
    if letter.isascii() and not letter.isalnum():
        plain = rb"\\*" + plain
    ways = [plain, b"".join(rb"%%(?:25)*(?i:%02x)" % byte for byte in raw)]
    units = letter.encode("utf-16-be")
    ways.append(b"".join(rb"\\+u(?i:%04x)" % int.from_bytes(units[at : at + 2]) for at in range(0, len(units), 2)))
    ways.append(rb"\\+(?:U(?i:%08x)|u\{0*(?i:%x)\})" % (ord(letter), ord(letter)))
    if ord(letter) < 256:
        ways.append(rb"\\+x(?i:%02x)" % ord(letter))
    if letter in _SHORT:
        ways.append(rb"\\+" + _SHORT[letter])
    if letter in _HTML:
        ways.append(rb"&(?:%s|#0*%d|#(?i:x0*%x));" % (_HTML[letter], ord(letter), ord(letter)))
    if letter == " ":
        ways.append(rb"\+")
    if letter == "'":
        ways.append(rb"'(?:\\'|\"'\")'")  # as a shell has it inside such quotes
    return b"(?:%s)" % b"|".join(ways)


def _base64(raw: bytes, before: int) -> bytes:
    """Base64 of something in which `raw` stands after a multiple of three bytes, and `before` more.

    The letters at either end also carry bits of what stands beside it: any letter is taken for them.
    """
    spelled = base64.b64encode(bytes(before) + raw)
    first, last = -(-8 * before // 6), 8 * (before + len(raw)) // 6
    letters = [_letter64(spelled[at]) for at in range(first, last)]
    if 8 * before % 6:
        letters.insert(0, _ANY64)
    if 8 * (before + len(raw)) % 6:
        letters.append(_ANY64)
    return _WRAPPED.join(letters)


def _letter64(letter: int) -> bytes:
    return {ord("+"): rb"[+-]", ord("/"): rb"[/_]"}.get(letter, bytes((letter,)))
