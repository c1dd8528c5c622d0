"""The letters of an incident after its first: each to a person who is asked for one thing, and may not know the case.

The first line says why they are written to and what happened; the second what they are asked to do, with its command.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from failwell.core.rows import Page
from failwell.response.account import Account
from failwell.response.letters import Letter, about_case, incident_letter, sealed, size_of, subject


class _Kind(NamedTuple):
    """The subject of such a letter, and what its reader is asked for; both with the incident, its agent, the reader."""

    subject: str
    asks: Callable[[Account, str], str]


def _look(told: Account, person: str) -> str:
    return f"know of it. Run: failwell incident show {told.incident}"


def _stop(told: Account, person: str) -> str:
    if told.access is not None:
        return f"take its access away at its vendor. Run: failwell incident show {told.incident}"
    return f"stop it at its own side, now. Which action: failwell stop report --incident {told.incident}"


def _late(told: Account, person: str) -> str:
    if told.asking or told.state in ("OPEN", "REOPENED"):
        return f"take it. Run: failwell incident acknowledge {told.incident}"
    return f"see what keeps it. Run: failwell incident show {told.incident}"


def _review(told: Account, person: str) -> str:
    if told.authority == "SUSPENDED":
        return f"know of it: it acts no more. Run: failwell incident show {told.incident}"
    review = f"failwell agent release review {told.name} --incident {told.incident} --uphold|--reject --why TEXT"
    return f"say whether that was right. Run: {review}"


def _take(told: Account, person: str) -> str:
    return f"take it. Run: failwell incident acknowledge {told.incident}"


_KINDS = {
    "step": _Kind("{name}: somebody is to take it", _take),
    "next-step": _Kind("{name} MAY STILL ACT", _stop),
    "work": _Kind("work of {name} is left to you", lambda told, person: (
        f"take it, or say who does. Run: failwell incident work {told.incident}"
    )),
    "preserve": _Kind("keep your records about {name}", lambda told, person: (
        f"keep them as they are; delete and change nothing. Run: failwell incident show {told.incident}"
    )),
    "objective": _Kind("{name}: not in time", _late),
    "offer": _Kind("{name}: you are asked to take over", lambda told, person: (
        f"take it over, or say no to who asks. Run: failwell incident acknowledge {told.incident} --as {person}"
    )),
    "break-glass": _Kind("{name} and what one person alone gave back", _review),
    "task": _Kind("{name}: a task for you", lambda told, person: (
        f"do it, and say so. What it is: failwell incident show {told.incident}"
    )),
    "clock": _Kind("{name}: a duty to inform", lambda told, person: (
        f"see that they are informed, and say so. Run: failwell clock show {told.incident}"
    )),
    "taken": _Kind("{name}: taken", _look),
    "over": _Kind("{name}: nothing to take any more", _look),
    "again": _Kind("{name}: asked anew", _look),
    "group": _Kind("{name} and its whole group are stopped", _look),
}  # fmt: skip


#: How a reason begins that begins with no name.
_NO_NAMES = ("its ", "incident ", "it ", "nobody ", "somebody ", "whoever ", "who ")


def case_letter(told: Account, page: Page, checkpoint: bytes, path: Sequence[str] = ()) -> Letter:
    """The letter of a page about an incident: its first, or one of those above. `path`: as of `incident_letter`."""
    kind = _KINDS.get(page.about)
    if kind is None:
        return incident_letter(told, checkpoint, page.person, path)
    # It may begin with a name, which stays as it is.
    why = page.why[:1].upper() + page.why[1:] if page.why.startswith(_NO_NAMES) else page.why
    more = [f"  incident {number}: {words}" if number else f"  {words}" for number, words in page.bundled]
    story = [
        f"{why.rstrip('. ')}. What happened: {told.happened}. {' '.join(told.done)}",
        f"You are asked to: {kind.asks(told, page.person)}",
        "",
        *([f"And {len(more)} more, told here so that they are not too many:", *more, ""] if more else []),
        *about_case(told, page.person, path),
    ]
    named = subject(told, kind.subject.format(name=told.name or "an agent"))
    return Letter(named, sealed(story, checkpoint), size_of(checkpoint))
