"""A gateway over HTTP as one process: its callers, its sessions, its address, and their end together.

Ends what it holds before it stops listening, so that clients still hear why their calls were stopped. When it is killed
its connections to the node break, and the node ends what ran for them.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from starlette.types import Scope

from failwell.gateway.http import McpOverHttp
from failwell.gateway.http_callers import OwnHost
from failwell.gateway.http_sessions import Bounds, Sessions
from failwell.gateway.node_backend import NodeBackend
from failwell.gateway.origins import Names
from failwell.web.callers import Callers
from failwell.web.connection import Limits
from failwell.web.lanes import Lane
from failwell.web.serving import Tls, serve


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """What a gateway serves: the tool servers (none: all of each agent's contract), under which further names, and in
    whose name it believes headers. `socket` and `keys` are the workspace's, `config` whose keys lie there.
    """

    socket: Path
    keys: Path
    config: Path
    servers: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    host: str | None = None
    tls: Tls | None = None
    allow_remote: bool = False


async def serve_http(
    gateway: Gateway, listen: str, bounds: Bounds, *, ready: Callable[[str], None], note: Callable[[str], None],
    until: asyncio.Event,
) -> None:  # fmt: skip
    """Serve on `listen` until `until` is set; `ready` is called with the address. InputError, Unreachable."""
    scheme = "http" if gateway.tls is None else "https"
    callers = Callers(gateway.socket, gateway.keys, (), tokens=True, name="gateway")
    own = None if gateway.host is None else OwnHost(gateway.socket, gateway.config, gateway.host)
    sessions = Sessions(
        lambda line, agent, run: NodeBackend(line, agent, run, gateway.servers), bounds,
        single=len(gateway.servers) == 1, note=note,
    )  # fmt: skip
    app = McpOverHttp(callers, sessions, Names(frozenset()), bounds, own)

    def listening(address: str) -> None:
        app.names = Names.of(address, gateway.names)
        callers.reached_as(f"{scheme}://{host}" for host in app.names.hosts)
        ready(f"{scheme}://{address}")

    if own is not None:
        await own.wire()  # a host that is not registered, or whose key is not here, is said so at once
    closing = asyncio.ensure_future(_close(sessions, until))
    watching = asyncio.ensure_future(sessions.watch())
    limits = Limits(connections=4096, of_one=2048, lasting=2048)
    try:
        await serve(
            app, listen, gateway.tls, limits, listening, lane=_lane, until=until, allow_remote=gateway.allow_remote
        )
    finally:
        watching.cancel()
        closing.cancel()
        await asyncio.gather(watching, closing, return_exceptions=True)
        await sessions.close()
        if own is not None:
            await own.close()
        await callers.close()


async def _close(sessions: Sessions, until: asyncio.Event) -> None:
    await until.wait()
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.shield(sessions.close())


def _lane(scope: Scope) -> Lane:
    """Whatever calls a tool, or listens, takes long by its nature; the end of a session is never in its way."""
    return Lane.STOP if scope["method"] == "DELETE" else Lane.LASTING
