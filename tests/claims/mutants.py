"""Mutants: seeded faults of the product, each applied to a copy of the tree, never to the tree itself.

A copy gets a Python of its own, in which the copy's `src` stands before everything installed, so that
processes which the tests start run the mutant too, also those that ignore PYTHONPATH. Does not judge what
tests say.
"""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
import tempfile
import tomllib
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.claims.table import TableError

MUTANTS = "docs/mutants.toml"
_LEFT_OUT = shutil.ignore_patterns(".git", ".venv", "__pycache__", ".*_cache", ".hypothesis", "build", "dist")


@dataclass(frozen=True)
class Mutant:
    """A fault: in `file` the text `find`, which stands there exactly once, becomes `replace`."""

    name: str
    file: str
    find: str
    replace: str

    def text_in(self, root: Path) -> str:
        """The mutated text of the file; raises TableError where `find` does not stand there exactly once."""
        path = root / self.file
        try:
            source = path.read_text("utf-8")
        except OSError as error:
            raise TableError(f"{MUTANTS}: {self.name}: {error}") from error
        if (times := source.count(self.find)) != 1:
            raise TableError(f"{MUTANTS}: {self.name}: its text stands {times} times in {self.file}, not once")
        return source.replace(self.find, self.replace)


def load(root: Path) -> dict[str, Mutant]:
    """Every mutant under `root` by name, all of which apply; raises TableError where one does not."""
    path = root / MUTANTS
    if not path.exists():
        return {}
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise TableError(f"{MUTANTS}: {error}") from error
    mutants = {}
    for name, body in document.items():
        if not isinstance(body, dict) or set(body) != {"file", "find", "replace"}:
            raise TableError(f"{MUTANTS}: {name} needs exactly file, find and replace")
        mutant = Mutant(name, body["file"], body["find"], body["replace"])
        if not mutant.file.startswith("src/") or mutant.find == mutant.replace or not mutant.find.strip():
            raise TableError(f"{MUTANTS}: {name} has to change something in src/")
        mutant.text_in(root)
        mutants[name] = mutant
    return mutants


@dataclass(frozen=True)
class Copy:
    """A throw-away tree and the Python that runs it."""

    root: Path
    python: Path

    @contextmanager
    def with_mutant(self, mutant: Mutant) -> Iterator[None]:
        """The copy holds the mutant inside, and the product's own text again after."""
        path = self.root / mutant.file
        sound = path.read_text("utf-8")
        path.write_text(mutant.text_in(self.root), "utf-8")
        try:
            yield
        finally:
            path.write_text(sound, "utf-8")


@contextmanager
def copy_of(root: Path) -> Iterator[Copy]:
    """A copy of the tree under `root` in a temporary directory, with its own Python; gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="failwell-mutants-") as temporary:
        base = Path(temporary).resolve()
        copy = base / "tree"
        shutil.copytree(root, copy, ignore=_LEFT_OUT, symlinks=True)
        data = root.parent / "shared"
        if data.is_dir():  # recorded runs lie beside the checkout
            os.symlink(data, base / "shared")
        yield Copy(copy, _python_for(copy, base / "python"))


def _python_for(copy: Path, place: Path) -> Path:
    venv.EnvBuilder(symlinks=True, with_pip=False).create(place)
    library = place / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    # A directory named in a .pth file is searched, its own .pth files are not read: so the copy's `src` is
    # there and the checkout's, which an installation in place adds by such a file, is not.
    (library / "copy.pth").write_text(f"{copy / 'src'}\n{sysconfig.get_path('purelib')}\n", "utf-8")
    python = place / "bin" / "python"
    project = tomllib.loads((copy / "pyproject.toml").read_text("utf-8")).get("project", {})
    for name, target in project.get("scripts", {}).items():
        module, _, function = target.partition(":")
        script = place / "bin" / name
        script.write_text(f"#!{python}\nfrom {module} import {function}\n\n{function}()\n", "utf-8")
        script.chmod(0o755)
    return python
