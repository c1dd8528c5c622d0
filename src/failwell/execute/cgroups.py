"""One cgroup (v2) for each launch: its processes are stopped, killed and counted as a whole by the kernel (cgroups(7)).

Added to the sweep, never instead of it: a tool that may write to cgroups moves itself out, and is then found by
descent; one that left our descent (setns(2) into a foreign pid namespace, and forked twice) is found in its cgroup.
A cgroup's name tells its supervisor and nothing else, so that those of dead supervisors are known for what they are.
Standard library only, and no neighbour: the supervisor imports this file alone. No controller is used; it limits
nothing.
"""

from __future__ import annotations

import os
import time

PREFIX = "failwell"
FROZEN_BOUND_S = 0.02
EMPTY_BOUND_S = 0.1
PAUSE_S = 0.0002
#: Attack: a tool makes cgroups without end inside its own, so that looking for its processes takes for ever.
LOOKED_AT = 256
_NEEDED = ("cgroup.freeze", "cgroup.kill", "cgroup.events", "cgroup.procs")


class Unusable(Exception):
    """Why no cgroup can be used here, for a person."""


def find_place() -> str:
    """Give the directory in which launches may have their cgroups: this process's own cgroup, proved to be usable.

    Raises Unusable. As an ordinary user there is one where it was delegated to this user (systemd: `Delegate=yes`).
    """
    own = _own_path()
    mounts = list(_mounts())
    if own is None or not mounts:
        raise Unusable("no cgroup v2 hierarchy is mounted")
    why = f"cgroup {own} lies outside of every mount of the hierarchy"
    for root, mount in mounts:
        if own != root and not own.startswith(root.rstrip("/") + "/"):
            continue
        place = os.path.normpath(f"{mount}/{own[len(root.rstrip('/')) :]}")
        try:
            prove(place)
        except Unusable as error:
            why = str(error)
        else:
            return place
    raise Unusable(why)


def prove(place: str) -> None:
    """Make a cgroup there, freeze, thaw, kill, see that it is empty, and remove it; raises Unusable."""
    probe = Cgroup(os.path.join(place, f"{PREFIX}-probe-{os.getpid()}-{os.urandom(4).hex()}"))
    try:
        # A process may be moved only by who may write to the cgroup above both (cgroups(7), delegation).
        if not os.access(os.path.join(place, "cgroup.procs"), os.W_OK):
            raise Unusable(f"this user may start no process in a cgroup below {place} (systemd: Delegate=yes)")
        os.mkdir(probe.path, 0o755)
    except OSError as error:
        raise Unusable(f"no cgroup can be made in {place}: {error.strerror} (systemd: Delegate=yes)") from None
    try:
        missing = [name for name in _NEEDED if not os.path.exists(os.path.join(probe.path, name))]
        if missing:
            raise Unusable(f"the kernel offers no {', '.join(missing)} (Linux 5.14 has all)")
        if not (probe.freeze() and probe.await_frozen() and probe.thaw() and probe.kill() and probe.await_empty()):
            raise Unusable(f"a cgroup in {place} could not be frozen and killed")
    finally:
        removed = probe.remove()
    if not removed:
        raise Unusable(f"a cgroup in {place} could not be removed")


def cgroup_of(place: str, pid: int, start_ticks: int) -> Cgroup:
    """The cgroup of the launch of one supervisor, whether it exists or not."""
    return Cgroup(os.path.join(place, f"{PREFIX}-{_pid_namespace()}-{pid}-{start_ticks}"))


def supervised(place: str) -> list[tuple[Cgroup, int, int]]:
    """The cgroups of launches there, each with its supervisor (pid and start time); only of our own pid namespace.

    Attack: in another container the same pid is somebody else; by our pids its supervisors would look dead.
    """
    found = []
    ours = f"{PREFIX}-{_pid_namespace()}-"
    try:
        names = sorted(os.listdir(place))
    except OSError:
        return []
    for name in names:
        pid, _, ticks = name.removeprefix(ours).partition("-")
        if name.startswith(ours) and pid.isdigit() and ticks.isdigit():
            found.append((Cgroup(os.path.join(place, name)), int(pid), int(ticks)))
    return found


