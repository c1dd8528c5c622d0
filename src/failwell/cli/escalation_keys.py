"""`escalation keys`: what the receivers of webhooks are given, so that they can check them by themselves."""

from __future__ import annotations

from typing import Any

import typer

from failwell.cli import options, session
from failwell.cli.screen import Answer, Screen, door


def register(app: typer.Typer) -> None:
    """Add the command to `escalation`."""
    app.command("keys")(keys)


@door("escalation-keys")
def keys(workspace: options.Workspace = None, as_json: options.AsJson = False) -> Answer:
    """Print the public key that webhooks are signed with (Standard Webhooks, Ed25519).

    Hand it to every receiver: it is no secret, but whoever can exchange it on the way can page people in your name. A
    receiver checks the signature that begins with v1a, refuses timestamps older than five minutes, and takes each
    webhook-id once.

    \b
    Example:
      failwell escalation keys
    """
    place = session.open_workspace(workspace)
    with session.reach_node(place) as wire:
        told: dict[str, Any] = wire.call("ask", about="webhook-keys", key=None)

    def show(screen: Screen) -> None:
        screen.console.file.write(f"{told['key']}\n")
        notes = Screen(to_stderr=True)
        for name, url in told["webhooks"].items():
            notes.say(f"{name}: {url}")
        if not told["webhooks"]:
            notes.say('No webhook is declared. [channels.NAME] in failwell.toml, with kind = "webhook" and its url.')

    return Answer(fields=told, show=show)
