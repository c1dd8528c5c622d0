"""Two ceremonies on a record at rest: another checkpoint key, and going on under another name after a loss (D18, I7).

Both are a person's signed order, leave the order first and then what it did in one commit, and are done under the
node's lock, so that nothing else is written meanwhile. Whatever step they are cut off at, either nothing has happened
or the next start finishes it (`guarding`). Neither repairs what is stored, and neither hides what was lost.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from failwell.core import kinds, merkle, orders
from failwell.core.errors import InputError, NotFound, Refused
from failwell.core.instants import format_at
from failwell.core.records import Body, Draft, Entry
from failwell.core.sight import digest_of, sight
from failwell.guard.place import place_of
from failwell.guard.sealing import LocalGuard
from failwell.identity.persons import Signer, sign_order, verify_order
from failwell.ledger.book import Book
from failwell.ledger.jobs import Plan, Turn
from failwell.ledger.orders import admit, need_role
from failwell.node.assembly import new_origin, new_salt, open_book
from failwell.node.clock import SystemClock
from failwell.node.guarding import Behind, NoGuard, open_guard
from failwell.node.workspace import Lock, Workspace
from failwell.ports.guard import Guard, GuardLost

#: How long a guard may take for one step of a ceremony.
STEP_S = 5.0

Confirm = Callable[[dict[str, Any]], bool]


class Rotated(NamedTuple):
    """A key change: old and new vkey, the entry that says so, the tree size from which the new key signs."""

    was: str
    key: str
    entry: int
    since: int


class Continued(NamedTuple):
    """A continued log: its names, the entry that names the break, what is there and what the guard had signed.

    `guard`: where its new guard is kept, by this user, whoever ran the one before.
    """

    was: str
    origin: str
    key: str
    entry: int
    size: int
    lost_size: int | None
    guard: str


def rotate_key(workspace: Workspace, signer: Signer, reason: str, confirm: Confirm) -> Rotated:
    """Have the guard sign with a new key from the next entry on; the old one is destroyed.

    Raises Behind for a record that its guard did not sign, Refused for a person without the role operator, Unhealthy
    while a node runs.
    """
    with _at_rest(workspace) as book:
        guard, behind = open_guard(workspace, book)
        try:
            if behind is not None:
                raise behind
            _tell_time(book)
            details = orders.LedgerRotate(key=book.state.log_key, reason=reason)
            signed = _signed(book, signer, "ledger.rotate", details, confirm)
            change = guard.rotate(STEP_S)
            body = kinds.LogKey(was=change.was, key=change.key, statement=change.statement)
            entry = _carry_out(book, signed, "ledger.rotate", body)
            guard.confirm(change.key, entry.seq + 1, STEP_S)
            _seal(book, guard)
        finally:
            guard.close()
        workspace.guarded_by(workspace.guard_line(), change.key)
        return Rotated(change.was, change.key, entry.seq, entry.seq + 1)


def continue_log(workspace: Workspace, signer: Signer, reason: str, confirm: Confirm) -> Continued:
    """Go on under a new origin with what is there, after entries that the guard had signed were lost.

    The first entry under the new name says what is there, what the guard had signed, and by whose order. Raises
    InputError where nothing is lost, Refused for a person without the role operator, Unhealthy while a node runs.
    """
    with _at_rest(workspace) as book:
        guard, behind = open_guard(workspace, book)
        try:
            if behind is None:
                raise InputError("the record is what its guard signed: there is nothing to go on from")
            if not isinstance(behind, Behind | GuardLost | NotFound):
                raise behind  # a guard that does not answer now may still remember
            # What sits in the guard's place may be another log's, which is neither believed nor touched.
            ours = not isinstance(guard, NoGuard) and guard.key == book.state.log_key
            last = guard.last() if ours else None
            _tell_time(book)
            size, root = book.state.size, book.frontier.root()
            details = orders.LedgerContinue(
                size=size, root=root.hex(), lost_size=None if last is None else last.size,
                lost_root=None if last is None else last.root.hex(), reason=reason,
            )  # fmt: skip
            signed = _signed(book, signer, "ledger.continue", details, confirm)
            was, origin = book.origin, new_origin()
            place = place_of(origin, os.environ)
            following = LocalGuard.create(place, origin, (size, root))
            try:
                body = kinds.Continued(
                    was=was, size=size, root=root.hex(), key=following.key, lost_size=details.lost_size,
                    lost_root=details.lost_root, lost_note=None if last is None else last.note.decode(), why=reason,
                )  # fmt: skip
                entry = _carry_out(book, signed, "ledger.continue", body)
                # INVARIANT: the old name signs nothing more before the new one is told to anybody.
                if ours:
                    guard.retire(f"the log goes on as {origin}", STEP_S)
                workspace.guarded_by(str(place), following.key)
                _seal(book, following)
            finally:
                following.close()
        finally:
            guard.close()
        return Continued(was, origin, body.key, entry.seq, size, details.lost_size, str(place))


@contextmanager
def _at_rest(workspace: Workspace) -> Iterator[Book]:
    """The book of a workspace that no node has, under its lock."""
    lock = Lock(workspace)
    try:
        book = open_book(workspace, workspace.open_keys(), SystemClock())
        try:
            yield book
        finally:
            book.storage.close()
    finally:
        lock.release()


def _signed(book: Book, signer: Signer, kind: str, details: orders.Details, confirm: Confirm) -> orders.SignedOrder:
    shown = sight(book.state, kind, details)
    if not confirm(shown):
        raise Refused("not signed: you said no")
    order = orders.Order(
        order=kind, origin=book.origin, person=signer.person, nonce=new_salt().hex(),
        at=format_at(SystemClock().wall_us()), shown=digest_of(shown), details=details,
    )  # fmt: skip
    return sign_order(signer, order)


def _tell_time(book: Book) -> None:
    """The clock entry that a boot needs, before the order; it is stored with that, or, where none comes, not at all."""
    clock = book.clock_draft()
    if clock is not None:
        book.run(lambda turn: Plan((clock,), lambda entries: None), _unobserved)


def _carry_out(book: Book, signed: orders.SignedOrder, wanted: str, body: Body) -> Entry[Any]:
    """Write the order and what it did, in one commit; returns the entry of what it did."""

    def job(turn: Turn) -> Plan[Entry[Any]]:
        admitted = admit(turn, signed, verify_order, wanted=wanted, source="console")
        need_role(turn, admitted.order.person, "operator", wanted)
        did = Draft(body=body, actor=f"person:{admitted.order.person}", refs=(turn.seq,))
        return Plan((admitted.draft, did), lambda entries: entries[1])

    make, entries = book.run(job, _unobserved)
    book.commit()
    entry: Entry[Any] = make(entries)
    return entry


def _seal(book: Book, guard: Guard) -> None:
    """Have everything signed and store the seal."""
    since = guard.grown()[0]
    path = merkle.consistency_path(since, book.state.size, book.subtree)
    book.commit(guard.seal(book.state.size, book.frontier.root(), path, STEP_S, since=since))


def _unobserved(_: Entry[Any]) -> None:
    return None
