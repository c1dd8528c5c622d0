"""Holds at the terminal: placed, looked at, taken out, lifted by two; a serious incident, and what waits for it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.shell import Shell, settle_in, wait_until
from tests.integration.test_cli_stops import Inside


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    made = Inside(tmp_path_factory.mktemp("holds"))
    try:
        settle_in(made, "refund-bot")
        work = made.root / "desk"
        work.mkdir()
        (work / "plan.txt").write_text("send it to everybody")
        settings = made.workspace / "failwell.toml"
        settings.write_text(
            settings.read_text() + f'\n[preserve.bot]\nagent = "refund-bot"\ndirectories = ["{work}"]\n'
        )
        made("config", "apply", "--as", "anna", "--yes")
        yield made
    finally:
        made.end()


def test_a_hold_is_placed_told_and_taken_out(shell: Shell) -> None:
    placed = shell.json("hold", "place", "refund-bot", "--reason", "a lawyer wrote", "--as", "bert", "--yes")
    assert placed["hold"] == 1
    wait_until(lambda: not shell.json("hold", "show", "1")["owed"])
    told = shell("hold", "show", "1")
    assert told.first == "The record of refund-bot is locked from entry 0 on: a lawyer wrote. 1 directory of it copied."
    assert "intact" in told.out
    assert "a lawyer wrote" in shell("hold", "list").out
    taken = shell.json("hold", "export", "1", str(shell.root / "out"))
    (each,) = taken["directories"]
    assert (each["files"], each["missing"]) == (1, None)


def test_a_changed_copy_is_said_in_the_first_line_with_exit_code_1(shell: Shell) -> None:
    (copy,) = (shell.workspace / "blobs").glob("*.copy")
    held = copy.read_bytes()
    copy.write_bytes(held[:-1])
    try:
        assert shell("hold", "show", "1", code=1).first.startswith("1 COPY OF HOLD 1 MISSING OR CHANGED.")
        assert "was changed" in shell("ledger", "verify", code=1).out
    finally:
        copy.write_bytes(held)


def test_a_hold_is_lifted_by_two_persons(shell: Shell) -> None:
    shell("hold", "lift", "1", "--agree", "--as", "bert", "--yes", code=1)
    shell("hold", "lift", "1", "--reason", "it is settled", "--as", "anna", "--yes")
    shell("hold", "lift", "1", "--agree", "--as", "anna", "--yes", code=1)
    assert shell.json("hold", "lift", "1", "--agree", "--as", "bert", "--yes")["lifted"] is True
    assert shell.json("hold", "list")["holds"] == []


def test_what_loosens_waits_for_an_authority_and_says_which_command_ends_that(shell: Shell) -> None:
    shell("agent", "suspend", "refund-bot", "--reason", "it harms", "--as", "bert")
    shell("incident", "serious", "1", "health data went to a stranger", "--as", "bert", "--yes")
    assert "failwell incident inform 1" in " ".join(shell("incident", "show", "1").out.split())
    settings = shell.workspace / "failwell.toml"
    before = settings.read_text()
    settings.write_text(before.replace("[preserve.bot]", "[preserve.other]"))
    refused = shell("config", "apply", "--as", "anna", "--yes", code=1)
    assert "waits: incident 1 is serious, and no authority was informed of it yet" in refused.err
    told = shell.json("incident", "inform", "1", "--authority", "the authority", "--words", "we told them",
                      "--as", "anna", "--yes")  # fmt: skip
    assert told["complete"] is False
    shell("config", "apply", "--as", "anna", "--yes")
    assert "authority informed" in shell("incident", "show", "1", "--timeline").out
    shell("ledger", "verify")


def test_doctor_says_which_copy_is_missing(shell: Shell) -> None:
    (copy, *_) = (shell.workspace / "blobs").glob("*.copy")
    held = copy.read_bytes()
    copy.unlink()
    try:
        checks = shell.json("doctor", code=1)["checks"]
    finally:
        copy.write_bytes(held)
    said = [check["found"] for check in checks if check["part"] == "holds"]
    assert said[0] == "1 copy that a hold preserved MISSING"
    assert [check["state"] for check in shell.json("doctor", code=1)["checks"] if check["part"] == "holds"] == ["ok"]
