"""Extracts: what an honest one shows, how far, under which keys and names; and that a stranger's Python can tell."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import Any

import pytest

from failwell.core import merkle, note
from failwell.core.errors import InputError
from failwell.core.extract import Extract
from failwell.core.heads import HeadsTree
from failwell.identity import keys
from failwell.verify.extract import examine
from failwell.verify.extract_report import COMPLETE, HEAD, KEPT, STEPS, ExtractReport
from tests.unit.verify.hand_log import A, B, C, HandLog, Reach, bot, shop, verify
from tests.unit.verify.logs import ORIGIN, OTHER, Pair, decode

SOURCE = Path(__file__).resolve().parents[3] / "src"


def codes(report: ExtractReport) -> set[str]:
    return set(report.counts)


def states(report: ExtractReport) -> dict[int, str]:
    return {step.number: step.state for step in report.checks}


@pytest.mark.parametrize("agent", [A, B, C])
def test_an_honest_extract_proves_every_step_and_reaches_to_the_end_of_a_closed_log(agent: str) -> None:
    log = shop()
    mine = log.of(agent)
    report = verify(log.extract(agent, others=[log.size - 1]), log.pair.text, log.head(20))
    assert report.findings == ()
    assert report.ok
    assert (report.agent, report.origin, report.mode) == (agent, ORIGIN, "live")
    assert (report.entries, report.first, report.last, report.missing) == (len(mine), mine[0], mine[-1], ())
    assert (report.complete_to, report.since, report.size) == (log.size, 0, log.size)
    assert {number for number, state in states(report).items() if state != "proved"} <= {KEPT}
    with_proof = log.extract(agent, others=[log.size - 1], sizes=(20,))
    assert set(states(verify(with_proof, log.pair.text, log.head(20), log.head())).values()) == {"proved"}


def test_an_extract_is_read_and_written_in_one_spelling() -> None:
    extract = shop().extract(A, sizes=(3, 9))
    data = extract.encode()
    assert Extract.parse(data) == extract
    assert Extract.parse(data).encode() == data


def test_that_an_agent_has_no_entry_is_shown_too() -> None:
    log = shop()
    for absent in (bot("0"), bot("aa"), bot("z")):
        report = verify(log.extract(absent, others=[log.size - 1]), log.pair.text)
        assert report.ok
        assert (report.entries, report.first, report.complete_to) == (0, None, log.size)


def test_it_says_how_far_it_is_complete_and_what_stands_behind() -> None:
    log = shop()
    middle = log.heads()[0]
    report = verify(log.extract(A, heads=middle), log.pair.text)
    assert report.ok
    assert log.of(A)[-4] == middle + 1  # directly behind: it leaves no room for another one
    assert report.complete_to == middle + 2
    assert report.since == 3
    assert f"up to entry {middle + 1} of the log" in report.checks[COMPLETE - 1].detail
    assert f"{report.since} stand behind it" in report.checks[COMPLETE - 1].detail


def test_a_kept_checkpoint_that_the_extract_has_no_proof_for_is_not_checkable() -> None:
    log = HandLog()
    for agent in (A, *[B] * 20):
        log.act(agent)
    log.count()
    old = log.extract(A), log.extract(A, sizes=(13,))
    assert [states(verify(each, log.pair.text, log.head(13)))[KEPT] for each in old] == ["not checkable", "proved"]


def test_an_old_extract_says_its_size_and_time_and_is_told_by_a_newer_checkpoint() -> None:
    log = shop()
    size = log.heads()[0] + 1
    old = log.extract(A, size=size).encode()
    alone = verify(old, log.pair.text)
    assert alone.ok
    assert (alone.size, alone.newest_at) == (size, log.entries[size - 1]["at"])
    newer = verify(old, log.pair.text, log.head())
    assert codes(newer) == {"kept.newer"}
    assert (newer.findings[0].first, newer.findings[0].last) == (size, log.size - 1)


def test_without_a_heads_entry_there_is_no_extract_and_what_there_is_says_why() -> None:
    log = HandLog()
    log.act(A)
    leaves = {(0, seq): merkle.leaf_hash(log.data[seq]) for seq in (0, 1)}
    extract = Extract(A, log.head(), ((0, log.data[0]), (1, log.data[1])), None, leaves)
    with pytest.raises(InputError, match="heads"):
        extract.encode()
    report = examine(extract, decode=decode, verify=keys.verify, log_key=log.pair.text)
    assert report.ok
    assert report.complete_to is None
    assert states(report)[COMPLETE] == "not checkable"


# ---- keys and names --------------------------------------------------------------------------------------------


def rotated() -> tuple[HandLog, list[Pair]]:
    """A log whose key changed twice, at entries 2 and 4; all its keys."""
    log = HandLog()
    pairs = [log.pair]
    for seed in (2, 3):
        log.act(A)
        log.rotate(Pair(seed))
        pairs.append(log.pair)
    log.act(A)
    log.count()
    return log, pairs


def test_every_key_that_the_log_had_vouches_for_its_newest_head() -> None:
    log, pairs = rotated()
    kept = log.head(2, pairs[0]), log.head(4, pairs[1]), log.head()
    for pair in pairs:
        report = verify(log.extract(A, sizes=(2, 4)), pair.text, *kept)
        assert report.ok, report.findings
        assert set(states(report).values()) == {"proved"}


def test_a_head_signed_by_a_key_that_had_ended_does_not_hold() -> None:
    log, pairs = rotated()
    for pair in pairs:
        report = verify(log.extract(A, by=pairs[1]), pair.text)
        assert codes(report) == {"head.signature"}
        assert states(report)[COMPLETE] == "not checkable"
        assert codes(verify(log.extract(A), pair.text, log.head(4, pairs[2]))) == {"kept.unsigned"}


def test_a_change_of_key_that_the_old_key_did_not_sign_carries_no_trust() -> None:
    """Attack: whoever has the file and a key of their own names it in an entry, and signs the tree of that."""
    mine = Pair(77)
    for liar in (True, False):
        log = HandLog()
        honest = log.pair
        log.act(A)
        signer = mine if liar else honest
        statement = note.sign_change(honest.verifier, mine.verifier, signer.key.sign, mine.key.sign).decode()
        log.rotate(mine, statement=statement)
        log.count()
        report = verify(log.extract(A), honest.text)
        assert report.ok is not liar
        if liar:
            assert codes(report) == {"key.statement", "head.key"}


def test_a_newer_or_foreign_key_does_not_vouch_for_a_head_it_did_not_sign() -> None:
    log, pairs = rotated()
    old = HandLog()
    old.act(A)
    old.count()
    assert codes(verify(old.extract(A), pairs[-1].text)) == {"head.key"}
    assert codes(verify(log.extract(A), Pair(9, OTHER).text)) == {"head.key"}
    assert codes(verify(log.extract(A), Pair(1, OTHER).text)) == {"head.key"}
    with pytest.raises(InputError):
        verify(log.extract(A), "no key at all")


def continued() -> tuple[HandLog, Pair, bytes, bytes]:
    """A log that goes on under another name after entries from 4 on were lost; its old key, a kept head of what is
    still there, and one of what was lost."""
    log, lost = HandLog(), HandLog()
    old = log.pair
    for number in range(3):
        log.act(A, str(number))
        lost.act(A, str(number))
    lost.act(A, "lost")
    lost.act(A, "lost too")
    log.go_on(Pair(5, OTHER), lost_size=6, lost_root=lost.root(6).hex(), lost_note=lost.head().decode())
    log.act(A)
    log.act(B, "", [1])
    log.count()
    return log, old, log.head(4, old), lost.head()


def test_a_log_that_goes_on_under_another_name_is_one_log_for_whoever_has_its_new_key() -> None:
    log, old, kept, lost = continued()
    report = verify(log.extract(A, sizes=(4,)), log.pair.text, kept, log.head())
    assert report.ok, report.findings
    assert report.entries == 4
    assert set(states(report).values()) == {"proved"}
    assert f"{ORIGIN}, then {OTHER}" in {step.detail for step in report.checks}
    # What was lost is said to be lost, by the order that gave it up.
    gone = verify(log.extract(A, sizes=(4,)), log.pair.text, kept, lost)
    assert codes(gone) == {"kept.lost"}
    assert "the order in entry 4" in gone.findings[0].message
    # A break carries no trust forward.
    assert codes(verify(log.extract(A), old.text)) == {"head.key"}


def test_entries_under_an_earlier_name_without_the_entry_that_changed_it_are_not_of_this_log() -> None:
    log = continued()[0]
    extract = log.extract(A)
    for kind in ("continued", "genesis"):
        entries = tuple(each for each in extract.entries if f'"kind":"{kind}"'.encode() not in each[1])
        assert len(entries) == len(extract.entries) - 1
        assert not verify(Extract(A, extract.checkpoint, entries, extract.heads, extract.nodes), log.pair.text).ok
    log = HandLog()
    log.act(A)
    log.origin = OTHER
    log.act(A)
    log.count()
    report = verify(log.extract(A), log.pair.text)
    assert codes(report) == {"entry.origin"}
    assert {finding.entry for finding in report.findings} == {2, 3}


# ---- citations -------------------------------------------------------------------------------------------------


def test_cited_entries_of_others_may_be_in_it_and_nothing_else() -> None:
    log = shop()
    alone = verify(log.extract(A), log.pair.text)
    assert alone.cited_elsewhere == len(log.of(B)) == 6
    within = verify(log.extract(A, others=log.of(B)), log.pair.text)
    assert within.ok
    assert within.cited_elsewhere == 0
    for stray in (log.of(C)[0], next(seq for seq in range(log.size) if log.entries[seq]["kind"] == "health")):
        report = verify(log.extract(A, others=[stray]), log.pair.text)
        assert codes(report) == {"entry.stray"}
        assert report.findings[0].entry == stray


def test_a_citation_by_another_leaf_is_found_though_the_log_signed_it() -> None:
    log = HandLog()
    cited = log.act(B)
    log.add("run.closed", agent=A, envelope={"refs": [[ORIGIN, cited, "ab" * 32]]}, reason="")
    log.count()
    report = verify(log.extract(A, others=[cited]), log.pair.text)
    assert codes(report) == {"entry.citation"}
    assert (report.findings[0].first, report.findings[0].last) == (cited, 2)


# ---- what the log itself can have done wrong ---------------------------------------------------------------------


def uncounted() -> HandLog:
    log = HandLog()
    for agent in (A, B, A, C):
        log.act(agent)
    return log


@pytest.mark.parametrize("change", [{"agents": 1}, {"agents": 0}, {"root": "ab" * 32}, {"root": "x"}, {"upto": 3}])
def test_a_heads_entry_that_was_written_wrongly_proves_no_count(change: dict[str, Any]) -> None:
    log = uncounted()
    seq = log.count(**change)
    report = verify(log.extract(A), log.pair.text)
    assert len(codes(report) & {"heads.places", "heads.entry"}) == 1
    assert report.findings[0].entry == seq


@pytest.mark.parametrize(("count", "code"), [(0, "heads.count"), (1, "heads.count"), (2, None), (3, "entry.missing")])
@pytest.mark.parametrize("true_leaf", [True, False])
def test_a_count_that_was_signed_wrongly_shows_where_it_contradicts_the_agents_entries(
    count: int, code: str | None, true_leaf: bool
) -> None:
    """Whoever has the log key can sign a wrong count: that is for the whole log, or a kept checkpoint, to show."""
    log = uncounted()
    heads = log.reach(log.size)
    last = heads.pop(A)
    if count:
        heads[A] = Reach(count, last.leaf if true_leaf else "cd" * 32)
    tree = HeadsTree(heads)
    seq = log.count(root=tree.root().hex(), agents=tree.size)
    honest = log.extract(A)
    report = verify(Extract(A, honest.checkpoint, honest.entries, (seq, tree.prove(A)), honest.nodes), log.pair.text)
    assert codes(report) == ({code} if code else set() if true_leaf else {"heads.count"})
    assert report.missing == (((2, 2),) if count == 3 else ())


def test_a_chain_that_the_log_wrote_wrongly_is_found_where_it_breaks() -> None:
    for wrong in ({"aseq": 0}, {"aseq": None}, {"aprev": 0}, {"aprev": None}, {"aseq": 7}):
        log = HandLog()
        log.act(A)
        log.act(A)
        bad = log.add("run.closed", agent=A, envelope=wrong, reason="")
        log.count()
        report = verify(log.extract(A), log.pair.text)
        assert codes(report) & {"entry.agent", "entry.missing"}
        assert bad in {finding.entry for finding in report.findings} or report.missing == ((2, 6),)


def test_a_number_that_the_log_wrote_wrongly_is_found() -> None:
    log = HandLog()
    log.act(A)
    bad = log.add("run.closed", agent=A, envelope={"seq": 9}, reason="")
    log.count()
    report = verify(log.extract(A, others=[bad]), log.pair.text)
    assert "entry.number" in codes(report)
    assert bad in {finding.entry for finding in report.findings}


def test_a_heads_entry_that_does_not_stand_in_the_tree_counts_nothing() -> None:
    log = shop()
    honest = log.extract(A)
    number = log.heads()[-1]
    changed = log.data[number].replace(b'"actor":"node"', b'"actor":"nobody"')
    entries = tuple((seq, changed if seq == number else data) for seq, data in honest.entries)
    report = verify(Extract(A, honest.checkpoint, entries, honest.heads, honest.nodes), log.pair.text)
    assert codes(report) == {"entry.included", "heads.entry"}
    assert report.complete_to is None


# ---- the report and what it needs --------------------------------------------------------------------------------


def test_kept_checkpoints_of_another_history_or_log_are_told_apart() -> None:
    log, forked = shop(), shop()
    forked.data[3] = forked.data[2]
    extract, key = log.extract(A, sizes=(20,)), log.pair.text
    assert codes(verify(extract, key, forked.head(20))) == {"kept.root"}
    assert codes(verify(extract, key, forked.head())) == {"kept.root"}
    assert codes(verify(extract, key, HandLog(Pair(1, OTHER), OTHER).head())) == {"kept.unsigned"}
    bad = bytearray(log.head(20))
    bad[-5] ^= 1
    assert codes(verify(extract, key, bytes(bad))) == {"kept.unsigned"}


def test_a_head_that_is_no_checkpoint_leaves_nothing_to_hold_anything_against() -> None:
    extract = shop().extract(A)
    for text in (b"", b"x", b"a\n1\nx\n\n\xe2\x80\x94 a AAAAAAA=\n"):
        report = verify(Extract(A, text, extract.entries, extract.heads, extract.nodes), Pair(1).text)
        assert not report.ok
        assert states(report)[HEAD] == "not proved"
        assert "proved" not in states(report).values()


def test_whose_extract_it_is_must_be_what_was_asked_for() -> None:
    log = shop()
    extract = log.extract(A)
    assert verify(extract, log.pair.text, agent=A).ok
    assert verify(extract, log.pair.text, agent="a").ok
    for other in (B, "b", "agent/a", ""):
        assert codes(verify(extract, log.pair.text, agent=other)) == {"extract.agent"}


def test_the_report_is_one_json_object_with_its_steps() -> None:
    fields = verify(shop().extract(A), Pair(1).text).as_dict()
    assert fields["schema"] == "failwell/extract-verify/1"
    assert [step["number"] for step in fields["checks"]] == list(STEPS)


def test_shared_hashes_are_not_repeated() -> None:
    """Of k entries in a tree of n, about k * (2 + log2(n / k)) hashes instead of k * log2(n)."""
    log = HandLog()
    for number in range(511):
        log.act(A if number % 8 == 0 else B)
    log.count()
    extract = log.extract(A)
    paths = sum(len(merkle.inclusion_path(seq, log.size, log.node)) for seq, _ in extract.entries)
    assert len(extract.nodes) < 0.62 * paths
    assert len(extract.nodes) <= len(extract.entries) * (2 + 3) + 12


def test_whatever_verifies_an_extract_needs_the_standard_library_alone() -> None:
    """It travels in the stand-alone verifier: everything it imports, and what that imports, is ours and bare."""
    waiting, seen = ["failwell.verify.extract"], set[str]()
    while waiting:
        module = waiting.pop()
        if module in seen:
            continue
        seen.add(module)
        path = SOURCE / Path(*module.split("."))
        file = path.with_suffix(".py") if path.with_suffix(".py").exists() else path / "__init__.py"
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                base = str(node.module)
                inner = [f"{base}.{alias.name}" for alias in node.names]
                names = [name for name in inner if _is_ours(name)] or [base]
            for name in names:
                if name.startswith("failwell"):
                    waiting.append(name)
                else:
                    assert name.split(".")[0] in sys.stdlib_module_names, f"{module} imports {name}"
    assert "failwell.core.heads" in seen


def _is_ours(name: str) -> bool:
    path = SOURCE / Path(*name.split("."))
    return name.startswith("failwell") and (path.with_suffix(".py").exists() or path.is_dir())
