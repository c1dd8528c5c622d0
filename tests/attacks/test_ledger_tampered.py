"""The adversary here can write the ledger file; in the later tests they hold the log key as well (R13).

Every row of every table is changed in every column, removed, swapped, added: each is found, and the first bad entry
named. A history rewritten whole, with every hash, projection and signature made new, is found by the checkpoint that
somebody else kept, and where the rules betray it, at the very entry.
"""

from __future__ import annotations

import base64
import json
import random
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import apsw
import msgspec
import pytest

from failwell.core import kinds, note
from failwell.core.merkle import leaf_hash
from failwell.core.records import MAX_TOKENS, BlobRef, Entry, encode_entry
from failwell.core.rows import TABLES
from failwell.identity import keys
from failwell.node import audit
from failwell.verify.finding import HEAD, KEPT, ROWS, Report
from tests.unit.verify import ledgers
from tests.unit.verify.forgery import Forger, Image

replace = msgspec.structs.replace

COLUMNS = {
    "entry": ("seq", "data", "leaf", "nodes"),
    "blob": ("seq", "ciphertext", "wrapped"),
    "token": ("id", "token", "lookup", "sealed"),
    "checkpoint": ("id", "size", "note"),
    **{table: ("key", "row") for table in TABLES},
}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ledgers.small(tmp_path_factory.mktemp("ledger") / "shop")


@pytest.fixture(scope="module")
def image(workspace: Path) -> Image:
    return Image(workspace)


def test_the_honest_ledger_has_no_finding_and_its_own_checkpoint_kept_elsewhere_agrees(image: Image) -> None:
    report = Forger(image).verify(image.checkpoint)
    assert report.ok
    assert report.first_bad is None
    assert {step.state for step in report.checks} == {"proved"}


def test_the_small_ledger_has_rows_in_every_table(image: Image) -> None:
    forger = Forger(image)
    empty = {table for table in COLUMNS if not forger.one(f'SELECT count(*) FROM "{table}"')}
    assert empty == set()


# ---- one row of any table --------------------------------------------------------------------------------------


def entry_of(table: str, key: Any) -> int | None:
    """The entry that must be named for a row, where its key tells."""
    if table in ("entry", "blob"):
        return int(key)
    return int(key) // MAX_TOKENS if table == "token" else None


def other(value: Any) -> Any:
    """The least that can be changed: the last bit or digit."""
    if isinstance(value, bytes):
        return value[:-1] + bytes([value[-1] ^ 1]) if value else b"\0" * 32
    if isinstance(value, str):
        return value[:-1] + chr(ord(value[-1]) ^ 1)
    return value + 1_000_003


def told(report: Report, table: str, key: Any) -> None:
    """Found, and named: the entry where the row belongs to one, the table and an entry that made it otherwise."""
    assert not report.ok
    assert report.first_bad is not None
    expected = entry_of(table, key)
    if expected is not None:
        assert report.first_bad == expected
        assert report.findings[0].exact
    elif table != "checkpoint":
        assert report.findings[0].step == ROWS
        assert report.findings[0].table == table


@pytest.mark.parametrize("table", COLUMNS)
@pytest.mark.requirement("R13.2")
def test_every_column_of_every_row_changed_by_one_bit(image: Image, table: str) -> None:
    key = COLUMNS[table][0]
    for row in Forger(image).sql(f'SELECT * FROM "{table}"'):
        for column, value in zip(COLUMNS[table], row, strict=True):
            forger = Forger(image)
            forger.sql("PRAGMA ignore_check_constraints = 1")
            forger.sql(f'UPDATE "{table}" SET {column} = ? WHERE {key} = ?', other(value), row[0])
            told(forger.verify(), table, row[0])


@pytest.mark.parametrize("table", COLUMNS)
@pytest.mark.requirement("R13.3")
def test_every_row_removed(image: Image, table: str) -> None:
    key = COLUMNS[table][0]
    for (found,) in Forger(image).sql(f'SELECT {key} FROM "{table}"'):
        forger = Forger(image)
        forger.sql(f'DELETE FROM "{table}" WHERE {key} = ?', found)
        told(forger.verify(), table, found)


