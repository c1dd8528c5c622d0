"""What is installed is what was judged: locks with hashes, no address, no say for somebody's pip settings."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ["run", "dev"]


def lock(name: str) -> str:
    return (ROOT / "requirements" / f"{name}.txt").read_text("utf-8")


def pinned(name: str) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", lock(name), re.MULTILINE))


def spelled(requirement: str) -> str:
    return re.split(r"[<>=!~ \[;]", requirement)[0].lower().replace("_", "-").replace(".", "-")


@pytest.fixture
def install() -> ModuleType:
    spec = importlib.util.spec_from_file_location("install", ROOT / "requirements" / "install.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", LOCKS)
def test_every_line_of_a_lock_has_hashes_and_none_an_address(name: str) -> None:
    requirements = re.split(r"^(?=[a-z])", lock(name), flags=re.MULTILINE)[1:]
    assert requirements
    for requirement in requirements:
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", requirement), requirement
    assert "://" not in lock(name)
    assert "--index" not in lock(name)


def test_the_locks_agree_and_hold_everything_that_is_declared() -> None:
    run, dev = pinned("run"), pinned("dev")
    assert {name: run[name] for name in run.keys() & dev.keys()} == {
        name: dev[name] for name in run.keys() & dev.keys()
    }
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    declared = [
        *project["project"]["dependencies"],
        *project["project"]["optional-dependencies"]["demo"],
        *project["build-system"]["requires"],
    ]
    assert {spelled(requirement) for requirement in declared} <= set(run)
    wanted = (ROOT / "requirements" / "dev.in").read_text("utf-8").splitlines()
    assert {spelled(line) for line in wanted if not line.startswith("#")} <= set(dev)


def test_every_declared_dependency_has_its_reason() -> None:
    reasons = (ROOT / "docs" / "adr" / "0006-dependencies.md").read_text("utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    for requirement in [*project["dependencies"], *project["optional-dependencies"]["demo"]]:
        assert re.split(r"[<>=]", requirement)[0] in reasons


def test_of_somebodys_pip_settings_only_the_way_to_an_index_counts(
    install: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = tmp_path / "pip.conf"
    settings.write_text("[global]\nindex-url = https://mirror.example/simple\nuser = true\nconstraint = /x\n")
    monkeypatch.setattr(install, "PYTHON", Path(install.sys.executable))
    monkeypatch.setenv("PIP_CONFIG_FILE", str(settings))
    monkeypatch.setenv("PIP_TARGET", "/somewhere")
    monkeypatch.setenv("PIP_PROXY", "proxy.example:3128")
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    environment = install.pip_environment()
    told = {key: value for key, value in environment.items() if key.startswith(("PIP_", "PYTHON"))}
    assert told["PIP_INDEX_URL"] == "https://mirror.example/simple"
    assert told["PIP_PROXY"] == "proxy.example:3128"
    assert told["PIP_CONFIG_FILE"] == "/dev/null"
    assert not told.keys() & {"PIP_USER", "PIP_CONSTRAINT", "PIP_TARGET", "PYTHONPATH"}


def test_a_missing_system_package_is_named(install: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "PYTHON", Path("/nonexistent/python"))
    monkeypatch.setitem(install.sys.modules, "ensurepip", None)
    with pytest.raises(SystemExit, match="apt-get install python3-venv"):
        install.make_environment()


def test_an_old_python_is_told_so(install: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "OLDEST", (99, 0))
    with pytest.raises(SystemExit, match="too old"):
        install.main(["run"])


def test_a_changed_lock_has_another_digest(
    install: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "requirements").mkdir()
    monkeypatch.setattr(install, "ROOT", tmp_path)
    place = tmp_path / "requirements" / "dev.txt"
    place.write_text("a==1\n")
    before = install.digest("dev")
    place.write_text("a==2\n")
    assert install.digest("dev") != before


def test_every_target_is_explained_and_ci_says_the_readmes_two_commands() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    explained = set(re.findall(r"^#   make ([a-z]+)", makefile, re.MULTILINE))
    assert {"demo", "test", "check", "bench", "campaign", "requirements"} <= explained
    assert explained <= set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    steps = re.findall(r"^step \d+ (make \w+)", (ROOT / ".ci" / "run").read_text("utf-8"), re.MULTILINE)
    assert steps == ["make demo", "make test", "make check"]
