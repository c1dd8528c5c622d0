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
SYS_EXIT, SYS_CLONE, CLONE_PARENT = 60, 56, 0x8000


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


if __name__ == "__main__":
    globals()[sys.argv[1]]()
