"""A gateway over HTTP as a process, and callers of it that say what they are told to say, well-mannered or not."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from failwell.core import contract as contracts
from failwell.core import orders as o
from failwell.identity import agents, http_signatures, keys
from failwell.identity.own_tokens import make_token
from tests.simulate.house import ROOT, House
from tests.simulate.upstreams import CONTRACT, furnish

HANDSHAKE, STATELESS = "2025-11-25", "2026-07-28"
META = {"io.modelcontextprotocol/protocolVersion": STATELESS, "io.modelcontextprotocol/clientCapabilities": {}}
BOTH = "application/json, text/event-stream"
ASKING = """
clauses:
  - {{id: ask-first, escalate: other.echo, when: 'context.args.text == "maybe"', severity: minor}}
"""


class Answer(NamedTuple):
    """One HTTP answer; `told` is the JSON-RPC message in it, the last where they are events."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def told(self) -> Any:
        if self.headers.get("content-type", "").startswith("text/event-stream"):
            return json.loads(events(self.body)[-1][1])
        return json.loads(self.body) if self.body else None

    @property
    def text(self) -> str:
        """What the tool said."""
        return str(self.told["result"]["content"][0]["text"])


def events(body: bytes) -> list[tuple[str | None, str]]:
    """Id and data of each event that has data."""
    found = []
    for block in body.decode().split("\n\n"):
        fields = [line.partition(":") for line in block.split("\n") if line and not line.startswith(":")]
        named = next((value.strip() for name, _, value in fields if name == "id"), None)
        data = "\n".join(value.removeprefix(" ") for name, _, value in fields if name == "data")
        if data:
            found.append((named, data))
    return found


