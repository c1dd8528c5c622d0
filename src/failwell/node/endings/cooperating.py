"""`cooperative`: the caller runs the action itself. It can be asked to stop, and what it says of that proves nothing.

Asked by an order, at the action's deadline, or not at all; without an answer in time the stop is unconfirmed, and with
one it is too. What proves it is seen from outside: the calling process has ended, and nothing that it started is left
(`execute.callers`). Of what a contract calls `unstoppable` that would prove nothing either.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import msgspec

from failwell.core.errors import Refused
from failwell.execute.callers import Caller
from failwell.gate.outcomes import MAX_RESULT_BYTES, Settlement
from failwell.node.endings.later import Afterwards
from failwell.node.endings.recording import Recorder
from failwell.node.endings.statement import Proof, Shown, unconfirmed
from failwell.node.fence import Fence, Running
from failwell.node.timers import Timers

#: How long a caller may take to say that it stopped before that is declared unconfirmed.
GRACE_S = 1.0
#: From one look at a caller that was to stop to the next: growing, for a day.
LOOKS_S, LONGEST_S, WATCHED_S = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0), 30.0, 86_400.0
DEADLINE = "deadline"
#: What a caller may say of its action's end, and what that is worth after a stop.
_WORTH = {
    "completed": "only its own process says that it completed",
    "failed": "only its own process says that it stopped",
    "interrupted": "only its own process says that it stopped",
    "running": "its own process says that it could not stop it",
}
SAID = tuple(_WORTH)


@dataclass(frozen=True, slots=True)
class Begun:
    """One action that its caller runs: `caller` its process, or why that cannot be watched; `elsewhere` how a stop of
    what goes on elsewhere may be shown (None: this is not of that class).
    """

    executor: str
    caller: Caller | str
    output_cap_bytes: int
    deadline_us: int | None = None
    elsewhere: Callable[[], tuple[str, Proof | None]] | None = None


class Cooperating:
    """The actions that callers run. Methods are called by the door, `ask` by whoever orders a stop."""

    def __init__(self, fence: Fence, recorder: Recorder, timers: Timers, later: Afterwards,
                 mono_us: Callable[[], int]) -> None:  # fmt: skip
        self._fence = fence
        self._recorder = recorder
        self._timers = timers
        self._later = later
        self._mono_us = mono_us
        self._lock = threading.Lock()
        self._begun: dict[int, Begun] = {}

    def begin(self, running: Running, begun: Begun, tell: Callable[[int], None]) -> None:
        """An action runs at its caller, which `tell` asks to stop."""
        action = running.action
        with self._lock:
            self._begun[action] = begun
        self._fence.attach(running, lambda: self._ask(action, tell))
        if begun.deadline_us is not None:
            self._timers.after(begun.deadline_us / 1_000_000, lambda: self._over(action))

    def _over(self, action: int) -> None:
        """Its deadline: the same as an order, to this one action."""
        with self._lock:
            runs = action in self._begun
        if runs:
            self._fence.interrupt((action,), DEADLINE)

    def _ask(self, action: int, tell: Callable[[int], None]) -> None:
        """Ask, and do not believe: without an answer in time the stop is unconfirmed (D28)."""
        tell(action)
        self._timers.after(GRACE_S, lambda: self._unanswered(action))

    def _unanswered(self, action: int) -> None:
        running = self._fence.take(action)
        if running is not None:
            self._unproven(running, "its process did not say that it stopped", "gate")

    def settle(self, settlement: Settlement) -> Future[Any]:
        """The caller's word on how its action ended; after an order to stop it proves nothing of what still runs."""
        action = settlement.decision
        running = self._fence.take(action)
        if running is None or not running.by_caller:
            raise Refused(f"action {action} is not executed by this caller", code="not-open")
        settlement = self._cut(settlement)
        worth = _WORTH[settlement.state]
        if running.ordered:
            state = "completed_after_interrupt" if settlement.state == "completed" else "interrupted_unconfirmed"
            return self._unproven(running, worth, "agent", _with_state(settlement, state))
        # Nobody ordered a stop: how far it came is not known.
        state = settlement.state if settlement.state in ("completed", "failed") else "unknown"
        return self._ended(running, worth, _with_state(settlement, state))

    def lost(self, action: int, why: str) -> None:
        """The caller that executed an action is gone: what came of it is unknown, or unconfirmed if it was to stop."""
        running = self._fence.take(action)
        if running is None:
            return
        if running.ordered:
            self._unproven(running, why, "gate")
        else:
            self._ended(running, why, Settlement(decision=action, state="unknown", by="gate", why=why))

    # -- on record ---------------------------------------------------------------------------------------------

    def _unproven(self, running: Running, why: str, by: str, settlement: Settlement | None = None) -> Future[Any]:
        """It was to stop, and nothing shows that it did; whatever may show it is looked for from now on."""
        action, begun = running.action, self._forget(running.action)
        told, proof = _shown_by(begun, self._mono_us)
        why = f"{why}; {told}" if told else why
        settlement = settlement or Settlement(
            decision=action, state="interrupted_unconfirmed", by=by, why=why
        )  # fmt: skip
        recorded = self._recorder.end(unconfirmed(action, why), settlement, _method(running), stopped=True)
        self._later.add(action, proof)
        return recorded

    def _ended(self, running: Running, why: str, settlement: Settlement) -> Future[Any]:
        """It ended without an order; one that comes while that is on its way to the record finds nothing proven."""
        action, begun = running.action, self._forget(running.action)
        told, proof = _shown_by(begun, self._mono_us)
        said = unconfirmed(action, f"{why}; {told}" if told else why)

        def overtaken() -> tuple[Any, Settlement]:
            self._later.add(action, proof)
            return said, settlement

        return self._recorder.end(said, settlement, _method(running), overtaken=overtaken)

    def _forget(self, action: int) -> Begun | None:
        with self._lock:
            return self._begun.pop(action, None)

    def _cut(self, settlement: Settlement) -> Settlement:
        """A caller's result, like a tool's output, is kept up to the cap."""
        with self._lock:
            begun = self._begun.get(settlement.decision)
        cap = MAX_RESULT_BYTES if begun is None else begun.output_cap_bytes
        if settlement.result is None or len(settlement.result) <= cap:
            return settlement
        return msgspec.structs.replace(settlement, result=settlement.result[:cap], truncated=True)


