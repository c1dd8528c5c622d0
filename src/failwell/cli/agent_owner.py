"""`agent assign|group`: who answers for an agent, and whose floors bind it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from failwell.cli import options, session
from failwell.cli.screen import Answer, Screen, door

Name = Annotated[str, typer.Argument(metavar="AGENT", help="Its short name or full SPIFFE id.")]


def register(app: typer.Typer) -> None:
    """Put the commands into `agent`."""
    app.command("assign")(assign)
    app.command("group")(group)


def owner_of(row: dict[str, Any], persons: dict[str, dict[str, Any]]) -> str:
    """Who answers for an agent, in words: also that they have left, or have signed nothing for it yet."""
    owner = str(row["owner"])
    if persons.get(owner, {}).get("left"):
        return f"{owner}, who has left: failwell agent assign {row['name']}"
    return f"{owner}, whose contract for it is not in force yet" if row["orphaned"] else owner


def checks(row: dict[str, Any], persons: dict[str, dict[str, Any]]) -> Iterator[tuple[str, str, str]]:
    """What `doctor` says of who answers for an agent and who proves to be it: state, what was found, what to do."""
    owner, name = str(row["owner"]), row["name"]
    if persons.get(owner, {}).get("left"):
        yield (
            "todo", f"nobody answers for it: {owner}, who owned it, has left",
            f"failwell agent assign {name} --owner PERSON --as OPERATOR",
        )  # fmt: skip
    elif row["orphaned"]:
        yield (
            "todo", f"it acts restricted until a contract that {owner} signed is adopted",
            f"failwell contract sign FILE --as {owner}",
        )  # fmt: skip
    if row["key"] is None:
        yield "known", "its key is revoked: nobody proves to be it", f"to let it act again: failwell agent rekey {name}"


@door("agent-assign")
def assign(
    name: Name,
    owner: Annotated[str, typer.Option(metavar="PERSON", help="The one accountable person from now on.")],
    workspace: options.Workspace = None, person: options.As = None, yes: options.Yes = False,
    as_json: options.AsJson = False,
) -> Answer:  # fmt: skip
    """Make another person accountable, by an operator's order.

    What the agent may do stays as it is: the next contract takes the new owner's signature.

    \b
    Example:
      failwell agent assign refund-bot --owner cleo --as bert
    """
    from failwell.core import orders

    place = session.open_workspace(workspace)
    about = [f"{owner} answers for {name} from now on"]
    with session.take_hand(place, person, yes=yes, about=about) as hand:
        entry = hand.give("agent.assign", orders.AgentAssign(agent=name, owner=owner))

    def show(screen: Screen) -> None:
        screen.lead(
            f"{owner} answers for {name} now (entry {entry}). What it may do is unchanged.",
            "The next contract takes their signature:",
        )
        screen.command(f"failwell contract sign FILE --as {owner}")

    return Answer(fields={"agent": name, "owner": owner, "entry": entry}, show=show)


@door("agent-group")
def group(
    name: Name,
    join: Annotated[str, typer.Option(metavar="GROUP", help="The group whose floors bind it from now on.")],
    workspace: options.Workspace = None, person: options.As = None, yes: options.Yes = False,
    as_json: options.AsJson = False,
) -> Answer:  # fmt: skip
    """Put an agent into a group, by an operator's order. It leaves none: that would free it of the group's floors.

    \b
    Example:
      failwell agent group refund-bot --join payments --as anna
    """
    from failwell.core import orders
    from failwell.identity.names import check_name

    check_name(join, "group")
    place = session.open_workspace(workspace)
    with session.take_hand(place, person, yes=yes, about=[f"{name} joins {join} for good"]) as hand:
        entry = hand.give("agent.group", orders.AgentGroup(agent=name, group=join))

    def show(screen: Screen) -> None:
        screen.lead(
            f"{name} is in {join} (entry {entry}), whose floors bind it from its next action on.",
            "Which those are: failwell floor list",
        )

    return Answer(fields={"agent": name, "group": join, "entry": entry}, show=show)
