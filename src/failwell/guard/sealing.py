"""What a guard signs and what it refuses: heads of one log, each shown to grow from the last one (D18).

Signs checkpoints after C2SP tlog-checkpoint, on consistency proofs after RFC 9162 2.1.4.2. What it signed is durable
before the signature leaves it: else a guard that falls back by one crash could sign a second history. It never sees an
entry, does not know the time, and does not decide when to sign. It cannot notice that its own state was put back; see
`state`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from failwell.core import note
from failwell.core.canonical import SAFE_INTEGER_LIMIT
from failwell.core.errors import FailwellError, InputError
from failwell.core.merkle import EMPTY_ROOT, HASH_BYTES
from failwell.core.proof import verify_consistency
from failwell.guard.keypair import KeyPair
from failwell.guard.state import MAX_ORIGIN_BYTES, MAX_WHY_BYTES, State, StateFile, Waiting
from failwell.ports.guard import GuardFailed, GuardMoved, GuardRefused, KeyChange, Sealed

#: A consistency proof has at most two hashes for each level of a tree; none has more than 64.
MAX_PATH: Final = 128
#: How long a guard waits for the end of one before it that has just lost its node.
WAIT_S: Final = 2.0

Reopen = Callable[[], StateFile]
"""Opens the state file anew: after a failed write the old handle is not trusted any more."""


class LocalGuard:
    """One log's guard in this process; `ports.guard.Guard` says what it answers. Thread-safe.

    Deadlines are the caller's: here nothing waits but for the disk.
    """

    def __init__(self, reopen: Reopen) -> None:
        self._reopen = reopen
        self._lock = threading.Lock()
        self._closed = False
        self._file: StateFile | None = reopen()

    @classmethod
    def create(cls, directory: Path, origin: str, start: tuple[int, bytes] | None = None) -> LocalGuard:
        """Make a guard with a new key and nothing signed. `start` is the tree (size, root of 32 bytes) that a continued
        log grows from.

        Raises InputError where a guard is already, or for an origin or tree that cannot be signed; GuardFailed.
        """
        size, root = (0, EMPTY_ROOT) if start is None else start
        if len(origin.encode("utf-8", "replace")) > MAX_ORIGIN_BYTES:
            raise InputError(f"a log's origin has at most {MAX_ORIGIN_BYTES} bytes")
        note.Checkpoint(origin, size, root)
        if not _is_size(size):
            raise InputError("a tree size is an integer from 0 to 2^53 - 1")
        pair = KeyPair.generate(origin)
        StateFile.create(directory, State(key=pair.key, pair=pair, size=size, root=root)).close()
        return cls.open(directory)

    @classmethod
    def open(cls, directory: Path, *, wait_s: float = 0.0) -> LocalGuard:
        """Open the guard of `directory`. Raises GuardLost, GuardFailed (also while another process has it)."""
        return cls(lambda: StateFile(directory, wait_s=wait_s))

    # ---- asked ---------------------------------------------------------------------------------------------------

    @property
    def key(self) -> str:
        return self.state().key

    @property
    def retired(self) -> str | None:
        """Why it signs nothing any more, None while it does."""
        return self.state().retired

    @property
    def waiting(self) -> KeyChange | None:
        state = self.state()
        found = state.waiting
        return None if found is None else KeyChange(state.key, found.pair.key, found.statement, found.since)

    def last(self) -> Sealed | None:
        return _last(self.state())

    def grown(self) -> tuple[int, bytes]:
        state = self.state()
        return state.size, state.root

    def state(self) -> State:
        """All it remembers, its private keys included. Raises GuardFailed and GuardLost where it must read it anew."""
        with self._lock:
            return self._open().state

    # ---- told ----------------------------------------------------------------------------------------------------

    def seal(
        self, size: int, root: bytes, path: Sequence[bytes], timeout_s: float = 0.0, *, since: int | None = None
    ) -> Sealed:  # fmt: skip
        with self._lock:
            file = self._open()
            state = file.state
            check_head(size, root, path)
            last = _last(state)
            if last is not None and (size, root) == last[:2]:
                return last
            pair = _signer(state, size)
            _check_growth(state, size, root, path, since)
            made = note.Checkpoint(pair.verifier.name, size, root).text()
            signed = note.sign(made, pair.verifier.name, pair.verifier.public, pair.sign)
            changed = pair is not state.pair
            after = replace(state, size=size, root=root, note=signed)
            if changed:
                after = replace(after, key=pair.key, pair=pair, waiting=None)
            # INVARIANT: remembered first, handed out second.
            file.write(after)
            if changed:
                file.write(after)  # over the other slot, which still holds the key that has just ended
            return Sealed(size, root, signed)

    def rotate(self, timeout_s: float = 0.0) -> KeyChange:
        with self._lock:
            file = self._open()
            state = file.state
            was = _pair(state)
            if state.waiting is None:
                key = KeyPair.generate(was.verifier.name)
                statement = note.sign_change(was.verifier, key.verifier, was.sign, key.sign).decode()
                file.write(replace(state, waiting=Waiting(pair=key, statement=statement, since=None)))
            waiting = file.state.waiting
            assert waiting is not None
            return KeyChange(state.key, waiting.pair.key, waiting.statement)

    def confirm(self, key: str, size: int, timeout_s: float = 0.0) -> None:
        with self._lock:
            file = self._open()
            state = file.state
            _pair(state)
            if key == state.key:
                return  # said again, after an answer that was lost
            if state.waiting is None or key != state.waiting.pair.key:
                raise GuardRefused("no such key waits to be put in force")
            if not _is_size(size):
                raise GuardRefused("a tree size is an integer from 0 to 2^53 - 1")
            if state.note is not None and size <= state.size:
                raise GuardRefused(
                    f"a tree of {state.size} leaves was signed with the old key already, not below {size}"
                )
            if size != state.waiting.since:
                file.write(replace(state, waiting=replace(state.waiting, since=size)))

    def retire(self, why: str, timeout_s: float = 0.0) -> None:
        with self._lock:
            file = self._open()
            if file.state.retired is None:
                told = why.encode("utf-8", "replace")[:MAX_WHY_BYTES].decode("utf-8", "ignore")
                retired = replace(file.state, pair=None, waiting=None, retired=told)
                file.write(retired)
                file.write(retired)  # over the other slot, which still holds the keys

    def close(self) -> None:
        with self._lock:
            self._closed = True
            if self._file is not None:
                self._file.close()

    def _open(self) -> StateFile:
        if self._closed:
            raise GuardFailed("the guard is closed")
        if self._file is None or not self._file.is_open:
            self._file = None
            self._file = self._reopen()
        return self._file


# ------------------------------------------------------------------------------------------------------ its rules


def _last(state: State) -> Sealed | None:
    return None if state.note is None else Sealed(state.size, state.root, state.note)


def _pair(state: State) -> KeyPair:
    if state.pair is None:
        raise GuardRefused(f"this guard is retired and signs nothing: {state.retired}")
    return state.pair


def _signer(state: State, size: int) -> KeyPair:
    """The key for a tree of `size` leaves: the waiting one from the size on that the ledger recorded."""
    pair, waiting = _pair(state), state.waiting
    return waiting.pair if waiting is not None and waiting.since is not None and size >= waiting.since else pair


def _is_size(size: int) -> bool:
    """Sizes end where the integers of entries do: at 2^53, long before those of a tree."""
    return type(size) is int and 0 <= size < SAFE_INTEGER_LIMIT


def check_head(size: int, root: bytes, path: Sequence[bytes]) -> None:
    """Raises GuardRefused for what cannot be a head and a proof, whatever was signed before."""
    if not _is_size(size) or type(root) is not bytes or len(root) != HASH_BYTES:
        raise GuardRefused("a head is a size from 0 to 2^53 - 1 and a root of 32 bytes")
    if len(path) > MAX_PATH:
        raise GuardRefused(f"a consistency proof has at most {MAX_PATH} hashes")


def _check_growth(state: State, size: int, root: bytes, path: Sequence[bytes], since: int | None) -> None:
    """Refuse a head that does not grow from the one in `state`, for the reason that says most."""
    # Attack: an old copy of the ledger in place of the newer one.
    if size < state.size:
        raise GuardRefused(
            f"rollback: asked to sign a tree of {size} leaves after one of {state.size}",
            hint="The ledger is older than its guard: was a backup put in place?",
        )
    if since is not None and since != state.size and size > state.size:
        last = _last(state)
        if since > state.size or last is None:
            # Attack: an old copy of the guard's state in place of the newer one.
            raise GuardRefused(
                f"this guard remembers a tree of {state.size} leaves, the ledger one of {since}",
                hint="Was the guard's directory restored from a backup?",
            )
        raise GuardMoved(last)
    try:
        verify_consistency(state.size, state.root, size, root, path)
    except FailwellError as error:
        # Attack: a second history, as long or longer, that does not contain the signed one.
        raise GuardRefused(
            f"fork: the tree of {size} leaves does not grow from the signed one of {state.size}: {error.message}",
            hint="The ledger's past was changed after it was signed.",
        ) from error
