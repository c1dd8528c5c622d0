"""The whole story over the command line: an agent fails, is caught, stopped, explained, and given back by two."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from aiosmtpd.controller import Controller

from failwell.core.instants import format_at
from failwell.node.workspace import Workspace, lock_holder
from tests.integration.shell import Shell, open_shell, send, settle_in, tool_processes, wait_until

#: A terminal library would take this for markup.
ODD = "[bold red]c-7[/] :warning:"

SETTINGS = """\
[mail]
host = "127.0.0.1"
port = {port}
sender = "failwell@shop.example"
security = "none"

[witness.shop-log]
kind = "jsonl"
path = "{log}"
agent = "refund-bot"
tool = "notices.send"
at = "sent_at"
customer = "customer"
action = "failwell_action"
"""


class Sink:
    """Keeps every mail, as it came."""

    def __init__(self) -> None:
        self.mails: list[bytes] = []

    async def handle_DATA(self, server: object, session: object, envelope: object) -> str:
        content = getattr(envelope, "content", b"")
        self.mails.append(content if isinstance(content, bytes) else content.encode())
        return "250 kept"


class FreePort(Controller):
    """Listens on a port of the system's choice."""

    def _trigger_server(self) -> None:
        assert isinstance(self.server, asyncio.Server)
        self.port = self.server.sockets[0].getsockname()[1]
        with socket.create_connection((self.hostname, self.port), timeout=5):
            pass


class House(NamedTuple):
    """A settled workspace with a mail server."""

    shell: Shell
    mails: list[bytes]
    log: Path


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    root = tmp_path_factory.mktemp("cli")
    kept = Sink()
    controller = FreePort(kept, hostname="127.0.0.1", port=0)
    controller.start()
    try:
        with open_shell(root) as shell:
            shell.workspace.mkdir(mode=0o700)
            log = root / "shop.jsonl"
            (shell.workspace / "failwell.toml").write_text(SETTINGS.format(port=controller.port, log=log))
            settle_in(shell, "refund-bot", "night-bot")
            yield House(shell, kept.mails, log)
    finally:
        controller.stop()


@pytest.mark.timeout(180)
def test_a_failure_is_caught_stopped_explained_and_the_agent_given_back_by_two_persons(house: House) -> None:
    shell = house.shell
    _look_around(shell)
    _fail(shell, house.log)
    wait_until(lambda: bool(house.mails))
    _read_the_incident(shell)
    _tell_the_customers(shell)
    _give_back(shell)
    _verify(shell, house.mails[0])


@pytest.mark.timeout(180)
def test_a_suspension_stops_tools_while_the_node_stands_still_and_says_that_it_is_only_ordered(house: House) -> None:
    shell = house.shell
    long = shell.start(*send("night-bot", "c-1", seconds=60))
    wait_until(lambda: len(tool_processes(shell)) >= 2)
    node = lock_holder(Workspace(shell.workspace))
    assert node is not None
    os.kill(node, signal.SIGSTOP)
    try:
        done = shell("agent", "suspend", "night-bot", "--reason", "It is late.", "--as", "cleo", code=1)
        assert done.first.startswith("ORDERED, NOT CONFIRMED: night-bot: ")
        assert "interrupted_confirmed" in done.out
        assert tool_processes(shell) == []
    finally:
        os.kill(node, signal.SIGCONT)
    assert shell.end_of(long).code == 1
    wait_until(lambda: shell.json("agent", "show", "night-bot")["authority"] == "SUSPENDED")
    # Once more, where no node runs at all: one is started, reads the order first, and records it.
    shell("serve", "--stop")
    again = shell.json("agent", "suspend", "night-bot", "--reason", "Still late.", "--as", "cleo")
    assert again["confirmed"]
    assert shell.json("agent", "suspend", "nobody", "--reason", "Who?", "--as", "cleo", code=2)["error"]["hint"]


@pytest.mark.timeout(120)
def test_an_edit_of_the_settings_is_shown_and_takes_effect_by_an_operators_order(house: House) -> None:
    shell = house.shell
    settings = shell.workspace / "failwell.toml"
    settings.write_text(settings.read_text() + "\n[node]\ninterrupt_bound_ms = 75\n")
    (difference,) = shell.json("config", "show")["differences"]
    assert difference == {"setting": "node.interrupt_bound_ms", "in_force": "50", "proposed": "75"}
    checks = {check["part"]: check["state"] for check in shell.json("doctor", code=1)["checks"]}
    assert checks["settings"] == "todo"
    assert "operator" in shell("config", "apply", "--as", "bert", "--yes", code=1).err
    assert shell.json("config", "apply", "--as", "anna", "--yes")["applied"]
    shown = shell.json("config", "show")
    assert (shown["differences"], shown["settings"]["node"]["interrupt_bound_ms"]) == ([], 75)


