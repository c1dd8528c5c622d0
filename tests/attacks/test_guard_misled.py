"""Attack: have a second history of the log signed, or have a signature believed that the guard did not give.

The adversary holds the ledger file, the workspace and the node; may put old files back; may stand in the guard's place
on its socket. Not held up by anything here: who reads the guard's directory as its own user has its key, and who puts
ledger and guard back together, as a snapshot of the machine does, is found out only by a checkpoint kept elsewhere.
"""

from __future__ import annotations

import contextlib
import random
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from failwell.core import note
from failwell.core.errors import InputError
from failwell.guard.frames import Frames, Shown, WaitingKey, frame
from failwell.guard.keypair import KeyPair
from failwell.guard.process import shown
from failwell.guard.remote import RemoteGuard
from failwell.guard.sealing import LocalGuard
from failwell.guard.state import FILE_NAME, SLOT_BYTES
from failwell.ports.guard import GuardFailed, GuardLost, GuardRefused, Sealed
from tests.unit.guard.trees import HONEST, Tree

ORIGIN = "failwell/00112233aabbccdd"
FORGED = Tree("forged ", since=3)  # the same first three entries, then another history


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "guard"


@pytest.fixture
def guard(place: Path) -> Iterator[LocalGuard]:
    guard = LocalGuard.create(place, ORIGIN)
    yield guard
    guard.close()


def grow(guard: LocalGuard, size: int, tree: Tree = HONEST) -> Sealed:
    begin, _ = guard.grown()
    return guard.seal(size, tree.root(size), tree.path(begin, size), since=begin)


# ---- another history ------------------------------------------------------------------------------------------------


@pytest.mark.requirement("R13.9")
def test_an_older_ledger_gets_no_signature(guard: LocalGuard) -> None:
    sealed = [grow(guard, size) for size in (3, 5, 8)]
    for size in range(8):
        for since in (None, *range(size + 1)):
            with pytest.raises(GuardRefused, match="rollback"):
                guard.seal(size, HONEST.root(size), HONEST.path(since or 0, size), since=since)
    assert guard.last() == sealed[-1]


@pytest.mark.requirement("R13.13")
def test_a_second_history_of_the_same_length_gets_no_signature(guard: LocalGuard) -> None:
    sealed = grow(guard, 8)
    paths: tuple[list[bytes], ...] = ([], FORGED.path(3, 8), FORGED.path(7, 8), HONEST.path(3, 8))
    for path in paths:
        for since in (None, 3, 8):
            with pytest.raises(GuardRefused, match="two roots for one size"):
                guard.seal(8, FORGED.root(8), path, since=since)
    assert guard.last() == sealed


@pytest.mark.requirement("R13.13")
def test_a_second_longer_history_gets_no_signature_whatever_its_proof(guard: LocalGuard, rng: random.Random) -> None:
    sealed = grow(guard, 8)
    for size in (9, 12, 16, 17):
        honest, forged = HONEST.path(8, size), FORGED.path(8, size)
        paths = [[], honest, forged, FORGED.path(3, size), forged[::-1], forged[:-1], [*forged, forged[-1]]]
        paths += [[rng.randbytes(32) for _ in forged] for _ in range(50)]
        for path in paths:
            with pytest.raises(GuardRefused, match="fork"):
                guard.seal(size, FORGED.root(size), path, since=8)
    assert guard.last() == sealed
    grow(guard, 9)


@pytest.mark.requirement("R13.13")
def test_every_other_history_of_a_small_log_is_refused(tmp_path: Path) -> None:
    """All pairs of sizes, with an entry changed at every place that was signed already."""
    refused = 0
    for signed in range(1, 8):
        guard = LocalGuard.create(tmp_path / str(signed), ORIGIN)
        grow(guard, signed)
        for size in range(signed, 10):
            for changed in range(signed):
                other = Tree("changed ", since=changed)
                with pytest.raises(GuardRefused):
                    guard.seal(size, other.root(size), other.path(signed, size), since=signed)
                refused += 1
        assert guard.grown() == (signed, HONEST.root(signed))
        guard.close()
    assert refused == sum(signed * (10 - signed) for signed in range(1, 8))


