"""What a command says: one object for programs, or text whose first two lines are what a person under stress needs.

Everything printed passes `safe`: agents, tools and customers choose names, reasons and results, and a terminal obeys
what it is sent. It decides nothing; `door` turns an answer or an error into output and exit code.
"""

from __future__ import annotations

import functools
import json
import sys
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ParamSpec

from failwell.core.errors import (
    ContractError,
    Corrupt,
    FailwellError,
    InputError,
    NotFound,
    Refused,
    Unhealthy,
    Unreachable,
)  # fmt: skip

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

P = ParamSpec("P")

FINE, FINDING, USAGE, FAILED = 0, 1, 2, 3
#: Width of text that goes to a file or another program and whose reader told none.
PLAIN_WIDTH = 120
#: A longer one, a path for example, may be broken in a table where there is no room.
LONGEST_WORD = 24
#: Letters of these categories are shown by their code point: controls move the cursor, formats turn the reading
#: direction or hide letters, lone surrogates cannot be written at all.
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})

#: Codes that the node sends for errors whose class does not say enough.
_BY_CODE = {
    "passphrase": USAGE, "contract": FINDING, "corrupt": FINDING, "denied": FINDING, "escalated": FINDING,
    "interrupted": FINDING, "repeated": FINDING, "tool-failed": FINDING, "illegal-step": FINDING,
}  # fmt: skip
_BY_CLASS: tuple[tuple[type[FailwellError], int], ...] = (
    (ContractError, FINDING), (Corrupt, FINDING), (Refused, FINDING), (InputError, USAGE), (NotFound, USAGE),
    (Unhealthy, FAILED), (Unreachable, FAILED),
)  # fmt: skip


def safe(text: object, *, lines: bool = False) -> str:
    """`text` with everything a terminal would obey shown as an escape; with `lines`, line feeds and tabs stay."""
    plain = str(text)
    if plain.isascii() and plain.isprintable():
        return plain
    kept = "\n\t" if lines else ""
    return "".join(
        letter if letter in kept or unicodedata.category(letter) not in _UNSEEN else _escaped(letter)
        for letter in plain
    )


def _escaped(letter: str) -> str:
    number = ord(letter)
    return f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}" if number < 65536 else f"\\U{number:08x}"


def exit_code(error: FailwellError) -> int:
    """1 for a finding (refused, denied, does not verify), 2 for what the caller can mend, 3 for what failed."""
    if error.code in _BY_CODE:
        return _BY_CODE[error.code]
    return next((code for kind, code in _BY_CLASS if isinstance(error, kind)), FAILED)


class Screen:
    """Text on standard output. `console` is made at first use: programs that ask for JSON do not wait for it."""

    def __init__(self, *, to_stderr: bool = False) -> None:
        self._to_stderr = to_stderr
        self._console: Console | None = None

    @property
    def console(self) -> Console:
        """The console; nothing in it is ever read as markup, emoji codes or something to highlight."""
        if self._console is None:
            import os

            from rich.console import Console

            self._console = Console(stderr=self._to_stderr, markup=False, highlight=False, emoji=False)
            if not self._console.is_terminal and not os.environ.get("COLUMNS", "").isdigit():
                self._console.width = PLAIN_WIDTH
        return self._console

    def say(self, text: str = "", style: str | None = None) -> None:
        """One paragraph; its own line feeds are kept, indentation carries over to wrapped lines."""
        from rich.padding import Padding
        from rich.text import Text

        for line in safe(text, lines=True).split("\n"):
            body = line.lstrip(" ")
            shown: Any = Text(body, style=style or "")
            if body != line:
                shown = Padding(shown, (0, 0, 0, len(line) - len(body)), expand=False)
            self.put(shown)

    def put(self, shown: Any) -> None:
        """Print something of rich's, without the blanks that it fills lines up with."""
        with self.console.capture() as captured:
            self.console.print(shown)
        self.console.file.write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))

    def lead(self, happened: str, asked: str, *, bad: bool = False) -> None:
        """The two lines that matter."""
        self.say(happened, "bold red" if bad else "bold")
        self.say(asked)

    def command(self, line: str) -> None:
        """A command to copy: on one line, however long."""
        from rich.text import Text

        self.console.print(Text("  " + safe(line)), soft_wrap=True)

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[object]], *, right: Iterable[str] = ()) -> None:
        """Rows under headings; long cells wrap, first where they have blanks, and nothing is cut off."""
        from rich.table import Table
        from rich.text import Text

        numbers = frozenset(right)
        cells = [[Text("-" if cell is None else safe(cell)) for cell in row] for row in rows]
        widths = _widths([[Text(name) for name in columns], *cells], self.console.width)
        shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim", show_header=any(columns))
        for name, width in zip(columns, widths, strict=True):
            side: Any = "right" if name in numbers else "left"
            shown.add_column(name, justify=side, overflow="fold", width=width)
        for row in cells:
            shown.add_row(*row)
        self.put(shown)


