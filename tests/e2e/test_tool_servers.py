"""The life of an agent's tool servers: fenced, idle, under other settings. Real nodes, real servers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.simulate.fixtures import stage
from tests.simulate.house import House, apply, await_true
from tests.simulate.upstreams import client, furnish, logged, settings, text_of

__all__ = ["stage"]


@pytest.fixture(scope="module")
def house(stage: Path) -> Iterator[House]:
    made = furnish(stage / "h", ("bot-00", "bot-01"))
    try:
        yield made
        made.end(made.nodes[-1])
        made.verify()
        made.hold_true()
    finally:
        made.tear_down()


def test_a_fenced_call_is_stopped_once_its_server_is_gone_and_its_resource_says_so(house: House) -> None:
    mine = client(house, "bot-00", "vault")
    sent = mine.waiting(house, "vault")
    assert house.suspend("bot-00").confirmed
    answer = sent.result(15)
    assert answer["result"]["state"] == "interrupted_confirmed"
    told = json.loads((house.root / "fenced").read_text())
    assert (told["action"], told["tool"]) == (answer["verdict"]["entry"], "vault.wait")
    confirmed = await_true(lambda: house.entries("interrupt.confirmed"))[-1]["body"]
    assert "its resource takes nothing more" in confirmed["proven_by"]


def test_other_settings_end_a_server_and_an_idle_one_comes_back_with_the_next_call(house: House) -> None:
    mine = client(house, "bot-01", "other")
    pushed: list[dict[str, Any]] = []
    mine.wire.on_push = pushed.append
    apply(house, settings(house, idle_s=1))
    assert await_true(lambda: pushed)[0]["why"] == "its settings were changed"
    again = client(house, "bot-01", "other")
    assert text_of(again.call("other.echo", {"text": "before"})) == "before"
    await_true(lambda: not house.alive(), 8)
    ended = await_true(lambda: [each["body"] for each in house.entries("upstream.ended") if is_idle(each)])
    assert ended[0]["state"] == "completed", "it ended as it was asked to"
    # Attack: several calls at once find it idle, and each starts one that nobody ends.
    at_once = [again.send("other.echo", {"text": "after"}) for _ in range(4)]
    assert [text_of(each.result(10)) for each in at_once] == ["after"] * 4
    assert len(logged(house, "other", "started")) == 3


def is_idle(entry: dict[str, Any]) -> bool:
    return "nobody asked" in str(entry["body"]["why"])


def test_a_server_starts_in_the_workspace_wherever_its_node_stands(house: House) -> None:
    # Attack: what stood beside its settings when a person looked at it is another file where the node happens to stand.
    client(house, "bot-01", "box")
    assert logged(house, "box", "started")[-1]["place"] == str(house.workspace.path)
    moved = settings(house).replace("[upstreams.box]", '[upstreams.box]\ncwd = "keys"')
    apply(house, moved)
    client(house, "bot-01", "box")
    assert logged(house, "box", "started")[-1]["place"] == str(house.workspace.path / "keys")
