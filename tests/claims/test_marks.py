"""The house's own marks: a skipped must-run test fails CI, a mark that names nothing is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def outcome(tmp_path: Path, body: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Pytest's answer to one test under this repository's own conftest and settings."""
    test = tmp_path / "test_one.py"
    test.write_text("import pytest\n" + body, "utf-8")
    clean = {k: v for k, v in os.environ.items() if k != "CI" and not k.startswith("PYTEST")}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-c",
        str(ROOT / "pyproject.toml"),
        "--rootdir",
        str(ROOT),
    ]
    return subprocess.run(
        [*command, "-p", "tests.conftest", str(test)],
        cwd=ROOT,
        env={**clean, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )


SKIPPED = "@pytest.mark.ci_must_run\n@pytest.mark.skip(reason='no data')\ndef test_one(): pass\n"


def test_in_ci_a_skipped_test_that_must_run_fails(tmp_path: Path) -> None:
    result = outcome(tmp_path, SKIPPED, CI="true")
    assert result.returncode == 1, result.stdout
    assert "ci_must_run and was skipped" in result.stdout


def test_elsewhere_it_is_skipped(tmp_path: Path) -> None:
    assert outcome(tmp_path, SKIPPED).returncode == 0


@pytest.mark.parametrize("mark", ['"R13.99"', '"R13"', ""])
def test_a_mark_that_names_no_sub_claim_is_refused(tmp_path: Path, mark: str) -> None:
    result = outcome(tmp_path, f"@pytest.mark.requirement({mark})\ndef test_one(): pass\n")
    assert result.returncode == 4
    assert "is not in docs/requirements.toml" in result.stdout + result.stderr
