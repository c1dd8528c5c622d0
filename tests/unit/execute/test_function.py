"""Which Python functions a fresh process can import, and so be stopped in."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import failwell
from failwell.execute.function import ORIGINAL, importable, resolve

SOURCE = str(Path(failwell.__file__).parent.parent)


def plain(number: int) -> int:
    return number


class Holder:
    @staticmethod
    def static(number: int) -> int:
        return number

    @classmethod
    def of_class(cls, number: int) -> int:
        return number

    def of_object(self) -> None:
        return None


def test_what_a_fresh_process_can_import_has_a_name() -> None:
    assert importable(json.loads) == "json:loads"
    assert importable(plain) == f"{__name__}:plain"
    assert importable(Holder.static) == f"{__name__}:Holder.static"
    assert importable(Holder.of_class) == f"{__name__}:Holder.of_class"


def test_closures_lambdas_nested_bound_and_partial_functions_have_none() -> None:
    def nested() -> None:
        return None

    assert importable(nested) is None
    assert importable(lambda: None) is None
    assert importable(Holder().of_object) is None
    assert importable(functools.partial(plain, 1)) is None


def test_a_function_of_a_module_without_a_file_has_none() -> None:
    made: dict[str, Any] = {"__name__": "made_up"}
    exec("def cell(): ...", made)
    assert importable(made["cell"]) is None


@pytest.mark.parametrize(
    ("guard", "expected"), [('if __name__ == "__main__":\n    ', "script:tool"), ("if True:\n    ", "None")]
)
def test_a_running_script_is_importable_only_if_its_work_is_guarded(tmp_path: Path, guard: str, expected: str) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        f"from failwell.execute.function import importable\ndef tool(): ...\n{guard}print(importable(tool))\n"
    )
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, env={"PYTHONPATH": SOURCE}, check=True
    )
    assert done.stdout.strip() == expected


def test_resolving_gives_the_function_under_the_gate_and_never_the_gate() -> None:
    setattr(gated, ORIGINAL, plain)
    assert resolve(f"{__name__}:gated") is plain


def gated(number: int) -> int:
    raise AssertionError("the gate would be asked again")


@pytest.mark.parametrize("target", ["json", "json:", "json:no_such", "no.such.module:f", "json:__name__"])
def test_what_is_no_function_is_refused(target: str) -> None:
    with pytest.raises((ImportError, AttributeError, TypeError)):
        resolve(target)


TOOLS = """
import asyncio, os, sys
def add(a, b): print("noise"); os.system("echo louder"); return {"sum": a + b, "text": "\\u00e9"}
async def later(a): await asyncio.sleep(0); return a
def fails(): raise ValueError("no such order")
def leaves(): sys.exit(0)
def odd(): return float("nan")
def strange(): return object()
"""


def call(directory: Path, name: str, arguments: str) -> tuple[int, str, str]:
    (directory / "some_tools.py").write_text(TOOLS)
    done = subprocess.run(
        [sys.executable, "-m", "failwell.execute.function", f"some_tools:{name}"],
        input=arguments,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": f"{SOURCE}:{directory}"},
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_a_result_is_alone_on_standard_output_whatever_the_tool_prints(tmp_path: Path) -> None:
    code, out, err = call(tmp_path, "add", '{"a": 1, "b": 2}')
    assert (code, json.loads(out)) == (0, {"sum": 3, "text": "é"})
    assert "noise" in err
    assert "louder" in err


def test_an_async_function_is_run_to_its_end(tmp_path: Path) -> None:
    assert call(tmp_path, "later", '{"a": [1]}')[:2] == (0, "[1]\n")


@pytest.mark.parametrize(
    ("name", "arguments", "kind"),
    [
        ("fails", "{}", "ValueError"),
        ("leaves", "{}", "RuntimeError"),
        ("odd", "{}", "ValueError"),
        ("strange", "{}", "TypeError"),
        ("add", '{"a": 1}', "TypeError"),
        ("add", "[1, 2]", "TypeError"),
        ("add", "{", "JSONDecodeError"),
        ("missing", "{}", "AttributeError"),
    ],
)
def test_whatever_goes_wrong_is_a_failure_with_one_line_of_why(
    tmp_path: Path, name: str, arguments: str, kind: str
) -> None:
    code, out, _ = call(tmp_path, name, arguments)
    assert code == 1
    assert out.count("\n") == 1
    assert json.loads(out)["error"]["type"] == kind
