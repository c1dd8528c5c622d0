"""Ledgers as earlier releases left them, byte for byte: each verifies for ever, and opens under this release.

`layout-1` was written by the code before the guard: every kind of work, a failed store, two boots, a run and an action
still open; `layout-2` by the code before whole contracts; `layout-3` by the code before stops of more than one agent,
`layout-5` by the code before escalation.
The checkpoint beside each was kept when the ledger was shorter. What a release changes, it changes in a copy.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import apsw
import pytest

from failwell.core import contract as contracts
from failwell.core import kinds
from failwell.core.fact_keys import is_key, key_of, name_of
from failwell.core.records import decode_entry
from failwell.core.rows import TABLES
from failwell.core.state import rows_of
from failwell.node import audit
from failwell.storage import layouts
from failwell.storage.sqlite import SqliteStorage

HERE = Path(__file__).resolve().parent
RELEASED = sorted(path.name for path in HERE.iterdir() if path.is_dir() and path.name.startswith("layout-"))


@pytest.fixture(params=RELEASED)
def workspace(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return Path(shutil.copytree(HERE / request.param, tmp_path / "w"))


def test_every_layout_before_this_one_has_its_ledger() -> None:
    assert [f"layout-{number}" for number in range(1, layouts.LAYOUT_VERSION)] == RELEASED


def test_a_released_ledger_verifies_as_it_lies_there(workspace: Path) -> None:
    before = (workspace / "ledger.db").read_bytes()
    report = audit.verify_workspace(workspace, checkpoints=[workspace / "kept.checkpoint"])
    assert report.ok, report.findings
    assert {state for step in report.as_dict()["checks"] if (state := step["state"]) != "proved"} <= {"not checkable"}
    assert report.read["rows"] > 50
    assert (workspace / "ledger.db").read_bytes() == before


def test_a_row_that_was_changed_in_a_released_ledger_is_found(workspace: Path) -> None:
    connection = apsw.Connection(str(workspace / "ledger.db"))
    connection.execute("UPDATE workspace SET row = replace(row, '\"withheld_us\":', '\"withheld_us\":1')")
    connection.close()
    report = audit.verify_workspace(workspace)
    assert [finding.code for finding in report.findings] == ["row.changed"]


def test_a_released_ledger_opens_under_this_release_and_verifies_there(
    workspace: Path, request: pytest.FixtureRequest
) -> None:
    before = list(_evidence(workspace / "ledger.db"))
    storage = SqliteStorage(workspace / "ledger.db", rows_of)
    since = {name for _, name, _ in layouts.declared_objects(int(request.node.callspec.params["workspace"][-1]))}
    known = [table for table in TABLES if table in since]
    assert all(list(storage.rows(table)) for table in known), "the ledger holds something of everything"
    assert 0 < len(list(storage.live_rows("action"))) < len(list(storage.rows("action")))
    storage.close()
    assert list(_evidence(workspace / "ledger.db")) == before
    assert sorted(path.name for path in workspace.iterdir()) == ["kept.checkpoint", "keys", "ledger.db", "reserve"]
    report = audit.verify_workspace(workspace, checkpoints=[workspace / "kept.checkpoint"])
    assert report.ok, report.findings


def test_decisions_of_released_ledgers_are_spelled_and_contracts_signed_as_they_would_be_now(workspace: Path) -> None:
    """Names of arguments had no capital letters then: each was its own key, and is."""
    connection = apsw.Connection(str(workspace / "ledger.db"))
    entries = [decode_entry(data) for (data,) in connection.execute("SELECT data FROM entry ORDER BY seq")]
    connection.close()
    keys = {key for each in entries if isinstance(each.body, kinds.Decision) for key in each.body.facts}
    assert keys
    assert {(key_of(key), name_of(key), is_key(key)) for key in keys} == {(key, key, True) for key in keys}
    adopted = [each.body for each in entries if isinstance(each.body, kinds.ContractAdopted)]
    assert adopted
    for body in adopted:
        contract = contracts.from_canonical(body.document.encode())
        contracts.compile(contract)
        assert contracts.to_canonical(contract) == body.document.encode()


def _evidence(path: Path) -> list[object]:
    connection = apsw.Connection(str(path))
    rows: list[object] = [row for sql in layouts.EVIDENCE.values() for row in connection.execute(sql)]
    connection.close()
    return rows
