"""One node, one tool with its own log: what runs has a durable ALLOW, what has none leaves no trace there (R1, R2, R8).

The witness is the tool's own log; nobody's word is taken.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import failwell
from failwell.core import orders as o
from failwell.core.errors import FailwellError
from failwell.node import settings, watch
from tests.simulate.fixtures import house, stage
from tests.simulate.house import ROOT, House, shown

__all__ = ["house", "stage"]

#: A node whose disk takes a second for each decision; it notes when each commit of a decision was done.
SLOW = """
import sys, time
from pathlib import Path
from failwell.ledger.book import Book
from tests.simulate import crashing_node
log = Path(sys.argv[4])
commit = Book.commit
def slow(book, sealed=None):
    decided = any(item.kind == "decision" for item in book.written)
    if decided:
        time.sleep(1)
    written = commit(book, sealed)
    if decided:
        log.write_text(str(time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000))
    return written
Book.commit = slow
sys.exit(crashing_node.main(*[Path(part) for part in sys.argv[1:4]]))
"""


@pytest.mark.requirement("R1.1")
def test_a_tool_begins_only_after_its_decision_is_durable(house: House) -> None:
    house.end(house.node(crashing=True))
    durable = house.root / "durable"
    command = [
        sys.executable, "-c", SLOW, str(house.workspace.path), str(house.root / "plan.json"),
        str(shown()), str(durable),
    ]  # fmt: skip
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as node:
        try:
            assert node.stdout is not None
            assert node.stdout.readline().strip() == "ready"
            answer = house.agent().write("c1")
            assert answer["result"]["state"] == "completed"
            assert house.began("c1")[0]["boottime_us"] > int(durable.read_text())
        finally:
            house.hang_up()
            node.terminate()


#: (what the agent asks, the verdict): each outside its contract, or not sure.
DENIED: list[tuple[str, dict[str, Any]]] = [
    ("note.write", {"customer": "too-much", "millis": 0, "amount": "100.01"}),
    ("note.write", {"customer": "no-such-argument", "millis": 0, "extra": 1}),
    ("note.forge", {"customer": "no-such-tool", "millis": 0}),
    ("note.write", {"customer": "trip", "millis": 0}),
]
ESCALATED: list[tuple[str, dict[str, Any]]] = [("note.write", {"customer": "maybe", "millis": 0})]


@pytest.mark.requirement("R1.2", "R1.3")
def test_what_is_denied_or_escalated_never_starts_its_tool(house: House) -> None:
    house.node(crashing=True)
    caller = house.agent()
    for asked, verdict in ((ESCALATED, "ESCALATE"), (DENIED, "DENY")):
        for tool, arguments in asked:
            told = caller.act(arguments, tool=tool)
            assert (told["verdict"]["verdict"], told["result"]) == (verdict, None)
    assert house.agent("other-bot").write("allowed")["result"]["state"] == "completed"
    assert [line["customer"] for line in house.began()] == ["allowed"]


@pytest.mark.requirement("R30.3")
def test_a_tool_that_would_run_weaker_than_its_contract_declares_is_not_started(house: House) -> None:
    house.node(crashing=True)
    caller = house.agent()
    for tool, how in (("vault.open", "execute"), ("vault.open", "begin"), ("note.send", "begin")):
        with pytest.raises(FailwellError, match="the contract declares"):
            caller.act({"customer": "c1"}, tool=tool, how=how)
    assert house.runs() == []
    assert [entry["body"]["state"] for entry in house.entries("outcome")] == ["blocked"] * 3


@pytest.mark.requirement("R33.3")
def test_an_edited_setting_waits_for_a_signed_order_also_over_a_restart(house: House) -> None:
    node = house.node(crashing=True)
    before = house.ask("settings")
    file = house.workspace.path / "failwell.toml"
    file.write_text("[node]\nidle_s = 0\ninterrupt_bound_ms = 77\n")
    house.end(node)
    house.node(crashing=True)
    assert house.ask("settings") == before
    assert house.ask("status")["settings_changed"]
    wanted = settings.settings_text(settings.read_settings(house.workspace.path))
    details = o.ConfigApply(settings=watch.digest(wanted), previous=before["digest"])
    with pytest.raises(FailwellError, match="operator"):
        house.hand("bert").give("config.apply", details)
    assert house.ask("settings") == before
    house.hand("anna").give("config.apply", details)
    assert house.ask("settings")["text"] == wanted != before["text"]
    order, config = house.entries()[-2:]
    assert (order["kind"], order["body"]["person"], config["kind"]) == ("order", "anna", "config")
    assert config["body"]["digest"] == details.settings


@pytest.mark.requirement("R8.1", "R8.3", "R8.4")
def test_a_suspended_agent_starts_nothing_in_any_session_nor_after_restart_and_sigkill(house: House) -> None:
    node = house.node(crashing=True)
    caller, stale = house.agent(), house.agent()
    permitted = caller.act({"customer": "held-back", "millis": 0}, how="decide")
    assert permitted["verdict"]["verdict"] == "ALLOW"
    assert house.suspend().confirmed
    for session in (caller, house.agent()):
        told = session.write("after")
        assert (told["verdict"]["verdict"], told["verdict"]["clauses"]) == ("DENY", ["authority.suspended"])
    node.kill()
    house.hang_up()
    house.node(crashing=True)
    assert house.ask("status")["suspended"] == ["refund-bot"]
    again = house.caller()
    again.run = stale.run
    assert again.write("after-sigkill")["verdict"]["clauses"] == ["authority.suspended"]
    assert house.began() == []


@pytest.mark.requirement("R2.8", "R30.1")
def test_a_decorated_function_runs_only_where_its_call_is_allowed(house: House) -> None:
    house.node(crashing=True)
    log = house.root / "desk.log"
    with house.gate() as gate:

        @gate.tool("desk.ask")
        def ask(customer: str) -> str:
            with log.open("a") as lines:
                lines.write(f"{customer}\n")
            return f"asked {customer}"

        with gate.run("refund-bot"):
            assert ask(customer="inside") == "asked inside"
            with pytest.raises(failwell.Denied):
                ask(customer="not an id")
            with pytest.raises(failwell.Denied):
                ask(customer="x" * 500)
        with pytest.raises(FailwellError), gate.run("nobody-bot"):
            ask(customer="unknown-agent")
        with contextlib.suppress(FailwellError):
            ask(customer="outside-any-run")
    assert log.read_text().split() == ["inside"]
    decided = [entry["body"]["verdict"] for entry in house.entries("decision")]
    assert decided == ["ALLOW", "DENY", "DENY"]


@pytest.mark.requirement("R30.1")
def test_one_command_line_makes_a_command_a_governed_tool(house: House, tmp_path: Path) -> None:
    house.node(crashing=True)
    for customer, verdict in (("from-a-shell", "completed"), ("maybe", "ESCALATE")):
        command = [
            sys.executable, "-m", "failwell", "run", "--workspace", str(house.workspace.path), "--agent", "refund-bot",
            "--tool", "note.write", "--arg", f"customer={customer}", "--arg", "millis:=0", "--json", "--",
            *house.target()["command"],
        ]  # fmt: skip
        done = subprocess.run(
            command,
            cwd=tmp_path, env={**os.environ, "FAILWELL_CONFIG": str(house.config)}, capture_output=True, text=True,
            timeout=30, check=False,
        )  # fmt: skip
        assert verdict in done.stdout, (done.stdout, done.stderr)
    assert [line["customer"] for line in house.began()] == ["from-a-shell"]
