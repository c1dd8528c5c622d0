"""`doctor --as-agent`: what an agent reaches of its tools without the gate, tried by the real command as real users."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from failwell.cli.probing import probe
from failwell.core import contract as contracts
from failwell.core.errors import InputError, NotFound, Refused
from tests.simulate.fixtures import model
from tests.simulate.house import SPIFFE, House, apply, await_true, scene

SECRET = "a-key-of-the-shop-7f3a"
AGENT = SPIFFE + "refund-bot"
NOBODY = pwd.getpwnam("nobody").pw_uid
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can try what another user reaches")

CONTRACT = """
contract: refund-bot
version: 2
agent: spiffe://shop.example/agent/refund-bot
owner: anna
purpose: Reach what it should not.
tools:
"""
TOOLS = {
    "shop.file": "broker", "shop.variable": "broker", "shop.command": "broker", "shop.bare": "broker",
    "shop.undeclared": "broker", "shop.network": "network", "shop.unprobed": "network", "shop.none": "none",
    "held.echo": "broker", "bare.echo": "broker", "away.echo": "broker",
}  # fmt: skip


def settings(root: Path) -> str:
    return f"""
[node]
idle_s = 0
[secrets.file]
file = "{root}/shop.key"
[secrets.variable]
env = "SHOP_KEY_OF_THE_NODE"
[secrets.command]
command = ["{root}/vault"]
deadline_ms = 3000
[tools."shop.file"]
command = ["/bin/true"]
secrets = {{SHOP_KEY = "file"}}
[tools."shop.variable"]
command = ["/bin/true"]
secrets = {{SHOP_KEY = "variable"}}
[tools."shop.command"]
command = ["/bin/true"]
secrets = {{SHOP_KEY = "command"}}
[tools."shop.bare"]
command = ["/bin/true"]
[tools."shop.network"]
command = ["/bin/true"]
probe = ["/bin/sh", "-c", "echo open; cat {root}/network"]
[tools."held.echo"]
fence = ["/bin/true"]
[upstreams.held]
command = ["/bin/true"]
secrets = {{SHOP_KEY = "file"}}
[upstreams.bare]
command = ["/bin/true"]
[upstreams.away]
url = "http://127.0.0.1:9/mcp"
"""


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    with scene() as root:
        house = model().copy(root / "h")
        root.chmod(0o755)
        (root / "h").chmod(0o755)
        for name, text, mode in (
            ("shop.key", SECRET, 0o600), ("network", "reached", 0o600), ("vault", f"#!/bin/sh\necho {SECRET}\n", 0o700),
        ):  # fmt: skip
            (house.root / name).write_text(text)
            (house.root / name).chmod(mode)
        house.node()
        apply(house, settings(house.root))
        text = CONTRACT + "".join(
            f"  - {{tool: {tool}, effect: read, custody: {custody}, deadline: 5s, arguments: {{}}}}\n"
            for tool, custody in TOOLS.items()
        )
        made = contracts.load(text, name="refund-bot")
        house.hand("bert").adopt_contract(made, house.hand("anna").sign_contract(made))
        yield house
        house.tear_down()


def failwell(house: House, *args: str, code: int = 0, **env: str) -> Any:
    """A command's --json, or its text where it is not asked for; the secret is in neither."""
    around = {**os.environ, "FAILWELL_CONFIG": str(house.config), "FAILWELL_WORKSPACE": str(house.workspace.path)}
    done = subprocess.run(
        [sys.executable, "-m", "failwell", *args], env={**around, **env}, capture_output=True, text=True, check=False,
        stdin=subprocess.DEVNULL, timeout=50,
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    assert SECRET not in done.stdout + done.stderr
    return json.loads(done.stdout) if "--json" in args else done.stdout


def tried(house: House, **where: Any) -> dict[str, Any]:
    """What the command answers, by tool, and `told` all of it."""
    with pytest.MonkeyPatch.context() as around:
        around.setenv("FAILWELL_CONFIG", str(house.config))
        answer = probe(house.workspace, "refund-bot", where.get("user"), where.get("process"))
    assert SECRET not in json.dumps(answer.fields)
    assert answer.finding == bool(answer.fields["bypassable"])
    fields = json.loads(json.dumps(answer.fields))
    return {tool["tool"]: tool for tool in fields["tools"]} | {"told": fields}


def states(found: dict[str, Any]) -> dict[str, str]:
    return {tool: found[tool]["state"] for tool in TOOLS}


def test_an_agent_that_is_the_nodes_user_reaches_what_is_kept(house: House) -> None:
    found = tried(house)
    assert states(found) == {
        "shop.file": "bypassable", "shop.variable": "bypassable", "shop.command": "bypassable",
        "shop.bare": "bypassable", "shop.undeclared": "bypassable", "shop.network": "bypassable",
        "shop.unprobed": "not tried", "shop.none": "advisory",
        "held.echo": "bypassable", "bare.echo": "bypassable", "away.echo": "bypassable",
    }  # fmt: skip
    assert (found["bare.echo"]["ways"], found["away.echo"]["ways"]) == (["command"], ["address"])
    assert found["held.echo"]["ways"] == ["secret-file", "tool-environment", "workspace-keys"]
    assert found["shop.file"]["ways"] == ["secret-file", "tool-environment", "workspace-keys"]
    assert found["shop.variable"]["ways"] == ["tool-environment", "workspace-keys"]
    assert found["shop.command"]["ways"] == ["secret-command", "tool-environment", "workspace-keys"]
    assert (found["shop.bare"]["ways"], found["shop.undeclared"]["ways"]) == (["command"], ["own-code"])
    assert found["shop.network"]["ways"] == ["probe"]
    assert found["told"]["asserted"] is True
    assert found["told"]["uid"] == os.geteuid()
    entries = {entry["seq"]: entry for entry in house.entries("custody.probed")}
    assert len(found["told"]["entries"]) == 9
    assert set(found["told"]["entries"]) <= set(entries)
    house.verify()


@AS_ROOT
def test_another_user_reaches_only_what_is_open_to_it_and_that_is_its_own_word(house: House) -> None:
    found = tried(house, user="nobody")
    assert states(found) == {
        "shop.file": "held", "shop.variable": "held", "shop.command": "held", "shop.bare": "bypassable",
        "shop.undeclared": "bypassable", "shop.network": "held", "shop.unprobed": "not tried", "shop.none": "advisory",
        # A tool server that somebody starts by hand: without its secret where the node holds it, else as good as ours.
        "held.echo": "held", "bare.echo": "bypassable", "away.echo": "bypassable",
    }  # fmt: skip
    assert found["shop.file"]["tried"] == ["secret-file", "tool-environment", "workspace-keys"]
    assert (found["told"]["uid"], found["told"]["variables_known"]) == (NOBODY, False)
    told = failwell(house, "doctor", "--as-agent", "refund-bot", "--user", "nobody", "--json", code=1)
    assert told["schema"] == "failwell/doctor/1"
    assert told["tools"] == found["told"]["tools"]
    text = failwell(house, "doctor", "--as-agent", "refund-bot", "--user", "nobody", code=1)
    assert "BYPASSABLE: refund-bot reaches 4 tools round the gate, as user 65534." in text
    assert "5 held, by the word of the agent's side" in text


@AS_ROOT
def test_what_is_left_open_by_one_mistake_is_found(house: House) -> None:
    """Attack: the operator leaves the key readable, the vault's command executable, the network open."""
    opened = {house.root / "shop.key": 0o600, house.root / "vault": 0o700, house.root / "network": 0o600}
    for path, mode in opened.items():
        path.chmod(mode | 0o055)
    found = tried(house, user="nobody")
    for path, mode in opened.items():
        path.chmod(mode)
    assert found["shop.file"]["ways"] == ["secret-file"]
    assert found["shop.command"]["ways"] == ["secret-command"]
    assert found["shop.network"]["ways"] == ["probe"]


@AS_ROOT
def test_a_process_of_the_agent_tells_its_user_and_its_variables(house: House) -> None:
    process = subprocess.Popen(
        ["/bin/sleep", "60"], env={"SHOP_KEY": SECRET}, user=NOBODY, group=NOBODY, extra_groups=[]
    )
    try:
        await_true(lambda: b"SHOP_KEY" in Path(f"/proc/{process.pid}/environ").read_bytes())
        found = tried(house, process=process.pid)
    finally:
        process.kill()
        process.wait()
    assert (found["told"]["uid"], found["told"]["variables_known"]) == (NOBODY, True)
    assert found["shop.variable"]["ways"] == ["secret-variable"]
    # Its variables are not known now: what worked with them stays on record.
    again = tried(house, user="nobody")
    assert again["shop.variable"]["state"] == "held"
    assert house.ask("custody")[f"{AGENT} shop.variable"]["ways"] == ["secret-variable"]


@AS_ROOT
def test_what_was_found_is_shown_wherever_tools_are(house: House) -> None:
    tried(house, user="nobody")
    shown = failwell(house, "agent", "show", "refund-bot", "--json")
    tools = {tool["tool"]: tool for tool in shown["tools"]}
    assert tools["shop.bare"]["bypassable"] == ["command"]
    assert tools["shop.bare"]["advisory"] is True, "nothing is held for it"
    assert tools["shop.none"]["advisory"] is True
    assert tools["shop.file"]["advisory"] is False
    assert tools["shop.file"]["held"] == "broker; BYPASSABLE: secret-variable"
    assert tools["shop.unprobed"]["held"] == "network"
    assert tools["shop.network"]["held"] == "network; not got round, says its agent's side"
    checks = failwell(house, "doctor", "--json", code=1)["checks"]
    told = "\n".join(f"{check['part']} {check['state']}: {check['found']}" for check in checks)
    assert "agent refund-bot todo: declares custody broker, but the node holds nothing for shop.bare" in told
    assert "bypass todo: BYPASSABLE: refund-bot reaches shop.bare round the gate" in told
    assert "secrets ok: read by the node alone: file" in told
    assert "secrets unknown: printed by a command, which is not run for this: command" in told
    assert "secrets todo: the secret variable is not to be had: this node was started on demand" in told


def test_a_probe_that_hangs_reached_nothing_and_leaves_nothing(house: House) -> None:
    hangs = 'probe = ["/bin/sh", "-c", "sleep 60 & echo open; sleep 61"]\nstop_deadline_ms = 300'
    before = (house.workspace.path / "failwell.toml").read_text()
    apply(house, "\n".join(line if not line.startswith("probe") else hangs for line in before.splitlines()))
    found = tried(house)
    apply(house, before)
    assert (found["shop.network"]["state"], found["shop.network"]["tried"]) == ("held", ["probe"])


@pytest.mark.requirement("R5.6")
def test_only_the_agent_itself_says_what_it_reaches(house: House) -> None:
    """Attack: another agent's connection, a stranger's, a tool of nobody's contract, words that mean nothing."""
    fine = {"tool": "shop.file", "tried": ["probe"], "ways": []}
    for caller in (house.caller("other-bot"), house.caller(None)):
        with pytest.raises(Refused, match="has not proved"):
            caller.wire.call("probed", agent=AGENT, uid=0, found=[fine])
    mine = house.caller("refund-bot").wire
    with pytest.raises(Refused, match=r"names no note\.write"):
        mine.call("probed", agent=AGENT, uid=0, found=[{**fine, "tool": "note.write"}])
    wrong: list[dict[str, Any]] = [
        {"tried": []}, {"ways": ["probe", "command"]}, {"tried": ["a story"], "ways": ["a story"]},
    ]  # fmt: skip
    for spoiled in wrong:
        with pytest.raises(InputError):
            mine.call("probed", agent=AGENT, uid=0, found=[{**fine, **spoiled}])
    with pytest.raises(InputError):
        mine.call("probed", agent=AGENT, uid=-1, found=[fine])
    house.hang_up()


def test_what_cannot_be_tried_is_said(house: House) -> None:
    with pytest.raises(NotFound, match="no user"):
        tried(house, user="no-such-user")
    with pytest.raises(NotFound, match="no process"):
        tried(house, process=2**22 - 1)
    with pytest.raises(InputError, match="both"):
        tried(house, user="nobody", process=1)
    assert "--as-agent" in failwell(house, "doctor", "--json", "--user", "nobody", code=2)["error"]["hint"]
