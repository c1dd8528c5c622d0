"""The writer: acknowledged means durable and read back; one caller's fault is one caller's answer; orders overtake."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from failwell.core import kinds
from failwell.core.errors import Corrupt, FailwellError, Refused, Unhealthy
from failwell.core.records import Draft, Entry
from failwell.ledger import writer as writers
from failwell.ledger.jobs import CONTAINMENT, Job, Plan, Turn
from failwell.ledger.writer import Writer
from failwell.node import assembly, audit
from failwell.ports.storage import Batch, StorageFailed, StoredEntry
from failwell.storage.sqlite import SqliteStorage
from tests.unit.verify import ledgers


@pytest.fixture
def made(tmp_path: Path) -> Iterator[ledgers.Made]:
    with ledgers.fresh(tmp_path / "w") as made:
        yield made
        while _BESIDE:
            _BESIDE.pop().close()


_BESIDE: list[Writer] = []


def health(detail: str = "fine") -> Draft:
    return Draft(body=kinds.Health(part="test", state="ok", detail=detail), actor="node")


def note(detail: str = "fine") -> Job[int]:
    """A job that writes one entry and answers its number."""
    return lambda turn: Plan((health(detail),), lambda entries: entries[0].seq)


def outcome_of_nothing(turn: Turn) -> Plan[int]:
    body = kinds.Outcome(
        decision=0, state="completed", by="agent", exit_code=None, result=None, result_bytes=0, truncated=False,
        elapsed_us=None, why=None,
    )  # fmt: skip
    return Plan((health("first of a torn job"), Draft(body=body, actor="agent")), lambda entries: entries[0].seq)


def update_of_nothing(turn: Turn) -> Plan[int]:
    body = kinds.IncidentUpdated(incident=99, state="OPEN", severity="major", signal=None, note="there is none")
    return Plan((Draft(body=body, actor="node"),), lambda entries: entries[0].seq)


def details(made: ledgers.Made) -> list[str]:
    entries = [shown.entry for shown in audit.tail(made.path, 1000)]
    return [entry.body.detail for entry in entries if entry is not None and isinstance(entry.body, kinds.Health)]


def paused(made: ledgers.Made, **observers: Any) -> Writer:
    """A second writer on the same book that has not begun, so that what is queued is one batch."""
    made.writer.submit(note("settled")).result(10)
    writer = Writer(made.book, made.writer.seals, paused=True, **observers)
    _BESIDE.append(writer)
    return writer


# ---- one caller's fault ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at_fault", [outcome_of_nothing, update_of_nothing])
def test_a_job_whose_entries_do_not_follow_does_not_poison_its_batch(made: ledgers.Made, at_fault: Job[int]) -> None:
    writer = paused(made)
    futures = [writer.submit(at_fault if number == 3 else note(f"job {number}")) for number in range(6)]
    writer.start()
    with pytest.raises(Corrupt):
        futures.pop(3).result(10)
    first = futures[0].result(10)
    assert [future.result(10) for future in futures] == list(range(first, first + 5))
    assert details(made) == ["settled", "job 0", "job 1", "job 2", "job 4", "job 5"]
    assert audit.verify_workspace(made.path).ok


def test_a_job_that_fails_is_answered_itself_and_nobody_else(made: ledgers.Made) -> None:
    def refuses(turn: Turn) -> Plan[int]:
        raise Refused("not you")

    def breaks(turn: Turn) -> Plan[int]:
        raise ZeroDivisionError("oh")

    writer = paused(made)
    futures = [writer.submit(job) for job in (note("a"), refuses, note("b"), breaks, note("c"))]
    writer.start()
    with pytest.raises(Refused, match="not you"):
        futures[1].result(10)
    with pytest.raises(Unhealthy, match="could not be judged"):
        futures[3].result(10)
    assert [futures[place].result(10) for place in (0, 2, 4)]
    assert details(made)[1:] == ["a", "b", "c"]


def test_an_answer_that_cannot_be_made_stops_neither_the_writer_nor_the_batch(made: ledgers.Made) -> None:
    writer = paused(made)
    futures: list[Future[Any]] = [writer.submit(note("a"))]
    futures.append(writer.submit(lambda turn: Plan((health("b"),), lambda entries: entries[7].seq)))
    futures.append(writer.submit(note("c")))
    writer.start()
    assert futures[0].result(10) + 2 == futures[2].result(10)
    with pytest.raises(Unhealthy, match="recorded, but the answer failed"):
        futures[1].result(10)
    assert details(made)[1:] == ["a", "b", "c"]
    assert writer.submit(note()).result(10)


def test_an_observer_that_fails_closes_the_ledger_to_all_but_containment(made: ledgers.Made) -> None:
    def broken(entries: list[Entry[Any]]) -> None:
        raise RuntimeError("nobody was told")

    writer = paused(made, after=broken)
    writer.start()
    writer.submit(note("told late")).result(10)
    with pytest.raises(Unhealthy, match="an observer"):
        writer.submit(note("refused")).result(10)
    assert writer.submit(note("contain"), CONTAINMENT).result(10)
    assert "refused" not in details(made)


def test_a_fence_that_cannot_be_raised_leaves_no_entry_that_says_it_was(made: ledgers.Made) -> None:
    def before(entry: Entry[Any]) -> None:
        if isinstance(entry.body, kinds.Health) and entry.body.detail == "raise it":
            raise RuntimeError("stuck")

    writer = paused(made, before=before)
    futures = [writer.submit(note("a")), writer.submit(note("raise it")), writer.submit(note("b"))]
    writer.start()
    assert futures[0].result(10) + 1 == futures[2].result(10)
    with pytest.raises(Corrupt):
        futures[1].result(10)
    assert details(made)[1:] == ["a", "b"]


# ---- acknowledged means durable and read back --------------------------------------------------------------------


class WatchedDisk(SqliteStorage):
    """The real store, which notes what it was asked, and can be told to lie as failing disks do."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.asked: list[str] = []
        self.lie = ""

    def commit(self, batch: Batch) -> None:
        self.asked.append("commit")
        if self.lie == "lost":
            return
        if self.lie == "altered" and batch.entries:
            first, *rest = batch.entries
            batch = batch._replace(entries=[StoredEntry(first.seq, first.data[:-1] + b"]", *first[2:]), *rest])
        super().commit(batch)
        if self.lie == "failed after":
            raise StorageFailed("the sync failed")

    def read_back(self, first: int, count: int) -> list[tuple[bytes, bytes]]:
        self.asked.append("read back")
        return super().read_back(first, count)


