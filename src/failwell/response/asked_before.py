"""What a letter about an incident says of the others: who was asked before its reader, who is next, and when.

Whoever is woken decides by that whether they are the first, the last, or one of many.
"""

from __future__ import annotations

from collections.abc import Iterable

from failwell.response.escalation_told import BEGAN, Coming, EscalationTold, Page

#: What is said of the pages of one person: of the best that became of them.
_BECAME = (
    (("accepted", "bundled"), "no answer yet"),
    (("queued",), "on its way"),
    (("bounced",), "it came back"),
    (("failed",), "could not be reached"),
)


def asked_lines(told: EscalationTold | None, reader: str) -> list[str]:
    """Two lines at most, for the letter to `reader`; none where nobody is asked along a path any more."""
    if told is None or told.state == "over":
        return []
    others = _others(told.pages, reader)
    began = BEGAN.get(told.why)
    anew = "" if began is None else f"It is asked anew, for the {_nth(told.cycle)} time: {began}. "
    asked = f"Asked too: {', '.join(others)}." if others else "Nobody else was asked yet."
    return [f"{anew}{asked}", *_next(told.next, reader)]


def _others(pages: Iterable[Page], reader: str) -> list[str]:
    by_person: dict[str, list[Page]] = {}
    for page in pages:
        if page.person != reader:
            by_person.setdefault(page.person, []).append(page)
    return [f"{person} ({_channels(found)}; {_became(found)})" for person, found in by_person.items()]


def _channels(pages: list[Page]) -> str:
    names = dict.fromkeys("mail" if page.channel == "email" else page.channel for page in pages)
    return f"by {' and '.join(names)}"


def _became(pages: list[Page]) -> str:
    if any(page.answered is not None for page in pages):
        return "answered"
    states = {page.state for page in pages}
    return next((words for known, words in _BECAME if states & set(known)), "not known")


def _next(comes: Coming | None, reader: str) -> list[str]:
    if comes is None:
        return []
    at = f"{comes.at[:10]} {comes.at[11:16]} UTC"
    persons = [person for person in comes.persons if person != reader]
    persons += ["you again"] if reader in comes.persons else []
    who = ", ".join(persons[:-1]) + " and " * (len(persons) > 1) + (persons[-1] if persons else "whoever is there then")
    if comes.again:
        return [f"If nothing is heard of it until {at}, it is asked anew: {who}."]
    return [f"Next at {at}, unless somebody takes it before: {who}."]


def _nth(number: int) -> str:
    return {2: "second", 3: "third"}.get(number, f"{number}th")