@pytest.mark.parametrize("table", [table for table in COLUMNS if table not in ("checkpoint", "workspace")])
@pytest.mark.requirement("R13.3")
def test_every_two_neighbouring_rows_swapped(image: Image, table: str) -> None:
    key, *rest = COLUMNS[table]
    rows = Forger(image).sql(f'SELECT * FROM "{table}" ORDER BY {key}')
    for first, second in pairwise(rows):
        if first[1:] == second[1:]:
            continue
        forger = Forger(image)
        for target, source in ((first, second), (second, first)):
            values = ", ".join(f"{column} = ?" for column in rest)
            forger.sql(f'UPDATE "{table}" SET {values} WHERE {key} = ?', *source[1:], target[0])
        told(forger.verify(), table, first[0])


@pytest.mark.parametrize("table", [table for table in COLUMNS if table != "checkpoint"])
def test_a_row_appended(image: Image, table: str) -> None:
    forger = Forger(image)
    key = COLUMNS[table][0]
    last = forger.sql(f'SELECT * FROM "{table}" ORDER BY {key} DESC LIMIT 1')[0]
    new = image.size if table in ("entry", "blob") else image.size * MAX_TOKENS if table == "token" else None
    added = new if new is not None else last[0] + 1 if isinstance(last[0], int) else last[0] + "x"
    forger.sql(f'INSERT INTO "{table}" VALUES ({", ".join("?" * len(last))})', added, *last[1:])
    told(forger.verify(), table, added)


def test_a_row_numbered_before_the_first_or_far_beyond_the_last(image: Image) -> None:
    for number in (-1, 2**62):
        for table in ("entry", "blob", "token"):
            forger = Forger(image)
            row = forger.sql(f'SELECT * FROM "{table}" LIMIT 1')[0]
            forger.sql(f'INSERT INTO "{table}" VALUES ({", ".join("?" * len(row))})', number, *row[1:])
            assert not forger.verify().ok


@pytest.mark.requirement("R13.3")
def test_an_entry_inserted_between_two_others(image: Image) -> None:
    for at in (1, 20, 41, image.size - 1):
        forger = Forger(image)
        forger.sql("UPDATE entry SET seq = -seq - 1 WHERE seq >= ?", at)
        forger.sql("UPDATE entry SET seq = -seq WHERE seq < 0")
        forger.sql("INSERT INTO entry SELECT ?, data, leaf, nodes FROM entry WHERE seq = ?", at, at - 1)
        report = forger.verify()
        assert report.first_bad == at
        assert report.good == at


@pytest.mark.requirement("R13.3")
def test_an_entry_removed_and_the_rest_moved_up(image: Image) -> None:
    for at in (0, 1, 20, 41):
        forger = Forger(image)
        forger.sql("DELETE FROM entry WHERE seq = ?", at)
        forger.sql("UPDATE entry SET seq = -seq WHERE seq > ?", at)
        forger.sql("UPDATE entry SET seq = -seq - 1 WHERE seq < 0")
        assert forger.verify().first_bad == at


def test_a_changed_entry_whose_leaf_was_made_new_is_found_by_the_subtree_above_it(image: Image) -> None:
    for entry in Forger(image).entries():
        forger = Forger(image)
        data = encode_entry(replace(entry, mono_us=entry.mono_us + 1))
        leaf = leaf_hash(data)
        forger.sql("UPDATE entry SET data = ?, leaf = ? WHERE seq = ?", data, leaf, entry.seq)
        report = forger.verify()
        assert not report.ok
        found = report.findings[0]
        assert found.first is not None
        assert found.last is not None
        assert found.first <= entry.seq <= found.last <= entry.seq + 1


