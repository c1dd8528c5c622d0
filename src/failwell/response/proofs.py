"""Asking persons to show that a channel reaches them, by order or as time goes by, and what they give back (R10)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from failwell.core import kinds, rows
from failwell.core.errors import NotFound, Refused
from failwell.core.escalation import proofs
from failwell.core.escalation.answered import GOOD_FOR_US, SERVICE
from failwell.core.escalation.followup import ringing_channels
from failwell.core.escalation.path import EMAIL
from failwell.core.escalation.quiet import left_alone
from failwell.core.orders import SignedOrder, parse_order
from failwell.core.projections import Projections
from failwell.core.records import Draft
from failwell.ledger.jobs import Job, Plan, Turn
from failwell.ledger.orders import VerifyOrder, admit, need_role
from failwell.response.answers import Answered, Given
from failwell.response.case_orders import carried_out
from failwell.response.letters import Letter, sealed, size_of

#: Within this time nobody is asked a second time by the same channel, whoever orders it.
AT_MOST_US = 60_000_000
#: So far a service's clock, which tells whole seconds, may be behind.
SKEW_US = 2_000_000
_NODE = "node"

#: The digest of the secret that a page carries.
DigestOf = Callable[[int], str]


def ask(signed: SignedOrder, verify: VerifyOrder, digest_of: DigestOf) -> Job[int]:
    """Send something that is to come back: to oneself, or as an operator to anybody. Answers the entry."""

    def job(turn: Turn) -> Plan[int]:
        details = parse_order(signed.order).details
        order, draft = admit(turn, signed, verify, wanted="channel.ask", source=_NODE)
        if order.person != details.person:
            need_role(turn, order.person, "operator", f"asking {details.person} over {details.channel}")
        check_declared(turn.state, details.channel)
        if not turn.state.enrolled(details.person):
            raise NotFound(f"{details.person} is not enrolled, or has left", hint="failwell person list")
        _need_pause(turn, details.channel, details.person)
        asked = _asking(turn, details.channel, details.person, digest_of, draft.actor, (turn.seq,))
        return carried_out(draft, asked)

    return job


def confirm(signed: SignedOrder, verify: VerifyOrder, digest: str | None) -> Job[int]:
    """The person gives back what arrived: `digest` is of the code that they gave beside the order."""

    def job(turn: Turn) -> Plan[int]:
        details = parse_order(signed.order).details
        order, draft = admit(turn, signed, verify, wanted="channel.confirm", source=_NODE)
        if order.person != details.person:
            raise Refused(f"what was sent to {details.person} is theirs to give back")
        row = turn.state.channel.get(proofs.key_of(details.channel, details.person))
        again = f"failwell escalation prove {details.channel} --person {details.person}"
        if row is None or row.asked is None or turn.now_us > row.due_us:
            raise Refused(f"nothing waits to come back from {details.person} over {details.channel}", hint=again)
        if digest is None or digest != row.token:
            raise Refused(f"this is not the code that went to {details.person} over {details.channel}", hint=again)
        body = _proven(details.channel, details.person, row, proofs.CODE)
        proven = Draft(body=body, actor=draft.actor, refs=(turn.seq, body.asked))
        return Plan((draft, proven, *_quiet(turn, body)), lambda entries: entries[1].seq)

    return job


def answer(given: Given, look: bool) -> Job[dict[str, Any]]:
    """The same by a link or a reply. `look`: what it is about, and nothing else happens."""

    def job(turn: Turn) -> Plan[dict[str, Any]]:
        found = next(((key, row) for key, row in turn.state.channel.items() if row.token == given.digest), None)
        if found is None:
            raise Refused("nothing waits for that answer any more", code="answer-refused")
        channel, _, person = found[0].partition(" ")
        row = found[1]
        if person != given.person or turn.now_us > row.due_us or not turn.state.enrolled(person):
            raise Refused("that answer is too late, or another's", code="answer-refused")
        told = {"channel": channel, "title": f"{channel} reaches {person}"}
        if look:
            return Plan((), lambda entries: told)
        body = _proven(channel, person, row, given.how)
        draft = Draft(body=body, actor=_NODE, refs=(body.asked,))
        return Plan((draft,), lambda entries: {**told, "entry": entries[0].seq})

    return job


def from_service(channel: str, person: str, event: str, at_us: int) -> Job[Answered]:
    """The same by the word of an on-call service, of whichever of its users took what it was asked. `event` is the
    digest of that word (SHA-256, hex), `at_us` when it was given (UTC). Answers with incident 0.
    """

    def job(turn: Turn) -> Plan[Answered]:
        row = turn.state.channel.get(proofs.key_of(channel, person))
        if row is None or row.asked is None or turn.now_us > row.due_us or not turn.state.enrolled(person):
            raise Refused(f"nothing waits to come back from {person} over {channel}", code="answer-refused")
        # Attack: the word by which it was shown before, played again after it was asked anew.
        if at_us < row.due_us - GOOD_FOR_US - SKEW_US:
            raise Refused("that was said before it was asked", code="answer-refused")
        body = _proven(channel, person, row, SERVICE, event)
        draft = Draft(body=body, actor=_NODE, refs=(body.asked,))
        return Plan((draft, *_quiet(turn, body)), lambda entries: Answered(0, person, entries[0].seq))

    return job


def ask_due(turn: Turn, reached: frozenset[tuple[str, str]], digest_of: DigestOf) -> Plan[int]:
    """Ask one of those who could be asked by a channel and did not show for long that it reaches them. Answers how many
    that were: the number of its page is the next one, so it is one a turn.
    """
    state = turn.state
    if state.mode != "live" or not state.workspace or state.workspace[1].rules < 3:
        return Plan((), lambda entries: 0)
    if left_alone(state, turn.now_us):
        return Plan((), lambda entries: 0)  # nobody is woken to be asked whether they can be
    for channel, person in sorted(reached):
        if proofs.declared(state, channel) and proofs.due(state, channel, person, turn.now_us):
            return Plan((_asking(turn, channel, person, digest_of, _NODE),), len)
    return Plan((), lambda entries: 0)


def check_declared(state: Projections, channel: str) -> None:
    """NotFound where there is no such way to people."""
    if not proofs.declared(state, channel):
        what = "no mail server is set up" if channel == EMAIL else f"there is no channel {channel}"
        raise NotFound(what, hint="Declare it in failwell.toml, then: failwell config apply")


def _need_pause(turn: Turn, channel: str, person: str) -> None:
    """Attack: one order after the other, until somebody switches the channel off."""
    row = turn.state.channel.get(proofs.key_of(channel, person))
    waits = row is not None and row.asked is not None
    if row is not None and waits and turn.now_us < row.due_us - GOOD_FOR_US + AT_MOST_US:
        raise Refused(f"{person} was asked over {channel} just now", hint="Once a minute at most: it may still arrive.")


def proof_letter(person: str, channel: str, code: str, checkpoint: bytes) -> Letter:
    """What is to come back. The code stands in it: whoever reads it has it."""
    story = [
        f"{person}, this shows that {channel} reaches you when an agent has to be stopped at night.",
        f"You are asked to: give it back. Run: failwell escalation confirm {code} --as {person}",
        "",
        "Nothing has happened. If it does not come back, failwell escalation lint says that you may not be reached.",
    ]
    return Letter(f"[Failwell] does this reach you, {person}?", sealed(story, checkpoint), size_of(checkpoint))


def proven_letter(person: str, channel: str, checkpoint: bytes) -> Letter:
    """What an on-call service hears that has been asked: it need not ring any more."""
    story = [f"{channel} reaches {person}.", "You are asked to: do nothing. Nothing has happened."]
    return Letter(f"[Failwell] {channel} reaches {person}", sealed(story, checkpoint), size_of(checkpoint))


def _asking(
    turn: Turn, channel: str, person: str, digest_of: DigestOf, actor: str, refs: tuple[int, ...] = ()
) -> Draft:  # fmt: skip
    page = turn.state.pages + 1
    body = kinds.ChannelAsked(
        channel=channel, person=person, page=page, token=digest_of(page), due_us=turn.now_us + GOOD_FOR_US
    )
    return Draft(body=body, actor=actor, refs=refs)


def _quiet(turn: Turn, body: kinds.ChannelProven) -> tuple[Draft, ...]:
    """An on-call service that was asked rings until it is told that it need not."""
    if body.channel not in ringing_channels(turn.state):
        return ()
    why = f"{body.channel} reaches {body.person}"
    page = proofs.page_of(turn.state, body.channel, body.person, proofs.PROVEN, why)
    return (Draft(body=page, actor=_NODE, refs=(body.asked,)),)


def _proven(channel: str, person: str, row: rows.Channel, how: str, event: str | None = None) -> kinds.ChannelProven:
    token = row.token or "" if event is None else event
    return kinds.ChannelProven(channel=channel, person=person, how=how, asked=row.asked or 0, token=token)
