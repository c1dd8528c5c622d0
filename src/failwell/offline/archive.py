"""`verify.pyz`: this verifier in one file that any Python 3.11 runs, made from the package's own modules.

A zip archive behind a line that names its interpreter (PEP 441). It holds the modules that the command imports, found
by following their imports, and the declarations that a ledger file is held against; no copy of the code exists beside
them. The bytes depend on nothing but those files: no compression, one fixed date, sorted names. So two people who
make it from one release can compare what they have.
"""

from __future__ import annotations

import ast
import io
import zipfile
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Final

from failwell.core.release import VERSION

PACKAGE: Final = "failwell"
_COMMAND: Final = "failwell.offline.command"
_INTERPRETER: Final = b"#!/usr/bin/env python3\n"
_DATE: Final = (1980, 1, 1, 0, 0, 0)
_MAIN: Final = f'''\
"""Failwell {VERSION}: the stand-alone verifier. Licensed under the Apache License, Version 2.0."""

import sys

if sys.version_info < (3, 11):
    sys.stderr.write("verify.pyz needs Python 3.11 or newer\\n")
    sys.exit(3)

from {_COMMAND} import main

sys.exit(main())
'''


def build() -> bytes:
    """The bytes of `verify.pyz` for this release."""
    root = resources.files(PACKAGE)
    files = {"__main__.py": _MAIN.encode()}
    for name in _modules(root):
        path, source = _source(root, name)
        files[path] = source
    for step in root.joinpath("storage", "layouts").iterdir():
        if step.name.endswith(".sql"):
            files[f"{PACKAGE}/storage/layouts/{step.name}"] = step.read_bytes()
    packed = io.BytesIO()
    packed.write(_INTERPRETER)
    with zipfile.ZipFile(packed, "a", zipfile.ZIP_STORED) as archive:
        for path in sorted(files):
            info = zipfile.ZipInfo(path, _DATE)
            info.external_attr = 0o644 << 16
            info.create_system = 3  # as on Unix, wherever it is made
            archive.writestr(info, files[path])
    return packed.getvalue()


def _modules(root: Traversable) -> list[str]:
    """The command and every module of ours that is imported when it is, packages included."""
    found: set[str] = set()
    waiting = [_COMMAND]
    while waiting:
        name = waiting.pop()
        if name in found or not _exists(root, name):
            continue
        found.add(name)
        waiting += [name.rpartition(".")[0], *_imports(_source(root, name)[1])]
    return sorted(found)


def _imports(source: bytes) -> list[str]:
    """What importing a module imports: statements at its top, not those in functions or for types only."""
    found = []
    for node in ast.parse(source).body:
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            found += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return [name for name in found if name.partition(".")[0] == PACKAGE]


def _place(root: Traversable, name: str) -> tuple[Traversable, str]:
    """Where a module lies, as a file and as a path in the archive; a package is its `__init__`."""
    parts = name.split(".")[1:]
    here = root.joinpath(*parts)
    if here.is_dir():
        return here / "__init__.py", "/".join([PACKAGE, *parts, "__init__.py"])
    return root.joinpath(*parts[:-1], f"{parts[-1]}.py"), "/".join([PACKAGE, *parts]) + ".py"


def _exists(root: Traversable, name: str) -> bool:
    return bool(name) and _place(root, name)[0].is_file()


def _source(root: Traversable, name: str) -> tuple[str, bytes]:
    file, path = _place(root, name)
    return path, file.read_bytes()
