"""From a workspace at work to its audit: honest ledgers have no finding, also killed, also live; rebuilds too."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import pytest

from failwell.core import kinds, note
from failwell.core.errors import Corrupt, InputError, Unhealthy
from failwell.core.records import Draft
from failwell.ledger.jobs import Plan
from failwell.node import audit
from failwell.node.copies import copy_ledger
from failwell.node.workspace import Lock, Workspace
from failwell.notify.message import build_message
from failwell.ports.notifier import Mail
from failwell.storage import sqlite
from failwell.verify.finding import STEPS
from tests.unit.verify import ledgers

ROOT = Path(__file__).resolve().parents[2]


def health(detail: str = "fine") -> Draft:
    return Draft(body=kinds.Health(part="test", state="ok", detail=detail), actor="node")


def inside(path: Path) -> dict[str, tuple[int, int, str]]:
    """Everything in a directory: size, time of change, content."""
    return {
        str(found.relative_to(path)): (
            found.stat().st_size,
            found.stat().st_mtime_ns,
            hashlib.sha256(found.read_bytes()).hexdigest(),
        )
        for found in path.rglob("*")
        if found.is_file()
    }


# ---- honest ledgers ------------------------------------------------------------------------------------------------


def test_an_honest_ledger_verifies_rebuilds_and_opens_with_everything_that_was_written(tmp_path: Path) -> None:
    with ledgers.fresh(tmp_path / "w") as made:
        ledgers.begin(made)
        run = ledgers.work(made)
        kept = made.sealed()
        asked = made.ask(run, "secret", "orders.read", {"order_id": "A-SECRET"})
    assert kept is not None
    assert b"A-SECRET" not in made.workspace.ledger.read_bytes()
    report = audit.verify_workspace(tmp_path / "w", checkpoints=[kept])
    assert report.ok, report.findings
    assert {step.state for step in report.checks} == {"proved"}
    assert report.good == report.entries == report.size
    rebuilt = audit.rebuild_workspace(tmp_path / "w")
    assert rebuilt.identical
    assert not rebuilt.replaced
    with ledgers.reopened(tmp_path / "w", made.clock) as again:
        secret: dict[str, Any] = again.do(lambda turn: _of(turn.secret(asked.entry)))
        assert secret["arguments"] == '{"order_id":"A-SECRET"}'
        assert again.do(lambda turn: _of(turn.token("principal", "customer:8841"))).startswith("p-")


def _of(value: Any) -> Plan[Any]:
    return Plan((), lambda _: value)


def test_the_report_is_plain_json_with_a_line_for_each_step(tmp_path: Path) -> None:
    report = audit.verify_workspace(ledgers.small(tmp_path / "w"))
    told = report.as_dict()
    assert told["schema"] == "failwell/ledger-verify/1"
    assert (told["ok"], told["first_bad"], told["findings"]) == (True, None, [])
    assert [step["number"] for step in told["checks"]] == list(STEPS)
    assert len({step.line() for step in report.checks}) == len(STEPS)


def test_verify_rebuild_and_tail_change_nothing_in_the_workspace(tmp_path: Path) -> None:
    path = ledgers.small(tmp_path / "w")
    before = inside(path)
    audit.verify_workspace(path)
    audit.rebuild_workspace(path)
    audit.tail(path, 3)
    assert inside(path) == before


def test_a_workspace_nobody_may_write_in_is_verified_all_the_same(tmp_path: Path) -> None:
    path = ledgers.small(tmp_path / "w")
    for found in (path, path / "ledger.db"):
        found.chmod(0o500 if found.is_dir() else 0o400)
    assert audit.verify_workspace(path).ok
    assert len(audit.tail(path, 4)) == 4
    path.chmod(0o700)


def test_a_workspace_that_was_moved_verifies_where_it_lies_now(tmp_path: Path) -> None:
    path = ledgers.small(tmp_path / "w")
    shutil.move(path, tmp_path / "elsewhere")
    assert audit.verify_workspace(tmp_path / "elsewhere").ok


def test_a_ledger_goes_on_over_many_starts_and_boots(tmp_path: Path) -> None:
    path = tmp_path / "w"
    with ledgers.fresh(path) as made:
        ledgers.begin(made)
    for number in range(5):
        clock = ledgers.StepClock(
            boot=f"{number:032x}", mono_us=1000 * number, wall_us=ledgers.START_US + 10**9 * number
        )
        with ledgers.reopened(path, clock) as made:
            run = made.run()
            made.settle(made.ask(run, "c", "orders.read", {"order_id": "A-1"}))
            made.refund(run, "d", f"A-{number}")
    assert audit.verify_workspace(path).ok
    assert audit.rebuild_workspace(path).identical


# ---- killed --------------------------------------------------------------------------------------------------------


def test_at_every_commit_what_lies_on_the_disk_is_an_honest_ledger(tmp_path: Path) -> None:
    """The writer's handles are abandoned after each commit, as a killed process abandons them."""
    path, killed = tmp_path / "w", tmp_path / "killed"
    sizes: list[int] = []

    def abandoned(entries: list[Any]) -> None:
        target = killed / str(len(sizes))
        target.mkdir(parents=True)
        sqlite.copy(path / "ledger.db", target / "ledger.db")
        shutil.copytree(path / "keys", target / "keys")
        shutil.copytree(tmp_path / "w.guard", target / "guard")
        (target / "keys" / "guard").write_text("guard\n")  # as it was then: later it remembers more
        sizes.append(entries[-1].seq + 1)

    with ledgers.fresh(path) as made:
        made.writer._after = abandoned
        ledgers.begin(made)
        ledgers.work(made)
    assert len(sizes) > 20
    for number, size in enumerate(sizes):
        report = audit.verify_workspace(killed / str(number))
        assert report.ok, report.findings
        assert report.entries == size
        assert audit.rebuild_workspace(killed / str(number)).identical
    last = killed / str(len(sizes) - 3)
    with ledgers.reopened(last, ledgers.StepClock(boot="c" * 32)) as again:
        again.write(health("after the crash"))
    assert audit.verify_workspace(last).ok


