"""The agent's fault is a real one: it follows from a memory that is too small, whoever judges it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from failwell.core import contract as contracts
from failwell.core.errors import Refused
from failwell.drills.demo import agent, story
from failwell.drills.demo.agent import RefundBot
from failwell.node.settings import parse_settings


class Office:
    """A run that carries out every call and remembers it; denies everything after `allowed` calls."""

    def __init__(self, allowed: int) -> None:
        self.allowed = allowed
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.denied = 0

    async def call(self, tool: str, arguments: dict[str, Any] | None = None, **more: Any) -> Any:
        await asyncio.sleep(0)
        if len(self.calls) >= self.allowed:
            self.denied += 1
            raise Refused("no", code="denied")
        self.calls.append((tool, more))
        return {}


def work(office: Office, customers: tuple[str, ...] = story.CUSTOMERS) -> list[str]:
    said: list[str] = []
    with pytest.raises(Refused):
        asyncio.run(RefundBot(office, customers, lambda event, fields: said.append(event)).work())
    return said


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent, "BACK_OFF_S", 0.0)


def test_everybody_is_told_once_before_anybody_is_told_again() -> None:
    office = Office(allowed=13)
    work(office)
    told = [more["customer_id"] for _, more in office.calls]
    assert told[: len(story.CUSTOMERS)] == list(story.CUSTOMERS)
    assert set(told[len(story.CUSTOMERS) :]) <= set(story.CUSTOMERS)


def test_it_never_stops_by_itself_and_turns_to_the_bulk_send() -> None:
    office = Office(allowed=60)
    work(office)
    bulks = [more for tool, more in office.calls if tool == story.SEND_BULK]
    assert bulks
    assert len(bulks[0]["customer_ids"]) >= agent.LONG_LIST
    assert set(bulks[0]["customer_ids"]) <= set(story.CUSTOMERS)


def test_with_a_memory_that_is_large_enough_it_does_its_work_and_ends() -> None:
    office = Office(allowed=1000)
    few = story.CUSTOMERS[: agent.ROOM]
    asyncio.run(RefundBot(office, few, lambda event, fields: None).work())
    assert [more["customer_id"] for _, more in office.calls] == list(few)


def test_refused_it_tries_again_and_then_gives_up() -> None:
    office = Office(allowed=3)
    assert work(office).count("error") == agent.TRIES
    assert office.denied == agent.TRIES


def test_the_contract_is_sound_and_asks_for_no_more_than_a_record_of_a_repeat() -> None:
    contract = contracts.load(story.CONTRACT, name="contract.yaml")
    contracts.compile(contract)
    rules = {rule.signal: rule.do for rule in contract.response}
    assert rules[f"recorded({story.REPEAT_LIMIT})"] == ("record",)
    assert set(rules[f"denied({story.RATE_LIMIT})"]) == {"interrupt", "suspend", "hold", "notify"}
    limits = {limit.id: limit.then for limit in contract.limits}
    assert limits == {story.REPEAT_LIMIT: "record", story.RATE_LIMIT: "deny"}


def test_the_settings_are_those_that_a_node_takes() -> None:
    settings = parse_settings(story.settings_text(2525))
    assert settings.mail is not None
    assert settings.mail.port == 2525
    assert settings.node.interrupt_bound_ms == story.STATED_BOUND_MS
    assert set(settings.witness) == {*story.SHOP_LOGS, *story.MAIL_LOGS}
    assert all(not witness.path.startswith("/") for witness in settings.witness.values())
