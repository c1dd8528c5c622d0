"""The newest entries of one agent, found by the index; of a running node too, and nothing is written beside it (D1).

Where a node runs its index is copied and brought up to now in a private directory, against the live file; without one
both files are. Nothing is verified here: that an agent's entries are complete is proved by `node.extracts`.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from failwell.core.errors import Corrupt, NotFound
from failwell.node.copies import copy_ledger
from failwell.node.reading import LedgerRows
from failwell.node.workspace import Workspace, lock_holder
from failwell.ports.storage import StorageFailed, StoredEntry
from failwell.storage import index


def newest_of(workspace: Workspace, name: str, count: int) -> list[StoredEntry]:
    """The last `count` entries of the agent whose id or short name is `name`, oldest first.

    Raises NotFound where the record knows no such agent, Corrupt where it cannot be read.
    """
    agent = _agent(workspace, name)
    with tempfile.TemporaryDirectory(prefix="failwell-agent-") as directory:
        live = lock_holder(workspace) is not None
        ledger = workspace.ledger if live else Path(directory) / "ledger.db"
        if not live:
            copy_ledger(workspace, ledger)
        try:
            borrowed = index.borrow(ledger, workspace.path / index.NAME, Path(directory), live=live)
            try:
                found = list(borrowed.entries(reversed(borrowed.newest_of(agent, count))))
            finally:
                borrowed.close()
        except (StorageFailed, OSError) as error:
            raise Corrupt(f"{workspace.ledger} cannot be read: {error}", hint="failwell ledger verify") from error
    return found


def _agent(workspace: Workspace, name: str) -> str:
    with LedgerRows(workspace) as rows:
        known = rows.heads()
    short = [agent for agent in known if agent.rpartition("/")[2] == name]
    if name in known or len(short) == 1:
        return name if name in known else short[0]
    what = f"{name} is the short name of {len(short)} agents" if short else f"no entry is of an agent {name}"
    raise NotFound(what, hint="Give its full name: failwell agent list.")
