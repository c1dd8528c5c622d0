"""Taking what a hold preserved out of the house: each copy in the clear, once it is shown to be what the record names.

Reads the workspace's files and keys itself, beside a running node or without one; starts and changes nothing there.
Whoever may read those keys may do this. What comes out is personal, and its keeper's to protect: files of mode 0600.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Any, NamedTuple

import apsw

from failwell.core import kinds, rows
from failwell.core.errors import Corrupt, InputError, NotFound
from failwell.core.records import decode_entry
from failwell.ledger.vault import Vault
from failwell.node.copies import LedgerCopy
from failwell.node.copy_file import copy_fault, copy_path, read_copy
from failwell.node.workspace import Workspace
from failwell.ports.storage import StoredBlob


class Exported(NamedTuple):
    """One directory: its tar archive, None where nothing could be copied; what is `missing` of it."""

    directory: str
    entry: int
    archive: Path | None
    files: int
    bytes: int
    missing: str | None


def export_hold(workspace: Workspace, number: int, into: Path) -> tuple[Exported, ...]:
    """Write the copies of hold `number` as tar archives into the new directory `into`.

    Raises NotFound where there is no such hold, InputError where `into` is there already, Corrupt where a copy is not
    what was preserved: then nothing of it is left there.
    """
    with LedgerCopy(workspace) as copy:
        connection = apsw.Connection(str(copy.path), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            found = connection.execute("SELECT row FROM hold WHERE key = ?", (number,)).fetchone()
            if found is None:
                raise NotFound(f"there is no hold {number}", hint="failwell hold list shows those there are.")
            row: rows.Hold = rows.decode_row("hold", found[0])
            vault = _vault(workspace, connection)
            try:
                into.mkdir(mode=0o700)
            except OSError as error:
                raise InputError(f"{into} cannot be made: {error.strerror}", hint="Name a new directory.") from error
            return tuple(_export(workspace, connection, vault, kept, into) for kept in row.preserved)
        finally:
            connection.close(True)


def _vault(workspace: Workspace, connection: apsw.Connection) -> Vault:
    keys = workspace.open_keys()
    vault = Vault(keys.blobs, keys.tokens, workspace.origin(), secrets.token_bytes)
    vault.name(*rows.decode_row("workspace", _one(connection, "SELECT row FROM workspace WHERE key = ?", 1)).origins)
    return vault


def _export(
    workspace: Workspace, connection: apsw.Connection, vault: Vault, kept: rows.Preserved, into: Path
) -> Exported:  # fmt: skip
    body: Any = decode_entry(_one(connection, "SELECT data FROM entry WHERE seq = ?", kept.entry)).body
    if not isinstance(body, kinds.DirectoryPreserved):
        raise Corrupt(f"entry {kept.entry} preserves nothing", hint="failwell ledger verify")
    told = Exported(body.name, kept.entry, None, body.files, body.bytes, body.missing)
    if body.digest is None:
        return told
    place = workspace.path / "blobs"
    if (wrong := copy_fault(place, body.digest)) is not None:
        raise Corrupt(f"the copy of {body.name} (entry {kept.entry}) {wrong}", hint="failwell ledger verify")
    blob = connection.execute("SELECT ciphertext, wrapped FROM blob WHERE seq = ?", (kept.entry,)).fetchone()
    if blob is None:
        raise Corrupt(f"the key to the copy of {body.name} (entry {kept.entry}) is not there any more")
    key = bytes.fromhex(vault.open(StoredBlob(kept.entry, *blob))["key"])
    archive = into / f"entry-{kept.entry}.tar"
    try:
        with os.fdopen(os.open(archive, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            for chunk in read_copy(copy_path(place, body.digest), key):
                file.write(chunk)
    except BaseException:
        archive.unlink(missing_ok=True)
        raise
    return told._replace(archive=archive)


def _one(connection: apsw.Connection, sql: str, key: int) -> Any:
    found = connection.execute(sql, (key,)).fetchone()
    if found is None:
        raise Corrupt("the record lacks what its own rows name", hint="failwell ledger verify")
    return found[0]
