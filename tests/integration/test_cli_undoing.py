"""A person has a completed action undone at the terminal, and sees what became of it."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.shell import CONTRACT, Shell, open_shell, register, send, settle_in, wait_until

STEP = (
    "import json, sys\n"
    "told = json.load(sys.stdin)\n"
    "print(json.dumps({'state': 'reversed', 'detail': 'told ' + told['arguments']['customer_id'] + ' otherwise'}))\n"
)
PLAIN = """\
  - tool: notices.plain
    effect: reversible
    custody: none
    arguments: {{customer_id: "id", seconds: "int(0..100)"}}
"""


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    with open_shell(tmp_path_factory.mktemp("undoing")) as made:
        settle_in(made)
        undone = CONTRACT.replace("    deadline: 30s\n", "    deadline: 30s\n    compensate: notices.retract\n")
        register(made, "notice-bot", contract=undone.replace("tools:\n", f"tools:\n{PLAIN}"))
        yield made


def sent(shell: Shell, tool: str = "notices.send") -> str:
    done = shell.json(*(tool if word == "notices.send" else word for word in send("notice-bot", "c-1")))
    return str(done["entry"])


def await_end(shell: Shell, number: str) -> dict[str, Any]:
    """How an undoing ended, once it has."""
    found: list[dict[str, Any]] = []

    def ended() -> bool:
        found.append(shell.json("action", "show", number)["undoing"])
        return found[-1]["ended"] is not None

    time.sleep(0.5)  # it is taken up with the node's next tick
    wait_until(ended)
    return found[-1]


def test_a_completed_action_is_undone_by_the_declared_step_when_a_person_orders_it(shell: Shell) -> None:
    number = sent(shell)
    shown = shell("action", "show", number).out
    for words in (f"Action {number} of notice-bot: notices.send is completed", '"c-1"', "notices.retract can undo it"):
        assert words in shown, words

    wanted = "undoes by steps that no setting declares: notices.send (notices.retract)"
    assert wanted in str(shell.json("doctor", code=1)["checks"])

    # Nothing is declared yet: the order stands, and it is said at once what is missing.
    early = shell("action", "compensate", number, "--reason", "wrong customer", "--as", "anna", "--yes", code=1)
    assert '[tools."notices.retract"] in failwell.toml' in early.out
    found = await_end(shell, number)
    assert (found["state"], "no setting declares notices.retract" in found["detail"]) == ("not", True)

    (shell.root / "retract.py").write_text(STEP)
    command = json.dumps([sys.executable, "-I", "-S", str(shell.root / "retract.py")])
    with (shell.workspace / "failwell.toml").open("a") as file:
        file.write(f'\n[tools."notices.retract"]\ncommand = {command}\n')
    shell("config", "apply", "--as", "anna", "--yes")
    told = shell.json("action", "compensate", number, "--reason", "wrong customer", "--as", "bert", "--yes")
    assert (told["action"], told["person"], told["step"]) == (int(number), "bert", "notices.retract")
    assert await_end(shell, number)["state"] == "reversed"
    shown = shell("action", "show", number).out
    assert re.search(rf"Action {number} .* is completed, and is undone\.", shown)
    assert "told c-1 otherwise" in shown
    again = shell.json("action", "compensate", number, "--reason", "once more", "--as", "anna", "--yes", code=1)
    assert "is reversed" in again["error"]["message"]
    assert shell("ledger", "verify").code == 0


def test_what_no_contract_says_how_to_undo_is_refused_with_what_to_write(shell: Shell) -> None:
    number = sent(shell, "notices.plain")
    told = shell.json("action", "compensate", number, "--reason", "no", "--as", "anna", "--yes", code=1)
    assert "no contract in force said how notices.plain is undone" in told["error"]["message"]
    assert "compensate: STEP" in told["error"]["hint"]
    missing = shell.json("action", "show", "3", code=2)
    assert "there is no action 3" in missing["error"]["message"]
