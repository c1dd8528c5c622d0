"""`digest`: early indicators as an owner is told of them once a day, and that they have them."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from failwell.cli import options, session
from failwell.cli.screen import Answer, Screen, door, plural

app = typer.Typer(help="Early indicators, told to owners once a day: list, show, say that you have one.")

Number = Annotated[int, typer.Argument(metavar="N", min=1, help="The digest's number.")]


@app.command("list")
@door("digest-list")
def show_all(
    of: Annotated[str | None, typer.Option("--person", metavar="PERSON", help="Only this person's.")] = None,
    workspace: options.Workspace = None, as_json: options.AsJson = False,
) -> Answer:  # fmt: skip
    """List the digests, the newest first: whose, of how much, and whether they have it.

    \b
    Examples:
      failwell digest list
      failwell digest list --person anna
    """
    with session.reach_node(session.open_workspace(workspace)) as wire:
        found: list[dict[str, Any]] = wire.call("ask", about="digests", key=of)

    def show(screen: Screen) -> None:
        if not found:
            screen.lead(
                "There are no digests.",
                'They are made once a day where [escalation] says digest = "08:00" and something was noticed.',
            )
            return
        waiting = [each for each in found if each["received"] is None]
        screen.lead(
            f"{plural(len(found), 'digest')}, {len(waiting)} of which nobody has said that they have them.",
            f"What one says: failwell digest show {(waiting or found)[0]['digest']}", bad=bool(waiting),
        )  # fmt: skip
        rows = [(each["digest"], each["at"][:10], each["person"], each["times"], _has(each)) for each in found]
        screen.table(("digest", "of", "for", "noticed", "received"), rows, right=("digest", "noticed"))

    return Answer(fields={"digests": found}, show=show)


@app.command("show")
@door("digest-show")
def show_one(number: Number, workspace: options.Workspace = None, as_json: options.AsJson = False) -> Answer:
    """Show what one digest counts: which agent, what was noticed, how often.

    \b
    Example:
      failwell digest show 4
    """
    with session.reach_node(session.open_workspace(workspace)) as wire:
        told: dict[str, Any] = wire.call("ask", about="digest", key=number)

    def show(screen: Screen) -> None:
        agents = len({each["agent"] for each in told["counts"]})
        screen.lead(
            f"Digest {number} for {told['person']}: {plural(told['times'], 'early indicator')} of "
            f"{plural(agents, 'agent')}.",
            f"{_has(told)[0].upper()}{_has(told)[1:]}." if told["received"]
            else f"Say that you have it: failwell digest receive {number} --as {told['person']}",
            bad=told["received"] is None,
        )  # fmt: skip
        rows = [(each["agent"], each["signal"], each["times"]) for each in told["counts"]]
        screen.table(("agent", "noticed", "times"), rows, right=("times",))
        if told["more"]:
            screen.say(f"And {told['more']} more kinds that came less often.")
        screen.say(f"Counted from entry {told['since']} to {told['until']}.")

    return Answer(fields=told, show=show)


@app.command("receive")
@door("digest-receive")
def receive(
    number: Number, workspace: options.Workspace = None, person: options.As = None, yes: options.Yes = False,
    as_json: options.AsJson = False,
) -> Answer:  # fmt: skip
    """Say that you have read a digest. Only whom it was made for can.

    \b
    Example:
      failwell digest receive 4 --as anna
    """
    from failwell.core import orders as o

    place = session.open_workspace(workspace)
    with session.take_hand(place, person, yes=yes, about=[f"you have read digest {number}"]) as hand:
        entry = hand.give("digest.receive", o.DigestReceive(digest=number))
        who = hand.person

    def show(screen: Screen) -> None:
        screen.lead(f"{who} has digest {number} (entry {entry}).", "Others: failwell digest list")

    return Answer(fields={"digest": number, "person": who, "entry": entry}, show=show)


def _has(told: dict[str, Any]) -> str:
    received = told["received"]
    if received is None:
        return "not yet"
    return f"received {received['at'][:16].replace('T', ' ')} by {received['how']} (entry {received['entry']})"
