"""A house whose agents have tool servers: `toolbox.py` under several names, pinned, in a contract; and its calls."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from failwell.core import contract as contracts
from failwell.mcp.definitions import digest_of
from tests.simulate.fixtures import model
from tests.simulate.house import Caller, House, apply, await_true

TOOLBOX = Path(__file__).with_name("toolbox.py")
KEY = "k3y-0f-the-shop-9x2"
CONTRACT = """
contract: {agent}
version: 2
agent: spiffe://shop.example/agent/{agent}
owner: anna
purpose: Use tool servers.
tools:
  - {{tool: box.echo, effect: reversible, executor: supervised, custody: none, deadline: 20s,
     arguments: {{text: "string(0..20000)"}}}}
  - {{tool: box.wait, effect: reversible, executor: supervised, custody: none, deadline: 20s,
     arguments: {{millis: "int(0..60000)", how?: "string(0..20)"}}}}
  - {{tool: box.unpinned, effect: read, custody: none, deadline: 20s, arguments: {{}}}}
  - {{tool: box.misbehave, effect: reversible, executor: supervised, custody: none, deadline: 20s,
     arguments: {{how: "string(0..20)"}}}}
  - {{tool: box.resources/read, effect: read, executor: supervised, custody: none, deadline: 20s,
     arguments: {{uri: "string(1..200)"}}}}
  - {{tool: other.echo, effect: reversible, executor: supervised, custody: none, deadline: 1s,
     arguments: {{text: "string(0..20000)"}}}}
  - {{tool: other.wait, effect: reversible, executor: supervised, custody: none, deadline: 1s,
     arguments: {{millis: "int(0..60000)", how?: "string(0..20)"}}}}
  - {{tool: other.misbehave, effect: reversible, executor: supervised, custody: none, deadline: 20s,
     arguments: {{how: "string(0..20)"}}}}
  - {{tool: vault.wait, effect: reversible, executor: fenced, custody: none, deadline: 20s,
     arguments: {{millis: "int(0..60000)", how?: "string(0..20)"}}}}
  - {{tool: quits.echo, effect: reversible, executor: supervised, custody: none, deadline: 20s, arguments: {{}}}}
"""
SERVER = """
[upstreams.{name}]
command = {command}
tools = {{{pins}}}
idle_s = {idle_s}
{more}
"""


def pins() -> dict[str, str]:
    """The digests of what a toolbox says of its tools, asked of one."""
    asked = '{"jsonrpc":"2.0","id":1,"method":"tools/list"}\n'
    command = [sys.executable, "-I", "-S", str(TOOLBOX), os.devnull]
    said = subprocess.run(command, input=asked, capture_output=True, text=True, check=True, timeout=10).stdout
    return {each["name"]: digest_of(each) for each in json.loads(said)["result"]["tools"] if each["name"] != "unpinned"}


def settings(house: House, idle_s: int = 900) -> str:
    pinned = ", ".join(f'"{name}" = "{digest}"' for name, digest in pins().items())
    text = '[node]\nidle_s = 0\n[secrets.shop]\nfile = "shop.key"\n'
    fence = json.dumps(["/bin/sh", "-c", f"cat >> {house.root}/fenced"])
    text += f'[tools."vault.wait"]\nfence = {fence}\n'
    for name, words, more in (
        ("box", ["deaf"], 'secrets = {SHOP_KEY = "shop"}'), ("other", [], "known_for_s = 0"), ("vault", [], ""),
        ("quits", ["quits"], ""),
    ):  # fmt: skip
        command = json.dumps(
            [sys.executable, "-I", "-S", str(house.root / "toolbox.py"), str(log_of(house, name)), *words]
        )
        text += SERVER.format(name=name, command=command, pins=pinned, more=more, idle_s=idle_s)
    return text


def log_of(house: House, name: str) -> Path:
    return house.root / f"{name}.log"


def logged(house: House, name: str = "box", what: str | None = None) -> list[dict[str, Any]]:
    """What reached a server, by its own log."""
    path = log_of(house, name)
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [line for line in lines if what is None or line["what"] == what]


def furnish(root: Path, agents: tuple[str, ...], *, hands: tuple[str, str] | None = None) -> House:
    """A house with its node running, whose agents may use tool servers. `hands`: who hands work over, and to whom."""
    house = model().copy(root)
    shutil.copy(TOOLBOX, house.root / "toolbox.py")
    (house.root / "toolbox.py").chmod(0o644)
    key = house.workspace.path / "shop.key"
    key.write_text(KEY + "\n")
    key.chmod(0o600)
    house.node(crashing=True)
    for agent in agents:
        over = f"delegates: [{hands[1]}]\n" if hands is not None and agent == hands[0] else ""
        made = contracts.load(CONTRACT.format(agent=agent) + over, name=agent)
        house.hand("bert").adopt_contract(made, house.hand("anna").sign_contract(made))
    apply(house, settings(house))
    return house


class Client(Caller):
    """A caller with a session of tool servers."""

    session = ""

    def sit(self, *names: str) -> dict[str, Any]:
        """Open a run and a session."""
        self.open()
        answer: dict[str, Any] = self.wire.call(
            "upstreams.open", agent=self.agent, run=self.run, upstreams=list(names), timeout_s=20
        )
        self.session = answer["session"]
        return answer

    def send(self, tool: str, arguments: Any, **more: Any) -> Future[Any]:
        return self.ask(arguments, tool=tool, how="forward", **{"session": self.session, "target": None, **more})

    def call(self, tool: str, arguments: Any, **more: Any) -> dict[str, Any]:
        return self.act(arguments, tool=tool, how="forward", **{"session": self.session, "target": None, **more})

    def waiting(self, house: House, name: str = "box", *, how: str = "", **more: Any) -> Future[Any]:
        """A long call that has reached its server."""
        before = len(logged(house, name, "called"))
        sent = self.send(f"{name}.wait", {"millis": 60_000, "how": how}, **more)
        await_true(lambda: len(logged(house, name, "called")) > before or sent.done())
        return sent


def client(house: House, agent: str, *names: str) -> Client:
    made = Client(house, agent)
    house.callers.append(made)
    made.sit(*names)
    return made


def said(answer: dict[str, Any]) -> Any:
    """What the server answered."""
    return json.loads(base64.b64decode(answer["result"]["output"]))


def text_of(answer: dict[str, Any]) -> str:
    return str(said(answer)["content"][0]["text"])
