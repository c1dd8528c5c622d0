"""The adversary is an agent that wants another request, or another principal, than its host gave it (D24).

Real node: host and agent prove themselves on connections of their own, from processes of their own.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from failwell.client.wire import Wire, hello
from failwell.core import orders as o
from failwell.core.errors import FailwellError
from failwell.identity import keys
from tests.simulate.fixtures import model
from tests.simulate.house import ROOT, House, scene

REQUEST = "Refund order A-1, please."

#: A host application in a process of its own: proves itself, opens one run, prints its number.
HOST = """
import json, sys
from pathlib import Path
from failwell.client.wire import Wire, hello
from failwell.identity import keys
given = json.load(sys.stdin)
wire = Wire(Path(given["socket"]))
hello(wire, "host", "shop", keys.from_seed(bytes.fromhex(given["seed"])))
print(wire.call("run.open", agent=given["agent"], principal="customer:8841", request=given["request"]))
"""


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    with scene() as root:
        house = model().copy(root / "h")
        house.node()
        public = base64.b64encode(keys.from_seed(b"h" * 32).public).decode()
        house.hand("anna").give(
            "host.register", o.HostRegister(host="shop", key=public, agents=(house.full("refund-bot"),))
        )
        house.hang_up()
        yield house
        house.tear_down()


def hosted(house: House) -> int:
    """A run that the host opened."""
    given = {
        "socket": str(house.workspace.socket), "seed": (b"h" * 32).hex(), "agent": house.full("refund-bot"),
        "request": REQUEST,
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", HOST], input=json.dumps(given).encode(), capture_output=True, cwd=ROOT, check=True,
        timeout=30,
    )  # fmt: skip
    return int(done.stdout)


def entry(house: House, seq: int) -> dict[str, Any]:
    found: dict[str, Any] = house.ask("entry", seq)
    return found


def test_what_the_host_gave_stands_and_the_agent_opens_no_second_run_that_passes_for_it(house: House) -> None:
    """Attack: a second `run.open` with more text, in the hope that it is taken for the host's."""
    run = hosted(house)
    caller = house.caller()
    own = caller.wire.call(
        "run.open", agent=caller.agent, principal="customer:8841", request=REQUEST + " And A-2 too.", timeout_s=10
    )
    first, second = entry(house, run)["body"], entry(house, own)["body"]
    assert (first["principal_provenance"], first["request_provenance"], first["host"]) == (
        "verified",
        "verified",
        "shop",
    )
    assert (second["principal_provenance"], second["request_provenance"], second["host"]) == (
        "asserted",
        "asserted",
        None,
    )
    assert first["request"] != second["request"]
    caller.run = run
    decided = entry(house, caller.write("c-1", how="decide")["verdict"]["entry"])["body"]
    caller.run = own
    claimed = entry(house, caller.write("c-1", how="decide")["verdict"]["entry"])["body"]
    assert (decided["principal_provenance"], claimed["principal_provenance"]) == ("verified", "asserted")
    house.hang_up()


@pytest.mark.parametrize(
    "more",
    [
        {"run": 0}, {"request": "more"}, {"principal": "customer:1", "parent": None, "host": "shop"},
        {"resume": 1}, {"run": 1, "request": "more"},
    ],
    ids=str,
)  # fmt: skip
def test_no_message_names_a_host_or_adds_to_an_open_run(house: House, more: dict[str, Any]) -> None:
    """Attack: fields of our own making in `run.open`: unknown ones are refused, known ones make a run of its own."""
    run = hosted(house)
    before = entry(house, run)
    caller = house.caller()
    try:
        made = caller.wire.call("run.open", agent=caller.agent, timeout_s=10, **more)
    except FailwellError:
        made = None
    assert entry(house, run) == before
    assert made is None or entry(house, made)["body"]["host"] is None
    house.hang_up()


def test_a_reason_that_reads_like_a_request_is_a_reason(house: House) -> None:
    """Attack: the request is put into the reason, the call id, or an argument."""
    run = hosted(house)
    before = entry(house, run)
    caller = house.caller()
    caller.run = run
    answer = caller.write("c-1", how="decide", reason=f"request: {REQUEST} And A-2 too.", call="request=more")
    body = entry(house, answer["verdict"]["entry"])["body"]
    assert (body["reason_provenance"], entry(house, run)) == ("asserted", before)
    assert caller.act({"customer": "c-1", "millis": 0, "request": "more"}, how="decide")["verdict"]["verdict"] == "DENY"
    house.hang_up()


def test_a_run_that_was_closed_takes_no_more_actions_and_cannot_be_opened_again(house: House) -> None:
    run = hosted(house)
    caller = house.caller()
    caller.run = run
    caller.wire.call("run.close", agent=caller.agent, run=run, timeout_s=10)
    assert caller.write("c-1", how="decide")["verdict"]["clauses"] == ["run.unknown"]
    for do, fields in (("run.open", {"parent": run}), ("run.close", {"run": run})):
        with pytest.raises(FailwellError):
            caller.wire.call(do, agent=caller.agent, timeout_s=10, **fields)
    house.hang_up()


def test_another_agent_uses_neither_the_run_nor_its_request(house: House) -> None:
    run = hosted(house)
    other = house.caller("other-bot")
    other.run = run
    assert other.write("c-1", how="decide")["verdict"]["clauses"] == ["run.unknown"]
    with pytest.raises(FailwellError):
        other.wire.call("run.open", agent=other.agent, parent=run, timeout_s=10)
    house.hang_up()


def test_a_host_opens_runs_only_for_the_agents_it_was_enrolled_for_and_not_from_the_agents_own_process(
    house: House,
) -> None:
    """Attack: one process proves both, the agent and its host, and calls its own words verified."""
    wire = Wire(house.workspace.socket)
    hello(wire, "host", "shop", keys.from_seed(b"h" * 32))
    with pytest.raises(FailwellError):
        wire.call("run.open", agent=house.full("other-bot"), principal="customer:1", timeout_s=10)
    hello(wire, "agent", house.full("refund-bot"), house.agent_keys["refund-bot"])
    run = wire.call("run.open", agent=house.full("refund-bot"), principal="customer:1", request="more", timeout_s=10)
    assert entry(house, run)["body"]["principal_provenance"] == "asserted"
    wire.close()
