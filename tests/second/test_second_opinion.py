"""Two implementations, one answer: on honest ledgers and on every way of damaging them that can be listed.

The first is the product's, as the stand-alone verifier runs it; the second is `tests.second`, which shares no line with
it. They must accept and reject the same, and where both name where the cause lies, the product must not be vaguer.
"""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from failwell.core import canonical
from failwell.identity import keys
from failwell.offline import entries
from failwell.offline.hashes import verify_hashes
from failwell.verify.anchors import Anchor
from failwell.verify.finding import Report
from failwell.verify.record import Ledger, Record, silent
from tests.second.record import Second, Trouble
from tests.unit.verify import ledgers
from tests.unit.verify.forgery import Forger, Image
from tests.unit.verify.hand_log import A, B, HandLog, shop
from tests.unit.verify.logs import OTHER, Log, Pair

Tables = dict[str, list[Any]]
COLUMNS = {
    "entry": "seq, data, leaf, nodes", "blob": "seq, ciphertext, wrapped", "token": "id, token, lookup, sealed",
    "checkpoint": "id, size, note",
}  # fmt: skip


def first_opinion(tables: Tables, vkey: str, kept: Iterable[bytes]) -> tuple[Report, Report]:
    """What the product says: in full, and of hashes only."""
    anchors = [Anchor(f"kept {number}", note) for number, note in enumerate(kept)]

    def ledger() -> Ledger:
        return Ledger(
            entries=iter(tables["entry"]), blobs=iter(tables["blob"]), tokens=iter(tables["token"]),
            checkpoints=tables["checkpoint"], rows=lambda table: (),
        )  # fmt: skip

    record = Record(ledger(), decode=entries.decode_entry, verify=keys.verify, log_key=vkey, kept=anchors)
    record.walk(None, silent)
    return record.report(0), verify_hashes(ledger(), verify=keys.verify, log_key=vkey, kept=anchors, tell=silent)


class Court:
    """Compares the two on each case; how many were accepted, rejected, and placed as narrowly or more so."""

    def __init__(self) -> None:
        self.accepted = self.rejected = self.same = self.tighter = 0

    def hear(self, tables: Tables, vkey: str, kept: Iterable[bytes] = ()) -> bool:
        """Whether both accept; fails where they differ."""
        notes = list(kept)
        full, hashes = first_opinion(tables, vkey, notes)
        troubles = Second(tables, vkey, notes).troubles
        assert full.ok == (not troubles), (full.findings[:3], troubles[:3])
        assert hashes.ok or not full.ok, hashes.findings[:3]
        if not troubles:
            self.accepted += 1
            return True
        self.rejected += 1
        self._compare(full, troubles[0])
        return False

    def _compare(self, full: Report, other: Trouble) -> None:
        ours = full.findings[0]
        if ours.first is None or ours.last is None or other.first is None or other.last is None:
            return
        if full.findings[0].code in ("head.missing", "head.shape", "head.signature"):
            return  # nothing vouches for anything: said from entry 0 on, by whoever says it at all
        assert other.first <= ours.first <= ours.last <= other.last, (ours, other)
        if (ours.first, ours.last) == (other.first, other.last):
            self.same += 1
        else:
            self.tighter += 1


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    return Image(ledgers.small(tmp_path_factory.mktemp("second") / "ws"))


@pytest.fixture
def court() -> Court:
    return Court()


def of_file(forger: Forger) -> Tables:
    """The rows of a ledger file."""
    return {
        table: forger.sql(f"SELECT {columns} FROM {table} ORDER BY {columns.split(',')[0]}")
        for table, columns in COLUMNS.items()
    }  # fmt: skip


def of_log(log: Log, head: bytes | None = None) -> Tables:
    """The rows of a log made by hand, sealed whole unless `head` seals less."""
    note = log.sign(log.size, log.pair) if head is None else head
    size = int(note.split(b"\n")[1])
    return {"entry": log.rows(), "blob": [], "token": [], "checkpoint": [(1, size, note)]}


def counted(turns: int = 4) -> HandLog:
    log = shop(turns)
    log.add("node.started", software="test/1")
    log.act(A, "after a restart")
    return log


