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
from failwell.node.reached import HttpSettings
from failwell.node.workspace import Workspace
from failwell.web.callers import Callers
from failwell.web.connection import Limits
from failwell.web.lanes import Lane
from failwell.web.serving import Tls, serve
from failwell.web.tls import Secured


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """What a gateway serves: the tool servers (none: all of each agent's contract), under which further names, and in
    whose name it believes headers. In `config` its user's keys lie; `certificate` is this door's own, with its key.
    """

    workspace: Workspace
    config: Path
    servers: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    host: str | None = None
    certificate: tuple[Path, Path] | None = None
    allow_remote: bool = False


async def serve_http(
    gateway: Gateway, listen: str, bounds: Bounds, *, ready: Callable[[str], None], note: Callable[[str], None],
    until: asyncio.Event,
) -> None:  # fmt: skip
    """Serve on `listen` until `until` is set; `ready` is called with the address. InputError, Unreachable."""
    place = gateway.workspace
    secured = await Secured.open(place, _http(gateway, listen))
    tls = None if secured is None else Tls(secured.context)
    scheme = "http" if tls is None else "https"
    callers = Callers(place.socket, place.keys, (), tokens=True, name="gateway")
    own = None if gateway.host is None else OwnHost(place.socket, gateway.config, gateway.host)
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
    keeping = [asyncio.ensure_future(sessions.watch())]
    if secured is not None:
        keeping.append(asyncio.ensure_future(secured.keep()))
    limits = Limits(connections=4096, of_one=2048, lasting=2048)
    try:
        await serve(app, listen, tls, limits, listening, lane=_lane, until=until, allow_remote=gateway.allow_remote)
    finally:
        for task in (*keeping, closing):
            task.cancel()
        await asyncio.gather(*keeping, closing, return_exceptions=True)
        if secured is not None:
            await secured.close()
        await sessions.close()
        if own is not None:
            await own.close()
        await callers.close()


def _http(gateway: Gateway, listen: str) -> HttpSettings:
    """The address as settings would say it; agents' certificates are taken at it as at the other door over HTTP."""
    certificate, key = gateway.certificate or (None, None)
    return HttpSettings(
        listen=listen, allow_remote=gateway.allow_remote, certificate=None if certificate is None else str(certificate),
        key=None if key is None else str(key),
    )  # fmt: skip


async def _close(sessions: Sessions, until: asyncio.Event) -> None:
    await until.wait()
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.shield(sessions.close())


def _lane(scope: Scope) -> Lane:
    """Whatever calls a tool, or listens, takes long by its nature; the end of a session is never in its way."""
    return Lane.STOP if scope["method"] == "DELETE" else Lane.LASTING
