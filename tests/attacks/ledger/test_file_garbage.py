"""Garbage: the attacker, or a dying disk, changes the file itself: bytes, pages, its length, what it is."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from failwell.node import audit
from tests.attacks.ledger.judging import TALLY, Ground, caught, logical

PAGE = 4096


@pytest.fixture
def broken(ground: Ground, tmp_path: Path) -> Path:
    return Path(shutil.copytree(ground.workspace, tmp_path / "w"))


def test_bits_flipped_anywhere_in_the_file_are_found_unless_no_row_says_anything_else(
    ground: Ground, broken: Path, rng: random.Random
) -> None:
    ledger = broken / "ledger.db"
    data = ledger.read_bytes()
    said = logical(ground.workspace / "ledger.db")
    found = 0
    for _ in range(60):
        at = rng.randrange(len(data))
        ledger.write_bytes(data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :])
        report = audit.verify_workspace(broken)
        if report.ok:
            assert logical(ledger) == said  # free space, or a counter of SQLite's own: nothing was changed
            TALLY.attacks += 1
            TALLY.detected += 1
        else:
            found += 1
            caught(report)
    assert found > 15


def test_every_page_overwritten_or_exchanged_with_another(ground: Ground, broken: Path, rng: random.Random) -> None:
    ledger = broken / "ledger.db"
    data = ledger.read_bytes()
    pages = [data[at : at + PAGE] for at in range(0, len(data), PAGE)]
    said = logical(ground.workspace / "ledger.db")
    for number in range(len(pages)):
        other = rng.choice([at for at in range(len(pages)) if pages[at] != pages[number]])
        for page in (rng.randbytes(PAGE), pages[other]) if number % 2 else (bytes(PAGE),):
            ledger.write_bytes(b"".join([*pages[:number], page, *pages[number + 1 :]]))
            if logical(ledger) != said:
                caught(audit.verify_workspace(broken))


def test_every_truncated_file(broken: Path) -> None:
    ledger = broken / "ledger.db"
    data = ledger.read_bytes()
    for pages in range(0, len(data) // PAGE, 6):
        for length in (pages * PAGE, pages * PAGE + 100):
            ledger.write_bytes(data[:length])
            caught(audit.verify_workspace(broken))


@pytest.mark.parametrize("content", [b"", b"\0" * 4096, b"SQLite format 3\0" + b"\xff" * 5000, b"%PDF-1.4"])
def test_a_file_that_is_no_ledger_is_a_finding_not_a_crash(broken: Path, content: bytes) -> None:
    (broken / "ledger.db").write_bytes(content)
    caught(audit.verify_workspace(broken))
