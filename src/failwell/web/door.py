"""What all requests of one web door share: its lines to the node, its callers, their rates, streams and counts.

Who may read what is decided here, once: an agent what is its own, a host what is of its agents, a person everything.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from starlette.types import Message, Receive, Scope

from failwell.core.errors import NotFound, Refused, Unhealthy
from failwell.node.reached import HttpSettings
from failwell.node.workspace import Workspace
from failwell.web.callers import Caller, Callers
from failwell.web.counts import Counts
from failwell.web.node_line import ANSWER_S, NodeLine
from failwell.web.persons import Persons
from failwell.web.rates import Rates

AGENT, HOST, PERSON = "agent", "host", "person"
#: A stop is answered in words after this, or left in the workspace (D2).
STOP_S = 1.0
#: Orders of whoever is not known that are looked at by the node at once.
STRANGERS = 4
#: Answers of persons that one caller waits for at once.
MOST_WAITS = 64


@dataclass(slots=True, kw_only=True)
class Asked:
    """One request: who asks (None: whoever), the record that it spells, and the names and numbers in its path."""

    scope: Scope
    receive: Receive
    raw: bytes
    caller: Any = None
    body: Any = None
    query: Any = None
    path: dict[str, str] = field(default_factory=dict)

    async def gone(self) -> None:
        """Returns once whoever asked has hung up."""
        message: Message = await self.receive()
        while message["type"] != "http.disconnect":
            message = await self.receive()

    async def unless_gone(self, work: Awaitable[Any], left: Callable[[], Awaitable[object]]) -> Any:
        """What `work` gives; where the caller hangs up meanwhile `left` is done about it, and the work awaited."""
        working, watching = asyncio.ensure_future(work), asyncio.ensure_future(self.gone())
        try:
            await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                await left()
            return await working
        except asyncio.CancelledError:
            # The door closes: nobody waits for this any more.
            await left()
            raise
        finally:
            watching.cancel()


class Door:
    """See the module. `streams` are the event streams that are open (`web.events`)."""

    def __init__(self, workspace: Workspace, settings: HttpSettings, callers: Callers) -> None:
        self.workspace = workspace
        self.settings = settings
        self.callers = callers
        self.node = NodeLine(workspace.socket)
        #: A stop waits behind nobody's questions.
        self.stops = NodeLine(workspace.socket, STOP_S)
        self.rates = Rates(settings.rate_per_s)
        self.counts = Counts()
        self.persons = Persons(self.stops)
        #: Places for orders whose signature is not known to hold: strangers wait for one another, and persons for none.
        self.strangers = asyncio.Semaphore(STRANGERS)
        self.streams: dict[str, Any] = {}
        self._waits: Counter[tuple[str, str]] = Counter()

    def fields(self) -> list[tuple[bytes, bytes]]:
        """Header fields of every answer."""
        return [(name.encode(), value.encode()) for name, value in self.callers.fields.items()]

    @contextlib.contextmanager
    def waiting(self, caller: Caller) -> Iterator[None]:
        """`caller` waits for one more answer meanwhile. Unhealthy (code "crowded") where it waits for too many.

        Attack: one agent that asks a thousand times how its ticket stands, so that no other one's tools run.
        """
        who = caller.role, caller.name
        if self._waits[who] >= MOST_WAITS:
            raise Unhealthy(f"{caller.name} waits for {MOST_WAITS} answers already", code="crowded")
        self._waits[who] += 1
        try:
            yield
        finally:
            self._waits[who] -= 1
            if not self._waits[who]:
                del self._waits[who]

    async def close(self) -> None:
        await self.callers.close()
        await self.node.close()
        await self.stops.close()

    # -- who may read what -------------------------------------------------------------------------------------

    async def sees(self, caller: Caller) -> Callable[[str], bool]:
        """Whether `caller` may read what is of an agent."""
        if caller.role == PERSON:
            return lambda agent: True
        if caller.role == AGENT:
            return lambda agent: agent == caller.name
        hosts = await self.ask(caller, "hosts")
        own = frozenset(hosts.get(caller.name, {}).get("agents", ()))
        return own.__contains__

    async def ask(self, caller: Caller, about: str, key: Any = None) -> Any:
        """The answer to a question, for `caller`.

        INVARIANT: it is asked over the connection that stands for the caller, so that the node refuses whoever is none
        any more. Attack: an authority that was given up, whose certificates this door has taken before.
        """
        return await caller.wire.call("ask", about=about, key=key, timeout_s=ANSWER_S)

    async def read(self, caller: Caller, about: str, number: int) -> Any:
        """What there is to tell of one run, action or ticket. NotFound where it is not there, and in the same words
        where it is not the caller's: that something is somebody else's is theirs to know.
        """
        try:
            told = await self.ask(caller, about, number)
        except NotFound:
            told = None
        if told is None or not (await self.sees(caller))(told["agent"]):
            raise NotFound(f"there is no {about} {number} that {caller.role} {caller.name} may read")
        return told

    @staticmethod
    def agent_of(caller: Caller) -> str:
        """The agent that acts."""
        if caller.role != AGENT:
            raise Refused(f"a {caller.role} proposes no actions", hint="The agent signs with its own key.")
        return caller.name