@pytest.mark.requirement("R13.13")
def test_two_threads_cannot_have_two_histories_signed(tmp_path: Path) -> None:
    for number in range(15):
        guard = LocalGuard.create(tmp_path / str(number), ORIGIN)
        grow(guard, 3)
        start = threading.Barrier(2)

        def ask(tree: Tree, guard: LocalGuard = guard, start: threading.Barrier = start) -> Sealed | None:
            start.wait()
            try:
                return guard.seal(7, tree.root(7), tree.path(3, 7), since=3)
            except GuardRefused:
                return None

        with ThreadPoolExecutor(2) as pool:
            signed_notes = [each for each in pool.map(ask, (HONEST, FORGED)) if each is not None]
        assert signed_notes == [guard.last()]
        guard.close()


def test_a_key_change_does_not_open_a_second_history(guard: LocalGuard) -> None:
    grow(guard, 8)
    guard.confirm(guard.rotate().key, 9)
    for size in (5, 8, 9, 12):
        with pytest.raises(GuardRefused):
            guard.seal(size, FORGED.root(size), FORGED.path(min(8, size), size))
    grow(guard, 9)
    with pytest.raises(GuardRefused):
        guard.seal(9, FORGED.root(9), [])


# ---- its memory put back, damaged or lent ---------------------------------------------------------------------------


@pytest.mark.requirement("R13.9")
def test_an_old_state_file_put_back_shows_against_the_ledger(guard: LocalGuard, place: Path, tmp_path: Path) -> None:
    grow(guard, 5)
    shutil.copytree(place, tmp_path / "backup")
    grow(guard, 9)
    guard.close()
    shutil.rmtree(place)
    shutil.copytree(tmp_path / "backup", place)
    restored = LocalGuard.open(place)
    with pytest.raises(GuardRefused, match=r"remembers a tree of 5 leaves, the ledger one of 9"):
        restored.seal(12, HONEST.root(12), HONEST.path(9, 12), since=9)
    assert restored.grown() == (5, HONEST.root(5))
    restored.close()


def test_ledger_and_guard_put_back_together_are_not_told_from_themselves(
    guard: LocalGuard, place: Path, tmp_path: Path
) -> None:
    """The limit, shown: a second history is signed, and only the note that somebody kept contradicts it."""
    grow(guard, 5)
    shutil.copytree(place, tmp_path / "backup")
    kept = grow(guard, 9)
    guard.close()
    shutil.rmtree(place)
    shutil.copytree(tmp_path / "backup", place)
    other = Tree("other ", since=5)
    restored = LocalGuard.open(place)
    second = restored.seal(9, other.root(9), other.path(5, 9), since=5)
    assert (second.size, second.root) != kept[:2]
    restored.close()


def test_a_node_that_runs_notices_that_the_guards_memory_was_put_back(place: Path, tmp_path: Path) -> None:
    LocalGuard.create(place, ORIGIN).close()
    remote = RemoteGuard.at(str(place))
    remote.seal(5, HONEST.root(5), [], 5.0)
    shutil.copyfile(place / FILE_NAME, tmp_path / "old")
    remote.seal(9, HONEST.root(9), HONEST.path(5, 9), 5.0)
    with (place / FILE_NAME).open("r+b") as file:
        file.write((tmp_path / "old").read_bytes())
    assert remote._link is not None
    assert remote._link.child is not None
    remote._link.child.kill()
    remote._link.child.wait()
    with pytest.raises(GuardRefused, match="remembers a tree of 5 leaves and signed one of 9"):
        remote.seal(10, HONEST.root(10), HONEST.path(9, 10), 5.0, since=9)
    remote.close()


def test_a_memory_with_both_copies_destroyed_begins_nothing_anew(guard: LocalGuard, place: Path) -> None:
    grow(guard, 5)
    guard.close()
    with (place / FILE_NAME).open("r+b") as file:
        for slot in (0, 1):
            file.seek(slot * SLOT_BYTES + 100)
            file.write(b"\xff" * 8)
    with pytest.raises(GuardLost):
        LocalGuard.open(place)
    with pytest.raises(InputError, match="a guard in"):
        LocalGuard.create(place, ORIGIN)
    with pytest.raises(GuardLost):
        RemoteGuard.at(str(place))


def test_a_guard_is_not_had_twice_by_a_copy_of_its_directory_under_a_second_node(
    guard: LocalGuard, place: Path, tmp_path: Path
) -> None:
    """A copy is another guard with the same key: not preventable under one user, found where the notes meet."""
    grow(guard, 5)
    shutil.copytree(place, tmp_path / "copy")
    twin = LocalGuard.open(tmp_path / "copy")
    other = Tree("other ", since=5)
    first, second = grow(guard, 9), twin.seal(9, other.root(9), other.path(5, 9))
    assert first.size == second.size
    assert first.root != second.root
    with pytest.raises(GuardFailed, match="another guard"):
        LocalGuard.open(place)
    twin.close()


