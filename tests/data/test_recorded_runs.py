"""The recorded runs that judge us: every run and every call is read, none is made up.

The recordings lie outside the tree (FAILWELL_DATA, or `shared/data` beside the checkout) and stay there.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from failwell.replay.traces import ReadCounts, count_runs, read_runs

DATA = Path(os.environ.get("FAILWELL_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")

pytestmark = pytest.mark.skipif(
    not DATA.is_dir(), reason=f"recorded runs are not here ({DATA}); set FAILWELL_DATA to their folder"
)

AGENTDOJO = sorted((DATA / "agentdojo-runs").glob("*.jsonl.gz"))
TAU_BENCH = DATA / "tau-bench" / "gpt-4o-airline.json.gz"


def test_agentdojo_is_read_whole() -> None:
    counts = ReadCounts()
    suites: dict[str | None, int] = {}
    attacked = succeeded = 0
    for path in AGENTDOJO:
        for run in read_runs(path, counts):
            suites[run.suite] = suites.get(run.suite, 0) + 1
            under_attack = run.metadata["injection_task_id"] is not None
            attacked += under_attack
            succeeded += under_attack and run.metadata["security"] is True
            assert run.request
    assert len(AGENTDOJO) == counts.summaries == 8
    assert (counts.runs, counts.calls) == (1552, 5491)
    assert set(suites) == {"banking", "slack", "travel", "workspace"}
    assert (attacked, succeeded) == (776, 96)
    assert (counts.calls_without_result, counts.calls_without_words) == (33, 2929)
    assert (counts.results_without_call, counts.results_out_of_order, counts.blank_lines) == (0, 0, 0)


def test_tau_bench_is_read_whole() -> None:
    counts = ReadCounts()
    runs = list(read_runs(TAU_BENCH, counts))
    assert (counts.runs, counts.calls, counts.calls_without_words) == (200, 1164, 1074)
    assert {run.suite for run in runs} == {"airline"}
    assert all(call.arguments.startswith(b"{") for run in runs for call in run.calls)


@pytest.mark.parametrize("path", [*AGENTDOJO, TAU_BENCH], ids=lambda path: path.name)
def test_counting_agrees_with_reading(path: Path) -> None:
    assert count_runs(path) == sum(1 for _ in read_runs(path))


def test_float_amounts_keep_their_text() -> None:
    texts = [
        call.arguments
        for path in AGENTDOJO
        for run in read_runs(path)
        for call in run.calls
        if call.tool == "send_money"
    ]
    assert len(texts) == 112
    assert any(b'"amount": 98.7,' in text for text in texts)


def test_a_labelled_collection_of_another_domain_is_read_too() -> None:
    counts = ReadCounts()
    runs = list(read_runs(DATA / "agentrx" / "tau_dataset_full.json.gz", counts))
    assert (len(runs), {run.suite for run in runs}) == (100, {"retail"})
    assert counts.results_without_call == 0
