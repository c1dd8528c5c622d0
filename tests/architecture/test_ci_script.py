"""`.ci/run` fails where any of its steps fails, and ends with the line with which the tests closed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# No apt-get among them: a test installs nothing on the machine.
TOOLS = ["bash", "cat", "dirname", "env", "grep", "id", "make", "mkdir", "sh", "tail", "tee", "timeout"]
CLOSING = "======== 7 passed, 1 skipped in 3.21s ========="


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "bin").mkdir()
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found is not None, tool
        (tmp_path / "bin" / tool).symlink_to(found)
    (tmp_path / "tree" / ".ci").mkdir(parents=True)
    for name in ("run", "apt.txt"):
        shutil.copy(ROOT / ".ci" / name, tmp_path / "tree" / ".ci" / name)
    return tmp_path


def ci(place: Path, **failing: int) -> subprocess.CompletedProcess[str]:
    """Run the script over a Makefile whose targets end as `failing` says."""
    rules = [
        f"{target}:\n\t@echo '{CLOSING if target == 'test' else target}'; exit {failing.get(target, 0)}\n"
        for target in ("demo", "test", "check")
    ]
    (place / "tree" / "Makefile").write_text("".join(rules), "utf-8")
    return subprocess.run(
        ["bash", str(place / "tree" / ".ci" / "run")],
        env={"PATH": str(place / "bin")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_ends_with_the_tests_closing_line(place: Path) -> None:
    result = ci(place)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == CLOSING


@pytest.mark.parametrize("target", ["demo", "test", "check"])
def test_a_step_that_fails_fails_it(place: Path, target: str) -> None:
    result = ci(place, **{target: 1})
    assert result.returncode != 0
    assert f"'make {target}' ended with" in result.stdout + result.stderr