@pytest.mark.timeout(60)
def test_a_node_in_the_foreground_answers_and_ends_when_told(house: House) -> None:
    shell = house.shell
    shell("serve", "--stop")
    serving = shell.start("serve", "--json")
    assert serving.stdout is not None
    ready = json.loads(serving.stdout.readline())
    assert (ready["schema"], ready["pid"], ready["state"]) == ("failwell/serve/1", serving.pid, "ready")
    assert shell.json("serve", code=3)["error"]["code"] == "locked"
    stopped = shell.json("serve", "--stop")
    assert (stopped["was_running"], stopped["pid"]) == (True, serving.pid)
    assert shell.end_of(serving).code == 0


def _look_around(shell: Shell) -> None:
    persons = shell.json("person", "list")["persons"]
    assert [(each["person"], each["roles"]) for each in persons] == [
        ("anna", ["operator", "approver"]), ("bert", ["approver"]), ("cleo", ["approver"]),
    ]  # fmt: skip
    _, agent = shell.json("agent", "list")["agents"]
    assert (agent["name"], agent["authority"], agent["contract"]) == ("refund-bot", "ACTIVE", "refund-bot@1")
    shown = shell.json("agent", "show", "refund-bot")
    assert shown["tools"][0] | {"advisory": True, "deadline_ms": 30000.0} == shown["tools"][0]
    assert shell.json("config", "show")["differences"] == []
    host = ("agent", "register", "--host", "web-shop", "--agents", "refund-bot")
    assert shell.json(*host, "--as", "anna", "--yes")["agents"] == [shown["agent"]]
    asked = shell.json("run", "--host", "web-shop", *send("refund-bot", "c-0", seconds=95)[1:], code=1)
    assert (asked["verdict"], asked["clauses"], asked["error"]["code"]) == ("ESCALATE", ["very-long"], "escalated")
    evil = (*send("refund-bot", "c-0")[:-2], "sh", "-c", r"printf '\033]0;owned\007[red]x\n'; echo torn >&2; exit 3")
    failed = shell(*evil, code=1)
    assert failed.out == "\\x1b]0;owned\\x07[red]x\n"
    assert failed.err.startswith("notices.send failed: exit code 3: torn [entry ")
    assert shell.json("agent", "show", "refund-bot")["authority"] == "ACTIVE"


