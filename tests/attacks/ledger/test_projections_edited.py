"""Projections edited: the attacker has the file and makes the tables say what the entries do not.

An agent set ACTIVE, an incident closed, a limit's counters emptied, a person given a role: the tables are only what
the entries make of them, and no entry needs to be touched for these lies.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import apsw

from failwell.core.rows import TABLES
from failwell.node import audit
from tests.attacks.ledger.judging import TALLY, Ground, caught
from tests.unit.verify import ledgers


def lies(value: Any) -> list[Any]:
    """Other values of the same shape."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1, 0] if value else [1]
    if isinstance(value, str):
        return [value + "x", ""] if value else ["x"]
    if isinstance(value, list):
        return [[*value, "x"], []] if value else [["x"]]
    return [7] if value is None else [{}] if value else [{"x": 1}]


def told(text: str) -> list[str]:
    """Every row that says one field otherwise."""
    row = json.loads(text)
    found = []
    for field in row if isinstance(row, dict) else range(len(row)):
        for lie in lies(row[field]):
            changed = dict(row) if isinstance(row, dict) else list(row)
            changed[field] = lie
            found.append(json.dumps(changed, sort_keys=True, separators=(",", ":"), ensure_ascii=False))
    return found


def test_every_field_of_every_row_made_to_say_something_else(ground: Ground) -> None:
    """A lie in each row at a time: every row's first, every row's second ... each is named at its own row."""
    lying = {(table, key): told(text) for table in TABLES for key, text in ground.rows[table]}
    for number in range(max(map(len, lying.values()))):
        lie = {place: texts[number] for place, texts in lying.items() if number < len(texts)}
        rows = dict(ground.rows)
        for table in TABLES:
            rows[table] = [(key, lie.get((table, key), text)) for key, text in ground.rows[table]]
        report = ground.judge(rows)
        TALLY.attacks += len(lie)
        assert {(each.table, each.key) for each in report.findings} == set(lie)
        assert report.good == ground.size
        TALLY.detected += len(lie)
    assert len(lying) > 40


def test_an_agent_that_was_suspended_is_made_active_again(ground: Ground) -> None:
    forger = ground.forger()
    text = forger.one("SELECT row FROM agent WHERE key = ?", ledgers.AGENT)
    changed = text.replace('"SUSPENDED"', '"ACTIVE"')
    assert changed != text
    forger.sql("UPDATE agent SET row = ?", changed)
    caught(forger.verify(), row=("agent", ledgers.AGENT))
    assert ground.proving(forger) == set(range(ground.size))


def test_a_verdict_given_on_edited_tables_is_found_at_its_entry(ground: Ground, tmp_path: Path) -> None:
    """A node that starts believes its tables; the entry that it writes then says what it believed."""
    path = Path(shutil.copytree(ground.workspace, tmp_path / "shop"))
    shutil.copytree(ground.workspace.with_name("shop.guard"), tmp_path / "shop.guard")
    (path / "keys" / "guard").write_text(f"{tmp_path / 'shop.guard'}\n")
    connection = apsw.Connection(str(path / "ledger.db"))
    connection.execute("""UPDATE agent SET row = replace(row, '"SUSPENDED"', '"ACTIVE"')""")
    connection.close()
    with ledgers.reopened(path, ledgers.StepClock(mono_us=10**12)) as made:
        verdict = made.ask(made.run(), "late", "orders.read", {"order_id": "A-1"})
        assert made.book.state.agent[ledgers.AGENT].authority == "ACTIVE"
    report = audit.verify_workspace(path)
    caught(report, within=(0, verdict.entry), code="decision.authority")
    assert report.first_bad == verdict.entry
