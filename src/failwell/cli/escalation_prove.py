"""`escalation prove|confirm|channels`: whether what is sent to a person reaches them, shown by an answer."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from failwell.cli import options, session
from failwell.cli.screen import Answer, Screen, door, plural, span
from failwell.core.errors import NotFound

#: How a channel that was shown to reach somebody was.
_HOW = {"link": "a link", "reply": "a reply", "code": "a code", "pagerduty": "the on-call service"}
EMAIL = "email"


def register(app: typer.Typer) -> None:
    """Add the commands to `escalation`."""
    app.command("prove")(prove)
    app.command("confirm")(confirm)
    app.command("channels")(channels)


@door("escalation-prove")
def prove(
    channel: Annotated[
        str | None,
        typer.Argument(metavar="[CHANNEL]", help="email, or one of the settings. Default: all that would ask them."),
    ] = None,
    whom: Annotated[
        str | None, typer.Option("--person", metavar="NAME", help="Whom to ask. Default: whoever gives the order.")
    ] = None,
    workspace: options.Workspace = None, person: options.As = None, yes: options.Yes = False,
    as_json: options.AsJson = False,
) -> Answer:  # fmt: skip
    """Send something to a person that has to come back, to show that the channel reaches them.

    It is good for a week, and is sent once a minute at most. The node does the same by itself as often as prove_every_s
    in [escalation] says. Another person is asked by an operator's order.

    \b
    Examples:
      failwell escalation prove --as anna
      failwell escalation prove pager --person bert --as anna
    """
    from failwell.core import orders as o

    place = session.open_workspace(workspace)
    asked = whom or session.pick_person(person).person
    named = (channel,) if channel is not None else _used(place, asked)
    entries = {}
    about = [f"something is sent by {' and by '.join(named)} that has to come back"]
    with session.take_hand(place, person, yes=yes, about=about) as hand:
        for each in named:
            entries[each] = hand.give("channel.ask", o.ChannelAsk(channel=each, person=asked))

    def show(screen: Screen) -> None:
        screen.lead(f"{asked} is asked by {' and by '.join(named)} to show that it reaches them.",
                    f"They give it back: failwell escalation confirm CODE --as {asked}")  # fmt: skip

    return Answer(fields={"person": asked, "asked": entries}, show=show)


@door("escalation-confirm")
def confirm(
    parts: Annotated[list[str], typer.Argument(metavar="[CHANNEL] CODE", help="The code in the message.")],
    workspace: options.Workspace = None, person: options.As = None, yes: options.Yes = False,
    as_json: options.AsJson = False,
) -> Answer:  # fmt: skip
    """Give back what arrived: the channel by which it did reaches you.

    The code is given beside your order and stands in no entry. A mail's can also be sent back by its link or a reply.

    \b
    Example:
      failwell escalation confirm 7K2M-9XQD-4TWV-H3ZB --as bert
    """
    from failwell.core import orders as o
    from failwell.identity.answer_keys import digest_of_code

    place = session.open_workspace(workspace)
    name = session.pick_person(person).person
    # The channel needs not be said: earlier messages name it. A code may be written in groups.
    code = " ".join(parts[1:] if len(parts) > 1 and digest_of_code(" ".join(parts)) is None else parts)
    digest = digest_of_code(code)
    ways = _ways(place)
    found = next((each for each in ways if digest is not None and each["token"] == digest), None)
    if found is None:
        waits = [each["channel"] for each in ways if each["person"] == name and each["token"] is not None]
        hint = (
            f"What waits came by {', '.join(waits)}: look again." if waits else "failwell escalation prove sends one."
        )
        raise NotFound("no message that waits to come back carried this code", hint=hint)
    channel = found["channel"]
    with session.take_hand(place, person, yes=yes, about=[f"{channel} reaches you"]) as hand:
        entry = hand.give("channel.confirm", o.ChannelConfirm(channel=channel, person=hand.person), code=code)

    def show(screen: Screen) -> None:
        screen.lead(f"{channel} reaches {name} (entry {entry}).", "Others: failwell escalation channels")

    return Answer(fields={"channel": channel, "person": name, "entry": entry}, show=show)


@door("escalation-channels")
def channels(workspace: options.Workspace = None, as_json: options.AsJson = False) -> Answer:
    """Show by which channels people would be asked, and when each was last shown to reach them.

    Ends with 1 where somebody would be asked by a channel that was never shown to reach them, or not for too long.

    \b
    Example:
      failwell escalation channels
    """
    found = [{name: value for name, value in each.items() if name != "token"}
             for each in _ways(session.open_workspace(workspace))]  # fmt: skip
    weak = [each for each in found if each["used"] and each["state"] != "proven"]

    def show(screen: Screen) -> None:
        asked = "Nothing more is asked."
        if weak:
            asked = f"Show it: failwell escalation prove {weak[0]['channel']} --person {weak[0]['person']}"
        used = sum(1 for each in found if each["used"])
        screen.lead(
            f"{plural(used, 'way')} to people, {len(weak) or 'none'} of them not shown to reach them.",
            asked, bad=bool(weak),
        )  # fmt: skip
        heads = ("channel", "person", "", "last shown", "by", "waits to come back until")
        screen.table(heads, [_line(each) for each in found])

    return Answer(fields={"channels": found, "unproven": len(weak)}, show=show, finding=bool(weak))


def _line(each: dict[str, Any]) -> tuple[str | None, ...]:
    stands = each["state"] if each["used"] else f"{each['state']} (no step uses it)"
    shown = "never" if each["proven_at"] is None else f"{_ago(each['proven_at'])} ago"
    until = None if each["until"] is None else f"{each['until'][:16].replace('T', ' ')} UTC"
    return each["channel"], each["person"], stands, shown, _HOW.get(each["how"] or ""), until


def _ways(place: Any) -> list[dict[str, Any]]:
    with session.reach_node(place) as wire:
        found: list[dict[str, Any]] = wire.call("ask", about="channels")
    return found


def _used(place: Any, person: str) -> tuple[str, ...]:
    found = tuple(each["channel"] for each in _ways(place) if each["person"] == person and each["used"])
    return found or (EMAIL,)


def _ago(at: str) -> str:
    from failwell.core.instants import parse_at

    return span(max(0, time.time_ns() // 1000 - parse_at(at)))
