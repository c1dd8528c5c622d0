"""The adversary is a trusted source that lies, hangs, dies or floods; or an agent that wants to be believed like one.

Real node, real processes: each source is a command of `tests/simulate/source.py` or an address on this machine, and
each tool asks one of them for what was paid. Whatever comes of that, but a right answer in time, is a DENY on record,
within the source's time and a little more; the node goes on, and of the source nothing is left.
"""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from failwell.core import contract as contracts
from failwell.core.errors import FailwellError
from failwell.execute.orphans import read_marker
from failwell.execute.processes import scan_processes
from failwell.identity import keys
from failwell.node import settings
from tests.simulate.fixtures import model
from tests.simulate.house import SPIFFE, Caller, House, apply, await_true, scene

SOURCE = Path(__file__).resolve().parents[1] / "simulate" / "source.py"
DEADLINE_MS = 400
#: What a loaded machine may need besides the source's own time, in seconds: starting, killing, and the writer's turns.
SLACK_S = 4.0

LATE = ("hangs", "drips", "floods", "forks")
FAILED = ("dies", "refuses", "large", "leaves", "absent")
WRONG = ("twice", "inexact", "text", "null")  # all of them: tests/unit/node/test_sources.py
HTTP = ("web-right", "web-hangs", "web-drips", "web-cut", "web-unsaid", "web-moved", "web-error", "web-floods")
SLOW = ("world",)
BEHAVIOURS = ("right", *SLOW, *LATE, *FAILED, *WRONG, *HTTP)


# ---- a house that asks -------------------------------------------------------------------------------------------


OK = b"HTTP/1.1 200 OK\r\n"
SAID: dict[str, tuple[bytes, ...]] = {
    "right": (OK + b"Content-Length: 5\r\n\r\n50.00",),
    "hangs": (),
    "drips": (OK + b"Content-Length: 4000\r\n\r\n",),
    "cut": (OK + b"Content-Length: 7\r\n\r\n50",),
    "unsaid": (OK + b"\r\n50.00",),
    "moved": (b"HTTP/1.1 307 Moved\r\nLocation: /right\r\nContent-Length: 0\r\n\r\n",),
    "error": (b"HTTP/1.1 500 No\r\nContent-Length: 5\r\n\r\n50.00",),
    "floods": (OK + b"Content-Length: 1000000000\r\n\r\n",),
}


class Web:
    """A web server that keeps no promise of its protocol."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.asked: list[bytes] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                caller, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(caller,), daemon=True).start()

    def _answer(self, caller: socket.socket) -> None:
        with caller, contextlib.suppress(OSError):
            caller.settimeout(20)
            text = caller.recv(65536)
            self.asked.append(text)
            how = text.split(b" ")[1].decode().strip("/")
            for part in SAID[how]:
                caller.sendall(part)
            while how == "drips" or how == "floods":
                caller.sendall(b"5" if how == "drips" else b"5" * 65536)
                time.sleep(0.02 if how == "drips" else 0)
            while how == "hangs" and caller.recv(65536):
                pass

    def close(self) -> None:
        self._listener.close()


def settings_toml(place: Path, web: Web, more: str = "") -> str:
    lines = ["[node]", "idle_s = 0", more]
    for how in BEHAVIOURS:
        lines += [f'[sources."shop.{how}"]', f"deadline_ms = {10_000 if how in ('right', *SLOW) else DEADLINE_MS}"]
        if how.startswith("web-"):
            lines.append(f'url = "http://127.0.0.1:{web.port}/{how.removeprefix("web-")}"')
        elif how == "absent":
            lines.append('command = ["/nowhere/at/all"]')
        else:
            lines.append(f"command = {json.dumps([sys.executable, '-I', '-S', str(SOURCE), how, str(place)])}")
    return "\n".join(lines)


def contract(agent: str = "refund-bot", *, version: int = 2, given: str = "order_id", undeclared: bool = False) -> Any:
    tools = "".join(
        f"""
  - tool: pay.{how}
    effect: reversible
    executor: supervised
    custody: none
    deadline: 20s
    arguments: {{order_id: "string(1..40)", customer: "id", amount: "money(2, 0..10000)", novel?: string, facts?: any}}
    public: [amount]
    facts: {{paid: {{lookup: shop.{how}, with: [{given}], type: "money(2, 0..10000)"}}}}"""
        for how in (*BEHAVIOURS, *(["undeclared"] if undeclared else []))
    )
    over = ", ".join(f"pay.{how}" for how in BEHAVIOURS)
    text = f"""
contract: {agent}
version: {version}
agent: {SPIFFE}{agent}
owner: anna
purpose: Refund what was paid.
tools:{tools}
clauses:
  - {{id: over-refund, deny: [{over}], when: context.args.amount > context.facts.paid, severity: minor}}
response:
  - {{signal: "denied(facts) >= 1000 in 1h", do: [notify]}}
  - {{signal: "denied(evaluation.error) >= 1000 in 1h", do: [notify]}}
