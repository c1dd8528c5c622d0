"""Argument names as words: `customerId` and `customer_id` say the same to a person, and to what guesses by a name.

For guesses and warnings alone: what is judged and recorded is the name as the contract spells it.
"""

from __future__ import annotations

import re

_BETWEEN = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def in_words(name: str) -> str:
    """The name in small letters, an underscore before each word that a capital letter begins."""
    return _BETWEEN.sub("_", name).lower()
