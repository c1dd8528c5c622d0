"""What a supervisor may say of its launch, from what is proved and nothing else (pure).

Standard library only, and few modules of it: the supervisor imports this file alone.
"""

from __future__ import annotations

import os
import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
if TYPE_CHECKING or __package__:
    from failwell.execute.limits import explain_signal
else:
    from limits import explain_signal

TAIL_BYTES = 1024
PASS_EVERY_US = 5_000
"""How often what a tool writes is told on its way, at most."""


class Facts:
    """What the supervisor knows when nothing more can be done.

    `reason` is why it had to stop the tool (None: it had not to), `refused` why the tool was never executed,
    `status` the tool's wait status as far as known, `alone` whether that was known before anything was
    stopped, `clean` whether the kernel said that no child is left, `left` who is still there, `limits` what each of
    its processes could take of the machine.
    """

    __slots__ = ("alone", "clean", "left", "limits", "reason", "refused", "status")

    def __init__(
        self,
        *,
        reason: str | None,
        refused: str | None,
        status: int | None,
        alone: bool,
        clean: bool,
        left: list[str],
        limits: dict[str, object],
    ) -> None:
        self.reason = reason
        self.refused = refused
        self.status = status
        self.alone = alone
        self.clean = clean
        self.left = left
        self.limits = limits


def judge_end(facts: Facts) -> tuple[str, str | None]:
    """Name the state and why."""
    if not facts.clean:
        left = ", ".join(facts.left) or "children that cannot be seen"
        return "interrupted_unconfirmed", f"{facts.reason or 'left behind by the tool'}; still there: {left}"
    if facts.refused is not None:
        return "blocked", facts.refused
    if facts.status is None:
        return "interrupted_confirmed", facts.reason
    code = os.waitstatus_to_exitcode(facts.status)
    if facts.reason is not None:
        by_itself = facts.alone or code != -signal.SIGKILL
        return ("completed_after_interrupt" if by_itself else "interrupted_confirmed"), facts.reason
    if code == 0:
        return "completed", None
    return "failed", explain_signal(-code, facts.limits) if code < 0 else f"exit code {code}"


def split_status(status: int | None) -> tuple[int | None, int | None]:
    """Give (exit code, signal) of a wait status; both None where it is not known."""
    if status is None:
        return None, None
    code = os.waitstatus_to_exitcode(status)
    return (code, None) if code >= 0 else (None, -code)


class Captured:
    """What the tool wrote: the head of its output, and the tail of it and of its errors; the rest is read and dropped.

    `tail` is for the snapshot of a tool that is stopped: the last that it said is most of what there is to see.
    """

    def __init__(
        self, output_cap_bytes: int, errors_tail_bytes: int, told: Callable[[bytes], None] | None = None
    ) -> None:  # fmt: skip
        """`told`: who is given the output on its way, as much of it as is kept."""
        self.output = bytearray()
        self.errors = bytearray()
        self.tail = b""
        self.truncated = False
        self._output_cap = output_cap_bytes
        self._errors_tail = errors_tail_bytes
        self._told = told
        self._passed = 0
        self._next_us = 0

    def add_output(self, data: bytes) -> None:
        """Take bytes of standard output."""
        room = self._output_cap - len(self.output)
        self.output += data[:room]
        self.truncated = self.truncated or len(data) > room
        self.tail = (self.tail + data[-TAIL_BYTES:])[-TAIL_BYTES:]

    def add_errors(self, data: bytes) -> None:
        """Take bytes of standard error."""
        self.errors += data
        del self.errors[: -self._errors_tail]

    def pass_on(self, now_us: int) -> int | None:
        """Tell what was written since; gives when to ask again, None where nothing waits.

        Attack: a tool that writes byte by byte, each of which would be a message to a node that has orders to carry.
        """
        if self._told is None or self._passed == len(self.output):
            return None
        if now_us < self._next_us:
            return self._next_us
        self._next_us = now_us + PASS_EVERY_US
        data = bytes(self.output[self._passed :])
        self._passed = len(self.output)
        self._told(data)
        return None