# ---- the file ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        "CREATE TABLE extra (x)",
        "CREATE VIEW seen AS SELECT * FROM entry",
        "CREATE INDEX by_token ON token (token)",
        "CREATE TRIGGER quiet AFTER INSERT ON entry BEGIN DELETE FROM signal; END",
        "ALTER TABLE person ADD COLUMN note TEXT",
        "DROP TABLE page",
        "ALTER TABLE entry RENAME TO entry2",
        "PRAGMA user_version = 99",
        "PRAGMA application_id = 1",
        "ANALYZE",
    ],
)
def test_a_file_that_declares_something_of_its_own(image: Image, change: str) -> None:
    forger = Forger(image)
    forger.sql(change)
    assert not forger.verify().ok


def test_a_view_that_never_ends_in_the_place_of_the_entries_is_not_read(image: Image) -> None:
    forger = Forger(image)
    forger.sql("ALTER TABLE entry RENAME TO old")
    forger.sql(
        "CREATE VIEW entry AS WITH RECURSIVE n(seq) AS (SELECT 0 UNION ALL SELECT seq + 1 FROM n) "
        "SELECT seq, x'00' AS data, x'00' AS leaf, x'' AS nodes FROM n"
    )
    report = forger.verify()
    assert report.first_bad == 0
    assert report.entries == 0


def copied(workspace: Path, target: Path) -> Path:
    shutil.copytree(workspace, target)
    return target


