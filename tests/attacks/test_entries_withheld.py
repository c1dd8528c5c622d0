"""The adversary here hands out what an agent did, and would rather leave some of it out (R13, D15).

They have the whole ledger, every hash of its tree, every extract and checkpoint that ever left it, and another ledger
with agents of the same names. They cannot sign. Whatever they hand out either does not verify, or says nothing untrue:
INVARIANT: if an extract verifies, every entry of the agent before the number up to which it says that it is complete is
in it, and is what the log has there. At the end they hold the log key as well, and only who kept a checkpoint, or has
the whole log, finds them out.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import chain, combinations
from typing import Any

import pytest

import failwell.core.kinds  # noqa: F401  what the typed decoder knows
from failwell.core import canonical
from failwell.core.errors import FailwellError
from failwell.core.extract import Extract
from failwell.core.heads import HeadsTree, Place
from failwell.core.records import decode_entry
from failwell.offline import entries as offline
from failwell.verify.envelope import Decode
from failwell.verify.extract_report import ExtractReport
from tests.unit.verify.hand_log import A, B, C, HandLog, shop, tidy, verify
from tests.unit.verify.logs import OTHER, Pair

Kept = tuple[tuple[int, bytes], ...]


def counted_thrice() -> HandLog:
    """Four entries of A among others, with a heads entry before, between and behind them."""
    log = HandLog()
    log.act(B)
    log.count()
    for number in range(2):
        log.act(A, str(number))
        log.act(C, str(number))
        log.act(A, f"{number} again")
        log.count()
    log.act(A, "behind")
    log.note("behind")
    return log


def handed_out(log: HandLog, agent: str, entries: Iterable[tuple[int, bytes]], like: Extract) -> Extract:
    """An extract of these entries with every true hash that its proofs can use; the rest as in `like`."""
    return tidy(replace(like, agent=agent, entries=tuple(sorted(entries))), log.size, log.node)


def lists(missing: tuple[tuple[int, int], ...]) -> list[int]:
    return [number for first, last in missing for number in range(first, last + 1)]


def refused(report: ExtractReport) -> None:
    assert not report.ok
    assert report.findings


def true_of(log: HandLog, extract: Extract, report: ExtractReport) -> None:
    """What a report that found nothing says, held against the log itself."""
    assert report.complete_to is not None
    mine = log.of(extract.agent)
    here = dict(extract.entries)
    assert [seq for seq in mine if seq < report.complete_to] == [
        seq for seq in mine if seq in here and seq < report.complete_to
    ]
    assert all(here[seq] == log.data[seq] for seq in here)
    assert report.entries == sum(seq in here for seq in mine)
    assert (report.agent, report.origin) == (extract.agent, log.origin)
    assert report.size <= log.size


def subsets(items: list[int]) -> Iterable[tuple[int, ...]]:
    return chain.from_iterable(combinations(items, count) for count in range(len(items) + 1))


# ---- left out --------------------------------------------------------------------------------------------------


@pytest.mark.requirement("R13.17")
def test_55_of_60_entries_left_out_are_named_and_the_honest_extract_passes(rng: random.Random) -> None:
    """What a peer's export let through, while it refused the honest one."""
    log = HandLog()
    for _ in range(60):
        log.act(A)
        log.act(rng.choice((B, C)))
    log.count()
    log.stop()
    honest = log.extract(A, others=[log.size - 1])
    assert verify(honest, log.pair.text).ok
    for _ in range(20):
        mine = log.of(A)
        kept = sorted(rng.sample(range(60), 5))
        gone = {mine[number] for number in range(60) if number not in kept}
        report = verify(
            handed_out(log, A, [each for each in honest.entries if each[0] not in gone], honest), log.pair.text
        )
        refused(report)
        assert lists(report.missing) == [number for number in range(60) if number not in kept]
        assert set(report.counts) == {"entry.missing"}


