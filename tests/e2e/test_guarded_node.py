"""A node and its guard, with real processes: what a dead, wedged or contradicting guard does to what is permitted.

What cannot be undone leaves sealed or not at all; a seal that is late closes the whole gate on record; a suspension
never asks the guard; a record behind its guard is read only, and goes on by a person's order alone.
"""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from failwell.core.errors import Corrupt, FailwellError, InputError, Refused
from failwell.execute.processes import scan_processes
from failwell.guard.sealing import LocalGuard
from failwell.node import continuity, exports, extracts
from failwell.node.audit import verify_workspace
from failwell.node.guarding import Behind
from failwell.node.service import Node
from tests.invariants import check
from tests.simulate.fixtures import house, stage
from tests.simulate.house import House, NodeProcess, await_true

__all__ = ["house", "stage"]

#: What a promise of "a second" may take on a machine that does much else.
BUSY_S = 6.0


def guard_of(node: NodeProcess) -> int:
    """The process of a node's guard."""
    found = [
        stat.pid
        for stat in scan_processes().values()
        if stat.ppid == node.pid and not stat.dead and b"failwell.guard" in command(stat.pid)
    ]
    assert len(found) == 1, found
    return found[0]


def command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


@contextmanager
def no_guard(house: House, node: NodeProcess) -> Iterator[None]:
    """Keep the node without a guard: whichever it starts finds its state in another process's hands."""
    os.kill(guard_of(node), signal.SIGKILL)
    holder = LocalGuard.open(Path(house.workspace.guard_place()), wait_s=BUSY_S)
    try:
        yield
    finally:
        holder.close()


def send(house: House, caller: Any, customer: str) -> dict[str, Any]:
    """An action that the contract declares irreversible."""
    answer: dict[str, Any] = caller.act({"customer": customer, "millis": 0}, tool="note.send")
    return answer


def sealed_size(house: House) -> int:
    return int(house.ask("status")["sealed"])


def await_sealed(house: House, entry: int) -> None:
    await_true(lambda: sealed_size(house) > entry, BUSY_S)


def test_every_acknowledged_entry_is_sealed_soon_after(house: House) -> None:
    house.node()
    caller = house.agent()
    entry = caller.write("c1")["result"]["entry"]
    await_sealed(house, entry)


@pytest.mark.requirement("R13.26")
def test_what_cannot_be_undone_starts_only_once_its_verdict_is_sealed(house: House) -> None:
    node = house.node()
    caller = house.agent()
    answer = send(house, caller, "c1")
    assert answer["result"]["state"] == "completed"
    guard = guard_of(node)
    os.kill(guard, signal.SIGSTOP)
    try:
        with pytest.raises(FailwellError, match="not sealed"):
            send(house, caller, "c2")
    finally:
        os.kill(guard, signal.SIGCONT)
    assert house.began("c2") == []
    blocked = house.entries("outcome")[-1]["body"]
    assert (blocked["state"], "not sealed" in blocked["why"]) == ("blocked", True)
    await_true(lambda: "c3" in str(_try(house, caller, "c3")) and house.began("c3"), BUSY_S)
    house.end(node)
    house.hold_true()
    house.verify()


def test_leave_that_a_caller_carries_off_is_sealed_too(house: House) -> None:
    """Attack: ask for the verdict only, and do by oneself what the node would have made wait."""
    node = house.node()
    caller = house.agent()
    with no_guard(house, node), pytest.raises(FailwellError, match="not sealed"):
        caller.ask({"customer": "c1", "millis": 0}, tool="note.send", how="decide").result(30)
    assert house.entries("outcome")[-1]["body"]["state"] == "blocked"


def _try(house: House, caller: Any, customer: str) -> str:
    try:
        return f"{customer} {send(house, caller, customer)['verdict']['verdict']}"
    except FailwellError as error:
        return error.message


