"""The caller's side of a guard in another process: started here and ended with us, or run by another user (D18).

Every call has a deadline, and a guard that misses it, dies or talks nonsense fails that call; the next one ends it
(only a process of our own) and starts or reaches it anew. What a guard signed is believed by the signature alone: a
note must verify with the key that is expected here, be over the very head that was asked for, and never be older than
what this side has seen. It decides neither when to seal nor what a failure means.
"""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Sequence
from typing import Any, Final

from failwell.core import note
from failwell.core.errors import FailwellError, InputError, Refused
from failwell.guard.frames import Shown, answer, frame
from failwell.guard.keypair import verify
from failwell.guard.link import Link, bury, connect, start
from failwell.guard.place import Place
from failwell.guard.sealing import check_head
from failwell.ports.guard import GuardFailed, GuardLost, GuardMoved, GuardRefused, KeyChange, Sealed

#: How long a guard may take to come up, where nobody says otherwise: an interpreter on a busy machine.
START_S: Final = 5.0
#: A guard that dies at once is not started more often than this.
RESTART_S: Final = 0.2
#: How long a killed guard may take to be gone, and a dismissed one to end by itself.
KILL_S: Final = 1.0

_KINDS: Final = {kind.code: kind for kind in (GuardFailed, GuardRefused, GuardLost, InputError, Refused)}


