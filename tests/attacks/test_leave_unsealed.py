"""Attacks on the seal before what cannot be undone: every way to carry an ALLOW off that no seal covers yet.

The guard is slow or away; the agent asks twice, in other ways, or while its own first question is being refused.
"""

from __future__ import annotations

import itertools
import os
import signal
import time
from concurrent.futures import Future
from typing import Any

import pytest

from failwell.core.errors import FailwellError
from tests.e2e.test_guarded_node import guard_of, no_guard
from tests.simulate.fixtures import house, stage
from tests.simulate.house import Caller, House

__all__ = ["house", "stage"]

ARGUMENTS = {"customer": "c1", "millis": 0}


def ask(caller: Caller, how: str, call: str) -> Future[Any]:
    return caller.ask(ARGUMENTS, tool="note.send", call=call, how=how)


def leave(answer: dict[str, Any]) -> str:
    """What a caller could act on: the verdict, if the action is still to be done."""
    verdict = answer.get("verdict", answer)
    verdict = verdict if isinstance(verdict, dict) else answer
    return f"{verdict['verdict']} {verdict['state']}"


def tried(future: Future[Any]) -> str:
    try:
        return leave(future.result(30))
    except FailwellError as error:
        return error.code


@pytest.mark.requirement("R13.26")
def test_asking_a_second_time_is_no_way_round_the_seal(house: House) -> None:
    """Attack: the first question waits for the seal, and the same call asked again is only told what was decided."""
    node = house.node()
    caller = house.agent()
    ways = list(itertools.product(("decide", "begin", "execute"), repeat=2))
    with no_guard(house, node):
        asked = [ask(caller, how, "-".join(way)) for way in ways for how in way]
        told = [tried(each) for each in asked]
    assert "ALLOW open" not in told, list(zip(ways, told[::2], told[1::2], strict=True))
    assert [entry["body"]["state"] for entry in house.entries("outcome")] == ["blocked"] * len(ways)
    assert house.began("c1") == []


def test_leave_that_was_withdrawn_is_not_given_to_who_asked_a_moment_later(house: House) -> None:
    """Attack: ask again just before the first question is refused; its seal comes just after."""
    node = house.node()
    caller = house.agent()
    guard = guard_of(node)
    os.kill(guard, signal.SIGSTOP)
    try:
        first = ask(caller, "decide", "twice")
        time.sleep(0.6)
        second = ask(caller, "decide", "twice")
        assert tried(first) == "unsealed"
    finally:
        os.kill(guard, signal.SIGCONT)
    told = tried(second)
    assert house.entries("outcome")[-1]["body"]["state"] == "blocked"
    assert told != "ALLOW open"
