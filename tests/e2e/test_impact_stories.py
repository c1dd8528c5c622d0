"""A loop, a slow overstep, a wrong customer, a sub-agent: four failures end to end, the impact of each exactly right.

Real node, real processes, the bank's and the shop's own books; one agent a story. What each did wrong is counted beside
by the test itself, from what it asked for.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from failwell.core import contract as contracts
from failwell.core import orders as o
from failwell.core.errors import Refused
from failwell.core.instants import format_at
from tests.simulate.fixtures import model
from tests.simulate.house import SPIFFE, House, apply, await_true, scene

BANK = Path(__file__).resolve().parents[1] / "simulate" / "bank.py"
LOOPING, SLOW, AMISS, PARENT, CHILD = "bot-00", "bot-01", "bot-02", "bot-03", "bot-04"
NOTICES, LIMIT, WHOM, AT_ONCE = 2000, 1500, 40, 100

HEAD = """
contract: {agent}
version: 2
agent: {spiffe}{agent}
owner: anna
purpose: Refund customers, and write to them.
"""
LOOP = """
tools:
  - {tool: notice.send, effect: irreversible, executor: cooperative, custody: none, deadline: 60s,
     arguments: {customer: "id"}, affects: {customer: customer}}
limits:
  - {id: once, once_per: notice.send, keys: [customer], then: record, severity: minor}
  - {id: per-hour, count: notice.send, at_most: 1500, per: 1h, then: deny, severity: major}
response:
  - {signal: "recorded(once)", do: [record]}
  - {signal: "denied(per-hour)", do: [suspend]}
"""
REFUND = """
  - tool: payments.refund
    effect: irreversible
    executor: supervised
    custody: none
    deadline: 20s
    arguments: {customer: "id", order: "id", amount: "money(2, 0..100)"}
    affects: {customer: customer, resource: order, amount: amount}
    ensure:
      right: {lookup: bank.right, with: [customer, order, amount], type: bool, is: true, within: 1s, severity: SEVERITY}
"""
LIMITS = """
limits:
  - {id: per-hour, count: payments.refund, at_most: 20, per: 1h, then: deny}
  - {id: budget, sum: payments.refund.amount, at_most: 10000, per: 1d, then: deny}
"""
NOTE = """
  - {tool: note.write, effect: reversible, executor: supervised, custody: none, deadline: 20s,
     arguments: {customer: "id"}, affects: {customer: customer}}
