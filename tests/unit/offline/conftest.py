"""One honest, closed workspace for the tests of the stand-alone verifier, and its command run in this process."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from failwell.offline import command
from tests.unit.verify import ledgers


class Run(NamedTuple):
    """What the command gave."""

    code: int
    out: str
    err: str

    @property
    def told(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.out)
        return found

    def state(self, number: int) -> str:
        """State of a numbered step (only with --json)."""
        steps = [*self.told["checks"], *self.told["attested"]]
        return str(next(step["state"] for step in steps if step["number"] == number))


Verify = Callable[..., Run]


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ledgers.small(tmp_path_factory.mktemp("offline") / "ws")


@pytest.fixture
def workspace(made: Path, tmp_path: Path) -> Path:
    """A copy of the honest workspace, to be damaged."""
    return Path(shutil.copytree(made, tmp_path / "ws"))


@pytest.fixture
def verify(capsysbinary: pytest.CaptureFixture[bytes]) -> Verify:
    """`verify("ws", "--json")`: the command as `verify.pyz` runs it."""

    def run(*arguments: object) -> Run:
        try:
            code = command.main([str(each) for each in arguments])
        except SystemExit as ended:  # argparse's own way out
            code = int(ended.code or 0)
        out, err = capsysbinary.readouterr()
        return Run(code, out.decode(), err.decode())

    return run
