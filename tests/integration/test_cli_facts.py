"""Trusted facts at the terminal: declared, needed, and told when they deny or do not come true."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from failwell.node import settings
from tests.integration.shell import CONTRACT, Shell, open_shell, register, settle_in, wait_until

SOURCE = """\
import json, sys
said = json.load(open("world.json"))
asked = json.load(sys.stdin)
print(json.dumps(said[sys.argv[1]]))
"""
FACTS = """\
    facts: {{seconds_left: {{lookup: desk.left, with: [customer_id], type: "int(0..1000)"}}}}
    ensure: {{sent: {{lookup: desk.sent, with: [customer_id], type: bool, is: true, within: 1s, severity: critical}}}}
clauses:
  - {{id: too-long, deny: notices.send, when: context.args.seconds > context.facts.seconds_left, severity: minor}}
"""


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    with open_shell(tmp_path_factory.mktemp("facts")) as shell:
        settle_in(shell)
        register(shell, "desk-bot", contract=CONTRACT.replace("clauses:\n", FACTS, 1))
        (shell.root / "source.py").write_text(SOURCE)
        says(shell, {"left": 10, "sent": False})
        yield shell


def says(shell: Shell, world: dict[str, Any]) -> None:
    (shell.root / "world.json").write_text(json.dumps(world))


def apply(shell: Shell) -> None:
    file = shell.workspace / settings.FILE_NAME
    lines = [file.read_text()]
    for name in ("left", "sent"):
        command = json.dumps([sys.executable, "-I", str(shell.root / "source.py"), name])
        lines += [f'[sources."desk.{name}"]', f"command = {command}", f'cwd = "{shell.root}"', "deadline_ms = 10000"]
    file.write_text("\n".join(lines) + "\n")
    shell("config", "apply", "--as", "anna", "--yes")


def send(shell: Shell, seconds: int) -> tuple[str, ...]:
    return (
        "run", "--agent", "desk-bot", "--tool", "notices.send", "--arg", "customer_id=c-1",
        "--arg", f"seconds={seconds}", "--", sys.executable, "tool.py",
    )  # fmt: skip


def test_the_story_of_a_fact_from_undeclared_to_decided_to_a_promise_that_was_not_kept(shell: Shell) -> None:
    found = [each["found"] for each in shell.json("doctor", code=1)["checks"] if each["part"] == "agent desk-bot"]
    assert any("notices.send (desk.left), notices.send (desk.sent)" in each for each in found), found
    denied = shell(*send(shell, 0), code=1)
    assert "denied by facts" in denied.err
    assert "desk.left gave no seconds_left: failed, no such source is declared" in denied.err
    apply(shell)
    over = shell(*send(shell, 11), code=1)
    assert "denied by too-long" in over.err
    shell(*send(shell, 0))
    wait_until(lambda: incidents(shell) == 1)
    told = shell("incident", "show", "1", "--timeline")
    assert told.first.startswith(
        "desk-bot did notices.send, and afterwards the world was not as promised (check sent)."
    )
    assert "sent: otherwise than promised (desk.sent)" in told.out


def incidents(shell: Shell) -> int:
    return len(shell.json("incident", "list")["incidents"])