def test_a_guard_that_stays_away_closes_the_whole_gate_on_record_and_opens_it_again(house: House) -> None:
    node = house.node()
    caller = house.agent()
    assert caller.write("c1")["verdict"]["verdict"] == "ALLOW"
    with no_guard(house, node):
        caller.write("c2")  # acknowledged, and never sealed while the guard is away
        time.sleep(1.2)
        denied = caller.write("c3")["verdict"]
        assert (denied["verdict"], denied["clauses"]) == ("DENY", ["health.failed"])
        for number in range(25):  # more than the ladder takes for a burst of denials
            assert caller.write(f"d{number}")["verdict"]["verdict"] == "DENY"
        status = house.ask("status")
        assert "guard" in status["health"] or "sealed" in status["health"], status["health"]
    health = [entry["body"] for entry in house.entries("health")]
    assert ("guard", "failed") in [(body["part"], body["state"]) for body in health]
    await_true(lambda: caller.write("c4")["verdict"]["verdict"] == "ALLOW", BUSY_S)
    health = [entry["body"] for entry in house.entries("health")]
    assert (health[-1]["part"], health[-1]["state"]) == ("guard", "ok")
    # A guard's fault is no fault of the agent: nothing was made of the denials.
    assert house.ask("incidents") == {}
    house.end(node)
    house.hold_true()
    house.verify()


@pytest.mark.requirement("R28.5")
def test_the_health_entry_stands_before_the_first_verdict_that_it_alters(house: House) -> None:
    node = house.node()
    caller = house.agent()
    with no_guard(house, node):
        caller.write("c1")
        time.sleep(1.2)
        first = caller.write("c2")["verdict"]["entry"]
    failed = [entry["seq"] for entry in house.entries("health") if entry["body"]["state"] == "failed"]
    decisions = [e["seq"] for e in house.entries("decision") if e["body"]["clauses"] and e["seq"] <= first]
    assert failed
    assert decisions
    assert failed[0] < decisions[0]


@pytest.mark.requirement("R28.6")
def test_a_suspension_asks_no_guard(house: House) -> None:
    node = house.node()
    caller = house.agent()
    running = caller.start("long")
    with no_guard(house, node):
        caller.ask({"customer": "x", "millis": 0}).result(30)
        time.sleep(1.1)
        began = time.monotonic()
        done = house.suspend()
        took = time.monotonic() - began
        assert done.confirmed
        assert took < 1.0, f"{took:.3f} s"
        assert running.result(10)["result"]["state"] == "interrupted_confirmed"
    assert house.entries("authority.changed")[-1]["body"]["now"] == "SUSPENDED"


def test_a_killed_guard_is_started_again_and_nothing_is_lost(house: House) -> None:
    node = house.node()
    caller = house.agent()
    for number in range(3):
        os.kill(guard_of(node), signal.SIGKILL)
        await_sealed(house, caller.write(f"c{number}")["result"]["entry"])
    house.end(node)
    house.hold_true()
    house.verify()


def test_a_guard_ends_with_its_node_however_that_ends(house: House) -> None:
    node = house.node()
    guard = guard_of(node)
    node.kill()
    await_true(lambda: b"failwell.guard" not in command(guard), BUSY_S)
    node = house.node()
    guard = guard_of(node)
    house.end(node)
    await_true(lambda: b"failwell.guard" not in command(guard), BUSY_S)


def test_a_node_that_does_not_come_up_leaves_neither_guard_nor_writer(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Any, *_: Any) -> None:
        raise OSError("planned")

    before = set(threading.enumerate())
    with monkeypatch.context() as patch:
        patch.setattr("failwell.execute.supervised.SupervisedExecutor.self_test", broken)
        with pytest.raises(OSError, match="planned"):
            Node(house.workspace)
    left = set(threading.enumerate()) - before
    assert not [each.name for each in left if each.name.startswith("ledger-")]
    LocalGuard.open(Path(house.workspace.guard_place())).close()


# ---- a record behind its guard -----------------------------------------------------------------------------------


