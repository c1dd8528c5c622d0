"""The regular expressions of `pattern("REGEX", LOW..HIGH)`, which the contract's author gives.

The expression is RE2's (github.com/google/re2/wiki/Syntax), which has neither back references nor look-around and
runs in time linear in the text: Attack: `(x+)+y` met by a long text of x holds a backtracking matcher for hours, and
with it the one writer that judges everybody. Size of the expression, of its program and of the text are bounded, so
that their product is. It searches for nothing: what is not declared as part of the text does not match.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import re2  # type: ignore[import-untyped]

from failwell.core.errors import InputError

MAX_REGEX_LENGTH = 500
MAX_PROGRAM = 2_000
#: Steps of the program for one value: characters times the size of the program; about 20 ms at worst.
MAX_STEPS = 2**21
_MAX_MEMORY = 1 << 20


def compile_pattern(regex: str, longest: int) -> Callable[[str], bool]:
    """Return whether a text of at most `longest` characters matches `regex` as a whole; InputError (with what to write
    instead) for a regular expression that RE2 does not read, or that could take long."""
    if not 1 <= len(regex) <= MAX_REGEX_LENGTH:
        raise InputError(f"a pattern has 1 to {MAX_REGEX_LENGTH} characters", hint="Shorten it.")
    found = _read(regex)
    # Attack: \C matches one byte, so half a character, and what matched would be no text any more.
    if "\\C" in regex.replace("\\\\", ""):
        raise InputError("it is no pattern: \\C matches half a character", hint="Write . for any character.")
    if found.programsize > MAX_PROGRAM or found.programsize * longest > MAX_STEPS:
        raise InputError("matching this pattern could take long", hint="Declare shorter texts, or repeat less.")

    def matches(text: str) -> bool:
        try:
            return found.fullmatch(text) is not None
        except UnicodeEncodeError:  # half a surrogate pair is no text
            return False

    return matches


def _read(regex: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    options.never_capture = True
    options.max_mem = _MAX_MEMORY
    try:
        return re2.compile(regex, options)
    except (re2.error, UnicodeEncodeError) as error:
        said = error.args[0] if error.args and isinstance(error.args[0], bytes) else str(error).encode()
        hint = "Write RE2 syntax: no back references, no look-around."
        raise InputError(f"it is no pattern: {said.decode('utf-8', 'replace')}", hint=hint) from None
