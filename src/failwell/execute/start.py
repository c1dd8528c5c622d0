"""Starting a tool from its supervisor: fork, session, pipes, limits, death signal, and where proven a pid namespace.

Linux only: prctl(2) PR_SET_PDEATHSIG and PR_SET_CHILD_SUBREAPER, pid_namespaces(7). Standard library only,
and few modules of it. Runs in the supervisor, which has one thread: a death signal follows the *thread* that
forked. It does not watch the tool and does not stop it.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import time

TYPE_CHECKING = False
if TYPE_CHECKING or __package__:
    from failwell.execute.fork import fork_into, move_into
    from failwell.execute.limits import Limits, apply_limits, read_limits
else:
    from fork import fork_into, move_into
    from limits import Limits, apply_limits, read_limits

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_CHILD_SUBREAPER = 36
CLONE_NEWNS = 0x00020000
CLONE_NEWPID = 0x20000000
MS_NOSUID_NODEV_NOEXEC = 2 | 4 | 8
MS_REC_SLAVE = 16384 | (1 << 19)
WALL = 0x40000000
PIPE_BYTES = 1024 * 1024
F_SETPIPE_SZ = 1031

_libc = ctypes.CDLL(None, use_errno=True)


def _call(name: str, result: int) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")


def _prctl(option: int, value: int) -> int:
    zero = ctypes.c_ulong(0)  # the kernel reads whole words, also where a C int would leave half of one unset
    return int(_libc.prctl(option, ctypes.c_ulong(value), zero, zero, zero))


def become_subreaper() -> None:
    """Make orphans among our descendants our children instead of init's; raises OSError."""
    _call("prctl(PR_SET_CHILD_SUBREAPER)", _prctl(PR_SET_CHILD_SUBREAPER, 1))


def die_with_parent() -> None:
    """Have the kernel kill this process when the thread that is its parent ends, also while it is stopped."""
    _call("prctl(PR_SET_PDEATHSIG)", _prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL)))


def outlive_parent() -> None:
    """Take that back."""
    _call("prctl(PR_SET_PDEATHSIG)", _prctl(PR_SET_PDEATHSIG, 0))


def become_opaque() -> None:
    """Let no other process of this user trace this one, read its memory or take its descriptors (prctl(2)).

    Attack: a tool traces its supervisor and has it say what it likes. Against root this is no help; a pid namespace is.
    """
    _call("prctl(PR_SET_DUMPABLE)", _prctl(PR_SET_DUMPABLE, 0))


def _mount_own_proc() -> None:
    """Give the namespace a /proc that shows its own pids, so that a tool finds itself there."""
    _call("unshare(CLONE_NEWNS)", _libc.unshare(CLONE_NEWNS))
    _call("mount(/, slave)", _libc.mount(b"none", b"/", None, ctypes.c_ulong(MS_REC_SLAVE), None))
    flags = ctypes.c_ulong(MS_NOSUID_NODEV_NOEXEC)
    _call("mount(/proc)", _libc.mount(b"proc", b"/proc", b"proc", flags, None))


class Started:
    """The supervisor's ends of a started tool; `pid` is our direct child, the init of a namespace if any.

    `refused` carries a message if the tool could not be executed, and ends empty when it was; `status` (only
    with a namespace) carries the tool's wait status.
    """

    __slots__ = ("errors", "output", "pid", "refused", "status", "stdin")

    def __init__(self, pid: int, stdin: int, output: int, errors: int, refused: int, status: int | None) -> None:
        self.pid = pid
        self.stdin = stdin
        self.output = output
        self.errors = errors
        self.refused = refused
        self.status = status


class _Pipes:
    """All pipes of one start; every end is close-on-exec, only the tool's three are copied to 0, 1 and 2.

    `stdio`: ends that somebody else holds the other ends of, and that are the tool's from here on; ours are -1 then.
    """

    def __init__(self, stdio: tuple[int, int] | None) -> None:
        self.stdin_w = self.output_r = -1
        if stdio is None:
            self.stdin_r, self.stdin_w = os.pipe()
            self.output_r, self.output_w = os.pipe()
        else:
            self.stdin_r, self.output_w = stdio
        self.errors_r, self.errors_w = os.pipe()
        self.refused_r, self.refused_w = os.pipe()
        self.status_r, self.status_w = os.pipe()
        # Closed by our death: how an init that was forked too late to get the death signal learns of it.
        self.alive_r, self.alive_w = os.pipe()

    def keep_ours(self) -> None:
        for fd in (self.stdin_r, self.output_w, self.errors_w, self.refused_w, self.status_w, self.alive_r):
            os.close(fd)
        for fd in (self.stdin_w, self.output_r, self.errors_r, self.refused_r, self.status_r):
            if fd >= 0:
                os.set_blocking(fd, False)


