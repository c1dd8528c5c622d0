"""Permits on their way: a real node issues them, a real tool server takes them, and a stop reaches what it can."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import http.client
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import failwell
from failwell.core import contract as contracts
from failwell.core.errors import FailwellError
from failwell.core.instants import parse_at
from failwell.permits import PermitRefused, Verifier
from failwell.permits.refusal import CODES
from tests.e2e.test_guarded_node import no_guard
from tests.simulate.fixtures import model, stage
from tests.simulate.house import CONTRACT, ROOT, SETTINGS, House, apply, await_true

__all__ = ["stage"]

#: One agent for each test that stops its own.
AGENTS = ("refund-bot", "other-bot", "bot-00", "bot-01")

TOOLS = """
  - {tool: refunds.pay, effect: reversible, custody: none, arguments: {order: "string(1..40)", cents: "int(0..10000)"}}
  - {tool: refunds.wire, effect: irreversible, executor: unstoppable, custody: none, deadline: 60s,
     arguments: {order: "string(1..40)"}}
  - {tool: refunds.batch, effect: reversible, executor: supervised, custody: none, deadline: 60s,
     arguments: {order: "string(1..40)"}}
clauses:
"""
PERMITS = """
[permits]
lifetime_s = 20
[tools."refunds.pay"]
permit = "shop-api"
[tools."refunds.wire"]
permit = "shop-api"
[tools."vault.open"]
permit = "vault-api"
command = ["{python}", "-S", "{root}/vault.py"]
fence = ["{python}", "-m", "failwell.permits", "fence", "--store", "{root}/vault.db"]
[tools."refunds.batch"]
permit = "shop-api"
command = ["{python}", "-S", "{root}/batch.py"]
"""
PAY = {"order": "A-1009", "cents": 4990}


class Server:
    """A tool server process of a house."""

    def __init__(self, house: House, store: str = "server.db") -> None:
        told = house.ask("permit-keys")
        self.root = house.root
        self.store = house.root / store
        self.log = house.root / "server.log"
        (house.root / "permits.jwks").write_text(told["jwks"])
        self.process = subprocess.Popen(
            [
                sys.executable, "-m", "tests.simulate.toolserver", str(house.root / "permits.jwks"), told["issuer"],
                "shop-api", str(self.store), str(self.log),
            ],
            cwd=ROOT, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def ask(self, token: str, arguments: Any, tool: str = "refunds.pay") -> tuple[int, dict[str, Any]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        with contextlib.closing(connection):
            connection.request("POST", f"/{tool}", json.dumps(arguments), {"Failwell-Permit": token})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())

    def fence(self, scope: str, epoch: int) -> None:
        subprocess.run(
            [sys.executable, "-m", "failwell.permits", "fence", scope, str(epoch), "--store", str(self.store)],
            check=True, capture_output=True, timeout=20,
        )  # fmt: skip

    def did(self) -> list[int]:
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [json.loads(line)["action"] for line in lines]

    def end(self) -> None:
        self.process.kill()
        self.process.wait(10)
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture(scope="module")
def shop(stage: Path) -> Iterator[House]:
    """A house whose agents may ask a tool server, with its node running; one for all tests here."""
    house = model().copy(stage / "shop")
    try:
        house.node(crashing=True)
        for agent in AGENTS:
            contract = CONTRACT.format(agent=agent, version=2, at_most=1000, deadline="60s")
            made = contracts.load(contract.replace("clauses:\n", TOOLS, 1), name=agent)
            house.hand("bert").adopt_contract(made, house.hand("anna").sign_contract(made))
        hand_on = "import os, sys\nopen({!r}, 'w').write(os.environ['FAILWELL_PERMIT'])\n"
        batch, vault = (hand_on.format(str(house.root / f"{name}.permit")) for name in ("batch", "vault"))
        (house.root / "batch.py").write_text(f"{batch}print(os.environ['FAILWELL_PERMIT'], sys.stdin.read())\n")
        (house.root / "vault.py").write_text(f"{vault}import time\ntime.sleep(60)\n")
        apply(house, SETTINGS + PERMITS.format(python=sys.executable, root=house.root))
        told = house.ask("permit-keys")
        (house.root / "doc").mkdir()
        (house.root / "doc" / "permits.jwks").write_text(told["jwks"])
        # The document's own server, begun before the other tests: for its leeway it takes no permit.
        Verifier(told["jwks"], issuer=told["issuer"], audience="shop-api", store=house.root / "doc" / "permits.db")
        yield house
    finally:
        house.tear_down()


@pytest.fixture(scope="module")
def server(shop: House) -> Iterator[Server]:
    made = Server(shop)
    yield made
    made.end()


def issued(house: House) -> list[dict[str, Any]]:
    return [entry["body"] for entry in house.entries("permit.issued")]


def ends(house: House) -> dict[int, dict[str, Any]]:
    """What came of each action, by its decision."""
    return {entry["body"]["decision"]: entry["body"] for entry in house.entries("outcome")}


def code(verifier: Verifier, token: str, tool: str, arguments: Any) -> str:
    try:
        verifier.check(token, tool=tool, arguments=arguments)
    except PermitRefused as refused:
        return refused.code
    return ""


def test_an_agent_asks_a_tool_server_with_a_permit_that_is_good_once(shop: House, server: Server) -> None:
    with shop.gate() as gate, gate.run("refund-bot") as run:
        permit = run.permit("refunds.pay", PAY, audience="shop-api", reason="parcel lost", call_id="once")
        assert permit.token not in repr(permit)
        assert server.ask(permit.token, {**PAY, "cents": 4991}) == (403, {"code": "arguments"})
        assert server.ask(permit.token, PAY, "refunds.wire") == (403, {"code": "tool"})
        assert server.ask(permit.token, PAY) == (200, {"did": permit.verdict.entry})
        assert server.ask(permit.token, PAY) == (403, {"code": "used"})
        with pytest.raises(failwell.Error, match="does not run again") as again:
            run.permit("refunds.pay", PAY, audience="shop-api", call_id="once")
        assert again.value.code == "repeated"
        with pytest.raises(failwell.Denied):
            run.permit("refunds.pay", {**PAY, "cents": 10_001}, audience="shop-api")
    entry = shop.entries("permit.issued")[-1]
    [key] = shop.entries("permit.key")
    assert entry["seq"] == permit.entry > permit.verdict.entry == entry["body"]["decision"]
    assert entry["body"]["kid"] == key["body"]["kid"]
    assert entry["body"]["expires"] == permit.expires
    assert 18_000_000 < parse_at(permit.expires) - parse_at(entry["at"]) <= 20_000_000
    # As with any leave to act by oneself: nobody here saw what came of it.
    assert shop.entries("outcome")[-1]["body"]["state"] == "unknown"
    assert server.did() == [permit.verdict.entry]
    shop.verify()
    token = permit.token.encode()
    record = shop.workspace.ledger.read_bytes() + Path(f"{shop.workspace.ledger}-wal").read_bytes()
    assert token not in record
    assert permit.token.rpartition(".")[2].encode() not in record


@pytest.mark.requirement("R8.24")
def test_only_for_the_server_that_an_operator_declared_and_in_the_class_that_is_promised(shop: House) -> None:
    caller, before = shop.agent(), len(issued(shop))
    for fields, wanted in (
        ({"audience": "evil-api"}, "is not declared to speak to evil-api"),
        ({"audience": "vault-api"}, "is not declared to speak to vault-api"),
        ({"audience": None}, "a permit is for one server"),
        ({"audience": "shop-api", "tool": "note.send", "customer": "c"}, "can only run it unstoppable"),
        ({"audience": "shop-api", "tool": "refunds.batch"}, "can only run it unstoppable"),
    ):
        given: dict[str, Any] = dict(fields)
        tool = given.pop("tool", "refunds.pay")
        arguments = {"customer": given.pop("customer")} if "customer" in given else PAY
        arguments = {"order": "A"} if tool == "refunds.batch" else arguments
        with pytest.raises(FailwellError, match=wanted):
            caller.ask(arguments, tool=tool, how="permit", **given).result(20)
        assert shop.entries("outcome")[-1]["body"]["state"] == "blocked"
    assert len(issued(shop)) == before
    answer = caller.act({"customer": "c"}, tool="vault.open", how="permit", audience="vault-api")
    assert answer["permit"]["audience"] == "vault-api"  # its resource has a fence: that keeps `fenced`
    shop.hold_true()


def test_a_supervised_tool_finds_its_permit_and_nobody_finds_it_in_what_the_tool_says(shop: House) -> None:
    told = shop.ask("permit-keys")
    verifier = Verifier(told["jwks"], issuer=told["issuer"], audience="shop-api", leeway_s=0)
    answer = shop.agent().act({"order": "A-1"}, tool="refunds.batch")
    assert answer["result"]["state"] == "completed"
    token = (shop.root / "batch.permit").read_text()
    output = base64.b64decode(answer["result"]["output"])
    assert b"[secret FAILWELL_PERMIT]" in output
    assert token.rpartition(".")[2].encode() not in output
    assert code(verifier, token, "refunds.batch", {"order": "A-2"}) == "arguments"
    assert code(verifier, token, "refunds.batch", {"order": "A-1"}) == ""
    entry = issued(shop)[-1]
    assert entry["decision"] == answer["verdict"]["entry"]
    shop.verify()


@pytest.mark.requirement("R6.14")
@pytest.mark.requirement("R8.13")
def test_what_a_stop_says_of_a_permit_that_is_out(shop: House, server: Server) -> None:
    """A permit issued just before the suspension: unconfirmed with its time; refused where the resource was told."""
    caller, other = shop.agent("other-bot"), shop.agent("other-bot")
    before = len(issued(shop))
    early = caller.act(PAY, tool="refunds.pay", how="permit", audience="shop-api")
    late = other.act({**PAY, "order": "B"}, tool="refunds.pay", how="permit", audience="shop-api")
    assert shop.suspend("other-bot").confirmed
    for asked in (early, late):
        end = await_true(lambda: ends(shop).get(asked["verdict"]["entry"]))  # noqa: B023  awaited within its turn
        assert end["state"] == "interrupted_unconfirmed"
        assert asked["permit"]["expires"] in end["why"]
        assert "shop-api" in end["why"]
    assert "CONTAINMENT_FAILED" in shop.incident_of("other-bot")["marks"]
    # Nobody told the server: until it lapses the permit is good there, and the record said so.
    assert server.ask(early["permit"]["token"], PAY)[0] == 200
    # It was told: the permit of just before is void, though it has not lapsed.
    changed = shop.entries("authority.changed")[-1]
    server.fence(f"agent:{changed['agent']}", changed["body"]["epoch"])
    assert server.ask(late["permit"]["token"], {**PAY, "order": "B"}) == (403, {"code": "epoch"})
    # And nothing more leaves.
    for how in ("permit", "decide"):
        answer = caller.act(PAY, tool="refunds.pay", how=how, audience="shop-api")
        assert answer["verdict"]["verdict"] == "DENY"
    assert len(issued(shop)) == before + 2
    shop.hold_true()
    shop.verify()


def test_a_stop_of_a_fenced_tool_voids_the_permit_that_it_holds(shop: House) -> None:
    """The settings' own fence command tells the resource: then the stop is confirmed, and the permit is refused."""
    told = shop.ask("permit-keys")
    resource = Verifier(
        told["jwks"], issuer=told["issuer"], audience="vault-api", store=shop.root / "vault.db", leeway_s=0
    )
    handed = shop.root / "vault.permit"
    for agent in ("bot-01", "refund-bot"):
        caller = shop.agent(agent)
        running = caller.ask({"customer": "c"}, tool="vault.open")
        token = await_true(lambda: handed.exists() and handed.read_text())
        handed.unlink()
        if agent == "bot-01":
            shop.suspend(agent)
            assert running.result(30)["result"]["state"] == "interrupted_confirmed"
        else:  # nobody is suspended, and no epoch moves: it is the action that is void
            shop.callers.remove(caller)
            caller.close()
            await_true(lambda: not shop.ask("running"))
        assert code(resource, token, "vault.open", {"customer": "c"}) == "epoch"


