"""What `doctor` says of the systems that are told of incidents."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from failwell.cli.screen import plural

Line = tuple[str, str, str, str | None]
PART = "feeds"


def lines(feeds: Sequence[dict[str, Any]]) -> Iterator[Line]:
    """(part, state, found, what to do) of each that is declared; nothing where none is."""
    for told in feeds:
        name = told["feed"]
        if told["state"] == "failed":
            found = f"{name}: failed {plural(told['failures'], 'time')}: {told['detail']}"
            yield PART, "todo", found, f"failwell feed test {name}; mend [feeds.{name}], then failwell config apply"
        elif told["state"] != "not declared":
            far = "nothing yet" if told["last"] is None else f"told up to entry {told['last']}"
            yield PART, "ok", f"{name}: {far}", None
