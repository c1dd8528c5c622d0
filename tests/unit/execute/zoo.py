"""Tools that resist being stopped, one function each; run as `python -I -S zoo.py NAME`.

Standard library only. Every one ends by itself within LIFETIME_S, whatever becomes of the test.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
import time

LIFETIME_S = 30
STORM = 200
SYS_EXIT, SYS_CLONE, CLONE_PARENT, CLONE_VFORK = 60, 56, 0x8000, 0x4000
CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWPID = 0x20000, 0x10000000, 0x20000000
PR_SET_CHILD_SUBREAPER, PTRACE_ATTACH = 36, 16


def _ignore_signals() -> None:
    for number in range(1, signal.NSIG):
        if number not in (signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD, 32, 33):
            signal.signal(number, signal.SIG_IGN)


def _sleep() -> None:
    time.sleep(LIFETIME_S)
    os._exit(0)


def _detach(clear_environment: bool = False) -> None:
    """Double-fork a grandchild into a session of its own; returns when it is there."""
    there, coming = os.pipe()
    middle = os.fork()
    if middle == 0:
        os.setsid()
        if os.fork() == 0:
            if clear_environment:
                os.execve(sys.executable, [sys.executable, "-I", "-S", __file__, "deaf"], {})  # closes `coming`
            os.close(coming)
            _sleep()
        os._exit(0)
    os.close(coming)
    os.read(there, 1)
    os.close(there)
    os.waitpid(middle, 0)


def deaf() -> None:
    _ignore_signals()
    _sleep()


def family() -> None:
    _ignore_signals()
    if os.fork() == 0:
        _sleep()
    _detach()
    _detach(clear_environment=True)
    _sleep()


def storm() -> None:
    """Fork as fast as can be, in all generations, up to STORM processes."""
    tokens, fill = os.pipe()
    os.write(fill, b"x" * STORM)
    os.set_blocking(tokens, False)
    while True:
        try:
            os.read(tokens, 1)
        except BlockingIOError:
            _sleep()
        if os.fork() == 0:
            os.setsid()


def runner() -> None:
    """Never be the same process twice: fork, let the parent die, at once again."""
    until = time.monotonic() + LIFETIME_S
    while time.monotonic() < until:
        if os.fork():
            os._exit(0)


def leaving_runner() -> None:
    """Leave a runner behind and keep standing."""
    if os.fork() == 0:
        runner()
    _sleep()


def kills_supervisor() -> None:
    supervisor = os.getppid()
    there, coming = os.pipe()
    if os.fork() == 0:
        _detach(clear_environment=True)
        os.write(coming, b"x")
        _sleep()
    os.read(there, 1)
    time.sleep(0.2)
    with contextlib.suppress(OSError):
        os.kill(supervisor, signal.SIGKILL)
    _sleep()


def stops_supervisor() -> None:
    """Stop the supervisor again and again."""
    supervisor = os.getppid()
    until = time.monotonic() + LIFETIME_S
    while time.monotonic() < until:
        try:
            os.kill(supervisor, signal.SIGSTOP)
        except OSError:
            time.sleep(1)


def stops_supervisor_once() -> None:
    os.kill(os.getppid(), signal.SIGSTOP)
    _sleep()


def wakes_others() -> None:
    """Send SIGCONT to the whole family without end, so that no freeze holds."""
    first = os.getpid()
    children = []
    for _ in range(3):
        pid = os.fork()
        if pid == 0:
            children = [first]
            break
        children.append(pid)
    until = time.monotonic() + LIFETIME_S
    while time.monotonic() < until:
        for pid in children:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGCONT)


def hides_as_zombie() -> None:
    """End the first thread alone: the process shows as a zombie, and its second thread goes on."""
    threading.Thread(target=_sleep).start()
    ctypes.CDLL(None).syscall(SYS_EXIT, 0)


def makes_sibling() -> None:
    """Give the supervisor a child that it did not start (clone with CLONE_PARENT)."""
    if ctypes.CDLL(None).syscall(SYS_CLONE, CLONE_PARENT | int(signal.SIGCHLD), 0, 0, 0, 0) == 0:
        os.setsid()
        _sleep()
    _sleep()


def closes_pipes() -> None:
    for fd in (0, 1, 2):
        os.close(fd)
    time.sleep(0.2)
    os._exit(7)


def loud() -> None:
    chunk = b"y" * 65536
    for _ in range(1024):
        os.write(1, chunk)
    os.write(2, b"e" * 20000 + b"the end")


def closes_pipes_and_stays() -> None:
    for fd in (0, 1, 2):
        os.close(fd)
    _sleep()


def floods() -> None:
    """Write without end, in both pipes, from a family of four."""
    os.fork()
    os.fork()
    chunk = b"z" * 262144
    until = time.monotonic() + LIFETIME_S
    while time.monotonic() < until:
        os.write(1, chunk)
        os.write(2, chunk[:4096])


def leaves_reader() -> None:
    """End at once, leaving a grandchild that holds standard output open."""
    os.write(1, b"done\n")
    _detach()


def never_reads() -> None:
    os.write(1, b"ok")


def echoes() -> None:
    while data := os.read(0, 65536):
        os.write(1, data)


def crashes() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


# -- that do not let themselves be cancelled -----------------------------------------------------------------------


def swallows_cancellation() -> None:
    """An asynchronous tool that catches what is to end it, and goes on."""
    import asyncio  # takes longer to load than all the others to start

    _ignore_signals()

    async def go_on() -> None:
        while True:
            with contextlib.suppress(asyncio.CancelledError, KeyboardInterrupt, SystemExit):
                await asyncio.sleep(LIFETIME_S)

    async def cancelled() -> None:
        task = asyncio.create_task(go_on())
        while True:
            await asyncio.sleep(0.01)
            task.cancel()

    asyncio.run(cancelled())


def sync_under_async() -> None:
    """A coroutine that never comes back to its loop, and a thread that outlives its cancelled future."""
    import asyncio

    async def blocked() -> None:
        asyncio.get_running_loop().run_in_executor(None, _sleep).cancel()
        time.sleep(LIFETIME_S)

    asyncio.run(blocked())


def threads() -> None:
    """Eight threads that compute without pause, two of which have children."""

    def work(forks: bool) -> None:
        if forks and os.fork() == 0:
            _sleep()
        while True:
            pass

    for number in range(8):
        threading.Thread(target=work, args=(number < 2,), daemon=True).start()
    _sleep()


def own_subreaper() -> None:
    """Take in its own orphans, so that they never come to the supervisor while it lives."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    _detach()
    _detach(clear_environment=True)
    _sleep()


