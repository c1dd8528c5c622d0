"""A disk that fails or lies under a running writer: told in the record, the gate closed, stops go on, and it mends."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import apsw
import pytest

from failwell.core import kinds, orders
from failwell.core.errors import FailwellError, Unhealthy
from failwell.identity import persons
from failwell.ledger.jobs import CONTAINMENT
from failwell.node import assembly, audit
from failwell.ports.storage import StorageFailed
from failwell.response import orders as response
from tests.faults import mutants, sealing
from tests.faults.judge import WORKSPACE
from tests.faults.work import health, note
from tests.simulate.faults import (
    DROPPED,
    FLIPPED,
    LOST,
    REPORTED,
    SYNC,
    WRITE,
    Fault,
    FaultyDisk,
    faulty_disk,
)
from tests.simulate.house import await_true
from tests.unit.verify import ledgers

LOG = "ledger.db-wal"


@pytest.fixture
def disk() -> Iterator[FaultyDisk]:
    with faulty_disk() as disk:
        yield disk


def states(path: Path) -> list[str]:
    """What the record says of the storage's health."""
    entries = [shown.entry for shown in audit.tail(path, 1000)]
    bodies = [entry.body for entry in entries if entry is not None]
    return [body.state for body in bodies if isinstance(body, kinds.Health) and body.part == "storage"]


# ---- errors that are told ------------------------------------------------------------------------------------------

FAULTS = {
    "a sync that fails": Fault(SYNC, LOG, LOST),
    "a sync that fails though it was done": Fault(SYNC, LOG, REPORTED),
    "a write that fails": Fault(WRITE, LOG, LOST),
    "a write that fails though it was done": Fault(WRITE, LOG, REPORTED),
    "no room": Fault(WRITE, LOG, LOST, code=apsw.SQLITE_FULL),
    "a file made read-only": Fault(WRITE, LOG, LOST, code=apsw.SQLITE_READONLY),
}


@pytest.mark.requirement("R28.1", "R28.2")
@pytest.mark.parametrize("nth", [1, 4])
@pytest.mark.parametrize("fault", FAULTS)
def test_after_an_error_nothing_is_permitted_on_that_handle_again_and_a_new_one_goes_on(
    ram: Path, disk: FaultyDisk, fault: str, nth: int
) -> None:
    planned = FAULTS[fault]
    with sealing.bench(ram / WORKSPACE) as bench:
        disk.plan(planned._replace(nth=nth if planned.what == WRITE else 1))
        assert not bench.work("struck")
        assert disk.struck
        bench.until_it_works("after")
        assert bench.made.writer.failure is None
    failed = next(place for place, done in enumerate(disk.done) if done.how != "done")
    handle = disk.done[failed].handle
    again = [done for done in disk.done[failed + 1 :] if done.handle == handle]
    assert again == [], "a handle that failed was asked again"
    sealing.assert_kept(ram / WORKSPACE, bench.told)
    assert states(ram / WORKSPACE) == ["failed", "ok"]


@pytest.mark.requirement("R1.6", "R28.1", "R28.3")
def test_while_every_sync_fails_the_gate_is_closed_and_a_suspension_is_tried_and_told_honestly(
    ram: Path, disk: FaultyDisk
) -> None:
    """No store, no record: what contains is told that it is not durable, and goes through once the disk works."""
    with sealing.bench(ram / WORKSPACE) as bench:
        made = bench.made
        suspend = made.sign("piet", "agent.suspend", orders.AgentSuspend(agent=ledgers.AGENT, reason="disk"), "0" * 64)
        disk.plan(Fault(SYNC, LOG, LOST, times=1 << 30))
        assert not bench.work("struck")
        with pytest.raises(StorageFailed):
            made.do(response.suspend(suspend, persons.verify_order, source="node"), CONTAINMENT)
        refused = len(bench.refused)
        assert not bench.work("still")
        assert len(bench.refused) == refused + 1
        assert made.writer.failure is not None
        disk.heal()
        seq = made.do(response.suspend(suspend, persons.verify_order, source="node"), CONTAINMENT)
        assert made.book.state.agent[ledgers.AGENT].authority == "SUSPENDED"
        bench.until_it_works("after")
    sealing.assert_kept(ram / WORKSPACE, bench.told)
    assert seq in bench.told
    assert states(ram / WORKSPACE)[-1] == "ok"


@pytest.mark.requirement("R1.6", "R28.3")
def test_after_one_failed_sync_a_suspension_goes_through_before_anything_else_does(ram: Path, disk: FaultyDisk) -> None:
    with sealing.bench(ram / WORKSPACE) as bench:
        made = bench.made
        suspend = made.sign("piet", "agent.suspend", orders.AgentSuspend(agent=ledgers.AGENT, reason="disk"), "0" * 64)
        disk.plan(Fault(SYNC, LOG, LOST))
        assert not bench.work("struck")
        made.do(response.suspend(suspend, persons.verify_order, source="node"), CONTAINMENT)
        assert made.book.state.agent[ledgers.AGENT].authority == "SUSPENDED"
        bench.until_it_works("after")
    sealing.assert_kept(ram / WORKSPACE, bench.told)


