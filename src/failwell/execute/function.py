"""Running a Python function as a supervised tool: a fresh process imports it and calls it (design D8).

Run as `python -m failwell.execute.function MODULE:QUALNAME`; a JSON object of keyword arguments on standard
input, the JSON result on standard output. A tool that is declared `transaction` gets `connection` besides, and is
committed when its result is encoded. What the function prints goes to standard error, so that it cannot
forge a result. It does not sandbox: the function runs with all that its user may do.
"""

from __future__ import annotations

import ast
import asyncio
import importlib
import inspect
import json
import os
import sys
from collections.abc import Awaitable, Callable
from importlib.machinery import PathFinder
from pathlib import Path

ORIGINAL = "__failwell_function__"
"""Attribute under which a decorated function carries the one it wraps: here that one is called, never the
gate."""


def importable(function: Callable[..., object]) -> str | None:
    """Give "module:qualname" when a fresh process can import the function, else None.

    Not importable: closures, lambdas, nested functions, bound methods of objects, partials, and whatever
    lives in a notebook or on standard input. A function of the running script is importable only if the
    script has an `if __name__ == "__main__":` guard: without it, importing would do the script's work once
    more.
    """
    qualname = getattr(function, "__qualname__", None)
    module = getattr(function, "__module__", None)
    if not isinstance(qualname, str) or not isinstance(module, str) or not callable(function):
        return None
    if "<" in qualname or not all(part.isidentifier() for part in qualname.split(".")):
        return None
    owner = getattr(function, "__self__", None)
    if owner is not None and not inspect.isclass(owner) and not inspect.ismodule(owner):
        return None
    name = _name_of_main() if module == "__main__" else _name_of_module(module)
    return None if name is None else f"{name}:{qualname}"


def make_command(target: str, interpreter: str = sys.executable) -> tuple[str, ...]:
    """Give the command that runs an importable function; its environment needs `import_path` as
    PYTHONPATH."""
    return (interpreter, "-m", "failwell.execute.function", target)


def import_path() -> str:
    """Give this process's import path as a PYTHONPATH, so that a fresh process finds the same modules."""
    return os.pathsep.join(os.path.abspath(part) for part in sys.path)


def _name_of_module(module: str) -> str | None:
    spec = getattr(sys.modules.get(module), "__spec__", None)
    return None if spec is None or spec.origin is None else module


def _name_of_main() -> str | None:
    main = sys.modules.get("__main__")
    file = getattr(main, "__file__", None)
    if not isinstance(file, str) or not _is_guarded(Path(file)):
        return None
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        return str(spec.name)
    name = Path(file).stem
    found = PathFinder.find_spec(name) if name.isidentifier() else None
    if found is None or found.origin is None or os.path.realpath(found.origin) != os.path.realpath(file):
        return None
    return name


def _is_guarded(file: Path) -> bool:
    """Whether a script keeps its work behind `if __name__ == "__main__":`."""
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return False
    wanted = ast.dump(ast.parse('__name__ == "__main__"', mode="eval").body)
    return any(isinstance(node, ast.If) and ast.dump(node.test) == wanted for node in tree.body)


def resolve(target: str) -> Callable[..., object]:
    """Import "module:qualname"; raises ImportError, AttributeError or TypeError when that is no function."""
    module, separator, qualname = target.partition(":")
    if not separator or not qualname:
        raise ImportError(f"{target!r} is not module:qualname")
    found: object = importlib.import_module(module)
    for part in qualname.split("."):
        found = getattr(found, part)
    found = getattr(found, ORIGINAL, found)
    if not callable(found):
        raise TypeError(f"{target} is not a function")
    return found


def _call(target: str, data: bytes) -> bytes:
    arguments = json.loads(data)
    if not isinstance(arguments, dict):
        raise TypeError("the arguments are not a JSON object")
    try:
        function = resolve(target)
        if "FAILWELL_TRANSACTION" not in os.environ:
            return _result(function, arguments)
        from failwell.execute.transaction import transaction

        with transaction() as connection:  # committed once the result is known to be one that can be told
            return _result(function, {**arguments, "connection": connection})
    except SystemExit as error:
        # Else a tool that calls exit(0) half-way would pass for completed.
        raise RuntimeError(f"the tool called exit({error.code!r})") from error


def _result(function: Callable[..., object], arguments: dict[str, object]) -> bytes:
    result = function(**arguments)
    if inspect.isawaitable(result):
        result = asyncio.run(_wait_for(result))
    return json.dumps(result, allow_nan=False, ensure_ascii=False).encode()


async def _wait_for(awaitable: Awaitable[object]) -> object:
    return await awaitable


def _describe(error: BaseException | None) -> bytes:
    return json.dumps({"error": {"type": type(error).__name__, "message": str(error)}}).encode()


def main(target: str) -> None:
    """Call the function once and write its result; on an error write that instead, and let it end us."""
    with os.fdopen(0, "rb") as arguments:
        data = arguments.read()
    # From here on nothing but us can write to the result, and nothing can read what was on standard input.
    os.open(os.devnull, os.O_RDONLY)
    results = os.dup(1)
    os.dup2(2, 1)
    answer = None
    try:
        answer = _call(target, data)
    finally:
        if answer is None:
            answer = _describe(sys.exc_info()[1])
        sys.stdout.flush()
        with os.fdopen(results, "wb") as out:
            out.write(answer + b"\n")


if __name__ == "__main__":
    main(sys.argv[1])
