"""A real workspace with persons, agents, adopted contracts and a tool, ready in a fraction of a second.

`build` makes it through the product's own doors, once per session; `House.copy` gives each test a workspace of its
own (workspaces are relocatable). Nodes are processes of their own, ended by pid. `Caller` speaks the wire protocol
without the client's manners, as an adversary would.
"""

from __future__ import annotations

import atexit
import base64
import contextlib
import functools
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import failwell
from failwell.client import powers
from failwell.client.wire import Wire, hello
from failwell.core import contract as contracts
from failwell.core import orders as o
from failwell.execute.orphans import read_marker
from failwell.execute.processes import scan_processes
from failwell.identity import agents, keys
from failwell.identity.persons import Signer, prove_enrolment
from failwell.node import settings, watch
from failwell.node.audit import verify_workspace
from failwell.node.beginning import begin
from failwell.node.workspace import Workspace
from tests.invariants import check, entries
from tests.simulate.warm import Forked, stable

ROOT = Path(__file__).resolve().parents[2]
TOOL = Path(__file__).with_name("tool.py")
AGENTS = ("refund-bot", "other-bot", *(f"bot-{number:02d}" for number in range(48)))
SPIFFE = "spiffe://shop.example/agent/"
DOMAIN = "example.org"
SETTINGS = "[node]\nidle_s = 0\n"

CONTRACT = """
contract: {agent}
version: {version}
agent: spiffe://shop.example/agent/{agent}
owner: anna
purpose: Write notes to customers.
tools:
  - tool: note.write
    effect: reversible
    executor: supervised
    custody: none
    deadline: {deadline}
    arguments:
      customer: "id"
      millis: "int(0..60000)"
      grandchild?: bool
      deaf?: bool
      amount?: "money(2, 0..100)"
      text?: "string(0..200000)"
    affects: {{customer: customer}}
  - tool: note.send
    effect: irreversible
    executor: supervised
    custody: none
    deadline: 60s
    arguments: {{customer: "id", millis?: "int(0..60000)"}}
  - tool: desk.ask
    effect: reversible
    executor: cooperative
    custody: none
    deadline: 60s
    arguments: {{customer: "id"}}
  - tool: vault.open
    effect: irreversible
    executor: fenced
    custody: broker
    deadline: 60s
    arguments: {{customer: "id"}}
clauses:
  - {{id: tripwire, deny: note.write, when: context.args.customer == "trip", severity: minor}}
  - {{id: ask-first, escalate: note.write, when: context.args.customer == "maybe", severity: minor}}
limits:
  - {{id: per-minute, count: note.write, at_most: {at_most}, per: 1m, then: deny}}
response:
  - {{signal: "denied(tripwire)", do: [interrupt, suspend, hold, notify]}}
"""


def await_true(look: Callable[[], Any], within_s: float = 15.0) -> Any:
    """What `look` gives once it is true; AssertionError when it is not within `within_s`."""
    until = time.monotonic() + within_s
    while (began := time.monotonic()) < until:
        if found := look():
            return found
        # What is waited for needs the processor too: a look at a whole record, or at all processes, is not cheap.
        time.sleep(min(0.1, max(0.005, 2 * (time.monotonic() - began))))
    raise AssertionError(f"it did not come true within {within_s} s")


@functools.cache
def shown() -> Path:
    """Where nodes of this process leave for one another what was shown of the machine (`shown_node`)."""
    directory = tempfile.mkdtemp(prefix="failwell-shown-")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return Path(directory, "self-test.json")


