"""What the owner reads at night: the page of an incident as plain text, with the newest checkpoint in it (R10, D10).

The first two lines say what happened, what was already done and what is asked. The checkpoint makes the reader's
mailbox a holder of evidence: with it a re-written ledger is found out even if it is signed with our own key.
"""

from __future__ import annotations

from typing import NamedTuple

from failwell.core import note
from failwell.response.account import Account

BEGIN = "----- checkpoint: keep this mail, it is evidence -----"
END = "----- end of checkpoint -----"


class Letter(NamedTuple):
    """Subject and text of a page, and the size of the tree whose checkpoint travels with it."""

    subject: str
    text: str
    checkpoint: int


def incident_letter(told: Account, checkpoint: bytes) -> Letter:
    """The page for an incident. `checkpoint` is the newest signed note; the letter says if it does not cover it yet."""
    size = int(note.SignedNote.parse(checkpoint).text.split("\n")[1])
    detected = told.times["detected"]
    covered = detected is not None and detected.entry < size
    unproven = any(stop.state == "interrupted_unconfirmed" for stop in told.stops)
    done = {
        "SUSPENDED": f"It is {'' if unproven else 'stopped and '}suspended; the record is locked.",
        "RESTRICTED": "It is restricted, to what its contract allows then.",
    }.get(told.authority, f"Its authority now: {told.authority}.")
    if unproven:
        done += " NOT ALL OF IT IS CONFIRMED AS STOPPED."
    story = [
        f"{told.title}. {done}",
        f"You are asked to: take it. Run: failwell incident acknowledge {told.incident}",
        "",
        f"Incident {told.incident}, {told.severity}, agent {told.agent}, owner {told.owner}.",
        f"It began at entry {told.onset[0]}; detected {_at(told, 'detected')}, suspended {_at(told, 'suspended')}.",
        *_effects(told),
        f"Everything: failwell incident show {told.incident}",
    ]
    lines = [
        # Attack: a line end in a name or title would push what is asked out of sight, or begin a checkpoint of its own.
        *(" ".join(line.split()) for line in story),
        "",
        BEGIN,
        checkpoint.decode().rstrip("\n"),
        END,
        "" if covered else "This checkpoint does not cover the incident yet; the next page's will.",
    ]
    state = {"SUSPENDED": "suspended", "RESTRICTED": "restricted"}.get(told.authority, "needs a person")
    return Letter(f"[Failwell] {told.name} {state} (incident {told.incident}, {told.severity})", "\n".join(lines), size)


def bare_letter(incident: int, why: str) -> Letter:
    """A page without an account: that something happened is told even when the story cannot be."""
    text = "\n".join(
        [
            f"Incident {incident} needs a person. Its account could not be made ({why[:200]}).",
            f"You are asked to: take it. Run: failwell incident acknowledge {incident}",
        ]
    )
    return Letter(f"[Failwell] incident {incident} needs a person", text, 0)


def _at(told: Account, moment: str) -> str:
    found = told.times[moment]
    return "not yet" if found is None else f"{found.at} (entry {found.entry})"


def _effects(told: Account) -> list[str]:
    escaped = told.escaped_effects
    if not escaped.counted_from:
        return ["How many effects escaped is not known yet: no witness has been read."]
    total = escaped.before_detection + escaped.while_stopping + escaped.after_fence
    reached = f"{_count(total, 'effect')} on {_count(len(told.customers), 'customer')} seen so far"
    return [f"{reached}, counted from {', '.join(escaped.counted_from)}."]


def _count(number: int, one: str) -> str:
    return f"{number} {one}{'' if number == 1 else 's'}"
