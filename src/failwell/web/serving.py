"""An ASGI application on an address, within bounds: uvicorn's protocol on a listener of our own.

Connections are counted from the moment they are accepted, so that an endless TLS handshake takes a place like anything
else does; when all are taken, one makes room whose request has not come whole. It ends gracefully. It authenticates
nobody: certificates are asked for as `Tls` says, and judged by who serves.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import resource
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate

from starlette.types import ASGIApp
from uvicorn.config import Config
from uvicorn.server import ServerState

from failwell.core.errors import InputError, Unreachable
from failwell.node.reached import parse_listen
from failwell.web.connection import Connection, Limits
from failwell.web.lanes import Bounded, LaneOf, prompt
from failwell.web.turns import Turns

__all__ = ["Limits", "Tls", "serve"]

#: Files that are not connections: the node's sockets, logs, modules that are loaded late.
_OTHER_FILES = 128
_BACKLOG = 1024
#: Connections that are accepted in one turn of the loop.
ACCEPTED_A_TURN = 8


@dataclass(frozen=True, slots=True)
class Tls:
    """Whose word this door is: a server's context, which may ask for its callers' certificates."""

    context: ssl.SSLContext


async def serve(
    app: ASGIApp, listen: str, tls: Tls | None, limits: Limits, ready: Callable[[str], None], *,
    lane: LaneOf = prompt, first: tuple[bytes, ...] = (), until: asyncio.Event | None = None,
    allow_remote: bool = False,
) -> None:  # fmt: skip
    """Serve `app` on `listen` (ADDRESS:PORT, port 0 for any) until `until` is set, then end within `limits.grace_s`.

    What begins as `first` says is taken up before all else. `ready` is called with the address that is listened on.
    Raises InputError for an address that is not of this machine's loopback unless `allow_remote`, Unreachable where it
    cannot be listened on.
    """
    await _Door(app, listen, tls, limits, lane, first, allow_remote=allow_remote).run(ready, until or asyncio.Event())


class _Door:
    def __init__(
        self, app: ASGIApp, listen: str, tls: Tls | None, limits: Limits, lane: LaneOf, first: tuple[bytes, ...], *,
        allow_remote: bool,
    ) -> None:  # fmt: skip
        self._listener = _listener(*parse_listen(listen, allow_remote=allow_remote))
        self._tls = tls
        self._limits = limits
        self._turns = Turns(asyncio.get_running_loop(), first)
        self._most = min(limits.connections, _room())
        self._ending = asyncio.Event()
        self._state = ServerState()
        self._config = Config(
            Bounded(app, limits, lane), http=Connection, ws="none", lifespan="off", log_config=None, access_log=False,
            server_header=False, proxy_headers=False, interface="asgi3", timeout_keep_alive=limits.keep_alive_s,
        )  # fmt: skip
        self._config.load()
        # What strangers send is answered, not logged: a line for each would fill the disk. Faults are (`Bounded`).
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        #: Connections by what they came from, those in a handshake too; each with that in the order of their coming.
        self._from: Counter[str] = Counter()
        self._open: dict[Connection, str] = {}
        self._arriving: dict[asyncio.Task[None], str] = {}

    async def run(self, ready: Callable[[str], None], until: asyncio.Event) -> None:
        self._loop = asyncio.get_running_loop()
        accepting = asyncio.ensure_future(self._accept())
        dating = asyncio.ensure_future(self._date())
        try:
            host, port = self._listener.getsockname()[:2]
            ready(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
            await until.wait()
        finally:
            accepting.cancel()
            self._listener.close()
            await self._end()
            dating.cancel()
            await asyncio.gather(accepting, dating, return_exceptions=True)

    async def _date(self) -> None:
        while True:
            self._state.default_headers = [(b"date", formatdate(usegmt=True).encode())]
            await asyncio.sleep(1)

    # -- connections -------------------------------------------------------------------------------------------

    async def _accept(self) -> None:
        taken = 0
        while True:
            try:
                accepted, address = await self._loop.sock_accept(self._listener)
            except OSError:
                await asyncio.sleep(0.1)  # no more descriptors: those that are open may close meanwhile
                continue
            source = str(address[0])
            if not self._room_for(source):
                accepted.close()
                continue
            self._from[source] += 1
            task = asyncio.ensure_future(self._meet(accepted, source))
            self._arriving[task] = source
            task.add_done_callback(lambda done: self._arriving.pop(done, None))
            taken += 1
            if taken % ACCEPTED_A_TURN == 0:
                await asyncio.sleep(0)  # a crowd that comes at once keeps nobody waiting who is there already

    def _room_for(self, source: str) -> bool:
        """Whether one more is taken, where need be in place of one that has not asked anything whole."""
        if self._from[source] >= self._limits.of_one and not ipaddress.ip_address(source).is_loopback:
            return False
        return self._from.total() < self._most or self._make_room()

    def _make_room(self) -> bool:
        """Attack: requests and handshakes that are begun and not ended, on all connections that there may be, so that
        a stop finds none. The oldest goes, of whoever has the most.
        """
        unasked = [(self._from[source], each) for each, source in self._open.items() if not each.worked_on]
        arriving = [(self._from[source], each) for each, source in self._arriving.items()]
        candidates: list[tuple[int, Connection | asyncio.Task[None]]] = [*unasked, *arriving]
        if not candidates:
            return False
        _, chosen = max(candidates, key=lambda each: each[0])
        if isinstance(chosen, asyncio.Task):
            del self._arriving[chosen]
            chosen.cancel()
        else:
            del self._open[chosen]
            chosen.end()
        return True

    async def _meet(self, accepted: socket.socket, source: str) -> None:
        """Make it a connection; with TLS that takes a handshake, which has the time of a header."""
        connection = Connection(self._config, self._state, self._limits, self._ending, self._turns, self._loop)
        connection.opened = lambda: self._open.setdefault(connection, source)
        connection.closed = lambda: self._gone(connection, source)
        context = None if self._tls is None else self._tls.context
        handshake_s = None if context is None else self._limits.header_s
        shutdown_s = None if context is None else self._limits.grace_s
        try:
            accepted.setblocking(False)
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await self._loop.connect_accepted_socket(
                lambda: connection, accepted, ssl=context, ssl_handshake_timeout=handshake_s,
                ssl_shutdown_timeout=shutdown_s,
            )  # fmt: skip
        except (OSError, asyncio.CancelledError):
            if not connection.met:  # else it is the connection's own, which closes it
                self._forget(source)
                accepted.close()

    def _gone(self, connection: Connection, source: str) -> None:
        self._open.pop(connection, None)
        self._forget(source)

    def _forget(self, source: str) -> None:
        self._from[source] -= 1
        if self._from[source] <= 0:
            del self._from[source]

    # -- the end -----------------------------------------------------------------------------------------------

    async def _end(self) -> None:
        """What is asked is answered, within the grace; streams are told to end; then all is cut."""
        self._ending.set()
        for task in tuple(self._arriving):
            task.cancel()
        for connection in tuple(self._open):
            connection.shutdown()
        until_s = self._loop.time() + self._limits.grace_s
        while (self._open or self._state.tasks) and self._loop.time() < until_s:
            await asyncio.sleep(0.02)
        left = tuple(self._state.tasks)
        for task in left:
            task.cancel()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.gather(*left, return_exceptions=True), 1.0)
        for connection in tuple(self._open):
            connection.end()
        await asyncio.sleep(0)


def _listener(host: str, port: int) -> socket.socket:
    found = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host, port))
        found.listen(_BACKLOG)
        found.setblocking(False)
    except OSError as error:
        found.close()
        raise Unreachable(
            f"{host}:{port} cannot be listened on: {error.strerror}",
            hint="Another process may listen there: choose another port, or 0 for any that is free.",
        ) from error
    return found


def _room() -> int:
    """How many connections this process has descriptors for, once it has taken all that it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
    if soft == resource.RLIM_INFINITY:
        return 1_000_000
    if soft <= 2 * _OTHER_FILES:
        raise InputError(f"this process may open {soft} files, which is no room for callers", hint="ulimit -n 4096")
    return soft - _OTHER_FILES
