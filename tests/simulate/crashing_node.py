"""A node that strikes at one named point of its work: the test entry through which crashes are wired (DESIGN 11).

Run as `python -m tests.simulate.crashing_node WORKSPACE PLAN SELF_TEST`. PLAN is a file that a test writes while the
node runs: `{"point", "side", "nth", "victim"}`. The nth time that the point is passed on that side, the plan is
taken away and the victim killed with SIGKILL: `node` (this process), `supervisor` (all of them) or a process id. The
node itself is the product's, unchanged; only calls between its parts are watched from outside.

SELF_TEST is a file with the result of the start-up self-test, made by the first node of a session and used again by
the later ones, since it proves the machine and not the workspace.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from failwell.execute import retest
from failwell.execute.supervised import SupervisedExecutor
from failwell.ledger.book import Book
from failwell.node import __main__ as entry
from failwell.node import left_orders, outbox, recovery, tested
from failwell.node.actions import ToolRunner
from failwell.node.door import Connection
from failwell.node.fence import Fence
from failwell.notify.smtp import SmtpNotifier
from failwell.ports.executor import Launch, SelfTest
from failwell.ports.guard import Sealed
from tests.simulate.shown_node import reuse_self_test

PLAN = Path()
_executors: list[SupervisedExecutor] = []


def strike(point: str, side: str) -> None:
    """Kill the planned victim if this is the planned moment."""
    try:
        plan = json.loads(PLAN.read_text())
    except (OSError, ValueError):
        return
    if (plan["point"], plan["side"]) != (point, side):
        return
    plan["nth"] -= 1
    if plan["nth"] > 0:
        PLAN.write_text(json.dumps(plan))
        return
    PLAN.unlink()
    if plan["victim"] == "node":
        os.kill(os.getpid(), signal.SIGKILL)
    elif plan["victim"] == "supervisor":
        for process in [process for executor in _executors for process in executor.running().values()]:
            os.kill(process.pid, signal.SIGKILL)
    else:
        os.kill(int(plan["victim"]), signal.SIGKILL)


def watch(owner: Any, name: str, point: str) -> None:
    """Strike before and after each call of `owner.name`."""
    original: Callable[..., Any] = getattr(owner, name)

    @functools.wraps(original)
    def watched(*args: Any, **kwargs: Any) -> Any:
        strike(point, "before")
        result = original(*args, **kwargs)
        strike(point, "after")
        return result

    setattr(owner, name, watched)


def watch_commits() -> None:
    """Points `commit:KIND` for every kind of entry in the batch."""
    original = Book.commit

    def commit(book: Book, sealed: Sealed | None = None) -> list[Any]:
        kinds = sorted({item.kind for item in book.written})
        for kind in kinds:
            strike(f"commit:{kind}", "before")
        written = original(book, sealed)
        for kind in kinds:
            strike(f"commit:{kind}", "after")
        return written

    Book.commit = commit  # type: ignore[method-assign,assignment]


def watch_answers() -> None:
    """Point `answer`: an action's answer goes to its caller."""
    original = Connection.push

    def push(connection: Connection, message: Any) -> None:
        answer = message.get("ok") if isinstance(message, dict) else None
        telling = isinstance(answer, dict) and "verdict" in answer
        if telling:
            strike("answer", "before")
        original(connection, message)
        if telling:
            time.sleep(0.05)  # the loop writes at once; give the kernel's buffer its reader
            strike("answer", "after")

    Connection.push = push  # type: ignore[method-assign,assignment]


def told(made: SelfTest) -> SelfTest:
    """What a machine would tell on which a process outlived the order, where that is asked for."""
    if "FAILWELL_TEST_SELF_TEST" in os.environ:
        return dataclasses.replace(made, interrupt="a process was left")
    return made


def remember_executors() -> None:
    """Whose supervisors are victims; the self-test makes executors too, and ends them."""
    original = SupervisedExecutor.use

    def use(executor: SupervisedExecutor, shown: SelfTest) -> None:
        if executor not in _executors:
            _executors.append(executor)
        original(executor, shown)

    SupervisedExecutor.use = use  # type: ignore[method-assign,assignment]


def retest_as_told(told: Path) -> None:
    """Test anew every moment. While `told` exists its first line is the program that runs in the place of the test."""

    def launch(action: int, marker: str) -> Launch:
        made = retest.retest_launch(action, marker)
        if not told.exists():
            return made
        command = ("/bin/sh", "-c", told.read_text())
        return dataclasses.replace(made, command=command, deadline_us=400_000)

    setattr(tested, "retest_launch", launch)  # noqa: B010
    setattr(tested.Tested, "_pause_s", lambda _: 0.1)  # noqa: B010


def main(workspace: Path, plan: Path, cache: Path) -> int:
    global PLAN  # noqa: PLW0603  one process, one plan
    PLAN = plan
    remember_executors()
    reuse_self_test(cache, told)
    if "FAILWELL_TEST_RETEST" in os.environ:
        retest_as_told(plan.with_name("retest.sh"))
    watch_commits()
    watch_answers()
    for owner, name, point in (
        (Fence, "start", "fence.start"), (Fence, "close", "fence.close"), (Fence, "grant", "permit"),
        (Fence, "attach", "fence.attach"), (SupervisedExecutor, "_spawn", "spawn"),
        (SupervisedExecutor, "launch", "launch"), (SupervisedExecutor, "interrupt", "executor.interrupt"),
        (SupervisedExecutor, "freeze", "freeze"), (ToolRunner, "interrupt", "interrupt"),
        (ToolRunner, "_settle", "settle"), (SmtpNotifier, "send", "mail"),
        (left_orders.Mailbox, "_put_away", "put_away"),
        (outbox.Outbox, "_attempt", "page"), (recovery, "_end", "recovery"),
    ):  # fmt: skip
        watch(owner, name, point)
    entry.run(workspace, idle_s=0, ready=entry._say_ready)
    return 0


if __name__ == "__main__":
    sys.exit(main(*[Path(part) for part in sys.argv[1:4]]))
