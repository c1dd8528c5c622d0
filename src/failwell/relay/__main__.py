"""`python -m failwell.relay URL`: a tool server that is elsewhere, as if its process were here.

Lines of JSON-RPC on standard input go to URL by streamable HTTP, its answers come as lines on standard output. Ends
when its input does, and when the server ends the session. Secrets are headers, each read from the environment variable
of its own name and never from an argument, where every user of the machine could read it.

Exit codes: 0 the input ended, 1 the session is gone, 2 usage.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from failwell.core.errors import FailwellError, InputError
from failwell.relay.carrying import Carrier
from failwell.relay.elsewhere import Elsewhere

FINE, GONE, USAGE = 0, 1, 2
#: The longest message in either direction: the largest output_cap_bytes there is, and an envelope.
MAX_BYTES: Final = 67_108_864 + 65_536
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")
#: What a connection and the protocol say themselves.
_OURS: Final = frozenset({
    "host", "connection", "content-length", "content-type", "content-encoding", "transfer-encoding", "te", "trailer",
    "upgrade", "accept", "accept-encoding", "expect", "last-event-id",
})  # fmt: skip


def headers_from(names: Sequence[str], environ: Mapping[str, str]) -> dict[str, str]:
    """Return the headers to send; InputError for one that nobody may set or that the environment does not hold."""
    found: dict[str, str] = {}
    for name in names:
        if not _HEADER_NAME.fullmatch(name) or name.lower() in _OURS or name.lower().startswith("mcp-"):
            raise InputError(f"{name!r} is no header that can be set", hint="Name it like Authorization or X-Api-Key.")
        value = environ.get(name)
        if not value:
            raise InputError(f"there is no value for the header {name} in the environment variable of that name")
        if not value.isascii() or not value.isprintable():
            raise InputError(f"the value of the header {name} holds more than printable ASCII characters")
        found[name] = value
    return found


async def run(server: Elsewhere, reading: int, writing: int) -> int:
    """Carry messages until the input ends or the session does; the exit code."""
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader(limit=MAX_BYTES)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), os.fdopen(reading, "rb", buffering=0))
    transport, protocol = await loop.connect_write_pipe(
        asyncio.streams.FlowControlMixin, os.fdopen(writing, "wb", buffering=0)
    )
    out = asyncio.StreamWriter(transport, protocol, None, loop)
    ended: asyncio.Future[str | None] = loop.create_future()

    async def write(line: bytes) -> None:
        out.write(line + b"\n")
        await out.drain()

    def over(why: str | None) -> None:
        if not ended.done():
            ended.set_result(why)

    carrier = Carrier(server, write, over, MAX_BYTES)
    carrying = asyncio.create_task(_carry(lines, carrier, over))
    why = await ended
    carrying.cancel()
    await carrier.close()
    with contextlib.suppress(OSError):
        await out.drain()
    await server.leave()
    transport.close()
    if why is not None:
        sys.stderr.write(f"failwell.relay: {why}\n")
        return GONE
    return FINE


async def _carry(lines: asyncio.StreamReader, carrier: Carrier, over: Callable[[str | None], None]) -> None:
    try:
        while line := await lines.readline():
            await carrier.take(line)
    except (ValueError, InputError) as error:
        over(f"what it was given is no message: {error}")
    over(None)


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run the relay on the standard streams; its exit code."""
    options = _parser().parse_args(arguments)

    async def relayed() -> int:
        server = Elsewhere(
            options.url, headers=headers_from(options.header, environ), allow_remote=options.allow_remote,
            ca_file=options.ca_file, max_bytes=MAX_BYTES,
        )  # fmt: skip
        return await run(server, 0, 1)

    try:
        return asyncio.run(relayed())
    except (FailwellError, OSError) as error:
        hint = getattr(error, "hint", None)
        sys.stderr.write(f"failwell.relay: {error}{'' if hint is None else f' {hint}'}\n")
        return USAGE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m failwell.relay", description=__doc__)
    parser.add_argument("url", help="where the server listens (streamable HTTP)")
    parser.add_argument("--allow-remote", action="store_true", help="another machine may be asked, by https only")
    parser.add_argument("--ca-file", help="who may have issued the server's certificate; default: the system's list")
    parser.add_argument(
        "--header", action="append", default=[], metavar="NAME",
        help="send this header with the value of the environment variable of the same name (repeatable)",
    )  # fmt: skip
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
