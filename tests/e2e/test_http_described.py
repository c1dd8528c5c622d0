"""The HTTP API is what its description says, which requests are drawn from (`tests.property.http_described`)."""

from __future__ import annotations

import json

import pytest

from failwell.web.openapi import described
from failwell.web.routes import OPERATIONS
from tests.property.http_described import ask_all, place
from tests.simulate.house import await_true, scene


@pytest.mark.requirement("R30.13")
def test_no_drawn_request_finds_a_fault_or_an_answer_that_is_not_described(seed: int) -> None:
    with scene() as root:
        house = place(root / "h")
        node = house.nodes[0]
        try:
            address = str(await_true(lambda: house.ask("status")["http"]["address"]))
            tried = ask_all(house, address, 1, seed)
            assert "Traceback" not in node.said()
        finally:
            house.tear_down()
    assert tried.found == []
    assert tried.statuses.total() > len(OPERATIONS) // 2
    assert len(tried.statuses) > 2


def test_the_description_is_exact() -> None:
    told = json.loads(described())
    assert told["openapi"] == "3.1.0"
    for name, schema in told["components"]["schemas"].items():
        if "properties" in schema:
            assert schema["additionalProperties"] is False, name
    known = {(method.upper(), path) for path, methods in told["paths"].items() for method in methods}
    assert known == {(each.method, each.path) for each in OPERATIONS}
    for path, methods in told["paths"].items():
        for operation in methods.values():
            assert {"400", "408", "413", "429", "431", "500", "503"} <= set(operation["responses"]), path
            assert all(each["description"] for each in operation["responses"].values())


@pytest.mark.parametrize("status", ["429", "503"])
def test_whoever_is_to_come_back_is_told_when(status: str) -> None:
    told = json.loads(described())
    answers = [each["responses"][status] for methods in told["paths"].values() for each in methods.values()]
    assert all("Retry-After" in each["headers"] for each in answers)
