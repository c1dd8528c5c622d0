"""`response show|lint|test` as a person runs them: beside a workspace that nobody serves, or without one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.shell import Shell
from tests.unit.verify import ledgers

RULE = '  - {signal: "recorded(once) >= 3 in 1h", do: [interrupt, suspend, hold, notify]}'


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace whose agent was refused a large amount and then refunded twice, and contracts to try."""
    root = tmp_path_factory.mktemp("response")
    with ledgers.fresh(root / "w") as made:
        ledgers.begin(made)
        run = made.run()
        made.refund(run, "c1", "A-1", "900.00")
        for number in (2, 3):
            made.settle(made.refund(run, f"c{number}", f"A-{number}"))
    strict = ledgers.CONTRACT.replace(RULE, f"{RULE}\n  - {{signal: denied(refund-ceiling), do: [suspend]}}")
    (root / "strict.yaml").write_text(strict)
    (root / "same.yaml").write_text(ledgers.CONTRACT)
    (root / "weak.yaml").write_text(strict.replace("do: [suspend]", "do: [record]"))
    return root


@pytest.fixture
def shell(place: Path) -> Shell:
    return Shell(place)


def test_what_an_agent_s_signals_are_answered_with_is_shown(shell: Shell) -> None:
    told = shell("response", "show", "refund-bot", "--workspace", "w").out
    assert "refund-bot answers signals by 1 rule of refund-bot v1." in told
    assert "from number 3 on within 1h" in told
    shown = shell.json("response", "show", "refund-bot", "--workspace", "w")
    assert shown["rules"][0]["signal"] == "recorded(once)"
    assert {"signal": "bypass", "severity": "critical", "when": "each time",
            "does": "interrupt, suspend, hold, notify"} in shown["ladder"]  # fmt: skip
    shell("response", "show", "nobody-bot", "--workspace", "w", code=2)


def test_what_is_weak_is_said_with_its_place_and_fails_only_where_that_is_asked_for(shell: Shell) -> None:
    assert "Nothing is weak about it." in shell("response", "lint", "same.yaml").out
    told = shell("response", "lint", "weak.yaml").out
    assert "What the contract does about denied(refund-ceiling) is weaker than the default ladder." in told
    assert "weak.yaml:" in told
    found = shell.json("response", "lint", "weak.yaml", "--strict", code=1)["findings"]
    assert found[0]["problem"].startswith("What the contract does about")


def test_what_other_rules_would_have_done_is_told_beside_what_was_done(shell: Shell) -> None:
    before = (shell.root / "w" / "ledger.db").read_bytes()
    same = shell("response", "test", "same.yaml", "--workspace", "w").first
    assert same.endswith("at no time, as happened.")
    strict = shell.json("response", "test", "strict.yaml", "--workspace", "w")
    assert (strict["stopped"], strict["started_beyond"], strict["customers_beyond"]) == (None, 2, 2)
    (answered,) = strict["answered"]
    assert (answered["signal"], answered["did"], answered["differs"]) == ("denied(refund-ceiling)", ["record"], True)
    told = shell("response", "test", "strict.yaml", "--workspace", "w").out
    assert "2 actions would not have started, which reached 2 customers." in told
    assert (shell.root / "w" / "ledger.db").read_bytes() == before