# ---- lies ----------------------------------------------------------------------------------------------------------


def lied_to(root: Path, disk: FaultyDisk, how: str, mutant: AbstractContextManager[object] | None = None) -> str | None:
    """What is wrong after the disk altered or lost, in silence, the page with an entry that it took; None: nothing."""
    name = "what the disk shall not be believed to hold"
    with mutant or nullcontext(), sealing.bench(root / WORKSPACE) as bench:
        disk.plan(Fault(WRITE, LOG, how, contains=name.encode()))
        answered = bench.attempt(lambda: bench.made.write(health(name)))
        assert disk.struck
        sealing.copy_as_it_lies(bench.made.path, root / "crashed")
        told = dict(bench.told)
        bench.attempt(lambda: bench.made.do(note("contain"), CONTAINMENT))
    try:
        sealing.assert_kept(root / "crashed" / WORKSPACE, told)
    except (FailwellError, AssertionError) as error:
        return f"acknowledged and not there: {error}"
    return "answered, though it is not there" if answered else None


@pytest.mark.requirement("R28.4")
@pytest.mark.parametrize("how", [FLIPPED, DROPPED])
def test_what_a_disk_altered_or_lost_in_silence_is_not_acknowledged(ram: Path, disk: FaultyDisk, how: str) -> None:
    assert lied_to(ram, disk, how) is None


@pytest.mark.parametrize("how", [FLIPPED, DROPPED])
@pytest.mark.parametrize("fault", mutants.LIE)
def test_the_hunt_finds(ram: Path, disk: FaultyDisk, fault: str, how: str) -> None:
    assert lied_to(ram, disk, how, mutants.LIE[fault]()), f"{fault} was seeded and a lie was believed"


@pytest.mark.parametrize("nth", [2, 7])
@pytest.mark.parametrize("how", [FLIPPED, DROPPED])
def test_what_a_disk_did_to_another_page_of_the_same_commit_is_told_at_the_next_start(
    ram: Path, disk: FaultyDisk, how: str, nth: int
) -> None:
    """Its limit: only entries are read back. After a crash such a commit is dropped, and the guard knows of it."""
    with sealing.bench(ram / WORKSPACE) as bench:
        disk.plan(Fault(WRITE, LOG, how, nth=nth))
        answered = bench.work("struck")
        assert disk.struck
        if not answered:
            return
        bench.made.writer.seals.wait(max(bench.told) + 1).result(10)
        sealing.copy_as_it_lies(bench.made.path, ram / "crashed")
        told = dict(bench.told)
    with pytest.raises(FailwellError, match="its guard has signed"):
        sealing.assert_kept(ram / "crashed" / WORKSPACE, told)
    assert not audit.verify_workspace(ram / "crashed" / WORKSPACE).ok


# ---- write-protected -----------------------------------------------------------------------------------------------


@pytest.fixture
def own_mount(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own that can be made read-only."""
    place = tmp_path / "disk"
    place.mkdir()
    made = os.geteuid() == 0 and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if not made or made.returncode != 0:
        pytest.skip("a file system of its own takes the right to mount one (root)")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.requirement("R28.1")
@pytest.mark.ci_must_run
def test_a_ledger_on_a_read_only_file_system_is_refused_in_words_verified_and_goes_on_once_it_is_writable(
    own_mount: Path,
) -> None:
    path = own_mount / WORKSPACE
    with sealing.bench(path) as bench:
        assert bench.work("before")
        sealing.copy_as_it_lies(bench.made.path, own_mount / "crashed")  # with its log, which a reader must not move
    for machine in (own_mount, own_mount / "crashed"):
        subprocess.run(["mount", "-o", "remount,ro", str(own_mount)], check=True)
        try:
            with pytest.raises(Unhealthy, match=r"ledger\.db") as told:
                assembly.open_book(bench.made.workspace, bench.made.keys, ledgers.StepClock())
            assert told.value.code == "storage-failed"
            report = audit.verify_workspace(machine / WORKSPACE)
            assert report.ok, report.findings
        finally:
            subprocess.run(["mount", "-o", "remount,rw", str(own_mount)], check=True)
        sealing.assert_kept(machine / WORKSPACE, bench.told)


def test_a_health_entry_comes_before_the_first_verdict_that_a_failed_store_alters(ram: Path, disk: FaultyDisk) -> None:
    with sealing.bench(ram / WORKSPACE) as bench:
        disk.plan(Fault(SYNC, LOG, LOST))
        assert not bench.work("struck")
        await_true(lambda: bench.attempt(lambda: bench.made.write(health("works"))))
    kinds_then = [shown.entry.kind for shown in audit.tail(ram / WORKSPACE, 3) if shown.entry]
    assert kinds_then == ["health"] * 3, "failed, ok, and only then what was asked for"
