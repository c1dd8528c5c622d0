"""What the owner reads at night: the page of an incident as plain text, with the newest checkpoint in it (R10, D10).

The first two lines say what happened, what was already done and what is asked. The checkpoint makes the reader's
mailbox a holder of evidence: with it a re-written ledger is found out even if it is signed with our own key.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from failwell.core import note, stops
from failwell.core.instants import format_at
from failwell.core.rows import Stop, Ticket
from failwell.response.account import Account

BEGIN = "----- checkpoint: keep this mail, it is evidence -----"
END = "----- end of checkpoint -----"


#: What mail programs make links of, in whatever text it stands.
_ADDRESS = re.compile(r"\b(https?|ftps?|file|mailto|tel|sms|www)([:.])(?=\S)", re.IGNORECASE)


class Letter(NamedTuple):
    """Subject and text of a page, and the size of the tree whose checkpoint travels with it."""

    subject: str
    text: str
    checkpoint: int


def sealed(story: Iterable[str], checkpoint: bytes, after: str = "") -> str:
    """A letter's text: its lines, then the newest signed note, byte for byte, then `after`."""
    # Attack: a line end in a name or title would push what is asked out of sight, or begin a checkpoint of its own.
    lines = [*(unlinked(" ".join(line.split())) for line in story), "", BEGIN, checkpoint.decode().rstrip("\n"), END]
    return "\n".join([*lines, after])


def unlinked(line: str) -> str:
    """The line with no address in it that a mail program would make a link of.

    Attack: an agent calls a tool https://evil.example/take-it, and the alarm about it asks to be clicked there.
    """
    return _ADDRESS.sub(lambda found: f"{found[1]}[{found[2]}]", line)


def size_of(checkpoint: bytes) -> int:
    """How many entries a signed note covers; 0 where there is none yet."""
    return int(note.SignedNote.parse(checkpoint).text.split("\n")[1]) if checkpoint else 0


def incident_letter(told: Account, checkpoint: bytes, person: str = "", path: Sequence[str] = ()) -> Letter:
    """The page for an incident. `checkpoint` is the newest signed note; the letter says if it does not cover it yet.

    `path` says who was asked beside `person`, and who is next (`asked_before`).
    """
    size = int(note.SignedNote.parse(checkpoint).text.split("\n")[1])
    detected = told.times["detected"]
    covered = detected is not None and detected.entry < size
    story = [
        f"{told.happened}. {' '.join(told.done)}",
        f"You are asked to: {_taking(told)}",
        "",
        *about_case(told, person, path),
    ]
    after = "" if covered else "This checkpoint does not cover the incident yet; the next page's will."
    state = {"SUSPENDED": "suspended", "RESTRICTED": "restricted"}.get(told.authority, "needs a person")
    return Letter(subject(told, f"{told.name or 'a case'} {state}"), sealed(story, checkpoint, after), size)


def subject(told: Account, what: str) -> str:
    """The subject of a letter about an incident; what is rehearsed or planted says so first."""
    rehearsed = f"{told.kind.upper()}: " if told.kind in ("drill", "canary") else ""
    return f"[Failwell] {rehearsed}{what} (incident {told.incident}, {told.severity})"


def about_case(told: Account, person: str, path: Sequence[str] = ()) -> list[str]:
    """What every letter about an incident tells below its first two lines."""
    others = list(dict.fromkeys(page.person for page in told.told if page.person != person))
    return [
        f"Incident {told.incident}, {told.severity}; agent {told.agent or 'unknown'}, owner {told.owner or 'unknown'}; "
        + _held(told),
        f"It began at entry {told.onset[0]}; detected {_at(told, 'detected')}"
        + (f", suspended {_at(told, 'suspended')}." if told.times["suspended"] is not None else "."),
        *_effects(told),
        *(
            [f"It leaves {_count(told.left, 'run')} unfinished: failwell incident work {told.incident}"]
            if told.left
            else []
        ),
        *(path or [f"Told too: {', '.join(others)}." if others else "Nobody else was told."]),
        f"Everything: failwell incident show {told.incident}",
    ]


def _held(told: Account) -> str:
    if told.holder is None:
        return "nobody has taken it yet."
    return f"{told.holder} had it, and nobody has it now." if told.asking else f"{told.holder} has it."


def _taking(told: Account) -> str:
    if told.holder is not None and not told.asking and told.state not in ("OPEN", "REOPENED"):
        return f"know of it; {told.holder} has taken it. Run: failwell incident show {told.incident}"
    unproven = any(stop.state == "interrupted_unconfirmed" for stop in told.stops)
    stop = "stop at its own side what is not confirmed, and " if unproven else ""
    return f"{stop}take it. Run: failwell incident acknowledge {told.incident}"


