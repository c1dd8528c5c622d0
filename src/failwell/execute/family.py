"""Everything that runs for one launch, as its supervisor sees, stops and counts it: by descent, and by cgroup.

Standard library only, and few modules of it: the supervisor imports this file alone. It does not decide when to stop
and not what the end is worth.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
if TYPE_CHECKING or __package__:
    from failwell.execute.cgroups import Cgroup, cgroup_of
    from failwell.execute.processes import Stat, Sweep, find_descendants, read_stat, scan_processes, walk_descendants
else:
    from cgroups import Cgroup, cgroup_of
    from processes import Stat, Sweep, find_descendants, read_stat, scan_processes, walk_descendants

NAMES_LIMIT = 32
LARGE = 48
HURRIED = -15


class Family:
    """The processes below this one. `reap()` collects ended children, True when the kernel says that none is left."""

    def __init__(self, reap: Callable[[], bool]) -> None:
        self._reap = reap
        self._cgroup: Cgroup | None = None
        self._init: int | None = None
        self._sweep = Sweep(self._find, reap, self._glance)

    def prepare(self, place: str | None, node: int) -> int | None:
        """Make the cgroup in which the tool is to be started, and give its descriptor; raises OSError.

        None without a place. What was proved to work and does not is no reason to go on with less: nothing starts.
        """
        me = read_stat(os.getpid())
        if place is None or me is None:
            return None
        cgroup = cgroup_of(place, me.pid, me.start_ticks)
        try:
            cgroup.make(frozenset({me.pid, node}))
            self._cgroup = self._sweep.group = cgroup
            return cgroup.open()
        except OSError as error:
            raise OSError(error.errno, f"its cgroup cannot be made in {place}: {error.strerror}") from None

    def started(self, init: int | None) -> None:
        """Take note of the init of the tool's pid namespace, which is ours and not the tool's."""
        self._init = init

    def freeze(self) -> None:
        """Have all of it stand still."""
        _hurry()
        self._sweep.freeze()

    def stop(self, meanwhile: Callable[[bool], None]) -> bool:
        """See that nothing is left, or freeze, kill and confirm; True when nothing is left. `meanwhile` as in Sweep."""
        if self._reap() and (self._cgroup is None or self._cgroup.is_empty()):
            return True
        _hurry()
        return self._sweep.run(meanwhile)

    def leave(self) -> None:
        """Remove the cgroup; one that cannot be removed is found at the next start of a node."""
        if self._cgroup is not None:
            self._cgroup.remove()

    @property
    def took_us(self) -> int:
        """How long the sweep took, 0 where there was none."""
        return self._sweep.took_us

    @property
    def swept(self) -> list[Stat]:
        """What had to be stopped."""
        return [stat for stat in self._sweep.stopped.values() if stat.pid != self._init]

    @property
    def left(self) -> list[str]:
        """Who is still there, for a person."""
        return [_describe_left(stat) for stat in self._sweep.survivors[:NAMES_LIMIT]]

    def proof(self, clean: bool) -> str:
        """What shows that nothing is left."""
        if not clean:
            return "bound reached"
        shown = ["no child left to wait for"]
        if self.took_us:
            shown.append("process scan clean")
        if self._init is not None:
            shown.append("pid namespace ended")
        if self._cgroup is not None:
            shown.append("cgroup empty")
        return ", ".join(shown)

    def _find(self) -> list[Stat]:
        return find_descendants(scan_processes(), [os.getpid()])

    def _glance(self) -> list[Stat]:
        """The quicker of the two looks: going from child to child costs more for each than reading all there is."""
        return self._find() if len(self._sweep.stopped) > LARGE else walk_descendants(os.getpid())


def _hurry() -> None:
    """Go before others on the processor from now on, where this user may.

    Attack: a family that computes in a hundred processes leaves its supervisor no time to stop it.
    """
    try:
        os.setpriority(os.PRIO_PROCESS, 0, HURRIED)
    except OSError:
        return  # an ordinary user may not: it takes its turn like the others


def _describe_left(stat: Stat) -> str:
    """A dead process that is left is one that somebody else must collect first: its tracer (ptrace(2))."""
    if not stat.dead:
        return stat.describe()
    try:
        with open(f"/proc/{stat.pid}/status", "rb") as file:
            tracer = file.read().partition(b"TracerPid:")[2].split(maxsplit=1)[0].decode("ascii")
    except (OSError, IndexError):
        return stat.describe()
    return (
        f"{stat.describe()} (dead, and not yet collected by its tracer {tracer})" if tracer != "0" else stat.describe()
    )
