"""One tool server that is elsewhere: what it answers over streamable HTTP, one message after the other.

It is asked at one address and nowhere else: no redirect is followed, no proxy of the environment is used, a certificate
is verified, and what is sent beside the messages is what the operator names. An answer is bounded, and is taken as it
came: one that is compressed is refused, since nobody could say how long it is before it is read. Which message answers
which is judged in `carrying`.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from typing import Any, Final

import httpx2

from failwell.core.errors import InputError, Unreachable
from failwell.mcp.messages import Malformed, Reply, read
from failwell.mcp.plain_text import clean
from failwell.ports.addresses import Address, is_loopback, parse_address
from failwell.relay.events import Events
from failwell.relay.routing import REVISION_HEADER, SESSION_HEADER

CONNECT_S: Final = 10.0
#: How long a server may be silent in the middle of an answer; the deadline of a call is its caller's.
SILENCE_S: Final = 600.0
FAREWELL_S: Final = 2.0
MAX_RESUMED: Final = 3
MAX_CONNECTIONS: Final = 64
_MAX_ERROR_BYTES: Final = 65_536
_MAX_SESSION_CHARACTERS: Final = 512
_JSON: Final = "application/json"
_EVENTS: Final = "text/event-stream"


class SessionGone(Unreachable):
    """The server knows nothing any more of what was begun with it."""

    code = "session-gone"


class Lost(Unreachable):
    """It was asked, and its answer cannot be had: what it was asked to do may have been done."""

    code = "lost"


class NotOffered(Unreachable):
    """The server does not do this at all, and it is no use to ask again."""

    code = "not-offered"


class Elsewhere:
    """`headers` go with each request. Made on the loop; `leave` ends it."""

    def __init__(
        self, url: str, *, headers: Mapping[str, str], allow_remote: bool = False, ca_file: str | None = None,
        max_bytes: int,
    ) -> None:  # fmt: skip
        address = parse_address(url, allow_remote=allow_remote)
        self._url, self._extensions = _at_literal(url, address)
        self._headers = {**headers, "Host": _host_of(url)}
        self._max_bytes = max_bytes
        self.session: str | None = None
        self.revision: str | None = None
        self._client = httpx2.AsyncClient(
            verify=_trusting(ca_file) if address.secure else True, trust_env=False, follow_redirects=False,
            timeout=httpx2.Timeout(CONNECT_S, read=SILENCE_S, pool=None),
            limits=httpx2.Limits(max_connections=MAX_CONNECTIONS),
        )  # fmt: skip

    async def answers(
        self, body: bytes, headers: Mapping[str, str], *, begins: bool = False
    ) -> AsyncGenerator[bytes, None]:
        """Send one message and yield what is said to it, message by message; Unreachable where it cannot be had.

        `begins`: it opens a session, which its answer may name.
        """
        events = Events(self._max_bytes)
        with _in_our_words():
            async with self._asked("POST", body, {"Content-Type": _JSON, **headers}) as response:
                if begins:
                    self._begun(response)
                if response.status_code >= 400:
                    yield await self._refusal(response)
                    return
                if response.status_code == 202:
                    return
                if _kind(response) == _JSON:
                    yield await self._whole(response, self._max_bytes)
                    return
                async for data in self._stream(response, events):
                    yield data
        async for data in self._resumed(events):
            yield data

    async def _resumed(self, events: Events) -> AsyncGenerator[bytes, None]:
        """Take up a stream that ended early where the server says that it can be taken up."""
        for _ in range(MAX_RESUMED):
            if events.last_id is None:
                return
            await asyncio.sleep(events.retry_ms / 1000)
            with _in_our_words():
                async with self._asked("GET", None, {"Last-Event-ID": events.last_id}) as response:
                    async for data in self._stream(response, events):
                        yield data

    async def told(self) -> AsyncGenerator[bytes, None]:
        """Yield what the server says without being asked, until it ends that or will not begin; Unreachable."""
        with _in_our_words():
            async with self._asked("GET", None, {}, read_s=None) as response:
                if response.status_code == 405:
                    raise NotOffered("it says nothing without being asked")
                async for data in self._stream(response, Events(self._max_bytes)):
                    yield data

    async def leave(self) -> None:
        """Say that the session is over, if there is one, and close every connection."""
        if self.session is not None:
            with contextlib.suppress(httpx2.HTTPError, Unreachable, TimeoutError):
                async with asyncio.timeout(FAREWELL_S), self._asked("DELETE", None, {}):
                    pass
        await self._client.aclose()

    def _begun(self, response: httpx2.Response) -> None:
        """Keep the session that the answer to initialize names. Later ones change nothing."""
        session = response.headers.get(SESSION_HEADER)
        if self.session is None and session is not None:
            if not session.isascii() or not session.isprintable() or len(session) > _MAX_SESSION_CHARACTERS:
                raise Unreachable("it names its session by what is no name")
            self.session = session

    # ---------------------------------------------------------------------------------------- one exchange

    @contextlib.asynccontextmanager
    async def _asked(
        self, method: str, body: bytes | None, headers: Mapping[str, str], read_s: float | None = SILENCE_S
    ) -> AsyncIterator[httpx2.Response]:
        sent = {
            **self._headers, "Accept": _EVENTS if method == "GET" else f"{_JSON}, {_EVENTS}",
            "Accept-Encoding": "identity", "User-Agent": "failwell",
        }  # fmt: skip
        if self.session is not None:
            sent[SESSION_HEADER] = self.session
        if self.revision is not None:
            sent[REVISION_HEADER] = self.revision
        sent.update(headers)
        timeout = httpx2.Timeout(CONNECT_S, read=read_s, pool=None)
        async with self._client.stream(
            method, self._url, content=body, headers=sent, timeout=timeout, extensions=self._extensions
        ) as response:
            self._judge(response)
            yield response

    def _judge(self, response: httpx2.Response) -> None:
        if 300 <= response.status_code < 400:
            place = clean(response.headers.get("location", ""), 200)
            raise Unreachable(
                f"it sends callers elsewhere ({place}), where nobody follows", hint="Set that as its url."
            )
        if response.status_code == 404 and self.session is not None:
            raise SessionGone("it has ended the session")
        if response.headers.get("content-encoding", "identity") != "identity":
            raise Lost("it compresses its answer, which it was not asked to")

    async def _refusal(self, response: httpx2.Response) -> bytes:
        """Return the error that comes with a status of one; where none does, the status is all there is to say."""
        if _kind(response) == _JSON:
            raw = await self._whole(response, _MAX_ERROR_BYTES)
            with contextlib.suppress(Malformed):
                message = read(raw.replace(b"\n", b" "))
                if isinstance(message, Reply) and message.error:
                    return raw
        kind = Lost if response.status_code >= 500 else Unreachable
        raise kind(f"it answered with HTTP status {response.status_code}")

    async def _whole(self, response: httpx2.Response, most: int) -> bytes:
        found = bytearray()
        async for chunk in response.aiter_raw():
            found += chunk
            if len(found) > most:
                raise Lost(f"it answered with more than {most} bytes")
        return bytes(found)

    async def _stream(self, response: httpx2.Response, events: Events) -> AsyncIterator[bytes]:
        if response.status_code != 200 or _kind(response) != _EVENTS:
            raise Lost(f"it answered with HTTP status {response.status_code} and neither JSON nor events")
        try:
            async for chunk in response.aiter_raw():
                for event in events.feed(chunk):
                    if event.kind == b"message" and event.data:
                        yield event.data
        except InputError as error:
            raise Lost(f"it sent {error.message}") from None
        except httpx2.TransportError:
            if events.last_id is None:
                raise


@contextlib.contextmanager
def _in_our_words() -> Iterator[None]:
    """Attack: an exception whose text names the address with its query, or repeats what a server said."""
    try:
        yield
    except httpx2.ConnectTimeout:
        raise Unreachable(f"it cannot be connected to within {CONNECT_S:g} s") from None
    except httpx2.ConnectError as error:
        raise Unreachable(f"it cannot be connected to: {_reason(error)}") from None
    except httpx2.HTTPError as error:
        raise Lost(f"the connection ended before its answer was whole ({type(error).__name__})") from None


def _reason(error: BaseException) -> str:
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, ssl.SSLCertVerificationError):
            return "its certificate does not verify"
        if isinstance(inner, OSError) and inner.strerror:
            return inner.strerror
        inner = inner.__cause__ or inner.__context__
    return type(error).__name__


def _kind(response: httpx2.Response) -> str:
    return str(response.headers.get("content-type", "")).partition(";")[0].strip().lower()


def _host_of(url: str) -> str:
    return httpx2.URL(url).netloc.decode("ascii")


def _trusting(ca_file: str | None) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=ca_file)


def _at_literal(url: str, address: Address) -> tuple[httpx2.URL, dict[str, Any]]:
    """Return where to connect. Attack: a "localhost" that leads elsewhere, which would be sent the secrets first."""
    parsed = httpx2.URL(url)
    if address.host != "localhost":
        return parsed, {}
    found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    here = [str(each[4][0]) for each in found if is_loopback(str(each[4][0]))]
    if not here:
        raise InputError("localhost leads to another machine")
    return parsed.copy_with(host=here[0]), {"sni_hostname": "localhost"}
