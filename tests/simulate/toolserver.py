"""A tool server as docs/permits.md tells to build one: it acts on a permit, and keeps its own log of what it did.

Run as `python -m tests.simulate.toolserver KEYS ISSUER AUDIENCE STORE LOG [AWAIT]`; prints its port. `POST /TOOL` with
the arguments as body and the permit in `Failwell-Permit`.
"""

from __future__ import annotations

import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from failwell.permits import PermitRefused, Verifier


def serve(keys: str, issuer: str, audience: str, store: str, log: str) -> None:
    """Answer on a port of the loopback until killed."""
    verifier = Verifier(Path(keys).read_text(), issuer=issuer, audience=audience, store=store, leeway_s=0)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            try:
                permit = verifier.check(self.headers["Failwell-Permit"], tool=self.path[1:], arguments=body)
            except PermitRefused as refused:
                self._answer(403, {"code": refused.code})
                return
            line = {"action": permit.action, "agent": permit.agent, "at_us": time.time_ns() // 1000}
            handle = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            os.write(handle, json.dumps(line).encode() + b"\n")
            os.close(handle)
            self._answer(200, {"did": permit.action})

        def _answer(self, status: int, told: dict[str, object]) -> None:
            data = json.dumps(told).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    serve(*sys.argv[1:6])