CHILD = """
    import sys
    from pathlib import Path
    from tests.unit.verify import ledgers

    with ledgers.fresh(Path(sys.argv[1])) as made:
        ledgers.begin(made)
        run = made.run()
        print("ready", flush=True)
        for number in range(100_000):
            verdict = made.ask(run, f"c{number}", "orders.read", {"order_id": "A-1"})
            print(verdict.entry, made.book.leaf(verdict.entry), flush=True)
            made.settle(verdict)
"""


@pytest.mark.parametrize("attempt", range(3))
@pytest.mark.requirement("R28.4")
def test_nothing_acknowledged_is_lost_when_the_process_is_killed(
    tmp_path: Path, rng: random.Random, attempt: int
) -> None:
    path = tmp_path / "w"
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(CHILD), str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": "src:."},
    ) as child:  # fmt: skip
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        told = [child.stdout.readline() for _ in range(rng.randrange(5, 120))]
        os.kill(child.pid, signal.SIGKILL)
        told += [line for line in child.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
    stored = {shown.seq: shown.leaf for shown in audit.tail(path, 100_000)}
    for line in told:
        seq, leaf = line.split()
        assert stored[int(seq)] == leaf
    assert audit.verify_workspace(path).ok
    with ledgers.reopened(path, ledgers.StepClock(boot="d" * 32)) as again:
        again.write(health("after the kill"))
    assert audit.verify_workspace(path).ok
    assert audit.rebuild_workspace(path).identical


# ---- live ----------------------------------------------------------------------------------------------------------


def test_a_workspace_is_verified_and_read_while_its_node_writes(tmp_path: Path) -> None:
    path = tmp_path / "w"
    with ledgers.fresh(path) as made:
        ledgers.begin(made)
        lock = Lock(Workspace(path))
        done = threading.Event()

        def write() -> None:
            while not done.is_set():
                made.write(health("busy"))

        busy = threading.Thread(target=write)
        busy.start()
        try:
            sizes = []
            for _ in range(8):
                report = audit.verify_workspace(path)
                assert report.ok, report.findings
                sizes.append(report.entries)
                assert [shown.entry.kind for shown in audit.tail(path, 3) if shown.entry] == ["health"] * 3
                assert audit.rebuild_workspace(path).identical
            assert sizes == sorted(sizes)
            assert sizes[0] < sizes[-1]
            with pytest.raises(Unhealthy, match="another node"):
                audit.rebuild_workspace(path, write=True)
        finally:
            done.set()
            busy.join(10)
            lock.release()


def test_a_ledger_that_changes_while_it_is_copied_is_copied_again_or_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = ledgers.small(tmp_path / "w")
    honest = sqlite.copy
    left = [2]

    def disturbed(source: Path, target: Path) -> None:
        honest(source, target)
        if left[0]:
            left[0] -= 1
            os.utime(source, ns=(1, 10**18 + left[0]))

    monkeypatch.setattr(sqlite, "copy", disturbed)
    assert audit.verify_workspace(path).ok
    assert left == [0]
    left[0] = 100
    with pytest.raises(Unhealthy, match="changed while it was copied"):
        copy_ledger(Workspace(path), tmp_path / "copy.db")


# ---- rebuild -------------------------------------------------------------------------------------------------------


def test_rows_that_differ_are_named_and_put_right_only_when_asked(tmp_path: Path) -> None:
    path = ledgers.small(tmp_path / "w")
    storage = sqlite.SqliteStorage(path / "ledger.db")
    storage._write.execute("UPDATE agent SET row = replace(row, 'SUSPENDED', 'ACTIVE')")
    storage._write.execute("DELETE FROM hold")
    storage._write.execute("INSERT INTO person VALUES ('mallory', '{}')")
    storage.close()
    told = audit.rebuild_workspace(path)
    assert {(finding.table, finding.code) for finding in told.differing} == {
        ("agent", "row.changed"), ("hold", "row.missing"), ("person", "row.extra"),
    }  # fmt: skip
    assert not told.replaced
    assert not audit.verify_workspace(path).ok
    assert audit.rebuild_workspace(path, write=True).replaced
    assert audit.verify_workspace(path).ok
    assert audit.rebuild_workspace(path).identical
    assert not audit.rebuild_workspace(path, write=True).replaced


def test_nothing_is_rebuilt_from_entries_that_do_not_verify(tmp_path: Path) -> None:
    path = ledgers.small(tmp_path / "w")
    storage = sqlite.SqliteStorage(path / "ledger.db")
    storage._write.execute("UPDATE entry SET leaf = zeroblob(32) WHERE seq = 9")
    storage.close()
    for write in (False, True):
        with pytest.raises(Corrupt, match="entry 9"):
            audit.rebuild_workspace(path, write=write)


# ---- checkpoints from elsewhere ------------------------------------------------------------------------------------


def mail(text: str) -> bytes:
    """The bytes of a page as it is sent."""
    page = Mail(to="owner@shop.example", subject="suspended", text=text, message_id="<1@shop.example>", headers={})
    return build_message(page, "failwell@shop.example", ledgers.START_US).as_bytes()


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    path = tmp_path_factory.mktemp("shop") / "w"
    with ledgers.fresh(path) as made:
        ledgers.begin(made)
        kept = made.sealed()
        ledgers.work(made)
    return path, kept


def wrapped(kept: bytes) -> dict[str, bytes]:
    text = kept.decode()
    sentence = f"refund-bot is stopped. Schöne Grüße.\n\nThe newest checkpoint:\n\n{text}\nKeep this mail.\n"
    quoted = "".join(f"> {line}\n" for line in sentence.splitlines())
    return {
        "the note itself": kept,
        "a text around it": sentence.encode(),
        "no empty line above": f"The newest checkpoint:\n{text}".encode(),
        "line ends of mail": sentence.replace("\n", "\r\n").encode(),
        "quoted in an answer": quoted.encode(),
        "indented": "".join(f"    {line}\n" for line in sentence.splitlines()).encode(),
        "a mail as it was sent": mail(sentence),
        "a mail that quotes it": mail(quoted),
        "two of the same": (sentence + sentence).encode(),
    }


@pytest.mark.parametrize("name", wrapped(b""))
def test_a_kept_checkpoint_is_found_wherever_it_was_kept(shop: tuple[Path, bytes], tmp_path: Path, name: str) -> None:
    path, kept = shop
    file = tmp_path / "kept"
    file.write_bytes(wrapped(kept)[name])
    assert audit.find_notes(file.read_bytes()) == (kept,)
    report = audit.verify_workspace(path, checkpoints=[file])
    assert report.ok, report.findings
    assert report.checks[6].state == "proved"


def test_a_file_without_a_checkpoint_is_said_to_have_none(shop: tuple[Path, bytes], tmp_path: Path) -> None:
    path, kept = shop
    damaged = kept.replace(b"\n\n", b"\n")
    for data in (b"", b"hello", damaged, kept[: len(kept) // 2], b"\xff" * 100, mail("nothing here")):
        file = tmp_path / "kept"
        file.write_bytes(data)
        with pytest.raises(InputError, match="no signed checkpoint"):
            audit.verify_workspace(path, checkpoints=[file])
    with pytest.raises(InputError, match="cannot be read"):
        audit.verify_workspace(path, checkpoints=[tmp_path / "missing"])


def test_a_kept_checkpoint_whose_figures_were_changed_vouches_for_nothing(shop: tuple[Path, bytes]) -> None:
    path, kept = shop
    size = note.Checkpoint.parse(note.SignedNote.parse(kept).text).size
    forged = kept.replace(b"\n%d\n" % size, b"\n%d\n" % (size + 1))
    report = audit.verify_workspace(path, checkpoints=[forged])
    assert not report.ok
    assert "kept.unsigned" in report.counts


# ---- tail ----------------------------------------------------------------------------------------------------------


def test_the_tail_is_the_last_entries_oldest_first_also_of_a_damaged_ledger(tmp_path: Path) -> None:
    path = ledgers.small(tmp_path / "w")
    whole = audit.tail(path, 10_000)
    assert [shown.seq for shown in whole] == list(range(len(whole)))
    assert audit.tail(path, 3) == whole[-3:]
    assert audit.tail(path, 0) == []
    storage = sqlite.SqliteStorage(path / "ledger.db")
    storage._write.execute("UPDATE entry SET data = x'00' WHERE seq = ?", (len(whole) - 1,))
    storage.close()
    last = audit.tail(path, 2)[-1]
    assert last.entry is None
    assert last.error is not None
    (path / "ledger.db").write_bytes(b"not a database at all" * 400)
    with pytest.raises(Corrupt):
        audit.tail(path, 2)
