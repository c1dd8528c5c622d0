"""What each stop took, told from the record: by class and action, beside the stated bound, and how it is proven."""

from __future__ import annotations

from typing import Any

import pytest

from tests.simulate.fixtures import house, stage
from tests.simulate.house import House, await_true

__all__ = ["house", "stage"]


def measured(house: House) -> list[dict[str, Any]]:
    return [entry["body"] for entry in house.entries("containment.measured")]


def report(house: House) -> dict[str, Any]:
    newest = house.ask("containments")[0]
    return dict(house.ask("containment", newest))


@pytest.mark.requirement("R8.5")
def test_a_stop_tells_when_nothing_new_could_start_and_when_the_last_effect_ended(house: House) -> None:
    house.node()
    caller = house.agent()
    caller.start("one")
    caller.start("two", grandchild=True)
    await_true(lambda: len(house.began()) == 2)
    assert house.suspend().confirmed
    told = await_true(lambda: measured(house))[0]
    assert told["classes"] == {"supervised.interrupted_confirmed": 2}
    assert told["received_mono_us"] <= told["fenced_mono_us"] <= told["ended_mono_us"]
    assert (told["actions"], told["unconfirmed"], told["bound_us"]) == (2, 0, 50_000)
    found = report(house)
    assert found["t1_ms"] <= found["t2_ms"] == max(each["after_ms"] for each in found["stopped"])
    assert {(each["tool"], each["executor"], each["state"]) for each in found["stopped"]} == {
        ("note.write", "supervised", "interrupted_confirmed")
    }
    assert found["held"] == (found["t2_ms"] <= 50)
    assert found["waiting"] == found["unconfirmed"] == 0
    assert all("no child left" in each["proven_by"] for each in found["stopped"])
    house.verify()


def test_a_stop_at_which_nothing_ran_took_until_its_fence_was_up(house: House) -> None:
    house.node()
    house.agent()
    house.suspend()
    told = await_true(lambda: measured(house))[0]
    assert (told["actions"], told["classes"]) == (0, {})
    assert told["ended_mono_us"] == told["fenced_mono_us"]
    assert report(house)["held"] is not None
    house.verify()


def test_what_nobody_can_confirm_is_timed_by_nobody(house: House) -> None:
    house.node()
    caller = house.agent()
    verdict = caller.ask({"customer": "c1"}, tool="desk.ask", how="begin").result(10)["verdict"]
    house.suspend()
    told = await_true(lambda: measured(house), 10)[0]
    assert (told["unconfirmed"], told["ended_mono_us"]) == (1, None)
    found = report(house)
    assert (found["unconfirmed"], found["t2_ms"], found["held"]) == (1, None, None)
    only = found["stopped"][0]
    assert (only["action"], only["state"], only["after_ms"]) == (
        verdict["entry"], "interrupted_unconfirmed", None,
    )  # fmt: skip
    assert only["proven_by"].startswith("not proven: ")
    house.verify()
