"""The demonstration's record after the node has stopped: read on copies, tampered with on copies, verified.

Everything here is what anybody with the files could do: the byte changer has the ledger file, the forger has the
ledger's own key too, the verifier is `node.audit`. The workspace itself is never written to.
"""

from __future__ import annotations

import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import apsw
import msgspec

from failwell.core import kinds
from failwell.core.errors import NotFound
from failwell.core.instants import format_at, parse_at
from failwell.core.records import Entry, decode_entry
from failwell.drills.demo.forgery import Forged, forge
from failwell.drills.demo.outcome import Forgery, OneByte
from failwell.guard.sealing import LocalGuard
from failwell.identity.keys import SigningKey, from_seed
from failwell.ledger.vault import Vault
from failwell.node.audit import find_notes, verify_workspace
from failwell.node.workspace import Workspace
from failwell.response.account import account
from failwell.storage import sqlite
from failwell.verify.finding import KEPT, Report

#: How long the guard of the node that has just stopped may take to end.
GUARD_S = 3.0
#: The forger dates the effects of one customer back by this much: out of the incident.
BACKDATED_US = 3_600_000_000


class Record(NamedTuple):
    """A ledger as it was read: entries and their bytes in order, what the tokens stand for, opened secrets."""

    entries: tuple[Entry[Any], ...]
    stored: tuple[bytes, ...]
    names: dict[str, str]
    arguments: dict[int, bytes]


def read_record(workspace: Workspace) -> Record:
    """Read all entries, and with the workspace's keys the tokens and the arguments of every decision."""
    keys = workspace.open_keys()
    vault = Vault(keys.blobs, keys.tokens, workspace.origin(), secrets.token_bytes)
    with _copied(workspace) as copy:
        storage = sqlite.SqliteStorage(copy.ledger)
        try:
            stored: list[bytes] = []
            while page := storage.entries(len(stored), sqlite.PAGE):
                stored += [row.data for row in page]
            entries = tuple(decode_entry(data) for data in stored)
            names = {row.token: vault.reveal(row)[1] for row in storage.tokens()}
            decisions = {entry.seq for entry in entries if isinstance(entry.body, kinds.Decision)}
            arguments = {
                blob.seq: str(vault.open(blob)["arguments"]).encode()
                for blob in storage.blobs()
                if blob.seq in decisions
            }
        finally:
            storage.close()
    return Record(entries, tuple(stored), names, arguments)


@contextmanager
def _copied(workspace: Workspace) -> Iterator[Workspace]:
    """A copy of a ledger that nobody writes (its log too: a node may have been killed) and of its published key."""
    with tempfile.TemporaryDirectory(prefix="failwell-demo-copy-") as directory:
        copy = Workspace(Path(directory))
        copy.keys.mkdir(mode=0o700)
        sqlite.copy(workspace.ledger, copy.ledger)
        shutil.copyfile(workspace.log_pub, copy.log_pub)
        yield copy


def verify(workspace: Workspace, *kept: bytes) -> Report:
    """`ledger verify`, with checkpoints that were kept elsewhere."""
    return verify_workspace(workspace.path, checkpoints=kept)


def change_one_byte(workspace: Workspace, seq: int) -> OneByte:
    """Change one byte of entry `seq` on a copy, and verify it: is it found, and is that entry named?"""
    with _copied(workspace) as copy:
        connection = apsw.Connection(str(copy.ledger))
        data = bytearray(connection.execute("SELECT data FROM entry WHERE seq = ?", (seq,)).get)
        # Whom the notice went to: the entry stays well-formed, so that only the hashes can tell.
        place = data.index(b'"customer":"c-') + len(b'"customer":"c-')
        data[place] = ord("1") if data[place] == ord("0") else ord("0")
        connection.execute("UPDATE entry SET data = ? WHERE seq = ?", (bytes(data), seq))
        connection.close()
        report = verify(copy)
    message = report.findings[0].message if report.findings else ""
    return OneByte(entry=seq, found=not report.ok, named=report.first_bad, message=message)


def forge_away(workspace: Workspace, record: Record, told: Any, mail: bytes, customer: str, stated_ms: int) -> Forgery:
    """Let an operator take one customer out of the incident, and see who notices: nobody inside, but the kept mail.

    `told`: the account of the incident; `mail`: what the owner kept; `customer`: the one who was never harmed then.
    """
    onset_us = parse_at(record.entries[told.onset[0]].at)

    def change(entry: Entry[Any]) -> Entry[Any]:
        body = entry.body
        if not isinstance(body, kinds.EffectWitnessed) or record.names.get(str(body.customer)) != customer:
            return entry
        if body.at_tool is None or parse_at(body.at_tool) < onset_us:
            return entry
        earlier = format_at(parse_at(body.at_tool) - BACKDATED_US)
        return msgspec.structs.replace(entry, body=msgspec.structs.replace(body, at_tool=earlier))

    key = _checkpoint_key(workspace)
    forged = forge(record.stored, change, key.sign, key.public)
    if not forged.changed:
        raise NotFound(f"no effect on {customer} stands in the record")
    with _copied(workspace) as copy:
        _put(copy, forged)
        alone, kept = verify(copy), verify(copy, mail)
    row = forged.state.incident[told.incident]
    entries = [decode_entry(each.data) for each in forged.entries]
    tells = account(
        told.incident, row, forged.state.agent[row.agent], [e for e in entries if e.agent == row.agent],
        stated_ms=stated_ms, reveal=lambda token: record.names.get(token, token),
    )  # fmt: skip
    return Forgery(
        customer=customer,
        changed=forged.changed,
        customers_told=len(tells.customers),
        found_alone=not alone.ok,
        found_with_mail=any(finding.step == KEPT for finding in kept.findings),
        checkpoint_size=_size(mail),
        message=next((each.message for each in kept.findings if each.step == KEPT), ""),
    )


def _checkpoint_key(workspace: Workspace) -> SigningKey:
    """The key itself, taken from its guard: the demonstration's operator holds everything there is to hold."""
    guard = LocalGuard.open(Path(workspace.guard_place()), wait_s=GUARD_S)
    try:
        pair = guard.state().pair
    finally:
        guard.close()
    if pair is None:
        raise NotFound("the guard of the demonstration has no key any more")
    return from_seed(pair.seed)


def _put(copy: Workspace, forged: Forged) -> None:
    """Write the forged ledger into the file, every row of it."""
    connection = apsw.Connection(str(copy.ledger))
    with connection:
        update = "UPDATE entry SET data = ?, leaf = ?, nodes = ? WHERE seq = ?"
        connection.executemany(update, [(each.data, each.leaf, each.nodes, each.seq) for each in forged.entries])
        connection.execute("UPDATE checkpoint SET note = ?", (forged.checkpoint,))
    connection.close()
    tables: dict[str, list[tuple[Any, str]]] = {table: [] for table, _ in forged.rows}
    for (table, key), row in forged.rows.items():
        tables[table].append((key, row))
    sqlite.replace_rows(copy.ledger, tables)


def _size(mail: bytes) -> int:
    """How many entries the checkpoint in a mail covers."""
    return max(int(each.decode().split("\n")[1]) for each in find_notes(mail))
