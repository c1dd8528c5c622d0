"""What waits long keeps nobody else waiting, and what cannot be had is told and not thrown at who asked."""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError, Future
from typing import Any

import pytest

from failwell.node.endings.later import Afterwards
from failwell.node.endings.statement import Proof
from failwell.node.endings.threads import AT_ONCE, Threads
from failwell.node.timers import Timers

PATIENCE_S = 10.0


@pytest.fixture
def no_more_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a tool has forked until its user may start nothing more."""

    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)


def test_as_many_as_there_are_threads_wait_under_one_name_and_nobody_under_another() -> None:
    threads, silent = Threads(), threading.Event()
    waiting = [threads.run("far.silent", silent.wait) for _ in range(AT_ONCE + 5)]
    assert threads.run("books.write", lambda: "told").result(PATIENCE_S) == "told"
    assert not any(each.done() for each in waiting)
    silent.set()
    assert all(each.result(PATIENCE_S) for each in waiting)
    threads.close()


def test_what_has_not_begun_when_the_node_stops_is_cancelled_and_said_so() -> None:
    threads, silent = Threads(), threading.Event()
    waiting = [threads.run("far.silent", silent.wait) for _ in range(AT_ONCE + 1)]
    ending = threading.Thread(target=threads.close)
    ending.start()
    with pytest.raises(CancelledError):
        waiting[-1].result(PATIENCE_S)
    silent.set()
    ending.join(PATIENCE_S)
    assert isinstance(threads.run("books.write", lambda: "told").exception(PATIENCE_S), RuntimeError)


@pytest.mark.usefixtures("no_more_threads")
def test_where_no_thread_can_be_had_the_future_says_it_and_the_work_is_not_done_later() -> None:
    done: list[str] = []
    threads = Threads()
    asked = threads.run("books.write", lambda: done.append("once"))
    assert isinstance(asked.exception(PATIENCE_S), RuntimeError)
    work = threads._named["books.write"]._work_queue.get_nowait()
    work.run()
    assert not done


def test_a_look_that_no_thread_could_be_had_for_is_taken_again() -> None:
    looked = threading.Event()
    tries: list[str] = []

    def run(name: str, work: Any) -> Future[Any]:
        tries.append(name)
        future: Future[Any] = Future()
        if len(tries) == 1:
            future.set_exception(RuntimeError("can't start new thread"))
        else:
            future.set_result(work())
        return future

    def look() -> str:
        looked.set()
        return "it goes on"

    timers = Timers()
    writer: Any = None  # nothing is shown, so nothing is written
    later = Afterwards(writer, timers, run)
    later.add(7, Proof(look, (0.001, 0.001), "far.away"))
    assert looked.wait(PATIENCE_S)
    assert tries == ["later far.away"] * 2
    timers.close()


def test_a_timer_that_fails_is_said_and_loses_none_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(threading, "excepthook", lambda told: said.append(str(told.exc_value)))
    timers, later = Timers(), threading.Event()

    def fail() -> None:
        raise RuntimeError("a fault of ours")

    timers.after(0, fail)
    timers.after(0.01, later.set)
    assert later.wait(PATIENCE_S)
    assert said == ["a fault of ours"]
    timers.close()


def test_a_timer_is_kept_where_no_thread_can_be_had_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    timers, called = Timers(), threading.Event()
    with monkeypatch.context() as forked_out:
        forked_out.setattr(threading.Thread, "start", lambda _: (_ for _ in ()).throw(RuntimeError("no thread")))
        timers.after(0.001, called.set)
    assert called.wait(PATIENCE_S)
    timers.close()
