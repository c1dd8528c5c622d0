"""One target under atheris, in a process of its own: `python -m tests.fuzz.one NAME CORPUS [libFuzzer's options]`."""

from __future__ import annotations

import importlib
import sys
from typing import Any


def main(arguments: list[str]) -> None:
    """Fuzz until libFuzzer's options say that it is enough; it ends the process itself."""
    name, corpus, *options = arguments
    atheris: Any = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["failwell"]):
        targets = importlib.import_module("tests.fuzz.targets")
    targets.looking = True  # type: ignore[attr-defined]
    atheris.Setup([sys.argv[0], corpus, *options], targets.TARGETS[name][0])
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
