"""A node dies in the middle of its work: what it left is found, stopped and said; no call runs again that may not."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from failwell.core import contract as contracts
from failwell.execute.processes import Stat, read_stat, scan_processes
from failwell.execute.records import read_boot_id, read_records
from failwell.execute.reports import write_atomically
from failwell.execute.survivors import sweep_node
from tests.simulate.fixtures import house, stage
from tests.simulate.house import CONTRACT, Caller, House, NodeProcess, await_true

__all__ = ["house", "stage"]

PTRACE_ATTACH, PTRACE_DETACH = 16, 17
_libc = ctypes.CDLL(None, use_errno=True)


def adopt_harmless(house: House, version: int = 2) -> None:
    """note.write may run twice from now on; note.send still may not."""
    text = CONTRACT.format(agent="refund-bot", version=version, at_most=1000, deadline="60s")
    text = text.replace("tool: note.write\n", "tool: note.write\n    idempotent: true\n")
    made = contracts.load(text, name="refund-bot")
    house.hand("bert").adopt_contract(made, house.hand("anna").sign_contract(made))


def lingering(house: House) -> dict[str, Any]:
    """The tool, which does its work and then does not end."""
    work = " ".join(house.target()["command"])
    return {"command": ["/bin/sh", "-c", f"{work}; exec sleep 61"], "env": {}}


def kill_at_work(house: House, node: NodeProcess, customer: str = "c1", **call: Any) -> int:
    """A call under way when its node is killed; the run that it belongs to."""
    caller = house.agent()
    caller.start(customer, 0, target=lingering(house), **call)
    node.kill()
    house.hang_up()
    await_true(lambda: not house.alive())
    assert caller.run is not None
    return caller.run


def going_on(house: House, run: int) -> Caller:
    caller = house.caller()
    caller.run = run
    return caller


# ---- a call that is made again -----------------------------------------------------------------------------------


@pytest.mark.requirement("R28.4")
def test_after_a_kill_of_the_node_a_harmless_call_runs_once_more_and_any_other_is_told_how_it_ended(
    house: House,
) -> None:
    node = house.node(crashing=True)
    adopt_harmless(house)
    run = kill_at_work(house, node, call="harmless")
    node = house.node(crashing=True)
    caller = going_on(house, run)
    again = caller.write("c1", call="harmless")
    assert (again["verdict"]["repeated"], again["result"]["state"]) == (False, "completed")
    first, second = house.entries("decision")
    assert first["seq"] in [seq for _, seq, _ in second["refs"]], "its own record, which says what it runs again"
    third = caller.write("c1", call="harmless")
    assert (third["verdict"]["entry"], third["verdict"]["state"]) == (second["seq"], "completed")
    assert third["result"] == {**again["result"], "erased": None}, "what came of it, and nothing ran"
    assert len(house.began()) == 2
    ended = [(body["decision"], body["by"]) for body in (each["body"] for each in house.entries("outcome"))]
    assert ended == [(first["seq"], "recovery"), (second["seq"], "supervisor")]
    house.hang_up()

    run = kill_at_work(house, node, "c2", call="harmful", tool="note.send")
    house.node(crashing=True)
    caller = going_on(house, run)
    told = caller.write("c2", call="harmful", tool="note.send")
    assert told["verdict"]["repeated"]
    assert told["verdict"]["state"] == told["result"]["state"]
    assert told["verdict"]["state"] in ("interrupted_confirmed", "unknown")
    assert len(house.began()) == 3
    house.hold_true()


@pytest.mark.requirement("R8.4")
def test_a_suspended_agents_harmless_call_never_runs_again(house: House) -> None:
    node = house.node(crashing=True)
    adopt_harmless(house)
    caller = house.agent()
    caller.start("c1", 0, target=lingering(house), call="harmless")
    os.kill(node.pid, signal.SIGSTOP)
    with contextlib.suppress(Exception):
        house.suspend()  # left in orders/, and the supervisors are told
    await_true(lambda: not house.alive())
    node.kill()
    house.hang_up()
    house.node(crashing=True)
    told = going_on(house, caller.run or 0).write("c1", call="harmless")
    assert (told["verdict"]["repeated"], told["verdict"]["verdict"]) == (True, "DENY")
    assert told["result"]["state"] == "interrupted_confirmed"
    assert len(house.began()) == 1
    house.hold_true()


# ---- supervisors of a dead node ----------------------------------------------------------------------------------


def supervisors_of(node: NodeProcess, house: House) -> list[Stat]:
    """The supervisors that are on record, as processes."""
    found = [read_stat(record.pid) for record in read_records(house.workspace.runtime)]
    return [stat for stat in found if stat is not None]


@pytest.mark.requirement("R28.4")
@pytest.mark.requirement("R6.13")
def test_a_supervisor_that_stands_still_when_its_node_dies_is_told_to_stop_by_the_next(house: House) -> None:
    node = house.node(crashing=True)
    caller = house.agent()
    caller.start("c1", grandchild=True, deaf=True)
    await_true(lambda: len(house.alive()) >= 2)
    (supervisor,) = supervisors_of(node, house)
    os.kill(supervisor.pid, signal.SIGSTOP)
    node.kill()
    house.hang_up()
    assert house.alive(), "nobody has stopped it yet"
    house.node(crashing=True)
    assert house.alive() == []
    (swept,) = [entry["body"] for entry in house.entries("leftovers.swept")]
    assert (swept["supervisors"], swept["left"]) == (1, 0)
    assert swept["actions"] == [house.entries("decision")[0]["seq"]]
    outcome = house.entries("outcome")[0]["body"]
    assert (outcome["state"], outcome["by"]) == ("interrupted_confirmed", "recovery"), "by the supervisor's own report"
    assert read_records(house.workspace.runtime) == []
    house.hold_true(caller.acks)
    house.verify()


@contextlib.contextmanager
def wedged(pid: int) -> Iterator[None]:
    """A process that only SIGKILL reaches: traced and never told to go on."""
    assert _libc.ptrace(PTRACE_ATTACH, pid, None, None) == 0, os.strerror(ctypes.get_errno())
    os.waitpid(pid, 0x40000000)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            _libc.ptrace(PTRACE_DETACH, pid, None, None)
            os.waitpid(pid, os.WNOHANG | 0x40000000)


def test_a_wedged_supervisor_is_swept_over_its_head_and_the_end_is_unknown(house: House) -> None:
    node = house.node(crashing=True)
    caller = house.agent()
    # Its tool hides its marker, so that nothing but descent leads to it.
    hidden = ["/bin/sh", "-c", "exec env -i /bin/sleep 62"]
    caller.ask({"customer": "c1", "millis": 0}, target={"command": hidden, "env": {}})

    def sleeper() -> list[int]:
        named = [stat for stat in scan_processes().values() if stat.name == "sleep" and not stat.dead]
        return [stat.pid for stat in named if Path(f"/proc/{stat.pid}/cmdline").read_bytes() == b"/bin/sleep\x0062\x00"]

    (tool,) = await_true(sleeper)
    (supervisor,) = supervisors_of(node, house)
    with wedged(supervisor.pid):
        node.kill()
        house.hang_up()
        house.node(crashing=True)
        assert (stat := read_stat(tool)) is None or stat.dead
        assert (stat := read_stat(supervisor.pid)) is None or stat.dead
    (swept,) = [entry["body"] for entry in house.entries("leftovers.swept")]
    assert (swept["supervisors"], swept["left"]) == (1, 0)
    assert swept["processes"] >= 1  # with a pid namespace, its first process too
    assert "gave no answer" in swept["detail"]
    assert house.entries("outcome")[0]["body"]["state"] == "unknown"
    house.hold_true(caller.acks)
    house.verify()


def test_a_record_that_names_an_innocent_process_of_ours_stops_nobody(tmp_path: Path) -> None:
    """Attack: whoever can write into the runtime directory names the starting node itself as a supervisor."""
    running = tmp_path / "running"
    running.mkdir()
    for action, pid in ((7, os.getpid()), (8, os.getppid())):
        stat = read_stat(pid)
        assert stat is not None
        body: dict[str, object] = {
            "action": action, "agent": "a", "tool": "t", "pid": pid, "start_ticks": stat.start_ticks,
            "boot_id": read_boot_id(),
        }  # fmt: skip
        write_atomically(str(running / f"{action}.json"), body, durable=False)
    found = sweep_node(tmp_path, tmp_path, ["failwell/none/"])
    assert found.nothing
    assert found.describe() == "nothing was left"
