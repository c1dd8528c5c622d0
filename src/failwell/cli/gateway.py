"""`gateway`: what an agent's client starts in place of its tool servers.

Speaks the Model Context Protocol on standard input and output; everything meant for people goes to standard error.
Its sub-commands stand in modules of their own, named in PARTS.
"""

from __future__ import annotations

import asyncio
import importlib
from typing import TYPE_CHECKING, Annotated, Any

import typer

from failwell.cli import gateway_http, options, session
from failwell.cli.screen import door, tell
from failwell.core.errors import InputError, NotFound

if TYPE_CHECKING:
    from failwell.gateway.connecting import Work
    from failwell.node.workspace import Workspace

#: Modules with sub-commands of `gateway`; each has `register(app)`.
PARTS: tuple[str, ...] = (
    "failwell.cli.gateway_import", "failwell.cli.gateway_pins", "failwell.cli.gateway_token",
)  # fmt: skip


def register(app: typer.Typer) -> None:
    """Make a group of `app`: without a sub-command it serves."""
    app.callback(invoke_without_command=True)(gateway)
    for part in PARTS:
        importlib.import_module(part).register(app)


def gateway(
    context: typer.Context,
    agent: Annotated[
        str | None, typer.Option(metavar="NAME", help="The agent whose client this serves: short name or SPIFFE id.")
    ] = None,
    contract: Annotated[
        str | None, typer.Option(metavar="NAME", help="The agent's contract, in place of its name.")
    ] = None,
    server: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", show_default=False,
            help="A tool server of failwell.toml; once for each. Default: all that the contract names. With one the "
            "tools keep its own names, with several they are SERVER__TOOL.",
        ),
    ] = None,
    run: Annotated[int | None, typer.Option(metavar="N", min=1, help="The open run to work in.")] = None,
    principal: Annotated[str | None, typer.Option(metavar="WHO", help="On whose behalf, in a run of its own.")] = None,
    request: Annotated[str | None, typer.Option(metavar="TEXT", help="What was asked for.")] = None,
    host: Annotated[
        str | None, typer.Option(metavar="NAME", help="The registered host that opens the run with its own key.")
    ] = None,
    http: gateway_http.Listen = None, trust_headers: gateway_http.TrustHeaders = False,
    name: gateway_http.Names = None, allow_remote: gateway_http.AllowRemote = False,
    certificate: gateway_http.Certificate = None, key: gateway_http.Key = None,
    workspace: options.Workspace = None, as_json: options.AsJson = False,
) -> None:  # fmt: skip
    """Stand between agents' clients and their tool servers, over standard input and output or over HTTP.

    A client starts this as it would start a tool server, or is given the address. Every call is judged by the agent's
    contract, recorded, and forwarded to a server that the node holds; a refused one says why and what to do.

    \b
    Examples:
      {"command": "failwell", "args": ["gateway", "--agent", "desk", "--server", "files", "--workspace", "/srv/shop"]}
      failwell gateway --contract desk --run 17
      failwell gateway --http 127.0.0.1:7342         # clients: http://127.0.0.1:7342/mcp, failwell gateway token
    """
    if context.invoked_subcommand is not None:
        return
    if http is not None:
        gateway_http.serve(
            listen=http, servers=tuple(server or ()), host=host, trust_headers=trust_headers, names=tuple(name or ()),
            allow_remote=allow_remote, certificate=certificate, key=key, workspace=workspace, as_json=as_json,
            for_one={"--agent": agent, "--contract": contract, "--run": run, "--principal": principal,
                     "--request": request},
        )  # fmt: skip
        return
    if trust_headers or name or allow_remote or certificate or key:
        raise InputError("--trust-headers, --name, --allow-remote, --certificate and --key go with --http ADDRESS:PORT")
    _serve(
        agent=agent, contract=contract, servers=tuple(server or ()), run=run, principal=principal, request=request,
        host=host, workspace=workspace,
    )  # fmt: skip


@door("gateway")
def _serve(*, workspace: str | None, agent: str | None, contract: str | None, **asked: Any) -> None:
    from failwell.gateway.connecting import Work

    if asked["run"] is not None and any(asked[name] is not None for name in ("principal", "request", "host")):
        raise InputError("--run names a run that is open: principal, request and host are its own already")
    if (agent is None) == (contract is None):
        raise InputError("whose client is this?", hint="Name either --agent NAME or --contract NAME.")
    if len(set(asked["servers"])) < len(asked["servers"]):
        raise InputError("--server names the same server twice", hint="Name each once.")
    place = session.open_workspace(workspace)
    work = Work(agent=agent or agent_of(place, str(contract)), **asked)
    asyncio.run(_carry(place, work))


async def _carry(place: Workspace, work: Work) -> None:
    from failwell.gateway.connecting import Connecting
    from failwell.gateway.reopening import Reopening
    from failwell.gateway.stdio import serve

    connecting = Connecting(place.socket, place.path, session.config_directory(), work)
    try:
        await serve(Reopening(connecting.connect, tell), single=len(work.servers) == 1, note=tell)
    finally:
        await connecting.close()


def agent_of(place: Workspace, contract: str) -> str:
    """The agent that a contract is adopted for; NotFound, InputError where that is not one."""
    with session.reach_node(place) as wire:
        found = [
            full
            for full, row in wire.call("ask", about="agents").items()
            if row["contract"] is not None and wire.call("ask", about="contract", key=full)["id"] == contract
        ]
    if len(found) == 1:
        return str(found[0])
    if found:
        raise InputError(f"several agents are bound by a contract {contract}", hint=f"--agent, one of {found}")
    raise NotFound(f"no contract {contract} is adopted here", hint="failwell agent list shows who has one.")
