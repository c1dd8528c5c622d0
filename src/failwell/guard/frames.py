"""What goes over a guard's socket: frames of a 4-byte length (big-endian) and canonical JSON, each small and closed.

    guard   {"id": 0, "ok": STATE}                              once, when it is ready to be asked
    caller  {"do": "seal", "id": 7, "path": [HEX...], "root": HEX, "since": 3 or null, "size": 5}
    caller  {"do": "rotate", "id": 8}
    caller  {"do": "confirm", "id": 9, "key": VKEY, "size": 9}
    caller  {"do": "retire", "id": 10, "why": TEXT}
    guard   {"id": 7, "ok": STATE}
    guard   {"error": {"code": CODE, "hint": TEXT or null, "message": TEXT}, "id": 7, "state": STATE or null}

    STATE   {"key": VKEY, "note": NOTE or null, "retired": TEXT or null, "root": HEX, "size": 5,
             "waiting": {"key": VKEY, "since": 9 or null, "statement": NOTE} or null}

Both sides refuse what is not exactly of these forms. Nothing here is believed: `remote` checks what a guard says,
`sealing` what a caller asks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from failwell.core import canonical
from failwell.core.errors import InputError
from failwell.core.merkle import HASH_BYTES
from failwell.ports.guard import Sealed

#: The largest is a seal with a path of 128 hashes, or a state whose texts fill its slot.
MAX_FRAME_BYTES: Final = 16_384
_LENGTH_BYTES: Final = 4

_NONE: Final = type(None)
_WISHES: Final[dict[str, dict[str, tuple[type, ...]]]] = {
    "seal": {"path": (list,), "root": (str,), "since": (int, _NONE), "size": (int,)},
    "rotate": {},
    "confirm": {"key": (str,), "size": (int,)},
    "retire": {"why": (str,)},
}
_STATE: Final = {"key": (str,), "note": (str, _NONE), "retired": (str, _NONE), "root": (str,), "size": (int,),
                 "waiting": (dict, _NONE)}  # fmt: skip
_WAITING: Final = {"key": (str,), "since": (int, _NONE), "statement": (str,)}
_ERROR: Final = {"code": (str,), "hint": (str, _NONE), "message": (str,)}


@dataclass(frozen=True, slots=True)
class WaitingKey:
    """The next key: its vkey, the statement of the change, and the tree size from which it signs (None: not yet)."""

    key: str
    statement: str
    since: int | None


@dataclass(frozen=True, slots=True)
class Shown:
    """What a guard says of itself: its state without the private keys. Fields as in `state.State`."""

    key: str
    size: int
    root: bytes
    note: bytes | None
    waiting: WaitingKey | None
    retired: str | None

    @property
    def last(self) -> Sealed | None:
        """The head it signed last."""
        return None if self.note is None else Sealed(self.size, self.root, self.note)

    def fields(self) -> dict[str, Any]:
        """As it stands in a frame."""
        waiting = self.waiting
        return {
            "key": self.key, "size": self.size, "root": self.root.hex(), "retired": self.retired,
            "note": None if self.note is None else self.note.decode(),
            "waiting": None if waiting is None else {
                "key": waiting.key, "since": waiting.since, "statement": waiting.statement,
            },
        }  # fmt: skip

    @classmethod
    def parse(cls, value: Any) -> Shown:
        """Read STATE. Raises InputError."""
        given = closed(value, _STATE, "a guard's state")
        waiting = None if given["waiting"] is None else closed(given["waiting"], _WAITING, "a waiting key")
        return cls(
            key=given["key"], size=given["size"], root=hash_of(given["root"]), retired=given["retired"],
            note=None if given["note"] is None else given["note"].encode(),
            waiting=None if waiting is None else WaitingKey(waiting["key"], waiting["statement"], waiting["since"]),
        )  # fmt: skip


def frame(value: dict[str, Any]) -> bytes:
    """The bytes of one frame. Raises InputError for what is too large."""
    data = canonical.encode(value, max_bytes=MAX_FRAME_BYTES)
    return len(data).to_bytes(_LENGTH_BYTES, "big") + data


class Frames:
    """Takes bytes as they come and gives whole frames. After InputError nothing more can be read."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        """Add what was received."""
        self._buffer += data

    def take(self) -> dict[str, Any] | None:
        """The next frame, None until it is there whole. Raises InputError as soon as it cannot become one."""
        if len(self._buffer) < _LENGTH_BYTES:
            return None
        length = int.from_bytes(self._buffer[:_LENGTH_BYTES], "big")
        if not 0 < length <= MAX_FRAME_BYTES:
            raise InputError(f"a frame of {length} bytes; 1 to {MAX_FRAME_BYTES} are read")
        end = _LENGTH_BYTES + length
        if len(self._buffer) < end:
            return None
        value = canonical.decode(bytes(self._buffer[_LENGTH_BYTES:end]), max_bytes=MAX_FRAME_BYTES)
        del self._buffer[:end]
        if type(value) is not dict or type(value.get("id")) is not int:
            raise InputError("a frame is an object with a number")
        return value


def wish(value: dict[str, Any]) -> tuple[int, str, dict[str, Any]]:
    """Number, verb and arguments of a caller's frame. Raises InputError."""
    verb = value.get("do")
    shape = _WISHES.get(verb) if type(verb) is str else None
    if shape is None or value["id"] < 1:
        raise InputError(f"a guard is asked for {', '.join(_WISHES)}, with a number from 1")
    given = closed(value, {"id": (int,), "do": (str,), **shape}, "what a guard is asked")
    return given.pop("id"), given.pop("do"), given


def answer(value: dict[str, Any]) -> tuple[Shown | None, dict[str, Any] | None]:
    """State and error of a guard's frame; one of them may be None. Raises InputError."""
    if "error" in value:
        given = closed(value, {"id": (int,), "error": (dict,), "state": (dict, _NONE)}, "an answer")
        shown = None if given["state"] is None else Shown.parse(given["state"])
        return shown, closed(given["error"], _ERROR, "an error")
    return Shown.parse(closed(value, {"id": (int,), "ok": (dict,)}, "an answer")["ok"]), None


def hash_of(text: Any) -> bytes:
    """The 32 bytes of 64 lower-case hex digits. Raises InputError."""
    try:
        found = bytes.fromhex(text)
    except (TypeError, ValueError):
        found = b""
    if len(found) != HASH_BYTES or found.hex() != text:
        raise InputError(f"a hash is {2 * HASH_BYTES} lower-case hex digits")
    return found


def closed(value: Any, shape: dict[str, tuple[type, ...]], what: str) -> dict[str, Any]:
    """A copy of an object with exactly these members, each of exactly one of these types. Raises InputError."""
    if type(value) is not dict or value.keys() != shape.keys():
        raise InputError(f"{what} has the members {', '.join(sorted(shape))}")
    for name, types in shape.items():
        if type(value[name]) not in types:
            raise InputError(f"{name} of {what} is of another type")
    return dict(value)
