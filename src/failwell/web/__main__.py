"""`python -m failwell.web --workspace DIR`: the HTTP door's process, as the node starts, watches and ends it.

It asks its node for the settings in force, prints one line with its address when it can be asked, and ends when its
standard input does: a node that is gone has no door.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import signal
import sys
from pathlib import Path

from failwell.core.errors import FailwellError, InputError
from failwell.node.reached import HttpSettings
from failwell.node.settings import settings_from_text
from failwell.node.workspace import Workspace
from failwell.web.app import FIRST, lane, make_app
from failwell.web.callers import Callers
from failwell.web.connection import Limits
from failwell.web.door import Door
from failwell.web.node_line import NodeLine
from failwell.web.serving import Tls, serve
from failwell.web.tls import Secured


async def run(workspace: Workspace, listen: str | None) -> None:
    """Serve until told to end. Raises FailwellError where it cannot begin."""
    http = await _settings(workspace, listen)
    until = asyncio.Event()
    await _end_with_node(until)
    secured = await Secured.open(workspace, http)
    callers = Callers(workspace.socket, workspace.keys, http.addresses)
    door = Door(workspace, http, callers)
    tls = None if secured is None else Tls(secured.context)
    scheme = "http" if tls is None else "https"

    def ready(address: str) -> None:
        host, _, port = address.rpartition(":")
        names = (address, f"localhost:{port}") if host in ("127.0.0.1", "[::1]") else (address,)
        callers.reached_as(f"{scheme}://{name}" for name in names)
        gc.collect()
        gc.freeze()  # what is loaded stays: looking through it for garbage would hold up what is asked just then
        sys.stdout.write(f"{scheme}://{address}\n")
        sys.stdout.flush()

    tasks = [asyncio.ensure_future(door.persons.learn())]
    if secured is not None:
        tasks.append(asyncio.ensure_future(secured.keep()))
    try:
        await serve(
            make_app(door), http.listen, tls, _limits(http), ready, lane=lane, first=FIRST, until=until,
            allow_remote=http.allow_remote,
        )  # fmt: skip
    finally:
        for task in tasks:
            task.cancel()
        if secured is not None:
            await secured.close()
        await door.close()


async def _settings(workspace: Workspace, listen: str | None) -> HttpSettings:
    line = NodeLine(workspace.socket)
    try:
        found = settings_from_text((await line.ask("settings"))["text"]).http or HttpSettings()
    finally:
        await line.close()
    if listen is None:
        return found
    import msgspec

    given = msgspec.structs.replace(found, listen=listen)
    given.check()
    return given


async def _end_with_node(until: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, until.set)

    class Ending(asyncio.Protocol):
        def connection_lost(self, exc: Exception | None) -> None:
            until.set()

    await loop.connect_read_pipe(Ending, sys.stdin)


def _limits(http: HttpSettings) -> Limits:
    return Limits(
        connections=http.connections, in_flight=http.in_flight, queued=http.queued, body_bytes=http.body_bytes
    )


def main() -> int:
    """Command line of the door's process."""
    parser = argparse.ArgumentParser(prog="python -m failwell.web", description=__doc__)
    parser.add_argument("--workspace", required=True, type=Path)
    parser.add_argument("--listen", default=None)
    given = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s http %(levelname)s %(message)s")
    try:
        asyncio.run(run(Workspace(given.workspace), given.listen))
    except FailwellError as error:
        sys.stderr.write(f"http: {error.message}\n" + (f"  {error.hint}\n" if error.hint else ""))
        return 2 if isinstance(error, InputError) else 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