@pytest.mark.requirement("R13.17")
def test_every_set_of_entries_left_out_under_every_heads_entry_is_named_or_not_claimed() -> None:
    log = counted_thrice()
    mine = log.of(A)
    passed = 0
    for heads in log.heads():
        honest = log.extract(A, heads=heads)
        for gone in subsets(mine):
            extract = handed_out(log, A, [each for each in honest.entries if each[0] not in gone], honest)
            report = verify(extract, log.pair.text)
            if report.ok:
                true_of(log, extract, report)
                # Only the end may be missing, and only where it says that it does not know it.
                assert list(gone) == mine[len(mine) - len(gone) :]
                assert all(seq >= (report.complete_to or 0) > heads for seq in gone)
                passed += 1
            else:
                numbers = [mine.index(seq) for seq in gone]
                assert set(lists(report.missing)) <= set(numbers)
                # Every number that anything here shows to exist is named.
                shown = [number for number in numbers if mine[number] < heads or any(
                    other > mine[number] for other in mine if other not in gone
                )]  # fmt: skip
                assert lists(report.missing) == shown
    assert passed == 6 + 4 + 2  # the ends behind each of the three heads entries


def test_entries_left_out_and_the_rest_numbered_anew() -> None:
    """All hashes and counts that can be made to fit are made to fit."""
    log = counted_thrice()
    honest = log.extract(A)
    mine = log.of(A)
    for gone in mine:
        count, last, entries = 0, None, []
        for seq, data in honest.entries:
            if seq == gone:
                continue
            entry = json.loads(data)
            if entry["agent"] == A:
                entry["aseq"], entry["aprev"], count, last = count, last, count + 1, seq
            entries.append((seq, canonical.encode(entry)))
        renumbered = [seq for seq, data in entries if data != log.data[seq]]
        fewer = log.reach(log.heads()[-1])
        fewer[A] = fewer[A]._replace(count=fewer[A].count - 1)
        for places in (honest.heads, (log.heads()[-1], HeadsTree(fewer).prove(A))):
            extract = handed_out(log, A, entries, replace(honest, heads=places))
            report = verify(extract, log.pair.text)
            if gone > log.heads()[-1] and places == honest.heads:
                true_of(log, extract, report)  # the very last one: of what lies there it claims nothing
                continue
            refused(report)
            # Each entry that was changed does not stand in the tree; what was not touched still does.
            assert {each.entry for each in report.findings if each.code == "entry.included"} == set(renumbered)
            assert {"entry.included", "heads.places", "heads.count", "entry.missing"} & set(report.counts)


def test_an_agent_left_out_wholly_is_not_passed_off_as_one_that_did_nothing() -> None:
    log = counted_thrice()
    honest = log.extract(A)
    others = [each for each in honest.entries if each[0] not in log.of(A)]
    for heads in log.heads():
        tree = HeadsTree(log.reach(heads))
        lines = [tree._place(index) for index in range(tree.size)]
        for places in [(), *((one,) for one in lines), *combinations(lines, 2), tuple(lines)]:
            entries = [*((seq, data) for seq, data in others if seq != honest.heads[0]), (heads, log.data[heads])]  # type: ignore[index]
            extract = handed_out(log, A, entries, replace(honest, heads=(heads, places)))
            report = verify(extract, log.pair.text)
            if report.ok:
                true_of(log, extract, report)
                assert heads == log.heads()[0]  # before its first entry: true, and it says up to where
                assert report.complete_to == log.of(A)[0]
            else:
                assert not report.entries


# ---- exchanged -------------------------------------------------------------------------------------------------


def test_the_entries_of_one_agent_in_the_place_of_anothers() -> None:
    log = shop()
    ours, theirs = log.extract(A), log.extract(B)
    exchanged: list[tuple[str, Kept, Any]] = [
        (A, theirs.entries, theirs.heads),
        (A, theirs.entries, ours.heads),
        (B, ours.entries, ours.heads),
        (A, (*theirs.entries, *(set(ours.entries) - set(theirs.entries))), theirs.heads),
    ]
    for agent, given, heads in exchanged:
        refused(verify(handed_out(log, agent, given, replace(ours, heads=heads)), log.pair.text))
    for mine, other in zip(log.of(A), log.of(B), strict=False):
        entries = [each for each in ours.entries if each[0] != mine] + [(other, log.data[other])]
        report = verify(handed_out(log, A, entries, ours), log.pair.text)
        refused(report)
        assert log.of(A).index(mine) in lists(report.missing)
    refused(verify(ours, log.pair.text, agent=B))