def roll_back(house: House) -> tuple[int, bytes]:
    """Put an older copy of the ledger in place; (entries that were lost, a checkpoint over them)."""
    old = house.root / "backup.db"
    shutil.copyfile(house.workspace.ledger, old)
    node = house.node()
    caller = house.agent()
    for number in range(3):
        caller.write(f"lost-{number}")
    house.end(node)
    report = verify_workspace(house.workspace.path)
    assert report.ok
    kept = LocalGuard.open(Path(house.workspace.guard_place()), wait_s=BUSY_S)
    sealed = kept.last()
    kept.close()
    assert sealed is not None
    shutil.copyfile(old, house.workspace.ledger)
    return report.entries, sealed.note


@pytest.mark.requirement("R28.11")
def test_a_restored_backup_is_read_and_not_written_to(house: House) -> None:
    roll_back(house)
    before = house.workspace.ledger.read_bytes()
    node = house.node()
    assert "its guard has signed" in house.ask("status")["health"]
    caller = house.caller()
    with pytest.raises(FailwellError, match="its guard has signed"):
        caller.open()
    done = house.suspend()
    assert not done.confirmed  # ordered; it lies in orders/ and takes effect with the first node that may write
    with pytest.raises(FailwellError):
        house.hand("anna").give("config.apply", None)  # type: ignore[arg-type]
    house.end(node)
    assert house.workspace.ledger.read_bytes() == before
    assert list(house.workspace.orders.glob("*.order"))
    assert not verify_workspace(house.workspace.path).ok  # the guard's own checkpoint is one kept elsewhere
    for taken in (exports.export_checkpoint, lambda path: extracts.export_extract(path, "refund-bot")):
        with pytest.raises(Corrupt, match="its guard has signed"):  # nor is the older copy handed out for the record
            taken(house.workspace.path)
    around = extracts.verify_agent(house.workspace.path, "refund-bot").around
    assert [finding.code for finding in around] == ["behind-guard"]


def test_a_copy_of_a_workspace_that_goes_on_by_itself_is_the_second_history(house: House) -> None:
    """Attack: split view. The copy has everything, the guard's place included; the guard signs for one of them."""
    copy = House(house.root / "twin", house.persons, house.agent_keys)
    shutil.copytree(house.workspace.path, copy.workspace.path)
    node = house.node()
    house.agent().write("c1")
    house.end(node)
    node = copy.node()
    try:
        assert "guard" in copy.ask("status")["health"]
        with pytest.raises(FailwellError, match="guard"):
            copy.agent()
    finally:
        copy.hang_up()
        node.stop()


def test_a_person_orders_to_go_on_and_the_break_stays_on_record(house: House) -> None:
    entries, kept = roll_back(house)
    was = house.workspace.origin()
    with pytest.raises(Refused, match="operator"):
        continuity.continue_log(house.workspace, house.persons["bert"], "lost", _yes)
    with pytest.raises(Refused, match="you said no"):
        continuity.continue_log(house.workspace, house.persons["anna"], "lost", lambda shown: False)
    done = continuity.continue_log(house.workspace, house.persons["anna"], "the disk was replaced", _yes)
    assert done.was == was
    assert done.lost_size == entries
    node = house.node()
    caller = house.agent()  # keys that were made under the first name serve
    assert caller.write("after")["verdict"]["verdict"] == "ALLOW"
    house.end(node)
    report = verify_workspace(house.workspace.path)
    assert report.ok, report.findings
    assert report.origin == house.workspace.origin() != was
    told = [entry["body"] for entry in house.entries("continued")]
    assert [(body["size"], body["lost_size"], body["why"]) for body in told] == [
        (done.size, entries, "the disk was replaced")
    ]
    assert [(each.entry, each.size, each.lost_size) for each in report.breaks] == [(done.entry, done.size, entries)]
    # Who kept a checkpoint of what was lost is told that it was lost, and by which order.
    findings = verify_workspace(house.workspace.path, checkpoints=[kept]).findings
    assert findings
    assert findings[0].code == "kept.lost"
    assert f"given up by the order in entry {done.entry - 1}" in findings[0].message
    assert check(house.workspace.ledger).findings == []


