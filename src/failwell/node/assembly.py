"""From a workspace to a wired ledger: store, vault, keys, clock and reactions put together in one place."""

from __future__ import annotations

import importlib.metadata
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

from failwell.core import kinds
from failwell.core.errors import Refused, Unhealthy
from failwell.core.react import RULES, react
from failwell.core.records import Draft, decode_entry
from failwell.core.release import VERSION
from failwell.core.state import rows_of
from failwell.guard.place import place_of
from failwell.guard.sealing import LocalGuard
from failwell.ledger.book import Book
from failwell.ledger.entropy import Entropy
from failwell.ledger.jobs import CONTAINMENT, Plan
from failwell.ledger.seals import Seals
from failwell.ledger.vault import Vault
from failwell.ledger.writer import Writer
from failwell.node import settings
from failwell.node.guarding import check_history
from failwell.node.workspace import LedgerKeys, Workspace
from failwell.ports.clock import Clock
from failwell.ports.guard import Guard
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
    storage = sqlite.SqliteStorage(workspace.ledger, rows_of)
    entropy = Entropy()
    vault = Vault(ledger_keys.blobs, ledger_keys.tokens, origin, entropy)
    return Book(storage, vault, clock, origin, react, entropy)


def create_book(workspace: Workspace, clock: Clock, place: Path | None = None) -> tuple[Book, LocalGuard]:
    """A new workspace with an empty ledger file, and its guard; its genesis is still to be written (`genesis_drafts`).

    `place`: the guard's directory, which must lie outside the workspace if the guard is to tell a restored one; None is
    the user's own state directory.
    """
    origin = new_origin()
    made = workspace.create()
    directory = place_of(origin, os.environ) if place is None else place
    guard = LocalGuard.create(directory, origin)
    inside = directory.is_relative_to(workspace.path)
    workspace.guarded_by(str(directory.relative_to(workspace.path) if inside else directory.resolve()), guard.key)
    sqlite.create(workspace.ledger)
    return open_book(workspace, made, clock), guard


def sealed_writer(book: Book, guard: Guard, **observers: Any) -> Writer:
    """A writer whose heads are signed by `guard`, which it closes with the ledger."""
    return Writer(book, Seals(guard, book.subtree), **observers)


def genesis_drafts(book: Book, log_key: str, mode: str) -> tuple[Draft, ...]:
    """Entry 0 and the first clock entry. `mode`: live or backtest; `log_key`: the guard's vkey."""
    body = kinds.Genesis(format=1, mode=mode, log_key=log_key, software=f"failwell/{VERSION}")
    clock = book.clock_draft()
    return (Draft(body=body, actor="node"), *(() if clock is None else (clock,)))


def mended_drafts(book: Book, *parts: str) -> tuple[Draft, ...]:
    """Health entries for those of `parts` that an earlier node left failed and that work again at this start, and for
    what opening the file repaired.
    """
    told = [(part, "ok", "works again at a start") for part in parts if part in book.state.failed]
    opened = book.storage.opened
    # A backtest that was cut off and goes on is the same as one that was not: entry for entry.
    if opened.repaired and book.state.mode == "live":
        told.append(("storage", "repaired", opened.detail()))
    return tuple(
        Draft(body=kinds.Health(part=part, state=state, detail=detail[:500]), actor="node")
        for part, state, detail in told
    )


def rules_drafts(book: Book) -> tuple[Draft, ...]:
    """From here on this release's rules say what follows from what: written once, by the first node that has them."""
    if book.state.workspace and book.state.workspace[1].rules >= RULES:
        return ()
    return (Draft(body=kinds.ResponseRules(version=RULES), actor="node"),)


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
        try:
            guard = LocalGuard.open(Path(workspace.guard_place()))
            check_history(guard, book)
        except BaseException:
            book.storage.close()
            raise
        clock_draft = book.clock_draft()
        drafts = (*(() if clock_draft is None else (clock_draft,)), *mended_drafts(book, "storage", "guard"))
        writer = sealed_writer(book, guard, after=observe)
        if drafts:
            write_now(writer, drafts)
        return writer
    # What a backtest made can be made again: its guard lies with it.
    book, guard = create_book(workspace, clock, workspace.path / "guard")
    writer = sealed_writer(book, guard, after=observe)
    write_now(writer, (*genesis_drafts(book, guard.key, "backtest"), *rules_drafts(book)))
    return writer


def settings_in_force(book: Book) -> settings.Settings:
    """The settings of the newest `config` entry; the file only proposes (D9)."""
    row = book.state.workspace[1] if book.state.workspace else None
    stored = None if row is None or row.configured is None else book.storage.entry(row.configured)
    body = None if stored is None else decode_entry(stored.data).body
    if row is None or not isinstance(body, kinds.Config) or body.digest != row.configuration:
        raise Unhealthy("the ledger holds no settings in force")
    return settings.settings_from_text(body.text)