# -- that wait in the kernel, or are held by somebody else -----------------------------------------------------------


def waits_in_vfork() -> None:
    """Wait in the kernel (D) for a child that never executes anything."""
    if ctypes.CDLL(None).syscall(SYS_CLONE, CLONE_VFORK | int(signal.SIGCHLD), 0, 0, 0, 0) == 0:
        _sleep()
    _sleep()


def reads_what_never_answers() -> None:
    """Wait in the kernel (D) for a file system whose server says nothing; a child stands beside."""
    if os.fork() == 0:
        _sleep()
    os.stat(sys.argv[2])


def own_namespaces() -> None:
    """Be root of a user namespace of its own, with mounts and pids of its own."""
    libc = ctypes.CDLL(None, use_errno=True)
    flags = CLONE_NEWUSER if os.geteuid() else 0
    if libc.unshare(flags | CLONE_NEWNS | CLONE_NEWPID) != 0:
        os._exit(3)
    if os.fork() == 0:  # process 1 of the pid namespace
        _ignore_signals()
        _detach(clear_environment=True)
        _sleep()
    _sleep()


def enters_namespace() -> None:
    """Enter the pid namespace of file argv[2] and fork twice: the grandchild is a child of that namespace's init."""
    fd = os.open(sys.argv[2], os.O_RDONLY)
    if ctypes.CDLL(None, use_errno=True).setns(fd, CLONE_NEWPID) != 0:
        os._exit(3)
    there, coming = os.pipe()
    if os.fork() == 0:
        if os.fork() == 0:
            os.setsid()
            os.write(coming, b"x")
            _sleep()
        os._exit(0)
    os.read(there, 1)
    os.wait()
    os.write(1, b"away\n")
    _sleep()


def traces_supervisor() -> None:
    """Take hold of the supervisor, so that it stands still for ever."""
    supervisor = os.getppid()
    held = ctypes.CDLL(None, use_errno=True).ptrace(PTRACE_ATTACH, supervisor, None, None)
    os.write(1, b"held\n" if held == 0 else b"refused\n")
    _sleep()


# -- that use cgroups themselves: argv[2] is where they are ----------------------------------------------------------


def _own_cgroup() -> str:
    with open("/proc/self/cgroup") as file:
        path = next(line[3:].strip() for line in file if line.startswith("0::"))
    return sys.argv[2] + path


def _move(pid: int, cgroup: str) -> None:
    with open(f"{cgroup}/cgroup.procs", "w") as file:
        file.write(str(pid))


def leaves_cgroup() -> None:
    """Move to the cgroup above, with a child that stays and one that comes along."""
    if os.fork() == 0:
        _sleep()
    _move(0, os.path.dirname(_own_cgroup()))
    if os.fork() == 0:
        _sleep()
    _sleep()


def builds_cgroups() -> None:
    """Make cgroups below its own, the last of them threaded, and have a child in each."""
    inside = _own_cgroup()
    there, coming = os.pipe()
    for number in range(4):
        inside = f"{inside}/{number}"
        os.mkdir(inside)
        if os.fork() == 0:
            _move(0, inside)
            os.write(coming, b"x")
            _sleep()
        os.read(there, 1)
    os.mkdir(f"{inside}/threaded")
    with open(f"{inside}/threaded/cgroup.type", "w") as file:
        file.write("threaded")
    _sleep()


def takes_supervisor_in() -> None:
    """Move its own supervisor into the cgroup that the supervisor is to stop."""
    _move(os.getppid(), _own_cgroup())
    os.write(1, b"in\n")
    _sleep()


if __name__ == "__main__":
    globals()[sys.argv[1]]()
