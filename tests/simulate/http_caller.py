"""A caller over HTTP that signs what it asks, on one connection: raw enough to be ill-mannered, quick enough for loads.

It is no client: it follows nothing, repeats nothing and believes what it is told.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from typing import Any, NamedTuple

from failwell.identity import http_signatures, keys
from failwell.identity.http_signatures import Stamp


class Told(NamedTuple):
    """An answer: its status, its header fields in lower case, and its body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class HttpCaller:
    """One connection to `address` (http://HOST:PORT), for one identity; None signs nothing."""

    def __init__(self, address: str, role: str = "agent", name: str = "", key: keys.SigningKey | None = None) -> None:
        self.address = address
        host, _, port = address.partition("://")[2].rpartition(":")
        self._place = host.strip("[]"), int(port)
        self._who = role, name
        self._key = key
        self.door = ""
        self.reader: asyncio.StreamReader
        self.writer: asyncio.StreamWriter | None = None

    def signed(self, method: str, path: str, body: bytes = b"") -> dict[str, str]:
        """The header fields that sign it."""
        if self._key is None:
            return {}
        nonce = f"{self.door}.{secrets.token_hex(16)}" if self.door else secrets.token_hex(16)
        stamp = Stamp(int(time.time()), nonce)
        return http_signatures.sign(self._key, *self._who, method, self.address + path, body, stamp)

    async def learn(self) -> HttpCaller:
        """Hear the door's name, which signatures made right after its start bear."""
        self.door = (await self.ask("GET", "/v1/health", signed=False)).headers["failwell-door"]
        return self

    async def ask(
        self, method: str, path: str, body: Any = None, *, signed: bool = True, headers: dict[str, str] | None = None
    ) -> Told:  # fmt: skip
        """Ask and read the answer."""
        data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        await self.send(method, path, data, {**(self.signed(method, path, data) if signed else {}), **(headers or {})})
        return await self.hear()

    async def send(self, method: str, path: str, data: bytes, headers: dict[str, str]) -> None:
        if self.writer is None or self.writer.is_closing():
            self.reader, self.writer = await asyncio.open_connection(*self._place)
        fields = {"Host": self.address.partition("://")[2], **headers}
        if method == "POST":
            fields = {"Content-Type": "application/json", "Content-Length": str(len(data)), **fields}
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
        self.writer.write("\r\n".join(lines).encode() + data)
        await self.writer.drain()

    async def hear(self) -> Told:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        pairs = (line.partition(":") for line in head[1:] if line)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        length = int(headers.get("content-length", 0))
        body = await self.reader.readexactly(length) if length else b""
        if headers.get("connection") == "close" and self.writer is not None:
            self.close()
        return Told(int(head[0].split(" ")[1]), headers, body)

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()
            self.writer = None