def logical(path: Path) -> Any:
    """Everything a file says, table by table; None where SQLite cannot say it."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
    try:
        return [connection.execute(f'SELECT * FROM "{table}"').fetchall() for table in (*COLUMNS, "sqlite_schema")]
    except (apsw.Error, UnicodeDecodeError):
        return None
    finally:
        connection.close()


def test_bytes_flipped_anywhere_in_the_file_are_found_unless_no_row_says_anything_else(
    workspace: Path, tmp_path: Path, rng: random.Random
) -> None:
    honest = copied(workspace, tmp_path / "w")
    ledger = honest / "ledger.db"
    data = ledger.read_bytes()
    said = logical(workspace / "ledger.db")
    found = 0
    for _ in range(80):
        at = rng.randrange(len(data))
        ledger.write_bytes(data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :])
        report = audit.verify_workspace(honest)
        found += not report.ok
        if report.ok:
            assert logical(ledger) == said
    assert found > 25


@pytest.mark.requirement("R13.2")
def test_one_byte_of_an_entry_changed_in_the_file_itself(workspace: Path, tmp_path: Path) -> None:
    tampered = copied(workspace, tmp_path / "w")
    ledger = tampered / "ledger.db"
    data = ledger.read_bytes()
    at = data.index(b'"verdict":"ALLOW"},"boot"') + len(b'"verdict":"')
    ledger.write_bytes(data[:at] + b"B" + data[at + 1 :])
    report = audit.verify_workspace(tampered)
    assert report.first_bad is not None
    assert report.findings[0].exact
    assert b'"BLLOW"' in apsw.Connection(str(ledger)).execute(
        "SELECT data FROM entry WHERE seq = ?", (report.first_bad,)
    ).fetchall()[0][0]  # type: ignore[operator]  # fmt: skip


@pytest.mark.parametrize("content", [b"", b"\0" * 4096, b"SQLite format 3\0" + b"\xff" * 5000, b"%PDF-1.4"])
def test_a_file_that_is_no_ledger_is_a_finding_not_a_crash(workspace: Path, tmp_path: Path, content: bytes) -> None:
    broken = copied(workspace, tmp_path / "w")
    (broken / "ledger.db").write_bytes(content)
    assert not audit.verify_workspace(broken).ok


def test_a_ledger_that_is_not_there_or_a_directory_is_a_finding(workspace: Path, tmp_path: Path) -> None:
    broken = copied(workspace, tmp_path / "w")
    (broken / "ledger.db").unlink()
    assert not audit.verify_workspace(broken).ok
    (broken / "ledger.db").mkdir()
    assert not audit.verify_workspace(broken).ok


def test_every_truncated_file(workspace: Path, tmp_path: Path) -> None:
    broken = copied(workspace, tmp_path / "w")
    data = (broken / "ledger.db").read_bytes()
    for pages in range(0, len(data) // 4096, 5):
        (broken / "ledger.db").write_bytes(data[: pages * 4096])
        assert not audit.verify_workspace(broken).ok


# ---- history rewritten -------------------------------------------------------------------------------------------


def clauses(*ids: tuple[str, str]) -> tuple[kinds.Decided, ...]:
    return tuple(kinds.Decided(id=name, then=then, severity="minor") for name, then in ids)


def flipped(entry: Entry[Any], verdict: str) -> Entry[Any]:
    """The verdict alone."""
    return replace(entry, body=replace(entry.body, verdict=verdict))


def flipped_with_care(entry: Entry[Any], verdict: str) -> Entry[Any]:
    """Verdict, clauses, errors and reservations made to agree with each other."""
    then = {"ALLOW": "record", "DENY": "deny", "ESCALATE": "escalate"}[verdict]
    kept = tuple(clause for clause in entry.body.clauses if clause.then == then)
    said = kept or (() if verdict == "ALLOW" else clauses(("refund-ceiling", then)))
    uses = tuple(replace(use, reserved=verdict == "ALLOW") for use in entry.body.uses)
    return replace(entry, body=replace(entry.body, verdict=verdict, clauses=said, uses=uses, errors=()))


def decisions(image: Image) -> list[Entry[Any]]:
    return [entry for entry in Forger(image).entries() if isinstance(entry.body, kinds.Decision)]


@pytest.mark.parametrize("resign", [False, True], ids=["old signature", "signed by the log key"])
@pytest.mark.parametrize("flip", [flipped, flipped_with_care])
@pytest.mark.requirement("R13.5")
def test_a_verdict_flipped_with_all_hashes_made_new_is_found_at_its_entry(
    image: Image, resign: bool, flip: Any
) -> None:
    for entry in decisions(image):
        for verdict in {"ALLOW", "DENY", "ESCALATE"} - {entry.body.verdict}:
            forger = Forger(image)
            forger.change(entry.seq, lambda each, verdict=verdict: flip(each, verdict), resign=resign)  # type: ignore[misc]
            for report in (forger.verify(), forger.verify(image.checkpoint)):
                assert report.first_bad == entry.seq, (entry.seq, entry.body.verdict, verdict, report.findings[:3])


@pytest.mark.requirement("R13.5")
def test_what_no_rule_betrays_is_found_only_by_a_kept_checkpoint_which_says_in_what_range(image: Image) -> None:
    forger = Forger(image)
    seq = next(e.seq for e in decisions(image) if e.body.verdict == "ALLOW" and e.body.tool == "orders.read")
    forger.change(seq, lambda e: replace(e, body=replace(e.body, arguments="0" * 64)), resign=True)
    assert forger.verify().ok  # the limit of every self-kept record, said in the report as not checkable
    assert forger.verify().checks[KEPT - 1].state == "not checkable"
    early = Forger(image)
    tree = {size: early.root(size) for size in (10, seq, seq + 1, image.size)}
    notes = {size: early.sign(size, root) for size, root in tree.items()}
    for kept, first, last in (
        ([image.size], 0, image.size - 1),
        ([10, image.size], 10, image.size - 1),
        ([seq, seq + 1, image.size], seq, seq),
    ):
        found = forger.verify(*(notes[size] for size in kept)).findings[0]
        assert (found.first, found.last) == (first, last)
    assert forger.verify(notes[10], notes[seq]).ok  # kept before the change: they cover nothing of it


def test_a_decision_kept_but_given_another_agent_is_found_there(image: Image) -> None:
    for entry in decisions(image):
        if entry.agent != ledgers.AGENT:
            continue
        forger = Forger(image)
        forger.change(entry.seq, lambda e: replace(e, agent="spiffe://shop.example/agent/other"), resign=True)
        report = forger.verify()
        assert not report.ok
        found = report.findings[0]
        assert found.last is not None
        assert found.last >= entry.seq >= (found.first or 0)


def test_every_reaction_softened_or_taken_out_with_all_hashes_made_new(image: Image) -> None:
    """The suspension that never was: what the rules gave must stand in the record."""
    for entry in Forger(image).entries():
        if entry.actor != "response":
            continue
        cause = entry.refs[0].seq
        forger = Forger(image)
        body = kinds.Health(part="storage", state="ok", detail="nothing to see")
        forger.change(entry.seq, lambda e: replace(e, actor="node", kind="health", body=body, refs=()), resign=True)  # noqa: B023
        report = forger.verify()
        found = report.findings[0]
        assert (found.entry, found.first) == (cause, cause)


def values_in(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of all values that are no containers."""
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return [found for key, item in items for found in values_in(item, (*path, key))]
    return [path]