def watched(made: ledgers.Made) -> tuple[Writer, WatchedDisk]:
    made.writer.close()
    made.book.storage = disk = WatchedDisk(made.workspace.ledger)
    made.book.load()
    writer = assembly.sealed_writer(made.book, made.guard())
    made.writer = writer
    return writer, disk


@pytest.mark.requirement("R1.1", "R28.1", "R28.4")
def test_nothing_is_acknowledged_before_it_was_committed_and_read_back(made: ledgers.Made) -> None:
    writer, disk = watched(made)
    future = writer.submit(note("seen"))
    future.add_done_callback(lambda _: disk.asked.append("acknowledged"))
    future.result(10)
    writer.close()
    assert disk.asked[:3] == ["commit", "read back", "acknowledged"]


@pytest.mark.requirement("R1.6", "R28.4")
def test_a_disk_that_loses_what_it_took_is_not_believed(made: ledgers.Made) -> None:
    writer, disk = watched(made)
    disk.lie = "lost"
    with pytest.raises(StorageFailed, match="read back"):
        writer.submit(note("lost")).result(10)
    disk.lie = ""
    with pytest.raises(Unhealthy):
        writer.submit(note("still refused")).result(10)
    writer.submit(note("contain"), CONTAINMENT).result(10)
    writer.close()
    assert "lost" not in details(made)
    assert "still refused" not in details(made)
    assert audit.verify_workspace(made.path).ok


def test_a_commit_that_reported_failure_but_happened_is_found_on_the_disk_and_gone_on_from(made: ledgers.Made) -> None:
    writer, disk = watched(made)
    disk.lie = "failed after"
    with pytest.raises(StorageFailed):
        writer.submit(note("happened")).result(10)
    disk.lie = ""
    writer.submit(note("contain"), CONTAINMENT).result(10)
    writer.close()
    assert details(made)[0] == "happened"
    assert details(made)[-1] == "contain"
    assert audit.verify_workspace(made.path).ok


def test_bytes_altered_on_the_way_to_the_disk_are_never_acknowledged(made: ledgers.Made) -> None:
    writer, disk = watched(made)
    disk.lie = "altered"
    with pytest.raises(Unhealthy):
        writer.submit(note("altered")).result(10)
    report = audit.verify_workspace(made.path)
    assert report.first_bad is not None  # what lies there is not a ledger any more, and says so
    with pytest.raises(FailwellError):
        writer.submit(note("after")).result(10)


