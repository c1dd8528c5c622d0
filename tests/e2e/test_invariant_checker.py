"""The independent checker is no rubber stamp: each seeded fault in a true ledger is found, and named."""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from failwell.client import powers
from tests.invariants import check
from tests.simulate.fixtures import model
from tests.simulate.house import House, await_true, scene

Lines = list[dict[str, Any]]


@pytest.fixture(scope="module")
def lived() -> Iterator[House]:
    """A house in which an agent worked, was stopped in the middle of an action, and asked for more."""
    with scene() as directory:
        house = model().copy(directory / "h")
        try:
            node = house.node()
            caller = house.agent()
            caller.write("c1")
            ticket = int(caller.write("maybe")["verdict"]["ticket"])
            house.hand("anna").approve_ticket(ticket, "I looked at it")
            assert caller.write("maybe", ticket=ticket)["verdict"]["verdict"] == "ALLOW"
            stop_and_lift(house)
            running = caller.start("c2")
            caller.write("trip")
            running.result(10)
            assert caller.write("c3")["verdict"]["verdict"] == "DENY"
            await_true(lambda: not house.alive())
            house.end(node)
            house.hold_true(caller.acks)
            yield house
        finally:
            house.tear_down()


def stop_and_lift(house: House) -> None:
    """One person stops the other agent's contract, two others lift it; in between it is denied."""
    powers.stop(house.workspace, house.persons["cleo"], "contract:other-bot", "it looks wrong")
    assert house.agent("other-bot").write("c0")["verdict"]["verdict"] == "DENY"
    house.hand("anna").propose_lift("contract:other-bot", "it is mended", (1,))
    house.hand("bert").approve_lift("contract:other-bot")


def seq_of(house: House, kind: str, place: int = -1, **body: Any) -> int:
    found = [entry for entry in house.entries(kind) if body.items() <= entry["body"].items()]
    return int(found[place]["seq"])


def run_line(house: House, seq: int, mono_us: int) -> Lines:
    origin = house.workspace.origin()
    return [{"what": "began", "action": f"{origin}/{seq}", "boottime_us": mono_us, "customer": "x"}]


@pytest.mark.parametrize(
    ("lie", "told"),
    [
        (lambda house, runs: [*runs, runs[0]], "I2: the tool ran 2 times"),
        (lambda house, runs: run_line(house, seq_of(house, "decision"), 2**52), "I2: the tool ran as"),
        (lambda house, runs: run_line(house, seq_of(house, "run.opened"), 2**52), "which is no ALLOW"),
        (lambda house, runs: [{**runs[0], "boottime_us": 1}], "before its decision"),
        (lambda house, runs: [{**runs[0], "boottime_us": 2**52}], "I3: the tool began as"),
    ],
    ids=["ran twice", "ran though denied", "ran without a verdict", "ran too early", "ran after the suspension"],
)
def test_a_tool_log_that_contradicts_the_ledger_is_found(
    lived: House, lie: Callable[[House, Lines], Lines], told: str
) -> None:
    runs = lie(lived, lived.runs())
    findings = check(lived.workspace.ledger, runs=runs).findings
    assert any(told in finding for finding in findings), findings


def edit(kind: str, place: int = -1, **fields: Any) -> Callable[[list[dict[str, Any]]], None]:
    def change(entries: list[dict[str, Any]]) -> None:
        [entry for entry in entries if entry["kind"] == kind][place]["body"].update(fields)

    return change


def drop(kind: str, place: int = -1) -> Callable[[list[dict[str, Any]]], None]:
    def change(entries: list[dict[str, Any]]) -> None:
        entries.remove([entry for entry in entries if entry["kind"] == kind][place])

    return change