def start_tool(
    command: list[str],
    cwd: str | None,
    env: dict[str, str],
    *,
    limits: dict[str, object],
    namespace: bool,
    cgroup: int | None,
    stdio: tuple[int, int] | None = None,
) -> Started:
    """Start the tool in a session of its own, in the cgroup whose directory is given if any.

    `stdio` becomes its standard input and output, and is closed here. Raises OSError or ValueError when nothing was
    started.
    """
    bounds = read_limits(limits)
    pipes = _Pipes(stdio)
    if stdio is None:
        widen_pipe(pipes.output_r)
    supervisor = os.getpid()
    if namespace:
        _call("unshare(CLONE_NEWPID)", _libc.unshare(CLONE_NEWPID))
    pid, inside = fork_into(cgroup)
    if pid == 0:
        try:
            die_with_parent()
            if cgroup is not None and not inside:
                move_into(cgroup)
            if namespace:
                _be_init(pipes, command, cwd, env, bounds)
            elif os.getppid() == supervisor:
                _be_tool(pipes, command, cwd, env, bounds)
        except BaseException as error:  # noqa: BLE001 - a forked child must never return into our code
            _refuse(pipes.refused_w, describe_error(error))
        finally:
            os._exit(127)
    if namespace:
        _come_back()
    pipes.keep_ours()
    status = pipes.status_r if namespace else None
    if status is None:
        os.close(pipes.status_r)
    return Started(pid, pipes.stdin_w, pipes.output_r, pipes.errors_r, pipes.refused_r, status)


def _come_back() -> None:
    """Have what we start from now on be in our own pid namespace again: threads of ours cannot be elsewhere (clone(2)).

    Where it fails a snapshot lacks what only a thread may read, and says so.
    """
    own = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _libc.setns(own, CLONE_NEWPID)
    finally:
        os.close(own)


def widen_pipe(fd: int) -> None:
    """Let a pipe hold 1 MiB if the system lets us, so that a chatty tool needs fewer turns of ours."""
    import fcntl

    try:
        fcntl.fcntl(fd, F_SETPIPE_SZ, PIPE_BYTES)
    except OSError:
        return  # over the user's pipe quota: the default of 64 KiB is slower and as correct


def describe_error(error: BaseException) -> str:
    """Say what went wrong without the number that Python puts in front."""
    return str((isinstance(error, OSError) and error.strerror) or error)


def _refuse(fd: int, message: str) -> None:
    os.write(fd, (message or "could not be executed").encode("utf-8", "replace")[:2000])


def _be_tool(pipes: _Pipes, command: list[str], cwd: str | None, env: dict[str, str], limits: Limits) -> None:
    os.setsid()
    signal.set_wakeup_fd(-1)
    for number in (
        signal.SIGPIPE,
        signal.SIGXFSZ,
        signal.SIGTERM,
        signal.SIGCHLD,
        signal.SIGINT,
        signal.SIGHUP,
    ):
        signal.signal(number, signal.SIG_DFL)
    # dup2 onto 0, 1, 2 is safe: the supervisor's own 0, 1, 2 are open, so no pipe end can be one of them.
    os.dup2(pipes.stdin_r, 0)
    os.dup2(pipes.output_w, 1)
    os.dup2(pipes.errors_w, 2)
    try:
        if cwd is not None:
            os.chdir(cwd)
    except OSError as error:
        raise OSError(error.errno, f"cannot enter {cwd!r}: {error.strerror}") from None
    apply_limits(limits)  # last: they must hold for the tool, and not for how it is started
    try:
        os.execvpe(command[0], command, env)
    except OSError as error:
        raise OSError(error.errno, f"cannot execute {command[0]!r}: {error.strerror}") from None


def _be_init(pipes: _Pipes, command: list[str], cwd: str | None, env: dict[str, str], limits: Limits) -> None:
    """Be process 1 of the namespace: start the tool, reap, report its status, and live until killed."""
    os.close(pipes.alive_w)
    if select.select([pipes.alive_r], [], [], 0)[0]:
        return  # the supervisor died before the death signal was armed
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    _mount_own_proc()
    tool = os.fork()
    if tool == 0:
        die_with_parent()
        _be_tool(pipes, command, cwd, env, limits)
    # Keep only the status end: a held pipe end or control socket would hide that the others are gone.
    os.dup2(pipes.status_w, 3)
    os.closerange(4, 65536)
    while True:
        try:
            pid, status = os.waitpid(-1, WALL)
        except ChildProcessError:
            time.sleep(3600)
            continue
        if pid == tool:
            os.write(3, status.to_bytes(4, "big"))