def test_a_clock_entry_lost_with_a_failed_commit_is_written_before_anything_else(tmp_path: Path) -> None:
    """Attack on time: the first commit after a boot fails, and what follows is dated by the boot before."""
    with ledgers.fresh(tmp_path / "w") as made:
        made.write(health("before the boot"))
    clock = ledgers.StepClock(boot="b" * 32, mono_us=7, wall_us=ledgers.START_US + 90_000_000)
    book = assembly.open_book(made.workspace, made.keys, clock)
    book.storage.close()
    book.storage = disk = WatchedDisk(made.workspace.ledger)
    first = book.clock_draft()
    assert first is not None
    writer = assembly.sealed_writer(book, made.guard())
    disk.lie = "lost"
    with pytest.raises(StorageFailed):
        writer.submit(lambda turn: Plan((first,), lambda entries: None)).result(10)
    disk.lie = ""
    writer.submit(note("contain"), CONTAINMENT).result(10)
    writer.close()
    entries = [shown.entry for shown in audit.tail(tmp_path / "w", 3)]
    assert [entry.kind for entry in entries if entry] == ["health", "clock", "health"]
    assert entries[-1] is not None
    assert entries[-1].boot == "b" * 32
    assert audit.verify_workspace(tmp_path / "w").ok


@pytest.mark.requirement("R28.2")
def test_a_failed_store_says_so_in_the_record_and_says_when_it_works_again(
    made: ledgers.Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writers, "MEND_US", 20_000)
    writer, disk = watched(made)
    disk.lie = "lost"
    with pytest.raises(StorageFailed):
        writer.submit(note("lost")).result(10)
    disk.lie = ""
    pause = threading.Event()
    for _ in range(500):
        try:
            writer.submit(note("works")).result(10)
            break
        except Unhealthy:
            pause.wait(0.02)
    writer.close()
    found = [shown.entry for shown in audit.tail(made.path, 5)]
    states = [e.body.state for e in found if e is not None and isinstance(e.body, kinds.Health)]
    assert states[-2:] == ["ok", "ok"]  # it works again, then the caller's own
    assert writer.failure is None
    assert audit.verify_workspace(made.path).ok


# ---- lanes, doors and ends ---------------------------------------------------------------------------------------


def test_containment_overtakes_everything_that_is_queued(made: ledgers.Made) -> None:
    writer = paused(made)
    size = made.book.state.size
    normal = [writer.submit(note(f"{number}")) for number in range(300)]
    order = writer.submit(note("stop"), CONTAINMENT)
    writer.start()
    assert order.result(10) == size
    assert sorted(future.result(10) for future in normal) == list(range(size + 1, size + 301))


def test_containment_is_committed_at_once_not_at_the_end_of_a_batch(made: ledgers.Made) -> None:
    sizes: list[int] = []
    writer = paused(made, after=lambda entries: sizes.append(len(entries)))
    for number in range(50):
        writer.submit(note(f"{number}"))
    writer.submit(note("stop"), CONTAINMENT)
    writer.start()
    writer.submit(note("last")).result(10)
    assert sizes[0] == 1