def bare_letter(incident: int, why: str) -> Letter:
    """A page without an account: that something happened is told even when the story cannot be. 0: no incident's."""
    why = unlinked(" ".join(why.split()))
    if not incident:
        lines = [f"An agent needs a person. What about it could not be told ({why[:200]}).",
                 "You are asked to: look. Run: failwell agent list"]  # fmt: skip
        return Letter("[Failwell] an agent needs a person", "\n".join(lines), 0)
    text = "\n".join(
        [
            f"Incident {incident} needs a person. Its account could not be made ({why[:200]}).",
            f"You are asked to: take it. Run: failwell incident acknowledge {incident}",
        ]
    )
    return Letter(f"[Failwell] incident {incident} needs a person", text, 0)


def notice_letter(name: str, why: str, person: str, checkpoint: bytes) -> Letter:
    """A page about an agent that no incident is about: its owner left, and `person` is asked to find the next one."""
    size = size_of(checkpoint)
    story = [
        f"{name} has no owner: {why}. It acts restricted at most, and what it asks people for stays unanswered.",
        f"You are asked to: find who answers for it. Run: failwell agent assign {name} --owner PERSON --as OPERATOR",
        "",
        "What it may do again is for that person to say, in a contract that they sign and another person adopts.",
        f"{person}, this comes to you as the one who follows. Everything: failwell agent show {name}",
    ]
    return Letter(f"[Failwell] {name} needs an owner", sealed(story, checkpoint), size)


def stop_letter(scope: str, row: Stop, agents: int, checkpoint: bytes) -> Letter:
    """A stop of more than one agent: what does not start any more, what of it could not be shown to have stopped."""
    size = size_of(checkpoint)
    named = stops.words(scope)
    ran = "What ran there was stopped."
    if row.failed or row.waiting:
        ran = f"{_count(len(row.failed) + len(row.waiting), 'running tool')} NOT CONFIRMED as stopped."
    by = " and ".join(person.removeprefix("person:") for person in row.stopped_by)
    stands = "is stopped" if row.closed else "was stopped, and was lifted since"
    story = [
        f"{named[0].upper()}{named[1:]} {stands}, by {by}: {row.why}. {ran}",
        f"You are asked to: look. Run: failwell stop show {scope}",
        "",
        f"Nothing within it starts, whoever asks ({_count(agents, 'agent')} now); no agent is suspended by that.",
        "Two persons lift it, neither of whom ordered it:",
        f'failwell stop propose {scope} --conditions "..." --evidence ENTRY',
    ]
    after = "" if row.ordered < size else "This checkpoint does not cover the stop yet; the next page's will."
    what = f"[Failwell] {named} {'stopped' if row.closed else 'stopped, and lifted'}"
    return Letter(what, sealed(story, checkpoint, after), size)


def contact_letter(person: str, origin: str, code: str) -> tuple[str, str]:
    """Subject and text of the mail by which a person shows that they are reached at their address."""
    lines = [
        f"The code is {code}. It is good for an hour.",
        f"You are asked to: give it back. Run: failwell person verify {person} --code {code} --as {person}",
        "",
        f"{person} is to be told at this address what agents do, by the ledger {origin}.",
        "If you are not that person, do nothing: the code alone is of no use to anybody.",
    ]
    return "[Failwell] your address is to be verified", "\n".join(lines)


def ticket_letter(number: int, name: str, row: Ticket, checkpoint: bytes) -> Letter:
    """An action that waits for a person. What it would do stands in the record, not in a mail: it may be personal."""
    size = size_of(checkpoint)
    story = [
        f"{name} wants to call {row.tool} and waits for a person, because of {', '.join(row.clauses)}.",
        f"You are asked to: look at it and answer. Run: failwell ticket show {number}",
        "",
        f"Asked: {', '.join(row.asked)}. Nobody answers until {format_at(row.expires_us)}: it is denied.",
        "Later questions of this agent within a minute are not mailed. All that wait: failwell ticket list",
    ]
    return Letter(f"[Failwell] {name} waits for an answer (ticket {number})", sealed(story, checkpoint), size)


def _at(told: Account, moment: str) -> str:
    found = told.times[moment]
    return "not yet" if found is None else f"{found.at[:10]} {found.at[11:19]} UTC (entry {found.entry})"


def _effects(told: Account) -> list[str]:
    escaped = told.escaped_effects
    if not escaped.counted_from:
        return ["How many effects escaped is not known yet: no witness has been read."]
    total = escaped.before_detection + escaped.while_stopping + escaped.after_fence
    reached = f"{_count(total, 'effect')} on {_count(len(told.customers), 'customer')} seen so far"
    return [f"{reached}, counted from {', '.join(escaped.counted_from)}."]


def _count(number: int, one: str) -> str:
    return f"{number} {one}{'' if number == 1 else 's'}"
