"""`permit keys`: what a tool server is given, so that it can check permits by itself."""

from __future__ import annotations

import json

import typer

from failwell.cli import options, session
from failwell.cli.screen import Answer, Screen, door

app = typer.Typer(help="Permits for tool servers: the keys that they are checked with.")


@app.callback()
def permit() -> None:
    """Permits for tool servers: the keys that they are checked with."""


@app.command("keys")
@door("permit-keys")
def keys(workspace: options.Workspace = None, as_json: options.AsJson = False) -> Answer:
    """Print the public keys that permits are checked with, as a set of JSON web keys (RFC 7517).

    Hand them to every tool server; they are no secret, but whoever can exchange them on the way can sign permits that
    the server takes. The key is made when it is first needed, and the record says when it changes.

    \b
    Example:
      failwell permit keys > permits.jwks
    """
    place = session.open_workspace(workspace)
    with session.reach_node(place) as wire:
        told = wire.call("ask", about="permit-keys", key=None, timeout_s=20)

    def show(screen: Screen) -> None:
        screen.console.file.write(told["jwks"])
        notes = Screen(to_stderr=True)
        notes.say(f"issuer: {told['issuer']}")
        for tool, audience in told["audiences"].items():
            notes.say(f"audience: {audience} ({tool})")
        notes.say(f"A permit is good for {told['lifetime_s']} s. How a server checks it: docs/permits.md")

    return Answer(fields={**told, "jwks": json.loads(told["jwks"])}, show=show)
