"""A tool server elsewhere, through a whole node: its relay is supervised, its secret stays, and its end is honest."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from failwell.core import contract as contracts
from failwell.mcp.definitions import digest_of
from tests.simulate.fixtures import model, stage
from tests.simulate.house import House, apply, await_true
from tests.simulate.upstreams import KEY, client, text_of

__all__ = ["stage"]

TOOL = {"name": "do", "inputSchema": {"type": "object", "properties": {"how": {"type": "string"}}}}
CONTRACT = """
contract: bot-00
version: 2
agent: spiffe://shop.example/agent/bot-00
owner: anna
purpose: Use a tool server that is elsewhere.
tools:
  - {tool: far.do, effect: reversible, executor: unstoppable, custody: broker, deadline: 20s,
     arguments: {how: "string(0..20)"}}
"""


class Elsewhere(http.server.BaseHTTPRequestHandler):
    heard: ClassVar[list[tuple[str, str | None]]] = []
    go_on = threading.Event()

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        how = asked.get("params", {}).get("arguments", {}).get("how")
        self.heard.append((how or asked["method"], self.headers["X-Key"]))
        if "id" not in asked:
            self._say(202, b"")
        elif how == "hang up":
            self.close_connection = True
        elif how == "wait":
            self.go_on.wait(20)
        else:
            result = json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": self._result(asked["method"])})
            self._say(200, result.encode())

    def _result(self, method: str) -> dict[str, Any]:
        if method == "initialize":
            return {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}}
        return {"tools": [TOOL]} if method == "tools/list" else {"content": [{"type": "text", "text": f"with {KEY}"}]}

    def _say(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def house(stage: Path) -> Iterator[House]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere)
    serving = threading.Thread(target=server.serve_forever, daemon=True)
    serving.start()
    made = model().copy(stage / "far")
    try:
        key = made.workspace.path / "shop.key"
        key.write_text(KEY + "\n")
        key.chmod(0o600)
        made.node(crashing=True)
        contract = contracts.load(CONTRACT, name="bot-00")
        made.hand("bert").adopt_contract(contract, made.hand("anna").sign_contract(contract))
        apply(
            made,
            f"""
[secrets.shop]
file = "shop.key"
[upstreams.far]
url = "http://127.0.0.1:{server.server_address[1]}/mcp"
secrets = {{X-Key = "shop"}}
tools = {{do = "{digest_of(TOOL)}"}}
""",
        )
        yield made
    finally:
        Elsewhere.go_on.set()
        made.tear_down()
        server.shutdown()
        server.server_close()


def test_a_server_elsewhere_is_asked_with_its_secret_and_what_became_of_a_call_is_said_as_it_is(house: House) -> None:
    mine = client(house, "bot-00", "far")
    answer = mine.call("far.do", {"how": "well"})
    assert answer["result"]["state"] == "completed"
    assert KEY not in text_of(answer)
    assert ("well", KEY) in Elsewhere.heard
    lost = mine.call("far.do", {"how": "hang up"})["result"]
    assert (lost["state"], lost["output"]) == ("unknown", "")
    assert "not known" in lost["why"]
    sent = mine.send("far.do", {"how": "wait"})
    await_true(lambda: ("wait", KEY) in Elsewhere.heard)
    assert house.suspend("bot-00") is not None
    stopped = sent.result(15)["result"]
    assert stopped["state"] == "interrupted_unconfirmed"  # what goes on there nobody here can see
    await_true(lambda: not house.alive(), 10)