def test_any_value_of_any_entry_changed_to_anything_is_judged_without_a_crash(image: Image, rng: random.Random) -> None:
    texts = [encode_entry(entry) for entry in Forger(image).entries()]
    anything = [None, True, -1, 0, 7, 2**52, 2**53, "", "x", "DENY", "critical", "SUSPENDED", [], [1], {}, {"a": 1}]
    for _ in range(150):
        seq = rng.randrange(len(texts))
        changed = json.loads(texts[seq])
        *path, last = rng.choice(values_in(changed))
        place = changed
        for key in path:
            place = place[key]
        was, place[last] = place[last], rng.choice(anything)
        if place[last] == was:
            continue
        forger = Forger(image)
        data = json.dumps(changed, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
        forger.store_bytes([*texts[:seq], data, *texts[seq + 1 :]], resign=True)
        assert not forger.verify(image.checkpoint).ok


def test_an_act_without_a_verdict_before_it(image: Image) -> None:
    outcome = next(e for e in Forger(image).entries() if isinstance(e.body, kinds.Outcome))
    forger = Forger(image)
    forger.change(outcome.seq, lambda e: replace(e, body=replace(e.body, decision=1)), resign=True)
    assert forger.verify().first_bad == outcome.seq


def test_an_order_nobody_signed(image: Image) -> None:
    """The log key is not a person's key: whoever keeps the log can still not sign for people (I7)."""
    for entry in Forger(image).entries():
        if not isinstance(entry.body, kinds.Order):
            continue
        text = entry.body.text.replace('"at":"2026', '"at":"2025')
        forger = Forger(image)
        forger.change(entry.seq, lambda e: replace(e, body=replace(e.body, text=text)), resign=True)  # noqa: B023
        report = forger.verify()
        assert report.first_bad == entry.seq
        assert "order.signature" in report.counts


def last(image: Image, kind: type) -> Entry[Any]:
    return [entry for entry in Forger(image).entries() if isinstance(entry.body, kind)][-1]


def test_what_only_people_can_do_cannot_be_written_by_whoever_keeps_the_log(image: Image) -> None:
    mallory = base64.b64encode(keys.from_seed(b"m" * 32).public).decode()
    adopted = last(image, kinds.ContractAdopted).body
    looser = adopted.document.replace('"at_most":6', '"at_most":600')
    assert looser != adopted.document
    forged: list[tuple[Any, str, str | None]] = [
        (kinds.PersonEnrolled(person="mallory", key=mallory, roles=("approver",)), "person:olga", None),
        (kinds.HostRegistered(host="evil", key=mallory, agents=(ledgers.AGENT,)), "person:olga", None),
        (kinds.AgentRegistered(name="twin", owner="olga"), "person:olga", "spiffe://shop.example/agent/twin"),
        (kinds.AgentKey(key=mallory, status="active"), "person:olga", ledgers.AGENT),
        (replace(adopted, version=2, digest="0" * 64, document=looser), "person:piet", ledgers.AGENT),
        (kinds.Config(digest="0" * 64, text="{}"), "person:olga", None),
        (kinds.Acknowledged(incident=1, person="quan"), "person:quan", ledgers.AGENT),
        (
            kinds.ReleaseApproved(incident=1, person="quan", digest="0" * 64, authority="PROBATION"),
            "person:quan",
            ledgers.AGENT,
        ),
        (
            kinds.AuthorityChanged(was="PROBATION", now="ACTIVE", epoch=9, why="fine", incident=None, by="person:piet"),
            "person:piet",
            ledgers.AGENT,
        ),
    ]
    for body, actor, agent in forged:
        forger = Forger(image)
        seq = forger.append(body, actor, agent)
        report = forger.verify()
        assert report.first_bad == seq, (body, report.findings)
        assert "order.effect" in report.counts


def test_an_old_order_played_a_second_time(image: Image) -> None:
    forger = Forger(image)
    order = last(image, kinds.Order)
    seq = forger.append(order.body, order.actor, order.agent)
    assert forger.verify().first_bad == seq


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        (kinds.PersonEnrolled, "roles", ("approver", "operator")),
        (kinds.HostRegistered, "agents", ()),
        (kinds.AgentRegistered, "owner", "piet"),
        (kinds.ContractAdopted, "version", 3),
        (kinds.ContractAdopted, "mode", "backtest"),
        (kinds.Config, "digest", "1" * 64),
        (kinds.Acknowledged, "person", "piet"),
        (kinds.ReleaseProposed, "conditions", "none at all"),
        (kinds.ReleaseApproved, "person", "olga"),
    ],
)
def test_an_effect_that_says_something_else_than_the_order_that_was_signed(
    image: Image, kind: type, field: str, value: Any
) -> None:
    entry = last(image, kind)
    forger = Forger(image)
    forger.change(entry.seq, lambda e: replace(e, body=replace(e.body, **{field: value})), resign=True)
    report = forger.verify()
    assert report.first_bad == entry.seq
    assert "order.effect" in report.counts