def aged() -> tuple[Log, list[bytes], list[str]]:
    """A log whose key changed twice and whose name changed once: heads of each age, and its keys."""
    log = counted(2)
    heads = [log.sign(log.size, log.pair)]
    for seed in (2, 3):
        log.rotate(Pair(seed))
        log.act(B, f"under key {seed}")
        heads.append(log.sign(log.size, log.pair))
    log.go_on(Pair(4, OTHER))
    log.fill(3)
    heads.append(log.sign(log.size, log.pair))
    return log, heads, [Pair(seed).text for seed in (1, 2, 3)] + [Pair(4, OTHER).text]


# ---- honest ------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("R13.21")
def test_honest_ledgers_are_accepted_by_both(image: Image, court: Court) -> None:
    honest = of_file(Forger(image))
    assert court.hear(honest, image.log_key)
    assert court.hear(honest, image.log_key, [image.checkpoint])
    log = counted()
    for size in range(1, log.size + 1):  # sealed so far, the rest not sealed yet
        stopped = log.entries[size - 1]["kind"] == "node.stopped"
        begun = size == log.size or log.entries[size]["kind"] == "node.started"
        assert court.hear(of_log(log, log.sign(size, log.pair)), log.pair.text) == (not stopped or begun)
    assert court.hear(of_log(log), log.pair.text, [log.sign(size, log.pair) for size in range(log.size + 1)])


def test_a_log_whose_keys_and_name_changed_is_judged_alike_under_each_of_its_keys(court: Court) -> None:
    log, heads, vkeys = aged()
    tables = of_log(log)
    for vkey in vkeys:
        full, _ = first_opinion(tables, vkey, heads)
        troubles = Second(tables, vkey, heads).troubles
        # Beyond what a key vouches for, the product says "not checkable"; the second, "not signed by who I trust".
        checkable = all(step.state == "proved" for step in full.checks if step.number in (6, 7))
        assert full.ok
        assert checkable == (not troubles), (vkey, troubles)
    assert not court.hear(tables, Pair(9).text)
    assert not court.hear(of_log(log, log.sign(log.size, Pair(3))), vkeys[-1])
    assert not court.hear(tables, vkeys[-1], [log.sign(5, Pair(2))])


# ---- rows, systematically ------------------------------------------------------------------------------------------


def test_every_entry_removed_doubled_or_swapped(image: Image, court: Court) -> None:
    honest = of_file(Forger(image))
    rows = honest["entry"]
    for at in range(len(rows)):
        assert not court.hear(honest | {"entry": rows[:at] + rows[at + 1 :]}, image.log_key)
        assert not court.hear(honest | {"entry": [*rows[: at + 1], *rows[at:]]}, image.log_key)
    for at in range(len(rows) - 1):
        swapped = [*rows[:at], rows[at + 1], rows[at], *rows[at + 2 :]]
        assert not court.hear(honest | {"entry": swapped}, image.log_key)
        renumbered = [(seq, *row[1:]) for seq, row in enumerate(swapped)]
        assert not court.hear(honest | {"entry": renumbered}, image.log_key)
    assert court.same + court.tighter > 3 * len(rows)


def test_a_byte_flipped_in_every_field_of_every_entry(image: Image, court: Court, rng: random.Random) -> None:
    honest = of_file(Forger(image))
    rows = honest["entry"]
    for at, row in enumerate(rows):
        for field in (1, 2, 3):
            if row[field]:
                changed = list(row)
                changed[field] = flipped(row[field], rng)
                assert not court.hear(honest | {"entry": [*rows[:at], tuple(changed), *rows[at + 1 :]]}, image.log_key)


