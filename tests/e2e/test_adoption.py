"""Beginning where agents already run, on a real node: observed tools run, dates come, vendors are asked (D25)."""

from __future__ import annotations

import base64
import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from failwell.cli.main import _main
from failwell.client.answers import Denied
from failwell.core import orders as o
from failwell.core.instants import format_at
from failwell.identity import agents
from failwell.node import settings, watch
from failwell.node.seen import all_entries
from failwell.verify.enforcement import prove
from tests.simulate.fixtures import house, stage
from tests.simulate.house import SETTINGS, House, await_true

__all__ = ["house", "stage"]

#: Takes access away by writing a file; asked again, it says whether it is gone.
VENDOR = """
import os, pathlib, sys
what, place = sys.argv[1], pathlib.Path(sys.argv[2])
with open(place / "asked", "a") as log:
    log.write(f"{what} {os.environ['FAILWELL_AGENT']} {os.environ['FAILWELL_INCIDENT']}\\n")
if what == "revoke" and not (place / "deaf").exists():
    (place / "gone").touch()
sys.exit(0 if what == "revoke" or (place / "gone").exists() else 1)
"""


def register(house: House, name: str, **more: Any) -> None:
    key = agents.create_agent_key(house.config, house.workspace.origin(), house.full(name))
    house.agent_keys[name] = key
    public = base64.b64encode(key.public).decode()
    house.hand("anna").give("agent.register", o.AgentRegister(agent=house.full(name), key=public, owner="anna", **more))


