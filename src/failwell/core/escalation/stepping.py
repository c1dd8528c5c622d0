"""The machine of an escalation: from its entries to its row, and what follows from them in the same commit.

asking -> taken -> asking ... -> over. The first step stands in the commit of what began it; later ones are written by
the clock (`response.escalating`), with the drafts that are made here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec.structs import replace

from failwell.core import kinds, rows
from failwell.core.errors import Corrupt
from failwell.core.escalation import due, quiet
from failwell.core.escalation.path import EMAIL, path_of, total_us
from failwell.core.escalation.targets import named
from failwell.core.following import Fold, Reaction
from failwell.core.projections import Projections
from failwell.core.records import Draft, Entry

ACTOR = "response"
#: The version of the rules since which people are told along a path.
RULES = 3
#: What a page of a later step is about; the first one's is its incident's own letter.
STEP = "step"
#: So many pages of a cycle are known by what became of them. A last resort asks again for ever; its oldest are let go.
KNOWN = 256
#: A step taken this soon after its time counts from that: what each is late by must not add up to a later last resort.
#: One that is later (no node ran) counts from when people are asked, who need their time.
ON_TIME_US = 5_000_000
#: Steps that no quiet hours hold back: a person asks for it, or it got worse.
_NOT_QUIET = frozenset({due.ASKED, due.HURRIED})
_WHY = {
    due.NOBODY: "nobody has taken it in time", due.UNREACHED: "whoever was asked before could not be reached",
    due.ASKED: "somebody else is asked for", due.HURRIED: "it is worse than it was, and does not wait any more",
}  # fmt: skip


def escalates(state: Projections) -> bool:
    """Whether people are told along a path (rules of version 3)."""
    return bool(state.workspace) and state.workspace[1].rules >= RULES


# ---- drafts, for reactions and for the clock -----------------------------------------------------------------


def start(state: Projections, number: int, why: str, cause: int, *, actor: str = ACTOR) -> Draft:
    """A cycle of an incident's escalation, along the path that is in force now."""
    case, row = state.incident[number], state.escalation.get(number)
    source, path = path_of(state, case.agent)
    body = kinds.EscalationStarted(
        incident=number, cycle=1 if row is None else row.cycle + 1, source=source, path=path, total_us=total_us(path),
        why=why,
    )  # fmt: skip
    return Draft(body=body, actor=actor, agent=case.agent or None, refs=(cause,))


def step(
    state: Projections, number: int, why: str, at_us: int, cause: int, *, actor: str = ACTOR, but: str = ""
) -> Draft:  # fmt: skip
    """The next step of an incident's escalation, taken at `at_us` (ledger time). `but` is not asked, if others are."""
    case, row = state.incident[number], state.escalation[number]
    follows = due.next_step(state, row, case.agent, case.severity, at_us, why)
    taken = row.path[follows.step - 1]
    persons = tuple(person for person in follows.persons if person != but) or follows.persons
    if why in (due.EXPIRED, due.SILENT) and case.holder is not None and state.enrolled(case.holder):
        persons = tuple(dict.fromkeys((*persons, case.holder)))  # who had it is asked too: it may still be theirs
    begins_us = at_us if why in _NOT_QUIET else quiet.until_us(state, case, at_us)
    if begins_us == at_us and why == due.NOBODY and at_us - row.due_us <= ON_TIME_US:
        begins_us = row.due_us
    body = kinds.EscalationStepped(
        incident=number, cycle=row.cycle, step=follows.step, round=follows.round, persons=persons, by=taken.by,
        passed=follows.passed, due_us=begins_us + taken.within_us, why=why,
    )  # fmt: skip
    return Draft(body=body, actor=actor, agent=case.agent or None, refs=(cause,))


def first_asked(state: Projections, number: int) -> frozenset[str]:
    """Whom the first step of an incident's escalation will tell, its agent's owner among them."""
    case, now_us = state.incident[number], state.last_at_us
    _, path = path_of(state, case.agent)
    row = rows.Escalation(cycle=1, state=due.ASKING, source="", path=path)
    asked = due.next_step(state, row, case.agent, case.severity, now_us, due.FIRST).persons
    return frozenset((*asked, *named(state, case.agent, "owner", now_us)))


