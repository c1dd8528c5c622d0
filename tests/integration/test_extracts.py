"""One agent's record, taken out of a real ledger and looked at in it, whatever state the ledger is in."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from failwell.core.errors import Corrupt, InputError, NotFound, Unhealthy
from failwell.core.extract import Extract
from failwell.core.records import decode_entry
from failwell.core.rows import Head
from failwell.identity import keys
from failwell.ledger.heads import Heads
from failwell.node import audit, continuity, extracts
from failwell.node.reading import LedgerRows
from failwell.node.workspace import Lock, Workspace
from failwell.offline import entries as offline
from failwell.verify.extract import verify_extract
from failwell.verify.extract_report import STEPS
from tests.integration.shell import Shell, open_shell
from tests.simulate.fixtures import house, stage
from tests.simulate.house import House, await_true
from tests.unit.ledger.test_heads import BOT, note
from tests.unit.verify import ledgers

__all__ = ["house", "stage"]

STRANGER = "spiffe://shop.example/agent/stranger"


def key_of(path: Path) -> str:
    return Workspace(path).log_pub.read_text().strip()


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed workspace after honest work of every kind, counted before it was closed."""
    path = tmp_path_factory.mktemp("shop") / "w"
    with ledgers.fresh(path) as made:
        heads = Heads(made.book)
        ledgers.begin(made)
        made.do(heads.write)
        ledgers.work(made)
        made.do(heads.write)
        made.sealed()
    return path


def entries_of(path: Path, agent: str) -> list[int]:
    shown = audit.tail(path, 10_000)
    return [each.seq for each in shown if each.entry is not None and each.entry.agent == agent]


@pytest.mark.parametrize("agent", [ledgers.AGENT, STRANGER])
@pytest.mark.parametrize("with_cited", [False, True])
def test_what_is_taken_out_is_all_and_verifies_with_either_decoder(shop: Path, agent: str, with_cited: bool) -> None:
    made = extracts.export_extract(shop, agent.rsplit("/", 1)[-1], with_cited=with_cited)
    extract = Extract.parse(made.data)
    assert extract.agent == agent
    mine = [seq for seq, data in extract.entries if decode_entry(data).agent == agent]
    assert mine == entries_of(shop, agent)
    typed, bare = (
        verify_extract(made.data, decode=decode, verify=keys.verify, log_key=key_of(shop))
        for decode in (lambda _, data: decode_entry(data), offline.decode_entry)
    )
    assert typed.ok
    assert typed == bare == made.report
    assert (typed.entries, typed.complete_to, typed.size) == (len(mine), typed.size, typed.size)
    assert (typed.cited_elsewhere == 0) is with_cited or agent == STRANGER


def test_it_is_shown_to_continue_an_older_checkpoint_or_extract(tmp_path: Path) -> None:
    path = tmp_path / "w"
    with ledgers.fresh(path) as made:
        heads = Heads(made.book)
        made.write(*[note(BOT)] * 3)
        made.do(heads.write)
        made.sealed()
        old = extracts.export_extract(path, "bot").data  # beside a writer that goes on
        made.write(*[note(f"{BOT}-2")] * 9, note(BOT))
        made.do(heads.write)
        made.sealed()
    (tmp_path / "old.json").write_bytes(old)
    new = extracts.export_extract(path, "bot", checkpoints=[tmp_path / "old.json"])
    assert new.report.checks[-1].state == "proved"
    assert new.report.entries == 4
    again = extracts.verify_file(tmp_path / "old.json", path, checkpoints=[new.data])
    assert set(again.counts) == {"kept.newer"}


def test_entries_that_are_not_sealed_stay_behind_and_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "w"
    with ledgers.fresh(path) as made:
        made.write(note(BOT))
        made.do(Heads(made.book).write)
        made.sealed()
        size = made.book.state.size
    with apsw.Connection(str(Workspace(path).ledger)) as connection:
        sealed = connection.execute("SELECT size, note FROM checkpoint").fetchall()
    assert sealed[0][0] == size
    with ledgers.reopened(path, ledgers.StepClock(boot="b" * 32)) as made:
        made.write(note(BOT), note(BOT))
    with apsw.Connection(str(Workspace(path).ledger)) as connection:
        connection.execute("UPDATE checkpoint SET size = ?, note = ?", sealed[0])
    made_of = extracts.export_extract(path, "bot")
    assert (made_of.unsealed, made_of.report.entries, made_of.report.complete_to) == (2, 1, size)
    checked = extracts.verify_agent(path, "bot")
    assert checked.ok, checked.around
    assert checked.unsealed == 2


