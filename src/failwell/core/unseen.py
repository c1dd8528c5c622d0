"""Letters that nobody sees, and texts of strangers shown with each of them as its code point.

Unseen are controls, formats (direction, zero width, tags), surrogates, private and unassigned letters, and the
variation selectors, 256 of which carry any bytes behind one letter. Letters that look like others are seen, and are
not found here.
"""

from __future__ import annotations

import unicodedata

_CATEGORIES = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"})


def is_unseen(letter: str) -> bool:
    """Whether a letter is not seen, or turns around what is; blanks, tabs and ends of lines are not such."""
    if letter in "\n\t\r ":
        return False
    number = ord(letter)
    selector = 0xFE00 <= number <= 0xFE0F or 0xE0100 <= number <= 0xE01EF
    return selector or unicodedata.category(letter) in _CATEGORIES


def visible(text: str, most: int = 0) -> str:
    """`text` with whatever is not seen as its code point, `<U+202E>`; with `most`, cut to so many letters before."""
    cut = text if not most or len(text) <= most else f"{text[:most]}..."
    if cut.isascii() and cut.isprintable():
        return cut
    return "".join(f"<U+{ord(letter):04X}>" if is_unseen(letter) else letter for letter in cut)
