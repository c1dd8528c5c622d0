"""A pytest plugin: writes, as JSON lines, which tests carry which sub-claims and how each phase ended.

Stands alone in its folder, since that folder is put on the path of the tests' own process.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--claims-report", type=Path, required=True, help="where the JSON lines go")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(_Reporter(config.getoption("--claims-report")), "claims-reporter")


class _Reporter:
    def __init__(self, path: Path) -> None:
        self._path = path

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        for item in session.items:
            claims = [claim for mark in item.iter_markers("requirement") for claim in mark.args]
            self._write({"test": item.nodeid, "claims": claims})

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        expected = "xfail" if hasattr(report, "wasxfail") else report.outcome
        self._write({"test": report.nodeid, "phase": report.when, "outcome": expected, "seconds": report.duration})

    def _write(self, line: dict[str, Any]) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
