"""Running a Python function as a supervised tool: a fresh process imports it and calls it (design D8).

Run as `python -m failwell.execute.function MODULE:QUALNAME`; a JSON object of keyword arguments on standard
input, the JSON result on standard output. Of a generator that is a JSON array, an element a line, each written when it
is given. A tool that is declared `transaction` gets `connection` besides, and is committed when its result is encoded,
or a generator's last one written. What the function prints goes to standard error, so that it cannot
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
from collections.abc import AsyncIterator, Awaitable, Callable
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


#: The first line of several results: JSON like all of them together, and not what another tool writes by chance.
OPENED = b"\t["


class Results:
    """Where results go, and nothing else: the function's own prints go elsewhere.

    Attack: a function that ends its process half-way through what it gives. Without the last line it is no result.
    """

    def __init__(self, out: int) -> None:
        self._out = out
        self._several = self._any = self.whole = False

    def begin(self) -> None:
        """Several results follow."""
        self._several = True
        self._write(OPENED)

    def add(self, result: object) -> None:
        """The next of several."""
        self._write((b"," if self._any else b"") + _encode(result))
        self._any = True

    def end(self, last: bytes) -> None:
        """The one result, or what closes several."""
        self._write(last)
        self.whole = True

    def fail(self, error: BaseException | None) -> None:
        """What there is instead of a result, or of the rest of several: behind a tab then, which makes it none."""
        said = json.dumps({"error": {"type": type(error).__name__, "message": str(error)}}).encode()
        self._write(said if not self._several else b"\t" + (b"," if self._any else b"") + said + b"\n\t]")

    def _write(self, line: bytes) -> None:
        rest = memoryview(line + b"\n")
        while rest:
            rest = rest[os.write(self._out, rest) :]


def _encode(result: object) -> bytes:
    return json.dumps(result, allow_nan=False, ensure_ascii=False).encode()


def _call(target: str, data: bytes, results: Results) -> None:
    arguments = json.loads(data)
    if not isinstance(arguments, dict):
        raise TypeError("the arguments are not a JSON object")
    try:
        function = resolve(target)
        if "FAILWELL_TRANSACTION" not in os.environ:
            last = _given(function(**arguments), results)
        else:
            from failwell.execute.transaction import transaction

            with transaction() as connection:  # committed once the result is known to be one that can be told
                last = _given(function(**{**arguments, "connection": connection}), results)
    except SystemExit as error:
        # Else a tool that calls exit(0) half-way would pass for completed.
        raise RuntimeError(f"the tool called exit({error.code!r})") from error
    results.end(last)


def _given(made: object, results: Results) -> bytes:
    """The last line of what a function gives, for when all else is done; what comes before that is written here."""
    if inspect.isgenerator(made):
        results.begin()
        for item in made:
            results.add(item)
        return b"]"
    if inspect.isasyncgen(made):
        asyncio.run(_each(made, results))
        return b"]"
    return _encode(asyncio.run(_wait_for(made)) if inspect.isawaitable(made) else made)


async def _each(made: AsyncIterator[object], results: Results) -> None:
    results.begin()
    async for item in made:
        results.add(item)


async def _wait_for(awaitable: Awaitable[object]) -> object:
    return await awaitable


def main(target: str) -> None:
    """Call the function once and write its result; on an error write that instead, and let it end us."""
    with os.fdopen(0, "rb") as arguments:
        data = arguments.read()
    # From here on nothing but us can write to the result, and nothing can read what was on standard input.
    os.open(os.devnull, os.O_RDONLY)
    results = Results(os.dup(1))
    os.dup2(2, 1)
    try:
        _call(target, data, results)
    finally:
        if not results.whole:
            results.fail(sys.exc_info()[1])
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1])
