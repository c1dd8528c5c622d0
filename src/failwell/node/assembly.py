"""From a workspace to a wired ledger: store, vault, keys, clock and reactions put together in one place."""

from __future__ import annotations

import importlib.metadata
import secrets
from collections.abc import Callable, Iterator
from typing import Any

from failwell.core import kinds, note
from failwell.core.errors import Refused, Unhealthy
from failwell.core.react import react
from failwell.core.records import Draft, decode_entry
from failwell.core.release import VERSION
from failwell.identity import keys
from failwell.ledger.book import Book, Signer
from failwell.ledger.jobs import CONTAINMENT, Plan
from failwell.ledger.vault import Vault
from failwell.ledger.writer import Writer
from failwell.node import settings
from failwell.node.workspace import LedgerKeys, Workspace
from failwell.ports.clock import Clock
from failwell.ports.storage import Storage
from failwell.storage import sqlite

EVALUATOR = f"failwell/{VERSION}+cedarpy/{importlib.metadata.version('cedarpy')}"


def new_origin() -> str:
    """A random name for a ledger (D10): it tells nothing about whose it is."""
    return f"failwell/{secrets.token_hex(8)}"


def new_salt() -> bytes:
    """16 random bytes, for a commitment or a nonce."""
    return secrets.token_bytes(16)


def open_book(workspace: Workspace, ledger_keys: LedgerKeys, clock: Clock) -> Book:
    """The book of an existing ledger file. Raises StorageFailed, Corrupt."""
    origin = workspace.origin()
    storage = sqlite.SqliteStorage(workspace.ledger)
    vault = Vault(ledger_keys.blobs, ledger_keys.tokens, origin, secrets.token_bytes)
    return Book(storage, vault, clock, Signer(origin, ledger_keys.log.public, ledger_keys.log.sign), react)


def create_book(workspace: Workspace, clock: Clock) -> tuple[Book, LedgerKeys]:
    """A new workspace with an empty ledger file; its genesis is still to be written (`genesis_drafts`)."""
    made = workspace.create(new_origin())
    sqlite.create(workspace.ledger)
    return open_book(workspace, made, clock), made


def genesis_drafts(book: Book, log: keys.SigningKey, origin: str, mode: str) -> tuple[Draft, ...]:
    """Entry 0 and the first clock entry. `mode`: live or backtest."""
    body = kinds.Genesis(
        format=1,
        mode=mode,
        log_key=note.VerifierKey(origin, log.public).text(),
        software=f"failwell/{VERSION}",
    )
    clock = book.clock_draft()
    return (Draft(body=body, actor="node"), *(() if clock is None else (clock,)))


def write_now(writer: Writer, drafts: tuple[Draft, ...]) -> None:
    """Write drafts and wait until they are durable."""
    writer.submit(lambda turn: Plan(drafts, _nothing), CONTAINMENT).result()


def _nothing(_: Any) -> None:
    return None


def backtest_ledger(workspace: Workspace, clock: Clock, observe: Callable[[list[Any]], None]) -> Writer:
    """A ledger marked `backtest`, in this process: new, or an earlier one that goes on where it stopped."""
    if workspace.ledger.exists():
        book = open_book(workspace, workspace.open_keys(), clock)
        if book.state.mode != "backtest":  # recorded time and unsigned contracts must never reach a live record
            book.storage.close()
            raise Refused(
                f"{workspace.path} is a live workspace",
                hint="A backtest makes its own: choose another --into.",
            )
        writer = Writer(book, after=observe)
        clock_draft = book.clock_draft()
        if clock_draft is not None:
            write_now(writer, (clock_draft,))
        return writer
    book, made = create_book(workspace, clock)
    writer = Writer(book, after=observe)
    write_now(writer, genesis_drafts(book, made.log, workspace.origin(), "backtest"))
    return writer


def settings_in_force(book: Book) -> settings.Settings:
    """The settings of the newest `config` entry; the file only proposes (D9)."""
    digest = book.state.configuration
    for row in _config_entries(book.storage, book.state.size):
        if row.digest == digest:
            return settings.settings_from_text(row.text)
    raise Unhealthy("the ledger holds no settings in force")


def _config_entries(storage: Storage, size: int) -> Iterator[kinds.Config]:
    """Config bodies, newest first, paging backwards."""
    end = size
    while end > 0:
        first = max(0, end - 1000)
        for stored in reversed(storage.entries(first, end - first)):
            if b'"kind":"config"' in stored.data:
                yield decode_entry(stored.data).body
        end = first
