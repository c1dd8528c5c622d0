"""The book: what it writes is what the format says, and what it loads is what it had."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from failwell.core import kinds, merkle, note
from failwell.core.errors import Corrupt
from failwell.core.instants import parse_at
from failwell.core.react import react
from failwell.core.records import Draft, Entry, decode_entry
from failwell.core.state import State
from failwell.core.tokens import MAX_TOKENS
from failwell.core.windows import EVER
from failwell.identity import keys
from failwell.ledger import book as books
from failwell.ledger.book import Book
from failwell.ledger.jobs import Plan, Turn
from failwell.node import assembly, audit
from failwell.storage import sqlite
from tests.unit.verify import ledgers

INDEXES = ("nonces", "calls", "names", "incidents", "holds", "pages", "size", "last_at_us")


def health(detail: str = "fine") -> Draft:
    return Draft(body=kinds.Health(part="test", state="ok", detail=detail), actor="node")


def in_memory(state: State, counted: State) -> dict[str, Any]:
    """All that a verdict or a reaction may depend on; what is counted is asked for wherever `counted` holds some."""
    seen = {name: getattr(state, name) for name in (*INDEXES, "workspace", "agent", "person", "host", "contract")}
    seen |= {
        name: getattr(state, name)
        for name in ("run", "action", "signal", "incident", "hold", "page", "head", "witness")
    }
    seen["windows"] = {place: state.limit_window(*place, EVER).held for place in counted.windows}
    seen["signals_of"] = {place: state.signal_window(*place, EVER).held for place in counted.signals_of}
    return seen


@pytest.mark.parametrize("indexed", [False, True])
def test_what_is_loaded_from_the_rows_is_what_was_folded_from_the_entries(
    tmp_path: Path, indexed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if indexed:
        monkeypatch.setattr(sqlite, "INDEX_FROM", 0)
    with ledgers.fresh(tmp_path / "w") as made:
        ledgers.begin(made)
        run = ledgers.work(made)
        made.refund(run, "open", "A-77")
        folded = State()
        for row in made.book.storage.entries(0, 10_000):
            folded.apply(decode_entry(row.data), row.leaf.hex())
        assert folded.past is None
        assert sum(len(window) for window in folded.windows.values()) > 5
        written = in_memory(made.book.state, folded)
    with ledgers.reopened(tmp_path / "w", made.clock) as again:
        assert bool(again.book.state.windows) is not indexed, "with an index nothing is counted before somebody asks"
        loaded = in_memory(again.book.state, folded)
    assert loaded == written == in_memory(folded, folded)


def test_leaves_subtrees_and_checkpoint_are_those_of_rfc_9162(tmp_path: Path) -> None:
    with ledgers.fresh(tmp_path / "w") as made:
        ledgers.begin(made)
        ledgers.work(made)
        storage, size = made.book.storage, made.book.state.size
        rows = storage.entries(0, size)
        assert [row.leaf for row in rows] == [hashlib.sha256(b"\0" + row.data).digest() for row in rows]
        root = merkle.root_of(row.leaf for row in rows)
        key = note.VerifierKey.parse(made.book.state.log_key)
        assert note.open_checkpoint(made.sealed(), made.origin, [(key, keys.verify)]).root == root
        for old in (1, 7, size - 1):
            path = merkle.consistency_path(old, size, made.book.subtree)
            assert all(len(node) == merkle.HASH_BYTES for node in path)
        assert merkle.range_root(0, size, made.book.subtree) == root


def test_all_that_was_acknowledged_is_soon_covered_by_the_stored_checkpoint(tmp_path: Path) -> None:
    with ledgers.fresh(tmp_path / "w") as made:
        for count in (1, 3, 2):
            made.write(*(health(str(number)) for number in range(count)))
            signed = made.sealed()
            assert note.Checkpoint.parse(note.SignedNote.parse(signed).text).size == made.book.state.size


def test_a_closed_ledger_leaves_nothing_unsealed(tmp_path: Path) -> None:
    with ledgers.fresh(tmp_path / "w") as made:
        made.write(*(health(str(number)) for number in range(7)))
        size = made.book.state.size
    storage = sqlite.SqliteStorage(tmp_path / "w" / "ledger.db")
    signed = storage.checkpoint()
    storage.close()
    assert signed is not None
    assert note.Checkpoint.parse(note.SignedNote.parse(signed).text).size == size


def test_reactions_stand_behind_all_drafts_of_the_job_that_caused_them(tmp_path: Path) -> None:
    with ledgers.fresh(tmp_path / "w") as made:
        ledgers.begin(made)
        run = made.run()
        action = made.refund(run, "c1", "A-1").entry
        tried = kinds.InterruptAttempted(action=action, method="cooperative: order")
        unconfirmed = kinds.InterruptUnconfirmed(action=action, why="no answer")
        drafts = [Draft(body=body, actor="node", agent=ledgers.AGENT) for body in (tried, unconfirmed)]
        seqs = made.write(*drafts, health("last draft"))
        entries = {shown.seq: shown.entry for shown in audit.tail(made.path, 20)}
        assert seqs == [seqs[0], seqs[0] + 1, seqs[0] + 2]
        following = [entries[seq] for seq in sorted(entries) if seq > seqs[2]]
        assert [entry.kind for entry in following if entry][:2] == ["signal", "incident.opened"]
        assert made.book.state.agent[ledgers.AGENT].authority == "SUSPENDED"
    assert audit.verify_workspace(tmp_path / "w").ok


def test_reactions_without_end_are_refused_and_leave_nothing(tmp_path: Path) -> None:
    def endless(state: State, entry: Entry[Any]) -> tuple[Draft, ...]:
        return (health(),) if isinstance(entry.body, kinds.Health) else react(state, entry)

    with ledgers.fresh(tmp_path / "w") as made:
        made.writer.close()
        opened = assembly.open_book(made.workspace, made.keys, made.clock)
        book = Book(opened.storage, opened.vault, made.clock, opened.origin, endless)
        size = book.state.size
        with pytest.raises(Corrupt, match="reactions"):
            book.run(lambda turn: Plan((health(),), lambda entries: None), lambda entry: None)
        book.recover()
        assert book.state.size == size == book.storage.size()
        book.storage.close()
    assert audit.verify_workspace(tmp_path / "w").ok


def test_more_tokens_than_a_job_should_need_stay_bound_to_their_entry(tmp_path: Path) -> None:
    """Attack: an agent that names hundreds of customers in one job, so that token rows run into the next entry's."""

    def job(turn: Turn) -> Plan[int]:
        for number in range(300):
            turn.token("customer", f"customer {number}")
        return Plan((health("many"),), lambda entries: entries[0].seq)

    with ledgers.fresh(tmp_path / "w") as made:
        seq = made.do(job)
        made.do(lambda turn: Plan((health(turn.token("customer", "customer 299")),), lambda entries: None))
        last = decode_entry(made.book.storage.entries(seq, 2)[1].data)
        assert last.tokens == ()
        stored = list(made.book.storage.tokens())
        assert {row.id // MAX_TOKENS for row in stored} == {seq}
        assert made.book.vault.reveal(stored[299]) == ("customer", "customer 299")
    assert audit.verify_workspace(tmp_path / "w").ok


def test_an_entry_beyond_what_fits_is_refused_and_the_next_one_fits(tmp_path: Path) -> None:
    with ledgers.fresh(tmp_path / "w") as made:
        with pytest.raises(Corrupt, match="65535"):
            made.write(health("x" * 70_000))
        assert made.write(health()) == [made.book.state.size - 1]
    assert audit.verify_workspace(tmp_path / "w").ok


# ---- ledger time (D7) ------------------------------------------------------------------------------------------------


def test_ledger_time_goes_on_with_the_boot_clock_whatever_the_wall_clock_says(tmp_path: Path) -> None:
    with ledgers.fresh(tmp_path / "w") as made:
        first = made.write(health())[0]
        made.clock._wall_us -= 3_600_000_000
        made.clock.skip(5_000_000)
        second = made.write(health())[0]
        at = [parse_at(decode_entry(row.data).at) for row in made.book.storage.entries(first, second)]
        assert 5_000_000 <= at[1] - at[0] < 5_100_000


@pytest.mark.parametrize("ahead_us", [-3_600_000_000, 30_000_000, 7_200_000_000])
def test_after_a_boot_time_is_set_forward_by_the_wall_clock_and_never_back(tmp_path: Path, ahead_us: int) -> None:
    with ledgers.fresh(tmp_path / "w") as made:
        made.write(health())
        stood_us = made.book.state.last_at_us
    clock = ledgers.StepClock(boot="b" * 32, mono_us=10, wall_us=stood_us + ahead_us)
    with ledgers.reopened(tmp_path / "w", clock) as made:
        expected = max(stood_us, stood_us + ahead_us)
        assert 0 <= made.book.state.last_at_us - expected < 1_000_000
        withheld = made.book.state.workspace[1].withheld_us
        # A jump that no person vouched for frees no limit window; the first clock entry of a ledger is no jump.
        assert withheld == (ahead_us if ahead_us > 60_000_000 else 0)
    assert audit.verify_workspace(tmp_path / "w").ok


def test_what_passes_between_reading_the_wall_clock_and_writing_it_is_not_lost(tmp_path: Path) -> None:
    """A signature or a self-test lies between; lost, every later entry would be too early against the world's logs."""
    with ledgers.fresh(tmp_path / "w") as made:
        made.write(health())
    clock = ledgers.StepClock(boot="b" * 32, mono_us=7, wall_us=ledgers.START_US + 90_000_000)
    book = assembly.open_book(made.workspace, made.keys, clock)
    first = book.clock_draft()
    assert first is not None
    clock.skip(800_000)
    writer = assembly.sealed_writer(book, made.guard())
    writer.submit(lambda turn: Plan((first,), lambda entries: None)).result(10)
    writer.close()
    entry = audit.tail(tmp_path / "w", 1)[0].entry
    assert entry is not None
    assert entry.kind == "clock"
    assert parse_at(entry.at) >= ledgers.START_US + 90_800_000


@pytest.mark.requirement("R2.10")
@pytest.mark.parametrize("ahead_us", [-50_000_000, 0, 1_900_000, 2_100_000, 3_600_000_000])
def test_a_wall_clock_that_is_set_while_the_node_runs_is_said_and_frees_no_window(
    tmp_path: Path, ahead_us: int
) -> None:
    """Attack: set the clock forward, a little each time, and have every limit counted anew."""

    def drift(turn: Turn) -> Plan[None]:
        draft = made.book.drift_draft()
        return Plan(() if draft is None else (draft,), lambda entries: None)

    with ledgers.fresh(tmp_path / "w") as made:
        made.write(health())
        before = made.book.state.limit_us(made.book.state.last_at_us)
        made.clock._wall_us += ahead_us
        made.do(drift)
        made.do(drift)
        made.write(health())
        state = made.book.state
        told = [shown.entry for shown in audit.tail(made.path, 10) if shown.entry and shown.entry.kind == "clock"]
        assert len(told) == (2 if ahead_us > 2_000_000 else 1)  # the first is the one of its beginning
        assert state.limit_us(state.last_at_us) - before < 1_000_000
        if ahead_us > 2_000_000:
            assert state.last_at_us >= made.clock._wall_us - 1_000_000
    assert audit.verify_workspace(tmp_path / "w").ok


def test_old_leaves_are_read_from_the_store_for_a_citation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(books, "RECENT_LEAVES", 4)
    with ledgers.fresh(tmp_path / "w") as made:
        made.write(*(health(str(number)) for number in range(20)))
        made.write(Draft(body=health().body, actor="node", refs=(0, 3, 19)))
    assert audit.verify_workspace(tmp_path / "w").ok


def test_a_row_that_cannot_be_read_keeps_the_ledger_from_opening(tmp_path: Path) -> None:
    with ledgers.fresh(tmp_path / "w") as made:
        ledgers.begin(made)
    opened = assembly.open_book(made.workspace, made.keys, made.clock)
    opened.storage._write.execute("UPDATE agent SET row = '{}'")  # type: ignore[attr-defined]
    with pytest.raises(Corrupt, match="agent"):
        opened.load()
    opened.storage.close()
