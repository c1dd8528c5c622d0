"""Ticket desks and a syslog server that keep what they are told, each behind real HTTP or TCP on loopback.

They answer as ServiceNow's Table API, Jira's REST API 2 and a syslog server of RFC 5425 and RFC 6587 do, as far as a
feed asks them. What they were told stands in their attributes; `fail_next` makes them answer that they cannot.
"""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.receivers import Handler

USER = "Basic ZmFpbHdlbGw6czNjcjN0LXRva2Vu"  # failwell:s3cr3t-token
SECRET = "failwell:s3cr3t-token"


class _Desk:
    """What both have: who may ask, and failures that are ordered."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.fail_next = 0
        self.asked: list[tuple[str, str]] = []

    def __call__(self, handler: Handler) -> None:
        came = handler.server.owner.received[-1]
        with self.lock:
            self.asked.append((came.method, came.path))
            if came.headers.get("authorization") != USER:
                handler.answer(401, b'{"error":"who are you"}')
                return
            if self.fail_next:
                self.fail_next -= 1
                handler.answer(503, b"maintenance")
                return
            status, told = self.do(came.method, came.path, json.loads(came.body) if came.body else None)
        handler.answer(status, json.dumps(told).encode(), content_type="application/json")

    def do(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        raise NotImplementedError


class ServiceNowDesk(_Desk):
    """`records` by sys_id; `work_notes` of each are a list."""

    def __init__(self) -> None:
        super().__init__()
        self.records: dict[str, dict[str, Any]] = {}

    def do(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        parts = urlsplit(path)
        query = parse_qs(parts.query)
        place = parts.path.removeprefix("/api/now/table/incident").strip("/")
        if method == "GET":
            wanted = query.get("sysparm_query", [""])[0].removeprefix("correlation_id=")
            found = [name for name, record in self.records.items() if record["correlation_id"] == wanted or not wanted]
            return 200, {"result": [{"sys_id": name} for name in found[:1]]}
        if method == "POST":
            name = f"{len(self.records) + 1:032x}"
            self.records[name] = {**body, "work_notes": [], "state": "1"}
            return 201, {"result": {"sys_id": name}}
        if place not in self.records:
            return 404, {"error": {"message": "No Record found"}}
        record = self.records[place]
        record["work_notes"].append(body.pop("work_notes"))
        record.update(body)
        return 200, {"result": {"sys_id": place}}


class JiraDesk(_Desk):
    """`issues` by key; `comments` of each are a list. `cloud` has the newer of the two searches alone."""

    def __init__(self, *, cloud: bool = True) -> None:
        super().__init__()
        self.issues: dict[str, dict[str, Any]] = {}
        self._search = "/rest/api/2/search/jql" if cloud else "/rest/api/2/search"

    def do(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        if path == "/rest/api/2/project/OPS":
            return 200, {"key": "OPS"}
        if path == self._search:
            label = body["jql"].rpartition('labels = "')[2].rstrip('"')
            found = [key for key, issue in self.issues.items() if label in issue["labels"]]
            return 200, {"issues": [{"key": key} for key in found[:1]]}
        if path == "/rest/api/2/issue":
            key = f"OPS-{len(self.issues) + 1}"
            self.issues[key] = {**body["fields"], "comments": []}
            return 201, {"id": "1", "key": key}
        issue = self.issues.get(path.removeprefix("/rest/api/2/issue/").removesuffix("/comment"))
        if issue is None or not path.endswith("/comment"):
            return 404, {"errorMessages": ["no such page"]}
        issue["comments"].append(body["body"])
        return 201, {"id": str(len(issue["comments"]))}


class SyslogServer:
    """Reads messages that are framed by their length, and ends a connection after its other side has."""

    def __init__(self, *, tls: ssl.SSLContext | None = None, resets: bool = False, silent: bool = False) -> None:
        self.messages: list[str] = []
        self.resets, self.silent = resets, silent
        self._tls = tls
        self._over = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._take, daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def _take(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._serve, args=(self._listener.accept()[0],), daemon=True).start()

    def _serve(self, line: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError), line:
            if self._tls is None:
                self._read(line)
            else:
                with self._tls.wrap_socket(line, server_side=True) as secure:
                    self._read(secure)

    def _read(self, line: socket.socket) -> None:
        data = b""
        while more := line.recv(65536):
            data += more
            if self.resets:
                line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                return
        while data:
            length, _, rest = data.partition(b" ")
            self.messages.append(rest[: int(length)].decode())
            data = rest[int(length) :]
        if self.silent:
            self._over.wait(30)

    def close(self) -> None:
        self._over.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