def flipped(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def test_every_blob_and_token_removed_changed_or_moved(image: Image, court: Court, rng: random.Random) -> None:
    honest = of_file(Forger(image))
    for table in ("blob", "token"):
        rows = honest[table]
        for at, row in enumerate(rows):
            assert not court.hear(honest | {table: rows[:at] + rows[at + 1 :]}, image.log_key)
            field = rng.randrange(2, len(row))
            changed = [*row[:field], flipped(row[field], rng), *row[field + 1 :]]
            assert not court.hear(honest | {table: [*rows[:at], tuple(changed), *rows[at + 1 :]]}, image.log_key)
            moved = sorted([*rows[:at], (row[0] + 1 if table == "token" else 0, *row[1:]), *rows[at + 1 :]])
            assert not court.hear(honest | {table: moved}, image.log_key)


def test_the_head_changed_byte_by_byte(image: Image, court: Court) -> None:
    honest = of_file(Forger(image))
    for at in range(0, len(image.checkpoint), 3):
        changed = bytearray(image.checkpoint)
        changed[at] ^= 1
        head = [(1, image.size, bytes(changed))]
        assert not court.hear(honest | {"checkpoint": head}, image.log_key)
        assert not court.hear(honest, image.log_key, [bytes(changed)])
    own = (1, image.size, image.checkpoint)
    odd: list[list[Any]] = [
        [],
        [own[:2]],
        [(2, *own[1:])],
        [(1, 7, own[2])],
        [own] * 2,
        [(1, None, own[2])],
        [(1, 7, None)],
    ]
    for rows in odd:
        assert not court.hear(honest | {"checkpoint": rows}, image.log_key)


def test_the_tail_cut_at_every_entry(image: Image, court: Court) -> None:
    forger = Forger(image)
    honest = of_file(forger)
    for size in range(image.size):
        cut = honest | {
            "entry": honest["entry"][:size], "blob": [row for row in honest["blob"] if row[0] < size],
            "token": [row for row in honest["token"] if row[0] < size * 1024],
        }  # fmt: skip
        assert not court.hear(cut, image.log_key)
        # Signed again over what is left: only a head that somebody kept tells.
        signed = cut | {"checkpoint": [(1, size, forger.sign(size, forger.root(size)))]}
        if size:
            assert court.hear(signed, image.log_key)
        assert not court.hear(signed, image.log_key, [image.checkpoint])


# ---- content, with every hash made new and the head signed by the log's own key ------------------------------------


def resigned(log: Log, change: Callable[[list[dict[str, Any]]], None]) -> Tables:
    """The log's entries after `change`, encoded, hashed and signed anew."""
    made = Log(log.pair, log.origin, json.loads(json.dumps(log.entries)), [])
    made.entries.pop()  # the genesis that a new log begins with
    made.data.clear()
    change(made.entries)
    made.data += [canonical.encode(entry) for entry in made.entries]
    return of_log(made)


ODD: dict[str, list[Any]] = {
    "seq": [0, 1, 10**9], "at": ["2026-11-18T11:06:40.0Z", "2020-01-01T00:00:00.000000Z", "2026-02-30T00:00:00.000000Z",
                                 "2026-11-18T11:06:40.00000\u0664Z", ""],
    "mono_us": [0, 10**12], "boot": ["c" * 32], "origin": [OTHER, ""], "kind": ["genesis", "from.the.future"],
    "agent": [None, "x", B], "aseq": [None, 0, 99], "aprev": [None, 0, 99, -1], "refs": [
        [["failwell/aaaaaaaaaaaaaaaa", 1, "00" * 32]], [["failwell/aaaaaaaaaaaaaaaa", 99, "00" * 32]],
        [["failwell/aaaaaaaaaaaaaaaa", -1, "00" * 32]], [[OTHER, 0, "00" * 32]], [["x"]], ["x"]],
    "blob": [{"ciphertext": "00", "key": "11"}, {"ciphertext": "00"}, {}], "tokens": [["00" * 32], [1]], "v": ["1", 2],
    "run": ["x", 3], "actor": [None, "somebody"], "body": [{}, {"a": []}],
}  # fmt: skip


@pytest.mark.requirement("R13.21")
@pytest.mark.parametrize("name", sorted(ODD))
def test_a_field_of_an_envelope_changed_and_everything_signed_again(name: str, court: Court) -> None:
    log = counted(2)
    for seq, value in itertools.product(range(log.size), ODD[name]):

        def change(made: list[dict[str, Any]], seq: int = seq, value: Any = value) -> None:
            made[seq][name] = value

        if name in ("kind", "body", "v") and log.entries[seq]["kind"] in ("genesis", "heads"):
            continue  # bodies that the product reads are typed there, and looked at by need in the second
        court.hear(resigned(log, change), log.pair.text)
    assert court.accepted + court.rejected >= log.size


def test_heads_entries_that_count_wrongly(court: Court) -> None:
    for change in ({"agents": 1}, {"upto": 3}, {"root": "00" * 32}, {"root": shop(2).data[0].hex()[:64]}):
        log = counted(2)
        log.count(**change)
        log.fill(2)
        assert not court.hear(of_log(log), log.pair.text)


@pytest.mark.parametrize(
    "change",
    [{"was": Pair(9).text}, {"key": Pair(9).text}, {"statement": ""}, {"statement": "\n\n"}, {"key": ""}, {"was": "x"}],
    ids=str,
)
def test_a_key_that_changes_wrongly(change: dict[str, Any], court: Court) -> None:
    log = counted(2)
    log.rotate(Pair(2), **change)
    log.fill(2)
    assert not court.hear(of_log(log), Pair(1).text)


@pytest.mark.parametrize(
    "change",
    [{"size": 3}, {"root": "00" * 32}, {"was": OTHER}, {"key": Pair(9).text}, {"key": "x"}, {"ordered": False},
     {"lost_note": "x"}, {"lost_note": "a\n1\n\n"}],
    ids=str,
)  # fmt: skip
def test_a_log_that_goes_on_wrongly(change: dict[str, Any], court: Court) -> None:
    log = counted(2)
    log.go_on(Pair(4, OTHER), **change)
    log.fill(2)
    assert not court.hear(of_log(log), Pair(4, OTHER).text)


RESPELLED: list[Callable[[bytes], bytes]] = [
    lambda data: data + b"\n", lambda data: b" " + data, lambda data: data.replace(b",", b", ", 1),
    lambda data: data.replace(b'"v":1', b'"v":1.0'), lambda data: data.replace(b'"v":1', b'"v":01'),
    lambda data: data.replace(b'"v":1', b'"v":1,"v":1'), lambda data: data.replace(b"node", b"n\\u006fde"),
    lambda data: data.replace(b'"v":1', b'"v":1e0'), lambda data: data.replace(b'"run":null,', b""),
    lambda data: data.replace(b'{"actor"', b'{"a":1,"actor"'), lambda data: data.replace(b'"v":1}', b'"v":1,"w":1}'),
    lambda data: data.replace(b'"body":{', b'"body":{"A":1,'), lambda data: data.replace(b"}", b'\xff"}', 1),
    lambda data: data.replace(b'"v":1', b'"v":9007199254740992'), lambda data: data[:-1], lambda data: b"",
    lambda data: b"\xef\xbb\xbf" + data, lambda data: data.replace(b"/", b"\\/"),
]  # fmt: skip


def test_entries_spelled_in_another_way_and_everything_signed_again(court: Court) -> None:
    log = counted(2)
    for seq, respell in itertools.product(range(0, log.size, 3), RESPELLED):
        made = Log(log.pair, log.origin, log.entries, list(log.data))
        made.data.pop()
        made.data[seq] = respell(made.data[seq])
        if made.data[seq] != log.data[seq]:
            assert not court.hear(of_log(made), log.pair.text)


def test_the_file_of_a_workspace_is_read_alike(image: Image, tmp_path: Path, court: Court) -> None:
    """The rows that the product's readers of files give are those that the cases above are made of."""
    from failwell.offline.database import LedgerFile

    path = tmp_path / "ledger.db"
    path.write_bytes(image.data)
    with LedgerFile(path) as file:
        ledger = file.ledger()
        tables = {"entry": list(ledger.entries), "blob": list(ledger.blobs or ()), "token": list(ledger.tokens or ()),
                  "checkpoint": list(ledger.checkpoints)}  # fmt: skip
    assert tables == of_file(Forger(image))
    assert court.hear(tables, image.log_key)
