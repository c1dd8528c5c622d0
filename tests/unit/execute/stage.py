"""Where the executor's tests play: node processes of each kind, the tools of the zoo, and looks into /proc.

What is alive is always read from /proc by the test itself, never taken from what the executor says.
"""

from __future__ import annotations

import base64
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import failwell
from failwell.execute.cgroups import Cgroup, Unusable, find_place, supervised
from failwell.execute.orphans import read_marker
from failwell.execute.processes import Stat, find_descendants, scan_processes

HERE = Path(__file__).parent
NOBODY = 65534
PATIENCE_S = 12.0
KINDS = ("sweep", "namespace", "nobody")
#: `both`: namespace and cgroup. `delegated`: nobody in a cgroup of its own, as systemd gives one to a service.
ALL_KINDS = (*KINDS, "cgroup", "both", "delegated")
#: With all that there is and with nothing, as root and not.
EXTREMES = ("sweep", "both", "nobody", "delegated")
IN_NAMESPACE, IN_CGROUP, AS_NOBODY = ("namespace", "both"), ("cgroup", "both", "delegated"), ("nobody", "delegated")
#: Become another user within a cgroup: a process can enter it only while it is root.
DELEGATED = (
    "import os, sys; open(sys.argv[1] + '/cgroup.procs', 'w').write('0');"
    "os.setgroups([]); os.setgid(int(sys.argv[2])); os.setuid(int(sys.argv[2])); os.execv(sys.argv[3], sys.argv[3:])"
)


def can_make_namespaces() -> bool:
    return subprocess.run(["unshare", "--pid", "--fork", "true"], capture_output=True, check=False).returncode == 0


def cgroup_place() -> str | None:
    """Where this process may make cgroups, if anywhere."""
    try:
        return find_place()
    except Unusable:
        return None


def runs_as_nobody(interpreter: str) -> bool:
    code = "import sys; sys.exit(sys.version_info < (3, 11))"
    try:
        done = subprocess.run(
            [interpreter, "-I", "-S", "-c", code],
            user=NOBODY,
            group=NOBODY,
            extra_groups=[],
            cwd="/",
            check=False,
        )
    except OSError:
        return False
    return done.returncode == 0


