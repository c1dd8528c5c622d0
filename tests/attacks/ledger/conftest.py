"""One honest ledger for all attacks on it, made once; and how many cases were judged, said at the end."""

from __future__ import annotations

import pytest

from tests.attacks.ledger import judging
from tests.unit.verify import ledgers


@pytest.fixture(scope="session")
def ground(tmp_path_factory: pytest.TempPathFactory) -> judging.Ground:
    """Entries of nearly every kind, closed in good order; tests attack copies of it."""
    return judging.Ground(ledgers.small(tmp_path_factory.mktemp("ledger") / "shop"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    terminalreporter.write_line(judging.TALLY.line())
