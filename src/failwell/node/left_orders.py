"""Orders left in the workspace while the node did not answer (D2): `orders/<nonce>.order`, one signed order a file.

Whoever suspends an agent writes the signed order here, durably, when the socket stays silent. The writer reads the
directory before every batch and before its first decision; what a file says is believed only through its signature.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

from failwell.core.errors import FailwellError, InputError, NotFound, Refused
from failwell.core.orders import SignedOrder, encode_signed, parse_order, parse_signed

SUFFIX = ".order"
TAKEN = ".taken"
REFUSED = ".refused"
#: Longer than the coarsest step in which a file system keeps time.
SETTLE_US = 20_000
#: An order that the ledger could not take, since it could not write, is tried again this often.
RETRY_S = 0.2
MAX_FILE_BYTES = 65_536
#: What may be ordered so: it restricts, and must not wait for a node that answers.
KINDS = ("agent.suspend", "agent.revoke", "stop", "run.stop", "action.stop")
UNREAD = -1
#: Why a file is not opened that says nothing of the file: it is read later.
_NOT_NOW = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO)


def unjudged(error: BaseException | None) -> bool:
    """Whether an order was neither carried out nor refused: the ledger could not write, or could not even be asked."""
    return error is not None and not isinstance(error, (Refused, NotFound, InputError))


def leave(directory: Path, signed: SignedOrder) -> Path:
    """Write a signed order durably into `orders/`; returns its path. The same order lands in the same file."""
    path = directory / f"{parse_order(signed.order).nonce}{SUFFIX}"
    part = path.with_suffix(".part")
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(handle, encode_signed(signed))
        os.fsync(handle)
    finally:
        os.close(handle)
    part.rename(path)
    parent = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # The kernel's own stamp comes in steps: with this one a change just before does not hide the order.
        os.utime(parent, ns=(time.time_ns(), time.time_ns()))
        os.fsync(parent)
    finally:
        os.close(parent)
    return path


class Mailbox:
    """The directory as one node sees it: what lies unread there, and what is being carried out.

    `unread` may be asked by any thread; `take` is called by the writer's alone.
    """

    def __init__(self, directory: Path, wall_us: Callable[[], int]) -> None:
        self._directory = directory
        self._wall_us = wall_us
        #: Time stamp of the directory when it was last seen to hold no order that is not answered.
        self._empty_at = UNREAD
        self._taking: set[str] = set()
        self._retry_at = 0.0
        #: Answered orders that could not be renamed (a read-only file system), by what tells the file from another.
        self._stuck: dict[str, tuple[int, int]] = {}

    def unread(self) -> bool:
        """Whether an order may lie here that has not been answered; one stat while nothing changes."""
        try:
            changed_at = os.stat(self._directory).st_mtime_ns
            if changed_at == self._empty_at:
                return False
            if self._names():
                return True
        except OSError:
            return True  # what cannot be looked at may hold a stop: nothing starts
        # Kernels keep a directory's time in steps of milliseconds: an order that comes in the same step as the change
        # before it changes nothing that `stat` tells. A directory that changed just now is listed again next time.
        if abs(self._wall_us() - changed_at // 1000) > SETTLE_US:
            self._empty_at = changed_at
        return False

    def _names(self) -> list[str]:
        """Names of orders that are not answered, being carried out or not."""
        found = [name for name in os.listdir(self._directory) if name.endswith(SUFFIX)]
        return [name for name in found if name not in self._stuck or self._stuck[name] != self._identity(name)]

    def _identity(self, name: str) -> tuple[int, int] | None:
        try:
            seen = os.lstat(self._directory / name)
        except OSError:
            return None
        return seen.st_ino, seen.st_mtime_ns

    def take(self, carry_out: Callable[[SignedOrder], Future[int]]) -> None:
        """Have every order here carried out that is not on its way; each is put away once it is answered."""
        if not self.unread() or time.monotonic() < self._retry_at:
            return
        try:
            names = sorted(self._names(), key=lambda name: (self._identity(name) or (0, 0))[1])
        except OSError:
            return  # looked at again before the next batch; until then nothing starts
        for name in names:
            if name not in self._taking:
                self._taking.add(name)
                try:
                    signed = self._read(name)
                except OSError:
                    self._later(name)
                    continue
                if signed is None:
                    self._put_away(name, taken=False)
                else:
                    carry_out(signed).add_done_callback(lambda done, name=name: self._answered(name, done))  # type: ignore[misc]

    def _read(self, name: str) -> SignedOrder | None:
        """The order in a file; None for what holds none: text, folders, links, pipes (opening one would wait).

        Raises OSError where the machine could not read it now. Attack: take all descriptors, and every stop that comes
        then is put away as a file that holds none.
        """
        try:
            handle = os.open(self._directory / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            if error.errno in _NOT_NOW:
                raise
            return None
        try:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                return None
            signed = parse_signed(os.read(handle, MAX_FILE_BYTES))
            return signed if parse_order(signed.order).order in KINDS else None
        except InputError:
            return None
        finally:
            os.close(handle)

    def _answered(self, name: str, done: Future[int]) -> None:
        error = done.exception()
        if unjudged(error):
            # The order stands, nothing starts, and it is tried again (I8).
            self._later(name)
            return
        # The socket may have brought the same order before: then it was carried out.
        replayed = isinstance(error, FailwellError) and error.code == "replayed"
        self._put_away(name, taken=error is None or replayed)

    def _later(self, name: str) -> None:
        self._retry_at = time.monotonic() + RETRY_S
        self._taking.discard(name)

    def _put_away(self, name: str, *, taken: bool) -> None:
        """Mark a file as carried out, or as refused; it is kept either way."""
        path = self._directory / name
        try:
            path.rename(path.with_suffix(TAKEN if taken else REFUSED))
        except OSError:
            identity = self._identity(name)
            if identity is not None:
                self._stuck[name] = identity
        self._taking.discard(name)
