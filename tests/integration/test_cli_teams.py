"""Who is on call at the terminal: listed, covered, given back; and what would go wrong, before it is signed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests import receivers
from tests.integration.shell import Shell, settle_in
from tests.integration.test_cli_stops import Inside
from tests.simulate.house import await_true

#: bert's turn began long ago and lasts for years; anna's comes after it.
TEAM = """
[teams.payments]
timezone = "Europe/Berlin"
[[teams.payments.turns]]
members = ["bert", "anna"]
every = "999w"
since = "2026-01-05T09:00"
"""
PATH = '[[escalation.steps]]\nnotify = "owner"\n[[escalation.steps]]\nnotify = "team:payments"\n'


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    made = Inside(tmp_path_factory.mktemp("teams"))
    try:
        settle_in(made)
        configure(made, PATH + TEAM)
        yield made
    finally:
        made.end()


def configure(shell: Shell, more: str) -> str:
    settings = shell.workspace / "failwell.toml"
    base = settings.read_text().partition("\n# told\n")[0]
    settings.write_text(f"{base}\n# told\n{more}")
    return shell("config", "apply", "--as", "anna", "--yes").out


def test_a_turn_is_covered_in_the_teams_own_time_and_given_back(shell: Shell) -> None:
    assert shell("team", "list").first == "1 team, each with somebody on call."
    assert shell.json("team", "show", "payments")["on_call"] == ["bert"]
    covered = shell.json(
        "team", "cover", "payments", "--until", "2099-01-01T09:00", "--instead-of", "bert", "--as", "anna", "--yes",
        code=2,
    )  # fmt: skip
    assert "at most 92 days" in covered["error"]["message"]
    entry = _covered(shell)
    told = shell.json("team", "show", "payments")
    assert (told["on_call"], [each["cover"] for each in told["covers"]]) == (["anna"], [entry])
    shell("team", "uncover", str(entry), "--as", "bert", "--yes")
    assert shell.json("team", "show", "payments")["on_call"] == ["bert"]
    shell("ledger", "verify")


def test_the_offsets_stand_in_the_commit_of_the_settings_that_need_them(shell: Shell) -> None:
    entries = _tail(shell)
    (zones,) = [each for each in entries if each["kind"] == "time.zones"]
    config = [each for each in entries if each["kind"] == "config" and each["seq"] < zones["seq"]][-1]
    assert (zones["seq"], zones["at"]) == (config["seq"] + 1, config["at"])


def test_what_would_go_wrong_is_said_with_exit_code_1_and_before_settings_are_signed(shell: Shell) -> None:
    said = configure(shell, PATH + TEAM.replace('"bert", "anna"', '"zoe"'))
    assert "zoe is not enrolled" in said
    assert "Nobody of payments is on call, now or in the days ahead." in " ".join(said.split())
    told = shell.json("escalation", "lint", code=1)
    assert {"unknown-person", "nobody-on-call"} <= {each["code"] for each in told["findings"]}
    doctor = [each for each in shell.json("doctor", code=1)["checks"] if each["part"] == "escalation"]
    assert doctor[0]["state"] == "todo"
    assert shell("team", "list").first.startswith("NOBODY IS ON CALL for payments")
    configure(shell, PATH + TEAM)
    assert "nobody-on-call" not in {each["code"] for each in shell.json("escalation", "lint", code=1)["findings"]}


def test_a_contract_that_asks_a_team_which_there_is_not_says_so_when_it_is_signed(shell: Shell) -> None:
    file = shell.root / "path.yaml"
    file.write_text(
        "contract: mail-bot\nversion: 1\nagent: mail-bot\nowner: anna\npurpose: Mails.\n"
        'tools:\n  - {tool: mail.read, effect: read, arguments: {a: "string(1..40)"}}\n'
        'escalation:\n  - {notify: "team:paymemts", require: 2}\n'
    )
    signed = shell.json("contract", "sign", str(file), "--as", "anna", "--yes")
    assert [each["problem"] for each in signed["faults"]] == ["There is no team paymemts."]
    assert "Asked first: team:paymemts, by email; 15m to take it, 2 of them have to." in (
        shell("contract", "explain", str(file)).out
    )


def test_a_channel_is_shown_to_reach_a_person_by_the_code_that_came_by_it(shell: Shell) -> None:
    with receivers.receiving() as room:
        hook = f'kind = "webhook"\nurl = "http://127.0.0.1:{room.port}/"\nallow_private = ["127.0.0.0/8"]\n'
        # Nobody is asked by the clock in quiet hours.
        told = f'[[escalation.steps]]\nnotify = "person:anna"\nby = ["room"]\n{PATH}'
        configure(shell, f'[escalation]\nquiet = "00:00-24:00"\n{told}{TEAM}[channels.room]\n{hook}')
        assert _stands(shell, 1)["room", "anna"] == "never shown"
        asked = shell.json("escalation", "prove", "room", "--person", "anna", "--as", "anna", "--yes")
        again = shell.json("escalation", "prove", "room", "--as", "anna", "--yes", code=1)
        assert "just now" in again["error"]["message"]
        text = await_true(lambda: room.received and room.received[0].body.decode())
    found = re.search(r"escalation confirm ([0-9A-Z-]{19}) --as anna", text)
    assert found is not None
    wrong = shell.json("escalation", "confirm", "0000-0000-0000-0000", "--as", "anna", "--yes", code=2)
    assert wrong["error"]["hint"] == "What waits came by room: look again."
    bert = shell.json("escalation", "confirm", found[1], "--as", "bert", "--yes", code=1)
    assert "nothing waits to come back from bert" in bert["error"]["message"]
    proven = shell.json("escalation", "confirm", *found[1].lower().split("-"), "--as", "anna", "--yes")
    assert (proven["channel"], proven["person"]) == ("room", "anna")
    assert proven["entry"] > asked["asked"]["room"]
    assert _stands(shell, 1)["room", "anna"] == "proven"
    assert found[1] not in shell("ledger", "tail", "-n", "100", "--json").out, "the code stands in no entry"
    shell("ledger", "verify")


def _stands(shell: Shell, code: int) -> dict[tuple[str, str], str]:
    told = shell.json("escalation", "channels", code=code)
    return {(each["channel"], each["person"]): each["state"] for each in told["channels"]}


def _covered(shell: Shell) -> int:
    until = (datetime.now(tz=UTC) + timedelta(days=1)).strftime("%Y-%m-%dT%H:%M")
    told = shell.json(
        "team", "cover", "payments", "--until", until, "--instead-of", "bert", "--as", "anna", "--yes"
    )  # fmt: skip
    assert told["since"] < told["until"]
    return int(told["entry"])


def _tail(shell: Shell) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = shell.json("ledger", "tail", "-n", "1000")["entries"]
    return found