def test_a_permit_that_was_being_made_as_the_stop_came_never_leaves(shop: House) -> None:
    """Attack: permits stream out while the suspension comes. Each has left before it, or never does."""
    shop.ask("permit-keys")
    callers = [shop.agent("bot-00") for _ in range(4)]
    asked = [
        caller.ask({**PAY, "order": f"{number}"}, tool="refunds.pay", how="permit", audience="shop-api")
        for number in range(12)
        for caller in callers
    ]
    assert shop.suspend("bot-00", person="cleo").confirmed
    got: dict[int, str] = {}
    for future in asked:
        with contextlib.suppress(FailwellError):
            answer = future.result(30)
            if answer["permit"] is not None:
                got[answer["verdict"]["entry"]] = answer["permit"]["token"]
    await_true(lambda: set(got) <= set(ends(shop)))
    assert {ends(shop)[action]["state"] for action in got} <= {"interrupted_unconfirmed"}
    on_record = {entry["decision"] for entry in issued(shop)}
    assert set(got) <= on_record
    told = shop.ask("permit-keys")
    verifier = Verifier(told["jwks"], issuer=told["issuer"], audience="shop-api", leeway_s=0)
    changed = shop.entries("authority.changed")[-1]
    verifier.fence(f"agent:{changed['agent']}", changed["body"]["epoch"])
    assert all(code(verifier, token, "refunds.pay", PAY) != "" for token in got.values())
    shop.hold_true()
    shop.verify()


