"""What was shown of each executor class stands in the record, shuts what cannot be stopped, and opens it again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from failwell.core.errors import FailwellError
from failwell.execute.processes import scan_processes
from failwell.execute.retest import read_result, retest_launch
from failwell.ports.executor import Ended, SelfTest
from tests.simulate.fixtures import house, stage
from tests.simulate.house import SETTINGS, House, NodeProcess, apply, await_true

__all__ = ["house", "stage"]

FINE: dict[str, Any] = {
    "interrupt": "confirmed", "interrupt_us": 5000, "interrupt_processes": 3, "node_killed": "confirmed",
    "node_killed_us": 6000, "node_killed_processes": 3, "pid_namespace": True, "pid_namespace_why": None,
    "elapsed_us": 300_000, "cgroup": False, "cgroup_why": "not delegated", "rollback": "confirmed", "cpu_us": 400_000,
}  # fmt: skip


def retesting(house: House) -> NodeProcess:
    """A node that tests anew every moment, as `tell` says."""
    return house.node(crashing=True, env={"FAILWELL_TEST_RETEST": "1"})


def tell(house: House, program: str | None = None, **result: Any) -> None:
    """What the next tests come to: a result, or what a program does; nothing: what this machine really shows."""
    place = house.root / "retest.sh"
    if program is None and not result:
        place.unlink(missing_ok=True)
        return
    part = place.with_suffix(".part")
    said = json.dumps({**FINE, **result})
    part.write_text(program or f"echo '{said}'")
    part.rename(place)


def shown_of(house: House, executor: str = "supervised") -> list[dict[str, Any]]:
    return [entry["body"] for entry in house.entries("executor.tested") if entry["body"]["executor"] == executor]


def newest(house: House, executor: str, state: str) -> dict[str, Any]:
    """The newest entry of a class, once it says so."""
    found: dict[str, Any] = await_true(
        lambda: (told := shown_of(house, executor)) and told[-1]["state"] == state and told[-1]
    )
    return found


def test_each_start_says_of_every_class_what_was_shown_of_it(house: House) -> None:
    node = house.node(tested=True)
    told = {entry["body"]["executor"]: entry["body"] for entry in house.entries("executor.tested")}
    started = house.entries("node.started")[-1]
    assert told["supervised"]["state"] in ("ok", "degraded")
    assert told["supervised"]["mechanisms"][0] == "sweep"
    assert told["supervised"]["figures"]["order_us"] == started["body"]["self_test"]["interrupt_us"]
    assert (told["transactional"]["state"], told["transactional"]["mechanisms"]) == ("ok", ["rollback"])
    assert {name: told[name]["state"] for name in ("fenced", "unstoppable", "cooperative")} == dict.fromkeys(
        ("fenced", "unstoppable", "cooperative"), "untested"
    )
    house.end(node)
    house.verify()


def test_the_test_of_an_interval_is_real_cheap_and_disturbs_nothing_that_runs(house: House) -> None:
    node = retesting(house)
    running = house.agent().start("c1", grandchild=True)
    await_true(lambda: len(house.alive()) == 2)  # its log comes before its grandchild
    alive = set(house.alive())
    before = len(shown_of(house))
    await_true(lambda: len(shown_of(house)) >= before + 2)
    newest_one = shown_of(house)[-1]
    assert newest_one["state"] in ("ok", "degraded")
    assert 0 < newest_one["figures"]["cpu_us"] < 10_000_000
    assert set(house.alive()) == alive, "the tool and all that it started live on, and are nobody else's"
    house.suspend()
    assert running.result(15)["result"]["state"] == "interrupted_confirmed"
    house.hang_up()
    node.kill()
    await_true(lambda: not [stat for stat in scan_processes().values() if stat.ppid == node.pid])
    house.hold_true()


@pytest.mark.requirement("R6.18")
def test_a_machine_on_which_nothing_can_be_stopped_any_more_shuts_the_gate_until_a_test_passes(house: House) -> None:
    retesting(house)
    caller = house.agent()
    running = caller.start("c1")
    tell(house, interrupt="a process was left")
    assert "a process was left" in newest(house, "supervised", "failed")["detail"]
    assert newest(house, "transactional", "failed")
    refused = caller.write("c2")
    assert (refused["verdict"]["verdict"], refused["verdict"]["clauses"]) == ("DENY", ["health.failed"])
    health = [entry["body"] for entry in house.entries("health")]
    assert (health[-1]["part"], health[-1]["state"]) == ("stopping", "failed")
    status = house.ask("status")
    assert [item["state"] for item in status["tested"]["classes"]][:2] == ["failed", "failed"]
    assert not running.done(), "what runs is not stopped for it"
    tell(house)
    newest(house, "supervised", "ok" if os.getuid() == 0 else "degraded")
    await_true(lambda: caller.write("c3")["verdict"]["verdict"] == "ALLOW")
    health = [entry["body"] for entry in house.entries("health")]
    assert (health[-1]["part"], health[-1]["state"]) == ("stopping", "ok")
    house.suspend()
    assert running.result(15)["result"]["state"] == "interrupted_confirmed"
    house.hang_up()
    house.hold_true(caller.acks)
    house.nodes[-1].stop()
    house.verify()


def test_a_start_that_shows_nothing_shuts_the_gate_and_a_later_test_opens_it(house: House) -> None:
    tell(house, interrupt="a process was left")
    house.node(crashing=True, env={"FAILWELL_TEST_RETEST": "1", "FAILWELL_TEST_SELF_TEST": "1"})
    with pytest.raises(FailwellError, match="self-test could not confirm"):
        house.agent()
    assert newest(house, "supervised", "failed")
    tell(house)
    newest(house, "supervised", "ok" if os.getuid() == 0 else "degraded")
    caller = await_true(house.agent)
    assert caller.write("c1")["result"]["state"] == "completed"
    house.hold_true(caller.acks)


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("trap '' TERM; (setsid sleep 1000 &) ; sleep 1000", "deadline"),
        ("echo broken >&2; exit 3", "broken"),
    ],
    ids=["hangs, deaf and away", "fails"],
)
def test_a_test_that_gives_no_result_is_a_failed_one_and_leaves_nothing(
    house: House, program: str, said: str
) -> None:  # fmt: skip
    node = retesting(house)
    house.ask("status")
    tell(house, program)
    assert said in newest(house, "supervised", "failed")["detail"]
    tell(house)
    newest(house, "supervised", "ok" if os.getuid() == 0 else "degraded")
    left = [stat for stat in scan_processes().values() if stat.name == "sleep" and not stat.dead]
    assert not [stat for stat in left if _argument(stat.pid) == "1000"]
    house.hang_up()
    assert node.stop() == 0


def _argument(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")[1]
    except (OSError, IndexError):
        return ""


def test_a_mechanism_that_fails_is_given_up_and_the_class_goes_on_without_it(house: House) -> None:
    retesting(house)
    first = shown_of(house)[-1]
    if "pid namespace" not in first["mechanisms"]:
        pytest.fail("this machine shows no pid namespace: the test needs root")
    tell(house, pid_namespace=False, pid_namespace_why="unshare: not permitted")
    told = newest(house, "supervised", "degraded")
    assert told["mechanisms"] == ["sweep"]
    assert "given up pid namespace: unshare: not permitted" in told["detail"]
    assert house.agent().write("c1")["result"]["state"] == "completed"
    confirmed = house.agent().start("c2")
    house.suspend()
    assert confirmed.result(15)["result"]["state"] == "interrupted_confirmed"
    assert "pid namespace" not in house.entries("interrupt.confirmed")[-1]["body"]["proven_by"]


@pytest.mark.requirement("R6.11")
@pytest.mark.requirement("R6.20")
def test_a_failed_rollback_shuts_transactional_tools_and_no_other(house: House) -> None:
    retesting(house)
    database = house.root / "work.db"
    database.touch(mode=0o600)
    program = json.dumps(house.target()["command"])
    transactional = f'[tools."note.send"]\ncommand = {program}\ntransaction = "{database}"\n'
    apply(house, SETTINGS + transactional)
    tell(house, rollback="a transaction that was killed half-way: 600 of 600 rows")
    assert newest(house, "transactional", "failed")
    caller = house.agent()
    with pytest.raises(FailwellError, match="nothing that is transactional starts here"):
        caller.act({"customer": "c1"}, tool="note.send")
    blocked = house.entries("outcome")[-1]["body"]
    assert (blocked["state"], blocked["by"]) == ("blocked", "gate"), "what it took of its limits is given back"
    assert house.began() == []
    assert caller.write("c2")["result"]["state"] == "completed"
    tell(house)
    newest(house, "transactional", "ok")
    house.hold_true()
    house.hang_up()
    house.nodes[-1].stop()
    house.verify()


def test_a_fenced_tool_whose_fence_cannot_be_told_does_not_start(house: House) -> None:
    retesting(house)
    fence = house.root / "fence.sh"
    program = json.dumps(house.target()["command"])
    tools = [f'[tools."{tool}"]\ncommand = {program}\nfence = ["{fence}"]\n' for tool in ("note.send",)]
    apply(house, SETTINGS + "".join(tools))
    assert "cannot be executed here" in newest(house, "fenced", "failed")["detail"]
    caller = house.agent()
    with pytest.raises(FailwellError, match="nothing that is fenced starts here"):
        caller.act({"customer": "c1"}, tool="note.send")
    fence.write_text("#!/bin/sh\nexit 0\n")
    fence.chmod(0o700)
    newest(house, "fenced", "ok")
    assert caller.act({"customer": "c2"}, tool="note.send")["result"]["state"] == "completed"


LIAR = """
import os, sys, time
until, seen = time.time() + 60, set()
while time.time() < until:
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            parts = open(f"/proc/{pid}/environ", "rb").read().split(b"\\0")
        except OSError:
            continue
        for part in parts:
            if part.startswith(b"FAILWELL_ACTION=") and b"self-test" in part and part not in seen:
                seen.add(part)
                print(len(seen), flush=True)
                if os.fork() == 0:
                    os.execve("/bin/sleep", ["sleep", "30"], {"FAILWELL_ACTION": part[16:].decode()})