def test_without_heads_or_without_a_seal_nothing_is_handed_out_and_nobody_is_accused(tmp_path: Path) -> None:
    path = tmp_path / "w"
    with ledgers.fresh(path) as made:
        made.write(note(BOT))
        made.sealed()
    with pytest.raises(Unhealthy, match="heads"):
        extracts.export_extract(path, "bot")
    checked = extracts.verify_agent(path, "bot")
    assert checked.ok
    assert checked.report.complete_to is None
    assert checked.report.checks[6].state == "not checkable"


def test_who_is_asked_for_must_be_known_by_a_name_that_is_one_agents(tmp_path: Path) -> None:
    path = tmp_path / "w"
    with ledgers.fresh(path) as made:
        made.write(note("spiffe://a.example/agent/bot"), note("spiffe://b.example/agent/bot"))
        made.do(Heads(made.book).write)
        made.sealed()
    for name, why in (("nobody", "no entry"), ("bot", "2 agents")):
        with pytest.raises(NotFound, match=why):
            extracts.export_extract(path, name)
    assert extracts.export_extract(path, "spiffe://b.example/agent/bot").report.entries == 1
    absent = extracts.export_extract(path, "spiffe://c.example/agent/bot").report
    assert absent.ok
    assert (absent.entries, absent.complete_to) == (0, absent.size)


def test_beside_a_writer_that_goes_on_nobody_is_accused(tmp_path: Path) -> None:
    path = tmp_path / "w"
    with ledgers.fresh(path) as made:
        heads = Heads(made.book)
        made.write(note(BOT))
        made.do(heads.write)
        made.sealed()
        lock, stop = Lock(made.workspace), threading.Event()  # held as a node holds it

        def write() -> None:
            while not stop.is_set():
                made.write(note(BOT), note(f"{BOT}-2"))
                made.do(heads.write)

        writer = threading.Thread(target=write)
        writer.start()
        try:
            for _ in range(25):
                checked = extracts.verify_agent(path, "bot")
                assert checked.ok, (checked.report.findings, checked.around)
                assert extracts.export_extract(path, "bot").report.ok
        finally:
            stop.set()
            writer.join(30)
            lock.release()


def test_entries_that_are_written_between_two_looks_are_held_against_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "w"
    with ledgers.fresh(path) as made:
        made.write(note(BOT))
        made.do(Heads(made.book).write)
        made.sealed()
        lock, heads = Lock(made.workspace), LedgerRows.heads

        def later(rows: LedgerRows) -> dict[str, Head]:
            made.write(note(BOT), note(f"{BOT}-new"))
            return heads(rows)

        monkeypatch.setattr(LedgerRows, "heads", later)
        checked = extracts.verify_agent(path, "bot")
        assert checked.ok, (checked.report.findings, checked.around)
        assert (checked.report.entries, checked.unsealed) == (1, 0)
        lock.release()


# ---- a damaged ledger -------------------------------------------------------------------------------------------


@pytest.fixture
def copy(shop: Path, tmp_path: Path) -> Path:
    target = tmp_path / "copy"
    shutil.copytree(shop, target)
    return target


def change(path: Path, sql: str, *bindings: object) -> None:
    with apsw.Connection(str(Workspace(path).ledger)) as connection:
        connection.execute(sql, bindings)


