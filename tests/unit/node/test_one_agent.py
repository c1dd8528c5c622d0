"""One agent's newest entries: the same with an index, without one, with an old one, and beside a node that writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from failwell.core.errors import NotFound
from failwell.core.records import decode_entry
from failwell.node import audit
from failwell.node.one_agent import newest_of
from failwell.node.workspace import Lock, Workspace
from failwell.ports.storage import StoredEntry
from failwell.storage import index, sqlite
from failwell.storage.sqlite import SqliteStorage
from tests.unit.verify import ledgers


def truth(path: Path, agent: str) -> list[StoredEntry]:
    storage = SqliteStorage(path / "ledger.db")
    rows = storage.entries(0, 10_000)
    storage.close()
    return [row for row in rows if decode_entry(row.data).agent == agent]


def listing(path: Path) -> dict[str, bytes]:
    return {each.name: each.read_bytes() for each in path.iterdir() if each.is_file()}


@pytest.mark.parametrize("indexed", [False, True])
def test_of_a_workspace_at_rest_nothing_is_changed(
    tmp_path: Path, indexed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "INDEX_FROM", 0 if indexed else 10**9)
    path = ledgers.small(tmp_path / "w")
    wanted = truth(path, ledgers.AGENT)
    before = listing(path)
    assert ("index.db" in before) is indexed
    for name in (ledgers.AGENT, "refund-bot"):
        for count in (1, 7, 10_000):
            assert newest_of(Workspace(path), name, count) == wanted[-count:]
    assert len(newest_of(Workspace(path), "stranger", 5)) == 2
    assert listing(path) == before
    with pytest.raises(NotFound, match="no entry is of an agent nobody"):
        newest_of(Workspace(path), "nobody", 5)


def test_beside_a_node_that_writes_the_very_last_entry_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "INDEX_FROM", 0)
    with ledgers.fresh(tmp_path / "w") as made:
        ledgers.begin(made)
        lock = Lock(made.workspace)
        made.book.storage.past()
        run = made.run()
        for number in range(3):
            last = made.refund(run, f"c{number}", f"A-{number}").entry
            found = newest_of(made.workspace, "refund-bot", 2)
            assert [row.seq for row in found] == [last - 1, last]
        lock.release()


def test_a_broken_index_beside_the_ledger_does_no_harm(tmp_path: Path) -> None:
    path = ledgers.small(tmp_path / "w")
    wanted = truth(path, ledgers.AGENT)
    (path / index.NAME).write_bytes(b"no database at all, but long enough to be looked at" * 99)
    assert newest_of(Workspace(path), "refund-bot", 5) == wanted[-5:]


def test_the_tail_shows_one_agents_entries_alone(tmp_path: Path) -> None:
    path = ledgers.small(tmp_path / "w")
    shown = audit.tail(path, 6, "refund-bot")
    assert [each.seq for each in shown] == [row.seq for row in truth(path, ledgers.AGENT)[-6:]]
    assert {each.entry.agent for each in shown if each.entry is not None} == {ledgers.AGENT}
