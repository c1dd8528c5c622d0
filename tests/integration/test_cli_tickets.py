"""A person answers an escalated action at the terminal: sees it first, one at a time, and it runs once."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.integration.shell import Shell, open_shell, send, settle_in


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    with open_shell(tmp_path_factory.mktemp("tickets")) as made:
        settle_in(made, "notice-bot")
        made("person", "add", "rita", "--role", "reviewer", "--as", "anna", "--yes")
        yield made


def with_ticket(customer: str, ticket: int | str, seconds: int = 91) -> tuple[str, ...]:
    args = send("notice-bot", customer, seconds)
    return (*args[:1], "--ticket", str(ticket), *args[1:])


def quick(shell: Shell) -> None:
    """The tool takes no time, whatever it is told."""
    (shell.root / "tool.py").write_text(
        "import json, sys\ntold = json.load(sys.stdin)\n"
        "with open('shop.jsonl', 'a') as log:\n    log.write(json.dumps(told) + '\\n')\nprint('{}')\n"
    )


def sent(shell: Shell, customer: str) -> int:
    log = shell.root / "shop.jsonl"
    lines = log.read_text().splitlines() if log.exists() else []
    return sum(json.loads(line)["customer_id"] == customer for line in lines)


def escalate(shell: Shell, customer: str, reason: str = "They wait.") -> int:
    args = send("notice-bot", customer, 91)
    told = shell.json(args[0], "--reason", reason, *args[1:], code=1)
    assert told["error"]["code"] == "escalated"
    assert f"failwell ticket show {told['ticket']}" in told["error"]["hint"]
    assert sent(shell, customer) == 0
    return int(told["ticket"])


def test_an_escalated_action_runs_once_after_a_person_approved_it(shell: Shell) -> None:
    quick(shell)
    ticket = escalate(shell, "c-1")
    listed = shell.json("ticket", "list")
    assert (listed["waiting"], listed["measured"], listed["tickets"][0]["ticket"]) == (1, False, ticket)
    shown = shell("ticket", "show", str(ticket)).out
    assert '"c-1"' in shown
    for words in ("customer:1", "Tell them.", "very-long asks", "seconds is more than 90", "Asked: rita"):
        assert words in shown, words
    assert shell.json("ticket", "show", str(ticket))["given"] == {"customer_id": "c-1", "seconds": 91}
    early = shell.json(*with_ticket("c-1", ticket), code=1)
    assert early["clauses"][-1] == "ticket"
    approved = shell("ticket", "approve", str(ticket), "--as", "rita", "--yes")
    assert '"c-1"' in approved.err, "the evidence comes before the passphrase is asked for"
    assert f"rita approved ticket {ticket}" in approved.out
    done = shell.json(*with_ticket("c-1", ticket))
    assert (done["verdict"], done["state"], sent(shell, "c-1")) == ("ALLOW", "completed", 1)
    again = shell.json(*with_ticket("c-1", ticket), code=1)
    assert (again["verdict"], again["clauses"][-1], sent(shell, "c-1")) == ("DENY", "ticket", 1)
    assert shell.json("ticket", "list")["tickets"] == []
    ended = shell("ticket", "show", str(ticket)).out
    assert "it was allowed, once" in ended
    assert shell("ledger", "verify").out.startswith("The record verifies")


def test_a_denied_one_never_runs_and_several_are_not_answered_at_once(shell: Shell) -> None:
    first, second = escalate(shell, "c-2"), escalate(shell, "c-3", "fine\x1b[2J\u202e")
    unsigned = shell("ticket", "approve", str(second), "--as", "rita", code=2)
    assert "nobody is there to agree" in unsigned.err
    assert '"c-3"' in unsigned.err, "what it would do; and nothing that a terminal obeys, for which the shell looks"
    refused = shell("ticket", "approve", str(first), str(second), "--as", "rita", "--yes", code=2)
    assert "one ticket at a time" in refused.err
    by_another = shell("ticket", "approve", str(first), "--as", "bert", "--yes", code=1)
    assert "bert is not asked" in by_another.err
    shell("ticket", "deny", str(first), "--reason", "not her", "--as", "rita", "--yes")
    told = shell.json(*with_ticket("c-2", first), code=1)
    assert (told["verdict"], sent(shell, "c-2")) == ("DENY", 0)
    every = shell.json("ticket", "list", "--all", "--agent", "notice-bot")["tickets"]
    assert [each["state"] for each in every if each["ticket"] in (first, second)] == ["open", "denied"]
