"""Heads entries: written when they are due, over exactly what stands before them, whatever befell the batch before."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from failwell.core import kinds
from failwell.core.errors import Unhealthy
from failwell.core.heads import heads_root
from failwell.core.records import Draft, Entry, decode_entry
from failwell.core.state import State
from failwell.ledger.heads import AGAIN, AT_ONCE, EVERY, Heads, newest_heads
from failwell.ledger.jobs import CONTAINMENT, Plan, Turn
from failwell.node import audit
from failwell.ports.storage import StorageFailed
from tests.unit.verify import ledgers

BOT = "spiffe://shop.example/agent/bot"


def note(agent: str | None) -> Draft:
    return Draft(body=kinds.Refusals(source="test", reason="none", count=1, since="x"), actor="node", agent=agent)


def write(made: ledgers.Made, *agents: str | None) -> None:
    made.write(*(note(agent) for agent in agents))


def stored(made: ledgers.Made) -> Iterator[tuple[Entry[Any], str]]:
    for row in made.book.storage.entries(0, made.book.state.size):
        yield decode_entry(row.data), row.leaf.hex()


def every_root_holds(made: ledgers.Made) -> int:
    """Recompute each heads entry from the entries before it; how many there are."""
    state, found = State(), 0
    for entry, leaf in stored(made):
        if isinstance(entry.body, kinds.Heads):
            found += 1
            assert entry.body.upto == entry.seq
            assert entry.body.agents == len(state.head)
            assert entry.body.root == heads_root(state.head).hex()
        state.apply(entry, leaf)
    return found


@pytest.fixture
def made(tmp_path: Path) -> Iterator[ledgers.Made]:
    with ledgers.fresh(tmp_path / "w") as made:
        yield made


def batch(made: ledgers.Made, first: int) -> list[Entry[Any]]:
    """What the writer tells its observer: entries from `first` on."""
    return [entry for entry, _ in stored(made)][first:]


def test_each_heads_entry_counts_all_entries_before_it_also_those_of_its_own_batch(made: ledgers.Made) -> None:
    heads = Heads(made.book)
    for number in range(12):
        write(made, f"{BOT}-{number % 5}", None, f"{BOT}-{number % 3}")
        jobs = (heads.write, lambda turn: Plan((note(f"{BOT}-x"),), lambda entries: entries[0].seq), heads.write)
        for pending in [made.writer.submit(job) for job in jobs]:
            pending.result(30)
    assert every_root_holds(made) == 24
    assert audit.verify_workspace(made.path).ok


def test_after_a_batch_that_was_dropped_the_next_root_is_over_what_is_stored(
    made: ledgers.Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tree had followed the lost entries already: it must not remember them."""
    heads = Heads(made.book)
    write(made, BOT, f"{BOT}-2")
    commit = made.book.storage.commit

    def failing(batch: Any) -> None:
        monkeypatch.setattr(made.book.storage, "commit", commit)
        raise StorageFailed("the disk is gone for a moment")

    def both(turn: Turn) -> Plan[int]:
        heads.write(turn)  # the tree follows the state of this batch ...
        return Plan((note(BOT), note(f"{BOT}-new")), len)

    monkeypatch.setattr(made.book.storage, "commit", failing)
    with pytest.raises(StorageFailed):
        made.do(both)  # ... which is lost
    made.writer.failure = None
    made.do(heads.write)
    write(made, BOT)
    made.do(heads.write)
    assert every_root_holds(made) == 2


def test_one_is_due_after_so_many_entries_and_again_until_it_is_written(made: ledgers.Made) -> None:
    heads = Heads(made.book)
    size = made.book.state.size
    entry = batch(made, 0)[0]

    def at(seq: int, body: Any = entry.body) -> list[Entry[Any]]:
        return [Entry(**{name: getattr(entry, name) for name in entry.__struct_fields__} | {"seq": seq, "body": body})]

    assert not heads.take(at(size))
    assert not heads.take(at(EVERY - 2))
    assert heads.take(at(EVERY - 1))
    assert not heads.take(at(EVERY))
    assert heads.take(at(EVERY - 1 + AGAIN))
    written = kinds.Heads(root="00" * 32, agents=0, upto=EVERY + 300)
    assert not heads.take(at(EVERY + 300, written))
    assert not heads.take(at(EVERY + 300 + EVERY - 1))
    assert heads.take(at(EVERY + 300 + EVERY))


def test_one_is_due_when_an_incident_is_opened_and_a_hold_placed(made: ledgers.Made) -> None:
    ledgers.begin(made)
    heads = Heads(made.book)
    before = made.book.state.size
    ledgers.work(made)
    due = {entry.kind for entry in batch(made, before) if heads.take([entry])}
    assert due == {"incident.opened", "hold.placed"}


def test_a_node_that_starts_again_counts_from_the_newest_heads_entry(made: ledgers.Made) -> None:
    heads = Heads(made.book)
    write(made, BOT)
    first = made.do(heads.write)
    write(made, BOT, BOT, None)
    assert Heads(made.book)._next == first + 1 + EVERY
    found = newest_heads(made.book.storage, made.book.state.size, 4)
    assert found is not None
    assert found.seq == first
    assert newest_heads(made.book.storage, made.book.state.size, 3) is None
    assert newest_heads(made.book.storage, first, 100) is None


def test_a_text_that_speaks_of_heads_is_not_taken_for_one(made: ledgers.Made) -> None:
    made.write(Draft(body=kinds.Health(part="x", state="ok", detail='"kind":"heads"'), actor="node"))
    made.write(Draft(body=kinds.Signal(
        by="x", signal="x", severity="minor", about=0, count=1, rule="x", response=("kind", "heads"), applied=False
    ), actor="node"))  # fmt: skip
    assert newest_heads(made.book.storage, made.book.state.size, EVERY) is None


def test_of_many_agents_no_heads_entry_hashes_more_than_a_sweep_leaves(
    made: ledgers.Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted, not timed: what is left to hash when the entry is written."""
    agents = [f"{BOT}-{number:05d}" for number in range(AT_ONCE + 500)]
    for start in range(0, len(agents), 500):
        write(made, *agents[start : start + 500])
    heads = Heads(made.book)
    monkeypatch.setattr("failwell.ledger.heads.SWEEP", 256)
    for start in range(0, len(agents), 100):
        before = made.book.state.size
        write(made, *agents[start : start + 100])
        heads.take(batch(made, before))
    known = heads._tree._rows
    assert sum(known.get(agent) is not row for agent, row in made.book.state.head.items()) < 256 + 100
    made.do(heads.write)
    assert every_root_holds(made) == 1


def test_a_ledger_that_is_followed_counts_by_itself_and_not_while_it_is_closed_to_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("failwell.ledger.heads.EVERY", 40)
    monkeypatch.setattr("failwell.ledger.heads.AGAIN", 10)
    with ledgers.fresh(tmp_path / "w") as made:
        heads = Heads(made.book)
        monkeypatch.setattr(made.writer, "_after", lambda entries: heads.follow(entries, made.writer))
        for _ in range(30):
            write(made, BOT, None, f"{BOT}-2")
        write(made, BOT)
        assert every_root_holds(made) == 2
        made.writer.barred = Unhealthy("closed to work")
        for _ in range(20):
            made.do(lambda turn: Plan((note(BOT), note(None)), len), CONTAINMENT)
        assert every_root_holds(made) == 2
        made.writer.barred = None
        for _ in range(6):
            write(made, BOT, None)
        assert every_root_holds(made) == 3
    assert audit.verify_workspace(tmp_path / "w").ok
