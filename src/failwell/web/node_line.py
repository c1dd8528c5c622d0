"""A connection to the node that proves nobody: for questions that anybody at this door may ask, and for orders.

It is made when it is needed, and anew when the node was away.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from failwell.client.async_wire import AsyncWire

#: How long the node may take for what it answers by itself.
ANSWER_S = 10.0


class NodeLine:
    """Asks the node at `path`; raises its errors, Unreachable where it does not answer."""

    def __init__(self, path: Path, timeout_s: float = ANSWER_S) -> None:
        self._path = path
        self._timeout_s = timeout_s
        self._wire: AsyncWire | None = None
        self._making = asyncio.Lock()

    async def wire(self) -> AsyncWire:
        """The connection as it is now."""
        async with self._making:
            if self._wire is None or self._wire.ended.done():
                self._wire = await AsyncWire.open(self._path, min(self._timeout_s, 5.0))
            return self._wire

    async def call(self, do: str, **fields: Any) -> Any:
        wire = await self.wire()
        return await wire.call(do, timeout_s=self._timeout_s, **fields)

    async def ask(self, about: str, key: Any = None) -> Any:
        """The answer to a question."""
        return await self.call("ask", about=about, key=key)

    async def close(self) -> None:
        if self._wire is not None:
            await self._wire.close()
