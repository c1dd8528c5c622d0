"""How an incident stands, in words: what was already done about it, who was told, what is asked of people now.

The first screen, the letters and the doors say it in these sentences. Each that asks ends in the command to copy.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from failwell.core import kinds, rows
from failwell.core.incidents.endings import OVER
from failwell.core.records import Entry
from failwell.response.moments import Moments

_ACTS = {
    "RESTRICTED": "It is restricted to what its contract allows then, and goes on.",
    "PROBATION": "It was given back and acts in PROBATION, on a short leash.",
    "RETIRED": "It is retired: it can do nothing more.",
    "OBSERVED": "It goes on: it is only observed, NOT GOVERNED.",
    "REGISTERED": "It may do nothing: no contract is in force for it.",
}  # fmt: skip
_ENDED = {"CLOSED": "The case is closed.", "FALSE_ALARM": "Two persons called it a false alarm."}


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """A page: whom it is for and what about, and when it was accepted for them; `detail` is why it was not."""

    person: str
    about: str
    at: str | None
    detail: str


def told_whom(number: int, entries: Iterable[Entry[Any]]) -> tuple[Told, ...]:
    """The pages of an incident, in order."""
    pages: dict[int, Told] = {}
    for entry in entries:
        body = entry.body
        if isinstance(body, kinds.PageQueued) and body.incident == number:
            about = body.about if isinstance(body, kinds.PageQueued3) else ""
            pages[body.page] = Told(person=body.person, about=about, at=None, detail="")
        elif isinstance(body, kinds.PageAttempted) and body.page in pages and pages[body.page].at is None:
            at = entry.at if body.accepted else None
            pages[body.page] = msgspec.structs.replace(pages[body.page], at=at, detail="" if at else body.detail)
        elif isinstance(body, kinds.PageBounced) and body.page in pages and body.permanent:
            detail = f"it came back: {body.detail}"  # what a server took over and gave back reached nobody
            pages[body.page] = msgspec.structs.replace(pages[body.page], at=None, detail=detail)
    return tuple(pages.values())


def left_open(number: int, entries: Iterable[Entry[Any]]) -> int:
    """How many runs the stop left that nobody has taken yet."""
    left, more = dict[int, None](), 0
    for entry in entries:
        body = entry.body
        if isinstance(body, kinds.WorkLeft) and body.incident == number:
            left, more = {**left, **dict.fromkeys(body.runs)}, more + body.more
        elif isinstance(body, kinds.WorkEnded) and body.incident == number:
            left.pop(body.run, None)
    return len(left) + more


def done(
    number: int, row: rows.Incident, agent: rows.Agent | None, own: Moments, unproven: int, ended: int
) -> tuple[str, ...]:  # fmt: skip
    """What was done about it, the most important first. Of what was to be stopped, `unproven` are not shown to have
    ended and `ended` are.
    """
    said = list(_case(row))
    if agent is None:
        said.append("Nobody knows yet which agent it was: nothing was stopped.")
    elif own.access is not None:  # what no gate stands before is stopped by its vendor or not at all
        gone = own.access.startswith("confirmed")
        said.append(
            f"{'' if gone else 'IT MAY STILL ACT: no gate stands before it. '}Its access at its vendor: {own.access}."
        )
    else:
        said.append(_authority(number, row, agent, unproven, locked="HELD" in row.marks))
    if "HELD" in row.marks and not any("record is locked" in sentence for sentence in said):
        said.append("The record is locked.")
    if unproven and not any("NOT CONFIRMED" in sentence for sentence in said):
        said.insert(0, f"{_count(unproven, 'running tool')} NOT CONFIRMED as stopped.")
    elif ended and not unproven:
        said.append(f"{_count(ended, 'running tool')} stopped.")
    if row.kind == "near-miss":
        said.append("The gate held: nothing of it had an effect.")
    return tuple(said)


def _authority(number: int, row: rows.Incident, agent: rows.Agent, unproven: int, *, locked: bool) -> str:
    if agent.authority == "SUSPENDED" and agent.incident == number:
        suspended = "It is suspended"
        if unproven:
            is_are = "tool is" if unproven == 1 else "tools are"
            suspended = f"It is suspended, but {unproven} running {is_are} NOT CONFIRMED as stopped"
        return f"{suspended}{'; the record is locked' if locked else ''}."
    if agent.authority == "SUSPENDED":
        return f"It is suspended, for incident {agent.incident}."
    if row.broken is not None and agent.probation is not None and agent.probation.incident == number:
        return f"One person alone gave it back: it acts in {agent.authority}, until a time; a review is owed."
    if agent.authority == "ACTIVE" and "RELEASED" in row.marks:
        return "It was given back, and acts again."
    if agent.authority == "ACTIVE":
        return "It goes on: nothing was taken from it."
    return _ACTS.get(agent.authority, f"Its authority now: {agent.authority}.")


def _case(row: rows.Incident) -> tuple[str, ...]:
    if row.merged_into is not None:
        return (f"The case was merged into incident {row.merged_into}, and is told there.",)
    return (_ENDED[row.state],) if row.state in _ENDED else ()


# ---- what is asked -------------------------------------------------------------------------------------------


def asked(number: int, row: rows.Incident, agent: rows.Agent | None) -> tuple[str, ...]:
    """What containment asks of people now, as commands, the most urgent first; its parts ask for the rest."""
    if row.merged_into is not None:
        return ()
    over = row.state in OVER
    return (
        *_of_stopping(number, row, agent),
        *(() if over else _of_taking(number, row)),
        *_of_waiting(number, row),
        *(() if over else _of_case(number, row)),
    )


def _of_taking(number: int, row: rows.Incident) -> Iterable[str]:
    if "ACKNOWLEDGED" not in row.marks or row.state in ("OPEN", "REOPENED"):
        yield f"Somebody takes it: failwell incident acknowledge {number}"


def _of_waiting(number: int, row: rows.Incident) -> Iterable[str]:
    if row.waiting:
        actions = "1 action has" if len(row.waiting) == 1 else f"{len(row.waiting)} actions have"
        yield f"{actions} not been confirmed as ended yet: failwell stop report --incident {number}"


def _of_stopping(number: int, row: rows.Incident, agent: rows.Agent | None) -> Iterable[str]:
    detect_only = agent is not None and agent.detect_only
    if agent is not None and detect_only and agent.incident == number and "STOPPED" not in row.marks:
        yield "Its vendor has not confirmed that its access is gone: take it away at its own side."
    elif "CONTAINMENT_FAILED" in row.marks and not detect_only:
        which = f"failwell stop report --incident {number}"
        yield f"A tool could not be shown to be stopped: stop it at its own side. Which: {which}"


def _of_case(number: int, row: rows.Incident) -> Iterable[str]:
    if row.agent == "":
        if row.severity == "critical":
            yield 'If it may go on, stop everything: failwell stop --all --reason "..."'
        yield f'Find out which agent it was: failwell incident note {number} "..."'


def asked_last(number: int, row: rows.Incident, agent: rows.Agent | None) -> Iterable[str]:
    """What is asked after everything else: tasks, and two persons to give authority back."""
    for task in row.tasks if row.state not in OVER else ():
        command = f"failwell incident done {number} {task.number} --as {task.person}"
        yield f"{task.person} has task {task.number} to do: {command}"
    if agent is None or agent.incident != number or agent.authority != "SUSPENDED" or "ACKNOWLEDGED" not in row.marks:
        return
    what, more = ("approve", "") if row.proposal else ("propose", ' --conditions "..." --evidence ENTRY')
    command = f"failwell agent release {what} {agent.name} --incident {number}{more}"
    yield f"Two persons give authority back: {command}"


def _count(number: int, one: str) -> str:
    return f"{number} {one}{'' if number == 1 else 's'}"
