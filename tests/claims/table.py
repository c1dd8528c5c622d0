"""The requirements table: each requirement's own words, the sub-claims that cover them, the mutant of each.

`docs/requirements.toml` is refused where the quotes of an id leave a word of its text uncovered, so that a
requirement cannot be called shown by forgetting half of it. Does not run anything.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TABLE = "docs/requirements.toml"
_ID = re.compile(r"R[1-9][0-9]*")
_WORD = re.compile(r"[^\W_]+")


class TableError(Exception):
    """The table, a mark or a mutant says something that cannot be: a person has to mend the file."""


@dataclass(frozen=True)
class Claim:
    """One falsifiable sentence (`says`), the words it covers, and the mutant that must break it."""

    id: str
    says: str
    quotes: tuple[str, ...]
    mutant: str


@dataclass(frozen=True)
class Requirement:
    id: str
    text: str
    claims: tuple[Claim, ...]


def load(root: Path) -> tuple[Requirement, ...]:
    """Every requirement of the table under `root`, in its order; raises TableError at the first fault."""
    path = root / TABLE
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise TableError(f"{TABLE}: {error}") from error
    requirements = tuple(_requirement(name, body) for name, body in document.items())
    mutants = [claim.mutant for requirement in requirements for claim in requirement.claims]
    if twice := sorted({name for name in mutants if mutants.count(name) > 1}):
        raise TableError(f"{TABLE}: a mutant belongs to one sub-claim, these to more: {', '.join(twice)}")
    return requirements


def chosen(requirements: tuple[Requirement, ...], only: str) -> tuple[Requirement, ...]:
    """Those named in `only` (ids between blanks or commas; empty: all); raises TableError for unknown ids."""
    wanted = set(re.split(r"[\s,]+", only.strip())) - {""}
    if unknown := sorted(wanted - {requirement.id for requirement in requirements}):
        raise TableError(f"unknown requirement {' '.join(unknown)}")
    return tuple(r for r in requirements if not wanted or r.id in wanted)


def _requirement(name: str, body: Any) -> Requirement:
    if not _ID.fullmatch(name) or not isinstance(body, dict):
        raise TableError(f"{TABLE}: {name} is not an id such as R13")
    text = _plain(_string(name, body, "text"))
    claims = tuple(_claim(f"{name}.{key}", value, text) for key, value in body.items() if key != "text")
    expected = [f"{name}.{number}" for number in range(1, len(claims) + 1)]
    if not claims or [claim.id for claim in claims] != expected:
        raise TableError(f"{TABLE}: the sub-claims of {name} are to be numbered {name}.1, {name}.2, ...")
    if missing := uncovered(text, [quote for claim in claims for quote in claim.quotes]):
        raise TableError(f"{TABLE}: no sub-claim of {name} covers: {' '.join(missing)}")
    return Requirement(name, text, claims)


def _claim(name: str, body: Any, text: str) -> Claim:
    if not isinstance(body, dict) or set(body) != {"says", "quotes", "mutant"}:
        raise TableError(f"{TABLE}: {name} needs exactly says, quotes and mutant")
    quotes = body["quotes"]
    if not isinstance(quotes, list) or not quotes or not all(isinstance(quote, str) for quote in quotes):
        raise TableError(f"{TABLE}: the quotes of {name} are a list of strings")
    plain = tuple(_plain(quote) for quote in quotes)
    for quote in plain:
        if not _WORD.search(quote) or not list(_spans(text, quote)):
            raise TableError(f"{TABLE}: {name} quotes what the requirement does not say: {quote!r}")
    mutant = _string(name, body, "mutant")
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", mutant):
        raise TableError(f"{TABLE}: the mutant of {name} is named in lower case with hyphens, not {mutant!r}")
    return Claim(name, _string(name, body, "says"), plain, mutant)


def uncovered(text: str, quotes: list[str]) -> list[str]:
    """The words of `text` that stand in none of the `quotes` (both plain); marks and blanks need no cover."""
    covered = [span for quote in quotes for span in _spans(text, quote)]
    return [
        word.group()
        for word in _WORD.finditer(text)
        if not any(start <= word.start() and word.end() <= end for start, end in covered)
    ]


def _spans(text: str, quote: str) -> list[tuple[int, int]]:
    """Where `quote` stands in `text` as whole words."""
    return [found.span() for found in re.finditer(rf"(?<!\w){re.escape(quote)}(?!\w)", text)]


def _plain(text: str) -> str:
    """One line, without Markdown's emphasis: how a text is compared with its quotes."""
    return " ".join(text.replace("*", "").replace("`", "").split())


def _string(name: str, body: dict[str, Any], key: str) -> str:
    value = body.get(key)
    if not isinstance(value, str) or not value.strip():
        raise TableError(f"{TABLE}: {name} needs {key}")
    return value.strip()