class Stage:
    """A directory that every user may enter, with the product's source and the zoo in it."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="failwell-stage-"))
        self.directory.chmod(0o755)
        source = Path(failwell.__file__).parent
        shutil.copytree(source, self.directory / "src" / "failwell", ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("zoo.py", "node_process.py"):
            shutil.copy(HERE / name, self.directory / name)
        self._count = 0
        self._nodes: list[Node] = []
        self._cgroups: list[Cgroup] = []

    def close(self) -> None:
        for node in self._nodes:
            node.end()
        for cgroup in self._cgroups:
            cgroup.kill()
            cgroup.await_empty()
            assert cgroup.remove(), f"{cgroup.path} stays"
        shutil.rmtree(self.directory, ignore_errors=True)

    def node(self, kind: str, *, owns_children: bool = False, directory: Path | None = None, marker: str = "") -> Node:
        """Start a node of a kind: sweep alone, with a pid namespace, a cgroup, or both, or as an ordinary user."""
        if kind in IN_NAMESPACE and not can_make_namespaces():
            pytest.skip("no pid namespaces for this user")
        if kind in IN_CGROUP and cgroup_place() is None:
            pytest.skip("no place for cgroups of this user")
        interpreter = sys.executable
        if kind in AS_NOBODY:
            if os.geteuid() != 0:
                pytest.skip("only root can become another user; the other kinds run as an ordinary user here")
            usable = [path for path in (sys.executable, "/usr/bin/python3") if runs_as_nobody(path)]
            if not usable:
                pytest.skip("no Python 3.11 that another user may run")
            interpreter = usable[0]
        self._count += 1
        directory = directory or self.directory / f"node-{self._count}"
        node = Node(self, kind, interpreter, directory, owns_children, marker)
        self._nodes.append(node)
        return node

    def delegate(self) -> str:
        """Make a cgroup and give it to nobody, as systemd does with `Delegate=yes`."""
        cgroup = Cgroup(os.path.join(str(cgroup_place()), f"{self.directory.name}-{len(self._cgroups)}"))
        cgroup.make(frozenset())
        self._cgroups.append(cgroup)
        for name in ("", "cgroup.procs", "cgroup.threads", "cgroup.subtree_control"):
            os.chown(os.path.join(cgroup.path, name), NOBODY, NOBODY)
        return cgroup.path


class Node:
    """A node process; its orders are asynchronous, its answers are read by a thread of the test."""

    def __init__(
        self, stage: Stage, kind: str, interpreter: str, directory: Path, owns_children: bool, marker: str
    ) -> None:
        self.kind = kind
        self.directory = directory
        self.interpreter = interpreter
        self._stage = stage
        directory.mkdir(exist_ok=True)
        as_user: dict[str, Any] = {}
        before: list[str] = []
        self.cgroup: str | None = None
        if kind in AS_NOBODY:
            os.chown(directory, NOBODY, NOBODY)
            as_user = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
        if kind == "delegated":
            self.cgroup, as_user = stage.delegate(), {}
            before = [sys.executable, "-c", DELEGATED, self.cgroup, str(NOBODY)]
        elif kind in IN_CGROUP:
            self.cgroup = cgroup_place()
        self.child = subprocess.Popen(
            [
                *before,
                interpreter,
                str(stage.directory / "node_process.py"),
                str(directory),
                str(int(kind in IN_NAMESPACE)),
                str(int(owns_children)),
                str(int(kind in IN_CGROUP)),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={
                "PYTHONPATH": str(stage.directory / "src"),
                "PYTHONDONTWRITEBYTECODE": "1",
                "TMPDIR": str(directory),
                **({"FAILWELL_ACTION": marker} if marker else {}),
            },
            cwd="/",
            **as_user,
        )
        self.ended: dict[int, list[dict[str, Any]]] = {}
        self._answers: queue.Queue[dict[str, Any]] = queue.Queue()
        self._arrived = threading.Condition()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        self._next = 0
        assert self._answers.get(timeout=PATIENCE_S) == {"up": True}

    # -- talking to it -----------------------------------------------------------------------------

    def _listen(self) -> None:
        assert self.child.stdout is not None
        for line in self.child.stdout:
            body = json.loads(line)
            if "ended" not in body:
                self._answers.put(body)
                continue
            ended = body["ended"]
            ended["output"] = base64.b64decode(ended["output"])
            ended["errors"] = base64.b64decode(ended["errors"])
            if ended["snapshot"] is not None:
                ended["snapshot"] = base64.b64decode(ended["snapshot"])
            with self._arrived:
                self.ended.setdefault(ended["action"], []).append(ended)
                self._arrived.notify_all()

    def order(self, do: str, **rest: Any) -> None:
        assert self.child.stdin is not None
        self.child.stdin.write(json.dumps({"do": do, **rest}).encode() + b"\n")
        self.child.stdin.flush()

    def ask(self, do: str, **rest: Any) -> dict[str, Any]:
        self.order(do, **rest)
        return self._answers.get(timeout=PATIENCE_S)

    def launch(self, *command: str, stdin: bytes = b"", **rest: Any) -> Running:
        self._next += 1
        marker = f"stage-{self._stage.directory.name}-{self.directory.name}-{self._next}"
        launch: dict[str, Any] = {
            "action": self._next,
            "agent": "agent-a",
            "tool": "tool-t",
            "command": command,
            "cwd": None,
            "env": {"PATH": "/usr/bin:/bin"},
            "stdin": base64.b64encode(stdin).decode(),
            "deadline_us": None,
            "output_cap_bytes": 65536,
            "marker": marker,
            **rest,
        }
        answer = self.ask("launch", **launch)
        assert "process" in answer, answer
        return Running(self, self._next, marker, answer["process"]["pid"])

    def animal(self, name: str, *given: str, **rest: Any) -> Running:
        return self.launch(self.interpreter, "-I", "-S", str(self._stage.directory / "zoo.py"), name, *given, **rest)

    def wait(self, action: int) -> dict[str, Any]:
        with self._arrived:
            assert self._arrived.wait_for(lambda: action in self.ended, PATIENCE_S), "no end was told"
            return self.ended[action][0]

    def report(self, action: int) -> dict[str, Any]:
        """Wait for the report that a supervisor leaves on disk."""
        path = self.directory / "orders" / f"swept-{action}.json"
        await_true(path.exists)
        assert path.stat().st_mode & 0o777 == 0o600
        body: dict[str, Any] = json.loads(path.read_bytes())
        return body

    def end(self) -> None:
        if self.child.stdin is not None and not self.child.stdin.closed:
            self.child.stdin.close()
        if self.child.poll() is None:
            os.kill(self.child.pid, signal.SIGCONT)
        try:
            self.child.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
        self._listener.join(PATIENCE_S)
        if self.child.stdout is not None:
            self.child.stdout.close()


class Running:
    """One launched tool, with every process of it that the test has seen."""

    def __init__(self, node: Node, action: int, marker: str, supervisor: int) -> None:
        self.node = node
        self.action = action
        self.marker = marker
        self.supervisor = supervisor
        self.seen: dict[tuple[int, int], Stat] = {}

    def look(self) -> list[Stat]:
        """Find what runs of the tool now: below the supervisor, marked, or seen before."""
        table = scan_processes()
        found = {stat.key: stat for stat in find_descendants(table, [self.supervisor])}
        found |= {stat.key: stat for stat in table.values() if read_marker(stat.pid) == self.marker}
        found = {key: stat for key, stat in found.items() if not stat.dead and not _is_our_init(stat, self)}
        self.seen |= found
        return [stat for stat in table.values() if stat.key in self.seen and not stat.dead]

    def await_processes(self, count: int) -> Running:
        await_true(lambda: len(self.look()) >= count)
        return self

    def await_settled(self, count: int) -> Running:
        """Wait until exactly so many processes stand in two looks with a pause between."""

        def settled() -> bool:
            before = {stat.key for stat in self.look()}
            time.sleep(0.05)
            return len(before) == count and before == {stat.key for stat in self.look()}

        await_true(settled)
        return self

    def await_hidden(self) -> Running:
        """Wait until one of its processes has cleared its environment, and is seen before it can be lost."""
        self.await_processes(3)  # a fork of the supervisor that is about to be the tool has no marker either
        await_true(lambda: any(read_marker(stat.pid) is None for stat in self.look()))
        return self

    def interrupt(self) -> dict[str, Any]:
        self.node.order("interrupt", action=self.action)
        return self.node.wait(self.action)

    def wait(self) -> dict[str, Any]:
        return self.node.wait(self.action)

    def cgroup(self) -> Cgroup | None:
        """The cgroup that its supervisor made for it, gone or not; None where it makes none."""
        if self.node.cgroup is None:
            return None
        return next((made for made, pid, _ in supervised(self.node.cgroup) if pid == self.supervisor), None)

    def assert_gone(self) -> None:
        left = self.look()
        assert not left, [stat.describe() for stat in left]

    def assert_confirmed(self, ended: dict[str, Any]) -> None:
        """Dead by our own look, said to be, and proved by all that its kind of node has."""
        self.assert_gone()
        assert ended["state"] == "interrupted_confirmed", ended
        assert ("pid namespace ended" in ended["proven_by"]) is (self.node.kind in IN_NAMESPACE)
        assert ("cgroup empty" in ended["proven_by"]) is (self.node.kind in IN_CGROUP)
        assert self.cgroup() is None, "its cgroup is left"


def _is_our_init(stat: Stat, running: Running) -> bool:
    """Whether it is the namespace's init: a fork of the supervisor in the supervisor's own session."""
    return stat.session == running.supervisor


def await_true(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until, "did not come about"
        time.sleep(0.005)


def stage_fixture() -> Iterator[Stage]:
    stage = Stage()
    try:
        yield stage
    finally:
        stage.close()
