"""One action on its way to the gate and back: its ticket where it waits for a person, and what its caller is told.

Who escalated is remembered for the session: the same call made again rests on its ticket once that is approved, and is
told how it stands until then. It judges nothing; a ticket that is not good is denied by the gate.
"""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from failwell.core import canonical
from failwell.core.errors import FailwellError, InputError
from failwell.gateway import results
from failwell.gateway.backend import Backend, Call, Called
from failwell.gateway.messages import INTERNAL_ERROR, INVALID_PARAMS, OURS, Faulty, faulty, members, text

#: Questions that a session remembers; of one that was pushed out, the next call asks anew.
REMEMBERED = 1024


class Asked(msgspec.Struct, kw_only=True):
    """What a request says about its calls (`_meta`), and those of its calls that are under way."""

    call: str | None = None
    ticket: int | None = None
    reason: str | None = None
    progress: bool = False
    calls: set[str] = msgspec.field(default_factory=set)


class Ended(NamedTuple):
    """What a call came to: the raw members of its result, a server's own error, or why there is neither."""

    result: dict[str, bytes] | None = None
    error: bytes | None = None
    refusal: results.Refusal | None = None


class Waiting(NamedTuple):
    """A call that a person was asked about."""

    call: str
    arguments: bytes
    ticket: int


def read_asked(meta: dict[str, bytes]) -> Asked:
    """What `_meta` of a request says that is for us; Faulty where it is not of that form."""
    asked = Asked(
        call=text(meta.get(OURS + "call"), f"_meta {OURS}call"),
        reason=text(meta.get(OURS + "reason"), f"_meta {OURS}reason"), progress="progressToken" in meta,
    )  # fmt: skip
    if OURS + "ticket" in meta:
        try:
            asked.ticket = int(msgspec.json.decode(meta[OURS + "ticket"], type=int | str))
        except (msgspec.MsgspecError, UnicodeError, ValueError) as error:
            raise Faulty(INVALID_PARAMS, f"_meta {OURS}ticket is the number of a ticket") from error
    return asked


class Calls:
    """The calls of one session."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._waiting: OrderedDict[str, Waiting] = OrderedDict()
        self._turns: dict[str, tuple[asyncio.Lock, int]] = {}

    async def make(
        self, asked: Asked, tool: str, arguments: bytes, *, effect: str, call: str | None = None,
        following: Callable[[str], None] = lambda call: None,
    ) -> Ended:  # fmt: skip
        """Take one action. `call`: its id, else the caller's or a new one; `following` hears it before it is made."""
        call = call or asked.call or uuid.uuid4().hex
        key = _key(tool, arguments)
        if key is None or asked.call is not None or asked.ticket is not None or effect == "read":
            return await self._make(asked, tool, arguments, call, key, following)
        # Attack: the same refund asked for twice at once leaves two questions, and a person who answers both. What may
        # change something waits for its twin to be decided.
        async with _Turn(self._turns, key):
            return await self._make(asked, tool, arguments, call, key, following)

    async def _make(
        self, asked: Asked, tool: str, arguments: bytes, call: str, key: str | None, following: Callable[[str], None]
    ) -> Ended:  # fmt: skip
        ticket = asked.ticket
        if ticket is None and asked.call is None and key is not None and key in self._waiting:
            call, arguments, ticket = await self._stands(key, call, arguments)
        proposed = Call(
            call=call, tool=tool, arguments=arguments, reason=asked.reason, ticket=ticket, progress=asked.progress
        )
        following(call)
        asked.calls.add(call)
        try:
            called = await self._backend.call(proposed)
        except FailwellError as error:
            asked.calls.discard(call)
            raise faulty(error, call) from error
        # Who is cancelled in between leaves its call in the set: whoever cancelled has it stopped.
        asked.calls.discard(call)
        self._remember(key, proposed, called)
        return ended(called)

    async def _stands(self, key: str, call: str, arguments: bytes) -> tuple[str, bytes, int | None]:
        """(call id, arguments, ticket) for a call that a person was asked about before.

        Approved: a new call that rests on the ticket. Waiting or denied: the call of then, which the node answers from
        its record, so that asking again leaves no second question. Over: a new call, and a new question.
        """
        waiting = self._waiting[key]
        try:
            state = (await self._backend.ticket(waiting.ticket)).state
        except FailwellError as error:
            raise faulty(error) from error
        if state == "approved":
            return call, arguments, waiting.ticket
        if state in ("open", "denied"):
            return waiting.call, waiting.arguments, None
        self._waiting.pop(key, None)
        return call, arguments, None

    def _remember(self, key: str | None, proposed: Call, called: Called) -> None:
        verdict = called.verdict
        if key is None or verdict is None or proposed.ticket is not None:
            return
        if verdict.verdict == "ESCALATE" and not verdict.may_start and verdict.ticket is not None:
            self._waiting[key] = Waiting(proposed.call, proposed.arguments, int(verdict.ticket))
            while len(self._waiting) > REMEMBERED:
                self._waiting.popitem(last=False)


class _Turn:
    """A lock by key that is forgotten when nobody holds or awaits it."""

    def __init__(self, turns: dict[str, tuple[asyncio.Lock, int]], key: str) -> None:
        self._turns, self._key = turns, key

    async def __aenter__(self) -> None:
        lock, waiting = self._turns.get(self._key, (asyncio.Lock(), 0))
        self._turns[self._key] = (lock, waiting + 1)
        try:
            await lock.acquire()
        except asyncio.CancelledError:
            self._leave()
            raise

    async def __aexit__(self, *_: object) -> None:
        self._turns[self._key][0].release()
        self._leave()

    def _leave(self) -> None:
        lock, waiting = self._turns[self._key]
        if waiting == 1:
            del self._turns[self._key]
        else:
            self._turns[self._key] = (lock, waiting - 1)


def ended(called: Called) -> Ended:
    """What a call came to, as it is told."""
    verdict, outcome = called.verdict, called.outcome
    if verdict is not None and not verdict.may_start:
        return Ended(refusal=results.refused(verdict))
    if outcome is None:
        assert verdict is not None
        return Ended(refusal=results.without_result(verdict))
    if outcome.state not in ("completed", "failed"):
        return Ended(refusal=results.stopped(outcome, verdict))
    if not outcome.output:
        return Ended(refusal=results.failed(outcome, verdict))
    if outcome.exit_code == 2:
        try:
            members(outcome.output, "the error")
        except Faulty as error:
            raise Faulty(INTERNAL_ERROR, "the tool server answered an error that is none") from error
        return Ended(error=outcome.output)
    return Ended(result=results.marked(outcome, verdict))


def _key(tool: str, arguments: bytes) -> str | None:
    """What the same call has in common however it is written; None for one that the gate denies as unreadable."""
    try:
        text_ = canonical.jcs(canonical.parse(arguments))
    except InputError:
        return None
    return hashlib.sha256(tool.encode("utf-8", "surrogatepass") + b"\0" + text_).hexdigest()
