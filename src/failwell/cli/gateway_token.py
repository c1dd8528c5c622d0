"""`gateway token`: what a client that can only send a header shows for its agent."""

from __future__ import annotations

from typing import Annotated

import typer

from failwell.cli import options, session
from failwell.cli.screen import Answer, Screen, clock, door


def register(app: typer.Typer) -> None:
    """Put the command into `gateway`."""
    app.command("token")(token)


@door("gateway-token")
def token(
    agent: Annotated[str, typer.Option(metavar="NAME", help="Its short name or full SPIFFE id; its key must be here.")],
    hours: Annotated[float, typer.Option(metavar="N", help="How long it is good for: at most 24 hours.")] = 8.0,
    workspace: options.Workspace = None, as_json: options.AsJson = False,
) -> Answer:  # fmt: skip
    """Make a token by which an agent's MCP client is known to a gateway over HTTP.

    It is signed with the agent's own key, good for this workspace alone, and printed once: whoever has it is taken for
    the agent until it lapses. `failwell agent revoke` and `agent rekey` void it at once. Where a client can do more,
    let it show a certificate or sign its requests.

    \b
    Example:
      export FAILWELL_TOKEN=$(failwell gateway token --agent desk --hours 8)     # Authorization: Bearer $FAILWELL_TOKEN
    """
    import secrets
    import time

    from failwell.client import proofs
    from failwell.core.instants import format_at
    from failwell.identity import agents
    from failwell.identity.own_tokens import make_token

    place = session.open_workspace(workspace)
    config = session.config_directory()
    with session.reach_node(place) as wire:
        origin = str(wire.greeting["origin"])
        full = proofs.prove(wire, config, "agent", agent).full
    key = agents.load_agent_key(config, origin, full)
    issued_s = int(time.time())
    made = make_token(key, full, origin, issued_s=issued_s, hours=hours, jti=secrets.token_hex(16))
    expires = format_at((issued_s + int(hours * 3600)) * 1_000_000)

    def show(screen: Screen) -> None:
        screen.console.file.write(made + "\n")
        Screen(to_stderr=True).say(f"{full} is known by this until {clock(expires)}: Authorization: Bearer TOKEN")

    return Answer(fields={"agent": full, "token": made, "expires": expires}, show=show)
