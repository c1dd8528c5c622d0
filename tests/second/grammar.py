"""RFC 8785 under the profile of entries, read as a grammar that has one spelling: written by hand, byte by byte."""

from __future__ import annotations

import re
from typing import Any


class Bad(Exception):
    """Bytes that are not what they should be."""


ESCAPES = {
    ord('"'): '"',
    ord("\\"): "\\",
    ord("b"): "\b",
    ord("f"): "\f",
    ord("n"): "\n",
    ord("r"): "\r",
    ord("t"): "\t",
}


class Grammar:
    """Recursive descent over the bytes; every production takes exactly what RFC 8785 would write."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def read(self) -> Any:
        if len(self.data) > 65_535:
            raise Bad("too long")
        value = self.value(1)
        if self.at != len(self.data):
            raise Bad("something follows")
        return value

    def take(self, expected: bytes) -> bool:
        if self.data.startswith(expected, self.at):
            self.at += len(expected)
            return True
        return False

    def need(self, expected: bytes) -> None:
        if not self.take(expected):
            raise Bad(f"{expected!r} expected at {self.at}")

    def value(self, depth: int) -> Any:
        for literal, meaning in ((b"null", None), (b"true", True), (b"false", False)):
            if self.take(literal):
                return meaning
        if self.data[self.at : self.at + 1] == b'"':
            return self.string()
        if depth > 32 and self.data[self.at : self.at + 1] in (b"{", b"["):
            raise Bad("too deep")
        if self.take(b"["):
            return self.array(depth)
        if self.take(b"{"):
            return self.members(depth)
        return self.integer()

    def array(self, depth: int) -> list[Any]:
        items: list[Any] = []
        if self.take(b"]"):
            return items
        while True:
            items.append(self.value(depth + 1))
            if self.take(b"]"):
                return items
            self.need(b",")

    def members(self, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if self.take(b"}"):
            return found
        before = ""
        while True:
            key = self.string()
            if not re.fullmatch(r"[a-z0-9_.\-]+", key) or key <= before:
                raise Bad("keys ascend and are made of a-z 0-9 _ . -")
            before = key
            self.need(b":")
            found[key] = self.value(depth + 1)
            if self.take(b"}"):
                return found
            self.need(b",")

    def integer(self) -> int:
        found = re.compile(rb"0|-?[1-9][0-9]{0,15}").match(self.data, self.at)
        if found is None or abs(int(found[0])) >= 2**53:
            raise Bad("no integer below 2^53")
        self.at = found.end()
        return int(found[0])

    def string(self) -> str:
        self.need(b'"')
        made = bytearray()
        while True:
            if self.at >= len(self.data):
                raise Bad("a string without an end")
            byte = self.data[self.at]
            self.at += 1
            if byte == ord('"'):
                break
            if byte < 0x20:
                raise Bad("a bare control character")
            made += self.escape() if byte == ord("\\") else bytes([byte])
        try:
            return made.decode("utf-8")
        except UnicodeDecodeError as error:
            raise Bad("not UTF-8") from error

    def escape(self) -> bytes:
        short = self.data[self.at] if self.at < len(self.data) else 0
        self.at += 1
        if short in ESCAPES:
            return ESCAPES[short].encode()
        digits = self.data[self.at : self.at + 4]
        self.at += 4
        # Only control characters without a short escape are written by number, in lower case.
        if short != ord("u") or not re.fullmatch(rb"00[01][0-9a-f]", digits) or int(digits, 16) in b"\b\f\n\r\t":
            raise Bad("an escape that RFC 8785 does not write")
        return bytes([int(digits, 16)])
