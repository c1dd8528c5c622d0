"""Every step of a commit and of a seal fails, undone or done: nothing told is lost, nothing lost is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults import sealing
from tests.faults.judge import WORKSPACE
from tests.faults.sealing import COMMIT, ERRORS, HOW, READ_BACK, SEAL
from tests.simulate.house import await_true


@pytest.mark.requirement("R28.1", "R28.2")
@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("step", [*COMMIT, READ_BACK])
def test_a_commit_that_fails_at(ram: Path, step: str, how: str, error: str) -> None:
    with sealing.bench(ram / WORKSPACE) as bench:
        size = bench.made.book.state.size
        struck = sealing.strike_commit(bench, step, how, ERRORS[error])
        answered = bench.work("struck")
        assert struck.struck, f"no such step was passed: {struck.seen}"
        assert not answered, "a failed step was answered"
        sealing.copy_as_it_lies(bench.made.path, ram / "crashed")
        told_then = dict(bench.told)
        bench.until_it_works("after")
        assert bench.work("again"), bench.refused
        stored = bench.made.book.state.size
    sealing.assert_kept(ram / "crashed" / WORKSPACE, told_then)
    sealing.assert_kept(ram / WORKSPACE, bench.told)
    assert stored >= size + 4, "health told of the fault and of its end, then the two appends"


@pytest.mark.requirement("R28.2")
@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("step", SEAL)
def test_a_seal_that_fails_at(ram: Path, step: str, how: str) -> None:
    with sealing.bench(ram / WORKSPACE) as bench:
        with sealing.strike_seal(step, how) as struck:
            assert bench.work("unsealed"), "an acknowledgment never waits for the guard"
            size = bench.made.book.state.size
            sealed = bench.made.writer.seals.wait(size).result(10)
            assert struck == [step]
        sealing.copy_as_it_lies(bench.made.path, ram / "crashed")
        told_then = dict(bench.told)
        assert sealed.size >= size
        assert bench.work("after")
        bench.made.sealed()
    sealing.assert_kept(ram / "crashed" / WORKSPACE, told_then)
    sealing.assert_kept(ram / WORKSPACE, bench.told)


@pytest.mark.parametrize("how", HOW)
def test_a_store_that_fails_while_the_note_is_put_in_loses_no_entry_and_gets_the_note_again(
    ram: Path, how: str
) -> None:
    with sealing.bench(ram / WORKSPACE) as bench:
        struck = sealing.strike_commit(bench, sealing.NOTE, how, ERRORS["I/O error"])
        bench.work("sealed soon")
        bench.made.writer.seals.wait(bench.made.book.state.size).result(10)
        await_true(lambda: struck.struck)
        sealing.copy_as_it_lies(bench.made.path, ram / "crashed")
        told_then = dict(bench.told)
        bench.until_it_works("after")
        bench.made.sealed()
    sealing.assert_kept(ram / "crashed" / WORKSPACE, told_then)
    sealing.assert_kept(ram / WORKSPACE, bench.told)
