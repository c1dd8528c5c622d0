"""`verify.pyz` is made from the package's own files, the same bytes each time, and needs nothing but Python."""

from __future__ import annotations

import ast
import io
import sys
import zipfile
from pathlib import Path

import pytest

import failwell
from failwell.offline import archive

ROOT = Path(failwell.__file__).parent


@pytest.fixture(scope="module")
def packed() -> zipfile.ZipFile:
    return zipfile.ZipFile(io.BytesIO(archive.build()))


def test_it_is_made_anew_byte_by_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    first = archive.build()
    assert first.startswith(b"#!/usr/bin/env python3\n")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1")
    assert archive.build() == first


def test_it_holds_the_packages_own_files_unchanged_and_sorted(packed: zipfile.ZipFile) -> None:
    names = [info.filename for info in packed.infolist()]
    assert names == sorted(names)
    for info in packed.infolist():
        assert info.date_time == (1980, 1, 1, 0, 0, 0)
        assert info.compress_type == zipfile.ZIP_STORED
        if info.filename != "__main__.py":
            assert packed.read(info) == (ROOT.parent / info.filename).read_bytes()


def test_every_module_in_it_imports_the_standard_library_and_what_is_in_it_only(packed: zipfile.ZipFile) -> None:
    names = set(packed.namelist())
    assert "failwell/verify/record.py" in names
    for name in names:
        if not name.endswith(".py"):
            continue
        for node in ast.parse(packed.read(name)).body:
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                modules.append(node.module or "")
            for module in modules:
                path = module.replace(".", "/")
                ours = {f"{path}.py", f"{path}/__init__.py"} & names
                assert ours or module.partition(".")[0] in sys.stdlib_module_names, (name, module)


def test_every_layout_that_a_ledger_can_have_is_in_it(packed: zipfile.ZipFile) -> None:
    layouts = {f"failwell/storage/layouts/{path.name}" for path in (ROOT / "storage" / "layouts").glob("*.sql")}
    assert layouts
    assert layouts <= set(packed.namelist())