"""
    return contracts.load(text, name=agent)


def adopt(house: House, made: Any) -> None:
    house.hand("bert").adopt_contract(made, house.hand("anna").sign_contract(made))


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    with scene() as root:
        web = Web()
        house = model().copy(root / "h")
        house.place, house.web = root, web  # type: ignore[attr-defined]
        house.node()
        apply(house, settings_toml(root, web))
        for name in ("refund-bot", "other-bot"):
            adopt(house, contract(name, undeclared=True))
        house.hang_up()
        yield house
        house.tear_down()
        web.close()


def says(house: House, value: Any, after_s: float = 0) -> None:
    part = house.place / "world.part"  # type: ignore[attr-defined]
    part.write_text(json.dumps({"says": value, "after_s": after_s}))
    part.rename(house.place / "world.json")  # type: ignore[attr-defined]


def asked(house: House) -> list[dict[str, Any]]:
    log: Path = house.place / "asked.jsonl"  # type: ignore[attr-defined]
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def pay(caller: Caller, how: str, amount: str = "20.00", **more: Any) -> dict[str, Any]:
    """The verdict on a payment that rests on what the source says."""
    arguments = {"order_id": "A-1", "customer": "c-1", "amount": amount, **more.pop("arguments", {})}
    verdict: dict[str, Any] = caller.act(arguments, tool=f"pay.{how}", how="decide", **more)["verdict"]
    return verdict


def decision(house: House, verdict: dict[str, Any]) -> dict[str, Any]:
    body: dict[str, Any] = house.ask("entry", verdict["entry"])["body"]
    return body


def lookups_alive(house: House) -> list[int]:
    """Processes of sources: all that bear a lookup's marker."""
    prefix = f"{house.workspace.origin()}/-"
    return [
        stat.pid
        for stat in scan_processes().values()
        if not stat.dead and (read_marker(stat.pid) or "").startswith(prefix)
    ]


@pytest.fixture
def agent(house: House) -> Iterator[Caller]:
    yield house.agent()
    house.hang_up()


# ---- the source --------------------------------------------------------------------------------------------------


def test_a_right_answer_is_a_verified_fact_and_its_value_lies_in_the_blob(house: House, agent: Caller) -> None:
    verdict = pay(agent, "right", "50.00")
    assert verdict["verdict"] == "ALLOW"
    body = decision(house, verdict)
    assert body["facts"]["facts.paid"] == {"value": None, "public": False, "provenance": "verified"}
    assert body["facts"]["amount"] == {"value": 5000, "public": True, "provenance": "asserted"}
    (lookup,) = body["lookups"]
    assert (lookup["fact"], lookup["source"], lookup["state"]) == ("paid", "shop.right", "answered")
    told = asked(house)[-1]
    assert told["asked"] == {"order_id": "A-1"}
    assert pay(agent, "right", "50.01")["clauses"] == ["over-refund"]
    assert pay(agent, "web-right", "50.00")["verdict"] == "ALLOW"
    assert pay(agent, "web-right", "50.01")["clauses"] == ["over-refund"]


