"""`fenced`: what the tool has sent may lie with a resource that no kill reaches; so the resource refuses what is older.

At a stop the settings' `fence` command tells it, beside the kill: exit 0 in time means that it takes nothing more of
this action, and no permit below the epoch that it was told. Only both together are a stop: no process left, and that
word. A command that fails is tried again while its time lasts, a few times more after it, and every failure is said.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

from failwell.node.endings.commands import Commands
from failwell.node.endings.statement import BY_ITSELF, Proof, Shown, Statement
from failwell.node.settings import ToolSettings
from failwell.ports.executor import Ended

#: Pauses between tries within the command's time, and between those after it.
PAUSES_S = (0.2, 0.5, 1.0, 2.0)
LATER_S = (1.0, 10.0, 60.0, 300.0)


class Told(NamedTuple):
    """What came of telling the resource: when it acknowledged (boot clock; 0: it did not), after how many tries."""

    acknowledged_us: int
    tries: int
    epoch: int
    why: str


class Fenced:
    """One action. `about` says what is void now, with the epochs of this moment; `run` starts a thread's work."""

    def __init__(
        self, commands: Commands, settings: ToolSettings, about: Callable[[], dict[str, Any]],
        run: Callable[[Callable[[], object]], object], mono_us: Callable[[], int],
    ) -> None:  # fmt: skip
        self._commands = commands
        self._settings = settings
        self._about = about
        self._run = run
        self._mono_us = mono_us
        self._telling = threading.Lock()
        self._told: Told | None = None

    def ordered(self) -> None:
        """Tell the resource, beside the kill."""
        self._run(self._tell)

    def say(self, end: Ended, *, ordered: bool) -> Statement:
        """The processes' end, and the resource's word on top."""
        if end.state == "blocked" or (end.state in BY_ITSELF and not ordered):
            return Statement(end)
        told = self._tell()
        if told.acknowledged_us:
            word = f"its resource {_refuses(told.epoch)} (fence command, try {told.tries})"
            if end.state in ("interrupted_unconfirmed", "unknown"):
                return Statement(replace(end, why=f"{end.why}; {word}"))
            last_us = max(end.ended_us, told.acknowledged_us)
            return Statement(replace(end, proven_by=f"{end.proven_by}; {word}", ended_us=last_us))
        if end.state in ("interrupted_unconfirmed", "unknown"):
            return Statement(replace(end, why=f"{end.why}; nor did its resource acknowledge its fence: {told.why}"))
        return self._unacknowledged(end, f"the fence command {told.why} ({told.tries} tries)")

    def overtaken(self, end: Ended) -> Statement:
        """The order came after its end was said: the resource has not been told yet."""
        return self._unacknowledged(end, "the order came as it ended, and the resource was not told yet")

    def _unacknowledged(self, end: Ended, why: str) -> Statement:
        processes = end.proven_by

        def look() -> Shown | str:
            told = self._try(self._settings.stop_deadline_ms * 1000, 1)
            if not told.acknowledged_us:
                return f"the fence command {told.why}"
            word = f"later its resource said that it {_refuses(told.epoch)} (fence command)"
            return Shown(f"{processes}; {word}", told.acknowledged_us)

        said = f"nothing of it is left here, and its resource may still take what it sent: {why}"
        return Statement(
            replace(end, state="interrupted_unconfirmed", why=said), Proof(look, LATER_S, str(self._about()["tool"]))
        )

    def _tell(self) -> Told:
        """Tell the resource, once: whoever comes second waits for what came of it."""
        with self._telling:
            if self._told is None:
                self._told = self._insist()
            return self._told

    def _insist(self) -> Told:
        within_us = self._settings.stop_deadline_ms * 1000
        until_us = self._mono_us() + within_us
        told = self._try(within_us, 1)
        for tries, pause_s in enumerate(PAUSES_S, 2):
            left_us = until_us - self._mono_us() - int(pause_s * 1_000_000)
            if told.acknowledged_us or left_us <= 0:
                break
            time.sleep(pause_s)
            told = self._try(left_us, tries)
        return told

    def _try(self, within_us: int, tries: int) -> Told:
        about = self._about()
        answer = self._commands.run(self._settings.fence or (), self._settings, about, within_us)
        acknowledged_us = self._mono_us() if answer == 0 else 0
        why = "acknowledged" if answer == 0 else answer if isinstance(answer, str) else f"ended with {answer}"
        return Told(acknowledged_us, tries, int(about["epoch"]), why)


def _refuses(epoch: int) -> str:
    """What a resource acknowledges: where only this action was stopped, no epoch has moved."""
    return f"takes nothing more of it, and refuses what is below epoch {epoch}"
