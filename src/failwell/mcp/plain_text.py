"""Text of a stranger's, made fit to be shown to a person or passed on as progress: one line of what can be seen.

Not for results: those are passed on as they are, and marked. It finds no instructions in a text; who
reviews definitions does (`gateway import`).
"""

from __future__ import annotations

import unicodedata
from typing import Final

# Controls, what changes the direction or is not seen, surrogates, private and unassigned characters. Unseen too are the
# variation selectors, which unicodedata counts among the marks: 256 of them carry any bytes behind one letter.
_UNSEEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_SELECTORS: Final = (range(0xFE00, 0xFE10), range(0xE0100, 0xE01F0))
_BLANKS: Final = frozenset("\t\n\r\v\f")


def clean(text: str, most: int) -> str:
    """Return `text` in at most `most` characters: blanks for ends of lines, U+FFFD for what cannot be seen."""
    kept = text[:most]
    if not (kept.isascii() and kept.isprintable()):
        kept = "".join(_seen(letter) for letter in kept)
    return kept if len(text) <= most else kept[: most - 1] + "…"


def _seen(letter: str) -> str:
    if letter in _BLANKS:
        return " "
    hidden = unicodedata.category(letter) in _UNSEEN or any(ord(letter) in span for span in _SELECTORS)
    return "\N{REPLACEMENT CHARACTER}" if hidden else letter
