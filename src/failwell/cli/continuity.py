"""`ledger rotate` and `ledger continue`: another checkpoint key, and going on after a loss. Both without a node."""

from __future__ import annotations

from typing import Annotated

import typer

from failwell.cli import options, session
from failwell.cli.screen import Answer, Screen, door

Reason = Annotated[str, typer.Option(metavar="TEXT", help="Why; it stands in the signed order.")]


def register(app: typer.Typer) -> None:
    """Put the commands of this module onto `ledger`."""
    app.command("rotate", short_help="Sign with a new key from here on, by a signed order.")(rotate)
    app.command("continue", short_help="Go on after sealed entries were lost, by a signed order.")(go_on)


@door("ledger-rotate")
def rotate(
    reason: Reason, workspace: options.Workspace = None, person: options.As = None, yes: options.Yes = False,
    as_json: options.AsJson = False,
) -> Answer:  # fmt: skip
    """Have the record signed with a new key from here on, by an operator's signed order. No node may run.

    The old key is destroyed. Checkpoints that were signed with it verify as before: give whichever key you have.

    \b
    Example:
      failwell serve --stop
      failwell ledger rotate --reason "once a year" --as anna
    """
    from failwell.node import continuity

    place = session.open_workspace(workspace)
    signer = session.unlock(session.pick_person(person))
    about = ["the record gets a new checkpoint key, and the old one is destroyed"]
    done = continuity.rotate_key(place, signer, reason, session.confirm(signer.person, yes=yes, about=about))

    def show(screen: Screen) -> None:
        screen.lead(
            f"Trees of {done.since} entries and more are signed with a new key (entry {done.entry}).",
            "Whoever keeps the verifier key elsewhere gets the new one; the old one goes on verifying what it signed.",
        )
        screen.command(done.key)

    return Answer(fields={"was": done.was, "key": done.key, "entry": done.entry, "since": done.since}, show=show)


@door("ledger-continue")
def go_on(
    reason: Reason, workspace: options.Workspace = None, person: options.As = None, yes: options.Yes = False,
    as_json: options.AsJson = False,
) -> Answer:  # fmt: skip
    """Go on with what is there, after entries that the guard had signed were lost. No node may run.

    The record gets a new name and key. Its first entry under that name says how much is there, how much the guard had
    signed, and who ordered to go on; checkpoints of the lost part never verify again. First look for the lost part: a
    newer copy, put in place, needs none of this.

    \b
    Example:
      failwell ledger continue --reason "the disk of 3 May was replaced; backup of 2 May" --as anna
    """
    from failwell.node import continuity

    place = session.open_workspace(workspace)
    signer = session.unlock(session.pick_person(person))
    about = ["the record goes on under a new name; what its guard signed beyond its end is given up as lost"]
    done = continuity.continue_log(place, signer, reason, session.confirm(signer.person, yes=yes, about=about))
    lost = "how many its guard had signed cannot be told any more"
    if done.lost_size is not None:
        lost = f"its guard had signed {done.lost_size}"

    def show(screen: Screen) -> None:
        screen.lead(
            f"The record goes on as {done.origin} (entry {done.entry}): {done.size} entries are there, {lost}.",
            "Tell whoever keeps checkpoints or the verifier key; the new key is",
        )
        screen.command(done.key)
        screen.say(f"Its guard is kept by this user now, in {done.guard}: to another machine, the two move together.")

    fields = {
        "was": done.was, "origin": done.origin, "key": done.key, "entry": done.entry, "size": done.size,
        "lost_size": done.lost_size, "guard": done.guard,
    }  # fmt: skip
    return Answer(fields=fields, show=show)
