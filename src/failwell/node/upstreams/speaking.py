"""Speaks the Model Context Protocol with one tool server over two descriptors, and believes it as little as can be.

What a server can do here: answer what it was asked, once, under the number that it was given; tell how far a call is;
tell that its list changed. Everything else is dropped or refused: answers to what nobody asked, requests of its own
(sampling, elicitation, roots), log lines, what is no message. A flood of these is read slowly; nothing of it is kept.

It starts and stops no process, judges no call and knows no contract: that is `sessions`' and the gate's. Its methods
are called on the loop only.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Final, NamedTuple

import msgspec

from failwell.core.errors import InputError, Unreachable
from failwell.mcp import messages, revisions
from failwell.mcp.plain_text import clean
from failwell.mcp.results import asks_for_input, in_place_of_result, says_failed
from failwell.node.upstreams.greeting import Answer, Offer, greet, list_tools, says_lost
from failwell.node.upstreams.pipes import Lines

__all__ = ["Answer", "Offer", "Progress", "Speaker"]

MAX_LISTED_BYTES: Final = 4 * 1024 * 1024
#: Beside a result stand an envelope and what a server adds to it.
ENVELOPE_BYTES: Final = 65_536

UNASKED_BURST: Final = 1000
UNASKED_A_SECOND: Final = 200
"""So many messages that nobody asked for are read at once, and then so many each second; the next ones wait."""
UNASKED_BYTES: Final = 4096
"""A longer one counts as so many more as it is times this long."""
REST_S: Final = 0.1
LISTEN_AGAIN_S: Final = 5.0
PROGRESS_S: Final = 0.05
MAX_PROGRESS_CHARACTERS: Final = 300
MAX_WHY_CHARACTERS: Final = 200

_EARLY: Final = re.compile(rb'\s*\{\s*(?:"jsonrpc"\s*:\s*"2\.0"\s*,\s*)?"id"\s*:\s*(\d{1,15})\s*,')
_LATE: Final = re.compile(rb',\s*"id"\s*:\s*(\d{1,15})\s*(?:,\s*"jsonrpc"\s*:\s*"2\.0"\s*)?\}\s*\Z')
#: Of an overlong answer: that it begins as a result, and that it ends as that of a failure.
_RESULT: Final = re.compile(rb'\s*\{(?:\s*"(?:jsonrpc|id)"\s*:\s*(?:"2\.0"|\d{1,15})\s*,){0,2}\s*"result"\s*:')
_FAILED: Final = re.compile(rb'"isError"\s*:\s*(?!false|null)')


class Progress(NamedTuple):
    """How far a call is, as its server says: `message` is cleaned, one line of what can be seen."""

    progress: float
    total: float | None
    message: str | None


class _ProgressParams(msgspec.Struct):
    progressToken: int | str  # noqa: N815 - as the protocol spells it
    progress: float
    total: float | None = None
    message: str | None = None


@dataclass
class _Asked:
    """A request that waits for its answer."""

    number: int | None
    method: str
    future: asyncio.Future[Answer]
    progress: Callable[[Progress], None] | None = None
    said_at: float = float("-inf")
    said: float = float("-inf")


class Speaker:
    """One connection to one server. `changed`: its list of tools may be another one; `gone`: it can be asked no more.

    `cap_bytes`: the longest result that is passed on. Owns the descriptors from `begin` on.
    """

    def __init__(
        self, name: str, reading: int, writing: int, *, cap_bytes: int, changed: Callable[[], None],
        gone: Callable[[str], None],
    ) -> None:  # fmt: skip
        self._name = name
        self._descriptors = (reading, writing)
        self._cap_bytes = cap_bytes
        self._changed = changed
        self._gone = gone
        self._max_line = max(cap_bytes, MAX_LISTED_BYTES) + ENVELOPE_BYTES
        self._lines: Lines | None = None
        self._greeting: revisions.Greeting | None = None
        self._asked: dict[int, _Asked] = {}
        self._last = 0
        self._why_gone: str | None = None
        self._unasked = float(UNASKED_BURST)
        self._unasked_at = 0.0
        self._has_begun = False
        self._changed_meanwhile = False
        self._listening: asyncio.TimerHandle | None = None

    # ------------------------------------------------------------------------------------ beginning, listing

    async def begin(self, timeout_s: float) -> Offer:
        """Agree on a revision and list what there is; raises Unreachable, also where that takes longer."""
        self._unasked_at = asyncio.get_running_loop().time()
        self._lines = Lines(
            *self._descriptors, max_line=self._max_line, got=self._got, overlong=self._overlong, ended=self._ended
        )
        return await self._within(timeout_s, self._begun(), "start and say what it offers")

    async def offer(self, timeout_s: float) -> Offer:
        """List again what there is; raises Unreachable."""
        return await self._within(timeout_s, self._listed(), "say what it offers")

    async def _within(self, timeout_s: float, work: Coroutine[None, None, Offer], what: str) -> Offer:
        try:
            async with asyncio.timeout(timeout_s):
                return await work
        except TimeoutError:
            message = f"tool server {self._name} did not {what} within {timeout_s:g} s"
            raise Unreachable(message, hint="Raise its start_ms, or look at what it waits for.") from None
        except InputError as error:
            raise Unreachable(f"tool server {self._name}: {error.message}") from None

    async def _begun(self) -> Offer:
        self._greeting = await greet(self._plainly, self._tell)
        offer = await self._listed()
        if self._greeting.tools_change and self._greeting.revision in revisions.STATELESS:
            self._listen()
        self._has_begun = True
        if self._changed_meanwhile:  # what was read may be an older list by now; who asked for it hears so next
            asyncio.get_running_loop().call_soon(self._changed)
        return offer

    def _listen(self) -> None:
        """Ask to be told of changes. Since 2026-07-28 a server tells only whom it answers just then, with this."""
        self._listening = None
        listening = self._ask(None, "subscriptions/listen", b'{"notifications":{"toolsListChanged":true}}')
        listening.add_done_callback(self._listened)

    def _listened(self, listening: asyncio.Future[Answer]) -> None:
        """It tells nothing any more. What it would have told meanwhile is in its list."""
        if self._why_gone is not None or listening.exception() is not None:
            return
        answer = listening.result()
        if answer.lost or not answer.error:  # any other error is a refusal, and would be one again
            self._listening = asyncio.get_running_loop().call_later(LISTEN_AGAIN_S, self._listen)
            self._got_changed()

    async def _listed(self) -> Offer:
        greeting = self._greeting
        if greeting is None:
            raise Unreachable(f"tool server {self._name} was not begun")
        found, left_out = await list_tools(self._plainly) if greeting.has_tools else ((), ())
        return Offer(
            greeting.revision, greeting.name, greeting.version, greeting.instructions, found, greeting.methods, left_out
        )

    async def _plainly(self, method: str, params: bytes) -> Answer:
        return await self._ask(None, method, params)

    # ---------------------------------------------------------------------------------------------- asking

    def ask(
        self, number: int, method: str, params: bytes, progress: Callable[[Progress], None] | None
    ) -> asyncio.Future[Answer]:
        """Send one request, known to the caller as `number`. The future ends with its answer, or with Unreachable when
        the connection does; `params` is a JSON object, whose _meta is replaced.
        """
        return self._ask(number, method, params, progress)

    def _ask(
        self, number: int | None, method: str, params: bytes, progress: Callable[[Progress], None] | None = None
    ) -> asyncio.Future[Answer]:
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        future.add_done_callback(_seen)
        if self._lines is None or self._why_gone is not None:
            future.set_exception(self._unreachable())
            return future
        # Numbers of its own: a server learns nothing of what is asked of others, and cannot tell what comes next here.
        self._last += 1
        wire = self._last
        self._asked[wire] = _Asked(number, method, future, progress)
        future.add_done_callback(lambda _: self._asked.pop(wire, None))
        meta = self._meta(method, wire if progress is not None else None)
        self._lines.write(messages.request(wire, method, revisions.with_meta(params, meta)))
        return future

    def _meta(self, method: str, token: int | None) -> dict[str, bytes]:
        if method == revisions.INITIALIZE:
            return {}
        revision = revisions.STATELESS[-1] if self._greeting is None else self._greeting.revision
        meta = revisions.envelope_meta(revision) if revision in revisions.STATELESS else {}
        return meta if token is None else {**meta, "progressToken": messages.text_of(token)}

    def cancel(self, number: int, why: str) -> None:
        """Tell the server that nobody waits for `number` any more. Its future still waits: whether anything stopped is
        not shown by this.
        """
        for wire, asked in self._asked.items():
            if asked.number == number:
                reason = clean(why, MAX_WHY_CHARACTERS)
                self._tell("notifications/cancelled", messages.text_of({"requestId": wire, "reason": reason}))

    def _tell(self, method: str, params: bytes) -> None:
        if self._lines is not None:
            self._lines.write(messages.notification(method, params))

    # ------------------------------------------------------------------------------------------ being told

    def _got(self, line: bytes) -> None:
        try:
            message = messages.read(line, max_bytes=self._max_line)
        except messages.Malformed as error:
            self._got_malformed(error, len(line))
            return
        if isinstance(message, messages.Reply):
            self._got_reply(message, len(line))
            return
        self._count_unasked(len(line))
        if isinstance(message, messages.Request):
            self._refuse(message)
        elif message.method == "notifications/progress":
            self._got_progress(message.params)
        elif message.method == "notifications/tools/list_changed":
            self._got_changed()

    def _got_reply(self, reply: messages.Reply, size: int) -> None:
        asked = self._waiting_for(reply.number)
        if asked is None:
            self._count_unasked(size)  # a second answer, one to somebody else, or one to what was never asked
            return
        asked.future.set_result(self._answer(asked, reply))

    def _got_malformed(self, error: messages.Malformed, size: int) -> None:
        self._count_unasked(size)
        # Attack: a request of its own that is none, under a number that a call has here: that call goes on.
        asked = None if error.asks else self._waiting_for(error.number)
        if asked is not None:
            asked.future.set_result(_error(f"{self._name} answered with what is no answer: {error.message}", lost=True))

    def _waiting_for(self, number: messages.Number | None) -> _Asked | None:
        asked = self._asked.get(number) if isinstance(number, int) else None
        return asked if asked is not None and not asked.future.done() else None

    def _answer(self, asked: _Asked, reply: messages.Reply) -> Answer:
        if asked.number is None:
            lost = reply.error and says_lost(reply.raw)
            return Answer(reply.raw, reply.error, reply.error, truncated=False, lost=lost)
        too_long = len(reply.raw) > self._cap_bytes
        if reply.error:
            # Attack: a failure that takes more room than is kept, and is taken for a result for that.
            lost = says_lost(reply.raw)
            return self._too_long(None) if too_long else Answer(reply.raw, True, True, truncated=False, lost=lost)
        try:
            if asks_for_input(reply.raw):
                return _error(f"{self._name} asks for input before it answers, which it is not given here")
            failed = asked.method == "tools/call" and says_failed(reply.raw)
        except InputError as error:
            return _error(f"{self._name} answered with what is no result: {error.message}", lost=True)
        if too_long:
            return self._too_long(asked, failed=failed)
        return Answer(reply.raw, error=False, failed=failed, truncated=False)

    def _too_long(self, asked: _Asked | None, *, failed: bool = False) -> Answer:
        """In the place of an answer to `asked` that is not passed on; None: of an error."""
        if asked is not None and asked.method == "tools/call":
            raw = in_place_of_result(self._name, self._cap_bytes)
            return Answer(raw, error=False, failed=failed, truncated=True)
        return _error(f"the answer of {self._name} is longer than {self._cap_bytes} bytes", truncated=True)

    def _overlong(self, head: bytes, tail: bytes) -> None:
        """A line was longer than is read: end the request that it says it answers, or else the connection.

        Attack: a log line that is too long, or an error, while a call runs: neither says that the call is done.
        """
        found = _EARLY.match(head) or _LATE.search(tail)
        asked = self._waiting_for(int(found[1])) if found else None
        if asked is None:
            self._end(f"it sent a line of more than {self._max_line} bytes that answers nothing")
        elif _RESULT.match(head) and not _FAILED.search(tail):
            asked.future.set_result(self._too_long(asked))
        else:
            words = f"what {self._name} answered is longer than {self._max_line} bytes, and may be no result"
            asked.future.set_result(_error(words, truncated=True, lost=True))

    def _refuse(self, request: messages.Request) -> None:
        if self._lines is None:
            return
        if request.method == "ping":
            self._lines.write(messages.result(request.number, b"{}"))
            return
        refusal = messages.error_object(messages.METHOD_NOT_FOUND, "a server is given nothing here: no such method")
        self._lines.write(messages.error(request.number, refusal))

    def _got_progress(self, params: bytes) -> None:
        try:
            said = msgspec.json.decode(params, type=_ProgressParams)
        except (msgspec.MsgspecError, RecursionError):
            return
        asked = self._waiting_for(said.progressToken)
        now = asyncio.get_running_loop().time()
        if (
            asked is None
            or asked.progress is None
            or not said.progress > asked.said
            or now < asked.said_at + PROGRESS_S
        ):
            return
        asked.said, asked.said_at = said.progress, now
        message = None if said.message is None else clean(said.message, MAX_PROGRESS_CHARACTERS)
        asked.progress(Progress(said.progress, said.total, message))

    def _got_changed(self) -> None:
        """INVARIANT: told before anything that the server says after it: no call goes by a list that was withdrawn."""
        if self._has_begun:
            self._changed()
        else:
            self._changed_meanwhile = True

    def _count_unasked(self, size: int) -> None:
        """Attack: few messages, each of which takes the loop as long as a thousand: a long one counts as many."""
        now = asyncio.get_running_loop().time()
        self._unasked = min(UNASKED_BURST, self._unasked + (now - self._unasked_at) * UNASKED_A_SECOND)
        self._unasked -= 1 + size // UNASKED_BYTES
        self._unasked_at = now
        if self._unasked < 0 and self._lines is not None:
            self._lines.rest(max(REST_S, -self._unasked / UNASKED_A_SECOND))

    # ---------------------------------------------------------------------------------------------- the end

    def _ended(self, why: str) -> None:
        self._end(why)

    def _end(self, why: str) -> None:
        if self._why_gone is None:
            self.close(why)
            self._gone(why)

    def close(self, why: str = "it was closed") -> None:
        """End the connection; whoever waits for an answer is told. `gone` is not called."""
        if self._why_gone is not None:
            return
        self._why_gone = why
        if self._listening is not None:
            self._listening.cancel()
        if self._lines is None:
            for descriptor in self._descriptors:
                os.close(descriptor)
        else:
            self._lines.close()
        for asked in list(self._asked.values()):
            if not asked.future.done():
                asked.future.set_exception(self._unreachable())

    def _unreachable(self) -> Unreachable:
        return Unreachable(f"tool server {self._name} is gone: {self._why_gone or 'it was not begun'}")


def _error(message: str, *, truncated: bool = False, lost: bool = False) -> Answer:
    raw = messages.error_object(messages.INTERNAL_ERROR, message)
    return Answer(raw, error=True, failed=True, truncated=truncated, lost=lost)


def _seen(future: asyncio.Future[Answer]) -> None:
    """Whoever stopped waiting needs no warning that nobody looked."""
    if not future.cancelled():
        future.exception()
