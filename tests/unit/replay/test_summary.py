"""A backtest's summary adds up, loses no call and shows what was silent."""

from __future__ import annotations

import json

import pytest

from failwell.core.errors import InputError
from failwell.replay.summary import Judgement, Summary, case_of
from failwell.replay.traces import RecordedCall, RecordedRun, Scalar

ALLOWED = Judgement("ALLOW")
ESCALATED = Judgement("ESCALATE", ("new-payee", "large"))
DENIED = Judgement("DENY", ("large",))


def run(ordinal: int, calls: int, suite: str | None = "banking", **metadata: Scalar) -> RecordedRun:
    made = tuple(RecordedCall(n, "pay", b"{}", None, None, False) for n in range(1, calls + 1))
    return RecordedRun("ab" * 32, "runs.jsonl", ordinal, suite, "Pay", made, metadata)


def marked(metadata: dict[str, Scalar]) -> RecordedRun:
    return RecordedRun("ab" * 32, "runs.jsonl", 1, None, None, (), metadata)


def summed() -> Summary:
    summary = Summary()
    summary.expect("bank", ["large", "new-payee", "never"])
    summary.add(run(1, 3, injection_task_id=None, security=True), "bank", [ALLOWED, ESCALATED, DENIED])
    summary.add(run(2, 1, injection_task_id="i3", security=True), "bank", [ALLOWED])
    summary.add(run(3, 0, injection_task_id="i3", security=False), "bank", [])
    summary.add(run(1, 1, suite="airline", trial=0), "fly", [Judgement("DENY", ("unlisted",))])
    return summary


def test_json_has_the_stable_shape() -> None:
    shown = json.loads(json.dumps(summed().to_json("/tmp/w")))
    top = ["schema", "workspace", "runs", "actions", "verdicts", "clauses", "per_run", "responses"]
    assert list(shown) == top
    assert (shown["schema"], shown["workspace"]) == ("failwell/backtest/1", "/tmp/w")
    assert (shown["runs"], shown["actions"]) == (4, 5)
    assert shown["verdicts"] == {"ALLOW": 2, "ESCALATE": 1, "DENY": 2}
    assert shown["clauses"] == {"bank/large": 2, "bank/never": 0, "bank/new-payee": 1, "fly/unlisted": 1}
    first = shown["per_run"][0]
    assert (first["run"], first["suite"], first["contract"], first["case"]) == (
        1,
        "banking",
        "bank",
        "benign",
    )
    assert (first["actions"], first["first_stopped"]) == (3, 2)
    assert first["verdicts"] == {"ALLOW": 1, "ESCALATE": 1, "DENY": 1}
    assert first["clauses"] == {"bank/large": 2, "bank/new-payee": 1}


def test_runs_stay_in_the_order_in_which_they_were_added() -> None:
    assert [(row.suite, row.run) for row in summed().runs] == [
        ("banking", 1), ("banking", 2), ("banking", 3), ("airline", 1),
    ]  # fmt: skip


def test_per_run_adds_up_to_the_whole() -> None:
    shown = summed().to_json("w")
    for verdict, count in shown["verdicts"].items():
        assert sum(row["verdicts"][verdict] for row in shown["per_run"]) == count
    for key, count in shown["clauses"].items():
        assert sum(row["clauses"].get(key, 0) for row in shown["per_run"]) == count
    assert sum(row["actions"] for row in shown["per_run"]) == shown["actions"]


@pytest.mark.parametrize("judgements", [[], [ALLOWED], [ALLOWED] * 3])
def test_a_call_without_its_judgement_is_an_error_and_changes_nothing(judgements: list[Judgement]) -> None:
    summary = summed()
    before = summary.to_json("w")
    with pytest.raises(InputError, match="2 recorded calls"):
        summary.add(run(4, 2), "bank", judgements)
    assert summary.to_json("w") == before


def test_an_unknown_verdict_is_an_error_and_changes_nothing() -> None:
    summary = summed()
    before = summary.to_json("w")
    with pytest.raises(InputError, match="MAYBE"):
        summary.add(run(4, 2), "bank", [ALLOWED, Judgement("MAYBE", ("large",))])
    assert summary.to_json("w") == before


def test_a_clause_that_speaks_twice_on_one_call_counts_one_action() -> None:
    summary = Summary()
    summary.add(run(1, 1), "bank", [Judgement("DENY", ("large", "large"))])
    assert summary.clauses == {"bank/large": 1}


@pytest.mark.parametrize(("metadata", "case"), [
    ({"injection_task_id": None, "security": True}, "benign"),
    ({"injection_task_id": "injection_task_3", "security": True}, "attack succeeded"),
    ({"injection_task_id": "injection_task_3", "security": False}, "attack failed"),
    ({"injection_task_id": "injection_task_3"}, "attack failed"),
    ({"task_id": 3, "trial": 0, "reward": 1.0}, "benign"),
    ({}, "unmarked"),
])  # fmt: skip
def test_the_case_is_the_recordings_own_mark(metadata: dict[str, Scalar], case: str) -> None:
    assert case_of(marked(metadata)) == case


def test_tables_count_what_the_json_counts() -> None:
    by_case, by_clause, _ = summed().tables()
    assert by_case.columns == (
        "suite",
        "case",
        "runs",
        "runs stopped",
        "actions",
        "ALLOW",
        "ESCALATE",
        "DENY",
    )
    assert by_case.rows == (
        ("airline", "benign", "1", "1", "1", "0", "0", "1"),
        ("banking", "attack failed", "1", "0", "0", "0", "0", "0"),
        ("banking", "attack succeeded", "1", "0", "1", "1", "0", "0"),
        ("banking", "benign", "1", "1", "3", "1", "1", "1"),
        ("all", "", "4", "2", "5", "2", "1", "2"),
    )
    assert by_clause.rows == (
        ("bank/large", "2", "1"),
        ("bank/new-payee", "1", "1"),
        ("fly/unlisted", "1", "1"),
        ("bank/never", "0", "0"),
    )


def test_responses_are_counted_per_contract_and_signal_and_shown_as_not_applied() -> None:
    summary = summed()
    summary.note_responses("bank", {("denied(large)", ("suspend", "notify")): 2})
    again = {("denied(large)", ("suspend", "notify")): 1, ("escalated(x)", ("ask",)): 1}
    summary.note_responses("bank", again)
    table = summary.tables()[2]
    assert "not applied" in table.title
    assert table.rows == (
        ("bank: denied(large)", "suspend, notify", "3"), ("bank: escalated(x)", "ask", "1"),
    )  # fmt: skip
    assert summary.to_json("w")["responses"][0] == {
        "contract": "bank", "signal": "denied(large)", "response": ["suspend", "notify"], "count": 3,
    }  # fmt: skip