def test_the_directory_opened_to_others_stops_the_guard(guard: LocalGuard, place: Path) -> None:
    grow(guard, 5)
    guard.close()
    for path, mode in ((place / FILE_NAME, 0o644), (place, 0o755)):
        before = path.stat().st_mode
        path.chmod(mode)
        with pytest.raises(GuardFailed, match="mode"):
            LocalGuard.open(place)
        with pytest.raises(GuardFailed, match="mode"):
            RemoteGuard.at(str(place))
        path.chmod(before)
    LocalGuard.open(place).close()


# ---- somebody else on its socket ------------------------------------------------------------------------------------

KEY, STRANGER = KeyPair(ORIGIN, b"\1" * 32), KeyPair(ORIGIN, b"\2" * 32)
Reply = Callable[[dict[str, Any], Shown], bytes | None]


def signed(size: int, tree: Tree = HONEST, pair: KeyPair = KEY, origin: str = ORIGIN) -> bytes:
    text = note.Checkpoint(origin, size, tree.root(size)).text()
    return note.sign(text, pair.verifier.name, pair.verifier.public, pair.sign)


def honest(size: int) -> Shown:
    return Shown(KEY.key, size, HONEST.root(size), signed(size), None, None)


def ok(number: int, state: Shown) -> bytes:
    return frame({"id": number, "ok": state.fields()})


class Liar:
    """Stands in a guard's place on a socket, with a guard's key or without, and answers as it is told to."""

    def __init__(self, path: Path, reply: Reply, greeting: Shown | bytes | None = None) -> None:
        self.path, self.reply, self.greeting = path, reply, greeting or honest(5)
        self.asked: list[dict[str, Any]] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                caller, _ = self._listener.accept()
                self._open.append(caller)
                threading.Thread(target=self._serve, args=(caller,), daemon=True).start()

    def _serve(self, caller: socket.socket) -> None:
        frames = Frames()
        with contextlib.suppress(OSError, InputError):
            caller.sendall(self.greeting if isinstance(self.greeting, bytes) else ok(0, self.greeting))
            while data := caller.recv(65536):
                frames.feed(data)
                while (value := frames.take()) is not None:
                    self.asked.append(value)
                    answer = self.reply(value, honest(value.get("size", 5)))
                    if answer is None:
                        caller.shutdown(socket.SHUT_RDWR)
                        return
                    caller.sendall(answer)

    def close(self) -> None:
        for each in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        self._thread.join(5)


@pytest.fixture
def liar() -> Iterator[Callable[..., Liar]]:
    made: list[Liar] = []
    with tempfile.TemporaryDirectory(prefix="fw-") as name:

        def make(reply: Reply, greeting: Shown | bytes | None = None) -> Liar:
            made.append(Liar(Path(name) / f"{len(made)}.sock", reply, greeting))
            return made[-1]

        yield make
        for each in made:
            each.close()


def seal_eight(remote: RemoteGuard, timeout_s: float = 5.0) -> Sealed:
    return remote.seal(8, HONEST.root(8), HONEST.path(5, 8), timeout_s, since=5)


def test_the_liar_is_believed_when_it_tells_the_truth(liar: Callable[..., Liar]) -> None:
    """So that what follows fails for the lie alone."""
    remote = RemoteGuard.at(f"unix:{liar(lambda asked, truth: ok(asked['id'], truth)).path}", key=KEY.key)
    assert seal_eight(remote) == Sealed(8, HONEST.root(8), signed(8))
    remote.close()


def changed_signature(truth: Shown) -> bytes:
    assert truth.note is not None
    parsed = note.SignedNote.parse(truth.note)
    (line,) = parsed.signatures
    flipped = bytes([line.signature[0] ^ 1]) + line.signature[1:]
    return note.SignedNote(parsed.text, (replace(line, signature=flipped),)).encode()


def statement(was: KeyPair, key: KeyPair) -> str:
    return note.sign_change(was.verifier, key.verifier, was.sign, key.sign).decode()


