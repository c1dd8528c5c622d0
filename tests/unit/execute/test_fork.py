"""Forking into a cgroup, also where the kernel, or what filters its calls, has no call for it."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import time
from collections.abc import Callable

import pytest

from failwell.execute import fork
from failwell.execute.cgroups import Cgroup, Unusable, cgroup_of, find_place
from failwell.execute.fork import fork_into, move_into


@pytest.fixture
def cgroup() -> Cgroup:
    try:
        made = cgroup_of(find_place(), os.getpid(), 1)
    except Unusable as error:
        pytest.skip(str(error))
    made.make(frozenset())
    return made


class Filtered:
    """A system-call filter that knows no clone3."""

    def __init__(self, code: int) -> None:
        self._code = code

    def syscall(self, *_: object) -> int:
        ctypes.set_errno(self._code)
        return -1


def in_child(start: Callable[[], tuple[int, bool]]) -> tuple[int, bool]:
    """Fork, end the child at once, and give its exit code and whether the parent was told that it is inside."""
    pid, inside = start()
    if pid == 0:
        os._exit(7 if inside else 8)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), inside


def test_without_a_cgroup_it_is_a_fork() -> None:
    assert in_child(lambda: fork_into(None)) == (7, True)


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.EPERM])
def test_where_the_call_is_refused_the_child_is_told_to_move_itself(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    monkeypatch.setattr(fork, "_held", Filtered(code))
    assert in_child(lambda: fork_into(0)) == (8, False)


@pytest.mark.parametrize("filtered", [False, True])
def test_the_child_is_in_the_cgroup_before_it_does_anything_else(
    monkeypatch: pytest.MonkeyPatch, cgroup: Cgroup, filtered: bool
) -> None:
    if filtered:
        monkeypatch.setattr(fork, "_held", Filtered(errno.ENOSYS))
    descriptor = cgroup.open()
    there, coming = os.pipe()
    pid, inside = fork_into(descriptor)
    if pid == 0:
        if not inside:
            move_into(descriptor)
        os.write(coming, b"x")
        time.sleep(20)
        os._exit(0)
    try:
        os.read(there, 1)
        assert inside is not filtered
        assert cgroup.members() == [pid]
        assert cgroup.kill()
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    finally:
        for end in (descriptor, there, coming):
            os.close(end)
        assert cgroup.await_empty()
        assert cgroup.remove()


def test_a_cgroup_that_takes_nobody_is_an_error_and_forks_nobody(cgroup: Cgroup) -> None:
    descriptor = cgroup.open()
    assert cgroup.remove()
    try:
        with pytest.raises(OSError, match="it cannot be started in its cgroup"):
            fork_into(descriptor)
        with pytest.raises(OSError, match="No such file"):
            move_into(descriptor)
    finally:
        os.close(descriptor)
