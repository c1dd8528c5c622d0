"""Finding a place for cgroups, and saying why there is none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from failwell.execute import cgroups
from failwell.execute.cgroups import Cgroup, Unusable, cgroup_of, find_place, prove, supervised
from failwell.execute.processes import read_stat

HYBRID = "38 31 0:37 / /sys/fs/cgroup/freezer rw - cgroup cgroup rw,freezer\n41 31 0:38 / /sys/fs/cgroup/unified rw - "
SERVICE = "0::/system.slice/failwell.service\n"


def told(monkeypatch: pytest.MonkeyPatch, own: str, mounts: str) -> None:
    """Have /proc say this of us, and take every place for usable."""
    said = {"/proc/self/cgroup": own, "/proc/self/mountinfo": mounts}
    monkeypatch.setattr(cgroups, "_read_bytes", lambda path: said[path].encode())
    monkeypatch.setattr(cgroups, "prove", lambda place: None)


@pytest.mark.parametrize(
    ("own", "mounts", "place"),
    [
        ("9:name=systemd:/x\n0::/\n", HYBRID + "cgroup2 cgroup2 rw\n", "/sys/fs/cgroup/unified"),
        (SERVICE, "30 23 0:26 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw\n",
         "/sys/fs/cgroup/system.slice/failwell.service"),
        (SERVICE, "30 23 0:26 /system.slice /mnt/of\\040slices rw - cgroup2 none rw\n",
         "/mnt/of slices/failwell.service"),
        (SERVICE, "30 23 0:26 /user.slice /mnt/a rw - cgroup2 none rw\n30 23 0:26 / /mnt/b rw - cgroup2 none rw\n",
         "/mnt/b/system.slice/failwell.service"),
    ],
)  # fmt: skip
def test_the_place_is_our_own_cgroup_wherever_the_hierarchy_is_mounted(
    monkeypatch: pytest.MonkeyPatch, own: str, mounts: str, place: str
) -> None:
    told(monkeypatch, own, mounts)
    assert find_place() == place


@pytest.mark.parametrize(
    ("own", "mounts", "why"),
    [
        ("9:freezer:/\n", HYBRID + "cgroup2 cgroup2 rw\n", "no cgroup v2 hierarchy is mounted"),
        (SERVICE, "38 31 0:37 / /sys/fs/cgroup/freezer rw - cgroup cgroup rw,freezer\n", "no cgroup v2 hierarchy"),
        (SERVICE, "30 23 0:26 /system.sli /mnt rw - cgroup2 none rw\n", "lies outside of every mount"),
    ],
)
def test_where_there_is_none_it_is_said_why(monkeypatch: pytest.MonkeyPatch, own: str, mounts: str, why: str) -> None:
    told(monkeypatch, own, mounts)
    with pytest.raises(Unusable, match=why):
        find_place()


def test_a_directory_that_is_no_cgroup_proves_nothing_and_is_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "cgroup.procs").write_text("")
    with pytest.raises(Unusable, match=r"offers no cgroup\.freeze, cgroup\.kill"):
        prove(str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["cgroup.procs"]


def test_the_name_of_a_cgroup_leads_to_its_supervisor_and_to_none_of_another_pid_namespace(tmp_path: Path) -> None:
    own = cgroup_of(str(tmp_path), 17, 4711)
    own.make(frozenset())
    for name in ("failwell-1-17-4711", "failwell-probe-17", "failwell-17", "other", f"{own.path}-1"):
        (tmp_path / name).mkdir()
    assert [(found.path, pid, ticks) for found, pid, ticks in supervised(str(tmp_path))] == [(own.path, 17, 4711)]
    assert supervised(str(tmp_path / "absent")) == []


def test_one_that_is_not_there_is_empty_and_does_nothing() -> None:
    absent = Cgroup("/sys/fs/cgroup/failwell-absent")
    assert absent.is_empty()
    assert absent.remove()
    assert not absent.freeze()
    assert not absent.kill()
    assert absent.members() == []


@pytest.fixture
def real() -> Cgroup:
    """A real one of our own, where this user may have one."""
    me = read_stat(os.getpid())
    assert me is not None
    try:
        place = find_place()
    except Unusable as error:
        pytest.skip(str(error))
    cgroup = cgroup_of(place, me.pid, me.start_ticks)
    cgroup.make(frozenset({me.pid}))
    return cgroup


def test_a_real_one_is_frozen_without_anybody_in_it_killed_and_removed_with_what_is_below(real: Cgroup) -> None:
    os.makedirs(os.path.join(real.path, "a", "b"))
    try:
        assert real.is_empty()
        assert real.freeze()
        assert real.await_frozen()
        assert real.kill()
        assert real.await_empty()
    finally:
        assert real.remove()
    assert not os.path.exists(real.path)
