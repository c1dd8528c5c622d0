"""`failwell demo`, run once as a newcomer runs it; what it claims is held against logs and ledger read here."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from failwell.core.instants import parse_at
from failwell.execute.processes import scan_processes
from failwell.node import audit
from failwell.node.workspace import Workspace, lock_holder

pytestmark = pytest.mark.slow

COMMAND = (sys.executable, "-m", "failwell", "demo", "--headless")
MOMENTS = {"onset", "detected", "ordered", "stopped", "suspended", "held", "paged"}
#: A machine that is busy with other tests may take longer than the stated bound to stop; it must then say so.
OVER_BOUND = "the stated bound is"


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """One run of the demonstration: its directory and the object it printed."""
    directory = tmp_path_factory.mktemp("demo") / "here"
    done = subprocess.run(
        [*COMMAND, "--json", "--into", str(directory)], capture_output=True, text=True, timeout=55, check=False
    )
    told = json.loads(done.stdout)
    assert "error" not in told, told
    return directory, {**told, "status": done.returncode}


def entries(directory: Path) -> list[Any]:
    shown = [each.entry for each in audit.tail(directory / "workspace", 100_000)]
    assert None not in shown
    return shown


def effects(directory: Path) -> dict[str, tuple[str, int, str | None]]:
    """Number of each notice that either log names -> (customer, earliest time, marker of its action)."""
    rows: list[tuple[str, str, str, str | None]] = []
    with contextlib.closing(sqlite3.connect(directory / "shop" / "shop.db")) as database:
        for table in ("notice", "bulk_notice"):
            rows += database.execute(f"SELECT id, customer, sent_at, failwell_action FROM {table}").fetchall()
    for log in ("notices", "bulk"):
        lines = (directory / "mail" / f"{log}.jsonl").read_text().splitlines()
        logged = [json.loads(line) for line in lines]
        rows += [(each["id"], each["customer"], each["at"], each["failwell_action"]) for each in logged]
    found: dict[str, tuple[str, int, str | None]] = {}
    for number, customer, at, action in rows:
        at_us = parse_at(at)
        known = found.get(number)
        assert known is None or (known[0], known[2]) == (customer, action)
        found[number] = (customer, at_us if known is None else min(at_us, known[1]), action)
    return found


def marked(origin: str) -> list[int]:
    """Processes that carry the marker of this ledger's tools, or name its directory."""
    found = []
    for pid in scan_processes():
        with contextlib.suppress(OSError):
            if f"FAILWELL_ACTION={origin}/".encode() in Path(f"/proc/{pid}/environ").read_bytes():
                found.append(pid)
    return found


def named(directory: Path) -> list[int]:
    found = []
    for pid in scan_processes():
        with contextlib.suppress(OSError):
            if str(directory).encode() in Path(f"/proc/{pid}/cmdline").read_bytes() and pid != os.getpid():
                found.append(pid)
    return found


@pytest.mark.requirement("R29.1")
def test_the_whole_story_held_and_the_exit_code_says_so(ran: tuple[Path, dict[str, Any]]) -> None:
    _, told = ran
    assert [each for each in told["failures"] if OVER_BOUND not in each] == []
    assert told["status"] == (1 if told["failures"] else 0)


@pytest.mark.requirement("R29.1")
def test_onset_is_the_first_recorded_repeat_and_every_moment_stands_in_the_ledger(
    ran: tuple[Path, dict[str, Any]],
) -> None:
    directory, told = ran
    record = entries(directory)
    repeats = [e for e in record if e.kind == "decision" and "one-notice-each" in [c.id for c in e.body.clauses]]
    assert told["times"]["onset"]["entry"] == repeats[0].seq
    assert repeats[0].body.verdict == "ALLOW"
    assert told["times"].keys() == MOMENTS
    onset_us = parse_at(told["times"]["onset"]["at"])
    kinds = {"detected": "incident.opened", "ordered": "interrupt.ordered", "suspended": "authority.changed",
             "held": "hold.placed", "stopped": "interrupt.confirmed", "paged": "page.attempted"}  # fmt: skip
    for name, moment in told["times"].items():
        entry = record[moment["entry"]]
        assert entry.kind == kinds.get(name, "decision")
        assert entry.at == moment["at"]
        assert moment["after_onset_ms"] == (parse_at(entry.at) - onset_us) / 1000
    assert len({told["times"][name]["at"] for name in ("detected", "ordered", "suspended", "held")}) == 1


@pytest.mark.requirement("R29.1", "R11.1")
def test_what_escaped_is_what_the_logs_of_shop_and_mail_server_say(ran: tuple[Path, dict[str, Any]]) -> None:
    directory, told = ran
    onset_us = parse_at(told["times"]["onset"]["at"])
    detected_us = parse_at(told["times"]["detected"]["at"])
    escaped = [effect for effect in effects(directory).values() if effect[1] >= onset_us]
    counted = told["escaped_effects"]
    assert counted["before_detection"] == sum(at_us < detected_us for _, at_us, _ in escaped)
    assert counted["while_stopping"] == sum(at_us >= detected_us for _, at_us, _ in escaped)
    assert counted["after_fence"] == 0
    assert counted["without_verdict"] == 0
    assert escaped
    reached = [customer for customer, _, _ in escaped]
    assert {each["id"]: each["effects"] for each in told["customers"]} == {c: reached.count(c) for c in reached}


