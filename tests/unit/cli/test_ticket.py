"""`ticket` before it reaches a node: one at a time."""

from __future__ import annotations

import json

import pytest

from failwell.cli.main import _main


@pytest.mark.requirement("R20.2")
@pytest.mark.parametrize("command", ["show", "approve", "deny"])
def test_several_tickets_are_not_answered_at_once(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    reason = ["--reason", "all of them"] if command == "deny" else []
    assert _main(["ticket", command, "4", "5", *reason, "--json"]) == 2
    told = json.loads(capsys.readouterr().out)
    assert told["error"]["message"].startswith("one ticket at a time")
