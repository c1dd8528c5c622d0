"""One connection of an HTTP caller: uvicorn's, with deadlines and bounds that it does not have.

Headers, bodies and unread answers each have a time, and what is too large is refused from its announcement or as it
comes. What cannot be served in order is not served: pipelined requests, trailers, upgrades. It knows nothing of what
is asked.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from failwell.core.errors import FailwellError, InputError, Unreachable
from failwell.web.problems import MEDIA_TYPE, Problem, encode, headers_of, problem_of
from failwell.web.turns import Turns

#: Bytes that the framing of a chunked body may take besides as many as the body has.
_FRAMING_BYTES = 65_536
#: How long a caller that is hung up on may still send what nobody reads.
LINGER_S = 2.0
#: The scope's extensions of this door (see `Connection`).
TLS, DOOR = "failwell.tls", "failwell.door"
#: The encoding that certificates are asked for in (`_ssl.ENCODING_DER`).
_DER = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much one door takes, and for how long it waits. More is refused in words, never queued without end.

    `connections`: at once, of all callers; `of_one`: of one address that is not this machine. `in_flight` requests are
    worked on at once and `queued` wait for that, at most `queue_s`; `lasting` is the number of those that take long by
    their nature (tools that run, streams). `buffered_bytes` is the sum of all bodies that are held.
    """

    connections: int = 2048
    of_one: int = 512
    header_s: float = 10.0
    header_bytes: int = 32_768
    headers: int = 100
    body_s: float = 30.0
    body_bytes: int = 4 * 1024 * 1024
    buffered_bytes: int = 256 * 1024 * 1024
    keep_alive_s: int = 60
    unread_s: float = 30.0
    in_flight: int = 64
    queued: int = 512
    queue_s: float = 5.0
    lasting: int = 1024
    grace_s: float = 5.0


