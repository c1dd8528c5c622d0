"""`contract explain|diff|test` as a person runs them: beside a workspace, without one, and against what is in force."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.shell import CONTRACT, Shell, open_shell, register

EXAMPLES = """\
examples:
  - {about: A short notice, tool: notices.send, arguments: {customer_id: c-1, seconds: 5}, expect: ALLOW}
  - {tool: notices.send, arguments: {customer_id: c-1, seconds: 91}, expect: ESCALATE, by: [very-long]}
  - tool: notices.send
    arguments: {customer_id: c-1, seconds: 5}
    after: [{tool: notices.send, arguments: {customer_id: c-2, seconds: 5}, times: 3}]
    expect: DENY
    by: [per-minute]
"""


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """A shell in a directory with three versions of a contract; no workspace, and nothing is started."""
    text = CONTRACT.format(name="refund-bot")
    (tmp_path / "v1.yaml").write_text(text)
    (tmp_path / "tried.yaml").write_text(text + EXAMPLES)
    (tmp_path / "wrong.yaml").write_text(text + EXAMPLES.replace("seconds: 91", "seconds: 89"))
    (tmp_path / "loose.yaml").write_text(text.replace("at_most: 3", "at_most: 4").replace("version: 1", "version: 2"))
    (tmp_path / "tight.yaml").write_text(text.replace("at_most: 3", "at_most: 2").replace("version: 1", "version: 2"))
    return Shell(tmp_path)


def test_a_contract_is_explained_tool_by_tool_with_what_is_not_protected(shell: Shell) -> None:
    told = shell("contract", "explain", "v1.yaml").out
    assert "A person decides when seconds is more than 90 (very-long, minor)." in told
    assert "At most 3 times in any 1m. Otherwise denied (per-minute, minor)." in told
    assert "NOT PROTECTED: whoever runs the agent holds the credential" in told
    assert "It may act on anybody's behalf." in told
    parts = shell.json("contract", "explain", "v1.yaml")["parts"]
    assert [part["title"] for part in parts][1] == "notices.send (irreversible: cannot be undone)"


def test_two_files_differ_in_words_and_the_exit_code_says_whether_anything_is_looser(shell: Shell) -> None:
    assert "LOOSER" in shell("contract", "diff", "v1.yaml", "loose.yaml", code=1).first
    assert "tighter" in shell("contract", "diff", "v1.yaml", "tight.yaml").first
    assert "nothing changes" in shell("contract", "diff", "v1.yaml", "tried.yaml").first
    told = shell.json("contract", "diff", "tight.yaml", "loose.yaml", code=1)
    assert told["loosened"] is True
    assert told["changes"] == [
        {
            "means": "looser", "about": "per-minute",
            "says": "It said: notices.send: At most 2 times in any 1m, beyond it denied. "
            "It says: notices.send: At most 4 times in any 1m, beyond it denied.",
        }
    ]  # fmt: skip


FLOOR = """\
floor: company
version: 1
scope: organisation
purpose: Nothing takes long.
clauses:
  - {id: short, deny: "notices.*", when: context.args.seconds > 3, because: "Nothing takes long."}
"""


def test_a_contract_is_read_with_the_floors_that_it_stands_on(shell: Shell) -> None:
    (shell.root / "company.yaml").write_text(FLOOR)
    told = shell("contract", "explain", "v1.yaml", "--floor", "company.yaml").out
    assert "Denied when seconds is more than 3 (company/short, minor). Nothing takes long." in told
    tried = shell("contract", "test", "tried.yaml", "--floor", "company.yaml", code=1).out
    assert "expected ALLOW, it is DENY: company/short: Nothing takes long." in tried


def test_examples_are_tried_and_a_failed_one_says_what_happened_and_why(shell: Shell) -> None:
    assert shell("contract", "test", "tried.yaml").first == "3 examples went as expected."
    done = shell("contract", "test", "wrong.yaml", code=1)
    assert done.first == "1 of 3 examples went otherwise than expected."
    assert "FAILED example 2: ALLOW" in done.out
    assert "expected ESCALATE, it is ALLOW: Inside the contract." in done.out
    assert "has no examples: nothing was tried" in shell("contract", "test", "v1.yaml", code=1).first
    told = shell.json("contract", "test", "v1.yaml", "--with", "wrong.yaml", code=1)
    assert [one["passed"] for one in told["examples"]] == [True, False, True]


def test_what_is_signed_is_shown_against_the_version_in_force(tmp_path: Path) -> None:
    with open_shell(tmp_path) as shell:
        shell("init", str(shell.workspace), "--person", "anna", "--email", "anna@shop.example")
        mail = "bert@shop.example"
        shell("person", "add", "bert", "--email", mail, "--role", "approver", "--as", "anna", "--yes")
        shell("person", "verify", "anna", "--vouch", "--as", "bert", "--yes")
        register(shell, "refund-bot")
        text = (tmp_path / "refund-bot.yaml").read_text()
        (tmp_path / "next.yaml").write_text(text.replace("version: 1", "version: 2").replace("> 90", "> 95"))
        first = shell("contract", "diff", "next.yaml", code=1)
        assert first.first.startswith("refund-bot v1 to refund-bot v2: LOOSER")
        assert "for a person to decide when seconds is more than 95." in first.out
        shown = shell("contract", "sign", "next.yaml", "--as", "anna", code=2).err  # nobody is there to agree
        assert "Against v1, which is in force: 1 change." in shown
        assert shown.index("Looser: the newer version") < shown.index("nobody is there to agree")
        shell("serve", "--stop")
        assert shell("contract", "diff", "next.yaml", code=1).out == first.out  # from a copy: nothing is started
        (tmp_path / "other.yaml").write_text(CONTRACT.format(name="other-bot"))
        assert "no contract is in force" in shell("contract", "diff", "other.yaml", code=2).err
