"""`escalation lint`: what would go wrong with how people are told, before it does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from failwell.cli import options, session
from failwell.cli.screen import Answer, Screen, door, plural

if TYPE_CHECKING:
    from failwell.core.contract import Contract
    from failwell.node.workspace import Workspace


def register(app: typer.Typer) -> None:
    """Add the command to `escalation`."""
    app.command("lint")(lint)


@door("escalation-lint")
def lint(
    days: Annotated[int, typer.Option(metavar="N", min=1, max=366, help="How far ahead turns are tried.")] = 31,
    workspace: options.Workspace = None, as_json: options.AsJson = False,
) -> Answer:  # fmt: skip
    """Look at every path and team for what would go wrong: nobody on call, nobody reached, too late, always the same.

    Of the settings and contracts in force. `config apply` and `contract sign` say the same of what is proposed. Ends
    with 1 while there is something to mend.

    \b
    Examples:
      failwell escalation lint
      failwell escalation lint --days 90 --json
    """
    with session.reach_node(session.open_workspace(workspace)) as wire:
        told: dict[str, Any] = wire.call("ask", about="escalation-lint", key={"days": days})
    found: list[dict[str, str]] = told["findings"]

    def show(screen: Screen) -> None:
        if not found:
            screen.lead(
                f"Nothing to mend: every path asks somebody, now and in the next {plural(days, 'day')}.",
                "Who is asked about an incident: failwell escalation show",
            )
            return
        screen.lead(
            f"{plural(len(found), 'thing')} to mend: {found[0]['place']}: {found[0]['problem']}",
            found[0]["mend"], bad=True,
        )  # fmt: skip
        show_faults(screen, found)

    return Answer(fields=told, show=show, finding=bool(found))


def show_faults(screen: Screen, found: list[dict[str, str]]) -> None:
    """Each finding with its place, its reason and what to do."""
    for each in found:
        screen.say()
        screen.say(f"{each['place']}: {each['problem']}", "bold")
        screen.say(f"  {each['reason']} {each['mend']}")


def path_faults(place: Workspace, contract: Contract) -> list[dict[str, str]]:
    """What would be wrong with a contract's own path once it is adopted; nothing where it has none."""
    from failwell.core.contract import to_canonical

    if not contract.escalation:
        return []
    key = {"contract": to_canonical(contract).decode()}
    with session.reach_node(place) as wire:
        found: list[dict[str, str]] = wire.call("ask", about="escalation-lint", key=key)["findings"]
    return [each for each in found if each["place"].startswith(f"{contract.contract} v{contract.version}")]


def new_faults(place: Workspace, settings: str) -> list[dict[str, str]]:
    """What would be wrong with these settings in force (their canonical text) that is not wrong now."""
    with session.reach_node(place) as wire:
        now: list[dict[str, str]] = wire.call("ask", about="escalation-lint")["findings"]
        found: list[dict[str, str]] = wire.call("ask", about="escalation-lint", key={"settings": settings})["findings"]
    known = {(each["code"], each["place"]) for each in now}
    return [each for each in found if (each["code"], each["place"]) not in known]


def said(found: list[dict[str, str]]) -> list[str]:
    """Findings as lines of what is shown before somebody signs."""
    return [f"TO MEND: {each['place']}: {each['problem']} {each['reason']}" for each in found]
