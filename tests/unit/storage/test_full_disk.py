"""A full disk: what permits is refused, what restricts is written from the reserve, the record says both (I8)."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from failwell.core import kinds, orders
from failwell.core.errors import Unhealthy
from failwell.core.records import Draft
from failwell.identity import persons
from failwell.ledger import writer as writers
from failwell.ledger.jobs import CONTAINMENT, Plan
from failwell.node import audit
from failwell.ports.storage import StorageFailed
from failwell.response import orders as response
from tests.unit.verify import ledgers

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 12 MB, where this user may mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = os.geteuid() == 0 and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if not mounted or mounted.returncode != 0:
        pytest.skip("a small file system cannot be mounted here (needs root); the file size limit below stands in")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def fill(place: Path) -> Path:
    """Take all that is left."""
    filler = place / "filler"
    handle = os.open(filler, os.O_CREAT | os.O_WRONLY, 0o600)
    with contextlib.suppress(OSError):
        while True:
            os.write(handle, b"\0" * 4096)
    os.close(handle)
    return filler


def _ask_on(made: ledgers.Made, run: int) -> None:
    for number in range(2000):
        made.refund(run, f"d{number}", f"B-{number}")


def states(path: Path) -> list[str]:
    entries = [shown.entry for shown in audit.tail(path, 1000)]
    return [entry.body.state for entry in entries if entry is not None and isinstance(entry.body, kinds.Health)]


@pytest.mark.requirement("R1.6", "R28.1", "R28.2", "R28.3")
def test_on_a_full_disk_nothing_is_allowed_and_a_suspension_still_gets_through(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writers, "MEND_US", 50_000)
    path = small_disk / "w"
    with ledgers.fresh(path) as made:
        ledgers.begin(made)
        run = made.run()
        suspend = made.sign("piet", "agent.suspend", orders.AgentSuspend(agent=ledgers.AGENT, reason="full"), "0" * 64)
        filler = fill(small_disk)
        refused = 0
        for number in range(2000):
            try:
                made.refund(run, f"c{number}", f"A-{number}")
            except Unhealthy:
                refused += 1
                break
        assert refused
        seq = made.do(response.suspend(suspend, persons.verify_order, source="node"), CONTAINMENT)
        assert made.book.state.agent[ledgers.AGENT].authority == "SUSPENDED"
        with pytest.raises(Unhealthy):
            _ask_on(made, run)
        filler.unlink()
        for _ in range(200):
            try:
                made.run()
                break
            except Unhealthy:
                threading.Event().wait(0.02)
        assert made.writer.failure is None
        assert made.book.storage.reserve_path.exists()  # type: ignore[attr-defined]
    report = audit.verify_workspace(path)
    assert report.ok, report.findings
    assert report.entries > seq
    found = states(path)
    assert found[0] == "failed"
    assert found[-1] == "ok"


def test_it_is_the_reserve_that_lets_the_suspension_through(small_disk: Path) -> None:
    path = small_disk / "w"
    with ledgers.fresh(path) as made:
        ledgers.begin(made)
        suspend = made.sign("piet", "agent.suspend", orders.AgentSuspend(agent=ledgers.AGENT, reason="full"), "0" * 64)
        made.book.storage.spend_reserve()
        filler = fill(small_disk)
        with pytest.raises(Unhealthy):
            made.do(response.suspend(suspend, persons.verify_order, source="node"), CONTAINMENT)
        filler.unlink()
    assert audit.verify_workspace(path).ok


CHILD = """
    import json, resource, sys, threading
    from pathlib import Path
    from failwell.core import kinds
    from failwell.core.errors import Unhealthy
    from failwell.core.records import Draft
    from failwell.ledger import writer as writers
    from tests.unit.verify import ledgers

    writers.MEND_US = 20_000
    told = {}
    def write(made, detail):
        body = kinds.Health(part="test", state="ok", detail=detail)
        try:
            return made.write(Draft(body=body, actor="node"))[0]
        except Unhealthy as error:
            return error.code

    with ledgers.fresh(Path(sys.argv[1])) as made:
        told["before"] = write(made, "before")
        log = Path(sys.argv[1]) / "ledger.db-wal"
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (log.stat().st_size + 100, hard))
        told["full"] = write(made, "x" * 20_000)
        told["still"] = write(made, "still")
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        for _ in range(300):
            told["after"] = write(made, "after")
            if isinstance(told["after"], int):
                break
            threading.Event().wait(0.02)
    print(json.dumps(told))
"""


@pytest.mark.requirement("R1.6", "R28.1", "R28.2")
def test_when_no_more_can_be_written_callers_are_told_and_when_it_can_it_goes_on(tmp_path: Path) -> None:
    """The same without root: the kernel refuses every write beyond a size (EFBIG), then takes them again."""
    path = tmp_path / "w"
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(CHILD), str(path)],
        cwd=ROOT, capture_output=True, text=True, check=True, timeout=50, env={**os.environ, "PYTHONPATH": "src:."},
    )  # fmt: skip
    told = json.loads(done.stdout)
    assert isinstance(told["before"], int)
    assert told["full"] in ("storage-failed", "storage-full")
    assert told["still"] in ("storage-failed", "storage-full")
    assert isinstance(told["after"], int)
    report = audit.verify_workspace(path)
    assert report.ok, report.findings
    details = [
        shown.entry.body.detail for shown in audit.tail(path, 100) if shown.entry and shown.entry.kind == "health"
    ]
    assert details[0] == "before"
    assert details[-1] == "after"
    assert "still" not in details
    assert "x" * 20_000 not in details


def test_a_disk_error_is_told_as_such(tmp_path: Path) -> None:
    with ledgers.fresh(tmp_path / "w") as made:
        made.book.storage._write.close()  # type: ignore[attr-defined]
        with pytest.raises(StorageFailed):
            made.write(Draft(body=kinds.Health(part="test", state="ok", detail="x"), actor="node"))
        made.do(lambda turn: Plan((), lambda _: None), CONTAINMENT)
