"""`failwell agent release` at the terminal: two persons of one machine are told as such; one alone breaks the glass."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.shell import Shell, settle_in
from tests.integration.test_cli_stops import Inside

RELEASE = ("agent", "release")


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    made = Inside(tmp_path_factory.mktemp("releases"))
    try:
        settle_in(made, "refund-bot")
        yield made
    finally:
        made.end()


def proposed(shell: Shell, number: str, *more: str) -> dict[str, object]:
    given = ("propose", "refund-bot", "--incident", number, "--conditions", "It is mended", "--evidence", "3")
    return shell.json(*RELEASE, *given, *more, "--as", "anna", "--yes")


def test_two_orders_of_one_user_give_back_and_are_told_as_not_separated(shell: Shell) -> None:
    shell("agent", "suspend", "refund-bot", "--reason", "It looks wrong", "--as", "cleo")
    shell("incident", "acknowledge", "1", "--as", "anna", "--yes")
    told = proposed(shell, "1", "--probation", "90m")
    assert (told["authority"], told["probation_ms"]) == ("PROBATION", 90 * 60_000)
    assert (
        "cleo suspended"
        in shell.json(*RELEASE, "approve", "refund-bot", "--as", "cleo", "--yes", code=1)["error"]["message"]
    )
    given = shell.json(*RELEASE, "approve", "refund-bot", "--as", "bert", "--yes")
    assert (given["authority"], given["separated"]) == ("PROBATION", "no")
    listed = shell("person", "list")
    assert "NOT SEPARATED: one user of this machine can sign for anna, bert, cleo." in listed.out
    (back,) = shell.json("incident", "show", "1")["release"]["given"]
    assert (back["by"], back["separated"]) == (["anna", "bert"], "no")


def test_probation_is_left_by_two_and_not_before_its_time(shell: Shell) -> None:
    early = (*RELEASE, "propose", "refund-bot", "--authority", "ACTIVE", "--conditions", "Fine", "--evidence", "3")
    refused = shell.json(*early, "--as", "anna", "--yes", code=1)
    assert "its probation lasts until" in refused["error"]["message"]


def test_one_person_breaks_the_glass_and_another_one_rejects_that(shell: Shell) -> None:
    shell("agent", "suspend", "refund-bot", "--reason", "Again", "--as", "cleo")
    reason = ("--reason", "Nobody gets a refund", "--for", "30m")
    broken = shell(*RELEASE, "break-glass", "refund-bot", *reason, "--as", "anna", "--yes")
    assert broken.first.startswith("refund-bot acts again in PROBATION (entry ")
    asked = shell.json("incident", "show", "2")["asked"]
    assert any("anna alone gave refund-bot back: another approver reviews that" in each for each in asked)
    why = ("--why", "There was time to ask")
    shell.json(*RELEASE, "review", "refund-bot", "--uphold", *why, "--as", "anna", "--yes", code=1)
    told = shell.json(*RELEASE, "review", "refund-bot", "--reject", *why, "--as", "bert", "--yes")
    assert (told["upheld"], told["authority"], told["incident"]) == (False, "SUSPENDED", 2)
    (back,) = shell.json("incident", "show", "2")["release"]["given"]
    assert back["by"] == ["anna"]
    assert (back["review"]["person"], back["review"]["words"]) == ("bert", "There was time to ask")
    assert shell.json("ledger", "verify")["ok"]


@pytest.mark.parametrize("wrong", [("--for", "2d"), ("--for", "90s"), ("--for", "soon")])
def test_a_time_that_is_none_is_told_before_anything_is_signed(shell: Shell, wrong: tuple[str, str]) -> None:
    shell.json(*RELEASE, "break-glass", "refund-bot", "--reason", "x", *wrong, "--as", "anna", "--yes", code=2)