async def ask_awaited(shop: House) -> tuple[str, int]:
    with shop.gate() as gate:
        async with gate.run("refund-bot") as run:
            permit = await run.permit("refunds.wire", order="W-1", audience="shop-api")
            return permit.token, permit.entry


def test_the_document_runs_as_it_stands(shop: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """docs/permits.md: its server, its agent, and every code and claim that there is."""
    text = (ROOT / "docs" / "permits.md").read_text()
    serves, asks = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    monkeypatch.chdir(shop.root / "doc")
    monkeypatch.setenv("FAILWELL_WORKSPACE", str(shop.workspace.path))
    monkeypatch.setenv("FAILWELL_CONFIG", str(shop.config))
    names: dict[str, Any] = {}
    exec(serves.replace("failwell/0123456789abcdef", shop.workspace.origin()), names)
    names["call_server"] = lambda token, arguments: names["pay"](token, json.dumps(arguments).encode())
    began_us = names["verifier"]._register.since_us
    await_true(lambda: time.time_ns() // 1000 > began_us + 5_000_000)
    exec(asks, names)
    try:
        assert names["answer"] == (200, f"paid for action {names['permit'].verdict.entry}")
        assert names["call_server"](names["permit"].token, PAY) == (403, "used")
    finally:
        names["gate"].close()
    assert all(f"`{code}`" in text for code in CODES)
    payload = names["permit"].token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    assert all(f"`{name}`" in text for name in claims)


def test_what_cannot_be_undone_leaves_sealed(shop: House, server: Server) -> None:
    token, entry = asyncio.run(ask_awaited(shop))
    assert shop.ask("status")["sealed"] > entry
    assert server.ask(token, {"order": "W-1"}, "refunds.wire")[0] == 200


def test_the_command_prints_what_a_server_needs(shop: House) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "failwell", "permit", "keys", *arguments, "--workspace", str(shop.workspace.path)],
            capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip

    plain, told = run(), json.loads(run("--json").stdout)
    assert json.loads(plain.stdout) == told["jwks"] == json.loads((shop.workspace.keys / "permits.jwks").read_text())
    assert told["schema"] == "failwell/permit-keys/1"
    assert told["audiences"]["refunds.pay"] == "shop-api"
    assert f"issuer: {shop.workspace.origin()}" in plain.stderr
    Verifier(plain.stdout, issuer=told["issuer"], audience="shop-api")


def test_a_restart_keeps_the_key_and_a_lost_one_is_replaced_on_record(shop: House, server: Server) -> None:
    first = shop.agent().act(PAY, tool="refunds.pay", how="permit", audience="shop-api")
    shop.hang_up()
    shop.nodes[-1].kill()
    shop.node(crashing=True)
    second = shop.agent().act(PAY, tool="refunds.pay", how="permit", audience="shop-api")
    assert [server.ask(each["permit"]["token"], PAY)[0] for each in (first, second)] == [200, 200]
    assert len(shop.entries("permit.key")) == 1
    shop.end(shop.nodes[-1])
    (shop.workspace.keys / "permits.key").unlink()
    shop.node(crashing=True)
    third = shop.agent().act(PAY, tool="refunds.pay", how="permit", audience="shop-api")
    assert server.ask(third["permit"]["token"], PAY) == (403, {"code": "key"})
    assert len(shop.entries("permit.key")) == 2
    shop.end(shop.nodes[-1])
    shop.verify()
    (shop.workspace.keys / "permits.key").chmod(0o644)
    with pytest.raises(AssertionError, match="must be 0600"):
        shop.node(crashing=True)


def test_no_permit_for_what_cannot_be_undone_leaves_unsealed(shop: House) -> None:
    """Attack: ask while the guard is away, and once more for the same call."""
    (shop.workspace.keys / "permits.key").chmod(0o600)
    node = shop.node(crashing=True)
    caller = shop.agent()
    with no_guard(shop, node):
        asked = [
            caller.ask({"order": "W-2"}, tool="refunds.wire", how="permit", audience="shop-api", call="twice")
            for _ in range(2)
        ]
        codes = []
        for each in asked:
            with pytest.raises(FailwellError) as refused:
                each.result(30)
            codes.append(refused.value.code)
    assert codes in (["unsealed", "busy"], ["unsealed", "unsealed"])
    last = shop.entries("decision")[-1]["seq"]
    assert ends(shop)[last]["state"] == "blocked"
