"""`failwell demo` as a newcomer runs it; what it says is held against the ledger and the logs that it leaves (R29)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from failwell.execute.orphans import read_marker
from failwell.execute.processes import scan_processes
from failwell.node import audit
from failwell.node.workspace import Workspace, lock_holder
from tests.invariants import check

Story = dict[str, Any]


@pytest.fixture(scope="module")
def story() -> Iterator[Story]:
    """The demo's own answer, in an environment that has neither keys nor proxies nor settings."""
    with tempfile.TemporaryDirectory(prefix="fw-demo-") as directory:
        into = Path(directory) / "d"
        done = subprocess.run(
            [sys.executable, "-m", "failwell", "demo", "--headless", "--json", "--into", str(into)],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": os.environ.get("PYTHONPATH", "src"), "HOME": directory},
            capture_output=True, text=True, timeout=55, check=False,
        )  # fmt: skip
        assert done.stdout, done.stderr
        yield json.loads(done.stdout)


def entries(story: Story) -> list[dict[str, Any]]:
    return check(Path(story["workspace"]) / "ledger.db").entries


@pytest.mark.requirement("R29.1")
def test_the_onset_is_the_first_recorded_repeat_and_each_moment_the_entry_it_names(story: Story) -> None:
    found = {entry["seq"]: entry for entry in entries(story)}
    recorded = [
        seq
        for seq, entry in found.items()
        if entry["kind"] == "decision" and any(clause["then"] == "record" for clause in entry["body"]["clauses"])
    ]
    assert story["times"]["onset"]["entry"] == recorded[0]
    wanted = {
        "detected": "incident.opened", "ordered": "interrupt.ordered", "stopped": "interrupt.confirmed",
        "suspended": "authority.changed", "held": "hold.placed", "paged": "page.attempted",
    }  # fmt: skip
    for moment, kind in wanted.items():
        told = story["times"][moment]
        assert (found[told["entry"]]["kind"], found[told["entry"]]["at"]) == (kind, told["at"])
    assert story["agent"] in {entry["agent"] for entry in found.values()}


@pytest.mark.requirement("R29.1")
def test_what_escaped_is_counted_as_the_shops_own_log_counts_it(story: Story) -> None:
    escaped = story["escaped_effects"]
    assert escaped["after_fence"] == 0
    assert escaped["before_detection"] > 0
    seen: Counter[tuple[str, str]] = Counter()
    for entry in entries(story):
        if entry["kind"] == "effect.witnessed" and entry["body"]["at_tool"] >= story["times"]["onset"]["at"]:
            seen[entry["body"]["tool"], entry["body"]["ref"]] += 1
    assert len(seen) == escaped["before_detection"] + escaped["while_stopping"]
    assert sum(customer["effects"] for customer in story["customers"]) == len(seen)


@pytest.mark.requirement("R29.2")
def test_it_leaves_no_node_no_process_and_no_socket_and_was_quick(story: Story) -> None:
    workspace = Workspace(Path(story["workspace"]))
    assert lock_holder(workspace) is None
    assert not [path for path in workspace.path.rglob("*") if path.is_socket()]
    assert not (workspace.path / "ledger.db-wal").exists() or not (workspace.path / "ledger.db-wal").stat().st_size
    origin = workspace.origin()
    assert not [
        stat.pid
        for stat in scan_processes().values()
        if not stat.dead and (read_marker(stat.pid) or "").startswith(f"{origin}/")
    ]
    assert story["elapsed_ms"] < 20_000


@pytest.mark.requirement("R24.2")
def test_the_recorded_actions_judged_again_give_the_same_and_with_deny_stop_the_first_repeat(story: Story) -> None:
    then_deny = story["then_deny"]
    assert then_deny["same_as_recorded"] == then_deny["decisions"] > 0
    assert then_deny["first_denied"] == story["times"]["onset"]["entry"]
    assert then_deny["repeats_denied"] == then_deny["repeats"] > 0


@pytest.mark.requirement("R29.1")
def test_its_ledger_verifies_with_the_checkpoint_of_the_mail_and_one_changed_byte_is_found(story: Story) -> None:
    report = audit.verify_workspace(Path(story["workspace"]), checkpoints=[Path(story["mail"])])
    assert report.ok, report.findings
    assert story["tamper"]["changed_byte"]["found"]
    rewritten = story["tamper"]["rewritten"]
    assert (rewritten["found_alone"], rewritten["found_with_mail"]) == (False, True)
