"""Who can use a tool without asking: what was tried stays until it is tried again, and is counted beside what ran."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from failwell.core import kinds
from failwell.core.errors import Corrupt, InputError, Refused
from failwell.core.records import Draft, Entry, decode_entry
from failwell.core.rows import Custody
from failwell.core.state import State
from failwell.core.ways import WAYS, place_of
from failwell.gate.custody import Probe, record_probes
from failwell.verify.custody import Custodies
from failwell.verify.enforcement import prove
from tests.unit.verify import ledgers
from tests.unit.verify.forgery import replace
from tests.unit.verify.ledgers import AGENT, Made

TOOL = "payments.refund"
PLACE = place_of(AGENT, TOOL)


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Made]:
    with ledgers.fresh(tmp_path / "w") as made:
        ledgers.begin(made)
        yield made


def probe(made: Made, tried: tuple[str, ...], ways: tuple[str, ...] = (), tool: str = TOOL) -> int:
    return int(made.do(record_probes(AGENT, 65534, [Probe(tool=tool, tried=tried, ways=ways)]))[0])


def entries(made: Made) -> list[Entry[Any]]:
    return [decode_entry(row.data) for row in made.book.storage.entries(0, 100_000)]


@pytest.mark.requirement("R5.5")
def test_a_way_that_worked_stays_until_it_is_tried_again_and_fails(made: Made) -> None:
    """Attack: try only what fails, so that what worked before is forgotten."""
    rows = made.book.state.custody
    first = probe(made, ("probe", "secret-file"), ("secret-file",))
    assert rows[PLACE] == Custody(agent=AGENT, state="bypassable", ways=("secret-file",), probed=first)
    second = probe(made, ("probe",))
    assert rows[PLACE] == Custody(agent=AGENT, state="bypassable", ways=("secret-file",), probed=second)
    probe(made, ("probe", "command"), ("probe",))
    assert rows[PLACE].ways == ("probe", "secret-file")
    last = probe(made, ("secret-file", "probe"))
    assert rows[PLACE] == Custody(agent=AGENT, state="held", ways=(), probed=last)
    assert entries(made)[last].body.state == "held"


def test_nothing_is_recorded_of_what_is_no_attempt(made: Made) -> None:
    for tried, ways in (((), ()), (("probe",), ("command",)), (("a story of mine",), ())):
        with pytest.raises(InputError):
            probe(made, tried, ways)
    with pytest.raises(InputError):
        record_probes(AGENT, 2**32, [])
    with pytest.raises(Refused, match=r"names no orders\.delete"):
        probe(made, ("probe",), tool="orders.delete")
    assert made.book.state.custody == {}


@pytest.mark.requirement("R5.6")
def test_an_attempt_that_was_forged_does_not_fold(made: Made) -> None:
    """Attack: an entry by somebody else, or that says `held` of what worked, in a record that was written anew."""
    probe(made, ("probe", "secret-file"), ("secret-file",))
    *before, last = entries(made)
    spoiled: list[Entry[Any]] = [
        replace(last, actor="node"), replace(last, actor="agent:spiffe://shop.example/agent/other"),
        replace(last, body=replace(last.body, state="held")), replace(last, body=replace(last.body, ways=())),
        replace(last, body=replace(last.body, tried=("probe",))), replace(last, body=replace(last.body, tried=())),
        replace(last, body=replace(last.body, tried=("probe", "probe", "secret-file"))),
        replace(last, body=replace(last.body, tried=("secret-file", "an unknown way"))),
    ]  # fmt: skip
    for entry in (last, *spoiled):
        state = State()
        for each in before:
            state.apply(each, "00" * 32)
        if entry is last:
            state.apply(entry, "00" * 32)
            continue
        with pytest.raises(Corrupt):
            state.apply(entry, "00" * 32)


def test_each_way_is_explained() -> None:
    assert all(WAYS.values())


# ---- counted beside what ran -------------------------------------------------------------------------------------


def settings(made: Made, **tools: dict[str, Any]) -> None:
    text = json.dumps({"tools": [[name.replace("_", "."), fields] for name, fields in tools.items()]})
    made.write(Draft(body=kinds.Config(digest="0" * 64, text=text), actor="node"))


def ran(made: Made, call: str) -> None:
    made.settle(made.refund(made.run(), call, f"A-{call}"))


@pytest.mark.requirement("R5.3")
@pytest.mark.requirement("R5.7")
def test_what_ran_with_a_tool_whose_credential_the_agent_holds_is_counted_with_why(made: Made) -> None:
    def loose() -> list[tuple[str, int, str]]:
        return [(one.tool, one.ran, one.why) for one in prove(entries(made)).loose]

    ran(made, "a")
    assert loose() == [(TOOL, 1, "custody broker, and nothing is held")]
    settings(made, payments_refund={"secrets": [["KEY", "shop"]]})
    ran(made, "b")
    assert loose() == [(TOOL, 1, "custody broker, and nothing is held")], "the node holds its secret"
    reached = probe(made, ("probe",), ("probe",))
    assert loose() == [
        (TOOL, 1, f"custody broker, and nothing is held; reached round the gate, entry {reached}"),
        (TOOL, 1, f"reached round the gate, entry {reached}"),
    ]
    probe(made, ("probe",))
    assert loose() == [(TOOL, 1, "custody broker, and nothing is held")]
    settings(made, payments_refund={"permit": "payments-api"})
    none = ledgers.CONTRACT.replace("custody: broker", "custody: none").replace("version: 1", "version: 2")
    ledgers.adopt(made, none)
    ran(made, "c")
    assert (TOOL, 1, "custody none") in loose()


def test_settings_and_contracts_that_cannot_be_read_hold_nothing(made: Made) -> None:
    found = Custodies()
    for entry in entries(made):
        if isinstance(entry.body, kinds.ContractAdopted):
            entry = replace(entry, body=replace(entry.body, document="not a contract"))  # noqa: PLW2901
        found.take(entry)
    for text in ("{", "[]", '{"tools": [1]}', '{"tools": [["a", null]]}'):
        found.take(replace(entries(made)[0], body=kinds.Config(digest="0" * 64, text=text)))
    assert found.loose({}) == ()