class GatewayProcess:
    """`failwell gateway --http` on a house's workspace."""

    def __init__(self, house: House, *options: str) -> None:
        self.house = house
        self._log = open(house.root / "gateway.err", "ab")  # noqa: SIM115  as long as the process
        self.process = subprocess.Popen(
            [sys.executable, "-m", "failwell", "gateway", "--http", "127.0.0.1:0", "--json", "--workspace",
             str(house.workspace.path), *options],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self._log, cwd=ROOT,
            env={**os.environ, "FAILWELL_CONFIG": str(house.config)}, start_new_session=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.said()
        self.url = str(json.loads(line)["url"])
        self.address = self.url.removesuffix("/mcp")
        self._calls = 0

    def said(self) -> str:
        return (self.house.root / "gateway.err").read_text()

    def client(self, agent: str = "refund-bot") -> HttpClient:
        return HttpClient(self, {"authorization": f"Bearer {token(self.house, agent)}"})

    def stop(self) -> int:
        self.process.terminate()
        return self._ended()

    def kill(self) -> None:
        self.process.kill()
        self._ended()

    def _ended(self) -> int:
        code = self.process.wait(15)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self._log.close()
        return code


@contextlib.contextmanager
def gateway(house: House, *options: str) -> Iterator[GatewayProcess]:
    made = GatewayProcess(house, *options)
    try:
        yield made
    finally:
        if made.process.poll() is None:
            assert made.stop() == 0, made.said()


class HttpClient:
    """Speaks to a gateway as it is told. `fields` go with each request."""

    def __init__(self, door: GatewayProcess, fields: dict[str, str]) -> None:
        self.door = door
        self.fields = fields
        self.session: str | None = None
        self._number = 0

    def next(self) -> int:
        self._number += 1
        return self._number

    def begin(
        self, method: str, body: Any = None, fields: dict[str, str | None] | None = None
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:  # fmt: skip
        """Send a request and read the head of its answer. A field of None is left out."""
        address = self.door.address.partition("://")[2]
        told: dict[str, str | None] = {"accept": BOTH, "mcp-protocol-version": HANDSHAKE, **self.fields}
        if self.session is not None:
            told["mcp-session-id"] = self.session
        data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        if data is not None:
            told["content-type"] = "application/json"
        told |= fields or {}
        connection = http.client.HTTPConnection(address, timeout=30)
        sent = {name: value for name, value in told.items() if value is not None}
        connection.request(method, sent.pop(":path", "/mcp"), data, sent)
        return connection, connection.getresponse()

    def send(self, method: str, body: Any = None, fields: dict[str, str | None] | None = None) -> Answer:
        connection, response = self.begin(method, body, fields)
        with contextlib.closing(connection):
            headers = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, headers, response.read())

    # -- the handshake era -------------------------------------------------------------------------------------

    def open(self, **fields: str | None) -> Answer:
        """A session; `fields` as failwell_run for Failwell-Run."""
        params = {"protocolVersion": HANDSHAKE, "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
        named = {name.replace("_", "-"): value for name, value in fields.items()}
        answer = self.send("POST", self.message("initialize", params), {"mcp-protocol-version": None, **named})
        self.session = answer.headers.get("mcp-session-id")
        return answer

    def message(self, method: str, params: Any) -> dict[str, Any]:
        return {"jsonrpc": "2.0", "id": self.next(), "method": method, "params": params}

    def ask(self, method: str, params: Any = None, **fields: str | None) -> Answer:
        named = {name.replace("_", "-"): value for name, value in fields.items()}
        return self.send("POST", self.message(method, params or {}), named)

    def call(self, tool: str, arguments: Any, meta: Any = None, **fields: str | None) -> Answer:
        params = {"name": tool, "arguments": arguments, **({} if meta is None else {"_meta": meta})}
        return self.ask("tools/call", params, **fields)

    # -- the stateless era -------------------------------------------------------------------------------------

    def alone(self, method: str, params: Any = None, **fields: str | None) -> Answer:
        """A request that stands for itself."""
        body, headers = self.alone_parts(method, params)
        return self.send("POST", body, {**headers, **{name.replace("_", "-"): value for name, value in fields.items()}})

    def alone_parts(self, method: str, params: Any = None) -> tuple[dict[str, Any], dict[str, str | None]]:
        said = {**(params or {}), "_meta": META}
        headers: dict[str, str | None] = {"mcp-protocol-version": STATELESS, "mcp-method": method}
        if "name" in said:
            headers["mcp-name"] = said["name"]
        return self.message(method, said), headers


def token(house: House, agent: str = "refund-bot", *, issued_s: int | None = None) -> str:
    """A token of an agent, made with its own key."""
    now = int(time.time()) if issued_s is None else issued_s
    origin, name = house.workspace.origin(), house.full(agent)
    return make_token(house.agent_keys[agent], name, origin, issued_s=now, hours=1, jti=secrets.token_hex(16))


def passed_on(
    door: GatewayProcess, key: keys.SigningKey, host: str, body: Any, behalf: dict[str, str], *,
    signed: dict[str, str] | None = None,
) -> Answer:  # fmt: skip
    """What a proxy sends that proves to be `host`; `signed`: what its signature covers, where that is another thing."""
    client = HttpClient(door, {})
    data = json.dumps(body).encode()
    hello = client.send("GET", None, {"accept": None})
    stamp = http_signatures.Stamp(int(time.time()), f"{hello.headers['failwell-door']}.{secrets.token_hex(16)}")
    covered = behalf if signed is None else signed
    proof = http_signatures.sign(key, "host", host, "POST", door.url, data, stamp, behalf=covered)
    return client.send("POST", data, {**proof, **behalf, "mcp-protocol-version": None})


def furnish_well(root: Path, names: tuple[str, ...]) -> House:
    """A house whose agents use the tool server `other`, which ends when it is told to, and ask before "maybe"."""
    house = furnish(root, names)
    for agent in names:
        text = (CONTRACT + ASKING).format(agent=agent).replace("version: 2", "version: 3").replace(": 1s", ": 20s")
        made = contracts.load(text, name=agent)
        house.hand("bert").adopt_contract(made, house.hand("anna").sign_contract(made))
    return house


def register_host(house: House, name: str, *whom: str) -> keys.SigningKey:
    """An application that may open runs for these agents; its key."""
    key = agents.create_host_key(house.config, house.workspace.origin(), name)
    public = base64.b64encode(key.public).decode()
    details = o.HostRegister(host=name, key=public, agents=tuple(house.full(agent) for agent in whom))
    house.hand("anna").give("host.register", details)
    return key
