"""`feed`: other systems that are told of incidents, how far each is, and whether it is reached."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from failwell.cli import options, session
from failwell.cli.screen import Answer, Screen, clock, door, plural
from failwell.core.errors import NotFound

app = typer.Typer(help="Other systems that are told of incidents: how far each is, whether it is reached.")

Name = Annotated[str, typer.Argument(metavar="FEED", help="The name of its section: [feeds.FEED].")]
_DECLARE = "A section [feeds.NAME] in failwell.toml declares one: docs/feeds.md"


@app.command("list")
@door("feed-list")
def show_all(workspace: options.Workspace = None, as_json: options.AsJson = False) -> Answer:
    """List the systems that are told of incidents: up to which entry, and what failed.

    \b
    Example:
      failwell feed list
    """
    with session.reach_node(session.open_workspace(workspace)) as wire:
        found: list[dict[str, Any]] = wire.call("ask", about="feeds")

    def show(screen: Screen) -> None:
        if not found:
            screen.lead("No other system is told of incidents.", _DECLARE)
            return
        failed = [each for each in found if each["state"] == "failed"]
        told = (
            "all of them told." if not failed else f"{len(failed)} failing; they are told everything once they answer."
        )
        screen.lead(
            f"{plural(len(found), 'feed')}, {told}",
            f"More: failwell feed show {(failed or found)[0]['feed']}", bad=bool(failed),
        )  # fmt: skip
        rows = [(each["feed"], each["kind"], each["to"], each["last"], _state(each)) for each in found]
        screen.table(("feed", "kind", "to", "told up to entry", ""), rows, right=("told up to entry",))

    return Answer(fields={"feeds": found}, show=show)


@app.command("show")
@door("feed-show")
def show_one(name: Name, workspace: options.Workspace = None, as_json: options.AsJson = False) -> Answer:
    """Show one: how far it is, what failed, and how it calls the incidents.

    \b
    Example:
      failwell feed show desk
    """
    with session.reach_node(session.open_workspace(workspace)) as wire:
        told: dict[str, Any] = wire.call("ask", about="feed", key=name)

    def show(screen: Screen) -> None:
        far = "nothing yet" if told["last"] is None else f"everything up to entry {told['last']}"
        screen.lead(
            f"{name} was told {far}; there are {plural(told['entries'], 'entry', 'entries')}.",
            f"Does it answer: failwell feed test {name}", bad=told["state"] == "failed",
        )  # fmt: skip
        if told["to"] is not None:
            screen.say(f"{told['kind']} to {told['to']}")
        screen.say(f"{_state(told)[0].upper()}{_state(told)[1:]}.")
        if told["theirs"]:
            rows = [(each["incident"], each["theirs"]) for each in told["theirs"]]
            screen.table(("incident", "there"), rows, right=("incident",))

    return Answer(fields=told, show=show)


@app.command("test")
@door("feed-test")
def reach(name: Name, workspace: options.Workspace = None, as_json: options.AsJson = False) -> Answer:
    """Reach a system as failwell.toml says now, also before that is in force. It is told of no incident.

    A ticket system is only asked whether it lets us in; another gets one event that says it is a test.

    \b
    Example:
      failwell feed test desk
    """
    from failwell.node import settings
    from failwell.node.clock import SystemClock
    from failwell.node.systems import system_of

    place = session.open_workspace(workspace)
    proposed = settings.read_settings(place.path)
    said = proposed.feeds.get(name)
    if said is None:
        raise NotFound(f"failwell.toml declares no [feeds.{name}]", hint=_DECLARE)
    system = system_of(said, proposed.secrets, place.path, place.keys, place.origin(), SystemClock())
    answered = system.probe()
    fields = {"feed": name, "provider": system.provider, "answered": answered}
    return Answer(fields=fields, show=lambda screen: screen.lead(f"{system.provider} answers.", f"{answered}."))


def _state(told: dict[str, Any]) -> str:
    if told["state"] != "failed":
        return str(told["state"])
    if told["next"] is None:
        return f"failed: {told['detail']}"
    at = f"{told['next'][:10]} {clock(told['next'])[:8]} UTC"
    return f"failed {plural(told['failures'], 'time')}: {told['detail']}; next at {at}"