def test_nothing_went_out_after_the_last_process_was_gone(ran: tuple[Path, dict[str, Any]]) -> None:
    directory, told = ran
    record = entries(directory)
    ordered = record[told["times"]["ordered"]["entry"]]
    ended = [e.body.ended_mono_us for e in record if e.kind == "interrupt.confirmed"]
    assert ended
    gone_us = parse_at(ordered.at) + max(ended) - ordered.mono_us
    assert max(at_us for _, at_us, _ in effects(directory).values()) <= gone_us


def test_the_bulk_send_and_its_child_were_stopped_mid_way(ran: tuple[Path, dict[str, Any]]) -> None:
    _, told = ran
    stops = told["stops"]
    assert [stop["state"] for stop in stops] == ["interrupted_confirmed"] * len(stops)
    bulk = next(stop for stop in stops if stop["tool"] == "notices.send_bulk")
    assert bulk["processes"] >= 2
    assert 0 < told["bound"]["measured_ms"] < 5000
    assert told["bound"]["stated_ms"] == 50
    assert told["bound"]["proven_by"]


def test_every_effect_names_a_decision_that_allowed_it_and_none_came_after_the_suspension(
    ran: tuple[Path, dict[str, Any]],
) -> None:
    directory, told = ran
    record = entries(directory)
    allowed = {f"{record[0].origin}/{e.seq}" for e in record if e.kind == "decision" and e.body.verdict == "ALLOW"}
    assert {action for _, _, action in effects(directory).values()} <= allowed
    after = [e for e in record[told["times"]["suspended"]["entry"] :] if e.kind == "decision"]
    assert {e.body.verdict for e in after} == {"DENY"}
    assert len({e.run for e in after}) == 2
    assert told["refused"]["same_run"] > 0
    assert told["refused"]["later_runs"] > 0


@pytest.mark.requirement("R29.1")
def test_the_ledger_verifies_and_agrees_with_the_checkpoint_in_the_owners_mail(
    ran: tuple[Path, dict[str, Any]],
) -> None:
    directory, told = ran
    mail = Path(told["mail"])
    assert mail.parent == directory / "mail"
    report = audit.verify_workspace(directory / "workspace", checkpoints=[mail])
    assert report.findings == ()
    assert report.entries == told["ledger"]["entries"]
    assert audit.rebuild_workspace(directory / "workspace").identical
    rewritten = told["tamper"]["rewritten"]
    assert rewritten["changed"]
    assert min(rewritten["changed"]) < rewritten["checkpoint_size"] <= report.entries
    assert (rewritten["found_alone"], rewritten["found_with_mail"]) == (False, True)
    byte = told["tamper"]["changed_byte"]
    assert (byte["found"], byte["named"]) == (True, byte["entry"])


@pytest.mark.requirement("R24.2")
def test_denial_would_have_stopped_the_first_repeat(ran: tuple[Path, dict[str, Any]]) -> None:
    _, told = ran
    judged = told["then_deny"]
    assert judged["first_denied"] == told["times"]["onset"]["entry"]
    assert judged["same_as_recorded"] == judged["decisions"]
    assert judged["repeats"] == judged["repeats_denied"] == told["repeats_recorded"] > 0


@pytest.mark.requirement("R29.2")
def test_it_leaves_a_closed_workspace_and_no_process(ran: tuple[Path, dict[str, Any]]) -> None:
    directory, told = ran
    workspace = directory / "workspace"
    assert told["workspace"] == str(workspace)
    assert not (workspace / "ledger.db-wal").exists()
    assert not [path for path in directory.rglob("*") if stat.S_ISSOCK(path.lstat().st_mode)]
    assert lock_holder(Workspace(workspace)) is None
    assert marked(entries(directory)[0].origin) == []
    assert named(directory) == []
    assert told["elapsed_ms"] < 20_000
    assert not list(workspace.rglob("shop.db")) + list(workspace.rglob("*.eml"))


# ---- ended from outside ---------------------------------------------------------------------------------------


@contextlib.contextmanager
def started(directory: Path) -> Iterator[subprocess.Popen[str]]:
    # A test run in the background ignores SIGINT, and so would what it starts.
    heeding = (
        "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execv(sys.argv[1], sys.argv[1:])"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", heeding, *COMMAND, "--into", str(directory)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_ended_half_way_it_ends_everything_that_it_started(tmp_path: Path) -> None:
    directory = tmp_path / "here"
    with started(directory) as process:
        assert process.stdout is not None
        while (line := process.stdout.readline()) and " ready " not in line:
            pass
        assert line, "it ended before it was ready"
        time.sleep(0.8)  # the agent is at work, or about to be
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=45)
    assert process.returncode == 130
    assert "Stopped." in errors
    assert "Traceback" not in errors
    assert named(directory) == []
    assert marked(Workspace(directory / "workspace").origin()) == []
    assert audit.verify_workspace(directory / "workspace").findings == ()


def test_a_directory_that_is_in_use_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    done = subprocess.run(
        [*COMMAND, "--json", "--into", str(tmp_path)], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 2
    error = json.loads(done.stdout)["error"]
    assert "is not empty" in error["message"]
    assert error["hint"]
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
