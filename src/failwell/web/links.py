"""A door's connections to its node: one for each caller that it passed on, kept while it is of use, bounded.

A connection is closed when nobody has used it for a while, never while something is asked, executed or listened to
over it; when all are in use, further callers are told to come later. When the node takes the caller's identity away it
says so, and the connection is over at once. Who may be passed on the node decides (`node.passed`).
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from failwell.client.async_wire import AsyncWire
from failwell.core.errors import FailwellError, Refused, Unhealthy, Unreachable
from failwell.identity import agents, door_key

#: After how long without use a connection is closed; one over which something was begun, when its caller is forgotten.
IDLE_S = 300.0
FORGOTTEN_S = 24 * 3600.0

KEY_HINT = "Whoever runs it finds the reason in the door's log."

Push = Callable[[dict[str, Any]], None]
_LOG = logging.getLogger("failwell.web")


class Link(AsyncWire):
    """A connection as the callers' requests use it. `listeners` are told what the node pushes."""

    busy = 0
    used_s = 0.0
    #: The caller it stands for: (role, name); None for one that is ready for the next.
    stands_for: tuple[str, str] | None = None

    def __init__(self, link: Any) -> None:
        super().__init__(link)
        self.listeners: set[Push] = set()
        self.begun: set[int] = set()
        self.sessions: set[str] = set()
        self.used_s = time.monotonic()
        self.on_push = self._told
        #: Called when the node has others judge who its callers are.
        self.doubted: Callable[[], None] = lambda: None

    def _told(self, message: dict[str, Any]) -> None:
        if message.get("push") == "lost":
            self.lose()
        elif message.get("push") == "doubted":
            self.doubted()
        for listener in tuple(self.listeners):
            listener(message)

    def lose(self) -> None:
        """Its caller is none any more: what still waits is answered so, and nothing more is asked over it."""
        self._link.end(Refused("the caller is not proved any more", hint="Prove it anew.", code="unauthenticated"))

    async def call(self, do: str, *, timeout_s: float | None = None, **fields: Any) -> Any:
        """See `AsyncWire.call`. Where the node says that nobody is proved here, the connection is over at once."""
        self.busy += 1
        try:
            answer = await super().call(do, timeout_s=timeout_s, **fields)
        except Refused as error:
            if error.code == "unauthenticated" and do not in ("hello", "order"):
                self.lose()
            raise
        finally:
            self.busy -= 1
            self.used_s = time.monotonic()
        self._note(do, fields, answer)
        return answer

    def _note(self, do: str, fields: dict[str, Any], answer: Any) -> None:
        """What ends with the connection, so that it is kept."""
        match do:
            case "act" if fields.get("how") == "begin" and not answer["verdict"]["repeated"]:
                self.begun.add(answer["verdict"]["entry"])
            case "settle":
                self.begun.discard(fields["action"])
            case "upstreams.open":
                self.sessions.add(answer["session"])
            case "upstreams.close":
                self.sessions.discard(fields["session"])

    def idle(self, now_s: float) -> bool:
        """Whether it may be closed."""
        if self.busy or self.listeners:
            return False
        kept = self.begun or self.sessions
        return now_s - self.used_s > (FORGOTTEN_S if kept else IDLE_S)

    @property
    def spare(self) -> bool:
        """Whether it may be closed where another is needed."""
        return not (self.busy or self.listeners or self.begun or self.sessions)


class Links:
    """The connections of one door. `name` is what the node knows it by; `keys` the workspace's directory of keys."""

    def __init__(self, socket: Path, keys: Path, *, name: str = "http", most: int = 256) -> None:
        self._socket = socket
        self._keys = keys
        self._name = name
        self._most = most
        self._of: dict[tuple[str, str], Link] = {}
        self._spare: Link | None = None
        self._opening = 0
        self._next_look_s = 0.0
        self._noted: str | None = None
        self.doubted: Callable[[], None] = lambda: None

    def of(self, role: str, name: str) -> Link | None:
        """The connection of a caller by its full name."""
        link = self._of.get((role, name))
        if link is not None and link.ended.done():
            del self._of[role, name]
            return None
        return link

    async def fresh(self) -> Link:
        """One that stands for nobody yet; give it back by `keep` or `give_back`. Unreachable, Unhealthy."""
        link, self._spare = self._spare, None
        if link is not None and not link.ended.done():
            return link
        await self._make_room()
        self._opening += 1
        try:
            link = await Link.open(self._socket)
            link.doubted = self.doubted
            await self._prove(link)
        finally:
            self._opening -= 1
        return link

    async def give_back(self, link: Link) -> None:
        """It came to stand for nobody."""
        if self._spare is None and not link.ended.done():
            self._spare = link
        else:
            await link.close()

    def keep(self, role: str, name: str, link: Link) -> None:
        link.stands_for = (role, name)
        self._of[role, name] = link

    async def _prove(self, link: Link) -> None:
        greeting = link.greeting
        try:
            key = await asyncio.to_thread(door_key.open_key, self._keys)
            challenge = bytes.fromhex(greeting["challenge"])
            proof = agents.prove(key, greeting["origin"], door_key.ROLE, self._name, challenge, greeting["node"])
            encoded = base64.b64encode(proof).decode()
            await link.call("hello", role=door_key.ROLE, name=self._name, proof=encoded, timeout_s=10)
        except BaseException as error:
            await link.close()
            if not isinstance(error, FailwellError):
                raise
            self._note(error.message)
            # It is not the caller's fault, whatever it is, and what lies where is not for them to know.
            raise Unreachable("the node does not take this for its door", hint=KEY_HINT) from error

    def _note(self, why: str) -> None:
        """For whoever runs the door, once for as long as it stays so."""
        if why != self._noted:
            self._noted = why
            _LOG.warning("the node does not take this for its door: %s", why)

    async def _make_room(self) -> None:
        """Attack: callers without end, so that the node has no descriptor left for tools, reports and orders."""
        now_s = time.monotonic()
        if now_s >= self._next_look_s or len(self._of) + self._opening >= self._most:
            self._next_look_s = now_s + 10
            await self._close([who for who, link in self._of.items() if link.ended.done() or link.idle(now_s)])
        if len(self._of) + self._opening < self._most:
            return
        spare = [(link.used_s, who) for who, link in self._of.items() if link.spare]
        if not spare:
            raise Unhealthy(f"{self._most} callers are at work here", code="busy", hint="Come back in a moment.")
        await self._close([min(spare)[1]])

    async def _close(self, whom: list[tuple[str, str]]) -> None:
        for who in whom:
            await self._of.pop(who).close()

    async def turned(self, counts: list[tuple[str, int]]) -> None:
        """Tell the node whom this door turned away; a node that is gone has nothing to count them in."""
        with contextlib.suppress(FailwellError):
            link = await self.fresh()
            try:
                await link.call("turned", counts=counts, timeout_s=10)
            finally:
                await self.give_back(link)

    async def close(self) -> None:
        if self._spare is not None:
            await self._spare.close()
        await self._close(list(self._of))