@pytest.mark.requirement("R28.37")
def test_orders_that_come_together_share_a_commit(made: ledgers.Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """Attack: a hundred agents fail at once, and the last order waits for ninety-nine commits."""
    monkeypatch.setattr(writers, "BATCH_S", 10.0)
    monkeypatch.setattr(writers, "BATCH_MOST_S", 10.0)
    commits: list[int] = []
    writer = paused(made, after=lambda entries: commits.append(len(entries)))
    queued = [writer.submit(note("queued")), *(writer.submit(note("order"), CONTAINMENT) for _ in range(100))]
    writer.start()
    for future in queued:
        future.result(10)
    assert commits == [100, 1]


def test_orders_found_before_a_batch_go_first(made: ledgers.Made) -> None:
    found: list[Future[int]] = []

    def urgent() -> None:
        if not found:
            found.append(writer.submit(note("left in the workspace"), CONTAINMENT))

    writer = paused(made, urgent=urgent)
    late = writer.submit(note("queued"))
    writer.start()
    assert found[0].result(10) < late.result(10) if late.result(10) else False


def test_a_full_queue_is_told_at_once_and_containment_still_gets_in(
    made: ledgers.Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writers, "QUEUE_JOBS", 20)
    writer = paused(made)
    for number in range(20):
        writer.submit(note(f"{number}"))
    with pytest.raises(Unhealthy) as told:
        writer.submit(note("too many"))
    assert told.value.code == "busy"
    order = writer.submit(note("stop"), CONTAINMENT)
    writer.start()
    assert order.result(10)


def test_what_is_queued_is_finished_before_the_ledger_closes_and_nothing_is_taken_after(made: ledgers.Made) -> None:
    futures = [made.writer.submit(note(f"{number}")) for number in range(200)]
    made.writer.close()
    assert all(future.done() and future.exception() is None for future in futures)
    for lane in (CONTAINMENT, 1):
        with pytest.raises(Unhealthy, match="closed"):
            made.writer.submit(note(), lane)


def test_no_caller_waits_for_ever_however_submit_and_close_meet(made: ledgers.Made) -> None:
    answers: list[Future[int]] = []

    def ask() -> None:
        while True:
            try:
                answers.append(made.writer.submit(note()))
            except Unhealthy:
                return

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    while len(answers) < 50:
        threading.Event().wait(0.001)
    made.writer.close()
    for thread in threads:
        thread.join(10)
    assert all(future.done() for future in answers)


def test_a_writer_that_dies_refuses_what_is_queued_instead_of_leaving_it_waiting(
    made: ledgers.Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Ends(BaseException):
        pass

    def dies(turn: Turn) -> Plan[int]:
        raise Ends

    writer = paused(made)
    futures = [writer.submit(job) for job in (dies, note("behind it"))]
    ended: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", ended.append)
    writer.start()
    for future in futures:
        with pytest.raises(Unhealthy, match="has ended"):
            future.result(10)
    with pytest.raises(Unhealthy, match="closed"):
        writer.submit(note())


def test_callers_of_an_event_loop_and_of_threads_share_batches(made: ledgers.Made) -> None:
    async def ask() -> list[int]:
        return await asyncio.gather(*(made.writer.submit_async(note(f"{number}")) for number in range(64)))

    from_threads = [made.writer.submit(note("thread")) for _ in range(64)]
    from_loop = asyncio.run(ask())
    assert len({*from_loop, *(future.result(10) for future in from_threads)}) == 128


def test_an_event_loop_is_told_of_errors_too(made: ledgers.Made) -> None:
    async def ask() -> None:
        await made.writer.submit_async(outcome_of_nothing)

    with pytest.raises(Corrupt):
        asyncio.run(ask())


def test_callers_that_gave_up_do_not_stop_the_writer(made: ledgers.Made) -> None:
    writer = paused(made)

    async def gives_up() -> None:
        task = writer.submit_async(note("cancelled in a loop"))
        task.cancel()

    asyncio.run(gives_up())  # its loop is gone, too
    cancelled = writer.submit(note("cancelled in a thread"))
    assert cancelled.cancel()
    after = writer.submit(note("after"))
    writer.start()
    assert after.result(10)
    assert writer.submit(note("and on")).result(10)


def test_a_job_that_writes_nothing_is_answered_and_leaves_no_entry(made: ledgers.Made) -> None:
    size = made.book.state.size
    assert made.do(lambda turn: Plan((), lambda entries: ("seen", len(entries)))) == ("seen", 0)
    assert made.book.state.size == size


# ---- what nobody awaits ------------------------------------------------------------------------------------------


def commits(made: ledgers.Made) -> tuple[Writer, list[list[str]]]:
    """A writer that has begun, and what each of its commits holds."""
    held: list[list[str]] = []
    writer = paused(made, after=lambda entries: held.append([entry.body.detail for entry in entries]))
    writer.start()
    return writer, held


def test_what_nobody_awaits_shares_the_commit_of_what_comes_next(
    made: ledgers.Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writers, "BEHIND_S", 60.0)
    writer, held = commits(made)
    behind = writer.submit(note("behind"), behind=True)
    awaited = writer.submit(note("awaited"))
    assert behind.result(10) < awaited.result(10)
    assert held == [["behind", "awaited"]]


def test_an_order_waits_for_nothing_that_nobody_awaits(made: ledgers.Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writers, "BEHIND_S", 60.0)
    writer, held = commits(made)
    behind = writer.submit(note("behind"), behind=True)
    writer.submit(note("stop"), CONTAINMENT).result(10)
    assert behind.result(10)
    assert sorted(each for one in held for each in one) == ["behind", "stop"]


def test_what_nobody_awaits_is_written_though_nothing_follows_it(made: ledgers.Made) -> None:
    writer, held = commits(made)
    assert writer.submit(note("behind"), behind=True).result(10)
    assert held == [["behind"]]


def test_a_ledger_that_closes_waits_for_nobody_and_writes_what_nobody_awaits(
    made: ledgers.Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writers, "BEHIND_S", 60.0)
    writer, held = commits(made)
    behind = writer.submit(note("behind"), behind=True)
    writer.close()
    assert behind.result(0)
    assert held == [["behind"]]


def test_a_threads_answer_is_told_on_the_loop_that_it_names_and_anywhere_once_that_is_gone(made: ledgers.Made) -> None:
    told: list[int] = []

    async def ask() -> None:
        loop = asyncio.get_running_loop()
        answered = asyncio.Event()
        future = made.writer.submit(note("on the loop"), loop=loop)

        def hear(_: Future[int]) -> None:
            told.append(threading.get_ident())
            answered.set()

        future.add_done_callback(hear)
        await answered.wait()

    asyncio.run(ask())
    assert told == [threading.get_ident()]
    gone = asyncio.new_event_loop()
    gone.close()
    assert made.writer.submit(note("its loop is gone"), loop=gone).result(10)