def test_an_entry_given_to_another_agent() -> None:
    log = shop()
    honest = log.extract(A)
    for number, seq in enumerate(log.of(A)):
        other = log.of(B)[number % 6]
        before = log.of(A)[number - 1] if number else None
        entry = json.loads(log.data[other]) | {"agent": A, "aseq": number, "aprev": before}
        for place, text in ((seq, entry | {"seq": seq}), (other, entry)):
            entries = [each for each in honest.entries if each[0] not in (seq, place)]
            entries.append((place, canonical.encode(text)))
            report = verify(handed_out(log, A, entries, honest), log.pair.text)
            refused(report)
            assert place in {each.entry for each in report.findings if each.code == "entry.included"}


def test_an_entry_twice_or_under_another_number() -> None:
    log = shop()
    honest = log.extract(A)
    for seq, data in honest.entries:
        twice = replace(honest, entries=tuple(sorted([*honest.entries, (seq, data)])))
        assert set(verify(twice, log.pair.text).counts) == {"extract.form"}
        for number in (seq + 1, seq - 1, log.size, 2**40):
            entries = {each[0]: each[1] for each in honest.entries} | {max(number, 0): data}
            if entries == dict(honest.entries):
                continue
            refused(verify(handed_out(log, A, entries.items(), honest), log.pair.text))
    unsorted = replace(honest, entries=honest.entries[::-1])
    assert set(verify(unsorted, log.pair.text).counts) == {"extract.form"}


@pytest.mark.parametrize("same_name", [True, False])
def test_entries_of_another_ledger_with_agents_of_the_same_names(same_name: bool) -> None:
    log = shop()
    other = shop(8, log.origin if same_name else OTHER, 2)
    honest, foreign = log.extract(A), other.extract(A)
    assert verify(foreign, other.pair.text).ok
    assert "head.key" in verify(foreign, log.pair.text).counts
    for seq in log.of(A):
        entries = [(each, other.data[each] if each == seq else data) for each, data in honest.entries]
        if entries == list(honest.entries):
            continue
        report = verify(handed_out(log, A, entries, honest), log.pair.text)
        assert {each.entry for each in report.findings if each.code == "entry.included"} == {seq}
    for mixed in (
        replace(foreign, checkpoint=honest.checkpoint),
        replace(honest, checkpoint=foreign.checkpoint),
        replace(honest, heads=foreign.heads),
        replace(honest, entries=foreign.entries),
    ):
        refused(verify(mixed, log.pair.text))
        refused(verify(tidy(mixed, log.size, log.node), log.pair.text))


# ---- old -------------------------------------------------------------------------------------------------------


def test_an_old_extract_cannot_be_passed_off_as_a_newer_one() -> None:
    """With every checkpoint and heads entry that there ever was: it says no more than was true then."""
    log = counted_thrice()
    for heads in log.heads():
        for size in range(heads + 1, log.size + 1):
            old = log.extract(A, size=size, heads=heads)
            for claimed in range(heads + 1, log.size + 1):
                extract = tidy(replace(old, checkpoint=log.head(claimed)), claimed, log.node)
                report = verify(extract, log.pair.text)
                beyond = max(seq for seq, _ in old.entries) >= claimed
                assert report.ok is not beyond
                if report.ok:
                    true_of(log, extract, report)
                    assert report.size == claimed
                    newer = verify(extract, log.pair.text, log.head())
                    assert set(newer.counts) == ({"kept.newer"} if claimed < log.size else set())


def test_two_extracts_of_different_size_are_of_one_history_or_are_told_apart() -> None:
    log, forked = counted_thrice(), counted_thrice()
    forked.data[3] = forked.data[4]
    for size in range(1, log.size):
        extract = log.extract(A, sizes=(size,))
        assert verify(extract, log.pair.text, log.head(size)).ok
        told = verify(extract, log.pair.text, forked.head(size))
        assert told.ok is (size <= 3)
        assert set(told.counts) == (set() if size <= 3 else {"kept.root"})


# ---- damaged ---------------------------------------------------------------------------------------------------