def test_a_contract_loosened_under_its_signatures(image: Image) -> None:
    entry = last(image, kinds.ContractAdopted)
    for was, now in (('"at_most":6', '"at_most":600'), ('"then":"deny"', '"then":"escalate"')):
        document = entry.body.document.replace(was, now)
        assert document != entry.body.document
        forger = Forger(image)
        forger.change(entry.seq, lambda e: replace(e, body=replace(e.body, document=document)), resign=True)  # noqa: B023
        assert forger.verify().first_bad == entry.seq


def test_a_person_whose_key_was_exchanged_cannot_have_signed_what_they_signed(image: Image) -> None:
    enrolled = next(e for e in Forger(image).entries() if isinstance(e.body, kinds.PersonEnrolled))
    forger = Forger(image)
    stranger = base64.b64encode(keys.from_seed(b"z" * 32).public).decode()
    forger.change(enrolled.seq, lambda e: replace(e, body=replace(e.body, key=stranger)), resign=True)
    assert "order.signature" in forger.verify().counts


def test_a_blob_exchanged_together_with_the_digest_in_its_entry_is_found_by_a_kept_checkpoint(image: Image) -> None:
    forger = Forger(image)
    entry = next(e for e in decisions(image) if e.blob is not None)
    assert entry.blob is not None
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    reference = BlobRef(ciphertext=empty, key=entry.blob.key)
    forger.change(entry.seq, lambda e: replace(e, blob=reference), resign=True)
    forger.sql("UPDATE blob SET ciphertext = x'' WHERE seq = ?", entry.seq)
    assert forger.verify().ok
    assert not forger.verify(image.checkpoint).ok


# ---- the end cut off, old copies, other logs -----------------------------------------------------------------------


@pytest.mark.requirement("R13.4")
def test_the_end_cut_off_at_every_entry(image: Image) -> None:
    for size in range(1, image.size):
        forger = Forger(image)
        forger.cut(size, resign=False)
        assert forger.verify().first_bad == size
        forger = Forger(image)
        forger.cut(size, resign=True)
        assert forger.verify(image.checkpoint).first_bad == size


