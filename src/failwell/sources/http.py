"""A source that is an address: the arguments posted as one JSON object, one JSON value as the whole answer.

Only this machine's own addresses, unless the operator allows another, and then only by TLS. No redirect is followed,
no proxy of the environment is used, nothing is sent but the arguments. An answer counts only when it is whole: one
whose length nobody stated could have been cut off in the middle of a number.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading

from failwell.ports.addresses import Address, is_loopback, parse_address
from failwell.ports.sources import MAX_ANSWER_BYTES, Reply


class HttpSource:
    """See `ports.sources.Source`. `ca_file`: who may have issued the source's certificate; None: the system's list."""

    def __init__(self, url: str, *, allow_remote: bool = False, ca_file: str | None = None) -> None:
        self._address = parse_address(url, allow_remote=allow_remote)
        self._allow_remote = allow_remote
        self._ca_file = ca_file

    def asking(self, arguments: bytes, within_us: int) -> _Asking:
        return _Asking(self._address, arguments, within_us / 1_000_000, self._ca_file, self._allow_remote)


class _Asking:
    """One request on one connection."""

    def __init__(
        self, address: Address, arguments: bytes, within_s: float, ca_file: str | None, allow_remote: bool
    ) -> None:  # fmt: skip
        self._address = address
        self._arguments = arguments
        self._within_s = within_s
        self._ca_file = ca_file
        self._allow_remote = allow_remote
        self._lock = threading.Lock()
        self._stopped = False
        #: A second handle of the connection, by which another thread ends it.
        self._handle: socket.socket | None = None

    def run(self) -> Reply:
        try:
            return self._ask()
        except (OSError, ValueError, http.client.HTTPException) as error:
            if self._stopped or isinstance(error, TimeoutError):
                return Reply(state="late", detail="no whole answer within its time")
            return Reply(state="failed", detail=_words(error))

    def stop(self) -> None:
        with self._lock:
            self._stopped = True
            if self._handle is not None:
                with contextlib.suppress(OSError):
                    self._handle.shutdown(socket.SHUT_RDWR)

    def _ask(self) -> Reply:
        address = self._address
        with socket.create_connection((address.host, address.port), self._within_s) as plain:
            # Attack: a name that leads elsewhere. What counts is who is at the other end.
            if not self._allow_remote and not is_loopback(str(plain.getpeername()[0])):
                return Reply(state="failed", detail="its name leads to another machine")
            with self._lock:
                if self._stopped:
                    return Reply(state="late", detail="its time was over before it was asked")
                self._handle = plain.dup()
            try:
                return self._exchange(plain)
            finally:
                with self._lock:
                    self._handle.close()
                    self._handle = None

    def _exchange(self, plain: socket.socket) -> Reply:
        address = self._address
        connection = http.client.HTTPConnection(address.host, address.port)
        connection.sock = self._secured(plain) if address.secure else plain
        with contextlib.closing(connection):
            headers = {"Content-Type": "application/json", "Accept": "application/json", "Connection": "close"}
            connection.request("POST", address.path, self._arguments, headers)
            response = connection.getresponse()
            if response.status != 200:
                return Reply(state="failed", detail=f"status {response.status}")
            stated = response.length is not None or bool(response.chunked)
            text = response.read(MAX_ANSWER_BYTES + 1)
            if len(text) > MAX_ANSWER_BYTES:
                return Reply(state="failed", detail=f"it said more than {MAX_ANSWER_BYTES} bytes")
            # Attack: 49 of 4900, and the connection is gone.
            if not stated or response.length:
                return Reply(state="failed", detail="its answer is cut off, or says not how long it is")
            if self._stopped:
                return Reply(state="late", detail="no whole answer within its time")
            return Reply(state="answered", text=text)

    def _secured(self, plain: socket.socket) -> ssl.SSLSocket:
        context = ssl.create_default_context(cafile=self._ca_file)
        return context.wrap_socket(plain, server_hostname=self._address.host)


def _words(error: Exception) -> str:
    """What went wrong, without a word of the other side's."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return "its certificate does not verify"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__
