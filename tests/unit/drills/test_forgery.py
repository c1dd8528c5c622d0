"""The forger is competent: what it makes verifies, and only a checkpoint kept elsewhere tells."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from failwell.cli.demo_record import _put
from failwell.core import kinds
from failwell.core.records import Entry, decode_entry
from failwell.drills.demo import hindsight
from failwell.drills.demo.forgery import Forged, forge
from failwell.node import audit
from failwell.node.workspace import Workspace
from failwell.verify.finding import KEPT
from tests.simulate.guards import checkpoint_key
from tests.unit.verify import ledgers


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes, tuple[bytes, ...]]:
    """A ledger with a whole incident in it, a checkpoint that somebody kept, and its entries' bytes."""
    path = tmp_path_factory.mktemp("forged") / "w"
    with ledgers.fresh(path) as writing:
        ledgers.begin(writing)
        ledgers.work(writing)
        kept = writing.sealed()
        stored = tuple(row.data for row in writing.book.storage.entries(0, 10_000))
    return path, kept, stored


def _forge(path: Path, stored: tuple[bytes, ...], change: Callable[[Entry[Any]], Entry[Any]]) -> Forged:
    key = checkpoint_key(Workspace(path))
    return forge(stored, change, key.sign, key.public)


def test_a_forger_who_changes_nothing_gives_the_same_bytes(made: tuple[Path, bytes, tuple[bytes, ...]]) -> None:
    path, _, stored = made
    forged = _forge(path, stored, lambda entry: entry)
    assert tuple(entry.data for entry in forged.entries) == stored
    assert forged.changed == ()


def test_a_rewritten_ledger_verifies_alone_and_not_with_a_kept_checkpoint(
    made: tuple[Path, bytes, tuple[bytes, ...]], tmp_path: Path
) -> None:
    path, kept, stored = made
    effects = [seq for seq, data in enumerate(stored) if decode_entry(data).kind == "effect.witnessed"]

    def change(entry: Entry[Any]) -> Entry[Any]:
        if entry.seq != effects[0]:
            return entry
        body = msgspec.structs.replace(entry.body, at_tool="2026-01-01T00:00:00.000000Z")
        return msgspec.structs.replace(entry, body=body)

    forged = _forge(path, stored, change)
    assert forged.changed == (effects[0],)
    copy = Workspace(tmp_path)
    copy.keys.mkdir(mode=0o700)
    copy.ledger.write_bytes(Workspace(path).ledger.read_bytes())
    copy.log_pub.write_bytes(Workspace(path).log_pub.read_bytes())
    _put(copy, forged)
    assert audit.verify_workspace(tmp_path).findings == ()
    report = audit.verify_workspace(tmp_path, checkpoints=[kept])
    assert {finding.step for finding in report.findings} == {KEPT}
    assert audit.verify_workspace(path, checkpoints=[kept]).ok


def test_citations_follow_the_changed_entry(made: tuple[Path, bytes, tuple[bytes, ...]]) -> None:
    path, _, stored = made
    cited = next(ref.seq for data in reversed(stored) for ref in decode_entry(data).refs)

    def change(entry: Entry[Any]) -> Entry[Any]:
        return msgspec.structs.replace(entry, actor=f"{entry.actor}x") if entry.seq == cited else entry

    forged = _forge(path, stored, change)
    leaves = [entry.leaf.hex() for entry in forged.entries]
    for row in forged.entries:
        for ref in decode_entry(row.data).refs:
            assert ref.leaf == leaves[ref.seq]


# ---- judging again --------------------------------------------------------------------------------------------


def _judged(path: Path, change: Callable[[Any], Any]) -> tuple[hindsight.Rejudged, ...]:
    from failwell.cli.demo_record import read_record

    record = read_record(Workspace(path))
    contract = change(hindsight.contract_in_force(record.entries, ledgers.AGENT))
    return hindsight.rejudge(record.entries, ledgers.AGENT, record.arguments.__getitem__, contract)


def test_judged_again_under_the_same_contract_everything_is_as_it_was_recorded(
    made: tuple[Path, bytes, tuple[bytes, ...]],
) -> None:
    again = _judged(made[0], lambda contract: contract)
    assert len(again) > 8
    assert [each for each in again if not each.same] == []


def test_with_denial_the_first_repeat_is_the_first_that_differs(made: tuple[Path, bytes, tuple[bytes, ...]]) -> None:
    path, _, stored = made
    repeats = [
        seq
        for seq, data in enumerate(stored)
        if isinstance(body := decode_entry(data).body, kinds.Decision) and "once" in [c.id for c in body.clauses]
    ]
    again = _judged(path, lambda contract: hindsight.with_denial(contract, "once"))
    differing = [each for each in again if not each.same]
    assert differing[0].entry == repeats[0]
    assert (differing[0].was, differing[0].now) == ("ALLOW", "DENY")
    assert {each.entry for each in again if each.now == "DENY" and "once" in each.now_clauses} == set(repeats)
