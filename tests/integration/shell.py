"""A person at a terminal: the real command line as a process, in directories of its own, its nodes ended at the end."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from failwell.core.instants import parse_at
from failwell.execute.orphans import read_marker
from failwell.node.workspace import Workspace, lock_holder

PASSPHRASE = "correct horse battery staple"
COMMAND_LIMIT_S = 50.0
#: Anything but line feeds that a terminal would obey.
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
GROUPS = (
    "action", "agent", "clock", "config", "contract", "digest", "escalation", "feed", "floor", "gateway", "guard",
    "hold", "incident", "ledger", "person", "release", "response", "stop", "team", "ticket",
)  # fmt: skip


class Done(NamedTuple):
    """What a command printed and how it ended."""

    code: int
    out: str
    err: str

    @property
    def first(self) -> str:
        return self.out.splitlines()[0]


class Shell:
    """Runs `failwell` in `root`; every command is checked for what must hold of all of them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.workspace = root / "ws"
        self.runtime = Path(tempfile.mkdtemp(prefix="fw-"))  # short: a socket's path has at most 108 bytes
        passphrase = root / "passphrase"
        passphrase.write_text(PASSPHRASE + "\n")
        passphrase.chmod(0o600)
        self.env = {
            "PATH": os.environ["PATH"], "HOME": str(root), "COLUMNS": "100", "LC_ALL": "C.UTF-8",
            "FAILWELL_CONFIG": str(root / "conf"), "FAILWELL_STATE": str(root / "state"),
            "XDG_RUNTIME_DIR": str(self.runtime),
            "FAILWELL_PASSPHRASE_FILE": str(passphrase), "FAILWELL_WORKSPACE": str(self.workspace),
        }  # fmt: skip

    def start(self, *args: str, **env: str | None) -> subprocess.Popen[bytes]:
        """Start a command; without a terminal, so that nothing waits for an answer."""
        changed = {name: value for name, value in {**self.env, **env}.items() if value is not None}
        return subprocess.Popen(
            [sys.executable, "-m", "failwell", *args], cwd=self.root, env=changed, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip

    def end_of(self, process: subprocess.Popen[bytes]) -> Done:
        """Wait for a command; neither of its streams may hold what a terminal obeys."""
        out, err = (data.decode("utf-8") for data in process.communicate(timeout=COMMAND_LIMIT_S))
        assert not CONTROL.search(out), repr(out)
        assert not CONTROL.search(err), repr(err)
        assert "Traceback" not in err, err
        return Done(process.returncode, out, err)

    def __call__(self, *args: str, code: int = 0, at: Path | None = None, **env: str | None) -> Done:
        """Run a command that must end with `code`, in the workspace `at` if it is another one."""
        if at is not None:
            env["FAILWELL_WORKSPACE"] = str(at)
        done = self.end_of(self.start(*args, **env))
        assert done.code == code, f"failwell {' '.join(args)}: {done.code}\n{done.out}\n{done.err}"
        return done

    def json(self, *args: str, code: int = 0, at: Path | None = None, **env: str | None) -> dict[str, Any]:
        """Run a command with --json: one object of its schema, or one error."""
        done = self(*_with_json(args), code=code, at=at, **env)
        assert done.out.count("\n") == 1, done.out
        told: dict[str, Any] = json.loads(done.out)
        if "schema" in told:
            assert told["schema"] == f"failwell/{_schema(args)}/1"
            check_units(told)
        if code in (2, 3) or "schema" not in told:
            assert set(told["error"]) == {"code", "message", "hint"}
        return told

    def end(self) -> None:
        """End the nodes of all workspaces below the root, by their pids."""
        for lock in self.root.glob("*/node.lock"):
            holder = lock_holder(Workspace(lock.parent))
            if holder is not None and holder > 0:
                end_process(holder)
        shutil.rmtree(self.runtime)


def _with_json(args: tuple[str, ...]) -> list[str]:
    place = args.index("--") if "--" in args else len(args)
    return [*args[:place], "--json", *args[place:]]


def _schema(args: tuple[str, ...]) -> str:
    words = []
    for word in args:
        if word.startswith("-"):
            break
        words.append(word)
        if word not in GROUPS:
            break
    return "-".join(words)


def check_units(value: object, name: str = "") -> None:
    """Durations are `_ms`, times RFC 3339; what an entry seals or a file says stays as it is."""
    assert not name.endswith(("_us", "_s")), name
    if name in ("at", "started_at") and value is not None:
        parse_at(str(value))
    if isinstance(value, dict):
        for key, below in value.items():
            if key not in ("body", "settings"):
                check_units(below, str(key))
    elif isinstance(value, list):
        for below in value:
            check_units(below)


def end_process(pid: int) -> None:
    """End a process that is not our child, stopped or not."""
    for number, limit_s in ((signal.SIGTERM, 10.0), (signal.SIGKILL, 5.0)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
            os.kill(pid, signal.SIGCONT)
        until = time.monotonic() + limit_s
        while time.monotonic() < until:
            if not alive(pid):
                return
            time.sleep(0.05)
    raise AssertionError(f"process {pid} does not end")


def alive(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until(seen: Callable[[], bool], limit_s: float = 20.0) -> None:
    """Wait for something that must come."""
    until = time.monotonic() + limit_s
    while not seen():
        assert time.monotonic() < until, "it did not come"
        time.sleep(0.05)


@contextlib.contextmanager
def open_shell(root: Path) -> Iterator[Shell]:
    shell = Shell(root)
    try:
        yield shell
    finally:
        shell.end()


# ---- a workspace to act in -----------------------------------------------------------------------------------

AGENT = "spiffe://shop.example/agent/{name}"
CONTRACT = """\
contract: {name}
version: 1
agent: spiffe://shop.example/agent/{name}
owner: anna
purpose: Send notices to customers who wait.
tools:
  - tool: notices.send
    effect: irreversible
    executor: supervised
    custody: none
    deadline: 30s
    arguments: {{customer_id: "id", seconds: "int(0..100)"}}
    affects: {{customer: customer_id}}
clauses:
  - {{id: very-long, escalate: notices.send, when: context.args.seconds > 90}}
limits:
  - {{id: per-minute, count: notices.send, at_most: 3, per: 1m, then: deny}}
response:
  - {{signal: "denied(per-minute)", do: [interrupt, suspend, hold, notify]}}
"""

#: Writes its line to the shop's own log, starts a child in a session of its own, and takes its time.
TOOL = """\
import json, os, subprocess, sys, time
told = json.load(sys.stdin)
at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()) + ".000000Z"
line = {"sent_at": at, "customer": told["customer_id"], "failwell_action": os.environ["FAILWELL_ACTION"]}
with open("shop.jsonl", "a") as log:
    log.write(json.dumps(line) + "\\n")
if told["seconds"]:
    subprocess.Popen(["sleep", str(told["seconds"])], start_new_session=True)
    time.sleep(told["seconds"])
print(json.dumps({"sent": told["customer_id"]}))
"""


def settle_in(shell: Shell, *names: str) -> None:
    """A workspace with three persons and agents whose contracts are adopted."""
    (shell.root / "tool.py").write_text(TOOL)
    shell("init", str(shell.workspace), "--person", "anna", "--email", "anna@shop.example")
    for person in ("bert", "cleo"):
        mail = f"{person}@shop.example"
        shell("person", "add", person, "--email", mail, "--role", "approver", "--as", "anna", "--yes")
    shell("person", "verify", "anna", "--vouch", "--as", "bert", "--yes")
    for name in names:
        register(shell, name)


def register(shell: Shell, name: str, *, contract: str = CONTRACT) -> None:
    """An agent with an adopted contract."""
    file = f"{name}.yaml"
    (shell.root / file).write_text(contract.format(name=name))
    shell("agent", "register", AGENT.format(name=name), "--owner", "anna", "--as", "anna", "--yes")
    shell("contract", "sign", file, "--as", "anna", "--yes")
    shell("contract", "adopt", file, "--as", "bert", "--yes")


def send(name: str, customer: str, seconds: int = 0) -> tuple[str, ...]:
    """The arguments of `failwell run` that send one notice."""
    return (
        "run", "--agent", name, "--tool", "notices.send", "--principal", "customer:1", "--request", "Tell them.",
        "--arg", f"customer_id={customer}", "--arg", f"seconds={seconds}", "--", sys.executable, "tool.py",
    )  # fmt: skip


def tool_processes(shell: Shell) -> list[int]:
    """The living processes of this workspace's tools, found by the marker in their environment."""
    prefix = f"{Workspace(shell.workspace).origin()}/"
    found = [int(place.name) for place in Path("/proc").glob("[0-9]*")]
    return [pid for pid in found if (read_marker(pid) or "").startswith(prefix) and alive(pid)]