class Cgroup:
    """One cgroup by its directory. Nothing here raises but `make` and `open`: what did not work is said by False."""

    __slots__ = ("path", "spared")

    def __init__(self, path: str, spared: frozenset[int] = frozenset()) -> None:
        self.path = path
        self.spared = spared

    def make(self, spared: frozenset[int]) -> None:
        """Make it, for a launch that must not take the given processes with it; raises OSError."""
        self.spared = spared
        os.mkdir(self.path, 0o755)

    def open(self) -> int:
        """Open its directory, for a process to be started in it; raises OSError."""
        return os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def freeze(self) -> bool:
        """Order all of it to stand still; not awaited.

        Attack: a tool moves its own supervisor, or the node, into its cgroup, so that they stop themselves.
        """
        return self._is_only_theirs() and self._write("cgroup.freeze", b"1")

    def thaw(self) -> bool:
        """Let it go on."""
        return self._write("cgroup.freeze", b"0")

    def await_frozen(self) -> bool:
        """Wait, bounded, until the kernel says that nothing in it runs: False while one waits in the kernel (D)."""
        return self._await(b"frozen 1", FROZEN_BOUND_S)

    def kill(self) -> bool:
        """SIGKILL all of it at once, whatever forks meanwhile; not where it holds those that it must spare."""
        return self._is_only_theirs() and self._write("cgroup.kill", b"1")

    def await_empty(self) -> bool:
        """Wait, bounded, until the kernel says that nothing lives in it nor below it."""
        return self._await(b"populated 0", EMPTY_BOUND_S)

    def is_empty(self) -> bool:
        """Whether the kernel says so now; also where it does not exist any more."""
        self._is_only_theirs()
        return not os.path.isdir(self.path) or b"populated 0" in self._read("cgroup.events").splitlines()

    def members(self) -> list[int]:
        """The processes in it and below it, as far as one look goes; without those to be spared."""
        return [pid for pid in self._listed() if pid not in self.spared]

    def remove(self) -> bool:
        """Remove it with what a tool has made below it; False while somebody lives there, or there is too much."""
        for directory in reversed(self._below()):
            try:
                os.rmdir(directory)
            except OSError:
                break
        return not os.path.isdir(self.path)

    def _is_only_theirs(self) -> bool:
        """Take those who must be spared out again, to the cgroup above; whether none of them is in it now."""
        inside = self.spared.intersection(self._listed())
        for pid in inside:
            _write_bytes(os.path.join(os.path.dirname(self.path), "cgroup.procs"), b"%d" % pid)
        return not inside or not self.spared.intersection(self._listed())

    def _listed(self) -> list[int]:
        found = []
        for directory in self._below():
            found += [int(pid) for pid in _read_bytes(os.path.join(directory, "cgroup.procs")).split() if pid != b"0"]
        return found

    def _below(self) -> list[str]:
        """Its directory and those in it, outermost first, up to a bound."""
        found = [self.path]
        for directory in found:
            try:
                with os.scandir(directory) as entries:
                    for entry in entries:
                        if len(found) >= LOOKED_AT:
                            return found
                        if entry.is_dir(follow_symlinks=False):
                            found.append(entry.path)
            except OSError:
                continue
        return found

    def _await(self, line: bytes, bound_s: float) -> bool:
        # The kernel tells of changes at most every 10 ms (kernfs), so looking is quicker than being told.
        until = time.monotonic() + bound_s
        while line not in self._read("cgroup.events").splitlines():
            if time.monotonic() > until:
                return False
            time.sleep(PAUSE_S)
        return True

    def _read(self, name: str) -> bytes:
        return _read_bytes(os.path.join(self.path, name))

    def _write(self, name: str, data: bytes) -> bool:
        return _write_bytes(os.path.join(self.path, name), data)


def _own_path() -> str | None:
    for line in _read_bytes("/proc/self/cgroup").decode("utf-8", "surrogateescape").splitlines():
        if line.startswith("0::"):
            return line[3:]
    return None


def _mounts() -> list[tuple[str, str]]:
    """The mounted roots of the hierarchy and where they are mounted (proc(5), mountinfo)."""
    found = []
    for line in _read_bytes("/proc/self/mountinfo").decode("utf-8", "surrogateescape").splitlines():
        before, _, after = line.partition(" - ")
        fields = before.split()
        if after.split()[:1] == ["cgroup2"] and len(fields) > 4:
            found.append((_unescape(fields[3]), _unescape(fields[4])))
    return found


def _unescape(text: str) -> str:
    for code in ("040", "011", "012", "134"):
        text = text.replace("\\" + code, chr(int(code, 8)))
    return text


def _pid_namespace() -> int:
    return os.stat("/proc/self/ns/pid").st_ino


def _read_bytes(path: str) -> bytes:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        found = b""
        while data := os.read(fd, 65536):
            found += data
        return found
    except OSError:
        return b""
    finally:
        os.close(fd)


def _write_bytes(path: str, data: bytes) -> bool:
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        os.write(fd, data)
    except OSError:
        return False  # a threaded cgroup, into which a tool can turn its own, takes no kill
    finally:
        os.close(fd)
    return True