@pytest.mark.requirement("R13.6")
def test_an_old_copy_put_back_is_found_by_a_checkpoint_kept_later(tmp_path: Path) -> None:
    path, old = tmp_path / "shop", tmp_path / "old.db"
    with ledgers.fresh(path) as made:
        ledgers.begin(made)
    shutil.copy(path / "ledger.db", old)
    size = audit.verify_workspace(path).entries
    with ledgers.reopened(path, ledgers.StepClock(boot="b" * 32)) as made:
        ledgers.work(made)
        kept = made.writer.seals.wait(made.book.state.size).result(30).note
    shutil.copy(old, path / "ledger.db")
    assert audit.verify_workspace(path).ok
    report = audit.verify_workspace(path, checkpoints=[kept])
    assert report.first_bad == size


def crashed(path: Path, target: Path) -> tuple[bytes, int]:
    """A workspace as it lies there when its node was killed: the newest commits only in the write-ahead log."""
    with ledgers.fresh(path) as made:
        ledgers.begin(made)
        ledgers.work(made)
        size = made.book.state.size
        kept = made.writer.seals.wait(size).result(30).note
        shutil.copytree(path, target)
        return kept, size


def test_the_write_ahead_log_taken_away_after_a_crash(tmp_path: Path) -> None:
    kept, size = crashed(tmp_path / "shop", tmp_path / "killed")
    log = tmp_path / "killed" / "ledger.db-wal"
    assert log.stat().st_size > 0
    assert audit.verify_workspace(tmp_path / "killed", checkpoints=[kept]).ok
    log.unlink()
    report = audit.verify_workspace(tmp_path / "killed", checkpoints=[kept])
    assert report.first_bad is not None
    assert report.first_bad < size


def test_a_frame_of_the_write_ahead_log_changed_after_a_crash(tmp_path: Path, rng: random.Random) -> None:
    kept, _ = crashed(tmp_path / "shop", tmp_path / "killed")
    log = tmp_path / "killed" / "ledger.db-wal"
    data = log.read_bytes()
    for _ in range(10):
        at = rng.randrange(32, len(data))
        log.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        assert not audit.verify_workspace(tmp_path / "killed", checkpoints=[kept]).ok


def test_a_checkpoint_of_another_log_or_by_another_key_vouches_for_nothing(image: Image, tmp_path: Path) -> None:
    stranger = Image(ledgers.small(tmp_path / "other"))
    report = Forger(image).verify(stranger.checkpoint)
    assert "kept.unsigned" in report.counts
    assert "head.signature" in Forger(image).verify(log_key=stranger.log_key).counts


def test_a_log_that_chose_its_own_judge_is_held_against_the_key_from_outside(image: Image) -> None:
    """Genesis, checkpoint and published half all exchanged for another key's: only who kept the key or a note sees."""
    fake = keys.from_seed(b"f" * 32)
    forger = Forger(image)
    other_key = note.VerifierKey(image.origin, fake.public).text()
    forger.change(0, lambda e: replace(e, body=replace(e.body, log_key=other_key)), resign=False)
    size, root = image.size, bytes.fromhex(forger.verify().root or "")
    text = note.Checkpoint(image.origin, size, root).text()
    forger.sql("UPDATE checkpoint SET note = ?", note.sign(text, image.origin, fake.public, fake.sign))
    assert forger.verify(log_key=other_key).ok
    assert "head.signature" in forger.verify().counts
    assert "kept.unsigned" in forger.verify(image.checkpoint, log_key=other_key).counts


def test_without_any_log_key_the_head_is_said_to_be_not_checkable(workspace: Path, tmp_path: Path) -> None:
    alone = copied(workspace, tmp_path / "w")
    (alone / "keys" / "log.pub").unlink()
    report = audit.verify_workspace(alone)
    assert report.checks[HEAD - 1].state == "not checkable"
    assert not audit.verify_workspace(alone, log_key="not a key").ok
