"""`serve --standby`: what is said while one stands by, and when the place of a node is taken."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from failwell.cli.screen import tell
from failwell.core.errors import Unhealthy

if TYPE_CHECKING:
    from failwell.node.takeover import Late, Taken
    from failwell.node.workspace import Workspace

#: How often it is said again that a late node cannot be ended.
SAY_AGAIN_S = 10.0

_WHY = {
    "died": "died without a word", "silent": "is silent", "gave-way": "could record nothing and gave way",
}  # fmt: skip


def await_place(place: Workspace, *, as_json: bool) -> Taken | None:
    """Stand by until the place of a node is taken; None where this process is told to end before that."""
    from failwell.execute.records import read_boot_id
    from failwell.node import takeover
    from failwell.node.heartbeat import now_us
    from failwell.node.workspace import lock_holder

    watch = takeover.Watch(read_boot_id())
    say_again_us = 0
    with _told_to_end() as ended, takeover.stand(place):
        _standing_by(place, lock_holder(place), as_json=as_json)
        while not ended.wait(takeover.LOOK_S):
            late = takeover.look(place, watch)
            if late is None:
                continue
            try:
                taken = takeover.take(place, late)
            except Unhealthy as error:  # it may write still: nobody takes its place, and it is tried again
                if now_us() >= say_again_us:
                    say_again_us = now_us() + round(SAY_AGAIN_S * 1_000_000)
                    tell(f"CANNOT TAKE OVER: {error.message}. {error.hint or ''}".rstrip())
                continue
            if taken is not None:
                _taking_over(place, late, taken, as_json=as_json)
                return taken
    tell("Told to end: this process stands by no more. The node is not touched.")
    return None


@contextmanager
def _told_to_end() -> Iterator[threading.Event]:
    """Set by Ctrl-C and SIGTERM while this lasts."""
    ended = threading.Event()
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, lambda *_: ended.set()) for number in numbers]
    try:
        yield ended
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _standing_by(place: Workspace, holder: int | None, *, as_json: bool) -> None:
    if as_json:
        _say(place, "standing-by", of=holder)
        return
    whom = "no node runs yet" if holder is None else f"the node is process {holder}"
    print(f"Standing by for the node of {place.path} (process {os.getpid()}; {whom}).", flush=True)
    print("It takes over when that one dies or is 2 s late. Ctrl-C ends the waiting, and not the node.", flush=True)


def _taking_over(place: Workspace, late: Late, taken: Taken, *, as_json: bool) -> None:
    if as_json:
        _say(place, "taking-over", of=taken.pid, why=taken.why, late_ms=round(late.late_us / 1000), killed=taken.killed)
        return
    killed = f", {late.late_us / 1_000_000:.1f} s late, and was killed" if taken.killed else ""
    print(f"TAKING OVER: the node (process {taken.pid}) {_WHY[taken.why]}{killed}.", flush=True)
    print("Nobody stands by from now on: failwell serve --standby", flush=True)


def _say(place: Workspace, state: str, **more: Any) -> None:
    told = {"schema": "failwell/serve/1", "workspace": str(place.path), "pid": os.getpid(), "state": state, **more}
    print(json.dumps(told), flush=True)
