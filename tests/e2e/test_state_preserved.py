"""The working state of what was stopped, taken from real processes: kept with the record, and shown to who asks."""

from __future__ import annotations

import json
import os
import sys
import time
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from failwell.ledger.vault import commitment
from failwell.node.assembly import open_book
from failwell.node.clock import SystemClock
from tests.simulate.fixtures import house, stage
from tests.simulate.house import SETTINGS, House, apply, await_true
from tests.simulate.house import TOOL as WITNESS_TOOL

__all__ = ["house", "stage"]

#: Writes a file where it works, holds another open, then goes on for a minute.
WORKING = """
import json, os, subprocess, sys, time
with open("half-done", "w") as file:
    file.write("a refund for anna")
held = open("held-open", "w")
print("dear anna", flush=True)
subprocess.run([sys.executable, "-I", "-S", sys.argv[1], sys.argv[2]], input=sys.stdin.buffer.read())
"""


def working_tool(house: House, place: Path) -> None:
    program = house.root / "working.py"
    program.write_text(WORKING)
    command = json.dumps([sys.executable, "-I", "-S", str(program), str(WITNESS_TOOL), str(house.witness)])
    tool = f'[tools."note.write"]\ncommand = {command}\ncwd = "{place}"\nenv = {{SHOP = "of anna"}}\n'
    apply(house, SETTINGS + tool)


@pytest.mark.requirement("R9.4")
@pytest.mark.requirement("R9.6")
def test_what_ran_and_what_lay_where_it_worked_is_kept_and_shown(house: House) -> None:
    node = house.node(crashing=True)
    place = house.root / "desk"
    place.mkdir()
    working_tool(house, place)
    caller = house.agent()
    running = caller.start("c1", deaf=True)
    action = house.entries("decision")[0]["seq"]
    house.suspend()
    assert running.result(15)["result"]["state"] == "interrupted_confirmed"
    entry = await_true(lambda: house.entries("state.preserved"))[0]
    outcome = house.entries("outcome")[0]
    assert entry["seq"] > outcome["seq"], "the outcome waited for nothing"
    body = entry["body"]
    assert (body["decision"], body["files"]) == (action, 2)
    assert body["processes"] >= 2

    told = house.ask("action", action)["preserved"]
    assert (told["entry"], told["holds"]) == (entry["seq"], True)
    files = {path: digest for path, _, digest in told["directory"]["files"]}
    assert files["half-done"] == sha256(b"a refund for anna").hexdigest()
    processes = told["snapshot"]["processes"]
    opened = [each["to"] for item in processes for each in item.get("files", [])]
    assert str(place / "held-open") in opened
    assert all("SHOP" in item["environment"] and item["memory_map"] for item in processes)
    assert "dear anna" in told["snapshot"]["output_tail"]
    assert "of anna" not in json.dumps(told), "names of variables are kept, values are not"

    house.hold_true(caller.acks)
    house.end(node)
    house.verify()
    data = house.workspace.ledger.read_bytes()
    for personal in (b"dear anna", b"half-done", b"held-open"):
        assert personal not in data, "it lies in the blob alone"
    book = open_book(house.workspace, house.workspace.open_keys(), SystemClock())
    blob = book.storage.blob(entry["seq"])
    assert blob is not None
    secret = book.vault.open(blob)
    assert commitment(bytes.fromhex(secret["salt"]), secret["snapshot"].encode()) == body["snapshot"]
    book.storage.close()


def test_a_directory_without_end_delays_neither_the_outcome_nor_who_waits_for_it(house: House) -> None:
    house.node(crashing=True)
    place = house.root / "desk"
    place.mkdir()
    for number in range(3000):
        (place / f"file-{number}").write_bytes(b"x" * 5000)
    os.mkfifo(place / "pipe")
    working_tool(house, place)
    caller = house.agent()
    running = caller.start("c1")
    house.suspend()
    began = time.monotonic()
    assert running.result(15)["result"]["state"] == "interrupted_confirmed"
    waited_s = time.monotonic() - began
    told: dict[str, Any] = await_true(lambda: house.entries("state.preserved"))[0]["body"]
    assert waited_s < 5
    assert told["files"] <= 3002
    assert "pipes" in told["missing"]
    assert not told["complete"]


def test_where_nobody_declared_that_it_works_nobody_looks(house: House) -> None:
    """The agent's own directory is named by the agent, and may be anybody's."""
    house.node(crashing=True)
    caller = house.agent()
    target = {**house.target(), "cwd": "/"}
    running = caller.start("c1", target=target)
    house.suspend()
    running.result(15)
    body = await_true(lambda: house.entries("state.preserved"))[0]["body"]
    assert (body["directory"], body["files"]) == (None, 0)
    assert body["snapshot"] is not None