"""


@pytest.mark.requirement("R6.19")
def test_who_carries_the_name_of_a_self_test_makes_none_fail() -> None:
    """Attack: processes that bear the marker of the test that runs, to be found alive when its own should be dead.

    Beside the test as an ordinary user's would be: a pid namespace would hide them from it.
    """
    liar = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", LIAR], start_new_session=True, stdout=subprocess.PIPE, text=True
    )
    try:
        launch = retest_launch(-5, "self-test/failwell/none/")
        for _ in range(2):
            done = subprocess.run(
                launch.command, env=launch.env, capture_output=True, text=True, timeout=60, check=True
            )
            result = SelfTest(**json.loads(done.stdout))
            assert (result.interrupt, result.node_killed, result.rollback) == ("confirmed",) * 3
    finally:
        os.killpg(liar.pid, signal.SIGKILL)
        said, _ = liar.communicate()
    assert len(said.splitlines()) >= 2, "it bore the names of several"


def test_a_result_is_read_strictly() -> None:
    made: dict[str, Any] = {
        "action": -5, "state": "completed", "exit_code": 0, "signal": None, "output": json.dumps(FINE).encode(),
        "truncated": False, "errors": b"", "started_us": 0, "ended_us": 1, "swept": 0, "proven_by": "", "why": None,
        "sweep_us": 0,
    }  # fmt: skip
    assert isinstance(read_result(Ended(**made)), SelfTest)
    for output in (b"", b"[]", b"{}", b'{"more": 1}', json.dumps({**FINE, "more": 1}).encode()):
        assert read_result(Ended(**{**made, "output": output})) == "the self-test gave no result that can be read"
    cut = Ended(**{**made, "state": "interrupted_confirmed", "why": "deadline"})
    assert read_result(cut) == "the self-test interrupted_confirmed: deadline"