def double(kind: str, place: int = -1) -> Callable[[list[dict[str, Any]]], None]:
    def change(entries: list[dict[str, Any]]) -> None:
        found = [entry for entry in entries if entry["kind"] == kind][place]
        entries.insert(entries.index(found) + 1, json.loads(json.dumps(found)))

    return change


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (edit("decision", verdict="ALLOW"), "allows an agent that is SUSPENDED"),
        (edit("decision", -2, verdict="ALLOW"), "allows against a clause"),
        (edit("decision", 0, verdict="DENY"), "is no earlier ALLOW"),
        (edit("decision", 0, contract="another@1"), "in force is"),
        (edit("decision", 0, errors=["clause x"]), "allows with errors"),
        (edit("decision", -2, governed=False), "is not governed; the agent is ACTIVE"),
        (double("decision", 0), "decides call"),
        (edit("decision", 2, arguments="0" * 64), "for another action"),
        (double("decision", 2), "uses ticket"),
        (drop("ticket.decided"), "which nobody approved"),
        (edit("ticket.decided", person="cleo"), "for somebody else"),
        (edit("ticket.opened", asked=["cleo"]), "who was not asked"),
        (edit("decision", 3, verdict="ALLOW"), "allows within contract:other-bot, which is stopped"),
        (edit("scope.lifted", person="anna"), "of contract:other-bot by one person"),
        (edit("scope.stopped", by="person:bert"), "by who ordered it"),
        (drop("scope.proposed"), "of contract:other-bot by one person"),
        (drop("scope.stopped"), "which was not stopped"),
        (double("outcome"), "is a second outcome"),
        (drop("authority.changed"), "asks to suspend"),
        (drop("interrupt.confirmed"), "neither confirmed nor unconfirmed"),
        (drop("signal"), "is no signal"),
        (edit("order", text="{}"), "KeyError"),
        (double("order"), "a second time"),
        (edit("order", signature="AA=="), "is not signed by"),
        (edit("contract.adopted", approver="anna"), "adopted by one person"),
        (drop("run.opened"), "breaks the chain"),
        (drop("genesis"), "log_key"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_fault_in_what_the_ledger_says_is_found_also_when_every_hash_is_made_again(
    lived: House, tmp_path: Path, fault: Callable[[list[dict[str, Any]]], None], told: str
) -> None:
    entries = [json.loads(json.dumps(entry)) for entry in check(lived.workspace.ledger).entries]
    fault(entries)
    copy = tmp_path / "ledger.db"
    shutil.copyfile(lived.workspace.ledger, copy)
    rewrite(copy, entries)
    try:
        findings = check(copy, at_rest=True).findings
    except KeyError as error:
        findings = [f"KeyError {error}"]
    assert any(told in finding for finding in findings), findings


def rewrite(ledger: Path, entries: list[dict[str, Any]]) -> None:
    """What somebody with the file and a hash function can do; the checkpoint they cannot sign."""
    connection = sqlite3.connect(ledger)
    connection.execute("DELETE FROM entry")
    for seq, entry in enumerate(entries):
        data = json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
        leaf = hashlib.sha256(b"\0" + data).digest()
        connection.execute("INSERT INTO entry VALUES (?, ?, ?, ?)", (seq, data, leaf, b""))
    connection.commit()
    connection.close()


def test_an_acknowledged_entry_that_is_not_there_is_found(lived: House) -> None:
    size = len(lived.entries())
    findings = check(lived.workspace.ledger, acks=[size - 1, size]).findings
    assert findings == [f"I1: entry {size} was acknowledged and is not there"]


@pytest.mark.parametrize("table", ["agent", "action", "head"])
def test_a_row_that_says_something_else_than_the_entries_is_found(lived: House, tmp_path: Path, table: str) -> None:
    copy = tmp_path / "ledger.db"
    shutil.copyfile(lived.workspace.ledger, copy)
    connection = sqlite3.connect(copy)
    swap = {"agent": ("SUSPENDED", "ACTIVE"), "action": ("denied", "open"), "head": ('"count":', '"count":1')}[table]
    connection.execute(f"UPDATE {table} SET row = replace(row, ?, ?)", swap)
    connection.commit()
    connection.close()
    assert any(finding.startswith("I6") for finding in check(copy).findings)


def test_a_changed_byte_is_found(lived: House, tmp_path: Path) -> None:
    copy = tmp_path / "ledger.db"
    shutil.copyfile(lived.workspace.ledger, copy)
    connection = sqlite3.connect(copy)
    seq = seq_of(lived, "decision")
    (data,) = connection.execute("SELECT data FROM entry WHERE seq = ?", (seq,)).fetchone()
    forged = data.replace(b'"verdict":"DENY"', b'"verdict":"ALLOW"')
    connection.execute("UPDATE entry SET data = ? WHERE seq = ?", (forged, seq))
    connection.commit()
    connection.close()
    assert any("does not hash to its leaf" in finding for finding in check(copy).findings)
