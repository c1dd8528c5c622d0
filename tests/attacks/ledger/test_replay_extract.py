"""An agent's extract stripped, pieced together or replayed: the attacker hands out what one agent did, and lies in it.

They have the whole ledger, every extract ever made of it, and no key. The receiver has the published key, and maybe a
checkpoint that they kept.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import apsw
import pytest

from failwell.core.errors import FailwellError
from failwell.core.extract import Extract
from failwell.core.records import decode_entry
from failwell.identity import keys
from failwell.ledger.heads import Heads
from failwell.node import extracts
from failwell.verify.anchors import Anchor
from failwell.verify.extract import verify_extract
from failwell.verify.extract_report import KEPT, ExtractReport
from tests.attacks.ledger.judging import TALLY
from tests.unit.verify import ledgers

STRANGER = "spiffe://shop.example/agent/stranger"


class Shop(NamedTuple):
    """A ledger's extracts: an old one, the newest ones of two agents, that of another log; key and checkpoint."""

    old: Extract
    new: Extract
    stranger: Extract
    other_log: Extract
    key: str
    kept: bytes


def extract_of(path: Path, agent: str) -> Extract:
    return Extract.parse(extracts.export_extract(path, agent).data)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    place = tmp_path_factory.mktemp("extracts")
    made_of = {}
    for name in ("shop", "other"):
        with ledgers.fresh(place / name) as made:
            heads = Heads(made.book)
            ledgers.begin(made)
            made.do(heads.write)
            made.sealed()
            old = extract_of(place / name, ledgers.AGENT)
            ledgers.work(made)
            made.do(heads.write)
            kept = made.sealed()
            key = made.workspace.published_key()
        made_of[name] = old, extract_of(place / name, ledgers.AGENT), kept, key
    old, new, kept, key = made_of["shop"]
    return Shop(old, new, extract_of(place / "shop", STRANGER), made_of["other"][1], key, kept)


def judge(shop: Shop, extract: Extract | bytes, *kept: bytes, agent: str = ledgers.AGENT) -> ExtractReport:
    data = extract if isinstance(extract, bytes) else extract.encode()
    anchors = [Anchor(f"checkpoint {number}", each) for number, each in enumerate(kept)]
    return verify_extract(
        data, decode=lambda _, data: decode_entry(data), verify=keys.verify, log_key=shop.key, kept=anchors, agent=agent
    )


def caught(shop: Shop, extract: Extract | bytes, *kept: bytes, entry: int | None = None) -> None:
    TALLY.attacks += 1
    report = judge(shop, extract, *kept)
    assert not report.ok
    if entry is not None:
        named = {seq for each in report.findings for seq in range(each.first or 0, (each.last or 0) + 1)}
        assert entry in named, report.findings
    TALLY.detected += 1


def mine(extract: Extract) -> list[int]:
    return [seq for seq, data in extract.entries if decode_entry(data).agent == extract.agent]


def test_honest_extracts_old_and_new_are_not_accused(shop: Shop) -> None:
    for extract in (shop.old, shop.new):
        TALLY.honest += 1
        assert judge(shop, extract).ok
    assert judge(shop, shop.stranger, agent=STRANGER).ok


def test_an_old_extract_replayed_as_the_newest_is_found_by_a_newer_checkpoint(shop: Shop) -> None:
    report = judge(shop, shop.old, shop.kept)
    TALLY.attacks += 1
    assert set(report.counts) == {"kept.newer"}
    assert report.findings[0].first == report.size  # what came after is not in it
    TALLY.detected += 1


def test_an_old_extract_replayed_passes_where_no_newer_checkpoint_is_at_hand(shop: Shop) -> None:
    """It is genuine, and says how old it is: to which size and time it reaches."""
    report = judge(shop, shop.old)
    TALLY.beyond += 1
    assert report.ok
    assert report.checks[KEPT - 1].state == "not checkable"
    assert report.size < judge(shop, shop.new).size
    TALLY.unseen += 1


