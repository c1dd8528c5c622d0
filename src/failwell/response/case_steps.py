"""What people and rules did about a case, in words, one line an entry. What a person wrote is not in entries, and so is
not here: `incident show` reads it from where it lies. What a hold keeps is told in `held`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from failwell.core import kinds
from failwell.core.instants import format_at

Words = tuple[str, str]

_CHANGES = {"severity": "severity changed", "kind": "kind changed", "serious": "marked serious"}
_WHAT = {
    "none": "that nothing is to be changed", "false-alarm": "that it is a false alarm",
    "severity": "a lower severity", "not-serious": "that it is not serious",
}  # fmt: skip
#: What a page of an incident is about, where it is not its first.
PAGES = {
    "": "page queued", "next-step": "next person paged", "work": "unfinished work handed out",
    "preserve": "asked to keep records", "objective": "paged: not in time", "offer": "paged: asked to take it over",
    "step": "next page queued", "break-glass": "paged: released by one alone", "task": "paged: a task",
    "group": "paged: a group is stopped",
}  # fmt: skip


def tell_page(body: kinds.PageQueued) -> Words:
    """Who is to be told, and what about."""
    about = body.about if isinstance(body, kinds.PageQueued3) else ""
    return PAGES.get(about, "page queued"), f"{body.person} by {body.channel}" + (f": {body.why}" if about else "")


def tell_authority(body: kinds.AuthorityChanged) -> Words:
    """What the agent may do now."""
    why = "" if body.why.startswith("order(") else f": {body.why}"  # that person's order, whose reason the case tells
    return body.now.lower(), f"was {body.was}, by {named(body.by)}{why}"


def named(who: str) -> str:
    """Who it was: a person by name, a rule as such."""
    return who.removeprefix("person:") if who.startswith("person:") else "rule" if who == "response" else who


def _tell_stepped(body: kinds.EscalationStepped) -> Words:
    """Who is asked, and what was passed over before them."""
    passed = f"; passed over: step {', '.join(str(step) for step in body.passed)}" if body.passed else ""
    again = f", round {body.round}" if body.round > 1 else ""
    who = ", ".join(body.persons) or "NOBODY IS THERE"
    why = "" if body.why == "first" else f": {body.why}"
    return "people asked", f"step {body.step}{again}{why}: {who} by {', '.join(body.by)}{passed}"


def _tell_ended(body: kinds.EscalationEnded) -> Words:
    if body.outcome == "taken":
        return "asking ended", f"taken by {', '.join(body.persons)}"
    return "asking ended", body.why


def _tell_answered(body: kinds.PageAnswered) -> Words:
    return "page answered", f"page {body.page} for {body.person} by {body.how}: {body.detail}"


def _tell_bounced(body: kinds.PageBounced) -> Words:
    return "PAGE CAME BACK" if body.permanent else "page came back for now", f"page {body.page}: {body.detail}"


def _tell_noticed(body: kinds.Noticed) -> Words:
    aware = "" if body.aware is None else f", known since {body.aware}"
    return "reported", f"by {named(body.by)}, {body.evidence}: {body.title}{aware}"


def _tell_change(body: kinds.IncidentChanged) -> Words:
    """Steps of the case bear the state's name."""
    if body.what == "state":
        return f"case {body.now.lower().replace('_', ' ')}", f"was {body.was}: {body.why}"
    if body.what == "serious" and body.now != "yes":
        return "not serious after all", body.why
    return _CHANGES.get(body.what, f"{body.what} changed"), f"{body.was or 'none'} to {body.now}: {body.why}"


def _tell_proposed(body: kinds.IncidentProposed) -> Words:
    return "proposed", f"{_WHAT.get(body.what, body.what)}, by {body.person}: {body.why}"


def _tell_note(body: kinds.IncidentNoted) -> Words:
    cites = f", citing {', '.join(str(entry) for entry in body.cites)}" if body.cites else ""
    return ("note" if body.sort == "note" else f"{body.sort} noted"), f"number {body.note}, by {body.person}{cites}"


