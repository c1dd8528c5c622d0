"""A node for tests of the executor: a real process that holds one and takes orders as JSON lines.

Run as `python node_process.py DIRECTORY NAMESPACE OWNS_CHILDREN CGROUP`, the last three being 0 or 1. Orders on
standard input, answers on standard output.
"""

from __future__ import annotations

import base64
import json
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from failwell.core.errors import FailwellError
from failwell.execute import channel, standby
from failwell.execute.orphans import sweep_leftovers
from failwell.execute.processes import read_stat
from failwell.execute.supervised import SupervisedExecutor
from failwell.ports.executor import Ended, Launch

_writing = threading.Lock()
own_children: list[int] = []
failing: list[bool] = []
unread: list[bool] = []


def say(body: dict[str, Any]) -> None:
    with _writing:
        sys.stdout.write(json.dumps(body) + "\n")
        sys.stdout.flush()


def told(ended: Ended) -> None:
    if failing:
        os.close(2)  # the traceback of the executor's thread is wanted, and no news
        raise RuntimeError("the node cannot take this end")
    body = asdict(ended)
    for name in ("output", "errors"):
        body[name] = base64.b64encode(body[name]).decode()
    body["snapshot"] = None if ended.snapshot is None else base64.b64encode(ended.snapshot).decode()
    say({"ended": body, "thread": threading.current_thread().name})


def launch(executor: SupervisedExecutor, order: dict[str, Any]) -> None:
    order["stdin"] = base64.b64decode(order["stdin"])
    order["command"] = tuple(order["command"])
    process = executor.launch(Launch(**order), told)
    say({"process": {"pid": process.pid, "start_ticks": process.start_ticks}})


def fork_child(order: dict[str, Any]) -> None:
    """Be a node with a child of its own, in its own session or another."""
    pid = os.fork()
    if pid == 0:
        if order["session"]:
            os.setsid()
        time.sleep(30)
        os._exit(0)
    if order["session"]:  # one in the node's own session needs no naming
        own_children.append(pid)
    say({"pid": pid})


def warm(executor: SupervisedExecutor, count: int) -> None:
    executor.keep_warm(count)
    say({"full": executor.await_standby(10)})


def launch_many(executor: SupervisedExecutor, order: dict[str, Any]) -> None:
    """All at once, each from a thread of its own."""

    def one(action: int) -> None:
        own = {**order["launch"], "action": action, "command": tuple(order["launch"]["command"]), "stdin": b""}
        executor.launch(Launch(**own), told)

    threads = [threading.Thread(target=one, args=(number,)) for number in order["actions"]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    say({"launched": len(threads)})


def strike(executor: SupervisedExecutor, signals: list[int], then: str | None) -> None:
    """Have the next supervisor that stood by struck with its launch in its socket, and not read."""
    original = channel.Channel.send
    channel.START_BOUND_US = 300_000

    def send(struck: channel.Channel, data: bytes, handles: tuple[int, ...] = ()) -> bool:
        """In its place, and called as it is."""
        if not struck.warm:
            return original(struck, data, handles)
        channel.Channel.send = original  # type: ignore[method-assign]
        os.kill(struck.process.pid, signal.SIGSTOP)
        while (stat := read_stat(struck.process.pid)) is not None and stat.state != "T":
            time.sleep(0.001)
        sent = original(struck, data, handles)
        if then == "freeze":
            executor.freeze([struck.launch.action])
        for number in signals:
            os.kill(struck.process.pid, number)
        return sent

    channel.Channel.send = send  # type: ignore[method-assign,assignment]
    say({"struck": True})


def name_nursery(executor: SupervisedExecutor) -> None:
    nursery = executor._standby._nursery
    say({"pid": None if nursery is None else nursery.session})


def exhaust(left: int) -> None:
    """Leave room for so many more descriptors."""
    taken = [os.open("/dev/null", os.O_RDONLY) for _ in range(left)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (taken[-1] + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    for fd in taken:
        os.close(fd)
    say({"exhausted": True})


def relieve() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 1024), hard))
    say({"relieved": True})


def close(executor: SupervisedExecutor) -> None:
    executor.close()
    say({"closed": True})


def obey(executor: SupervisedExecutor, order: dict[str, Any]) -> None:
    orders: dict[str, Callable[[], None]] = {
        "launch": lambda: launch(executor, order),
        "interrupt": lambda: executor.interrupt(order["action"]),
        "freeze": lambda: executor.freeze(order["actions"]),
        "use_cgroups": lambda: say({"why": executor.use_cgroups(True)}),
        "running": lambda: say({"running": sorted(executor.running())}),
        "self_test": lambda: say({"self_test": executor.self_test().as_record()}),
        "sweep": lambda: say({"leftovers": [asdict(left) for left in sweep_leftovers(order["prefix"])]}),
        "fork_child": lambda: fork_child(order),
        "fail_next": lambda: failing.append(True),
        "warm": lambda: warm(executor, order["count"]),
        "launch_many": lambda: launch_many(executor, order),
        "strike": lambda: strike(executor, order["signals"], order.get("then")),
        "unread": lambda: unread.append(True) if order["now"] else unread.clear(),
        "impatient": lambda: setattr(standby, "WEDGED_S", 0.2),
        "nursery": lambda: name_nursery(executor),
        "exhaust": lambda: exhaust(order["left"]),
        "relieve": relieve,
        "close_errors": lambda: os.close(2),
        "close": lambda: close(executor),
    }
    orders[order.pop("do")]()


def main() -> None:
    directory = Path(sys.argv[1])
    executor = SupervisedExecutor(
        directory / "run",
        directory / "orders",
        pid_namespace=sys.argv[2] == "1",
        spare=(lambda: own_children) if sys.argv[3] == "1" else None,
        unread=lambda: bool(unread),
        cgroup=sys.argv[4] == "1",
    )
    say({"up": True})
    for line in sys.stdin:
        try:
            obey(executor, json.loads(line))
        except FailwellError as error:
            say({"error": {"code": error.code, "message": error.message}})
    executor.close()


if __name__ == "__main__":
    main()
