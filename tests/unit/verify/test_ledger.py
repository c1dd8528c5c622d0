"""Verification from plain streams: what is not a row, not in order or not readable is a finding, never an error."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from failwell.core import kinds
from failwell.core.errors import Corrupt
from failwell.core.records import encode_entry
from failwell.identity import keys
from failwell.verify.finding import KEPT_PER_CODE, STEPS, Finding, Findings, Report
from failwell.verify.ledger import Ledger, verify_ledger
from tests.unit.verify import ledgers
from tests.unit.verify.forgery import Forger, Image, replace


class DictShelf:
    """A shelf in memory."""

    def __init__(self) -> None:
        self.laid: dict[str, dict[Any, tuple[str, int]]] = {}

    def put(self, rows: Iterable[tuple[str, Any, str, int]]) -> None:
        for table, key, row, entry in rows:
            self.laid.setdefault(table, {})[key] = row, entry

    def rows(self, table: str) -> Iterator[tuple[Any, str, int]]:
        found = self.laid.get(table, {})
        return ((key, *found[key]) for key in sorted(found))


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    return Image(ledgers.small(tmp_path_factory.mktemp("ledger") / "w"))


def streams(image: Image) -> dict[str, Any]:
    forger = Forger(image)
    return {
        "entries": forger.sql("SELECT * FROM entry ORDER BY seq"),
        "blobs": forger.sql("SELECT * FROM blob ORDER BY seq"),
        "tokens": forger.sql("SELECT * FROM token ORDER BY id"),
        "checkpoints": forger.sql("SELECT * FROM checkpoint"),
        "rows": lambda table: forger.sql(f'SELECT * FROM "{table}" ORDER BY key'),
    }


def verify(image: Image, given: dict[str, Any]) -> Report:
    return verify_ledger(Ledger(**given), shelf=DictShelf(), verify=keys.verify, log_key=image.log_key)


def test_streams_alone_verify_and_the_file_is_said_to_be_not_checkable(image: Image) -> None:
    report = verify(image, streams(image))
    assert report.ok
    assert [step.state for step in report.checks].count("proved") == len(STEPS) - 2
    assert report.checks[0].state == "not checkable"


@pytest.mark.parametrize("table", ["entries", "blobs", "tokens", "checkpoints"])
@pytest.mark.parametrize(
    "row",
    [(), (1,), (1, 2, 3, 4, 5), ("1", b"", b"", b""), (None, None, None, None), (1.5, b"", b"", b""), (True, b"", b"")],
)
def test_what_is_no_row_is_a_finding(image: Image, table: str, row: tuple[Any, ...]) -> None:
    for place in (0, 1):
        given = streams(image)
        given[table] = [*given[table][:place], row, *given[table][place:]]
        assert not verify(image, given).ok


@pytest.mark.parametrize("row", [(), (1,), ("x", b"{}"), (b"x", "{}"), (None, "{}"), ("x", None)])
def test_what_is_no_row_of_a_projection_is_a_finding(image: Image, row: tuple[Any, ...]) -> None:
    honest = streams(image)["rows"]
    for wrong in ("agent", "action"):
        given = streams(image)
        given["rows"] = lambda table, wrong=wrong: [*honest(table), row] if table == wrong else honest(table)
        report = verify(image, given)
        assert not report.ok
        assert report.findings[0].table == wrong


@pytest.mark.parametrize("table", ["entries", "blobs", "tokens"])
def test_rows_twice_or_out_of_order_are_findings(image: Image, table: str) -> None:
    for order in (lambda rows: [rows[0], *rows], lambda rows: [rows[1], rows[0], *rows[2:]], lambda rows: rows[::-1]):
        given = streams(image)
        given[table] = order(given[table])
        assert not verify(image, given).ok


def cut_off(rows: list[Any], after: int) -> Iterator[Any]:
    yield from rows[:after]
    raise Corrupt("the disk says no")


def test_entries_that_cannot_be_read_on_are_named_from_the_first(image: Image) -> None:
    for after in (0, 1, 30):
        given = streams(image)
        given["entries"] = cut_off(given["entries"], after)
        report = verify(image, given)
        assert report.first_bad == after
        assert report.good == after
        assert "the disk says no" in report.findings[0].message


@pytest.mark.parametrize("table", ["blobs", "tokens", "checkpoints"])
def test_a_table_that_cannot_be_read_is_a_finding(image: Image, table: str) -> None:
    given = streams(image)
    given[table] = cut_off(given[table], 0)
    assert not verify(image, given).ok


def test_a_projection_that_cannot_be_read_is_a_finding_and_the_others_are_compared(image: Image) -> None:
    honest = streams(image)["rows"]
    given = streams(image)
    given["rows"] = lambda table: cut_off(honest(table), 1) if table == "run" else honest(table)[:-1]
    report = verify(image, given)
    assert "run.unreadable" in report.counts
    assert {finding.table for finding in report.findings} > {"agent", "page", "run"}


def test_an_empty_ledger_has_no_genesis_and_no_head(image: Image) -> None:
    nothing: dict[str, Any] = {"entries": [], "blobs": [], "tokens": [], "checkpoints": [], "rows": lambda table: []}
    report = verify(image, nothing)
    assert not report.ok
    assert (report.entries, report.good) == (0, 0)


def test_a_number_that_claims_more_entries_than_fit_any_memory_costs_none(image: Image) -> None:
    given = streams(image)
    last = given["entries"][-1]
    given["entries"] = [*given["entries"], (2**62, *last[1:])]
    report = verify(image, given)
    assert report.first_bad == image.size


def test_a_million_findings_take_no_more_room_than_a_hundred_and_are_all_counted() -> None:
    findings = Findings()
    for seq in range(5000, 0, -1):
        findings.add(2, "entry.bytes", "no", entry=seq)
    report = findings.report(entries=5001, origin=None, root=None, size=5001, read={})
    assert report.counts == {"entry.bytes": 5000}
    assert len(report.findings) == KEPT_PER_CODE + 1
    assert report.first_bad == 1
    assert report.good == 1


def test_the_smallest_proven_bad_entry_comes_before_ranges_rows_and_the_rest() -> None:
    findings = Findings()
    findings.add(12, "row.changed", "a row", entry=3, first=3, last=90, table="agent", key="a")
    findings.add(1, "file.object", "a table", table="x")
    findings.add(6, "head.signature", "no head", entry=0)
    findings.add(7, "kept.root", "a range", entry=90, first=0, last=90)
    findings.add(9, "entry.fold", "wide", entry=40, first=0, last=40)
    findings.add(4, "entry.leaf", "exact", entry=40)
    report = findings.report(entries=91, origin=None, root=None, size=91, read={})
    assert [finding.message for finding in report.findings] == [
        "exact",
        "wide",
        "a range",
        "a row",
        "no head",
        "a table",
    ]
    assert report.findings[0].exact
    assert not report.findings[1].exact
    assert not Finding(step=1, code="file.object", message="no entry").exact


def test_time_that_goes_back_a_boot_without_a_clock_entry_and_a_second_genesis(image: Image) -> None:
    entries = Forger(image).entries()
    late = entries[30]
    cases: list[tuple[Any, str]] = [
        (replace(late, at="2020-01-01T00:00:00.000000Z"), "entry.time"),
        (replace(late, at="2020-01-01 00:00:00.000000Z"), "entry.time"),
        (replace(late, mono_us=1), "entry.clock"),
        (replace(late, boot="f" * 32), "entry.clock"),
        (replace(late, origin="failwell/another"), "entry.origin"),
        (replace(entries[0], seq=30), "entry.genesis"),
    ]
    for changed, code in cases:
        forger = Forger(image)
        forger.change(30, lambda _: changed, resign=True)  # noqa: B023
        report = forger.verify()
        assert code in report.counts
        found = report.findings[0]
        assert (found.first or 0) <= 30 <= (found.last or 0) <= 31


def test_citations_forward_of_oneself_or_of_another_log(image: Image) -> None:
    entries = Forger(image).entries()
    seq = next(entry.seq for entry in entries if entry.refs and entry.actor != "response")
    ref = entries[seq].refs[0]
    for wrong in (ref.__class__("failwell/another", ref.seq, ref.leaf), ref.__class__(ref.origin, seq, ref.leaf)):
        forger = Forger(image)
        data = [encode_entry(entry) for entry in entries]
        data[seq] = encode_entry(replace(entries[seq], refs=(wrong,)))
        forger.store_bytes(data, resign=True)
        report = forger.verify()
        assert report.counts["entry.citation"] >= 1
        assert report.first_bad == seq


def test_bytes_that_say_the_same_in_another_spelling_are_refused(image: Image) -> None:
    data = [encode_entry(entry) for entry in Forger(image).entries()]
    for spelled in (
        data[20].replace(b'"at":', b'"at": '),
        data[20] + b"\n",
        data[20].replace(b'"v":1}', b'"v":1.0}'),
        data[20].replace(b'{"actor"', b'{"v":1,"actor"'),
        data[20].replace(b'"actor"', b'"\\u0061ctor"'),
    ):
        assert spelled != data[20]
        forger = Forger(image)
        forger.store_bytes([*data[:20], spelled, *data[21:]], resign=True)
        report = forger.verify()
        assert report.first_bad == 20
        assert report.findings[0].code == "entry.bytes"


def test_a_clean_stop_after_which_something_was_written_without_a_head(image: Image) -> None:
    forger = Forger(image)
    note = forger.one("SELECT note FROM checkpoint")
    seq = forger.append(kinds.NodeStopped(reason="late"), "node")
    forger.sql("UPDATE checkpoint SET note = ?, size = ?", note, seq)
    report = forger.verify()
    assert report.first_bad == seq
    assert "unsealed tail: 1" in report.findings[0].message


def test_limits_that_were_not_used_as_the_verdict_says(image: Image) -> None:
    """The usage in a verdict recomputes from the verdicts before it, so a hidden reservation shows."""
    uses = [e for e in Forger(image).entries() if isinstance(e.body, kinds.Decision) and e.body.uses]
    for entry in uses:
        wrong = tuple(replace(use, used=use.used + 1, at_most=use.at_most + 1) for use in entry.body.uses)
        forger = Forger(image)
        forger.change(entry.seq, lambda e: replace(e, body=replace(e.body, uses=wrong)), resign=True)  # noqa: B023
        report = forger.verify()
        assert "decision.limit" in report.counts
        assert report.first_bad == entry.seq


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("authority", "PROBATION", "decision.authority"),
        ("epoch", 7, "decision.authority"),
        ("posture", None, "decision.posture"),
        ("contract", "refund-bot@2", "decision.contract"),
        ("principal", "p-00", "decision.principal"),
    ],
)
def test_a_verdict_that_names_something_else_than_was_in_force(image: Image, field: str, value: Any, code: str) -> None:
    entry = next(e for e in Forger(image).entries() if isinstance(e.body, kinds.Decision) and e.body.uses)
    forger = Forger(image)
    forger.change(entry.seq, lambda e: replace(e, body=replace(e.body, **{field: value})), resign=True)
    report = forger.verify()
    assert code in report.counts
    assert report.first_bad == entry.seq


def test_the_image_under_test_was_made_by_the_product_not_by_the_tests(image: Image, tmp_path: Path) -> None:
    assert Forger(image).entries()[0].body.log_key == image.log_key
    assert Forger(image).verify().ok