OTHER_LOG = KeyPair("failwell/ffffffffffffffff", b"\1" * 32)
LIES: dict[str, Callable[[Shown], Shown]] = {
    "nothing-signed": lambda truth: replace(truth, note=None),
    "another-size": lambda truth: replace(truth, size=9, root=HONEST.root(9), note=signed(9)),
    "another-size-beside-the-note": lambda truth: replace(truth, size=9),
    "the-size-before": lambda truth: honest(5),
    "an-older-size": lambda truth: honest(3),
    "another-root": lambda truth: replace(truth, root=FORGED.root(8), note=signed(8, FORGED)),
    "another-root-beside-the-note": lambda truth: replace(truth, root=FORGED.root(8)),
    "a-note-over-another-root": lambda truth: replace(truth, note=signed(8, FORGED)),
    "a-note-over-another-size": lambda truth: replace(truth, note=signed(9)),
    "a-changed-signature": lambda truth: replace(truth, note=changed_signature(truth)),
    "a-strangers-signature": lambda truth: replace(truth, note=signed(8, pair=STRANGER)),
    "a-strangers-key": lambda truth: replace(truth, key=STRANGER.key, note=signed(8, pair=STRANGER)),
    "a-strangers-key-with-the-old-note": lambda truth: replace(truth, key=STRANGER.key),
    "another-log": lambda truth: replace(
        truth, key=OTHER_LOG.key, note=signed(8, pair=OTHER_LOG, origin=OTHER_LOG.verifier.name)
    ),
    "the-same-key-for-another-log": lambda truth: replace(truth, note=signed(8, origin="failwell/ffffffffffffffff")),
    "no-note": lambda truth: replace(truth, note=b"signed, believe me\n"),
    "no-key": lambda truth: replace(truth, key="none"),
    "a-next-key-that-the-old-one-did-not-sign": lambda truth: replace(
        truth, waiting=WaitingKey(STRANGER.key, statement(STRANGER, KeyPair(ORIGIN, b"\3" * 32)), None)
    ),
    "a-next-key-without-a-statement": lambda truth: replace(
        truth, waiting=WaitingKey(STRANGER.key, signed(8).decode(), 9)
    ),
    "a-statement-about-another-next-key": lambda truth: replace(
        truth, waiting=WaitingKey(STRANGER.key, statement(KEY, KeyPair(ORIGIN, b"\3" * 32)), 9)
    ),
    "a-statement-backwards": lambda truth: replace(
        truth, waiting=WaitingKey(STRANGER.key, statement(STRANGER, KEY), 9)
    ),
}


@pytest.mark.parametrize("name", LIES)
def test_a_lie_is_refused_and_nothing_of_it_kept(liar: Callable[..., Liar], name: str) -> None:
    lie = LIES[name]
    server = liar(lambda asked, truth: ok(asked["id"], lie(truth)))
    remote = RemoteGuard.at(f"unix:{server.path}", key=KEY.key)
    with pytest.raises(GuardRefused, match="does not hold"):
        seal_eight(remote)
    assert remote.key == KEY.key
    if name not in ("another-size", "another-root"):  # signed with its key: its own misdeed, kept as evidence
        assert remote.last() == Sealed(5, HONEST.root(5), signed(5))
    remote.close()


@pytest.mark.parametrize("name", [name for name in LIES if name not in ("nothing-signed", "the-size-before",
                                  "an-older-size", "another-size", "another-root")])  # fmt: skip
def test_a_liar_is_not_even_connected_to(liar: Callable[..., Liar], name: str) -> None:
    server = liar(lambda asked, truth: ok(asked["id"], truth), LIES[name](honest(8)))
    with pytest.raises(GuardRefused, match="does not hold"):
        RemoteGuard.at(f"unix:{server.path}", key=KEY.key)


def test_a_next_key_that_was_announced_is_believed_and_no_other(liar: Callable[..., Liar]) -> None:
    waiting = WaitingKey(STRANGER.key, statement(KEY, STRANGER), 8)
    changed = Shown(STRANGER.key, 8, HONEST.root(8), signed(8, pair=STRANGER), None, None)
    server = liar(lambda asked, _: ok(asked["id"], changed), replace(honest(5), waiting=waiting))
    remote = RemoteGuard.at(f"unix:{server.path}", key=KEY.key)
    assert seal_eight(remote).note == signed(8, pair=STRANGER)
    assert remote.key == STRANGER.key
    remote.close()
    unconfirmed = liar(
        lambda asked, _: ok(asked["id"], changed), replace(honest(5), waiting=replace(waiting, since=None))
    )
    remote = RemoteGuard.at(f"unix:{unconfirmed.path}", key=KEY.key)
    with pytest.raises(GuardRefused):
        seal_eight(remote)
    remote.close()


