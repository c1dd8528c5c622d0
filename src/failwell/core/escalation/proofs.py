"""What is known of a way to a person: when they last showed that it reaches them, and what waits to come back (R10).

A server that accepts a message reaches nobody by that. So each person who could be asked by a channel is asked now and
then to give something back; what is older than the settings allow is a finding, and denies nothing.
"""

from __future__ import annotations

from typing import Any

from failwell.core import kinds, rows
from failwell.core.errors import Corrupt
from failwell.core.escalation.answered import GOOD_FOR_US, LINK, SERVICE
from failwell.core.escalation.followup import ringing_channels
from failwell.core.escalation.path import EMAIL
from failwell.core.following import Fold, Reaction
from failwell.core.projections import Projections
from failwell.core.records import Draft, Entry

ACTOR = "response"
#: What pages are about that have to come back, and by which an on-call service is told that one did.
PROOF, PROVEN = "proof", "proven"
CODE = "code"
#: How often a person is asked again by themselves, until what was sent comes back or is too old to.
AGAIN_US = 2 * 86_400_000_000
#: So long before a proof is too old it is asked for anew, but at most a quarter of the time that it counts.
EARLY_US = 3 * 86_400_000_000


def key_of(channel: str, person: str) -> str:
    """The key of a channel's row."""
    return f"{channel} {person}"


def due(state: Projections, channel: str, person: str, now_us: int) -> bool:
    """Whether it is time to ask a person by the clock: nothing waits to come back, and what did is old or never was."""
    escalating = state.workspace[1].escalation if state.workspace else None
    if escalating is None or not state.enrolled(person):
        return False
    row = state.channel.get(key_of(channel, person)) or rows.Channel()
    if row.asked is not None and now_us < row.due_us - GOOD_FOR_US + AGAIN_US:
        return False
    fresh_us = escalating.prove_us - min(EARLY_US, escalating.prove_us // 4)
    return row.proven is None or now_us - row.proven_us > fresh_us


def declared(state: Projections, channel: str) -> bool:
    """Whether there is such a way to people."""
    space = state.workspace[1]
    if channel == EMAIL:
        return space.mail
    return space.escalation is not None and channel in dict(space.escalation.channels)


def verified(state: Projections, person: str, seq: int, at_us: int) -> None:
    """The code that was mailed to a person when they were enrolled came back: that shows it as well."""
    row = state.channel.get(key_of(EMAIL, person)) or rows.Channel()
    state.put("channel", key_of(EMAIL, person), _proven(row, seq, at_us, CODE))


def _proven(row: rows.Channel, seq: int, at_us: int, how: str) -> rows.Channel:
    return rows.Channel(page=row.page, proven=seq, proven_us=at_us, how=how)


def over(state: Projections, page: rows.Page) -> bool:
    """Whether a page by which somebody was asked need not go out: it came back, is too late, or a newer one asks."""
    row = state.channel.get(key_of(page.channel, page.person))
    if row is None or row.asked is None or state.last_at_us > row.due_us or not state.enrolled(page.person):
        return True
    same = [each for each in state.page.values() if _place(each) == _place(page)]
    return same[-1] is not page


def _place(page: rows.Page) -> tuple[str, str, str]:
    return page.about, page.channel, page.person


# ---- from entries to rows ------------------------------------------------------------------------------------


def _asked(state: Projections, entry: Entry[Any], body: kinds.ChannelAsked, at_us: int) -> None:
    in_time = at_us < body.due_us <= at_us + GOOD_FOR_US
    if not state.enrolled(body.person) or body.page != state.pages + 1 or not in_time:
        raise Corrupt(f"entry {entry.seq} asks {body.person} over {body.channel}, which cannot be")
    key = key_of(body.channel, body.person)
    row = state.channel.get(key) or rows.Channel()
    asked = rows.Channel(
        asked=entry.seq, page=body.page, token=body.token, due_us=body.due_us, proven=row.proven,
        proven_us=row.proven_us, how=row.how,
    )  # fmt: skip
    state.put("channel", key, asked)


def _came_back(state: Projections, entry: Entry[Any], body: kinds.ChannelProven, at_us: int) -> None:
    key = key_of(body.channel, body.person)
    row = state.channel.get(key)
    if row is None or row.asked is None or row.asked != body.asked or not _carried(state, row, body):
        raise Corrupt(f"entry {entry.seq} says that {body.channel} reaches {body.person}, by what was not asked")
    if at_us > row.due_us or not state.enrolled(body.person):
        raise Corrupt(f"entry {entry.seq} says that {body.channel} reaches {body.person}, too late")
    state.put("channel", key, _proven(row, entry.seq, at_us, body.how))


def _carried(state: Projections, row: rows.Channel, body: kinds.ChannelProven) -> bool:
    """Whether it came back as it may: the secret of the message, or an event of an on-call service that was asked."""
    if body.how == SERVICE:
        return body.channel in ringing_channels(state) and body.token not in ("", row.token)
    ways = (LINK, "reply", CODE) if body.channel == EMAIL else (CODE,)
    return body.how in ways and body.token == row.token


# ---- what follows in the same commit -------------------------------------------------------------------------


def _after_asked(state: Projections, entry: Entry[Any], body: kinds.ChannelAsked) -> tuple[Draft, ...]:
    why = f"it is to be shown that {body.channel} reaches {body.person}"
    page = page_of(state, body.channel, body.person, PROOF, why)
    return (Draft(body=page, actor=ACTOR, refs=(entry.seq,)),)


def page_of(state: Projections, channel: str, person: str, about: str, why: str) -> kinds.PageQueued4:
    """The next page, which is about no incident and asks, or tells, by one channel."""
    return kinds.PageQueued4(
        page=state.pages + 1, incident=None, person=person, channel=channel, step=1, due_us=state.last_at_us, why=why,
        ticket=None, about=about, cycle=0, round=1, persons=(person,), digest=None,
    )  # fmt: skip


FOLDS: dict[type, Fold] = {kinds.ChannelAsked: _asked, kinds.ChannelProven: _came_back}
REACTIONS: dict[type, Reaction] = {kinds.ChannelAsked: _after_asked}
