"""How the facts of a decision are named in its entry, whose keys have no capital letters (`core.canonical`).

    amount, order-id    an argument without capital letters is its own key
    args.dry.run        dryRun: behind `args.`, each capital letter as a dot and the small one
    facts.paid          `paid`, which a trusted source was asked for

No argument has a dot in its name, so no two names have one key, and each key is read back to the one name that it
spells. People, contracts, policies and sources see names; keys stand in entries and their blobs alone. It judges no
name: what contracts take is `contract.tool_checks`.
"""

from __future__ import annotations

import re
from typing import Final

#: Names of arguments: ASCII alone, so that no look-alike passes for another; a letter first, since Cedar's JSON gives
#: names like __entity a meaning.
ARGUMENT_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
#: Names of what trusted sources are asked for. Contracts choose them, tools do not: they need no capital letters.
ASKED_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,63}")

#: Before the name of a looked-up fact.
LOOKED: Final = "facts."
# Attack: were a dot alone to mark a capital letter, the argument `factsPaid` would be recorded as what a trusted
# source said of `paid`. So the names that have any stand in a place of their own.
_SPELLED: Final = "args."
_CAPITAL: Final = re.compile(r"[A-Z]")
_DOTTED: Final = re.compile(r"\.([a-z])")


def key_of(name: str) -> str:
    """The key of an argument, or of a looked-up fact by its name with `LOOKED`."""
    if _CAPITAL.search(name) is None:
        return name
    return _SPELLED + _CAPITAL.sub(lambda letter: f".{letter[0].lower()}", name)


def name_of(key: str) -> str:
    """The name that a key spells; the key itself where it spells none."""
    if not key.startswith(_SPELLED):
        return key
    name = _DOTTED.sub(lambda letter: letter[1].upper(), key.removeprefix(_SPELLED))
    # Attack: `args.amount` read as a second `amount`. A name has one key.
    return name if ARGUMENT_NAME.fullmatch(name) and key_of(name) == key else key


def is_key(key: str) -> bool:
    """Whether it is the one key of a name that a contract can have."""
    if key.startswith(LOOKED):
        return ASKED_NAME.fullmatch(key.removeprefix(LOOKED)) is not None
    name = name_of(key)
    return ARGUMENT_NAME.fullmatch(name) is not None and key_of(name) == key
