"""The power is cut at any moment of a ledger's life: nothing acknowledged is lost, nothing is there by half."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.faults import cuts, mutants
from tests.simulate.powercut import ACK, CREATE, DELETE, SYNC, TRUNCATE, WHOLE, WRITE, Journal, Op, states

SLICE = 1000


@pytest.mark.requirement("R28.1", "R28.4")
@pytest.mark.parametrize("history", range(2))
def test_no_disk_that_a_power_cut_may_leave_lacks_an_acknowledged_entry_or_holds_half_a_commit(
    ram: Path, seed: int, history: int
) -> None:
    tally = cuts.judge_history(ram, seed + history, SLICE // 2)
    assert tally.violations == ()
    assert tally.states >= SLICE // 2 * 0.8
    assert tally.contents > 15, "the cuts must leave many different ledgers, else little was tried"
    assert tally.gone_on > tally.contents / 4


@pytest.mark.parametrize("fault", mutants.CUT)
def test_the_hunt_finds(ram: Path, seed: int, fault: str) -> None:
    tally = cuts.judge_history(ram, seed, 1500, mutant=mutants.CUT[fault]())
    assert tally.violations, f"{fault} was seeded and nothing was noticed in {tally.states} states"


@pytest.mark.requirement("R28.4")
def test_nor_when_a_sync_had_failed_before_and_the_kernel_took_its_pages_for_clean(ram: Path, seed: int) -> None:
    tally = cuts.judge_history(ram, seed, SLICE // 4, acts=12, failing=True)
    assert tally.violations == ()


@pytest.mark.parametrize("fault", mutants.FAILED_SYNC)
def test_the_hunt_finds_after_a_failed_sync(ram: Path, seed: int, fault: str) -> None:
    tally = cuts.judge_history(ram, seed, 1000, acts=8, mutant=mutants.FAILED_SYNC[fault](), failing=True)
    assert tally.violations, f"{fault} was seeded and nothing was noticed in {tally.states} states"


# ---- the model itself: a simulation that leaves too little out hides what it should find ---------------------------


def left(journal: Journal, cut: int, count: int = 200) -> set[tuple[tuple[str, bytes], ...]]:
    """Every disk found after the first `cut` operations, in twenty searches."""
    return {
        tuple(sorted(state.files.items()))
        for search in range(20)
        for state in states(journal, random.Random(search), count)
        if state.cut == cut
    }


def made(*ops: Op, **base: bytes) -> Journal:
    journal = Journal(Path("/x"), base)
    journal.ops += ops
    return journal


def test_what_was_synced_is_always_there_and_what_was_not_may_be_missing_whole_or_torn() -> None:
    first, second = b"a" * 1024, b"b" * 1024
    journal = made(Op(WRITE, "f", 0, first), Op(SYNC, "f"), Op(WRITE, "f", 1024, second), Op(ACK, ""), f=b"")
    found = {dict(files)["f"] for files in left(journal, 4)}
    assert all(content.startswith(first) for content in found)
    assert {first, first + second, first + b"b" * 512 + b"\0" * 512} <= found


def test_unsynced_writes_arrive_in_any_order_each_for_itself() -> None:
    journal = made(*(Op(WRITE, "f", 512 * place, bytes([place + 1]) * 512) for place in range(3)), f=bytes(1536))
    found = {tuple(dict(files)["f"][::512]) for files in left(journal, 3)}
    assert found >= {(1, 2, 3), (0, 2, 3), (1, 0, 3), (0, 0, 3), (0, 2, 0)}


def test_a_sync_of_one_file_is_no_sync_of_another() -> None:
    journal = made(Op(WRITE, "f", 0, b"f"), Op(WRITE, "g", 0, b"g"), Op(SYNC, "g"), f=b"", g=b"")
    assert {dict(files)["f"] for files in left(journal, 3)} == {b"", b"f"}
    assert {dict(files)["g"] for files in left(journal, 3)} == {b"g"}


def test_where_a_file_grew_without_what_was_written_lies_nothing_or_what_lay_there_before() -> None:
    journal = made(Op(WRITE, "f", 0, b"1" * 512), Op(WRITE, "f", 512, b"2" * 512), f=b"")
    holes = {dict(files)["f"][:512] for files in left(journal, 2) if dict(files)["f"][512:] == b"2" * 512}
    assert bytes(512) in holes
    assert len(holes - {bytes(512), b"1" * 512}) > 0


def test_a_deleted_file_may_be_there_again_and_one_made_anew_is_not_the_old_one() -> None:
    journal = made(Op(DELETE, "f"), Op(CREATE, "f"), Op(WRITE, "f", 0, b"new"), f=b"old")
    found = {dict(files).get("f") for files in left(journal, 3)}
    assert found >= {b"old", None, b"", b"new"}
    assert all(content is None or not content.startswith(b"newold") for content in found)
    journal.ops.append(Op(SYNC, "f"))
    assert {dict(files).get("f") for files in left(journal, 4)} == {b"new"}


def test_a_truncation_may_be_lost() -> None:
    journal = made(Op(TRUNCATE, "f", 1), f=b"abc")
    assert {dict(files)["f"] for files in left(journal, 1)} == {b"a"}
    journal.ops.append(Op(ACK, ""))
    assert {dict(files)["f"] for files in left(journal, 2)} == {b"a", b"abc"}


def test_states_say_how_much_had_been_told_when_the_power_went() -> None:
    journal = made(Op(ACK, ""), Op(WRITE, "f", 0, b"1"), Op(ACK, "", 1), f=b"")
    assert [state.acks for state in states(journal, random.Random(0), 1)] == [0, 1, 1, 2]
    assert WHOLE == -1