class NodeProcess:
    """A node in a process of its own. `plan` is where a strike is planned (`crashing_node`)."""

    def __init__(self, house: House, *, crashing: bool, tested: bool, env: dict[str, str]) -> None:
        self.plan = house.root / "plan.json"
        self.log = house.root / "node.err"
        workspace = str(house.workspace.path)
        if crashing:
            module, args = "tests.simulate.crashing_node", [workspace, str(self.plan), str(shown())]
        elif tested:
            module, args = "failwell.node", ["--workspace", workspace, "--idle-s", "0"]
        else:
            module, args = "tests.simulate.shown_node", [workspace, str(shown())]
        said = {**os.environ, "PYTHONFAULTHANDLER": "1", **env}
        self.process: subprocess.Popen[bytes] | Forked
        with open(self.log, "ab") as errors:
            if tested or env:  # what a process was started with stands in its files of /proc: these start like any
                process = subprocess.Popen(
                    [sys.executable, "-m", module, *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                    stderr=errors, cwd=ROOT, env=said, start_new_session=True,
                )  # fmt: skip
                assert process.stdout is not None
                self.process, output = process, process.stdout
            else:
                self.process, output = stable().start(module, args, said, errors)
        with output:
            self.first_line = output.readline().decode().strip()

    @property
    def pid(self) -> int:
        return self.process.pid

    def said(self) -> str:
        return self.log.read_text()

    def kill(self) -> None:
        """End it as a power cut would; also one that stands still, which must not get to do anything more."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self.process.wait(10)

    def stop(self) -> int:
        """End it as an operator would; its exit code."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGCONT)
            os.kill(self.pid, signal.SIGTERM)
        try:
            return self.process.wait(15)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
                os.kill(self.pid, signal.SIGABRT)  # it says where each of its threads is
                self.process.wait(10)
            self.kill()
            raise AssertionError(f"the node does not stop:\n{self.said()[-20_000:]}") from None

    def plan_strike(self, point: str, side: str, *, nth: int = 1, victim: str = "node") -> None:
        text = json.dumps({"point": point, "side": side, "nth": nth, "victim": victim})
        part = self.plan.with_suffix(".part")
        part.write_text(text)
        part.rename(self.plan)

    def struck(self) -> bool:
        return not self.plan.exists()


class Caller:
    """One connection that says what it is told to say, well-mannered or not."""

    def __init__(self, house: House, agent: str | None = None, *, key: keys.SigningKey | None = None) -> None:
        self.house = house
        self.wire = Wire(house.workspace.socket)
        self.agent = "" if agent is None else house.full(agent)
        self.run: int | None = None
        self.acks: list[int] = []
        if agent is not None:
            try:
                hello(self.wire, "agent", self.agent, key or house.agent_keys[agent])
            except BaseException:
                self.wire.close()
                raise

    def open(self) -> Caller:
        self.run = self.wire.call("run.open", agent=self.agent)
        self.acks.append(int(self.run or 0))
        return self

    def ask(
        self, arguments: Any, *, tool: str = "note.write", call: str | None = None, how: str = "execute", **more: Any
    ) -> Future[Any]:  # fmt: skip
        """Propose an action; `arguments` as an object or as raw text."""
        text = arguments if isinstance(arguments, str) else json.dumps(arguments)
        fields: dict[str, Any] = {
            "agent": self.agent, "run": self.run, "call": call or self.house.next_call(), "tool": tool,
            "arguments": text, "reason": None, "how": how,
            "target": self.house.target() if how == "execute" else None,
        }  # fmt: skip
        return self.wire.ask("act", **{**fields, **more})

    def act(self, arguments: Any, *, within_s: float = 30, **more: Any) -> dict[str, Any]:
        """The answer to an action, its entries noted as acknowledged. `verdict` is always there."""
        answer: dict[str, Any] = self.ask(arguments, **more).result(within_s)
        if "entry" in answer:
            answer = {"verdict": answer, "result": None}
        self.acks.append(answer["verdict"]["entry"])
        if answer["result"] is not None:
            self.acks.append(answer["result"]["entry"])
        return answer

    def write(self, customer: str, millis: int = 0, **more: Any) -> dict[str, Any]:
        options = {name: more.pop(name) for name in ("grandchild", "deaf") if name in more}
        return self.act({"customer": customer, "millis": millis, **options}, **more)

    def start(self, customer: str, millis: int = 60_000, **more: Any) -> Future[Any]:
        """Start a long action; returns once its tool has written to its own log."""
        options = {name: more.pop(name) for name in ("grandchild", "deaf") if name in more}
        answer = self.ask({"customer": customer, "millis": millis, **options}, **more)
        await_true(lambda: answer.done() or any(line.get("customer") == customer for line in self.house.runs()))
        return answer

    def close(self) -> None:
        self.wire.close()


class House:
    """A workspace, its people's and agents' keys, its tool's own log, and the nodes that were started on it."""

    def __init__(self, root: Path, persons: dict[str, Signer], agent_keys: dict[str, keys.SigningKey]) -> None:
        self.root = root
        self.workspace = Workspace(root / "ws")
        self.config = root / "conf"
        self.persons = persons
        self.agent_keys = agent_keys
        self.witness = root / "witness.log"
        self.nodes: list[NodeProcess] = []
        self.callers: list[Caller] = []
        self._calls = itertools.count(1)

    # -- making ------------------------------------------------------------------------------------------------

    @classmethod
    def build(cls, root: Path, settings: str = SETTINGS, names: tuple[str, ...] = AGENTS[:2], **terms: Any) -> House:
        """A workspace made through the product's own doors; its node is stopped again. `terms` fill the contract."""
        root.mkdir(parents=True)
        persons = {name: Signer(name, keys.generate()) for name in ("anna", "bert", "cleo")}
        house = cls(root, persons, {})
        begun = begin(
            house.workspace, persons["anna"], email=f"anna@{DOMAIN}", roles=("operator", "approver"),
            settings_toml=settings, guard_place=root / "guard",
        )  # fmt: skip
        node = house.node()
        hand = house.hand("anna")
        for name in ("bert", "cleo"):
            person = persons[name]
            public = base64.b64encode(person.key.public).decode()
            hand.enrol(person, public, prove_enrolment(person, begun.origin), ("approver",), f"{name}@{DOMAIN}")
        house.hand("cleo").verify_contact("anna", None)
        for name in names:
            house.agent_keys[name] = house.register(hand, name)
            house.adopt(name, **terms)
        house.end(node)
        return house

    def copy(self, root: Path) -> House:
        """The same house somewhere else; only while no node runs here."""
        root.mkdir(parents=True, exist_ok=True)
        shutil.copytree(self.workspace.path, root / "ws", dirs_exist_ok=True)
        shutil.copytree(self.config, root / "conf")
        shutil.copytree(self.workspace.guard_place(), root / "guard")
        copy = Workspace(root / "ws")
        copy.guarded_by(str((root / "guard").resolve()), copy.log_pub.read_text().strip())
        return House(root, self.persons, self.agent_keys)

    def register(self, hand: powers.Hand, name: str) -> keys.SigningKey:
        key = agents.create_agent_key(self.config, self.workspace.origin(), self.full(name))
        public = base64.b64encode(key.public).decode()
        hand.give("agent.register", o.AgentRegister(agent=self.full(name), key=public, owner="anna"))
        return key

    def contract(
        self, name: str, *, version: int = 1, at_most: int = 1000, deadline: str = "60s"
    ) -> contracts.Contract:  # fmt: skip
        text = CONTRACT.format(agent=name, version=version, at_most=at_most, deadline=deadline)
        return contracts.load(text, name=name)

    def adopt(self, name: str, **terms: Any) -> Any:
        made = self.contract(name, **terms)
        return self.hand("bert").adopt_contract(made, self.hand("anna").sign_contract(made))

    # -- nodes -------------------------------------------------------------------------------------------------

    def node(
        self, *, crashing: bool = False, tested: bool = False, env: dict[str, str] | None = None
    ) -> NodeProcess:  # fmt: skip
        """Start a node and wait until it is ready; with `tested` the product's own program, its self-test made anew."""
        node = NodeProcess(self, crashing=crashing, tested=tested, env=env or {})
        self.nodes.append(node)
        assert node.first_line == "ready", node.said()
        return node

    def end(self, node: NodeProcess) -> None:
        """Hang up, then stop a node in good order."""
        self.hang_up()
        assert node.stop() == 0, node.said()

    def hang_up(self) -> None:
        while self.callers:
            self.callers.pop().close()

    # -- people and agents -------------------------------------------------------------------------------------

    def caller(self, agent: str | None = "refund-bot", **more: Any) -> Caller:
        made = Caller(self, agent, **more)
        self.callers.append(made)
        return made

    def agent(self, agent: str = "refund-bot") -> Caller:
        """A caller with a run open."""
        return self.caller(agent).open()

    def hand(self, person: str) -> powers.Hand:
        return powers.Hand(self.caller(None).wire, self.persons[person])

    def ask(self, about: str, key: Any = None) -> Any:
        return self.caller(None).wire.call("ask", about=about, key=key, timeout_s=20)

    def suspend(self, agent: str = "refund-bot", person: str = "bert", **more: Any) -> powers.Suspended:
        return powers.suspend(self.workspace, self.persons[person], self.full(agent), "it misbehaves", **more)

    def gate(self) -> failwell.Gate:
        """The Python door, on a node that runs already."""
        os.environ["FAILWELL_CONFIG"] = str(self.config)
        return failwell.connect(self.workspace.path)

    def full(self, agent: str) -> str:
        return agent if "/" in agent else SPIFFE + agent

    def target(self) -> dict[str, Any]:
        return {"command": [sys.executable, "-I", "-S", str(TOOL), str(self.witness)], "env": {}}

    def next_call(self) -> str:
        return f"call-{next(self._calls)}"

    # -- what really happened ----------------------------------------------------------------------------------

    def runs(self) -> list[dict[str, Any]]:
        """The tool's own log."""
        if not self.witness.exists():
            return []
        return [json.loads(line) for line in self.witness.read_text().splitlines()]

    def began(self, customer: str | None = None) -> list[dict[str, Any]]:
        lines = [line for line in self.runs() if line["what"] == "began"]
        return [line for line in lines if customer is None or line["customer"] == customer]

    def alive(self) -> list[int]:
        """Processes of tools of this house, asked of the kernel."""
        prefix = f"{self.workspace.origin()}/"
        return [
            stat.pid
            for stat in scan_processes().values()
            if not stat.dead and (read_marker(stat.pid) or "").startswith(prefix)
        ]

    def entries(self, kind: str | None = None, agent: str | None = None) -> list[dict[str, Any]]:
        """Entries as the ledger file has them, read without the node."""
        found = entries(self.workspace.ledger)
        wanted = None if agent is None else self.full(agent)
        return [
            entry
            for entry in found
            if (kind is None or entry["kind"] == kind) and (wanted is None or entry["agent"] == wanted)
        ]

    def incident_of(self, agent: str = "refund-bot") -> dict[str, Any]:
        """The newest incident row of an agent, as the node has it."""
        rows = self.ask("incidents")
        mine = {int(number): row for number, row in rows.items() if row["agent"] == self.full(agent)}
        assert mine, f"no incident of {agent}"
        return {"number": max(mine), **mine[max(mine)]}

    def hold_true(self, acks: list[int] | None = None, *, at_rest: bool = True) -> None:
        """The independent checker finds nothing; given a dead or idle node, nothing waits for its end either."""
        report = check(self.workspace.ledger, acks=acks or [], runs=self.runs(), at_rest=at_rest)
        assert report.findings == [], "\n".join(report.findings)

    def verify(self) -> None:
        """The product's own verification finds nothing."""
        report = verify_workspace(self.workspace.path)
        assert report.ok, report.findings

    def tear_down(self) -> None:
        self.hang_up()
        for node in self.nodes:
            if node.process.poll() is None:
                node.kill()
        with contextlib.suppress(AssertionError):
            await_true(lambda: not self.alive(), 5)
        for pid in self.alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def apply(house: House, settings_toml: str) -> None:
    """Put other settings in force, by an operator's order."""
    (house.workspace.path / settings.FILE_NAME).write_text(settings_toml)
    digest = watch.digest(settings.settings_text(settings.read_settings(house.workspace.path)))
    details = o.ConfigApply(settings=digest, previous=house.ask("settings")["digest"])
    house.hand("anna").give("config.apply", details)


@contextlib.contextmanager
def scene(keep: contextlib.ExitStack | None = None) -> Iterator[Path]:
    """A short directory of its own, also for sockets (the kernel allows 108 bytes).

    It goes when the scene ends, or with `keep`, or with the process.
    """
    before = {name: os.environ.get(name) for name in ("XDG_RUNTIME_DIR", "FAILWELL_CONFIG", "FAILWELL_STATE")}
    directory = Path(tempfile.mkdtemp(prefix="fw-"))
    (directory / "run").mkdir(mode=0o700)
    os.environ["XDG_RUNTIME_DIR"] = str(directory / "run")
    os.environ["FAILWELL_STATE"] = str(directory / "state")
    if keep is not None:
        keep.callback(shutil.rmtree, directory, ignore_errors=True)
        atexit.register(keep.close)
    try:
        yield directory
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        if keep is None:
            shutil.rmtree(directory, ignore_errors=True)