def test_proofs_cut_short_or_changed_anywhere_prove_nothing() -> None:
    log = shop()
    honest = log.extract(C, sizes=(9,))
    assert honest.heads is not None
    wrong: list[Extract] = []
    for name, node in honest.nodes.items():
        wrong.append(replace(honest, nodes={each: kept for each, kept in honest.nodes.items() if each != name}))
        if name not in shared_only(log, 9, honest):
            wrong.append(replace(honest, nodes={**honest.nodes, name: bytes([node[0] ^ 1]) + node[1:]}))
    for extra in ((0, 1), (5, 0), (62, 3), (99, 0)):
        wrong.append(replace(honest, nodes={**honest.nodes, extra: b"\1" * 32}))
    number, (place,) = honest.heads
    for changed in (
        replace(place, path=place.path[:-1]),
        replace(place, path=place.path[1:]),
        replace(place, path=(*place.path, b"\0" * 32)),
        replace(place, path=()),
        replace(place, index=place.index ^ 1),
    ):
        wrong.append(replace(honest, heads=(number, (changed,))))
    wrong += [replace(honest, heads=(number, ())), replace(honest, heads=(number, (place, place)))]
    wrong += [replace(honest, heads=(seq, (place,))) for seq in range(log.size + 2) if seq != number]
    for seq, _ in honest.entries:
        wrong.append(replace(honest, entries=tuple(each for each in honest.entries if each[0] != seq)))
    for sizes in ((), (0, 9, log.size + 1), (8, 9, 10), (9, 9), (10, 9)):
        wrong.append(replace(honest, consistent_with=sizes))
    for extract in wrong:
        refused(verify(extract, log.pair.text))


def shared_only(log: HandLog, size: int, extract: Extract) -> set[tuple[int, int]]:
    """Hashes that only the proof from an older size needs: they are held against that checkpoint, when it is given."""
    return extract.nodes.keys() - tidy(replace(extract, consistent_with=()), log.size, log.node).nodes.keys()


@pytest.mark.parametrize("decode", [lambda _, data: decode_entry(data), offline.decode_entry], ids=["typed", "bare"])
def test_every_byte_of_an_extract_changed(decode: Decode[Any]) -> None:
    log = HandLog()
    log.act(B)
    log.act(A)
    log.count()
    data = log.extract(A).encode()
    honest = verify(data, log.pair.text, decode=decode)
    assert honest.ok
    for place in range(len(data)):
        for bit in (1 << place % 8, 1 << (place + 3) % 8):
            changed = bytearray(data)
            changed[place] ^= bit
            refused(verify(bytes(changed), log.pair.text, decode=decode))
    for cut in range(0, len(data), 7):
        refused(verify(data[:cut], log.pair.text, decode=decode))
    for extra in (b"\n", b" ", b"{}", b"\0"):
        refused(verify(data + extra, log.pair.text, decode=decode))
        refused(verify(extra + data, log.pair.text, decode=decode))


def test_a_further_signature_changes_nothing() -> None:
    """A cosignature by a key nobody asked for: ignored, as C2SP signed-note says; what is signed is the same."""
    log = shop()
    honest = log.extract(A)
    foreign = Pair(9, OTHER)
    line = foreign.key.sign(b"whatever")
    cosigned = honest.checkpoint + _signature(foreign, line)
    assert verify(replace(honest, checkpoint=cosigned), log.pair.text) == verify(honest, log.pair.text)
    alone = honest.checkpoint[: honest.checkpoint.rindex(b"\n\n") + 2] + _signature(foreign, line)
    assert set(verify(replace(honest, checkpoint=alone), log.pair.text).counts) == {"head.signature"}


def _signature(pair: Pair, made: bytes) -> bytes:
    from failwell.core.note import Signature

    return Signature(pair.verifier.name, pair.verifier.key_id, made).line().encode()