class Connection(HttpToolsProtocol):
    """Bounded in time and size. What it leaves in the scope's extensions:

    `failwell.tls`: `peer`, the certificate (DER) that the caller proved to hold, None without one, and `chain`, all
    that were shown. `failwell.door`: `gone()`, whether the caller hung up, and `ending`, which is set when the door
    closes, for streams that would go on.
    """

    def __init__(
        self, config: Config, state: ServerState, limits: Limits, ending: asyncio.Event, turns: Turns,
        loop: asyncio.AbstractEventLoop,
    ) -> None:  # fmt: skip
        super().__init__(config, state, {}, loop)
        self._limits = limits
        self._ending = ending
        self._turns = turns
        #: Whether what came waits its turn, and whether what is asked now waits for nobody.
        self._waits = self._first = False
        #: Whether it was ever open, and who is told that it is, and that it is not any more.
        self.met = False
        self.opened: Callable[[], object] = lambda: None
        self.closed: Callable[[], object] = lambda: None
        self._deadline: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None
        #: Bytes of this head or body as they came, of what came last, and of the body without its framing.
        self._raw = self._chunk = self._size = 0
        self._in_head = False
        self._in_body = False
        self._refused = self._upgraded = False
        self._shown: dict[str, Any] = {}

    # -- the connection ----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        super().connection_made(transport)
        self.met = True
        self.opened()
        found = transport.get_extra_info("ssl_object")
        peer = None if found is None else found.getpeercert(binary_form=True)
        self._shown = {
            TLS: {"peer": peer, "chain": _chain(found)},
            DOOR: {"gone": lambda: self._refused or transport.is_closing(), "ending": self._ending},
        }
        self._await(self._limits.header_s, "no request came")

    def connection_lost(self, exc: Exception | None) -> None:
        self._turns.forget(self._take_up)
        self._arrived()
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        self.closed()

    @property
    def idle(self) -> bool:
        """Whether nothing is asked on it now."""
        return not self._in_head and not self._in_body and not self._asked

    @property
    def worked_on(self) -> bool:
        """Whether a request has come whole and is not answered."""
        return self._asked and not self._in_head and not self._in_body

    @property
    def _asked(self) -> bool:
        """Whether a request is under way whose answer is not whole."""
        cycle: Any = self.cycle  # uvicorn says that there is always one; before the first request there is none
        return cycle is not None and not cycle.response_complete

    def end(self) -> None:
        """Hang up, now; what it still holds of an answer is lost."""
        self.transport.abort()

    # -- what comes --------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if self.idle and not self._waits:
            self._first = data.startswith(self._turns.first)
        if self._first:
            self._take_up(data)
        else:
            self._waits = True
            self._turns.wait(self._take_up, data)

    def _take_up(self, data: bytes) -> None:
        self._waits = False
        if self._refused or self._upgraded or self.transport.is_closing():
            return  # what was refused is not read on
        if self.idle and self._deadline is None:
            # Attack: an empty line now and then keeps a connection open that asks nothing.
            self._await(self._limits.header_s, "the headers did not come")
        self._chunk = len(data)
        self._raw += self._chunk
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # Nothing but HTTP/1.1 is spoken: the request is answered as what it is, and no other is read after it.
            self.cycle.keep_alive = False
            self._upgraded = True
            self._arrived()
        except httptools.HttpParserError as error:
            cause = error.__context__
            self.refuse(cause if isinstance(cause, FailwellError) else _malformed("this is no HTTP/1.1 request"))
        else:
            if self._in_head and self._raw > self._limits.header_bytes:
                self.refuse(_large_headers(self._limits))
            elif self._in_body and self._raw > 2 * self._size + _FRAMING_BYTES:
                # Attack: chunks of a byte with extensions of a thousand.
                self.refuse(_large_body(self._limits))

    def on_message_begin(self) -> None:
        if self._asked:
            # Attack: requests without end behind one that takes long, or an answer that is taken for another one's.
            raise _malformed("requests on one connection are asked one after the other")
        super().on_message_begin()
        self.scope["extensions"] = self._shown
        self._in_head, self._raw, self._size = True, self._chunk, 0

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_head:
            # Attack: a field after the body that passes for a header which a proxy took out, or that nobody signed.
            raise _malformed("trailers are not taken")
        if len(self.headers) >= self._limits.headers:
            raise _large_headers(self._limits)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        limits = self._limits
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > limits.header_bytes:
            raise _large_headers(limits)
        for name, value in self.headers:
            if name == b"content-length" and int(value) > limits.body_bytes:
                raise _large_body(limits)
            # Attack: lengths that a proxy before this reads by another rule.
            if name == b"transfer-encoding" and (value.lower(), self.parser.get_http_version()) != (b"chunked", "1.1"):
                raise _malformed("a body is sent whole, or chunked by HTTP/1.1")
        if not self.url.startswith(b"/") or b"#" in self.url:
            # Attack: a target that names another server than the field Host does.
            raise _malformed("the target of a request is a path, and a query")
        self._in_head, self._in_body, self._raw = False, True, self._chunk
        self._await(limits.body_s, "the body did not come")
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._size += len(body)
        if self._size > self._limits.body_bytes:
            raise _large_body(self._limits)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_body = False
        self._arrived()
        super().on_message_complete()

    # -- what goes ---------------------------------------------------------------------------------------------

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing():
            self._leave()

    def pause_writing(self) -> None:
        """The caller does not read its answer: it has a time for that too."""
        super().pause_writing()
        self._leave()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._unread is not None and not self.transport.is_closing():
            self._unread.cancel()
            self._unread = None

    def refuse(self, error: FailwellError) -> None:
        """Say why no more is read on this connection, where no other answer is under way, and hang up."""
        self._refused = True
        self._arrived()
        # What asks second is told nothing: it would be taken for the answer of what was asked first.
        if not (self._asked and (self.cycle.response_started or not self._in_body)):
            self.transport.write(_text(problem_of(error)))
        if self._asked:
            self.cycle.disconnected = True  # whoever works on it hears that nobody waits for it
            self.cycle.message_event.set()
        self._hang_up()

    def _hang_up(self) -> None:
        """Close, but read on for a moment: where more has come than was read, a close takes back what was written."""
        self._leave()
        if not self.transport.can_write_eof() or self.transport.is_closing():
            self.transport.close()
            return
        self.transport.write_eof()
        self.transport.resume_reading()  # what comes is dropped
        self.loop.call_later(min(self._limits.unread_s, LINGER_S), self.end)

    def send_400_response(self, msg: str) -> None:
        self.refuse(_malformed(msg))

    # -- time --------------------------------------------------------------------------------------------------

    def _await(self, within_s: float, what: str) -> None:
        """What is to come has this long, however it comes in between."""
        self._arrived()
        error = Unreachable(f"{what} within {within_s:g} s", code="slow")
        self._deadline = self.loop.call_later(within_s, self.refuse, error)

    def _arrived(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _leave(self) -> None:
        """What is written has a time to be read."""
        if self._unread is None:
            self._unread = self.loop.call_later(self._limits.unread_s, self.end)


def _text(problem: Problem) -> bytes:
    """The whole answer that tells a problem, and that nothing follows."""
    body = encode(problem)
    told = {"content-type": MEDIA_TYPE, "content-length": str(len(body)), "connection": "close", **headers_of(problem)}
    lines = (f"HTTP/1.1 {problem.status} {problem.title}", *(f"{name}: {value}" for name, value in told.items()))
    return "\r\n".join((*lines, "", "")).encode("ascii") + body


def _malformed(what: str) -> FailwellError:
    return InputError(what, code="malformed")


def _large_headers(limits: Limits) -> FailwellError:
    words = f"at most {limits.headers} header fields of {limits.header_bytes:,} bytes together are read"
    return InputError(words, code="headers")


def _large_body(limits: Limits) -> FailwellError:
    return InputError(f"at most {limits.body_bytes:,} bytes of a body are read", code="too-large")


def _chain(found: ssl.SSLObject | None) -> tuple[bytes, ...]:
    """All certificates that the caller showed, its own first, none of them judged."""
    if found is None:
        return ()
    # The public way to it (SSLObject.get_unverified_chain) came with Python 3.13; before, it is one step further in.
    inner: Any = getattr(found, "_sslobj", found)
    shown = inner.get_unverified_chain() or ()
    # A caller that shows none is None in a list of its own.
    return tuple(each if isinstance(each, bytes) else each.public_bytes(_DER) for each in shown if each is not None)
