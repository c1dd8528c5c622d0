"""Who sent a request of MCP over HTTP: the agent itself, or a registered host that passes on one of its agents.

An agent shows its certificate, signs the request or brings its own token (`web.callers`). A host signs the request,
and shows beside it, under its signature, the token of the agent that it speaks for (`Failwell-Agent`): both are needed,
so that a host acts for no agent that did not come to it, and no agent says on whose behalf it works. Persons call no
tools.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from failwell.client.async_wire import AsyncWire, prove
from failwell.core.errors import FailwellError, Refused
from failwell.gateway.http_sessions import Asking, Owner
from failwell.gateway.inbound import Headers
from failwell.gateway.on_behalf import AGENT
from failwell.web.callers import Callers

#: What shows who sent a request, beside a certificate: left out where it is looked at for somebody else.
_PROOFS = (b"authorization", b"signature", b"signature-input", b"content-digest", b"client-cert")


class OwnHost:
    """The host in whose name a gateway was started that believes its callers' headers, by its key in `config`."""

    def __init__(self, socket: Path, config: Path, name: str) -> None:
        self.name = name
        self._socket = socket
        self._config = config
        self._wire: AsyncWire | None = None
        self._making = asyncio.Lock()

    async def wire(self) -> AsyncWire:
        """A connection that the host is proved on, made anew where the node was away. Raises its errors."""
        async with self._making:
            if self._wire is None or self._wire.ended.done():
                wire = await AsyncWire.open(self._socket)
                try:
                    await prove(wire, self._config, "host", self.name)
                except FailwellError:
                    await wire.close()
                    raise
                self._wire = wire
            return self._wire

    async def close(self) -> None:
        if self._wire is not None:
            await self._wire.close()


class Found(NamedTuple):
    """`believed`: the host whose word this request's principal and request are; `passed_on`: it sent the request."""

    asking: Asking
    believed: str | None
    passed_on: bool


async def find(callers: Callers, scope: Mapping[str, Any], headers: Headers, body: bytes, own: OwnHost | None) -> Found:
    """Who asks. Refused (code "unauthenticated") where nobody shows that, or somebody who asks for no agent."""
    caller = await callers.of(scope, body)
    if caller.role == "agent":
        believed = None if own is None else own.name
        wire = None if own is None else await own.wire()
        return Found(Asking(Owner(caller.name, None), caller.wire, wire), believed, passed_on=False)
    if caller.role != "host":
        raise Refused(f"a {caller.role} calls no tools", hint="MCP is for agents: failwell gateway token --agent NAME")
    shown = headers.one(AGENT)
    if shown is None:
        raise Refused(
            f"host {caller.name} does not say for which agent it asks",
            hint=f"Pass on the agent's own token: {AGENT}: TOKEN (failwell gateway token --agent NAME)",
        )
    agent = await callers.of(_with_token(scope, shown), b"")
    owner = Owner(agent.name, caller.name)
    return Found(Asking(owner, agent.wire, caller.wire), caller.name, passed_on=True)


def _with_token(scope: Mapping[str, Any], token: str) -> dict[str, Any]:
    """The request as if it had brought that token and nothing else. Attack: the host's proof, taken for the agent's."""
    kept = [(name, value) for name, value in scope["headers"] if name not in _PROOFS]
    headers = [*kept, (b"authorization", b"Bearer " + token.encode("latin-1"))]
    return {**scope, "headers": headers, "extensions": {}}