class RemoteGuard:
    """One log's guard in another process; `ports.guard.Guard` says what it answers. Thread-safe.

    `key`, `last` and `grown` give what was heard last and never wait.
    """

    def __init__(self, place: Place, key: str | None) -> None:
        """Reaches nothing yet: `at` does."""
        self.place = place
        self._expected = key
        self._turn = threading.Lock()
        self._closing = threading.Event()
        self._link: Link | None = None
        self._ended: list[subprocess.Popen[bytes]] = []
        self._may_start_at = 0.0
        self._number = 0
        self._shown: Shown | None = None

    @classmethod
    def at(cls, place: str, *, key: str | None = None, timeout_s: float = START_S) -> RemoteGuard:
        """Start or reach the guard at `place` (a line as in `keys/guard`), within `timeout_s`.

        `key`: the vkey that it must sign with, now or from a recorded change on; None takes what it says, for callers
        that compare `key` themselves. Raises GuardFailed, GuardLost; GuardRefused for another key; InputError.
        """
        guard = cls(Place.parse(place), key)
        try:
            with guard._locked(time.monotonic() + timeout_s) as deadline:
                guard._reach(deadline)
        except BaseException:
            guard.close()
            raise
        return guard

    # ---- asked -----------------------------------------------------------------------------------------------------

    @property
    def key(self) -> str:
        return self._known().key

    @property
    def pid(self) -> int | None:
        """The process of an embedded guard, as long as this side has one."""
        link = self._link
        return None if link is None or link.child is None else link.child.pid

    def peer(self) -> tuple[int, int]:
        """Process and user id of who answers (SO_PEERCRED). Raises GuardFailed where nobody does any more."""
        link = self._link
        if link is None:
            raise GuardFailed("the guard is not connected")
        try:
            return link.peer()
        except OSError as error:
            raise _failed(error) from error

    @property
    def retired(self) -> str | None:
        """Why it signs nothing any more, None while it does."""
        return self._known().retired

    @property
    def waiting(self) -> KeyChange | None:
        """The change of key that waits to be put in force."""
        shown = self._known()
        found = shown.waiting
        return None if found is None else KeyChange(shown.key, found.key, found.statement, found.since)

    def shown(self) -> Shown:
        """All it says of itself, as heard last."""
        return self._known()

    def last(self) -> Sealed | None:
        return self._known().last

    def grown(self) -> tuple[int, bytes]:
        shown = self._known()
        return shown.size, shown.root

    # ---- told ------------------------------------------------------------------------------------------------------

    def seal(
        self, size: int, root: bytes, path: Sequence[bytes], timeout_s: float, *, since: int | None = None
    ) -> Sealed:  # fmt: skip
        check_head(size, root, path)
        given = {"size": size, "root": root.hex(), "path": [each.hex() for each in path], "since": since}
        last = self._ask("seal", given, timeout_s).last
        if last is None or last[:2] != (size, root):
            raise self._distrust("it signed another head than the one asked for")
        return last

    def rotate(self, timeout_s: float) -> KeyChange:
        shown = self._ask("rotate", {}, timeout_s)
        if shown.waiting is None:
            raise self._distrust("it made no next key")
        return KeyChange(shown.key, shown.waiting.key, shown.waiting.statement)

    def confirm(self, key: str, size: int, timeout_s: float) -> None:
        shown = self._ask("confirm", {"key": key, "size": size}, timeout_s)
        if shown.key != key and (shown.waiting is None or (shown.waiting.key, shown.waiting.since) != (key, size)):
            raise self._distrust("it did not put the next key in force")

    def retire(self, why: str, timeout_s: float) -> None:
        if self._ask("retire", {"why": why}, timeout_s).retired is None:
            raise self._distrust("it did not retire")

    def close(self) -> None:
        self._closing.set()
        link = self._link
        if link is not None:
            link.interrupt()  # whoever waits for an answer learns it now
        with self._turn:
            self._drop(kill=False)
            for child in self._ended:
                bury(child, KILL_S)
            self._ended = [child for child in self._ended if child.returncode is None]

    # ---- one question at a time ------------------------------------------------------------------------------------

    def _ask(self, verb: str, given: dict[str, Any], timeout_s: float) -> Shown:
        with self._locked(time.monotonic() + timeout_s) as deadline:
            link = self._reach(deadline)
            self._number += 1
            number = self._number
            try:
                link.send(frame({"id": number, "do": verb, **given}), deadline)
                shown, error = answer(link.receive(number, deadline))
            except (OSError, InputError) as fault:
                link.broken = True  # what it may still say belongs to this question: nobody listens any more
                raise _failed(fault) from fault
            if shown is not None:
                self._believe(shown)
            if error is None:
                assert shown is not None
                return shown
            if error["code"] == GuardMoved.code and shown is not None and shown.last is not None:
                raise GuardMoved(shown.last)
            raise _told(error)

    def _locked(self, deadline: float) -> _Turn:
        return _Turn(self._turn, deadline)

    def _reach(self, deadline: float) -> Link:
        """The connection to ask on: the one there is, or a new one in place of a broken one."""
        if self._closing.is_set():
            raise GuardFailed("the guard is closed")
        if self._link is not None and not self._link.is_broken():
            return self._link
        self._drop(kill=True)
        for child in self._ended:
            bury(child, max(0.0, min(KILL_S, deadline - time.monotonic())))
        self._ended = [child for child in self._ended if child.returncode is None]
        if self._ended:
            raise GuardFailed(f"the killed guard (process {self._ended[0].pid}) is not gone yet: it waits for its disk")
        if self._may_start_at > deadline:
            raise GuardFailed("the guard was started a moment ago and is not started again yet")
        if self._closing.wait(max(0.0, self._may_start_at - time.monotonic())):
            raise GuardFailed("the guard is closed")
        self._may_start_at = time.monotonic() + RESTART_S
        try:
            link = self._link = self._begin(deadline)
            if self._closing.is_set():  # who closes has looked for a connection to interrupt before there was this one
                raise OSError("it is being closed")
            shown, error = answer(link.receive(0, deadline))
        except (OSError, InputError) as fault:
            self._drop(kill=True)
            raise _failed(fault) from fault
        if error is not None or shown is None:
            self._drop(kill=True)
            raise _told(error or {"code": "failed", "message": "the guard said nothing", "hint": None})
        self._believe(shown)
        return link

    def _begin(self, deadline: float) -> Link:
        if self.place.directory is not None:
            return start(self.place.directory)
        assert self.place.socket is not None
        return connect(self.place.socket, deadline)

    def _drop(self, *, kill: bool) -> None:
        """Give up the connection there is. A child of ours sees its end, or is killed, and is collected later."""
        link, self._link = self._link, None
        if link is None:
            return
        link.close()
        if link.child is not None:
            if kill:
                link.child.kill()
            self._ended.append(link.child)

    def _known(self) -> Shown:
        if self._shown is None:
            raise GuardFailed("the guard has not been reached yet")
        return self._shown

    # ---- what is believed ------------------------------------------------------------------------------------------

    def _believe(self, shown: Shown) -> None:
        """Take what a guard says of itself, if its signatures hold. Raises GuardRefused."""
        try:
            keys = self._keys(shown)
            if shown.note is not None:
                origin = note.VerifierKey.parse(shown.key).name
                checkpoint = note.open_checkpoint(shown.note, origin, [(keys[0], verify)])
                if (checkpoint.size, checkpoint.root) != (shown.size, shown.root):
                    raise InputError("its note is over another head than it says")
        except FailwellError as error:
            raise self._distrust(error.message) from error
        before = self._shown
        if before is not None:
            # Attack: the guard's state was put back while the node ran, or another guard answers in its place.
            if shown.size < before.size or (shown.size == before.size and shown.root != before.root):
                raise self._distrust(f"it remembers a tree of {shown.size} leaves and signed one of {before.size}")
            if before.note is not None and shown.note is None:
                raise self._distrust("it signed before, and shows no note of it")
            if before.retired is not None and shown.retired is None:
                raise self._distrust("it was retired")
        self._expected = shown.key
        self._shown = shown

    def _keys(self, shown: Shown) -> list[note.VerifierKey]:
        """The key it signs with and the waiting one, if they hang together with the expected one."""
        keys = [note.VerifierKey.parse(shown.key)]
        if shown.waiting is not None:
            change = note.open_change(shown.waiting.statement.encode(), verify)
            if [each.text() for each in change] != [shown.key, shown.waiting.key]:
                raise InputError("the statement of its next key is about other keys")
            keys.append(change[1])
        before = self._shown
        expected = {self._expected} - {None}
        if before is not None and before.waiting is not None and before.waiting.since is not None:
            expected.add(before.waiting.key)  # announced by a statement that was verified, and confirmed
        if expected and not expected & {each.text() for each in keys}:
            raise InputError(f"it signs with {shown.key}, expected is {self._expected}")
        return keys

    def _distrust(self, why: str) -> GuardRefused:
        if self._link is not None:
            self._link.broken = True
        return GuardRefused(f"what the guard at {self.place} says does not hold: {why}", hint="failwell guard show")


class _Turn:
    """The lock of one question at a time, waited for no longer than the question may take."""

    def __init__(self, lock: threading.Lock, deadline: float) -> None:
        self._lock, self._deadline = lock, deadline

    def __enter__(self) -> float:
        if not self._lock.acquire(timeout=max(0.0, self._deadline - time.monotonic())):
            raise GuardFailed("the guard is still busy with an earlier question")
        return self._deadline

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def _failed(fault: Exception) -> GuardFailed:
    if isinstance(fault, TimeoutError):
        return GuardFailed("the guard did not answer in time", hint="It is started again when it is asked next.")
    why = fault.message if isinstance(fault, InputError) else fault.__class__.__name__
    if isinstance(fault, OSError):
        why = fault.strerror or str(fault)
    return GuardFailed(f"the guard cannot be asked: {why}", hint="failwell guard show")


def _told(error: dict[str, Any]) -> FailwellError:
    kind = _KINDS.get(error["code"], GuardFailed)
    return kind(error["message"], hint=error["hint"])
