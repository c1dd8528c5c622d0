"""C2SP signed-note and tlog-checkpoint by splitting lines; signatures by `cryptography`."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from tests.second.grammar import Bad


def sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def unbase64(text: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Bad("no base64") from error
    if base64.b64encode(data).decode() != text:
        raise Bad("base64 spelled oddly")
    return data


class Key(NamedTuple):
    name: str
    id: bytes
    public: bytes

    @classmethod
    def of(cls, vkey: str) -> Key:
        name, _, rest = vkey.partition("+")
        number, _, text = rest.partition("+")
        data = unbase64(text)
        if not name or data[:1] != b"\x01" or len(data) != 33:
            raise Bad("no Ed25519 vkey")
        if sha(name.encode() + b"\n" + data)[:4].hex() != number:
            raise Bad("the key's id is another one")
        return cls(name, bytes.fromhex(number), data[1:])

    def signed(self, text: bytes, signature: bytes) -> bool:
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, text)
        except (InvalidSignature, ValueError):
            return False
        return True


def open_note(data: bytes, *keys: Key) -> list[str]:
    """The lines of the text of a note that every one of `keys` signed, and nobody under their names signed badly."""
    try:
        text, _, signatures = data.decode("utf-8").rpartition("\n\n")
    except UnicodeDecodeError as error:
        raise Bad("the note is not UTF-8") from error
    text += "\n"
    if not signatures.endswith("\n") or any(ord(letter) < 32 and letter != "\n" for letter in text):
        raise Bad("no note")
    signers = []
    for line in signatures[:-1].split("\n"):
        dash, name, blob, *more = [*line.split(" "), "", ""]
        if dash != "\N{EM DASH}" or not name or "+" in name or more[2:] or more[:1] != [""]:
            raise Bad("no signature line")
        raw = unbase64(blob)
        if len(raw) < 5:
            raise Bad("no signature")
        for key in keys:
            if (name, raw[:4]) == (key.name, key.id):
                if not key.signed(text.encode(), raw[4:]) or key in signers:
                    raise Bad("a bad signature")
                signers.append(key)
    if len(signers) != len(keys):
        raise Bad("unsigned")
    return text[:-1].split("\n")


class Head(NamedTuple):
    origin: str
    size: int
    root: bytes

    @classmethod
    def of(cls, lines: list[str]) -> Head:
        if len(lines) < 3 or not all(lines) or not re.fullmatch("0|[1-9][0-9]*", lines[1]):
            raise Bad("no checkpoint")
        root = unbase64(lines[2])
        if len(root) != 32 or int(lines[1]) >= 2**63 or (lines[1] == "0" and root != sha(b"")):
            raise Bad("no checkpoint")
        return cls(lines[0], int(lines[1]), root)