def observe(house: House, name: str, seconds: float) -> None:
    until = format_at(time.time_ns() // 1000 + round(seconds * 1_000_000))
    house.hand("anna").give("agent.observe", o.AgentObserve(agent=name, until=until, reason="it runs already"))


def configure(house: House, text: str) -> None:
    (house.workspace.path / settings.FILE_NAME).write_text(SETTINGS + text)
    digest = watch.digest(settings.settings_text(settings.parse_settings(SETTINGS + text)))
    previous = house.ask("settings")["digest"]
    house.hand("anna").give("config.apply", o.ConfigApply(settings=digest, previous=previous))


def row(house: House, name: str) -> dict[str, Any]:
    found: dict[str, Any] = house.ask("agents")[house.full(name)]
    return found


def shown_as_not_governed(
    house: House, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    """Every command that tells of an observed agent says that it is not governed, and obeys no name that it shows."""
    crew = house.root / "crew"
    crew.mkdir()
    (crew / "agents.yaml").write_text("writer:\n  role: x\n")
    (crew / "langgraph.json").write_text('{"graphs": {"pla\\u001b[2Jnner": "./a.py:g"}}')
    monkeypatch.setenv("FAILWELL_WORKSPACE", str(house.workspace.path))
    monkeypatch.setenv("FAILWELL_CONFIG", str(house.config))
    monkeypatch.setenv("COLUMNS", "240")  # what is looked for stands in one line
    for command, words in (
        (("agent", "list"), ("NOT GOVERNED.", "OBSERVED, NOT GOVERNED, until")),
        (("agent", "show", "old-bot"), ("OBSERVED, NOT GOVERNED, until",)),
        (("agent", "inventory", str(crew)), ("NOT GOVERNED: observed", "seen, not registered", "pla\\x1b[2Jnner")),
        (("ledger", "enforcement"), ("NOT GOVERNED, and no part of this proof",)),
        (("doctor",), ("OBSERVED, NOT GOVERNED, until",)),
    ):
        _main(list(command))
        told = " ".join(capsys.readouterr().out.split())
        for each in words:
            assert each in told, (command, told)


def test_what_an_observed_agent_asks_for_runs_until_the_date_and_not_after(
    house: House, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    node = house.node()
    register(house, "old-bot")
    observe(house, "old-bot", 600)
    register(house, "late-bot")
    observe(house, "late-bot", 3)
    caller = house.agent("old-bot")
    ran = caller.write("c1")
    assert (ran["verdict"]["verdict"], ran["verdict"]["governed"]) == ("DENY", False)
    assert ran["result"]["state"] == "completed"
    assert len(house.began("c1")) == 1
    told = caller.act({"customer": "c2"}, how="decide")["verdict"]
    assert (told["clauses"], told["governed"], told["state"]) == (["contract.absent"], False, "open")
    with house.gate() as gate, gate.run("old-bot") as run:
        with run.acting("desk.ask", customer="c4") as acting:
            assert not acting.verdict.allowed
            assert acting.verdict.may_start
            acting.result = "asked"
        assert run.decide("desk.ask", customer="c5").may_start
    assert house.ask("status")["not_governed"][-1:] == ["old-bot"]
    shown_as_not_governed(house, monkeypatch, capsys)
    await_true(lambda: row(house, "late-bot")["authority"] == "REGISTERED")
    refused = house.agent("late-bot").write("c6")
    assert (refused["verdict"]["governed"], refused["result"]) == (True, None)
    with house.gate() as gate, gate.run("late-bot") as run, pytest.raises(Denied):
        run.call("desk.ask", customer="c7")
    house.end(node)
    house.hold_true()
    house.verify()


def test_an_observed_agents_running_tool_dies_with_its_suspension(house: House) -> None:
    house.node()
    register(house, "old-bot")
    observe(house, "old-bot", 60)
    going = house.agent("old-bot").start("c1")
    assert house.suspend("old-bot").confirmed
    assert going.result(20)["result"]["state"] == "interrupted_confirmed"
    assert house.agent("old-bot").write("c2")["result"] is None
    await_true(lambda: not house.alive())


def revocation(house: House) -> Path:
    place = house.root / "vendor"
    place.mkdir()
    (place / "vendor.py").write_text(VENDOR)

    def command(what: str) -> str:
        return json.dumps([sys.executable, "-I", str(place / "vendor.py"), what, str(place)])

    text = f"[revocation.vendor-bot]\ncommand = {command('revoke')}\ndeadline_ms = 20000\n"
    log = f"[witness.vendor-log]\nkind = 'jsonl'\npath = '{place}/log'\nagent = 'vendor-bot'\ntool = 'act'\nat = 'at'\n"
    configure(house, f"{text}confirm = {command('ask')}\n{log}")
    return place


def tried(house: House) -> list[dict[str, Any]]:
    return [entry["body"] for entry in house.entries("access.revoked")]


@pytest.mark.requirement("R32.4")
def test_suspending_a_detect_only_agent_takes_its_access_away_confirmed_by_its_vendor(house: House) -> None:
    node = house.node()
    register(house, "vendor-bot", detect_only=True)
    place = revocation(house)
    denied = house.agent("vendor-bot").write("c1")["verdict"]
    assert (denied["clauses"], denied["governed"]) == (["agent.detect-only"], True)
    (place / "log").write_text(json.dumps({"at": format_at(time.time_ns() // 1000)}) + "\n")
    await_true(lambda: house.entries("effect.witnessed"))
    (place / "log").unlink()  # Attack: what shows the rest is taken away
    await_true(lambda: [entry for entry in house.entries("health") if entry["body"]["part"] == "witness:vendor-log"])
    assert not [entry for entry in house.entries("signal") if entry["body"]["signal"] == "bypass"]
    assert house.suspend("vendor-bot").confirmed
    await_true(lambda: tried(house))
    (done,) = tried(house)
    assert (done["state"], done["method"], done["tries"]) == ("confirmed", "confirm", 1)
    assert (place / "asked").read_text().split()[::3] == ["revoke", "ask"]
    case = house.incident_of("vendor-bot")
    assert "STOPPED" in case["marks"]
    assert "CONTAINMENT_FAILED" not in case["marks"]
    told = house.ask("incident", case["number"])
    assert told["access"].startswith("confirmed")
    assert not told["governed"]
    proof = prove(all_entries(house.workspace))
    assert (proof.sound, [one.why for one in proof.apart]) == (True, ["detect-only"])
    assert [gap.until for gap in proof.gaps if gap.what == "log vendor-log was not read"] == [None]
    house.end(node)
    house.hold_true()
    house.verify()


@pytest.mark.requirement("R32.4")
def test_access_that_its_vendor_does_not_say_is_gone_is_unconfirmed_and_tried_again(house: House) -> None:
    """Attack: the command says that all is well, and the token goes on working."""
    node = house.node()
    register(house, "vendor-bot", detect_only=True)
    place = revocation(house)
    (place / "deaf").touch()
    house.suspend("vendor-bot")
    await_true(lambda: tried(house))
    assert tried(house)[0]["state"] == "unconfirmed"
    case = house.incident_of("vendor-bot")
    assert "CONTAINMENT_FAILED" in case["marks"]
    assert "STOPPED" not in case["marks"]
    signals = [entry["body"]["signal"] for entry in house.entries("signal", "vendor-bot")]
    assert "executor.unconfirmed" in signals
    house.end(node)
    (place / "deaf").unlink()
    house.node()  # a start takes up what nobody confirmed
    await_true(lambda: tried(house)[-1]["state"] == "confirmed")
    assert "STOPPED" in house.incident_of("vendor-bot")["marks"]
    house.verify()
