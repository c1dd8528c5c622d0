"""Adoption as a person does it: register what runs, observe it, run it, govern it."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.integration.shell import AGENT, CONTRACT, open_shell

SIGN = ("--as", "anna", "--yes")


def test_an_agent_that_runs_is_observed_and_governed(tmp_path: Path) -> None:
    week = (datetime.now(UTC) + timedelta(days=7)).date().isoformat()
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
        (shell.root / "old-bot.yaml").write_text(CONTRACT.format(name="old-bot"))
        shell("contract", "sign", "old-bot.yaml", *SIGN)
        adopted = shell("contract", "adopt", "old-bot.yaml", "--as", "bert", "--yes")
        assert "It stops nothing yet: OBSERVED, NOT GOVERNED, until" in adopted.out
        assert "failwell agent govern old-bot" in adopted.out
        assert shell.json("agent", "govern", "old-bot", *SIGN)["authority"] == "ACTIVE"
