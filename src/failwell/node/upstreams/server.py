"""One tool server of one session, and the calls that it is asked: what is known of both, and nothing that acts on it.

Read and changed by the loop, by the executor's thread and by whoever orders a stop: `node.upstreams.executor` holds the
lock that guards the fields below `-- guarded`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from failwell.core.contract import Tool
from failwell.core.errors import Refused
from failwell.node.redacting import NOTHING, Redaction
from failwell.ports.executor import Ended, Launch, Process

if TYPE_CHECKING:
    from failwell.node.reached import UpstreamSettings
    from failwell.node.upstreams.speaking import Answer, Offer, Speaker

#: Requests of the protocol that are actions of their own, under the name SERVER.METHOD in contracts.
METHODS: Final = frozenset(
    {"resources/list", "resources/templates/list", "resources/read", "prompts/list", "prompts/get"}
)  # fmt: skip
CALL: Final = "tools/call"
#: Servers are numbered from here down: an action is named by its entry, and others count down from above.
FIRST: Final = -3_000_000_000
#: Why a server ended that nobody asked anything for long: the next call starts it again.
IDLE: Final = "nobody asked it anything for long"


@dataclass(frozen=True, slots=True, kw_only=True)
class Who:
    """For whom a session is, as it stood in one turn of the writer.

    `entry` is the ledger's size then. `epochs` are those of the agent and of all who handed its work over, `scopes`
    those of what they are within. `tools` are what all their contracts list, each with every contract's words of it.
    """

    agent: str
    run: int
    entry: int
    epochs: tuple[tuple[str, int], ...]
    scopes: tuple[tuple[str, int], ...]
    tools: dict[str, tuple[Tool, ...]]
    governed: bool

    def of(self, upstream: str) -> tuple[str, ...]:
        """What of a server their contracts list, by its whole name."""
        return tuple(sorted(name for name in self.tools if name.partition(".")[0] == upstream))


@dataclass(slots=True, eq=False)
class Call:
    """One action that a server is asked for."""

    launch: Launch
    ended: Callable[[Ended], None]
    server: Server
    started_us: int
    #: It was handed to the server: from here on nobody can say that it did not begin.
    asked: bool = False
    #: Why it is to stop; None: it is not.
    why: str | None = None
    #: Its caller does not want it any more, and said why.
    unwanted: str | None = None
    answer: Answer | None = None


@dataclass(slots=True, eq=False)
class Server:
    """One process of a server, from its start to its end; the next one of the same name is another `Server`."""

    name: str
    number: int
    session: str
    who: Who
    declared: UpstreamSettings
    loop: asyncio.AbstractEventLoop
    redaction: Redaction = NOTHING
    speaker: Speaker | None = None
    offer: Offer | None = None
    #: By tool: the digest of its definition as it is offered now; none where two have the same name.
    digests: dict[str, str | None] = field(default_factory=dict)
    #: What it said last of the tools that it offers, and how often that was something else.
    told: str | None = None
    listed_s: float = 0.0
    changes: int = 0
    #: It said that what it offers changed, and that is not known yet; and that it said so once more meanwhile.
    stale: bool = False
    again: bool = False
    listing: asyncio.Task[None] | None = None
    used_s: float = 0.0
    #: Its end, on the loop.
    ended: asyncio.Future[Ended] = field(init=False)
    recorded: bool = False

    # -- guarded
    calls: set[int] = field(default_factory=set)
    process: Process | None = None
    #: Why it is to end; nothing is asked of it from then on.
    doomed: str | None = None
    #: Its input was closed, or it was killed.
    ending: bool = False
    #: It was asked to end by itself.
    asked_to_end: bool = False
    over: Ended | None = None

    def __post_init__(self) -> None:
        self.ended: asyncio.Future[Ended] = self.loop.create_future()

    @property
    def elsewhere(self) -> bool:
        """Whether what it is asked goes on where no kill of ours reaches."""
        return self.declared.url is not None

    @property
    def stands(self) -> bool:
        """Whether it may be asked."""
        return self.doomed is None and self.over is None and self.offer is not None

    def changed(self, tool: str) -> str | None:
        """Why `tool`, named as in contracts, is not the one that a person accepted; None where it is."""
        short = tool.partition(".")[2]
        if short in METHODS:
            return None
        accepted = self.declared.tools.get(short)
        if accepted is None:
            return f"Nobody accepted a definition of {tool}: it is pinned nowhere in [upstreams.{self.name}]."
        if short not in self.digests:
            return f"{self.name} does not offer {short} any more."
        if self.digests[short] != accepted:
            return f"The definition of {tool} is not the one that a person accepted."
        return None

    def check(self, tool: str) -> None:
        """Refused where it cannot be asked for `tool` now."""
        if not self.stands:
            why = self.doomed or "it is not there"
            raise Refused(f"the tool server {self.name} has ended: {why}", code="upstream-ended", hint="Open it anew.")
        if self.stale:
            raise Refused(f"{self.name} said just now that its tools changed", hint="Ask again.", code="busy")
        changed = self.changed(tool)
        if changed is not None:
            raise Refused(changed, code="tool.changed")
        short = tool.partition(".")[2]
        if short in METHODS and (self.offer is None or short not in self.offer.methods):
            raise Refused(f"{self.name} does not offer {short}")
