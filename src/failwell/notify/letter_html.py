"""The same letter as HTML (RFC 2046 5.1.4): light, dark and on a telephone; nothing is loaded, no script, no form.

Made from the plain text and nothing else, every word of it escaped: a reader of either sees the same, and what an agent
wrote is text in both. The one link is ours.
"""

from __future__ import annotations

import functools
from typing import Any, Final, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined

_ASKS: Final = "You are asked to: "
_RUN: Final = ". Run: "
#: Begins what is below the letter: kept as it is, because it is evidence. Attack: the same words within a line.
_CHECKPOINT: Final = "\n----- checkpoint"
#: How the lines begin that say how it can be answered; the button stands for the first.
_LINK_LINE, _WAYS = "From here: ", ("By mail: ", "Whoever holds this mail ")
#: What is asked stands on the button, where it is that short.
_LABEL: Final = 24


class Told(NamedTuple):
    """A letter taken apart. `asks` is without its command, which is `run`; `ways` are those to answer it."""

    lead: str
    asks: str
    run: str
    label: str
    ways: tuple[str, ...]
    lines: tuple[str, ...]
    checkpoint: str


@functools.cache
def _template() -> Any:
    place = Environment(
        loader=PackageLoader("failwell.notify", "templates"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True,
    )  # fmt: skip
    return place.get_template("letter.html")


def letter_html(subject: str, text: str, link: str | None) -> str:
    """The HTML of a letter with this plain text. `link` is where it can be answered."""
    page: str = _template().render(subject=subject, link=_ours(link), **taken_apart(text)._asdict())
    return page


def taken_apart(text: str) -> Told:
    """The parts of a letter: its first line, what is asked, how it is answered, the rest, the checkpoint."""
    story, mark, checkpoint = text.partition(_CHECKPOINT)
    first, *rest = story.strip("\n").split("\n")
    asks = rest.pop(0) if rest and rest[0].startswith(_ASKS) else ""
    words, _, run = asks.partition(_RUN)
    wanted = words.removeprefix(_ASKS)
    return Told(
        lead=first, asks=words, run=run, label=wanted[:1].upper() + wanted[1:] if len(wanted) <= _LABEL else "Answer",
        ways=tuple(line for line in rest if line.startswith(_WAYS)),
        lines=tuple(line for line in rest if line.strip() and not line.startswith((*_WAYS, _LINK_LINE))),
        checkpoint=(mark + checkpoint).strip("\n"),
    )  # fmt: skip


def _ours(link: str | None) -> str | None:
    """Attack: a link that is a script. Only what leads to a page is one."""
    return link if link is not None and link.startswith(("https://", "http://")) else None