def _widths(rows: Sequence[Sequence[Text]], room: int) -> list[int]:
    """How wide each column is, so that all fit into `room`: what has blanks wraps before a word is broken."""
    from rich.cells import cell_len

    columns = list(zip(*rows, strict=True))
    wanted = [max(cell.cell_len for cell in column) for column in columns]
    words = [
        min(LONGEST_WORD, max((cell_len(word) for cell in column for word in cell.plain.split()), default=1))
        for column in columns
    ]
    room = max(room - 2 * (len(columns) - 1), 4 * len(columns))
    for least in (words, [1] * len(columns)):
        while sum(wanted) > room and (over := [at for at, width in enumerate(wanted) if width > least[at]]):
            wanted[max(over, key=wanted.__getitem__)] -= 1
    return [max(1, width) for width in wanted]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a command found: `fields` for programs, `show` for people; `finding` makes the exit code 1."""

    fields: dict[str, Any]
    show: Callable[[Screen], None]
    finding: bool = False
    status: int = field(default=FINE)


def door(name: str) -> Callable[[Callable[P, Answer | None]], Callable[P, None]]:
    """Make a command of a function that answers: `name` is the schema's, such as `incident-show`.

    The function takes `as_json` if it has anything to say to programs. Every FailwellError and OSError becomes a
    message; a command that answers None has said everything itself.
    """

    def around(command: Callable[P, Answer | None]) -> Callable[P, None]:
        @functools.wraps(command)
        def run(*args: P.args, **kwargs: P.kwargs) -> None:
            import typer

            try:
                answer = command(*args, **kwargs)
            except KeyboardInterrupt as stopped:  # as one of its own it would end without a word
                raise typer.Abort from stopped
            if answer is None:
                return
            give(name, answer, as_json=bool(kwargs.get("as_json")))
            if code := FINDING if answer.finding else answer.status:
                raise typer.Exit(code)

        return run

    return around


def give(name: str, answer: Answer, *, as_json: bool) -> None:
    """Print an answer."""
    if as_json:
        sys.stdout.write(json.dumps({"schema": f"failwell/{name}/1", **answer.fields}) + "\n")
        sys.stdout.flush()
    else:
        answer.show(Screen())


def fail(code: str, message: str, hint: str | None, *, as_json: bool) -> None:
    """Print a failure: an object on standard output for programs, else words on standard error."""
    if as_json:
        sys.stdout.write(json.dumps({"error": {"code": code, "message": message, "hint": hint}}) + "\n")
        sys.stdout.flush()
    else:
        text = safe(message, lines=True) + (f"\n  {safe(hint, lines=True)}" if hint else "")
        sys.stderr.write(text.encode("utf-8", "backslashreplace").decode() + "\n")


def tell(text: str) -> None:
    """Progress, on standard error."""
    sys.stderr.write(safe(text) + "\n")
    sys.stderr.flush()


def plural(count: int, one: str, many: str | None = None) -> str:
    """`1 entry`, `1,204 entries`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def clock(at: str | None) -> str:
    """The time of day of an RFC 3339 instant, to milliseconds; `-` for none."""
    return "-" if at is None else at[11:23]


def span(microseconds: int) -> str:
    """A duration in words: `0.4 ms`, `17 ms`, `3.2 s`, `2 min`, `3 h`, `4 days`."""
    for limit, unit, size in (
        (10_000, "ms", 1_000), (2_000_000, "ms", 1_000), (120_000_000, "s", 1_000_000),
        (7_200_000_000, "min", 60_000_000), (172_800_000_000, "h", 3_600_000_000),
    ):  # fmt: skip
        if microseconds < limit:
            return f"{microseconds / size:.{1 if limit in (10_000, 120_000_000) else 0}f} {unit}"
    return f"{microseconds / 86_400_000_000:.0f} days"