def _fail(shell: Shell, log: Path) -> None:
    """A long send runs; a second is allowed, the third is beyond the limit: everything stops."""
    long = shell.start(*send("refund-bot", "c-1", seconds=60))
    wait_until(lambda: len(tool_processes(shell)) >= 2)
    allowed = shell.json(*send("refund-bot", "c-2"))
    assert (allowed["verdict"], allowed["state"], allowed["result"]) == ("ALLOW", "completed", {"sent": "c-2"})
    denied = shell(*send("refund-bot", "c-3"), code=1)
    assert "per-minute" in denied.err
    assert "[entry " in denied.err
    ended = shell.end_of(long)
    assert ended.code == 1
    assert "interrupted_confirmed" in ended.err
    assert tool_processes(shell) == []
    with log.open("a") as shop:  # somebody sends round the gate, to a customer with an odd name
        told = {"sent_at": format_at(time.time_ns() // 1000), "customer": ODD, "failwell_action": None}
        shop.write(json.dumps(told) + "\n")
    refused = shell.json(*send("refund-bot", "c-4"), code=1)
    assert (refused["verdict"], refused["clauses"]) == ("DENY", ["authority.suspended"])
    assert refused["error"]["code"] == "denied"


def _read_the_incident(shell: Shell) -> None:
    listed = shell.json("incident", "list")
    assert listed["not_taken"] == [1]
    assert shell("incident", "list").out.splitlines()[1] == ("Somebody takes it: failwell incident acknowledge 1")
    wait_until(lambda: shell.json("incident", "show", "1")["times"]["paged"] is not None)
    told = shell.json("incident", "show", "1")
    assert told["authority"] == "SUSPENDED"
    assert [stop["state"] for stop in told["stops"]] == ["interrupted_confirmed"]
    assert told["bound"]["measured_ms"] > 0
    assert told["escaped_effects"]["counted_from"] == ["shop-log"]
    assert told["escaped_effects"]["without_verdict"] == 1
    assert ODD in [one["id"] for one in told["customers"]]
    first, second, *rest = shell("incident", "show", "1", "--timeline", "--customers").out.splitlines()
    assert first == "refund-bot reached its limit per-minute: notices.send was denied."
    assert "Done too: 1 running tool stopped." in rest
    taking = "It is suspended; the record is locked. Asked: Somebody takes it: failwell incident acknowledge 1"
    assert second == taking
    assert any(line.startswith(ODD) for line in rest)


def _tell_the_customers(shell: Shell) -> None:
    """One was reached round the gate, one perhaps, by a send that failed: both are owed a word, and two others none."""
    first, second, *rest = shell("incident", "impact", "1").out.splitlines()
    assert first == "2 wrong acts of refund-bot reached 2 customers (incident 1); 0 undone, 2 cannot be undone."
    assert second == f"Tell them: failwell incident draft 1 --customer {ODD}"
    assert any("What it could still have done" in line for line in rest)
    draft = shell("incident", "draft", "1", "--customer", ODD).out
    assert draft.startswith("Dear customer,\n\nan automated system of ours did something that concerns you")
    known = shell.json("incident", "customers", "1")
    assert known["not_told"] == [ODD, "c-0"]
    assert [one["name"] for one in known["customers"]] == [ODD, "c-0", "c-1", "c-2"]
    told = shell.json("incident", "told", "1", ODD, "c-0", "--drafted", "--how", "mail", "--as", "bert", "--yes")
    assert list(told["told"]) == [ODD, "c-0"]
    shell.json("incident", "told", "1", "c-nobody", "--text", "Sorry.", "--as", "bert", "--yes", code=2)
    shell("incident", "whole", "1", ODD, "c-0", "--text", "It needed nothing.", "--as", "anna", "--yes")
    assert shell("incident", "customers", "1").first == "2 customers reached by wrong acts: 0 not told, 0 not whole."


def _give_back(shell: Shell) -> None:
    release = ("agent", "release")
    shell.json("agent", "release", "approve", "refund-bot", "--as", "bert", "--yes", code=1)  # nothing is proposed
    propose = ("propose", "refund-bot", "--conditions", "The template is mended.", "--evidence", "20,21")
    early = shell.json(*release, *propose, "--as", "anna", "--yes", code=1)
    assert "ACKNOWLEDGED" in early["error"]["message"]
    assert shell.json("incident", "acknowledge", "1", "--as", "anna", "--yes")["person"] == "anna"
    shell(*release, *propose, "--as", "anna", "--yes")
    same = shell.json(*release, "approve", "refund-bot", "--as", "anna", "--yes", code=1)
    assert "another person" in same["error"]["message"]
    assert shell.json("agent", "show", "refund-bot")["authority"] == "SUSPENDED"
    given = shell.json(*release, "approve", "refund-bot", "--as", "bert", "--yes")
    assert given["authority"] == "PROBATION"
    # It is judged once more, runs into its limit again, and is stopped again.
    again = shell.json(*send("refund-bot", "c-5"), code=1)
    assert again["clauses"] == ["authority.restricted", "per-minute"]
    assert shell.json("incident", "list", "--open")["not_taken"] == [2]


def _verify(shell: Shell, mail: bytes) -> None:
    kept = shell.root / "mail.eml"
    kept.write_bytes(mail)
    key = shell.root / "kept.pub"
    key.write_text((shell.workspace / "keys" / "log.pub").read_text())
    anchored = ("ledger", "verify", "--checkpoint", str(kept), "--key", str(key))
    live = shell.json(*anchored)
    assert live["ok"]
    assert live["findings"] == []
    states: dict[str, str] = {}
    for check in shell.json("doctor", code=1)["checks"]:
        states.setdefault(check["part"], check["state"])  # of several ways to people mail comes first
    parts = ("kill", "channels", "settings", "orders")
    assert {part: states[part] for part in parts} == dict.fromkeys(parts, "ok")
    assert states["incidents"] == "todo"  # the second one
    assert states["persons"] == "todo"
    assert states["bypass"] == "unknown"

    shell("serve", "--stop")
    assert shell("serve", "--stop").out == "No node was running.\n"
    done = shell(*anchored)
    assert "none missing or changed" in done.first
    entries = shell.json("ledger", "tail", "-n", "5")["entries"]
    assert [entry["kind"] for entry in entries][-1] == "node.stopped"
    assert shell.json("ledger", "rebuild")["identical"]

    copy = shell.root / "copy"
    shutil.copytree(shell.workspace, copy)
    assert shell.json(*anchored, at=copy)["ok"]
    with contextlib.closing(sqlite3.connect(copy / "ledger.db")) as database, database:
        database.execute("UPDATE agent SET row = replace(row, 'SUSPENDED', 'ACTIVE')")
    assert shell.json("ledger", "rebuild", code=1, at=copy)["replaced"] is False
    assert shell.json("ledger", "rebuild", "--write", at=copy)["replaced"] is True
    assert shell.json(*anchored, at=copy)["ok"]
    with contextlib.closing(sqlite3.connect(copy / "ledger.db")) as database, database:
        rows = database.execute("SELECT seq, data FROM entry ORDER BY seq").fetchall()
        seq, data = next((seq, data) for seq, data in rows if b'"verdict":"DENY"' in data)
        changed = data.replace(b'"verdict":"DENY"', b'"verdict":"DENI"')
        database.execute("UPDATE entry SET data = ? WHERE seq = ?", (changed, seq))
    found = shell("ledger", "verify", code=1, at=copy)
    assert found.first.startswith("THE RECORD DOES NOT VERIFY")
    assert found.first.endswith(f"First bad entry: {seq}.")
