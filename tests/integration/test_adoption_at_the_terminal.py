"""Adoption as a person does it: register what runs, observe it, look at who is governed, govern it, show what held."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.integration.shell import AGENT, open_shell

SIGN = ("--as", "anna", "--yes")


def test_an_agent_that_runs_is_observed_inventoried_and_governed(tmp_path: Path) -> None:
    week = (datetime.now(UTC) + timedelta(days=7)).date().isoformat()
    crew = tmp_path / "crew"
    crew.mkdir()
    (crew / "agents.yaml").write_text("writer:\n  role: x\n")
    (crew / "langgraph.json").write_text('{"graphs": {"pla\\u001b[2Jnner": "./a.py:g"}}')
    with open_shell(tmp_path) as shell:
        shell("init", str(shell.workspace), "--person", "anna", "--email", "anna@shop.example")
        shell("person", "add", "bert", "--email", "bert@shop.example", "--role", "approver", *SIGN)
        shell("person", "verify", "anna", "--vouch", "--as", "bert", "--yes")
        shell("agent", "register", AGENT.format(name="old-bot"), "--owner", "anna", *SIGN)
        made = shell("agent", "observe", "old-bot", "--until", week, "--reason", "It runs already", *SIGN)
        assert made.first.startswith("old-bot is OBSERVED, NOT GOVERNED, until")
        ran = shell("run", "--agent", "old-bot", "--tool", "notices.send", "--", sys.executable, "-c", "print('done')")
        assert ran.out == "done\n"
        assert "NOT GOVERNED, it ran all the same: DENY" in ran.err
        listed = shell("agent", "list")
        assert "1 NOT GOVERNED" in listed.first
        assert "OBSERVED, NOT GOVERNED, until" in listed.out
        told = shell("agent", "inventory", str(crew), code=1).out  # the shell looks for what a terminal obeys
        for words in ("NOT GOVERNED: observed", "seen, not registered", "writer", "pla\\x1b[2Jnner"):
            assert words in told
        proof = shell("ledger", "enforcement").out
        assert "No effect was witnessed: nothing is shown" in proof
        assert "NOT GOVERNED, and no part of this proof: 1 action ran" in proof
        assert shell.json("agent", "govern", "old-bot", *SIGN)["authority"] == "REGISTERED"