def _tell_task(body: kinds.IncidentTask) -> Words:
    due = "" if body.due_us is None else f", due {format_at(body.due_us)}"
    return "task given", f"task {body.task} to {body.person}, by {body.by}{due}"


def _tell_left(body: kinds.WorkLeft) -> Words:
    to = ", ".join(body.to) or "nobody is named to take it"
    return "work left unfinished", f"{_count(len(body.runs) + body.more, 'run')}, asked: {to}"


def _tell_broken(body: kinds.ReleaseBroken) -> Words:
    return "RELEASED BY ONE ALONE", f"{body.person}: {body.why}; until {format_at(body.until_us)}, a review is owed"


def _tell_release_proposed(body: kinds.ReleaseProposed2) -> Words:
    return "release proposed", f"by {body.person}, into {body.authority}: {body.conditions}"


def _tell_reviewed(body: kinds.ReleaseReviewed) -> Words:
    return "release reviewed", f"by {body.person}: {'upheld' if body.upheld else 'NOT UPHELD'}"


def _tell_approved(body: kinds.ReleaseApproved) -> Words:
    until = getattr(body, "until_us", None)
    said = f"by {body.person}, into {body.authority}" + ("" if until is None else f" until {format_at(until)} at least")
    apart = getattr(body, "separated", "yes")
    return "release approved", said + ("; NOT SEPARATED: both orders came from one user" if apart == "no" else "")


def _tell_run(body: kinds.RunStopped) -> Words:
    return "run stopped", f"{', '.join(str(run) for run in body.runs)}, by {named(body.by)}: {body.why}"


WORDS: dict[type, Callable[[Any], Words]] = {
    kinds.EscalationStarted: lambda body: (
        "escalation begun" if body.cycle == 1 else "ASKED ANEW",
        f"path of {body.source}" if body.cycle == 1 else f"cycle {body.cycle}: {body.why}",
    ),
    kinds.EscalationStepped: _tell_stepped,
    kinds.EscalationEnded: _tell_ended,
    kinds.PageBounced: _tell_bounced,
    kinds.PageAnswered: _tell_answered,
    kinds.PageBundled: lambda body: ("pages told in one", f"pages {', '.join(map(str, body.pages))} in {body.into}"),
    kinds.Noticed: _tell_noticed,
    kinds.IncidentChanged: _tell_change,
    kinds.IncidentProposed: _tell_proposed,
    kinds.IncidentMerged: lambda body: ("case merged", f"into incident {body.into}, by {body.person}: {body.why}"),
    kinds.IncidentNoted: _tell_note,
    kinds.IncidentTask: _tell_task,
    kinds.IncidentTaskEnded: lambda body: (f"task {body.state}", f"task {body.task}, by {body.person}"),
    kinds.IncidentOffered: lambda body: ("hand-over offered", f"by {body.person} to {body.to}"),
    kinds.ObjectiveMissed: lambda body: ("NOT IN TIME", f"{body.objective}, due {format_at(body.due_us)}"),
    kinds.ChangeClaimed: lambda body: ("change claimed", f"{body.change}, by {body.person}: not proven"),
    kinds.CustomerTold: lambda body: ("customer told", f"{body.customer}, by {body.person}: {body.how}"),
    kinds.CustomerRestored: lambda body: ("customer made whole", f"{body.customer}, by {body.person}'s word"),
    kinds.WorkLeft: _tell_left,
    kinds.WorkEnded: lambda body: (f"work {body.state}", f"run {body.run}, by {body.person}"),
    kinds.ReleaseBroken: _tell_broken,
    kinds.ReleaseReviewed: _tell_reviewed,
    kinds.ReleaseApproved: _tell_approved,
    kinds.ReleaseApproved2: _tell_approved,
    kinds.ReleaseProposed2: _tell_release_proposed,
    kinds.ReleaseOver: lambda body: ("release by one alone is over", body.why),
    kinds.RunStopped: _tell_run,
}  # fmt: skip


def _count(number: int, one: str) -> str:
    return f"{number} {one}{'' if number == 1 else 's'}"
