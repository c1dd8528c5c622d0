"""Makes `.venv` hold exactly what a lock says, and this package on top: `install.py run|dev ...`.

Standard library only; it runs on the system's Python before anything else is there. From pip's own settings
it keeps how an index is reached and drops the rest, so that a person's pip.conf (user installs, constraints,
targets) cannot change what is installed. Wheels only: no compiler is needed and no unhashed build step runs.
It does not write the locks; `make lock` does.
"""

from __future__ import annotations

import ast
import configparser
import hashlib
import json
import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "installed.json"
OLDEST = (3, 11)
REACH = {
    "index-url", "extra-index-url", "find-links", "no-index", "proxy", "cert", "client-cert", "trusted-host",
    "timeout", "default-timeout", "retries", "keyring-provider", "cache-dir", "no-cache-dir",
}  # fmt: skip


def fail(message: str, todo: str) -> None:
    """End with what is wrong and what a person should do next."""
    raise SystemExit(f"set-up: {message}\n  {todo}")


def judge_version() -> None:
    """End where this Python is older than the product supports."""
    if sys.version_info < OLDEST:
        fail(
            f"Python {sys.version.split()[0]} is too old, 3.11 or newer is needed",
            "install one and say which: make PYTHON=python3.11 ...",
        )


def make_environment() -> None:
    """Create `.venv` where there is none that runs; name the system package that is missing."""
    if STAMP.exists() and PYTHON.exists():
        return
    if runs(PYTHON, "import sys, pip; sys.exit(sys.version_info < (3, 11))"):
        return
    try:
        import ensurepip  # noqa: F401
    except ImportError:
        package = f"python{sys.version_info[0]}.{sys.version_info[1]}-venv"
        fail(
            "this Python cannot make virtual environments (no ensurepip)",
            f"on Debian or Ubuntu: apt-get install python3-venv   (or {package})",
        )
    say(f"making .venv with Python {sys.version.split()[0]}")
    venv.create(VENV, clear=True, symlinks=True, with_pip=True)


def runs(python: Path, code: str) -> bool:
    """Whether `python` exists and `code` ends well in it."""
    if not python.exists():
        return False
    return subprocess.run([str(python), "-I", "-c", code], capture_output=True, check=False).returncode == 0


def _named_settings() -> dict[str, str]:
    """How an index is reached by the file that PIP_CONFIG_FILE names: older pips read it and do not list it."""
    parser = configparser.RawConfigParser()
    named = os.environ.get("PIP_CONFIG_FILE", os.devnull)
    try:
        parser.read(named, encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError) as error:
        fail(f"{named}: pip's settings cannot be read: {error}", "Mend that file, or unset PIP_CONFIG_FILE.")
    return {
        key: " ".join(parser.get(section, key).split())
        for section in ("global", "install")
        if parser.has_section(section)
        for key in sorted(REACH & set(parser.options(section)))
    }


def pip_environment() -> dict[str, str]:
    """The environment for pip: the caller's, with pip's settings reduced to how an index is reached."""
    listed = subprocess.run(
        [str(PYTHON), "-m", "pip", "config", "list"], capture_output=True, text=True, check=False, cwd=ROOT
    )
    kept = _named_settings()
    # Sections come weakest first (site, global, user, then the environment), so that the last one wins.
    for line in sorted(listed.stdout.splitlines(), key=lambda text: text.startswith(":env:")):
        name, _, value = line.partition("=")
        section, _, key = name.partition(".")
        if section in ("global", "install", ":env:") and key in REACH:
            kept[key] = " ".join(str(ast.literal_eval(value)).split())
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PIP_", "PYTHON"))}
    clean.update({f"PIP_{key.upper().replace('-', '_')}": value for key, value in kept.items()})
    clean.update({"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INPUT": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"})
    return clean


def install(lock: str, environment: dict[str, str]) -> None:
    """Install every line of one lock file, checked against its hashes."""
    say(f"installing requirements/{lock}.txt")
    pip(["--require-hashes", "--only-binary=:all:", "-r", f"requirements/{lock}.txt"], environment)


def install_package(environment: dict[str, str]) -> None:
    """Install this checkout in place, without resolving or fetching anything."""
    pip(["--no-deps", "--no-build-isolation", "--no-index", "-e", "."], environment)


def pip(arguments: list[str], environment: dict[str, str]) -> None:
    """Run `pip install`, its chatter on standard error; end with its status where it fails."""
    command = [str(PYTHON), "-m", "pip", "install", "-qq", *arguments]
    status = subprocess.run(command, cwd=ROOT, env=environment, stdout=sys.stderr, check=False).returncode
    if status:
        fail(
            f"pip could not install ({' '.join(arguments)})",
            "is a package index reachable? See pip's words above.",
        )


def say(text: str) -> None:
    """One line of progress, on standard error: standard output belongs to the target."""
    print(f"set-up: {text}", file=sys.stderr, flush=True)


def digest(lock: str) -> str:
    """What an installed lock is stamped with: its bytes, and for `run` the package's own declaration."""
    sha = hashlib.sha256((ROOT / "requirements" / f"{lock}.txt").read_bytes())
    if lock == "run":
        import tomllib  # not before the version of Python was judged

        project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
        told = {"at": str(ROOT), "build-system": project["build-system"], "project": project["project"]}
        sha.update(json.dumps(told, sort_keys=True).encode())
    return sha.hexdigest()


def installed() -> dict[str, str]:
    """What the stamp says is installed; nothing where it is missing or torn."""
    try:
        stamp = json.loads(STAMP.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def main(locks: list[str]) -> None:
    """Install each named lock whose digest is not the stamped one; the package itself comes with `run`."""
    if not locks or set(locks) - {"run", "dev"}:
        fail(f"unknown lock {locks}", "usage: python3 requirements/install.py run|dev ...")
    judge_version()
    make_environment()
    stamp = installed()
    missing = [lock for lock in locks if stamp.get(lock) != digest(lock)]
    environment = pip_environment() if missing else {}
    for lock in missing:
        install(lock, environment)
        if lock == "run":
            install_package(environment)
        stamp[lock] = digest(lock)
        STAMP.write_text(json.dumps(stamp, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
