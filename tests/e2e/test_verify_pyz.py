"""`verify.pyz` on a bare Python: no library of ours or anybody's in reach, another directory, an empty environment."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from failwell.node import exports
from tests.unit.verify import ledgers
from tests.unit.verify.hand_log import A, shop

FAILWELL = [sys.executable, "-m", "failwell"]
#: Runs the file as Python would, and tells at the end what had been imported and where it came from.
WITNESS = """
import json, runpy, sys
sys.argv = sys.argv[1:]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
except SystemExit as ended:
    code = ended.code
where = {name: getattr(module, "__file__", None) for name, module in list(sys.modules.items())}
sys.stderr.write(json.dumps({"code": code, "modules": where, "path": sys.path}))
"""


class Ran(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the verifier, an honest workspace, its export in tiles, and an extract with its key."""
    place = tmp_path_factory.mktemp("pyz")
    subprocess.run(
        [*FAILWELL, "ledger", "export", "--verifier", str(place / "verify.pyz")], check=True, capture_output=True
    )
    workspace = ledgers.small(place / "ws")
    exports.export_tiles(workspace, place / "tiles", lambda done, size: None)
    log = shop()
    (place / "agent.json").write_bytes(log.extract(A).encode())
    (place / "agent.pub").write_text(log.pair.text)
    (place / "elsewhere").mkdir()
    return place


def bare(place: Path, *arguments: str, program: tuple[str, ...] = ()) -> Ran:
    """Isolated (-I: no environment, no user's directory, not this one), without site-packages (-S)."""
    done = subprocess.run(
        [str(Path(sys.executable).resolve()), "-I", "-S", *program, str(place / "verify.pyz"), *arguments],
        cwd=place / "elsewhere", env={}, capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    return Ran(done.returncode, done.stdout.decode(), done.stderr.decode())


@pytest.mark.requirement("R13.19")
@pytest.mark.ci_must_run
def test_it_verifies_with_nothing_but_pythons_own_modules(place: Path) -> None:
    for what in (["ws"], ["ws", "--hash-only"], ["tiles", "--key", "ws/keys/log.pub"],
                 ["agent.json", "--key", "agent.pub"]):  # fmt: skip
        named = [word if word.startswith("--") else str(place / word) for word in what]
        run = bare(place, *named, "--json", program=("-c", WITNESS))
        witnessed: dict[str, Any] = json.loads(run.err)
        assert witnessed["code"] == 0, run.out
        assert json.loads(run.out)["ed25519"] == "failwell.verify.ed25519, after RFC 8032"
        own = (sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), str(place / "verify.pyz"))
        assert any(name.startswith("failwell.verify.") for name in witnessed["modules"])
        for name, file in witnessed["modules"].items():
            if file is not None:
                where = os.path.realpath(file)
                assert where.startswith(tuple(map(os.path.realpath, own))), (name, file)
                assert "site-packages" not in where
            assert name.partition(".")[0] in sys.stdlib_module_names | {"failwell", "__main__"}, name


@pytest.mark.ci_must_run
def test_it_says_the_same_as_the_installed_one_and_as_ledger_verify(place: Path) -> None:
    run = bare(place, str(place / "ws"), "--json")
    told = json.loads(run.out)
    installed = subprocess.run(
        [*FAILWELL, "ledger", "verify", "--workspace", str(place / "ws"), "--json"], capture_output=True, check=True
    )
    theirs = json.loads(installed.stdout)
    for name in ("ok", "origin", "entries", "tree", "findings", "good"):
        assert told[name] == theirs[name]


@pytest.mark.ci_must_run
@pytest.mark.requirement("R13.8", "R13.19")
def test_a_changed_record_is_found_by_it_too(place: Path, tmp_path: Path) -> None:
    workspace = Path(shutil.copytree(place / "ws", tmp_path / "ws"))
    with sqlite3.connect(workspace / "ledger.db") as connection:
        forged = """CAST(replace(CAST(data AS TEXT), '"verdict":"DENY"', '"verdict":"PASS"') AS BLOB)"""
        assert connection.execute(f"UPDATE entry SET data = {forged} WHERE data != {forged}").rowcount > 0
    connection.close()
    for mode in ([], ["--hash-only"]):
        run = bare(place, str(workspace), *mode)
        assert run.code == 1
        assert "THE RECORD DOES NOT VERIFY" in run.out
        assert "Traceback" not in run.err


@pytest.mark.ci_must_run
def test_it_runs_by_its_own_name_and_its_bytes_are_the_same_each_time(place: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.pyz"
    told = subprocess.run(
        [*FAILWELL, "ledger", "export", "--verifier", str(again), "--json"], check=True, capture_output=True
    )
    assert again.read_bytes() == (place / "verify.pyz").read_bytes()
    assert json.loads(told.stdout)["bytes"] == again.stat().st_size
    shown = subprocess.run([again, "--version"], capture_output=True, check=True, env=os.environ | {"PYTHONPATH": ""})
    assert shown.stdout.decode().startswith("failwell verify.pyz ")
    refused = subprocess.run(
        [*FAILWELL, "ledger", "export", "--verifier", str(again)], capture_output=True, check=False
    )
    assert refused.returncode == 2  # what was kept is not replaced


def test_an_output_that_nobody_reads_is_no_failure(place: Path) -> None:
    command = f'"{Path(sys.executable).resolve()}" -I -S "{place}/verify.pyz" "{place}/ws" | head -1'
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, timeout=60, check=True)
    assert done.stdout.startswith(b"The record verifies")
    assert done.stderr == b""
