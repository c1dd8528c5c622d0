"""Checking the world after an act: sources are asked until it is as the contract promises, or its time is over (D23).

At growing intervals, a bounded number at once, and once more when the time is over. What is owed stands in the ledger:
a node that starts finds it, and looks once at what fell due while nobody looked. Nothing here holds up a verdict.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from heapq import nsmallest
from itertools import chain
from typing import TYPE_CHECKING, Any

from failwell.core.contract import Looked, parse_type
from failwell.core.errors import FailwellError, InputError
from failwell.gate.ensured import Owing, Seen, end_check, owed_besides

if TYPE_CHECKING:
    from failwell.node.service import Node

#: Looks under way at once, in all and for one agent. Each takes a slot of its agent's checks, not of its verdicts.
LOOKS, LOOKS_OF_ONE = 16, 4
#: From one look to the next: doubled each time, up to.
FIRST_S, LONGEST_S = 0.25, 60.0


class Watch:
    """One owed check, and what was seen of it so far."""

    def __init__(self, owing: Owing, now_s: float) -> None:
        self.owing = owing
        self.due_s = now_s + owing.left_us / 1_000_000
        self.next_s = now_s
        self.tries = 0
        self.saw: Any = None
        self.answered = False
        self.detail = ""

    def take(self, looked: Looked) -> bool:
        """Note what a look gave; whether the world is as promised."""
        self.tries += 1
        ensure = self.owing.ensure
        if looked.state != "answered":
            self.detail = f"{looked.state}: {looked.detail}" if looked.detail else looked.state
            return False
        of = parse_type(ensure.type)
        try:
            same = of.read(looked.value) == of.read(ensure.expected)
        except InputError as error:
            self.detail = f"wrong: {error.message}"
            return False
        self.saw, self.answered = looked.value, True
        self.detail = "as promised" if same else "otherwise than promised"
        return same

    def seen(self, state: str) -> Seen:
        return Seen(state=state, tries=self.tries, saw=self.saw, answered=self.answered, detail=self.detail)


def due(watched: Mapping[str, Watch], looking: Iterable[str], now_s: float) -> list[str]:
    """The checks that are looked at next: those that waited longest, and few of one agent.

    Attack: acts without end that owe a look at a slow source. Looked at in the order of the acts, they would keep for
    ever what other agents owe from being looked at, and from being missed.
    """
    looking = set(looking)
    of_one = Counter(watched[key].owing.agent for key in looking if key in watched)
    waiting = defaultdict(list)
    for key, watch in watched.items():
        if watch.next_s <= now_s and key not in looking:
            waiting[watch.owing.agent].append((watch.next_s, key))
    next_of_one = (nsmallest(LOOKS_OF_ONE - of_one[agent], found) for agent, found in waiting.items())
    return [key for _, key in nsmallest(LOOKS - len(looking), chain.from_iterable(next_of_one))]


class Ensurer:
    """Looks after what acts owe. `tick` and `end` are called by the node's loop."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._watched: dict[str, Watch] = {}
        self._looking: dict[str, asyncio.Task[None]] = {}

    async def tick(self, now_s: float) -> None:
        """Take up what is newly owed, and look at what is due for a look."""
        owed = self._node.writer.book.state.check
        if len(owed) != len(self._watched):  # a check that ended was taken off by whoever ended it
            new = await self._node.writer.submit_async(owed_besides(frozenset(self._watched)))
            self._watched |= {each.key: Watch(each, now_s) for each in new}
        if len(self._looking) < LOOKS:
            for key in due(self._watched, self._looking, now_s):
                task = asyncio.create_task(self._look(key, self._watched[key]))
                self._looking[key] = task
                task.add_done_callback(lambda _, key=key: self._looking.pop(key, None))  # type: ignore[misc]

    async def _look(self, key: str, watch: Watch) -> None:
        """Ask once; end the check, or say when to look again."""
        loop = asyncio.get_running_loop()
        last = loop.time() >= watch.due_s
        owing = watch.owing
        pause_s = min(FIRST_S * 2 ** min(watch.tries, 10), LONGEST_S)
        try:
            if owing.arguments is None:
                watch.detail, state = "what it would be asked with was erased", "unknown"
            elif watch.take(await self._ask(owing, owing.arguments)):
                state = "held"
            else:
                state = "missed" if watch.answered else "unknown"
            if (state == "held" or last) and await self._end(key, watch.seen(state)):
                del self._watched[key]
                return
        except FailwellError as error:  # the ledger does not take it now: it stays owed
            watch.detail = error.message
        now_s = loop.time()
        watch.next_s = now_s + pause_s if last else max(now_s, min(now_s + pause_s, watch.due_s))

    async def _ask(self, owing: Owing, arguments: dict[str, Any]) -> Looked:
        return await self._node.sources.look(f"ensure {owing.agent}", owing.ensure.lookup, arguments)

    async def _end(self, key: str, seen: Seen) -> bool:
        return await self._node.writer.submit_async(end_check(key, seen)) is not None

    async def end(self) -> None:
        """Stop looking; what is owed stays owed, and the next start takes it up."""
        looking = list(self._looking.values())
        for task in looking:
            task.cancel()
        await asyncio.gather(*looking, return_exceptions=True)
