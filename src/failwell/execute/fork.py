"""Forking a process that is born in a cgroup: clone3(2) with CLONE_INTO_CGROUP, where os.fork() cannot be told.

Moving a process that exists costs the kernel a grace period (10 ms and more), and leaves a moment outside. Standard
library only, and no neighbour. For a process with one thread only, as a supervisor is.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal

SYS_CLONE3 = 435
CLONE_INTO_CGROUP = 0x200000000
_ARGUMENTS = 11  # flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, .._size, cgroup

# With the interpreter's lock held: the child must find it in its own hands.
_held = ctypes.PyDLL(None, use_errno=True)
_held.syscall.restype = ctypes.c_long


def fork_into(cgroup: int | None) -> tuple[int, bool]:
    """As os.fork(), the child being in the cgroup whose directory is given; raises OSError in the parent.

    With the pid comes whether that is so: where the kernel, or what filters its calls, knows no clone3, the child
    must call `move_into` before anything else.
    """
    if cgroup is None:
        return os.fork(), True
    arguments = (ctypes.c_uint64 * _ARGUMENTS)()
    arguments[0], arguments[4], arguments[10] = CLONE_INTO_CGROUP, int(signal.SIGCHLD), cgroup
    ctypes.pythonapi.PyOS_BeforeFork()
    pid = int(_held.syscall(ctypes.c_long(SYS_CLONE3), ctypes.byref(arguments), ctypes.c_size_t(_ARGUMENTS * 8)))
    code = ctypes.get_errno() if pid < 0 else 0
    if pid == 0:
        ctypes.pythonapi.PyOS_AfterFork_Child()
        return 0, True
    ctypes.pythonapi.PyOS_AfterFork_Parent()
    if code in (errno.ENOSYS, errno.EPERM, errno.E2BIG):
        return os.fork(), False
    if pid < 0:
        raise OSError(code, f"it cannot be started in its cgroup: {os.strerror(code)}")
    return pid, True


def move_into(cgroup: int) -> None:
    """Move this process into the cgroup whose directory is given; raises OSError, and nothing may run then."""
    fd = os.open("cgroup.procs", os.O_WRONLY | os.O_CLOEXEC, dir_fd=cgroup)
    try:
        os.write(fd, b"0")
    except OSError as error:
        raise OSError(error.errno, f"it cannot enter its cgroup: {error.strerror}") from None
    finally:
        os.close(fd)
