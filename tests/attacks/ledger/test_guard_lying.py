"""A lying guard: the attacker is the guard, or answers in its place, and says of a head what is not so.

What it says is believed by its signature alone: over the very head that was asked for, by the key of this log, and
never less than was seen before. A guard that has the key and signs two histories is the split view, and is found there.
"""

from __future__ import annotations

import json
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from failwell.core import merkle, note
from failwell.core.errors import FailwellError
from failwell.guard.frames import Frames, frame
from failwell.guard.keypair import KeyPair
from failwell.guard.process import shown
from failwell.guard.remote import RemoteGuard
from failwell.guard.sealing import LocalGuard
from failwell.ports.guard import GuardRefused
from tests.attacks.ledger.judging import TALLY, Ground, hashes

Lie = Callable[["Liar", dict[str, Any]], "dict[str, Any] | bytes | None"]
SIGNED, ASKED = 20, 40


class Liar(threading.Thread):
    """Serves the guard's protocol over a real guard, and changes what that says by one lie once it is told to."""

    def __init__(self, path: Path, guard: LocalGuard) -> None:
        super().__init__(daemon=True)
        self.guard = guard
        self.lie: Lie | None = None
        self.stranger = KeyPair.generate(guard.state().pair.verifier.name)  # type: ignore[union-attr]
        self.earlier = shown(guard.state()).fields()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()

    def run(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                self._serve(connection)

    def _serve(self, connection: socket.socket) -> None:
        frames = Frames()
        self._say(connection, 0)
        while data := connection.recv(65536):
            frames.feed(data)
            while (asked := frames.take()) is not None:
                if asked["do"] == "seal" and self.lie is None:
                    path = [bytes.fromhex(each) for each in asked["path"]]
                    self.guard.seal(asked["size"], bytes.fromhex(asked["root"]), path)
                elif asked["do"] == "seal":
                    self.asked = asked
                if not self._say(connection, asked["id"]):
                    return

    def _say(self, connection: socket.socket, number: int) -> bool:
        value: Any = {"id": number, "ok": shown(self.guard.state()).fields()}
        if self.lie is not None and number:
            value = self.lie(self, value)
        if value is None:
            return False
        connection.sendall(value if isinstance(value, bytes) else frame(value))
        return True

    def sign(self, pair: KeyPair, size: int, root: bytes, origin: str | None = None) -> str:
        """A checkpoint by any key over any head."""
        text = note.Checkpoint(origin or pair.verifier.name, size, root).text()
        return note.sign(text, pair.verifier.name, pair.verifier.public, pair.sign).decode()

    def stop(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def over(fields: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {**fields, "ok": {**fields["ok"], **changes}}


def _pair(liar: Liar) -> KeyPair:
    pair = liar.guard.state().pair
    assert pair is not None
    return pair


def _asked(liar: Liar, value: dict[str, Any], note_text: str) -> dict[str, Any]:
    """As if it had signed what it was asked for, under another note."""
    return over(value, size=liar.asked["size"], root=liar.asked["root"], note=note_text)


LIES: dict[str, Lie] = {
    "says it signed and gives the note of an earlier head": lambda liar, value: _asked(
        liar, value, value["ok"]["note"]
    ),
    "says the head it signed last is the answer": lambda liar, value: value,
    "signs with another key": lambda liar, value: _asked(
        liar, value, liar.sign(liar.stranger, liar.asked["size"], bytes.fromhex(liar.asked["root"]))
    ),
    "signs with another key and says that it is the log's": lambda liar, value: over(
        _asked(liar, value, liar.sign(liar.stranger, liar.asked["size"], bytes.fromhex(liar.asked["root"]))),
        key=liar.stranger.key,
    ),
    "signs another root and says it was the one asked for": lambda liar, value: _asked(
        liar, value, liar.sign(_pair(liar), liar.asked["size"], bytes.fromhex("5" * 64))
    ),
    "gives no note": lambda liar, value: over(value, size=liar.asked["size"], root=liar.asked["root"], note=None),
    "gives a note with a byte changed": lambda liar, value: _asked(
        liar, value,
        liar.sign(_pair(liar), liar.asked["size"], bytes.fromhex(liar.asked["root"])).replace("\n\n", "x\n\n"),
    ),
    "answers another question": lambda liar, value: {**value, "id": value["id"] + 1},
    "answers nothing that is an answer": lambda liar, value: {"id": value["id"]},
    "answers with more than was agreed": lambda liar, value: {**value, "more": 1},
    "answers with what is no frame": lambda liar, value: b"\xff" * 64,
    "answers with a text that is not canonical": lambda liar, value: _spelled(value),
    "hangs up": lambda liar, value: None,
    "forgets what it had signed": lambda liar, value: {**value, "ok": liar.earlier},
}  # fmt: skip


#: By a guard that has the log's key and signs what it was not asked for.
TREACHERY: dict[str, Lie] = {
    "signs another root": lambda liar, value: over(
        value, size=liar.asked["size"], root="5" * 64,
        note=liar.sign(_pair(liar), liar.asked["size"], bytes.fromhex("5" * 64)),
    ),
    "signs another size": lambda liar, value: over(
        value, size=liar.asked["size"] + 1, root=liar.asked["root"],
        note=liar.sign(_pair(liar), liar.asked["size"] + 1, bytes.fromhex(liar.asked["root"])),
    ),
}  # fmt: skip


def _spelled(value: dict[str, Any]) -> bytes:
    data = json.dumps(value).encode()
    return len(data).to_bytes(4, "big") + data


@pytest.fixture
def liar(ground: Ground, tmp_path: Path) -> Iterator[tuple[Liar, RemoteGuard]]:
    """A guard behind a socket that has signed 20 entries honestly, and the node's side of it."""
    place = Path(tempfile.mkdtemp(prefix="fw-"))  # a socket's path is short
    guard = LocalGuard.create(tmp_path / "guard", ground.image.origin)
    guard.seal(2, ground.roots[2], [])
    server = Liar(place / "s", guard)
    server.start()
    remote = RemoteGuard.at(f"unix:{place / 's'}", key=guard.key)
    path = merkle.consistency_path(2, SIGNED, hashes(ground.forger()))
    assert remote.seal(SIGNED, ground.roots[SIGNED], path, 5.0).size == SIGNED
    yield server, remote
    remote.close()
    server.stop()
    guard.close()
    shutil.rmtree(place)


@pytest.mark.parametrize("name", LIES)
def test_what_a_guard_says_without_having_signed_it_is_not_believed(
    ground: Ground, liar: tuple[Liar, RemoteGuard], name: str
) -> None:
    server, remote = liar
    before = remote.last()
    path = merkle.consistency_path(SIGNED, ASKED, hashes(ground.forger()))
    server.lie = LIES[name]
    TALLY.attacks += 1
    with pytest.raises(FailwellError):
        remote.seal(ASKED, ground.roots[ASKED], path, 1.0)
    assert remote.last() == before
    TALLY.detected += 1
    server.lie = None
    sealed = remote.seal(ASKED, ground.roots[ASKED], path, 5.0)  # the truth is believed again
    assert sealed[:2] == (ASKED, ground.roots[ASKED])


@pytest.mark.parametrize("name", TREACHERY)
def test_a_guard_that_signed_another_history_is_refused_from_then_on(
    ground: Ground, liar: tuple[Liar, RemoteGuard], name: str
) -> None:
    """It has the key, so the other history is signed; the node takes no seal from it any more."""
    server, remote = liar
    path = merkle.consistency_path(SIGNED, ASKED, hashes(ground.forger()))
    for lie in (TREACHERY[name], None):
        server.lie = lie
        TALLY.attacks += 1
        with pytest.raises(GuardRefused):
            remote.seal(ASKED, ground.roots[ASKED], path, 1.0)
        TALLY.detected += 1