def further(state: Projections, number: int) -> tuple[str, ...]:
    """Whom the steps still to come would ask first, that nobody has asked yet; () where there is no such person."""
    row, case = state.escalation.get(number), state.incident[number]
    if row is None:
        return ()
    told = {page.person for page in row.told}
    for later in row.path[row.step :]:
        found = tuple(
            person for person in named(state, case.agent, later.notify, state.last_at_us) if person not in told
        )
        if found:
            return found
    return ()


# ---- from entries to the row ---------------------------------------------------------------------------------


def _started(state: Projections, entry: Entry[Any], body: kinds.EscalationStarted, at_us: int) -> None:
    known = state.escalation.get(body.incident)
    if body.incident not in state.incident or body.cycle != (1 if known is None else known.cycle + 1) or not body.path:
        raise Corrupt(f"entry {entry.seq} begins cycle {body.cycle} of incident {body.incident}, which cannot be")
    if known is not None and known.state == due.ASKING:
        raise Corrupt(f"entry {entry.seq} begins to ask about incident {body.incident} while somebody is being asked")
    row = rows.Escalation(
        cycle=body.cycle, state=due.ASKING, source=body.source, path=body.path, since_us=at_us, stepped_us=at_us,
        due_us=at_us, why=body.why, ringing=() if known is None else known.ringing,
    )  # fmt: skip
    state.put("escalation", body.incident, row)


def _stepped(state: Projections, entry: Entry[Any], body: kinds.EscalationStepped, at_us: int) -> None:
    row = running(state, entry, body)
    follows = (body.step, body.round) > (row.step, row.round) and body.step <= len(row.path)
    whole = body.passed == tuple(range(row.step + 1, body.step))
    # Whoever has it may ask for somebody else; nothing else goes on from what is taken.
    goes_on = row.state == due.ASKING or (row.state == due.TAKEN and body.why == due.ASKED)
    if not goes_on or not follows or not whole:
        raise Corrupt(f"entry {entry.seq} takes step {body.step}.{body.round} after {row.step}.{row.round}")
    asked = (*row.asked, *((),) * (body.step - len(row.asked)))
    there = tuple(dict.fromkeys((*asked[body.step - 1], *body.persons)))
    state.change(
        "escalation", body.incident, step=body.step, round=body.round, stepped_us=at_us, due_us=body.due_us,
        asked=(*asked[: body.step - 1], there), last_resort=row.path[body.step - 1].last_resort, state=due.ASKING,
        acknowledged=_still(row, entry),
    )  # fmt: skip
    if body.why in _NOT_QUIET:
        _release(state, row, at_us)


def _still(row: rows.Escalation, entry: Entry[Any]) -> tuple[str, ...]:
    """Who took it in this cycle and did not ask for somebody else since; whoever had it asks for all of them."""
    if row.state == due.TAKEN:
        return ()
    return tuple(person for person in row.acknowledged if entry.actor != f"person:{person}")


def _release(state: Projections, row: rows.Escalation, at_us: int) -> None:
    """What waited for the end of quiet hours goes out now."""
    for each in row.told:
        page = state.page.get(each.page)
        if page is not None and page.state == "queued" and not page.attempts and page.due_us > at_us:
            state.change("page", each.page, due_us=at_us)


def running(state: Projections, entry: Entry[Any], body: Any) -> rows.Escalation:
    """The cycle that an entry is of; Corrupt where that is not the one that runs."""
    row = state.escalation.get(body.incident)
    if row is None or row.cycle != body.cycle:
        raise Corrupt(f"entry {entry.seq} is of cycle {body.cycle} of incident {body.incident}, which does not run")
    return row


# ---- what follows in the same commit -------------------------------------------------------------------------


