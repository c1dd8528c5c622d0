"""What a workspace's guard remembers of its record, read beside the guard, and the record held against it.

Whoever takes something out of a record, or believes what it says of an agent, must not be served an older copy of it.
It starts no guard, asks none, and takes nothing of what it reads for truer than the signature under it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from failwell.core.errors import Corrupt, FailwellError
from failwell.core.note import Checkpoint, SignedNote
from failwell.guard.place import Place
from failwell.guard.state import peek
from failwell.ledger.proofs import StoredTree
from failwell.node.reading import LedgerRows
from failwell.node.workspace import Workspace
from failwell.verify.anchors import Anchor


def remembered(workspace: Workspace) -> Anchor | str:
    """The head that the workspace's own guard signed last, or why it could not be read.

    Attack: an older state of the ledger, or of its checkpoint alone, put in the place of the newer one.
    """
    try:
        place = Place.parse(workspace.guard_place())
        if place.directory is None:
            return "its memory is another user's"
        state = peek(place.directory)
    except FailwellError as error:
        return error.message  # gone, or not ours to read: that is the node's to judge, and says nothing of the entries
    except ValueError:
        return "keys/guard is no line of text"
    if state.note is None:
        return "it has signed nothing yet"
    return Anchor("that its guard remembers", state.note, ours=True)


@contextlib.contextmanager
def rows_in_force(workspace: Workspace) -> Iterator[LedgerRows]:
    """The rows of a record that holds what its guard signed last, as far as that can be read. Raises Corrupt."""
    head = remembered(workspace)  # before the rows: what is signed later need not be in them
    with LedgerRows(workspace) as rows:
        try:
            why = contradiction(head, rows)
        except Corrupt as error:
            raise Corrupt(f"the record does not hold together: {error.message}", hint=error.hint) from error
        if why is not None:
            raise Corrupt(why, hint="Look for the newer copy: failwell ledger verify", code="behind-guard")
        yield rows


def contradiction(head: Anchor | str, rows: LedgerRows) -> str | None:
    """How the rows contradict what the guard remembered before they were opened; None where nothing shows it.

    Raises Corrupt for rows that do not make up a tree.
    """
    if not isinstance(head, Anchor):
        return None
    signed, size = Checkpoint.parse(SignedNote.parse(head.note).text), rows.size()
    if signed.size > size:
        return f"the record has {size} entries, and its guard has signed {signed.size}: the end is lost"
    if StoredTree(rows.entry).root(signed.size) != signed.root:
        return f"the first {signed.size} entries of the record are not those that its guard signed"
    return None