def test_whatever_is_put_together_from_all_that_ever_left_says_nothing_untrue(rng: random.Random) -> None:
    """Seeded: parts of honest extracts of two agents, several sizes and two ledgers, in any mixture."""
    log, other = counted_thrice(), shop(3, OTHER, 2)
    parts = [
        *(log.extract(agent, size=size, heads=heads) for agent in (A, C) for heads in log.heads()
          for size in (heads + 1, log.size)),
        other.extract(A), other.extract(C),
    ]  # fmt: skip
    entries = sorted({each for part in parts for each in part.entries})
    accepted = 0
    for _ in range(1500):
        first, second = rng.choice(parts), rng.choice(parts)
        chosen = dict(rng.sample(entries, rng.randrange(3))) if rng.random() < 0.3 else {}
        own = {seq: data for seq, data in first.entries if rng.random() < 0.97}
        mixed = replace(
            first, entries=tuple(sorted({**own, **chosen}.items())),
            heads=rng.choice((first, first, second)).heads, checkpoint=rng.choice((first, first, second)).checkpoint,
            agent=rng.choice((first, first, first, second)).agent,
        )  # fmt: skip
        size = int(mixed.checkpoint.split(b"\n")[1])
        extract = tidy(mixed, size, log.node if size <= log.size else other.node)
        report = verify(extract, log.pair.text)
        if report.ok:
            accepted += 1
            true_of(log, extract, report)
    assert accepted > 50


# ---- with the log key --------------------------------------------------------------------------------------------


def forged(how: Callable[[HandLog], None]) -> HandLog:
    """The log as whoever holds its key writes it anew, up to its heads entry."""
    log = HandLog()
    log.act(A, "one")
    log.act(B, "two")
    how(log)
    log.stop()
    return log


def honest_count(log: HandLog) -> None:
    log.act(A, "three")
    log.count()


def left_out(log: HandLog) -> None:
    log.note("three")
    log.count()


def miscounted(log: HandLog) -> None:
    heads = HeadsTree(log.reach(log.size))
    log.act(A, "three")
    log.count(root=heads.root().hex(), agents=heads.size)


def test_with_the_log_key_entries_can_be_left_out_and_a_kept_checkpoint_shows_it() -> None:
    honest = forged(honest_count)
    kept = honest.head(4)
    stripped = forged(left_out)
    extract = stripped.extract(A, sizes=(4,))
    assert verify(extract, honest.pair.text).ok  # the strength ends here: the same key signed another history
    assert set(verify(extract, honest.pair.text, kept).counts) == {"kept.root"}


def test_with_the_log_key_a_heads_entry_can_count_wrongly_and_the_whole_log_shows_it() -> None:
    log = forged(miscounted)
    number = log.heads()[0]
    places: tuple[Place, ...] = HeadsTree(log.reach(3)).prove(A)
    entries = [(seq, log.data[seq]) for seq in (0, 1, number)]
    honest = log.extract(A)
    extract = handed_out(log, A, entries, replace(honest, heads=(number, places)))
    assert verify(extract, log.pair.text).ok  # whoever has only this relies on somebody having the whole
    report = log.verify()
    assert set(report.counts) == {"heads.root"}
    assert report.findings[0].entry == number
    # An extract with all of the agent's entries contradicts the count by itself.
    assert set(verify(replace(honest, heads=(number, places)), log.pair.text).counts) == {"heads.count"}


def test_an_extract_that_is_anything_but_an_extract_is_a_finding_not_a_crash(rng: random.Random) -> None:
    log = shop()
    value = json.loads(log.extract(C).encode())
    strange: list[Any] = [None, True, -1, 2**53 - 1, 0, "", "x", [], {}, [[]], {"a": 1}, "é", [0] * 40]
    for name in value:
        for wrong in strange:
            changed = {**value, name: wrong}
            try:
                data = canonical.encode(changed, max_bytes=10**7)
            except FailwellError:
                continue
            if changed != value:
                refused(verify(data, log.pair.text))
    for data in (b"", b"{}", b"[]", b"null", b'{"agent":', rng.randbytes(500), b"[" * 100_000):
        refused(verify(data, log.pair.text))
    for name in ("data", "seq"):
        for wrong in strange:
            changed = {**value, "entries": [{**value["entries"][0], name: wrong}, *value["entries"][1:]]}
            if changed != value:
                refused(verify(canonical.encode(changed, max_bytes=10**7), log.pair.text))
