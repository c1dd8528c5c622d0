"""What the node asks of whatever runs a tool so that it can be stopped: one Protocol and its frozen values.

Implements nothing; `failwell.execute` does. It does not decide whether an action may start (gate), what an
outcome means for limits or authority (core), and it never retries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal, Protocol

State = Literal[
    "completed",
    "failed",
    "blocked",
    "interrupted_confirmed",
    "interrupted_unconfirmed",
    "completed_after_interrupt",
    "unknown",
]
"""How a launch came to its end.

`blocked` is said only where it is proved that the tool's first instruction never ran; `interrupted_confirmed`
only where it is proved that nothing of the tool is alive; `completed_after_interrupt` where the tool had
ended by itself (see `exit_code`) when the order reached it.
"""

MARKER_VARIABLE = "FAILWELL_ACTION"
"""Environment variable with `Launch.marker`, by which leftovers are found when everything else died."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """One tool to start: `env` is its whole environment, `deadline_us` the time allowed from its start.

    `limits`: setrlimit(2) names in lower case without RLIMIT_ (`cpu`, `as`, `fsize`, `nofile`) -> value, for each of
    its processes. `scopes`: names under which a stop without the node finds it, beside its agent (D2).
    `stdio`: descriptors that become its standard input and output in place of `stdin` and what is captured; whoever
    launches it closes them after. `session`: not a process of its own, but a call of the tool server whose session
    this is (`node.upstreams`). `heard` is given its output on its way, as much of it as is kept, by the executor's own
    thread, and must not wait; the end has the whole of it all the same. `progress` is told how far a call is, of how
    much, and what its server says of that.
    """

    action: int
    agent: str
    tool: str
    command: tuple[str, ...]
    cwd: str | None
    env: dict[str, str] = field(repr=False)
    stdin: bytes = field(repr=False)
    deadline_us: int | None
    output_cap_bytes: int
    marker: str
    limits: dict[str, int] = field(default_factory=dict)
    scopes: tuple[str, ...] = ()
    stdio: tuple[int, int] | None = None
    session: str | None = None
    heard: Callable[[bytes], None] | None = field(default=None, repr=False, compare=False)
    progress: Callable[[float, float | None, str | None], None] | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Process:
    """One process for ever: a pid may be reused, a pid with its start time (clock ticks since boot) not."""

    pid: int
    start_ticks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """What came of one launch; times are CLOCK_BOOTTIME microseconds, `swept` counts processes stopped.

    `proven_by` says what shows the state, `why` what brought it about (None for a plain completion).
    `snapshot` is canonical JSON of what stood still before it was killed (None: it ended by itself, or was not seen):
    its processes, their open files and names of environment variables, and whatever could not be taken in time.
    `output` is the tool's standard output up to the cap (`truncated` says if there was more), `errors` the
    tail of its standard error.
    """

    action: int
    state: State
    exit_code: int | None
    signal: int | None
    output: bytes = field(repr=False)
    truncated: bool
    errors: bytes = field(repr=False)
    started_us: int
    ended_us: int
    swept: int
    proven_by: str
    why: str | None
    sweep_us: int
    snapshot: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfTest:
    """What was shown with real processes about stopping tools here: at a start, or at intervals after it.

    `rollback`: "confirmed" where a transaction that was killed half-way left nothing, else why not.
    """

    interrupt: str
    interrupt_us: int
    interrupt_processes: int
    node_killed: str
    node_killed_us: int
    node_killed_processes: int
    pid_namespace: bool
    pid_namespace_why: str | None
    elapsed_us: int
    cgroup: bool = False
    cgroup_why: str | None = "not tested"
    standby: bool = False
    standby_why: str | None = "not tested"
    rollback: str = "not tested"
    cpu_us: int = 0

    @property
    def passed(self) -> bool:
        """Whether both an order and the node's death were shown to stop every process of a resisting tool."""
        return self.interrupt == "confirmed" and self.node_killed == "confirmed"

    def as_record(self) -> dict[str, dict[str, str | int | bool | None]]:
        """Give the result as plain data of the canonical JSON profile, for the `node.started` entry."""
        return {
            "kill": {
                "passed": self.passed,
                "interrupt": self.interrupt,
                "interrupt_us": self.interrupt_us,
                "interrupt_processes": self.interrupt_processes,
                "node_killed": self.node_killed,
                "node_killed_us": self.node_killed_us,
                "node_killed_processes": self.node_killed_processes,
                "pid_namespace": self.pid_namespace,
                "pid_namespace_why": self.pid_namespace_why,
                "cgroup": self.cgroup,
                "cgroup_why": self.cgroup_why,
                "standby": self.standby,
                "standby_why": self.standby_why,
                "rollback": self.rollback,
                "elapsed_us": self.elapsed_us,
            }
        }


class Executor(Protocol):
    """Starts tools and stops them without their cooperation."""

    def launch(self, launch: Launch, ended: Callable[[Ended], None]) -> Process:
        """Start one tool; `ended` is called exactly once, from the executor's own thread.

        Raises a FailwellError when nothing was started (the outcome is then `blocked`, and `ended` is not
        called).
        """

    def freeze(self, actions: Iterable[int]) -> None:
        """Send (not awaited) the order to stop these actions where they stand; others are ignored."""

    def interrupt(self, action: int) -> None:
        """Order one action to be killed; what came of it arrives through its `ended`."""

    def running(self) -> dict[int, Process]:
        """Give the actions whose `ended` has not been called yet."""

    def self_test(self) -> SelfTest:
        """Show with real processes whether stopping works on this machine (takes about a second)."""

    def close(self) -> None:
        """Kill what still runs, report it through `ended`, and end the executor's thread."""
