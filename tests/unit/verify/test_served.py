"""What is said of tool servers, edited: another agent's session, a stopped agent's, a server that nobody declared."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from failwell.core import kinds
from failwell.core.records import Body, Draft
from failwell.verify.served import Served
from tests.unit.gate.house import AGENT, OTHER, House, open_house

SESSION = "5e" * 16
LISTED: dict[str, Any] = {
    "upstream": "files", "session": SESSION, "kind": "stdio", "protocol": "2025-11-25", "tools": "ab" * 32, "count": 3,
    "refused": ("rm",), "refused_more": 0,
}  # fmt: skip
ENDED: dict[str, Any] = {
    "upstream": "files", "session": SESSION, "state": "interrupted_confirmed", "why": None, "processes": 2,
    "proven_by": "no child left to wait for",
}  # fmt: skip
TEXT = '{"upstreams":[["files",{"command":["/bin/files"]}],["elsewhere",{"url":"http://127.0.0.1/mcp"}]]}'


class Held:
    """The rule, over entries that are written one by one."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.rule = Served()
        self.run: int | None = house.run()
        self.hold(kinds.Config(text=TEXT, digest="00" * 32), agent=None, run=None)

    def hold(self, body: Body, **more: Any) -> str:
        fields = {"actor": "node", "agent": AGENT, "run": self.run, **more}
        (seq,) = self.house.write(Draft(body=body, **fields))
        return self.rule.fault(self.house.entries(seq)[0], self.house.state) or ""

    def listed(self, whose: dict[str, Any] | None = None, **fields: Any) -> str:
        return self.hold(kinds.UpstreamListed(**{**LISTED, **fields}), **(whose or {}))

    def ended(self, **fields: Any) -> str:
        return self.hold(kinds.UpstreamEnded(**{**ENDED, **fields}))


@pytest.fixture
def held() -> Iterator[Held]:
    house = open_house()
    yield Held(house)
    house.close()


def test_an_honest_session_is_held_true(held: Held) -> None:
    assert held.listed() == ""
    assert held.listed(upstream="elsewhere", kind="http") == ""
    assert held.ended() == ""
    assert held.ended(state="failed", proven_by="exit code 3") == ""


def test_a_session_is_one_agent_s_in_one_run(held: Held) -> None:
    assert held.listed() == ""
    run = held.house.run()
    assert "share no tool server" in held.listed({"run": run})
    assert "no open run" in held.listed({"agent": OTHER}, session="6f" * 16)
    assert "the node tells of it" in held.listed({"actor": f"agent:{AGENT}"})
    assert "name is none" in held.listed(session="mine")


@pytest.mark.requirement("R8.35")
def test_a_stopped_agent_has_no_tool_server(held: Held) -> None:
    held.house.suspend("olga")
    assert "is suspended" in held.listed()
    assert held.ended() == "", "that it ended is told all the same"


def test_a_server_that_no_settings_name_offers_nothing(held: Held) -> None:
    assert "name no tool server" in held.listed(upstream="shadow")
    assert "name no tool server" in held.listed(kind="http")
    assert "counted wrongly" in held.listed(count=0)
    assert "counted wrongly" in held.listed(tools="ab")
    held.hold(kinds.Config(text="[]", digest="00" * 32), agent=None, run=None)
    assert "name no tool server" in held.listed(), "settings that cannot be read name none"


def test_a_stop_that_nothing_shows_is_not_confirmed(held: Held) -> None:
    assert "nothing shows it" in held.ended(proven_by="bound reached")
    assert "no end" in held.ended(state="gone")
    assert "no end" in held.ended(processes=-1)