def test_a_whole_record_cannot_be_continued(house: House) -> None:
    with pytest.raises(InputError, match="nothing to go on from"):
        continuity.continue_log(house.workspace, house.persons["anna"], "for fun", _yes)


def test_a_record_whose_guard_is_gone_is_read_only_until_a_person_orders_to_go_on(house: House) -> None:
    shutil.rmtree(house.workspace.guard_place())
    node = house.node()
    with pytest.raises(FailwellError):
        house.agent()
    house.end(node)
    done = continuity.continue_log(house.workspace, house.persons["anna"], "the guard's disk died", _yes)
    assert done.lost_size is None
    node = house.node()
    assert house.agent().write("after")["verdict"]["verdict"] == "ALLOW"
    house.end(node)
    assert verify_workspace(house.workspace.path).ok


def test_a_guard_that_may_come_back_is_no_reason_to_go_on_without_it(house: House) -> None:
    holder = LocalGuard.open(Path(house.workspace.guard_place()))
    try:
        with pytest.raises(FailwellError) as caught:
            continuity.continue_log(house.workspace, house.persons["anna"], "impatient", _yes)
        assert not isinstance(caught.value, Behind)
    finally:
        holder.close()


def test_a_node_that_only_reads_for_want_of_its_guard_makes_room_once_that_is_back(house: House) -> None:
    holder = LocalGuard.open(Path(house.workspace.guard_place()))
    try:
        node = house.node()
        with pytest.raises(FailwellError):
            house.agent()
    finally:
        holder.close()
    assert node.process.wait(30) == 0  # callers and queued pages would keep it for ever
    house.hang_up()
    house.node()
    assert house.agent().write("after")["verdict"]["verdict"] == "ALLOW"


# ---- another key -------------------------------------------------------------------------------------------------


def test_after_a_change_of_key_both_keys_verify_the_whole_record(house: House) -> None:
    old = house.workspace.log_pub.read_text().strip()
    done = continuity.rotate_key(house.workspace, house.persons["anna"], "once a year", _yes)
    assert (done.was, done.key) == (old, house.workspace.log_pub.read_text().strip())
    node = house.node()
    assert house.agent().write("after")["verdict"]["verdict"] == "ALLOW"
    house.end(node)
    for key in (None, old, done.key):
        report = verify_workspace(house.workspace.path, log_key=key)
        assert report.ok, report.findings
    with pytest.raises(Refused, match="operator"):
        continuity.rotate_key(house.workspace, house.persons["bert"], "not mine to give", _yes)
    house.hold_true()


@pytest.mark.parametrize("step", ["guard.rotate", "commit", "guard.confirm", "seal", "published"])
def test_a_change_of_key_that_was_cut_off_has_happened_or_not(
    house: House, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class CutError(Exception):
        pass

    def cut(*_: Any, **__: Any) -> None:
        raise CutError

    where = {
        "guard.rotate": ("failwell.node.continuity._carry_out", cut),
        "commit": ("failwell.guard.remote.RemoteGuard.confirm", cut),
        "guard.confirm": ("failwell.node.continuity._seal", cut),
        "seal": ("failwell.node.workspace.Workspace.guarded_by", cut),
        "published": ("failwell.node.continuity.Rotated", cut),
    }
    with monkeypatch.context() as patch:
        patch.setattr(*where[step])
        with pytest.raises(CutError):
            continuity.rotate_key(house.workspace, house.persons["anna"], "cut off", _yes)
    node = house.node()
    assert house.agent().write("after")["verdict"]["verdict"] == "ALLOW"
    house.end(node)
    report = verify_workspace(house.workspace.path)
    assert report.ok, report.findings
    assert len(house.entries("log.key")) == (step != "guard.rotate")
    house.hold_true()


def _yes(shown: dict[str, Any]) -> bool:
    return True
