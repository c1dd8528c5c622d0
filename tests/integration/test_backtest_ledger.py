"""A backtest leaves a real ledger: each recorded call judged before its outcome, nothing claimed unseen."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from failwell.core import kinds
from failwell.core.records import Entry
from failwell.ledger.vault import Vault
from failwell.node import assembly
from failwell.node.audit import rebuild_workspace, verify_workspace
from failwell.node.clock import SystemClock
from failwell.node.workspace import Lock, Workspace
from failwell.storage.sqlite import SqliteStorage
from tests.integration.recordings import BANK, backtest, bank_runs, case, entries, pay, run, shown, write_runs


def of(found: list[Entry[Any]], kind: type) -> list[Entry[Any]]:
    return [entry for entry in found if isinstance(entry.body, kind)]


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], list[Entry[Any]]]:
    folder = tmp_path_factory.mktemp("backtest")
    into = folder / "ledger"
    return into, shown(*case(folder / "given"), "--into", str(into)), entries(into)


Judged = tuple[Path, dict[str, Any], list[Entry[Any]]]


@pytest.mark.requirement("R32.5")
def test_every_call_has_its_verdict_and_only_allowed_ones_an_outcome(judged: Judged) -> None:
    _, summary, found = judged
    verdicts = [entry.body.verdict for entry in of(found, kinds.Decision)]
    assert verdicts == [
        "ALLOW", "ALLOW", "ALLOW", "DENY", "ALLOW", "ALLOW", "ALLOW", "ESCALATE", "ALLOW", "ALLOW", "ALLOW",
        "DENY", "DENY",
    ]  # fmt: skip
    allowed = [entry.seq for entry in of(found, kinds.Decision) if entry.body.verdict == "ALLOW"]
    outcomes = of(found, kinds.Outcome)
    assert [entry.body.decision for entry in outcomes] == allowed
    assert all(entry.body.decision < entry.seq for entry in outcomes)
    ends = [entry.body.state for entry in outcomes]
    assert ends == ["completed", "completed", "failed", *["completed"] * 4, "unknown", "completed"]
    assert {(entry.body.by, entry.actor) for entry in outcomes} == {("recorded", "recorded")}
    assert summary["verdicts"] == {"ALLOW": 9, "ESCALATE": 1, "DENY": 3}
    assert (summary["runs"], summary["actions"]) == (5, 13)


def test_the_summary_names_contract_and_clause_and_the_silent_ones_too(judged: Judged) -> None:
    _, summary, _ = judged
    assert summary["clauses"] == {
        "bank-bot/arguments": 1, "bank-bot/ceiling": 1, "bank-bot/hourly": 1, "bank-bot/same": 1,
        "bank-bot/tool.unlisted": 1,
    }  # fmt: skip
    assert [(row["run"], row["contract"], row["actions"]) for row in summary["per_run"]] == [
        (1, "bank-bot", 3), (2, "bank-bot", 5), (3, "chat-bot", 2), (4, "bank-bot", 0), (5, "bank-bot", 3),
    ]  # fmt: skip


def test_actions_and_runs_are_named_by_file_digest_run_and_ordinal(judged: Judged, tmp_path: Path) -> None:
    _, _, found = judged
    digest = hashlib.sha256(write_runs(tmp_path / "same", bank_runs()).read_bytes()).hexdigest()
    assert [entry.body.source for entry in of(found, kinds.RunOpened)] == [f"{digest}:{n}" for n in range(1, 6)]
    calls = [entry.body.call for entry in of(found, kinds.Decision)]
    assert calls[:4] == [f"{digest}:1:1", f"{digest}:1:2", f"{digest}:1:3", f"{digest}:2:1"]
    assert len(set(calls)) == len(calls)


def test_words_requests_and_results_are_kept_as_recorded_and_absent_is_absent(judged: Judged) -> None:
    into, _, found = judged
    workspace = Workspace(into)
    keys = workspace.open_keys()
    storage = SqliteStorage(workspace.ledger)
    vault = Vault(keys.blobs, keys.tokens, workspace.origin(), lambda n: b"")

    def secret(entry: Entry[Any]) -> dict[str, Any]:
        blob = storage.blob(entry.seq)
        assert blob is not None
        return vault.open(blob)

    opened, decided = of(found, kinds.RunOpened), of(found, kinds.Decision)
    assert secret(opened[0])["request"] == "Pay my bills"
    assert [entry.body.request_provenance for entry in opened] == ["asserted"] * 3 + ["absent", "asserted"]
    assert {entry.body.principal_provenance for entry in opened} == {"absent"}
    reasons = [secret(entry)["reason"] for entry in decided]
    assert reasons[:3] == [None, "I pay Ann", "I pay Bob"]
    assert reasons[8:10] == ["Greeting", None]  # empty words are no words
    assert [entry.body.reason_provenance for entry in decided[:2]] == ["absent", "asserted"]
    settled = {entry.body.decision: entry for entry in of(found, kinds.Outcome)}
    assert secret(settled[decided[0].seq])["result"] == "100.00"
    assert settled[decided[9].seq].blob is None
    storage.close()


def test_the_ledger_says_that_it_is_a_backtest_and_of_what(judged: Judged) -> None:
    _, _, found = judged
    assert found[0].body.mode == "backtest"
    (config,) = of(found, kinds.Config)
    declared = json.loads(config.body.text)
    assert [each["contract"] for each in declared["contracts"]] == ["bank-bot", "chat-bot"]
    assert (declared["traces"][0]["runs"], declared["traces"][0]["calls"]) == (5, 13)
    for adopted in of(found, kinds.ContractAdopted):
        assert (adopted.body.mode, adopted.body.approver, adopted.actor) == (
            "backtest",
            "backtest",
            "backtest",
        )
    assert {entry.body.configuration for entry in of(found, kinds.Posture)} == {config.body.digest}
    assert of(found, kinds.Order) == of(found, kinds.PersonEnrolled) == []


def test_ledger_time_is_the_declared_pace_from_the_latest_valid_from(judged: Judged) -> None:
    _, _, found = judged
    assert [entry.at for entry in of(found, kinds.RunOpened)] == [
        "2026-03-01T00:00:00.000000Z", "2026-03-01T01:00:15.000000Z", "2026-03-01T02:00:40.000000Z",
        "2026-03-01T03:00:50.000000Z", "2026-03-01T04:00:50.000000Z",
    ]  # fmt: skip
    assert [entry.at for entry in of(found, kinds.Decision)][:4] == [
        "2026-03-01T00:00:05.000000Z", "2026-03-01T00:00:10.000000Z", "2026-03-01T00:00:15.000000Z",
        "2026-03-01T01:00:20.000000Z",
    ]  # fmt: skip


def test_a_response_is_evaluated_and_shown_but_not_applied(judged: Judged) -> None:
    _, summary, found = judged
    (asked,) = [entry for entry in of(found, kinds.Signal) if "suspend" in entry.body.response]
    assert (asked.body.signal, asked.body.applied) == ("denied(ceiling)", False)
    assert of(found, kinds.IncidentOpened) == of(found, kinds.PageQueued) == []
    assert [entry.body.now for entry in of(found, kinds.AuthorityChanged)] == ["ACTIVE", "ACTIVE"]
    assert summary["responses"] == [
        {"contract": "bank-bot", "signal": "denied(ceiling)", "count": 1,
         "response": ["interrupt", "suspend", "hold", "notify"]},
    ]  # fmt: skip


def test_nothing_is_left_open_or_beside_the_ledger(judged: Judged) -> None:
    into, _, found = judged
    assert len(of(found, kinds.RunOpened)) == len(of(found, kinds.RunClosed)) == 5
    assert [path.name for path in into.iterdir() if path.is_file() and path.suffix != ".db"] in (
        ["node.lock", "reserve"], ["reserve", "node.lock"],
    )  # fmt: skip
    assert sorted(path.name for path in into.parent.iterdir()) == ["given", "ledger"]


def test_a_second_run_gives_the_same_verdicts_and_the_same_command_adds_nothing(judged: Judged, tmp_path: Path) -> None:
    into, summary, found = judged
    again = shown(*case(tmp_path / "given"), "--into", str(tmp_path / "other"))
    assert {**again, "workspace": ""} == {**summary, "workspace": ""}

    def said(entry: Entry[Any]) -> tuple[Any, ...]:
        body = entry.body
        return (
            entry.kind,
            entry.at,
            entry.run,
            getattr(body, "call", ""),
            getattr(body, "verdict", ""),
            entry.mono_us,
        )

    assert [*map(said, entries(tmp_path / "other"))] == [*map(said, found)]
    assert shown(*case(into.parent / "given"), "--into", str(into)) == summary
    assert len(entries(into)) == len(found)


def test_the_ledger_verifies_and_its_rows_rebuild(judged: Judged) -> None:
    into, _, found = judged
    report = verify_workspace(into)
    assert (report.findings, report.entries) == ((), len(found))
    assert rebuild_workspace(into).identical


def test_a_default_workspace_is_a_new_folder_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = case(tmp_path / "given")
    monkeypatch.chdir(tmp_path)
    assert Path(shown(*options)["workspace"]) == tmp_path / "backtest-1"
    assert Path(shown(*options)["workspace"]) == tmp_path / "backtest-2"


def test_a_person_sees_tables_and_where_the_record_is(tmp_path: Path) -> None:
    result = backtest(*case(tmp_path / "given"), "--into", str(tmp_path / "ledger"))
    assert result.exit_code == 0
    assert "5 runs, 13 actions: 9 ALLOW, 1 ESCALATE, 3 DENY" in result.stdout
    assert f"Therecord:{tmp_path / 'ledger'}" in "".join(result.stdout.split()), "however long the path is"
    assert "not applied" in result.stdout


# -- refused before anything is judged ---------------------------------------------------------------------


def refused(*options: str, into: Path, code: int = 2) -> str:
    """The message of a backtest that must be refused in both forms, and leave no trace of itself."""
    before = sorted(into.parent.rglob("*"))
    result = backtest(*options, "--into", str(into), "--json")
    assert result.exit_code == code, result
    error = json.loads(result.stdout)["error"]
    assert set(error) == {"code", "message", "hint"}
    plain = backtest(*options, "--into", str(into))
    assert plain.stdout == ""
    assert error["message"] in plain.stderr
    assert sorted(into.parent.rglob("*")) == before
    return f"{error['message']} {error['hint']}"


@pytest.mark.parametrize(("suite", "said"), [("travel", "suite travel"), (None, "no suite")])
def test_a_run_that_no_contract_is_for_stops_the_backtest_before_it_begins(
    tmp_path: Path, suite: str | None, said: str
) -> None:
    options = case(tmp_path / "given", [*bank_runs(), run(suite, [])])
    message = refused(*options, into=tmp_path / "ledger")
    assert f"runs.jsonl, run 6 ({said}): no contract applies" in message


def test_a_run_that_two_contracts_are_for_stops_the_backtest_before_it_begins(tmp_path: Path) -> None:
    options = case(tmp_path / "given")
    other = tmp_path / "given" / "other.yaml"
    other.write_text(BANK.format(version=1).replace("bank-bot", "other-bot"))
    message = refused(*options, "--contract", str(other), into=tmp_path / "ledger")
    assert "runs.jsonl, run 1 (suite banking): 2 contracts apply: bank-bot, other-bot" in message


@pytest.mark.parametrize(("change", "said"), [
    (lambda folder: (folder / "bank.yaml").write_text(BANK.format(version=2)), "bank-bot@1"),
    (lambda folder: write_runs(folder / "runs.jsonl", bank_runs()[:4]), "runs.jsonl is not the file it was"),
])  # fmt: skip
def test_a_changed_contract_or_recording_is_not_mixed_into_an_earlier_backtest(
    tmp_path: Path, change: Any, said: str
) -> None:
    options = case(tmp_path / "given")
    shown(*options, "--into", str(tmp_path / "ledger"))
    change(tmp_path / "given")
    count = len(entries(tmp_path / "ledger"))
    message = refused(*options, into=tmp_path / "ledger")
    assert "is another one" in message
    assert said in message
    assert len(entries(tmp_path / "ledger")) == count


def test_fewer_contracts_more_recordings_or_another_pace_are_another_backtest(tmp_path: Path) -> None:
    options = case(tmp_path / "given")
    shown(*options, "--into", str(tmp_path / "ledger"))
    more = write_runs(tmp_path / "given" / "more.jsonl", bank_runs()[:1])
    assert "1 recorded files, not 2" in refused(*options, "--traces", str(more), into=tmp_path / "ledger")
    assert "pace" in refused(*options, "--call-every", "6s", into=tmp_path / "ledger")


def test_a_folder_with_other_things_in_it_is_not_touched(tmp_path: Path) -> None:
    options = case(tmp_path / "given")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    assert "not empty" in refused(*options, into=tmp_path / "mine")


def test_a_live_workspace_is_not_touched(tmp_path: Path) -> None:
    options = case(tmp_path / "given")
    live = Workspace(tmp_path / "live")
    book, guard = assembly.create_book(live, SystemClock(), tmp_path / "guard")
    writer = assembly.sealed_writer(book, guard)
    assembly.write_now(writer, assembly.genesis_drafts(book, guard.key, "live"))
    writer.close()
    Lock(live).release()
    before = live.ledger.read_bytes()
    assert "is a live workspace" in refused(*options, into=live.path, code=1)
    assert live.ledger.read_bytes() == before


def test_a_workspace_that_another_process_holds_is_not_touched(tmp_path: Path) -> None:
    options = case(tmp_path / "given")
    shown(*options, "--into", str(tmp_path / "ledger"))
    lock = Lock(Workspace(tmp_path / "ledger"))
    assert "holds this workspace" in refused(*options, into=tmp_path / "ledger", code=3)
    lock.release()


def test_a_contract_too_long_for_an_entry_leaves_no_half_made_workspace(tmp_path: Path) -> None:
    options = case(tmp_path / "given")
    bank = tmp_path / "given" / "bank.yaml"
    quotes = '"' * 1900  # each takes two bytes in the contract's text and four in the entry's
    clauses = "".join(f"  - {{id: c{n}, deny: pay, severity: minor, because: '{quotes}'}}\n" for n in range(11))
    bank.write_text(BANK.format(version=1).replace("clauses:\n", f"clauses:\n{clauses}"))
    assert "65535" in refused(*options, into=tmp_path / "ledger", code=1)


def test_an_empty_folder_is_used(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    assert shown(*case(tmp_path / "given"), "--into", str(tmp_path / "mine"))["runs"] == 5


def test_a_recording_given_twice_is_refused(tmp_path: Path) -> None:
    options = case(tmp_path / "given")
    copy = tmp_path / "given" / "copy.jsonl"
    copy.write_bytes((tmp_path / "given" / "runs.jsonl").read_bytes())
    assert "copy.jsonl is given twice" in refused(*options, "--traces", str(copy), into=tmp_path / "ledger")


@pytest.mark.parametrize(("broken", "code"), [("bank.yaml", 1), ("runs.jsonl", 2)])
def test_a_broken_file_is_named_and_nothing_is_made(tmp_path: Path, broken: str, code: int) -> None:
    options = case(tmp_path / "given")
    (tmp_path / "given" / broken).write_text("}")
    assert broken in refused(*options, into=tmp_path / "ledger", code=code)


def test_a_pace_that_outlasts_a_contract_is_refused(tmp_path: Path) -> None:
    options = case(tmp_path / "given")
    message = refused(*options, "--run-every", "90d", into=tmp_path / "ledger")
    assert "chat-bot is valid until 2027-02-01" in message


def test_a_tool_name_without_end_is_denied_and_the_backtest_goes_on(tmp_path: Path) -> None:
    options = case(tmp_path / "given", [run("banking", [("pay" * 30_000, {}, None, "paid"), pay("Ann", 2)])])
    summary = shown(*options, "--into", str(tmp_path / "ledger"))
    assert summary["verdicts"] == {"ALLOW": 1, "ESCALATE": 0, "DENY": 1}
