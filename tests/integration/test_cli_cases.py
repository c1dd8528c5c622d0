"""A case at the terminal: reported, taken, found out about, decided by two; and one that nobody took in time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from failwell.node.settings import FILE_NAME
from tests.integration.shell import Shell, settle_in, wait_until
from tests.integration.test_cli_stops import Inside

OBJECTIVES = "\n[objectives.major]\nacknowledge_s = 1\n"


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    made = Inside(tmp_path_factory.mktemp("cases"))
    try:
        settle_in(made)
        yield made
    finally:
        made.end()


def test_a_case_from_its_report_to_its_end(shell: Shell) -> None:
    told = shell.json(
        "incident", "report", "The bank called: three wrong payments", "--kind", "external", "--aware",
        "2026-01-01T09:00:00Z", "--words", "Ms Meier, account 4711", "--as", "cleo", "--yes",
    )  # fmt: skip
    assert told["incident"] == 1
    shell("incident", "acknowledge", "1", "--as", "cleo", "--yes")
    task = shell("incident", "task", "1", "Ask for the list", "--to", "bert", "--as", "cleo", "--yes")
    assert task.first.startswith("Task 1 of incident 1 is bert's (entry ")
    shell("incident", "find", "1", "It sent twice", "--cites", "3,4", "--factor", "--as", "cleo", "--yes")
    case = shell.json("incident", "show", "1")["case"]
    assert (case["holder"], case["aware"]) == ("cleo", "2026-01-01T09:00:00.000000Z")
    assert [(each["sort"], each["text"]) for each in case["written"]] == [("factor", "It sent twice")]
    assert [(each["person"], each["state"], each["text"]) for each in case["tasks"]] == [
        ("bert", "open", "Ask for the list")
    ]
    shell("incident", "resolve", "1", "It was one day's file", "--as", "cleo", "--yes")
    proposed = shell("incident", "close", "1", "--none", "The file is gone", "--as", "cleo", "--yes")
    assert "Nothing has changed yet" in proposed.first
    agreed = shell("incident", "close", "1", "--agree", "--as", "bert", "--yes")
    assert "Incident 1 is major, LEARNED" in agreed.first
    shell("incident", "done", "1", "1", "They sent it", "--as", "bert", "--yes")
    assert shell("incident", "close", "1", "--as", "bert", "--yes").first.startswith("Incident 1 is closed")
    assert "Meier" not in str(shell.json("ledger", "tail", "--count", "200"))


def test_what_was_agreed_and_missed_is_written_down_by_the_clock_and_verify_agrees(shell: Shell) -> None:
    settings = shell.workspace / FILE_NAME
    settings.write_text(settings.read_text() + OBJECTIVES)
    shell("config", "apply", "--as", "anna", "--yes")
    shell("incident", "report", "It happens again", "--as", "cleo", "--yes")
    wait_until(lambda: shell.json("incident", "show", "2")["case"]["missed"] == ["acknowledge"])
    assert shell.json("ledger", "verify")["ok"]