def test_a_source_finds_no_secret_in_its_environment(house: House, agent: Caller) -> None:
    assert pay(agent, "right")["verdict"] == "ALLOW"
    harmless = {"PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "FAILWELL_ACTION"}
    assert set(asked(house)[-1]["env"]) <= harmless


@pytest.mark.parametrize("how", [*LATE, *FAILED, *WRONG, *HTTP[1:], "undeclared"])
def test_whatever_is_no_right_answer_in_time_is_a_denial_on_record(house: House, agent: Caller, how: str) -> None:
    began = time.monotonic()
    verdict = pay(agent, how)
    took_s = time.monotonic() - began
    assert (verdict["verdict"], verdict["clauses"]) == ("DENY", ["facts"])
    assert took_s < DEADLINE_MS / 1000 + SLACK_S
    body = decision(house, verdict)
    (lookup,) = body["lookups"]
    wanted = "wrong" if how in WRONG else "late" if how in (*LATE, "web-hangs", "web-drips") else "failed"
    assert lookup["state"] == wanted, body["errors"]
    assert "facts.paid" not in body["facts"]
    assert f"shop.{how}" in body["errors"][0] or "paid" in body["errors"][0]
    assert "50" not in body["errors"][0].replace("status 500", ""), "what a source says is nobody's business"
    assert verdict["hint"]
    await_true(lambda: not lookups_alive(house))


def test_sources_that_hang_hold_up_neither_another_agent_nor_an_action_that_asks_nothing(house: House) -> None:
    slow, other = house.agent("refund-bot"), house.agent("other-bot")
    says(house, "50.00", after_s=0.7)
    waiting = [
        slow.ask({"order_id": "A-1", "customer": "c-1", "amount": "1.00"}, tool="pay.world", how="decide")
        for _ in range(12)
    ]
    time.sleep(0.3)
    assert pay(other, "right")["verdict"] == "ALLOW"
    assert not any(answer.done() for answer in waiting), "it was answered while the other's questions waited"
    assert other.act({}, tool="pay.unknown", how="decide")["verdict"]["clauses"] == ["tool.unlisted"]
    assert {answer.result(40)["verdict"] for answer in waiting} == {"ALLOW"}
    house.hang_up()


# ---- what happens meanwhile --------------------------------------------------------------------------------------


def test_a_call_that_is_asked_twice_at_once_is_decided_once(house: House, agent: Caller) -> None:
    says(house, "50.00", after_s=0.3)
    arguments = {"order_id": "A-1", "customer": "c-1", "amount": "1.00"}
    both = [agent.ask(arguments, tool="pay.world", how="decide", call="the-same") for _ in range(2)]
    told = [answer.result(30) for answer in both]
    assert told[0]["entry"] == told[1]["entry"]
    assert sorted(verdict["repeated"] for verdict in told) == [False, True]


def test_an_agent_suspended_while_its_source_is_asked_starts_nothing(house: House) -> None:
    name = "other-bot"
    caller = house.agent(name)
    says(house, "50.00", after_s=0.5)
    before = len(asked(house))
    answer = caller.ask({"order_id": "A-1", "customer": "c-x", "amount": "1.00"}, tool="pay.world", how="execute")
    await_true(lambda: len(asked(house)) > before)
    house.suspend(name)
    verdict = answer.result(30)["verdict"]
    assert (verdict["verdict"], verdict["clauses"]) == ("DENY", ["authority.suspended"])
    assert not house.runs()


def test_answers_to_the_questions_of_a_contract_that_was_replaced_meanwhile_are_asked_anew(house: House) -> None:
    """Attack: version 3 asks the same source about something else; the answer to the old question must not do."""
    caller = house.agent()
    says(house, "50.00", after_s=0.5)
    before = len(asked(house))
    answer = caller.ask({"order_id": "A-1", "customer": "c-9", "amount": "1.00"}, tool="pay.world", how="decide")
    await_true(lambda: len(asked(house)) > before)
    adopt(house, contract(version=3, given="customer"))
    verdict = answer.result(30)
    assert verdict["verdict"] == "ALLOW"
    assert [each["asked"] for each in asked(house)[before:]] == [{"order_id": "A-1"}, {"customer": "c-9"}]
    assert decision(house, verdict)["contract"] == "refund-bot@3"
    house.hang_up()


def test_a_source_that_the_settings_no_longer_declare_is_not_asked_any_more(house: House) -> None:
    caller = house.agent()
    assert pay(caller, "right")["verdict"] == "ALLOW"
    file = house.workspace.path / settings.FILE_NAME
    text = file.read_text()
    apply(house, text.replace('"shop.right"', '"shop.was-right"'))
    try:
        denied = pay(caller, "right")
        assert (denied["verdict"], denied["clauses"]) == ("DENY", ["facts"])
        assert "no such source" in decision(house, denied)["errors"][0]
    finally:
        apply(house, text)
    assert pay(caller, "right")["verdict"] == "ALLOW"
    house.hang_up()


# ---- the agent ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "smuggled",
    [
        {"facts": {"paid": 999_900}}, {"facts.paid": 999_900}, {"facts": [999_900]}, {"paid": 999_900},
        {"context.facts.paid": 1}, {"novel": "none"},
    ],
    ids=str,
)  # fmt: skip
def test_an_argument_that_is_named_like_a_fact_is_none(house: House, agent: Caller, smuggled: dict[str, Any]) -> None:
    """Attack: the agent itself says what was paid, or what is new."""
    verdict = pay(agent, "right", "99.00", arguments=smuggled)
    assert verdict["verdict"] == "DENY"
    assert verdict["clauses"] in (["over-refund"], ["arguments"])
    facts = decision(house, verdict)["facts"]
    assert all(fact["provenance"] != "verified" for name, fact in facts.items() if name != "facts.paid")


@pytest.mark.parametrize("kind", ["source", "sources.register", "register", "lookup", "config.apply"])
def test_an_agent_declares_no_source(house: House, agent: Caller, kind: str) -> None:
    with pytest.raises(FailwellError):
        agent.wire.call(kind, agent=agent.agent, name="shop.right", command=["/bin/echo", "10000"], timeout_s=10)
    forged = {"order": json.dumps({"order": kind}), "signature": keys.generate().sign(b"x").hex()}
    with pytest.raises(FailwellError):
        agent.wire.call("order", orders=[forged], timeout_s=10)
    assert pay(agent, "right", "51.00")["clauses"] == ["over-refund"]


def test_the_node_outlives_them_all_and_the_record_verifies(house: House) -> None:
    caller = house.agent()
    assert pay(caller, "right")["verdict"] == "ALLOW"
    assert lookups_alive(house) == []
    house.end(house.nodes[-1])
    house.verify()
    assert not list(house.workspace.orders.glob("swept-*"))
