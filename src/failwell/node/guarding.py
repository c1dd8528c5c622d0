"""The guard beside a ledger at its start: is what is stored a history of what the guard signed (D18)?

A ledger file that was restored, cut off or exchanged is behind what its guard remembers, or beside it. Then nothing
more may be written under the same name: it would be a second history. Nothing here mends that; a person orders it.
While a node runs, what cannot be undone waits here for its seal.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence

from failwell.core import merkle, note
from failwell.core.errors import Corrupt, FailwellError, InputError, Unhealthy
from failwell.guard.place import place_of
from failwell.guard.remote import RemoteGuard
from failwell.ledger.book import Book
from failwell.ledger.seals import LATE_S, Seals
from failwell.node.workspace import Workspace
from failwell.ports.guard import Guard, GuardFailed, KeyChange, Sealed
from failwell.storage.tail import check_tail

#: How long a guard may take for one step.
STEP_S = 5.0
#: How often a guard that did not answer is looked for.
LOOK_S = 3.0
HINT = (
    "Look for the newer copy and put it in place: compare backups with failwell ledger verify and the checkpoints in "
    "mails. If what is missing is lost for good: failwell ledger continue"
)


class Behind(Corrupt):
    """The stored record contradicts what its guard signed: it is read, and not written to."""

    code = "behind-guard"


def check_history(guard: Guard, book: Book) -> None:
    """Raises Behind unless the stored tree begins with the one that the guard signed last; O(log n) reads."""
    size = book.state.size
    _finish_rotation(guard, book)
    # Attack: the lost record is found again after it was given up, and goes on beside the one that took its place.
    if guard.retired is not None:
        raise Behind(f"the guard of this record signs nothing more: {guard.retired}", hint=HINT)
    if size and guard.key != book.state.log_key and (guard.waiting is None or guard.waiting.key != book.state.log_key):
        raise Behind("the guard of this record signs with another key than the record names", hint=HINT)
    # Attack: a backup from before a change of key that was cut off: its guard would sign what names no such key.
    if guard.waiting is not None and guard.waiting.since is not None and guard.waiting.key != book.state.log_key:
        raise Behind("the guard of this record was told of a change of key that the record does not hold", hint=HINT)
    signed, root = guard.grown()
    if size and not signed:
        raise Behind(f"the record has {size} entries, and its guard remembers none of them", hint=HINT)
    if signed > size:
        raise Behind(f"the record has {size} entries, and its guard has signed {signed}: the end is lost", hint=HINT)
    # Attack: an older memory of the guard put back, so that it signs another future from there.
    if signed < (sealed := _sealed(book)):
        raise Behind(f"the record is sealed over {sealed} entries, of which its guard remembers {signed}", hint=HINT)
    if merkle.range_root(0, signed, book.subtree) != root:
        raise Behind(f"the first {signed} entries of the record are not those that its guard signed", hint=HINT)
    try:
        check_tail(book.storage, signed)
    except Corrupt as error:
        raise Behind(f"the newest part of the record does not hold together: {error.message}", hint=HINT) from error


def _sealed(book: Book) -> int:
    """How many entries the stored checkpoint covers; a guard remembers what it signs before it hands it out."""
    stored = book.storage.checkpoint()
    try:
        return 0 if stored is None else note.Checkpoint.parse(note.SignedNote.parse(stored).text).size
    except InputError:
        return 0  # `ledger verify` tells what it is


def _finish_rotation(guard: Guard, book: Book) -> None:
    """Put a key in force that the record names already: the ceremony was cut off before the guard was told so."""
    waiting = guard.waiting
    if waiting is not None and waiting.key == book.state.log_key:
        guard.confirm(waiting.key, guard.grown()[0] + 1, STEP_S)


class NoGuard:
    """In the place of a guard that did not come up: nothing was signed, nothing will be (`ports.guard.Guard`)."""

    key = ""
    waiting = None
    retired = None

    def __init__(self, why: FailwellError) -> None:
        self._why = why

    def last(self) -> Sealed | None:
        return None

    def grown(self) -> tuple[int, bytes]:
        return 0, merkle.EMPTY_ROOT

    def seal(
        self, size: int, root: bytes, path: Sequence[bytes], timeout_s: float, *, since: int | None = None
    ) -> Sealed:  # fmt: skip
        raise self._failed()

    def rotate(self, timeout_s: float) -> KeyChange:
        raise self._failed()

    def confirm(self, key: str, size: int, timeout_s: float) -> None:
        raise self._failed()

    def retire(self, why: str, timeout_s: float) -> None:
        raise self._failed()

    def close(self) -> None:
        return None

    def _failed(self) -> GuardFailed:
        return GuardFailed(self._why.message, hint=self._why.hint)


def _following(workspace: Workspace, book: Book) -> str | None:
    """The guard of a new name that the record has and the workspace does not know yet; None where it needs none."""
    former = [name for _, name in book.state.origins[:-1]]
    following = place_of(book.origin, os.environ)
    return str(following) if workspace.origin() in former and following.is_dir() else None


def _finish_publishing(workspace: Workspace, book: Book, following: str | None) -> None:
    """Publish the key that the record names, where a ceremony was cut off before that.

    Only what its guard vouches for comes here. Attack: a backup from before a change of key, for which the start itself
    takes the newer key back.
    """
    if not book.state.size or workspace.published_key() == book.state.log_key:
        return
    if following is not None:
        _retire_former(workspace, book)
    workspace.guarded_by(following or workspace.guard_line(), book.state.log_key)


def _retire_former(workspace: Workspace, book: Book) -> None:
    """INVARIANT: the old name signs nothing more before the new one is told to anybody."""
    try:
        former = RemoteGuard.at(workspace.guard_place(), key=workspace.published_key())
    except FailwellError:
        return  # it is lost, or another's: that is why the log went on
    try:
        if former.retired is None:
            former.retire(f"the log goes on as {book.origin}", STEP_S)
    finally:
        former.close()


def open_guard(workspace: Workspace, book: Book) -> tuple[Guard, FailwellError | None]:
    """The running guard of a ledger, and why nothing may be written (None where all is well).

    Without a guard it cannot be told whether this is the record that was signed: then it is read, and not written to.
    """
    guard: Guard = NoGuard(Unhealthy("the guard was not reached"))
    try:
        following = _following(workspace, book)
        guard = RemoteGuard.at(following or workspace.guard_place())
        check_history(guard, book)
        _finish_publishing(workspace, book, following)
    except Behind as error:
        return guard, error
    except FailwellError as error:
        guard.close()  # its process would be kept by whoever keeps the error
        return NoGuard(error), error
    return guard, None


class AbsentGuard:
    """A guard that did not answer when a node started, which therefore only reads; looked for again every few seconds.

    Whether the record is the one that it signed is judged by a start, so a node makes room for the next one then. What
    contradicts a guard, or a guard that lost its memory, does not pass by itself: that takes a person.
    """

    def __init__(self, workspace: Workspace, why: FailwellError | None) -> None:
        self._workspace = workspace
        self._awaited = why is not None and why.code == GuardFailed.code
        self._look_at = time.monotonic() + LOOK_S

    async def is_back(self) -> bool:
        """Whether it answers now; False between two looks."""
        if not self._awaited or time.monotonic() < self._look_at:
            return False
        answers = await asyncio.to_thread(self._answers)
        self._look_at = time.monotonic() + LOOK_S
        return answers

    def _answers(self) -> bool:
        try:
            RemoteGuard.at(self._workspace.guard_place()).close()
        except FailwellError:
            return False
        return True


async def sealed(seals: Seals, entry: int) -> None:
    """Wait until the guard has signed over `entry`; Unhealthy after a second (D18).

    INVARIANT: no leave for what cannot be undone goes out on a verdict that its record could still lose unnoticed.
    """
    try:
        await asyncio.wait_for(asyncio.wrap_future(seals.wait(entry + 1)), LATE_S)
    except TimeoutError:
        raise Unhealthy(
            f"entry {entry} was not sealed within {LATE_S:g} s: what cannot be undone does not start before it is",
            code="unsealed", hint="failwell doctor says what is wrong with the guard.",
        ) from None  # fmt: skip
