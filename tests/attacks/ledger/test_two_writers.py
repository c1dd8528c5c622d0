"""Two writers: two nodes, or a node and a stranger, write to one file at the same time.

Neither may take the other's entry for tampering, and neither may lose what it has acknowledged.
"""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from failwell.core import kinds
from failwell.core.errors import FailwellError, Unhealthy
from failwell.core.records import Draft
from failwell.ledger.jobs import Plan
from failwell.node import assembly, audit
from failwell.node.workspace import Lock, Workspace
from failwell.ports.guard import GuardFailed
from tests.attacks.ledger.judging import TALLY, caught, fair
from tests.unit.verify import ledgers


def health(text: str) -> Draft:
    return Draft(body=kinds.Health(part="storage", state="ok", detail=text), actor="node")


def test_a_second_node_is_refused_by_the_lock_and_a_second_guard_by_the_guards_own(tmp_path: Path) -> None:
    path = tmp_path / "shop"
    with ledgers.fresh(path) as made:
        lock = Lock(Workspace(path))
        with pytest.raises(Unhealthy, match="another node"):
            Lock(Workspace(path))
        with pytest.raises(GuardFailed, match="another guard"):
            made.guard()
        made.write(health("mine"))
        lock.release()
    fair(audit.verify_workspace(path))


def test_a_second_writer_that_went_round_the_lock_takes_nothing_away(tmp_path: Path) -> None:
    """Both number from the same entry; the file takes one, the other is refused and writes nothing of its own."""
    path = tmp_path / "shop"
    with ledgers.fresh(path) as made:
        workspace = Workspace(path)
        other = assembly.open_book(workspace, workspace.open_keys(), ledgers.StepClock())
        acknowledged = made.write(health("first"))
        TALLY.attacks += 1
        other.run(lambda turn: Plan((health("of a stranger"),), lambda entries: None), lambda entry: None)
        with pytest.raises(FailwellError):
            other.commit()
        TALLY.detected += 1
        other.storage.close()
        acknowledged += made.write(health("second"))
        made.sealed()
    report = audit.verify_workspace(path)
    fair(report)
    details = [shown.entry.body.detail for shown in audit.tail(path, 9) if shown.entry and shown.seq in acknowledged]
    assert details == ["first", "second"]


def test_a_row_written_under_a_running_node_is_not_written_over_and_is_found(tmp_path: Path) -> None:
    """A stranger puts the next entry into the file: the node cannot acknowledge its own in that place."""
    path = tmp_path / "shop"
    with ledgers.fresh(path) as made:
        (last,) = made.write(health("mine"))
        made.sealed()
        stranger = apsw.Connection(str(path / "ledger.db"))
        stranger.set_busy_timeout(2000)
        stranger.execute("INSERT INTO entry SELECT seq + 1, data, leaf, x'' FROM entry WHERE seq = ?", (last,))
        stranger.close()
        with pytest.raises(FailwellError):
            made.write(health("mine as well"))
        report = audit.verify_workspace(path)
    caught(report, entry=last + 1)
