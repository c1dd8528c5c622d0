"""How others add to what an incident's account tells: each part looks in the writer's turn, and tells outside it.

A module that has something to tell makes one `Part` (its key in `ask about=incident`, what it looks at, how it tells
it) and is listed in `node/incident_answers.py`. INVARIANT: a part that fails is named with why and takes nothing else
with it: whoever is called at night reads the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from failwell.core import rows
from failwell.core.records import Entry
from failwell.core.state import State


class Material(NamedTuple):
    """What an incident is told from. `agent` is None while nobody knows which agent it was.

    `entries` are those of its agent and its own from the onset on, in order, and the decisions of what ran before.
    `read(seq)` gives every entry of the ledger from `seq` on; `text(seq)` what a person wrote beside entry `seq`, None
    where they wrote nothing or it was erased; `reveal(token)` the customer, or the token where that was erased.
    """

    number: int
    row: rows.Incident
    agent: rows.Agent | None
    entries: Sequence[Entry[Any]]
    read: Callable[[int], Sequence[Entry[Any]]]
    text: Callable[[int], str | None]
    reveal: Callable[[str], str]


class Part(NamedTuple):
    """`look(state, number)` runs in the writer's turn: it is quick, and hands out rows, which never change.

    `tell` makes a struct of what was seen and of the entries, outside that turn. What it asks of people stands in a
    field `asked` of it (sentences that end in a command): the first screen shows that too.
    """

    key: str
    look: Callable[[State, int], Any]
    tell: Callable[[Material, Any], Any]


def tell_parts(
    parts: Iterable[Part], material: Material, seen: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, str]]:  # fmt: skip
    """(what each part tells, by its key; why one could not, by its key). `seen` is what each saw in the turn."""
    told: dict[str, Any] = {}
    untold: dict[str, str] = {}
    for part in parts:
        try:
            told[part.key] = part.tell(material, seen[part.key])
        except Exception as error:  # noqa: BLE001  a fault in one part keeps nobody from reading the others
            told[part.key] = None
            untold[part.key] = f"{type(error).__name__}: {error}"[:200]
    return told, untold


def all_asked(first: Iterable[str], told: dict[str, Any], last: Iterable[str] = ()) -> tuple[str, ...]:
    """What is asked: `first`, then what the parts ask, in their order, then `last`. Each command is asked for once."""
    of_parts = [sentence for part in told.values() for sentence in getattr(part, "asked", ())]
    sentences = [*first, *of_parts, *last]
    by_command: dict[str, str] = {}
    for sentence in sentences:
        by_command.setdefault(sentence.rpartition(": failwell ")[2], sentence)
    return tuple(by_command.values())
