"""The fence: the node's switch that stops starts at once, and the table of what runs (D5, I3).

Every start passes `start`, which compares epochs and registers the running action under one lock; closing the fence
takes the same lock, so no start slips between "suspended" and "listed to be stopped". Closing never waits for the
ledger; opening happens only after the entry that gives authority back is durable.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from failwell.core.errors import Refused
from failwell.core.stops import words

#: The code of a start without a permit of its own: the action may run already, so nothing is known about it here.
NO_PERMIT = "no-permit"
#: Authorities under which an allowed action may start.
_OPEN = frozenset({"ACTIVE", "RESTRICTED", "PROBATION", "OBSERVED"})


@dataclass(slots=True)
class Running:
    """One started action of an executor class. `stop` delivers an interrupt to whoever executes it, its caller
    (`by_caller`) or a supervisor; `ordered` says that one was given, by `method`. `directory` is where an operator
    declared that it works.
    """

    action: int
    agent: str
    executor: str
    by_caller: bool = False
    chain: tuple[str, ...] = ()
    stop: Callable[[], None] | None = None
    ordered: bool = False
    directory: str | None = None
    method: str = "order"


@dataclass(frozen=True, slots=True)
class Permit:
    """Single-use leave to start one action, void once the agent's epoch moves on, or that of one who handed it over,
    or of a scope that the action is within.
    """

    action: int
    agent: str
    epoch: int
    chain: tuple[tuple[str, int], ...] = ()
    scopes: tuple[tuple[str, int], ...] = ()
    secret: str = field(default_factory=lambda: secrets.token_hex(16))


class Missed(NamedTuple):
    """Of actions that were ordered to stop: those that never started, and those whose callers act by themselves."""

    unstarted: tuple[int, ...]
    told: tuple[int, ...]


class Fence:
    """Epochs by agent and by scope, permits not yet used, and running actions. Thread-safe; every method is a few
    dict lookups.
    """

    def __init__(self, unread: Callable[[], bool]) -> None:
        """`unread`: whether a stop may lie in `orders/` that nobody has carried out yet."""
        self._lock = threading.Lock()
        self._epochs: dict[str, int] = {}
        self._closed: set[str] = set()
        #: Agents whose key was taken from them: nothing of theirs starts, whatever their authority is.
        self._keyless: set[str] = set()
        #: Scopes that were ever stopped, and those to which nothing within them starts now.
        self._scopes: dict[str, int] = {}
        self._shut: set[str] = set()
        #: What of an agent, or handed over by it, was decided before that entry starts nothing; and why.
        self._void: dict[str, tuple[int, str]] = {}
        #: Actions that were ordered to stop by themselves before they had started.
        self._barred: set[int] = set()
        self._permits: dict[int, Permit] = {}
        self._running: dict[int, Running] = {}
        #: Actions whose callers were given leave to act by themselves: nobody here sees or stops what they do with it.
        self._told: set[int] = set()
        #: Actions that have ended and whose end is not durable yet: an order finds them neither running nor unstarted.
        self._ending: set[int] = set()
        self.unread = unread

    # -- who may start anything --------------------------------------------------------------------------------

    def set(self, agent: str, authority: str, epoch: int) -> None:
        """The state as the ledger has it (start-up, and after a durable change)."""
        with self._lock:
            self._epochs[agent] = epoch
            if authority in _OPEN:
                self._closed.discard(agent)
            else:
                self._closed.add(agent)

    def close(self, agent: str, epoch: int) -> None:
        """Let nothing of `agent` start from now on, whether or not that is durable yet."""
        with self._lock:
            self._closed.add(agent)
            self._epochs[agent] = max(epoch, self._epochs.get(agent, 0))

    def bump(self, agent: str, epoch: int) -> None:
        """Void every permit below `epoch` without closing (an agent that is restricted)."""
        with self._lock:
            self._epochs[agent] = max(epoch, self._epochs.get(agent, 0))

    def void(self, agent: str, entry: int, why: str) -> None:
        """Nothing starts that was decided before this entry of `agent` or of work that it handed over.

        Attack: an order finds an action on its way from verdict to permit. It is on record as one that never started,
        no epoch has moved, and the permit that comes then starts it.
        """
        with self._lock:
            self._void[agent] = entry, why

    def bar(self, actions: Iterable[int]) -> None:
        """Those of these actions that have not started never will: as `void`, and of nothing else of their agents."""
        with self._lock:
            started = (self._running, self._ending, self._told)
            self._barred.update(action for action in actions if not any(action in each for each in started))

    def take_key(self, agent: str, entry: int | None = None) -> None:
        """Nothing of `agent` starts, since nobody can prove to be it now, whether or not that is durable yet.

        `entry`: with which that came. Another key that follows opens nothing that was decided before.
        """
        with self._lock:
            self._keyless.add(agent)
            if entry is not None:
                self._void[agent] = entry, f"the key of {agent} was replaced"

    def give_key(self, agent: str) -> None:
        """Its key is in force (again); what started or was permitted before it is `acting`'s to name."""
        with self._lock:
            self._keyless.discard(agent)

    def shut(self, scope: str, epoch: int, within: Iterable[str] = (), entry: int = 0) -> None:
        """Let nothing within `scope` start from now on, whether or not that is durable yet.

        `within`: the agents that are in it by this entry. Attack: an agent comes into a group between an action's
        verdict and its start. The permit does not name the group, and the stop of it passes the action by.
        """
        with self._lock:
            self._shut.add(scope)
            self._scopes[scope] = max(epoch, self._scopes.get(scope, 0))
            for agent in within:
                self._void[agent] = entry, f"{words(scope)} was stopped"

    def lift(self, scope: str, epoch: int) -> None:
        """Two persons opened the scope, and that is durable; permits from before its stop stay void."""
        with self._lock:
            self._scopes[scope] = max(epoch, self._scopes.get(scope, 0))
            if self._scopes[scope] == epoch:  # of a later stop it says nothing
                self._shut.discard(scope)

    def check(self, scopes: Iterable[str]) -> None:
        """Refused where one of these is closed: of the node's own work, which no agent's state holds up."""
        with self._lock:
            for scope in scopes:
                if scope in self._shut:
                    raise Refused(f"{words(scope)} was stopped before it started", code="fenced")

    def join(self, agent: str, scope: str, entry: int) -> None:
        """`agent` comes within `scope` by this entry: while that is closed, nothing decided before it starts."""
        with self._lock:
            if scope in self._shut:
                self._void[agent] = entry, f"{agent} came within what was stopped"

    def epochs(self, agents: Iterable[str], scopes: Iterable[str]) -> tuple[dict[str, int], dict[str, int]]:
        """The epochs of now: of these agents, and of those of these scopes that were ever stopped."""
        with self._lock:
            return (
                {agent: self._epochs.get(agent, 0) for agent in agents},
                {scope: self._scopes[scope] for scope in scopes if scope in self._scopes},
            )

    def acting(self, agent: str) -> tuple[int, ...]:
        """Actions that run, or may start, for `agent` or because it handed them over."""
        with self._lock:
            running = [item.action for item in self._running.values() if agent in (item.agent, *item.chain)]
            permits = [
                item.action
                for item in self._permits.values()
                if agent in (item.agent, *(name for name, _ in item.chain))
            ]
        return (*running, *permits)

    # -- starting and ending -----------------------------------------------------------------------------------

    def grant(
        self, action: int, agent: str, epoch: int, chain: tuple[tuple[str, int], ...] = (),
        scopes: tuple[tuple[str, int], ...] = (),
    ) -> Permit:  # fmt: skip
        """A permit for one durable ALLOW; `chain` are the agents that handed it over, `scopes` what it is within, each
        with the epoch that it was decided in.
        """
        permit = Permit(action, agent, epoch, chain, scopes)
        with self._lock:
            self._permits[action] = permit
        return permit

    def start(self, permit: Permit, executor: str, *, by_caller: bool = False) -> Running:
        """Use a permit and register the action as running; Refused if the agent was stopped meanwhile."""
        with self._using(permit):
            chain = tuple(agent for agent, _ in permit.chain)
            running = Running(permit.action, permit.agent, executor, by_caller, chain)
            self._running[permit.action] = running
            return running

    def tell(self, permit: Permit) -> None:
        """Use a permit for a caller that acts by itself; Refused like `start`."""
        with self._using(permit):
            self._told.add(permit.action)

    @contextmanager
    def _using(self, permit: Permit) -> Iterator[None]:
        """Hold the lock over the use of a permit; Refused if it is void or used, or an order is not read yet."""
        if self.unread():
            raise Refused(
                "an order was left in the workspace and is being read: nothing starts before it",
                code="fenced",
            )
        with self._lock:
            known = self._permits.pop(permit.action, None)
            if known is None and any(permit.action in each for each in (self._running, self._ending, self._told)):
                # It may run: whatever else is wrong with this start, nobody may say that it was never started.
                raise Refused(f"action {permit.action} holds no unused permit", code=NO_PERMIT)
            self._stands(((permit.agent, permit.epoch), *permit.chain), permit.scopes, permit.action)
            if known is None or not secrets.compare_digest(known.secret, permit.secret):
                raise Refused(f"action {permit.action} holds no unused permit", code=NO_PERMIT)
            yield

    def stands(
        self, agents: Iterable[tuple[str, int]], scopes: Iterable[tuple[str, int]], since: int
    ) -> None:  # fmt: skip
        """Refused where anybody or anything of it was stopped since that entry, or an order is not read yet: of what
        an agent has run for it that is no action.
        """
        if self.unread():
            raise Refused("an order was left in the workspace and is being read: nothing starts before it", code="busy")
        with self._lock:
            self._stands(agents, scopes, since)

    def _stands(self, agents: Iterable[tuple[str, int]], scopes: Iterable[tuple[str, int]], since: int) -> None:
        if since in self._barred:
            raise Refused("it was ordered to stop before it started", code="fenced")
        for agent, epoch in agents:
            if agent in self._closed or self._epochs.get(agent) != epoch:
                raise Refused(f"{agent} was stopped before this action started", code="fenced")
            if agent in self._keyless:
                raise Refused(f"the key of {agent} is not in force any more", code="fenced")
            before, why = self._void.get(agent, (0, ""))
            if since < before:
                raise Refused(f"{why} before this action started", code="fenced")
        for scope, epoch in scopes:
            if scope in self._shut or self._scopes.get(scope, 0) != epoch:
                raise Refused(f"{words(scope)} was stopped before this action started", code="fenced")

    def attach(self, running: Running, stop: Callable[[], None]) -> None:
        """Tell how to stop an action that now really runs; if an interrupt was ordered meanwhile it is delivered."""
        with self._lock:
            running.stop = stop
            ordered = running.ordered
        if ordered:
            stop()

    def interrupt(self, actions: Iterable[int], method: str = "order") -> Missed:
        """Deliver an interrupt to these running actions; returns those that it cannot reach."""
        unstarted, told = [], []
        for action in actions:
            with self._lock:
                running = self._running.get(action)
                if running is not None:
                    running.method = running.method if running.ordered else method
                    running.ordered = True
                elif action in self._told:
                    self._told.discard(action)
                    self._ending.add(action)
                    told.append(action)
                elif action not in self._ending:
                    self._permits.pop(action, None)
                    unstarted.append(action)
            if running is not None and running.stop is not None:
                running.stop()
        return Missed(tuple(unstarted), tuple(told))

    def take(self, action: int) -> Running | None:
        """Take an action off the table; None when somebody else did, who then also tells how it ended."""
        with self._lock:
            self._permits.pop(action, None)
            running = self._running.pop(action, None)
            if running is not None:
                self._ending.add(action)
            return running

    def settled(self, action: int) -> None:
        """The end of an action is on record (or could not be recorded)."""
        with self._lock:
            self._ending.discard(action)

    def inherit(self, actions: Iterable[int]) -> None:
        """Actions that an earlier node left open.

        Attack: the stop that the first one's recovery sets off finds the others not running, and says that they never
        started.
        """
        with self._lock:
            self._ending.update(actions)

    def told(self) -> frozenset[int]:
        """Actions whose callers were given leave to act by themselves, and that have not ended since."""
        with self._lock:
            return frozenset(self._told)

    def has_left(self, action: int) -> bool:
        """Whether the leave of an action was used: it runs, or its caller acts by itself, and no end was told yet."""
        with self._lock:
            return action in self._told or action in self._running

    def forget_told(self, actions: Collection[int]) -> None:
        """These have ended on record."""
        with self._lock:
            self._told.difference_update(actions)

    def running(self) -> list[Running]:
        with self._lock:
            return list(self._running.values())