def _method(running: Running) -> str:
    return f"{running.executor}: asked, {running.method}" if running.ordered else f"{running.executor}: asked"


def _with_state(settlement: Settlement, state: str) -> Settlement:
    return msgspec.structs.replace(settlement, state=state)


def _shown_by(begun: Begun | None, mono_us: Callable[[], int]) -> tuple[str, Proof | None]:
    """What is to be said of a stop besides, and how it may be shown."""
    if begun is None:
        return "", None
    if begun.elsewhere is not None:
        return begun.elsewhere()
    if isinstance(begun.caller, str):
        return f"it cannot be proven later: {begun.caller}", None
    return "", Proof(_watching(begun.caller, mono_us), _pauses_s())


def _watching(caller: Caller, mono_us: Callable[[], int]) -> Callable[[], Shown | str]:
    def look() -> Shown | str:
        left = caller.left()
        if left is not None:
            return left
        return Shown(
            f"its caller, process {caller.pid}, has ended, and nothing that it may have started is left", mono_us()
        )  # fmt: skip

    return look


def _pauses_s() -> Iterator[float]:
    yield from LOOKS_S
    pause_s, waited_s = LOOKS_S[-1], sum(LOOKS_S)
    while waited_s < WATCHED_S:
        pause_s = min(pause_s * 1.5, LONGEST_S)
        waited_s += pause_s
        yield pause_s