@pytest.mark.requirement("R13.17")
def test_every_entry_of_the_agent_left_out(shop: Shop) -> None:
    for gone in mine(shop.new):
        caught(shop, replace(shop.new, entries=tuple(each for each in shop.new.entries if each[0] != gone)))


def test_all_but_a_few_entries_left_out(shop: Shop) -> None:
    """55 of 60, as it was done to others; the first few, the last few, every second."""
    whole = mine(shop.new)
    for kept in (whole[:5], whole[-5:], whole[::2], whole[10:15], []):
        entries = tuple(each for each in shop.new.entries if each[0] not in whole or each[0] in kept)
        caught(shop, replace(shop.new, entries=entries))


@pytest.mark.requirement("R16.3")
def test_every_entry_changed(shop: Shop) -> None:
    for at, (seq, data) in enumerate(shop.new.entries):
        for changed in (data.replace(b'"mono_us":', b'"mono_us":1', 1), data[:-2] + bytes([data[-2] ^ 1]) + data[-1:]):
            entries = (*shop.new.entries[:at], (seq, changed), *shop.new.entries[at + 1 :])
            caught(shop, replace(shop.new, entries=entries), entry=seq)


def test_pieces_of_other_extracts_of_this_log_and_of_another(shop: Shop) -> None:
    """An older head over the newer entries, another agent's place in the count, another log's everything."""
    new, old, stranger, other = shop.new, shop.old, shop.stranger, shop.other_log
    for pieced in (
        replace(new, checkpoint=old.checkpoint),
        replace(new, heads=old.heads),
        replace(new, heads=stranger.heads),
        replace(old, checkpoint=new.checkpoint),
        replace(old, checkpoint=new.checkpoint, heads=new.heads),
        replace(old, checkpoint=new.checkpoint, nodes=new.nodes),
        replace(new, entries=old.entries),
        replace(new, agent=stranger.agent),
        replace(stranger, agent=new.agent),
        replace(new, checkpoint=other.checkpoint),
        replace(new, nodes=other.nodes),
        replace(other, checkpoint=new.checkpoint),
        other,
    ):
        caught(shop, pieced)


def test_an_entry_of_another_agent_put_in_the_place_of_one_that_is_left_out(shop: Shop) -> None:
    foreign = next(each for each in shop.stranger.entries if decode_entry(each[1]).agent == STRANGER)
    for gone in mine(shop.new)[::6]:
        entries = sorted([*(each for each in shop.new.entries if each[0] != gone), foreign])
        caught(shop, replace(shop.new, entries=tuple(entries)))


def test_every_tree_hash_changed_or_left_out(shop: Shop) -> None:
    for number, (place, node) in enumerate(shop.new.nodes.items()):
        nodes = dict(shop.new.nodes)
        if number % 2:
            nodes[place] = bytes([node[0] ^ 1]) + node[1:]
        else:
            del nodes[place]
        caught(shop, replace(shop.new, nodes=nodes))


@pytest.mark.requirement("R16.3")
def test_any_byte_of_the_file_changed(shop: Shop) -> None:
    data = shop.new.encode()
    for at in range(0, len(data), 1201):
        caught(shop, data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])


def test_no_extract_is_handed_out_of_a_ledger_that_was_stripped(shop: Shop, tmp_path: Path) -> None:
    """Attack: strip the ledger first and have the product itself make the extract."""
    path = tmp_path / "w"
    with ledgers.fresh(path) as made:
        heads = Heads(made.book)
        ledgers.begin(made)
        ledgers.work(made)
        made.do(heads.write)
        made.sealed()
        size = made.book.state.size
    connection = apsw.Connection(str(path / "ledger.db"))
    for seq in (20, 33, size - 12):
        connection.execute("BEGIN")
        connection.execute("DELETE FROM entry WHERE seq = ?", (seq,))
        connection.execute("COMMIT")
        TALLY.attacks += 1
        with pytest.raises(FailwellError):
            extracts.export_extract(path, ledgers.AGENT)
        assert not extracts.verify_agent(path, ledgers.AGENT).ok
        TALLY.detected += 1
    connection.close()