NOISE: dict[str, Callable[[dict[str, Any], Shown], bytes | None]] = {
    "hangs-up": lambda asked, truth: None,
    "noise": lambda asked, truth: b"\x93\x01" * 500,
    "a-huge-frame": lambda asked, truth: b"\xff\xff\xff\xff" + b"x" * 100,
    "not-canonical": lambda asked, truth: b"\0\0\0\x09" + b'{"id": 1}',
    "an-earlier-number": lambda asked, truth: ok(asked["id"] - 1, truth),
    "a-later-number": lambda asked, truth: ok(asked["id"] + 1, truth),
    "the-greeting-again": lambda asked, truth: ok(0, truth),
    "no-number": lambda asked, truth: frame({"ok": truth.fields()}),
    "neither-answer-nor-error": lambda asked, truth: frame({"id": asked["id"]}),
    "both": lambda asked, truth: frame({"id": asked["id"], "ok": truth.fields(), "error": {}}),
    "more-than-a-state": lambda asked, truth: frame({"id": asked["id"], "ok": {**truth.fields(), "trusted": True}}),
    "less-than-a-state": lambda asked, truth: frame({"id": asked["id"], "ok": {"size": 8}}),
    "a-root-of-text": lambda asked, truth: frame({"id": asked["id"], "ok": {**truth.fields(), "root": "8" * 63}}),
    "an-error-of-nothing": lambda asked, truth: frame({"id": asked["id"], "error": {}, "state": None}),
}


@pytest.mark.parametrize("name", NOISE)
def test_noise_is_a_failure_and_the_next_question_goes_to_a_new_connection(
    liar: Callable[..., Liar], name: str
) -> None:
    lies = [True]

    def reply(asked: dict[str, Any], truth: Shown) -> bytes | None:
        return NOISE[name](asked, truth) if lies else ok(asked["id"], truth)

    remote = RemoteGuard.at(f"unix:{liar(reply).path}", key=KEY.key)
    with pytest.raises(GuardFailed):
        seal_eight(remote)
    assert remote.last() == Sealed(5, HONEST.root(5), signed(5))
    lies.clear()
    assert seal_eight(remote).size == 8
    remote.close()


def test_an_error_that_it_made_up_is_still_no_signature(liar: Callable[..., Liar]) -> None:
    made_up = {"guard-failed": GuardFailed, "guard-refused": GuardRefused, "guard-lost": GuardLost,
               "guard-moved": GuardFailed, "made-up": GuardFailed}  # fmt: skip
    for code, kind in made_up.items():
        told = {"code": code, "message": "no", "hint": None}
        server = liar(lambda asked, _, told=told: frame({"id": asked["id"], "error": told, "state": None}))
        remote = RemoteGuard.at(f"unix:{server.path}", key=KEY.key)
        with pytest.raises(kind):
            seal_eight(remote)
        remote.close()


def test_a_made_up_lost_answer_must_be_signed_too(liar: Callable[..., Liar]) -> None:
    told = {"code": "guard-moved", "message": "moved", "hint": None}
    forged = replace(honest(7), note=signed(7, FORGED), root=HONEST.root(7))
    server = liar(lambda asked, _: frame({"id": asked["id"], "error": told, "state": forged.fields()}))
    remote = RemoteGuard.at(f"unix:{server.path}", key=KEY.key)
    with pytest.raises(GuardRefused, match="does not hold"):
        seal_eight(remote)
    remote.close()


def test_bytes_that_trickle_in_do_not_outlast_the_deadline(liar: Callable[..., Liar]) -> None:
    server = liar(lambda asked, truth: b"\0\0\x10\0")
    remote = RemoteGuard.at(f"unix:{server.path}", key=KEY.key)
    stop = threading.Event()

    def trickle() -> None:
        while not stop.wait(0.05):
            with contextlib.suppress(OSError):
                server._open[0].sendall(b" ")

    thread = threading.Thread(target=trickle)
    thread.start()
    begin = time.monotonic()
    with pytest.raises(GuardFailed, match="in time"):
        seal_eight(remote, 0.5)
    assert time.monotonic() - begin < 2.5
    stop.set()
    thread.join()
    remote.close()


def test_silence_at_the_door_does_not_outlast_the_deadline(liar: Callable[..., Liar]) -> None:
    server = liar(lambda asked, truth: None, b"\0")
    begin = time.monotonic()
    with pytest.raises(GuardFailed, match="in time"):
        RemoteGuard.at(f"unix:{server.path}", timeout_s=0.3)
    assert time.monotonic() - begin < 2.5


def test_no_guard_says_its_private_keys(guard: LocalGuard) -> None:
    guard.rotate()
    state = guard.state()
    told = repr(shown(state).fields()) + repr(state)
    for seed in state.seeds:
        assert seed.hex() not in told
        assert repr(seed)[2:-1] not in told
