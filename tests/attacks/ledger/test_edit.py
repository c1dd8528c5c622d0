"""Edit: the attacker has the file and changes what stands in it, down to one bit, and makes nothing else fit."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import apsw
import pytest

from failwell.core.merkle import leaf_hash
from failwell.core.records import encode_entry
from failwell.node import audit
from tests.attacks.ledger.judging import COLUMNS, TALLY, Ground, caught, told
from tests.unit.verify.forgery import replace


def other(value: Any) -> Any:
    """The least that can be changed: the last bit or digit."""
    if isinstance(value, bytes):
        return value[:-1] + bytes([value[-1] ^ 1]) if value else b"\0" * 32
    if isinstance(value, str):
        return value[:-1] + chr(ord(value[-1]) ^ 1)
    return value + 1_000_003


@pytest.mark.parametrize("table", COLUMNS)
@pytest.mark.requirement("R13.2")
def test_every_column_of_every_row_changed_by_one_bit(ground: Ground, table: str) -> None:
    key = COLUMNS[table][0]
    for row in ground.forger().sql(f'SELECT * FROM "{table}"'):
        for column, value in zip(COLUMNS[table], row, strict=True):
            forger = ground.forger()
            forger.sql("PRAGMA ignore_check_constraints = 1")
            forger.sql(f'UPDATE "{table}" SET {column} = ? WHERE {key} = ?', other(value), row[0])
            told(forger.verify(), table, row[0])
            if table != "entry":
                ground.hold(forger)
            elif column in ("data", "leaf"):
                assert ground.proving(forger) == set(range(ground.size)) - spoilt(ground, row[0], column)
                ground.hold(forger)


def spoilt(ground: Ground, seq: int, column: str) -> set[int]:
    """Entries that cannot be proven from the file after one was changed: itself, or who needs its leaf."""
    if column == "data":
        return {seq}
    sibling = seq ^ 1
    # The last of an odd number stands for its whole side of the tree: every other entry's proof has it.
    return {sibling} if sibling < ground.size else set(range(seq))


def test_every_byte_of_every_entry_changed_is_found_at_its_own_entry(ground: Ground) -> None:
    """A byte of each entry at a time: the first of all, the second of all ... so that all are tried within seconds."""
    for at in range(max(map(len, ground.data))):
        long_enough = [seq for seq, data in enumerate(ground.data) if at < len(data)]
        # Of one kind a report names a hundred: as many are changed at once.
        touched = long_enough[-100:] if at % 2 else long_enough[:100]
        changed = {seq: _flipped(ground.data[seq], at, (at + seq) % 8) for seq in touched}
        entries = ground.rows["entry"][: touched[-1] + 1]
        report = ground.judge(
            {**ground.rows, "entry": [(seq, changed.get(seq, data), *rest) for seq, data, *rest in entries]}
        )
        TALLY.attacks += len(touched)
        assert [each.entry for each in report.findings if each.code == "entry.leaf" and each.exact] == touched
        assert report.first_bad == touched[0]
        TALLY.detected += len(touched)


def test_every_byte_of_every_row_beside_the_entries_changed_is_found_at_its_own_row(ground: Ground) -> None:
    """Blobs, wrapped keys, tokens, projections."""
    beside = [table for table in COLUMNS if table not in ("entry", "checkpoint")]
    longest = max(len(value) for table in beside for row in ground.rows[table] for value in row[1:])
    for at in range(longest):
        rows, touched = dict(ground.rows), set()
        for table in beside:
            rows[table] = []
            for key, *values in ground.rows[table]:
                changed = [_flipped(value, at, at % 7) if at < len(value) else value for value in values]
                rows[table].append((key, *changed))
                if changed != values:
                    touched.add((table, key))
        TALLY.attacks += len(touched)
        judge = ground.judge if {"blob", "token"} & {table for table, _ in touched} else ground.judge_rows
        assert {(each.table, each.key) for each in judge(rows).findings} == touched
        TALLY.detected += len(touched)


def _flipped(value: Any, at: int, bit: int) -> Any:
    """One bit of one byte (of a text: of one character) changed."""
    changed = bytes([value[at] ^ 1 << bit]) if isinstance(value, bytes) else chr(ord(value[at]) ^ 1 << bit)
    return value[:at] + changed + value[at + 1 :]


def test_any_one_bit_of_any_entry_alone_and_the_rest_still_proves(ground: Ground, rng: random.Random) -> None:
    for _ in range(80):
        seq = rng.randrange(ground.size)
        data = bytearray(ground.data[seq])
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        forger = ground.forger()
        forger.sql("UPDATE entry SET data = ? WHERE seq = ?", bytes(data), seq)
        caught(forger.verify(), entry=seq)
        assert ground.proving(forger) == set(range(ground.size)) - {seq}


def test_an_entry_whose_leaf_was_made_new_as_well_is_found_by_the_subtree_above_it(ground: Ground) -> None:
    for entry in ground.entries:
        forger = ground.forger()
        data = encode_entry(replace(entry, mono_us=entry.mono_us + 1))
        forger.sql("UPDATE entry SET data = ?, leaf = ? WHERE seq = ?", data, leaf_hash(data), entry.seq)
        report = forger.verify()
        caught(report, within=(0, entry.seq + 1))
        found = report.findings[0]
        assert found.first is not None
        assert found.last is not None
        assert found.first <= entry.seq <= found.last <= entry.seq + 1
        ground.hold(forger)


@pytest.mark.requirement("R13.2")
def test_one_byte_of_an_entry_changed_in_the_file_itself(ground: Ground, tmp_path: Path) -> None:
    tampered = tmp_path / "w"
    shutil.copytree(ground.workspace, tampered)
    ledger = tampered / "ledger.db"
    data = ledger.read_bytes()
    at = data.index(b'"verdict":"ALLOW"},"boot"') + len(b'"verdict":"')
    ledger.write_bytes(data[:at] + b"B" + data[at + 1 :])
    report = audit.verify_workspace(tampered)
    assert report.first_bad is not None
    caught(report, entry=report.first_bad)
    assert b'"BLLOW"' in apsw.Connection(str(ledger)).execute(
        "SELECT data FROM entry WHERE seq = ?", (report.first_bad,)
    ).fetchall()[0][0]  # type: ignore[operator]  # fmt: skip


def values_in(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of all values that are no containers."""
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return [found for key, item in items for found in values_in(item, (*path, key))]
    return [path]


def test_any_value_of_any_entry_changed_to_anything_is_judged_without_a_crash(
    ground: Ground, rng: random.Random
) -> None:
    """With leaves, subtrees and signature made new, against a kept checkpoint: whatever it decodes to, or does not."""
    anything = [None, True, -1, 0, 7, 2**52, 2**53, "", "x", "DENY", "critical", "SUSPENDED", [], [1], {}, {"a": 1}]
    for _ in range(60):
        seq = rng.randrange(ground.size)
        changed = json.loads(ground.data[seq])
        *path, last = rng.choice(values_in(changed))
        place = changed
        for key in path:
            place = place[key]
        was, place[last] = place[last], rng.choice(anything)
        if place[last] == was:
            continue
        data = json.dumps(changed, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
        forger = ground.forger()
        forger.store_bytes([*ground.data[:seq], data, *ground.data[seq + 1 :]], resign=True)
        report = forger.verify(ground.kept())
        caught(report, within=(0, ground.size - 1))
        ground.hold(forger)