"""
CONTRACTS = {
    LOOPING: LOOP,
    SLOW: "tools:" + REFUND.replace("SEVERITY", "minor") + LIMITS
    + 'response:\n  - {signal: "ensure(right) >= 3 in 1d", do: [suspend]}\n',
    AMISS: "tools:" + REFUND.replace("SEVERITY", "critical") + LIMITS,
    PARENT: "tools:" + NOTE + REFUND.replace("SEVERITY", "critical") + f"delegates: [{CHILD}]\n",
    CHILD: "tools:" + REFUND.replace("SEVERITY", "critical"),
}  # fmt: skip
#: What the bank knows: who paid each order, and how many cents.
ORDERS: dict[str, dict[str, Any]] = {f"A-{number}": {"customer": f"c-{number}", "paid": 1000} for number in range(8)}


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    with scene() as root:
        house = model().copy(root / "h")
        house.place = root  # type: ignore[attr-defined]
        house.node()
        (root / "orders.json").write_text(json.dumps(ORDERS))
        lines = [
            "[node]", "idle_s = 0", '[sources."bank.right"]',
            f"command = {json.dumps([sys.executable, '-I', '-S', str(BANK), str(root)])}", "deadline_ms = 5000",
            "[witness.shop]", "kind = 'jsonl'", f"path = '{root}/shop.jsonl'", f"agent = '{SPIFFE}{LOOPING}'",
            "tool = 'notice.send'", "at = 'at'", "customer = 'customer'", "action = 'action'",
        ]  # fmt: skip
        apply(house, "\n".join(lines))
        for agent, terms in CONTRACTS.items():
            made = contracts.load(HEAD.format(agent=agent, spiffe=SPIFFE) + terms, name=agent)
            house.hand("bert").adopt_contract(made, house.hand("anna").sign_contract(made))
        house.hang_up()
        yield house
        house.tear_down()


def refund(caller: Any, order: str, customer: str, amount: str) -> int:
    answer = caller.act({"customer": customer, "order": order, "amount": amount}, tool="payments.refund")
    assert answer["result"]["state"] == "completed", answer
    return int(answer["verdict"]["entry"])


def impact(house: House, agent: str) -> dict[str, Any]:
    incident = await_true(lambda: [n for n, row in house.ask("incidents").items() if row["agent"] == house.full(agent)])
    told: dict[str, Any] = house.ask("impact", int(incident[-1]))
    return told


def wrong(told: dict[str, Any]) -> list[tuple[str, str | None, str | None]]:
    return [(act["customers"][0], act["resource"], act["amount"]) for act in told["acts"] if act["wrong"]]


def test_a_loop_of_two_thousand_notices_is_told_by_customer_from_its_first_repeat(house: House) -> None:
    """The tool is fast and the agent's own: what it sent is counted from the shop's log, one line for each notice."""
    caller = house.agent(LOOPING)
    at, origin = format_at(house.ask("status")["last_at_us"]), house.workspace.origin()
    sent, log = [], []
    for first in range(0, NOTICES, AT_ONCE):
        whom = [f"c-{number % WHOM}" for number in range(first, first + AT_ONCE)]
        asked = [caller.ask({"customer": each}, tool="notice.send", how="decide") for each in whom]
        for customer, answer in zip(whom, asked, strict=True):
            verdict = answer.result(60)
            if verdict["verdict"] == "ALLOW":
                sent.append(customer)
                log.append({"customer": customer, "action": f"{origin}/{verdict['entry']}", "at": at})
    assert len(sent) == LIMIT
    book: Path = house.place / "shop.jsonl"  # type: ignore[attr-defined]
    book.write_text("".join(json.dumps(line) + "\n" for line in log))
    told = await_true(lambda: (found := impact(house, LOOPING))["perhaps"] == 0 and found)
    # A repeat is every notice but the first to each: exactly those are wrong, and nobody else was reached.
    repeats = {customer: count - 1 for customer, count in Counter(sent).items() if count > 1}
    assert {one["name"]: one["wrong"] for one in told["customers"]} == repeats
    # It never said how one of them ended, so the first ones too were to be stopped: touched, and not called wrong.
    assert (told["wrong"], told["touched"], told["refused"]) == (LIMIT - WHOM, LIMIT, NOTICES - LIMIT)
    assert {act["shown_by"] for act in told["acts"] if act["wrong"]} == {"witnessed"}
    assert (told["irreversible"], told["undone"], told["perhaps"]) == (LIMIT - WHOM, 0, 0)
    left = {each["limit"]: (each["used"], each["left"]) for each in told["reach"]["left"]}
    assert left == {"per-hour": ("1500", "0")}
    house.hang_up()


def test_a_slow_overstep_under_every_limit_is_caught_by_the_look_at_the_world(house: House) -> None:
    caller = house.agent(SLOW)
    amounts = {"A-0": "9.99", "A-1": "10.01", "A-2": "10.00", "A-3": "10.02", "A-4": "0.50", "A-5": "10.01"}
    done = [refund(caller, order, ORDERS[order]["customer"], amount) for order, amount in amounts.items()]
    told = impact(house, SLOW)
    assert wrong(told) == [("c-1", "A-1", "10.01"), ("c-3", "A-3", "10.02"), ("c-5", "A-5", "10.01")]
    assert {each["wrong"] for each in told["amounts"]} == {"30.04"}
    assert {each["unknown"] for each in told["amounts"]} == {0}
    assert told["span"][0] == done[1]  # it began with the first of them, not with the look that was one too many
    assert house.incident_of(SLOW)["onset_first"] == done[1]
    left = {each["limit"]: each["left"] for each in told["reach"]["left"]}
    assert left == {"per-hour": "14", "budget": "49.47"}
    house.hang_up()


def test_a_permitted_refund_to_the_wrong_customer_is_the_one_that_is_told_and_made_good(house: House) -> None:
    caller = house.agent(AMISS)
    done = [refund(caller, "A-0", "c-0", "5.00"), refund(caller, "A-7", "c-3", "6.00")]
    told = impact(house, AMISS)
    number = told["incident"]
    assert wrong(told) == [("c-3", "A-7", "6.00")]
    (harmed,) = [one for one in told["customers"] if one["wrong"]]
    assert (harmed["name"], harmed["amounts"], harmed["told"]) == ("c-3", {"payments.refund": "6.00"}, None)
    assert [act["wrong"][0]["says"] for act in told["acts"] if act["wrong"]] == ["right: the world is not as promised"]

    letter = house.ask("customer-draft", {"incident": number, "customer": "c-3"})["text"]
    assert "for A-7, amount 6.00" in letter
    hand = house.hand("anna")

    def about(digest: str | None, **fields: Any) -> dict[str, Any]:
        return {"incident": number, "customer": harmed["customer"], "shown": harmed["shown"], "words": digest, **fields}

    # Attack: another customer's token, or an entry that shows nothing of them, so that somebody untold counts as told.
    with pytest.raises(Refused, match="does not show"):
        hand.write("customer.tell", letter, lambda d: o.CustomerTell(**about(d, how="mail", shown=done[0])))
    entry = hand.write("customer.tell", letter, lambda d: o.CustomerTell(**about(d, how="mail")))
    whole = hand.write("customer.restore", "6.00 called back", lambda d: o.CustomerRestore(**about(d)))
    (harmed,) = [one for one in impact(house, AMISS)["customers"] if one["wrong"]]
    assert (harmed["told"], harmed["restored"]) == (entry, whole)
    assert letter not in json.dumps(house.ask("entry", entry))
    house.hang_up()


def test_a_sub_agent_s_failure_is_followed_to_the_parent_that_went_on_with_its_answer(house: House) -> None:
    parent, other, child = house.agent(PARENT), house.caller(PARENT), house.caller(CHILD)
    other.open()
    child.run = parent.wire.call("run.open", agent=child.agent, parent=parent.run)
    refund(child, "A-1", "c-2", "3.00")
    after = [int(parent.act({"customer": f"c-{n}"}, tool="note.write")["verdict"]["entry"]) for n in (5, 6)]
    other.act({"customer": "c-7"}, tool="note.write")
    told = impact(house, CHILD)
    assert wrong(told) == [("c-2", "A-1", "3.00")]
    assert [(each["run"], each["agent"], each["how"], each["acts"]) for each in told["downstream"]] == [
        (child.run, house.full(CHILD), "own", 0),
        (parent.run, house.full(PARENT), "up", 2),
    ]
    assert told["downstream"][1]["entries"] == after
    house.hang_up()


def test_the_record_of_all_that_verifies(house: House) -> None:
    house.end(house.nodes[-1])
    house.verify()
