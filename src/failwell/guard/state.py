"""The guard's memory on disk: its keys and the last head it signed, in one small file of fixed size (D18).

    offset 0      slot 0   4096 bytes   SHA-256 over the rest of the slot, length (4 bytes), canonical JSON, zeros
    offset 4096   slot 1   4096 bytes   the same
    offset 8192   holder   4096 bytes   process id of the guard that has it open: a help for people, no evidence

The slots are written in turn, in place, each with a generation one higher and a fdatasync: whatever a crash leaves of
the newer one, the older one stands. No write needs room that is not there already, so a full disk does not stop
sealing (a file system that copies on write gives no such promise). The keys lie in the slots and nowhere else: a
change of key is one write, and a key that is done with is overwritten in both.

Not detected here: a whole older file put back in place, or a newer slot that is damaged long after it was written and
so passes for a torn one. Against the ledger both show: the guard then remembers less than the ledger holds signed.
Ledger and guard restored together, as a snapshot of the machine does, is not detectable by either, and needs a
checkpoint that somebody else kept. A process of the same user can read the keys.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import time
from base64 import b64decode, b64encode
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, Self

from failwell.core import canonical, note
from failwell.core.errors import FailwellError, InputError
from failwell.core.merkle import EMPTY_ROOT, HASH_BYTES
from failwell.guard.keypair import KeyPair, verify
from failwell.guard.private import open_private, private_directory, write_new
from failwell.ports.guard import GuardFailed, GuardLost

FILE_NAME: Final = "state"
SLOT_BYTES: Final = 4096
FILE_BYTES: Final = 3 * SLOT_BYTES
#: An origin stands in the key, twice in the note and five times in a statement, all of which must fit one slot.
MAX_ORIGIN_BYTES: Final = 128
MAX_WHY_BYTES: Final = 400

_HOLDER_AT: Final = 2 * SLOT_BYTES
_HASH_AND_LENGTH: Final = HASH_BYTES + 4
_CONTENT_BYTES: Final = SLOT_BYTES - _HASH_AND_LENGTH
_LOOK_AGAIN_S: Final = 0.02
_PEEKS: Final = 5


# ------------------------------------------------------------------------------------------------- what it holds


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """The next key. `since`: the tree size from which it signs, None until the ledger has recorded it."""

    pair: KeyPair
    statement: str
    since: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """All that a guard remembers. `note` is None while (size, root) is only what the first head must grow from.

    `pair` is None once it is retired; `key` (the vkey) stays.
    """

    key: str
    pair: KeyPair | None
    size: int = 0
    root: bytes = EMPTY_ROOT
    note: bytes | None = None
    waiting: Waiting | None = None
    retired: str | None = None

    @property
    def seeds(self) -> frozenset[bytes]:
        """The private keys in it."""
        pairs = (self.pair, None if self.waiting is None else self.waiting.pair)
        return frozenset(pair.seed for pair in pairs if pair is not None)

    def encode(self, generation: int) -> bytes:
        """Return the content of a slot. Raises InputError when it does not fit."""
        waiting = self.waiting
        value = {
            "generation": generation, "key": self.key, "seed": _seed(self.pair), "size": self.size,
            "root": self.root.hex(), "note": None if self.note is None else self.note.decode(), "retired": self.retired,
            "waiting": None if waiting is None else {
                "key": waiting.pair.key, "seed": _seed(waiting.pair), "statement": waiting.statement,
                "since": waiting.since,
            },
        }  # fmt: skip
        return canonical.encode(value, max_bytes=_CONTENT_BYTES)


def _seed(pair: KeyPair | None) -> str | None:
    return None if pair is None else b64encode(pair.seed).decode()


def _decode(content: bytes) -> tuple[int, State]:
    """Read what `State.encode` wrote; raises a FailwellError or what Python raises for anything else."""
    value = canonical.decode(content)
    key = note.VerifierKey.parse(value["key"])
    waiting = value["waiting"]
    state = State(
        key=value["key"], pair=_pair(key.name, value["seed"], value["key"]), size=value["size"],
        root=bytes.fromhex(value["root"]), note=None if value["note"] is None else value["note"].encode(),
        retired=value["retired"], waiting=None if waiting is None else _waiting(key, waiting),
    )  # fmt: skip
    head = note.Checkpoint(key.name, state.size, state.root)
    if state.note is not None and note.open_checkpoint(state.note, key.name, [(key, verify)]) != head:
        raise ValueError("the note is over another head")
    if state.encode(value["generation"]) != content or type(state.retired) is not (
        str if state.pair is None else type(None)
    ):
        raise ValueError("not what a guard writes")
    return value["generation"], state


def _waiting(was: note.VerifierKey, value: Any) -> Waiting:
    pair = _pair(was.name, value["seed"], value["key"])
    since = value["since"]
    if pair is None or not (since is None or type(since) is int):
        raise ValueError("not a waiting key")
    if note.open_change(value["statement"].encode(), verify) != (was, pair.verifier):
        raise ValueError("the statement is about other keys")
    return Waiting(pair=pair, statement=value["statement"], since=since)


def _pair(name: str, seed: str | None, key: str) -> KeyPair | None:
    if seed is None:
        return None
    pair = KeyPair(name, b64decode(seed, validate=True))
    if pair.key != key:
        raise ValueError("the private key is not that of the published one")
    return pair


def _pack(content: bytes) -> bytes:
    rest = len(content).to_bytes(4, "big") + content.ljust(_CONTENT_BYTES, b"\0")
    return sha256(rest).digest() + rest


def _unpack(slot: bytes) -> tuple[int, State] | None:
    """The generation and state of a slot; None for one that was never written, torn or damaged."""
    digest, rest = slot[:HASH_BYTES], slot[HASH_BYTES:]
    if len(slot) != SLOT_BYTES or sha256(rest).digest() != digest:
        return None
    length = int.from_bytes(rest[:4], "big")
    try:
        return _decode(rest[4 : 4 + length])
    except (AttributeError, KeyError, TypeError, ValueError, FailwellError):
        return None


# ------------------------------------------------------------------------------------------------------ the file


class StateFile:
    """The open file of one guard, locked against a second one as long as it is open. Not thread-safe."""

    def __init__(self, directory: Path, *, wait_s: float = 0.0) -> None:
        """Open, check and lock; wait for an earlier guard's end for at most `wait_s`.

        Raises GuardLost (nothing there, or unreadable), GuardFailed (held by another one, others may read it, the
        disk).
        """
        self.path = directory / FILE_NAME
        self._handle = _open(directory, os.O_RDWR)
        try:
            self._lock(wait_s)
            self._generation, self._state, other = _newest(self.path, os.pread(self._handle, FILE_BYTES + 1, 0))
            self._settle(other)
        except OSError as error:
            self.close()
            raise _disk(self.path, error) from error
        except BaseException:
            self.close()
            raise

    @classmethod
    def create(cls, directory: Path, state: State) -> Self:
        """Make the file, whole or not at all, and open it. Raises InputError where there is one already."""
        data = _pack(state.encode(0)).ljust(FILE_BYTES, b"\0")
        try:
            write_new(private_directory(directory) / FILE_NAME, data)
        except FileExistsError as error:
            raise InputError(
                f"there is a guard in {directory} already", hint="What it signed would be forgotten: choose another."
            ) from error
        except OSError as error:
            raise _disk(directory, error) from error
        return cls(directory)

    @property
    def state(self) -> State:
        """What is durably written."""
        return self._state

    @property
    def is_open(self) -> bool:
        """Whether it may be asked; not after a failed write."""
        return self._handle >= 0

    def write(self, state: State) -> None:
        """Make `state` the newest, durable on return.

        Raises GuardFailed, and then this file is closed: a failed sync is never asked again on the same handle. Which
        of the two states stands is found out by opening it again. Raises InputError, changing nothing, for a state
        that does not fit.
        """
        slot = _pack(state.encode(self._generation + 1))
        try:
            self._write_slot(slot, self._generation + 1)
        except OSError as error:
            self.close()
            raise _disk(self.path, error) from error
        self._generation += 1
        self._state = state

    def close(self) -> None:
        """Let go of the file and its lock; idempotent."""
        handle, self._handle = self._handle, -1
        if handle >= 0:
            os.close(handle)

    # Every step by which something reaches the disk after `create`; tests let each of them fail.

    def _put(self, data: bytes, offset: int) -> None:
        if os.pwrite(self._handle, data, offset) != len(data):
            raise OSError(None, "written in part")

    def _sync(self) -> None:
        os.fdatasync(self._handle)

    def _write_slot(self, slot: bytes, generation: int) -> None:
        self._put(slot, generation % 2 * SLOT_BYTES)
        self._sync()

    def _lock(self, wait_s: float) -> None:
        deadline = time.monotonic() + wait_s
        while not self._try_lock():
            who = holder(self.path.parent)
            if time.monotonic() >= deadline:
                raise GuardFailed(
                    f"another guard (process {who or 'unknown'}) holds {self.path}",
                    hint=None if who is None else f"It ends with its node. If it hangs: kill -KILL {who}",
                )
            if who is not None:
                # One that was stopped does not see that its node is gone: it goes on, sees it and ends. To one that
                # works this does nothing.
                with contextlib.suppress(OSError):
                    os.kill(who, signal.SIGCONT)
            time.sleep(_LOOK_AGAIN_S)
        self._put(f"{os.getpid()}\n".encode().ljust(32, b"\0"), _HOLDER_AT)

    def _try_lock(self) -> bool:
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _settle(self, other: State | None) -> None:
        # What was read may be in the cache of the system only, after a sync that failed: write it again, where it is.
        # The same bytes over the same bytes leave nothing else, however far this comes.
        self._write_slot(_pack(self._state.encode(self._generation)), self._generation)
        # Only now may the other slot go: it is torn, or holds a key that was to be destroyed when the power went.
        if other is None or not other.seeds <= self._state.seeds:
            self.write(self._state)


def peek(directory: Path) -> State:
    """What the guard of `directory` last wrote, read beside it: no lock, no write. Raises as `StateFile`."""
    handle = _open(directory, os.O_RDONLY)
    try:
        for _ in range(_PEEKS):  # it may be writing this very moment, more than once
            data = os.pread(handle, FILE_BYTES + 1, 0)
            with contextlib.suppress(GuardLost):
                return _newest(directory / FILE_NAME, data)[1]
        return _newest(directory / FILE_NAME, os.pread(handle, FILE_BYTES + 1, 0))[1]
    except OSError as error:
        raise _disk(directory, error) from error
    finally:
        os.close(handle)


def holder(directory: Path) -> int | None:
    """Process id of the guard that has the file of `directory` open; None where none has, or it cannot be seen."""
    handle = _open(directory, os.O_RDONLY)
    try:
        text = os.pread(handle, 32, _HOLDER_AT).split(b"\n")[0].decode("ascii", "replace")
        if not text.isdigit():
            return None
        held = os.fstat(handle)
        files = [os.stat(f"/proc/{text}/fd/{each}") for each in os.listdir(f"/proc/{text}/fd")]
    except OSError:
        return None  # it is gone, or another user's
    finally:
        os.close(handle)
    return int(text) if any(os.path.samestat(each, held) for each in files) else None


def _newest(path: Path, data: bytes) -> tuple[int, State, State | None]:
    """Generation and state of the newer slot, and the state of the other one where it is readable."""
    slots = [] if len(data) != FILE_BYTES else [_unpack(data[at : at + SLOT_BYTES]) for at in (0, SLOT_BYTES)]
    read = sorted((each for each in slots if each is not None), key=lambda each: each[0])
    if not read:
        raise GuardLost(
            f"the memory of the guard in {path} is unreadable: neither of its two copies is whole",
            hint="Nothing more is signed with its key. A person continues the log: failwell ledger continue",
        )
    generation, state = read[-1]
    other = read[0][1] if len(read) == 2 else None
    # The very first slot stands alone in a new file: the other one is still all zeros, which is nothing torn.
    if other is None and generation == 0 and not any(data[SLOT_BYTES : 2 * SLOT_BYTES]):
        other = state
    return generation, state, other


def _open(directory: Path, flags: int) -> int:
    path = directory / FILE_NAME
    try:
        return open_private(path, flags)
    except FileNotFoundError as error:
        raise GuardLost(
            f"there is no guard in {directory}",
            hint="If that directory was moved, put it back or write its place into keys/guard. If it is lost: "
            "failwell ledger continue",
        ) from error
    except OSError as error:
        raise _disk(path, error) from error


def _disk(path: Path, error: OSError) -> GuardFailed:
    return GuardFailed(f"the guard cannot store in {path}: {error.strerror or error}")