def test_each_entry_of_the_agent_that_is_gone_from_the_ledger_is_named(shop: Path, tmp_path: Path) -> None:
    mine = entries_of(shop, ledgers.AGENT)
    assert extracts.verify_agent(shop, "refund-bot").ok
    for number in (0, 1, len(mine) // 2, len(mine) - 2, len(mine) - 1):
        path = tmp_path / f"w{number}"
        shutil.copytree(shop, path)
        change(path, "DELETE FROM entry WHERE seq = ?", mine[number])
        checked = extracts.verify_agent(path, "refund-bot")
        assert not checked.ok
        # Where the heads entry's own proof needed the row that is gone, the number in the ledger is named instead.
        named = {finding.entry for finding in (*checked.report.findings, *checked.around) if finding.exact}
        assert checked.report.missing == ((number, number),) or mine[number] in named
        with pytest.raises(Corrupt, match="does not hold together"):
            extracts.export_extract(path, "refund-bot")


def test_an_entry_that_was_changed_is_named_and_the_others_still_stand(shop: Path, copy: Path) -> None:
    seq = entries_of(shop, ledgers.AGENT)[7]
    change(
        copy,
        "UPDATE entry SET data = CAST(replace(CAST(data AS TEXT), '\"v\":1', '\"v\":2') AS BLOB) WHERE seq = ?",
        seq,
    )
    checked = extracts.verify_agent(copy, "refund-bot")
    assert {finding.entry for finding in checked.report.findings if finding.exact} == {seq}
    change(copy, "UPDATE entry SET data = (SELECT data FROM entry WHERE seq = 3) WHERE seq = ?", seq)
    assert not extracts.verify_agent(copy, "refund-bot").ok


def test_an_entry_of_another_agent_that_is_gone_is_no_finding_of_this_one_where_the_count_shows_it(
    shop: Path, copy: Path
) -> None:
    """The untouched rest still proves: other agents' chains do not depend on it, only on the tree's hashes."""
    gone = next(seq for seq in entries_of(shop, ledgers.AGENT) if not seq & 1)
    change(copy, "DELETE FROM entry WHERE seq = ?", gone)
    checked = extracts.verify_agent(copy, STRANGER)
    assert "entry.gone" not in {finding.code for finding in checked.around}
    assert checked.report.missing == ()


def test_a_row_that_counts_otherwise_and_a_heads_entry_over_other_counts_are_found(copy: Path) -> None:
    change(copy, "DELETE FROM head WHERE key = ?", STRANGER)
    checked = extracts.verify_agent(copy, "refund-bot")
    assert set(checked.report.counts) == {"heads.places"}
    assert not extracts.verify_agent(copy, STRANGER).ok
    with pytest.raises(Corrupt):
        extracts.export_extract(copy, "refund-bot")


def test_a_checkpoint_that_is_none_is_told_and_vouches_for_nothing(copy: Path) -> None:
    change(copy, "UPDATE checkpoint SET note = ?", b"nothing")
    with pytest.raises(Corrupt, match="checkpoint does not hold"):
        extracts.verify_agent(copy, "refund-bot")
    change(copy, "DELETE FROM checkpoint")
    with pytest.raises(Unhealthy, match="sealed"):
        extracts.verify_agent(copy, "refund-bot")


def test_rows_that_are_no_entries_do_not_stop_the_look(copy: Path) -> None:
    seq = entries_of(copy, ledgers.AGENT)[3]
    for data in (b"", b"{", b"\xff\xfe", f'{{"agent":"{ledgers.AGENT}"}}'.encode()):
        change(copy, "UPDATE entry SET data = ? WHERE seq = ?", data, seq)
        checked = extracts.verify_agent(copy, "refund-bot")
        assert not checked.ok
        assert checked.report.missing == ((3, 3),)


# ---- beside a node ------------------------------------------------------------------------------------------------


def test_a_node_counts_when_an_incident_opens_and_when_it_stops(house: House) -> None:
    path = house.workspace.path
    node = house.node()
    caller = house.agent()
    for number in range(3):
        assert caller.write(f"c{number}")["verdict"]["verdict"] == "ALLOW"
    assert caller.write("trip")["verdict"]["verdict"] == "DENY"

    def beside() -> extracts.Extracted | None:
        made = extracts.export_extract(path, "refund-bot")
        found = [decode_entry(data) for _, data in Extract.parse(made.data).entries]
        opened = next((entry.seq for entry in found if entry.kind == "hold.placed"), None)
        return made if opened is not None and (made.report.complete_to or 0) > opened else None

    made = await_true(beside)
    assert made.report.entries > 4
    assert extracts.verify_agent(path, "refund-bot").ok
    house.end(node)
    closed = extracts.export_extract(path, "refund-bot", checkpoints=[made.data])
    assert closed.report.complete_to == closed.report.size
    assert closed.report.checks[-1].state == "proved"
    assert closed.unsealed == 0
    house.verify()


def test_after_a_node_was_killed_its_agents_record_is_still_told_as_far_as_it_was_counted(house: House) -> None:
    path = house.workspace.path
    node = house.node()
    house.agent().write("c1")
    node.kill()
    house.hang_up()
    made = extracts.export_extract(path, "refund-bot")
    assert (made.report.complete_to or 0) <= made.report.size
    assert extracts.verify_agent(path, "refund-bot").ok
    again = house.node()
    house.end(again)
    assert extracts.export_extract(path, "refund-bot").report.since == 0


def test_after_a_change_of_key_and_a_break_every_key_that_may_vouches_for_an_extract(house: House) -> None:
    path, anna = house.workspace.path, house.persons["anna"]
    first, before = key_of(path), extracts.export_extract(path, "refund-bot").data
    continuity.rotate_key(house.workspace, anna, "once a year", lambda shown: True)
    second = key_of(path)
    house.end(house.node())  # it counts, and stops
    rotated = extracts.export_extract(path, "refund-bot", checkpoints=[before]).data
    for key in (first, second):
        report = verify_extract(rotated, decode=offline.decode_entry, verify=keys.verify, log_key=key)
        assert report.ok, report.findings
        assert extracts.verify_agent(path, "refund-bot", log_key=key, checkpoints=[before]).ok
    shutil.rmtree(house.workspace.guard_place())
    continuity.continue_log(house.workspace, anna, "the guard's disk died", lambda shown: True)
    third = key_of(path)
    node = house.node()
    assert house.agent().write("after")["verdict"]["verdict"] == "ALLOW"
    house.end(node)
    made = extracts.export_extract(path, "refund-bot", checkpoints=[before, rotated])
    assert made.report.checks[-1].state == "proved"
    assert made.report.complete_to == made.report.size
    for key, code in ((first, "head.key"), (second, "head.key"), (third, None)):
        report = verify_extract(made.data, decode=offline.decode_entry, verify=keys.verify, log_key=key)
        assert set(report.counts) == ({code} if code else set())


# ---- at the command line -----------------------------------------------------------------------------------------


@pytest.fixture
def shell(shop: Path, tmp_path: Path) -> Iterator[Shell]:
    with open_shell(tmp_path) as opened:
        shutil.copytree(shop, opened.workspace)
        yield opened


def test_a_person_takes_an_extract_away_and_another_verifies_it_with_the_key_alone(shell: Shell) -> None:
    done = shell("ledger", "export", "--agent", "refund-bot", "--to", "refund-bot.json")
    assert "shown to be all" in done.first
    assert "Complete up to the last sealed entry" in done.out
    (shell.root / "log.pub").write_text(key_of(shell.workspace))
    alone = shell(
        "ledger", "verify", "--extract", "refund-bot.json", "--key", "log.pub", FAILWELL_WORKSPACE=str(shell.root)
    )
    assert "none missing or changed" in alone.first
    assert "Not shown: that it is the newest" in " ".join(alone.out.split())
    assert all(f"{number} " in alone.out for number in STEPS)
    told = shell.json("ledger", "verify", "--extract", "refund-bot.json", "--agent", "refund-bot")
    assert told["ok"] is True
    assert told["missing"] == []

    extract = json.loads((shell.root / "refund-bot.json").read_bytes())
    del extract["entries"][5]
    (shell.root / "stripped.json").write_text(
        json.dumps(extract, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    )
    stripped = shell("ledger", "verify", "--extract", "stripped.json", code=1)
    assert "DOES NOT VERIFY" in stripped.first
    assert "Missing of the agent's own count" in stripped.first


def test_an_agents_entries_are_verified_in_place_and_the_missing_one_is_named(shell: Shell) -> None:
    assert "none missing or changed" in shell("ledger", "verify", "--agent", "refund-bot").first
    change(shell.workspace, "DELETE FROM entry WHERE seq = ?", entries_of(shell.workspace, ledgers.AGENT)[4])
    done = shell("ledger", "verify", "--agent", "refund-bot", code=1)
    assert "Missing of the agent's own count: 4." in done.first
    assert shell("ledger", "verify", "--agent", "nobody", code=2).err


def test_without_a_key_an_extract_shows_nothing(shell: Shell) -> None:
    shell("ledger", "export", "--agent", "refund-bot", "--to", "x.json")
    away = shell("ledger", "verify", "--extract", "x.json", code=2, FAILWELL_WORKSPACE=None)
    assert "no log key" in away.err
    with pytest.raises(InputError, match="cannot be read"):
        extracts.verify_file(shell.root / "none.json", None, log_key=key_of(shell.workspace))
