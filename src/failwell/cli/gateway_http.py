"""`gateway --http ADDRESS:PORT`: one process that speaks MCP with any number of agents over HTTP."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from failwell.cli import session
from failwell.cli.screen import door, tell
from failwell.core.errors import InputError

if TYPE_CHECKING:
    from failwell.gateway.http_serving import Gateway

Listen = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS:PORT", show_default=False,
        help="Serve any number of agents over HTTP (port 0: any that is free). Each shows who it is by itself.",
    ),
]  # fmt: skip
TrustHeaders = Annotated[
    bool, typer.Option("--trust-headers", help="With --http and --host: believe Failwell-Principal and -Request.")
]
Names = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME[:PORT]", show_default=False,
        help="With --http: how callers name it, where not by its address; once for each.",
    ),
]  # fmt: skip
AllowRemote = Annotated[bool, typer.Option("--allow-remote", help="With --http: let other machines in, over TLS.")]
Certificate = Annotated[
    str | None, typer.Option(metavar="FILE", help="With --http: the certificate of this door (PEM).")
]
Key = Annotated[str | None, typer.Option(metavar="FILE", help="The certificate's key (PEM).")]


@door("gateway")
def serve(
    *, listen: str, servers: tuple[str, ...], host: str | None, trust_headers: bool, names: tuple[str, ...],
    allow_remote: bool, certificate: str | None, key: str | None, workspace: str | None, as_json: bool,
    for_one: dict[str, Any],
) -> None:  # fmt: skip
    """Serve until a signal says to end. `for_one`: options that name one client's work, which have no place here."""
    given = [option for option, value in for_one.items() if value is not None]
    if given:
        raise InputError(
            f"{given[0]} is one client's; over HTTP each caller shows who it is, and its host on whose behalf",
            hint="Headers Failwell-Run, Failwell-Principal, Failwell-Request: docs/gateway.md",
        )
    if (host is not None) != trust_headers:
        raise InputError(
            "--host and --trust-headers go together: that host's word is then what callers say in headers",
            hint="Only where nobody but that host's own proxy can reach this address.",
        )
    from failwell.gateway.http_serving import Gateway

    place = session.open_workspace(workspace)
    with session.reach_node(place):
        pass  # a node is started where none runs; without one nobody could show who they are
    made = Gateway(
        workspace=place, config=session.config_directory(), servers=servers, names=names, host=host,
        certificate=_certificate(certificate, key, allow_remote=allow_remote), allow_remote=allow_remote,
    )  # fmt: skip
    asyncio.run(_serve(made, listen, as_json=as_json))


async def _serve(gateway: Gateway, listen: str, *, as_json: bool) -> None:
    from failwell.gateway.http import PATH
    from failwell.gateway.http_serving import serve_http
    from failwell.gateway.http_sessions import Bounds

    until = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, until.set)

    def ready(address: str) -> None:
        if as_json:
            told = {"schema": "failwell/gateway/1", "url": f"{address}{PATH}", "pid": os.getpid(), "state": "ready"}
            print(json.dumps(told), flush=True)
        else:
            print(f"{address}{PATH}", flush=True)
            tell("Ctrl-C ends it; what runs is stopped first. A client's token: failwell gateway token --agent NAME")

    await serve_http(gateway, listen, Bounds(), ready=ready, note=tell, until=until)


def _certificate(certificate: str | None, key: str | None, *, allow_remote: bool) -> tuple[Path, Path] | None:
    """The door's certificate and its key; None without one, which loopback needs not have."""
    if (certificate is None) != (key is None):
        raise InputError("--certificate and --key go together")
    if certificate is not None and key is not None:
        return Path(certificate).absolute(), Path(key).absolute()
    if allow_remote:
        # Attack: what agents send and are answered, tokens among it, is read on its way.
        raise InputError("callers on other machines are answered over TLS only", hint="--certificate and --key")
    return None