def _after_started(state: Projections, entry: Entry[Any], body: kinds.EscalationStarted) -> tuple[Draft, ...]:
    why = body.why if body.why in (due.EXPIRED, due.SILENT) else due.FIRST
    return (step(state, body.incident, why, state.last_at_us, entry.seq),)


def _after_stepped(state: Projections, entry: Entry[Any], body: kinds.EscalationStepped) -> tuple[Draft, ...]:
    """The pages of a step; of a path's very first the owner is told in any case, whoever is asked (R10)."""
    case, row = state.incident[body.incident], state.escalation[body.incident]
    first = body.cycle == 1 and not row.told
    pages = list(_pages(row, body))
    owner = named(state, case.agent, "owner", state.last_at_us)
    if first and owner and owner[0] not in body.persons:
        pages.append((owner[0], EMAIL, owner))
    due_us = max(state.last_at_us, body.due_us - row.path[body.step - 1].within_us)  # after quiet hours, where it waits
    return tuple(
        Draft(
            body=kinds.PageQueued4(
                page=state.pages + 1, incident=body.incident, person=person, channel=channel, step=body.step,
                due_us=due_us, why=_why(state, case, body), ticket=None, about="" if first else STEP, cycle=body.cycle,
                round=body.round, persons=persons, digest=None,
            ),
            actor=ACTOR, agent=case.agent or None, refs=(entry.seq,),
        )
        for person, channel, persons in pages
    )  # fmt: skip


def _pages(row: rows.Escalation, body: kinds.EscalationStepped) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """(person, channel, all who are told by it): a person's own channel tells each, another one all of them at once.

    Who took it already, where several have to, is not asked a second time.
    """
    persons = tuple(person for person in body.persons if person not in row.acknowledged) or body.persons
    for channel in dict.fromkeys(body.by):
        if channel == EMAIL:
            for person in persons:
                yield person, channel, (person,)
        elif persons:
            yield persons[0], channel, persons


def _why(state: Projections, case: rows.Incident, body: kinds.EscalationStepped) -> str:
    row = state.escalation[body.incident]
    if body.why in _WHY:
        return _WHY[body.why]
    if body.why in (due.EXPIRED, due.SILENT):
        who = "whoever had it" if case.holder is None else case.holder
        return f"{who} took it, and " + (
            "that is too long ago" if body.why == due.EXPIRED else "was not heard of since"
        )
    began = {due.REOPENED: "it turned out not to be over", due.LEFT: "who had it has left"}
    return began.get(row.why, case.title)


def queued(state: Projections, body: kinds.PageQueued4) -> None:
    """A page of the running cycle waits to be sent: it is known here for as long as the cycle runs.

    What a channel hears later, that somebody has it, asks nobody and is no page of a step.
    """
    row = state.escalation.get(body.incident or 0)
    if row is None or row.cycle != body.cycle or body.about not in ("", STEP):
        return
    # INVARIANT: nobody is paged twice by one step and round over one channel.
    place = (body.step, body.round, body.person, body.channel)
    if any((each.step, each.round, each.person, each.channel) == place for each in row.told):
        raise Corrupt(f"page {body.page} tells {body.person} a second time of step {body.step} of {body.incident}")
    page = rows.Told(body.page, *place, "queued")
    state.change("escalation", body.incident, told=(*row.told, page)[-KNOWN:])


def told(state: Projections, number: int, page: int, /, **changes: Any) -> None:
    """Change what is known of a page of the running cycle; nothing where the cycle is another by now."""
    row = state.escalation.get(number)
    if row is None or not any(each.page == page for each in row.told):
        return
    changed = tuple(replace(each, **changes) if each.page == page else each for each in row.told)
    state.change("escalation", number, told=changed)


FOLDS: dict[type, Fold] = {kinds.EscalationStarted: _started, kinds.EscalationStepped: _stepped}
REACTIONS: dict[type, Reaction] = {
    kinds.EscalationStarted: _after_started,
    kinds.EscalationStepped: _after_stepped,
}
