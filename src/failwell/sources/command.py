"""A source that is a command: arguments as one JSON object on its standard input, one JSON value on its output.

It runs as tools do, under a supervisor of its own: with nothing in its environment but what it is given, stopped with
everything that it forked at its deadline, and gone as a whole before the question is over. It answers by ending
with exit code 0; what it leaves behind running makes its answer none, since nobody could say who wrote it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from failwell.core.errors import FailwellError
from failwell.ports.executor import Ended, Executor, Launch
from failwell.ports.sources import MAX_ANSWER_BYTES, Reply

#: How long beyond its time a question may wait to hear that nothing of it is left: the bounds of a sweep, and some.
STOP_BOUND_S = 15.0


class CommandSource:
    """See `ports.sources.Source`. `env` is its whole environment; `number` gives the launch a number of its own.

    `marker` stands before that number in the variable by which leftovers of a dead node are found.
    """

    def __init__(
        self, name: str, command: tuple[str, ...], *, executor: Executor, number: Callable[[], int], marker: str,
        env: Mapping[str, str] | None = None, cwd: str | None = None,
    ) -> None:  # fmt: skip
        self._name = name
        self._command = command
        self._executor = executor
        self._number = number
        self._marker = marker
        self._env = dict(env or {})
        self._cwd = cwd

    def asking(self, arguments: bytes, within_us: int) -> _Asking:
        number = self._number()
        # Not the agent's: an order that stops an agent's tools counts them, and this is none of them.
        launch = Launch(
            action=number, agent="source", tool=self._name, command=self._command, cwd=self._cwd, env=self._env,
            stdin=arguments, deadline_us=within_us, output_cap_bytes=MAX_ANSWER_BYTES,
            marker=f"{self._marker}{number}",
        )  # fmt: skip
        return _Asking(self._executor, launch)


class _Asking:
    """One launch."""

    def __init__(self, executor: Executor, launch: Launch) -> None:
        self._executor = executor
        self._launch = launch
        self._over = threading.Event()
        self._stopped = threading.Event()
        self._end: Ended | None = None

    def run(self) -> Reply:
        if self._stopped.is_set():
            return Reply(state="late", detail="its time was over before it was asked")
        try:
            self._executor.launch(self._launch, self._ended)
        except FailwellError as error:
            return Reply(state="failed", detail=error.message)
        if self._stopped.is_set():  # given up between the two looks, when there was nothing to stop yet
            self._executor.interrupt(self._launch.action)
        within_s = (self._launch.deadline_us or 0) / 1_000_000
        self._over.wait(within_s + STOP_BOUND_S)
        return _reply(self._end)

    def _ended(self, end: Ended) -> None:
        self._end = end
        self._over.set()

    def stop(self) -> None:
        self._stopped.set()
        self._executor.interrupt(self._launch.action)


def _reply(end: Ended | None) -> Reply:
    """What a launch's end says; nothing is an answer but a whole output, of a command that ended well and alone."""
    if end is None:
        return Reply(state="failed", detail="its supervisor does not say what became of it")
    if end.state.startswith("interrupted") or end.state == "completed_after_interrupt":
        return Reply(state="late", detail=f"stopped: {end.why}")
    if end.state != "completed":
        return Reply(state="failed", detail=(end.why or end.state)[:200])
    if end.truncated:
        return Reply(state="failed", detail=f"it said more than {MAX_ANSWER_BYTES} bytes")
    if end.swept:
        return Reply(state="failed", detail=f"it left {end.swept} processes running, which were stopped")
    return Reply(state="answered", text=end.output)
