"""What was preserved of an action: told in the entry by commitments alone, once, and only of what was stopped."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from failwell.core import kinds
from failwell.core.records import Draft
from failwell.gate.preserving import Preserved, preserve
from failwell.ledger.vault import commitment
from failwell.verify.preserved import StatesPreserved
from tests.unit.gate.house import AGENT, House, open_house

SNAPSHOT = {
    "schema": "failwell/snapshot/1", "processes": [{"pid": 7, "arguments": ["pay", "--card", "4000-0000"]}],
    "took_us": 1900, "missing": [], "stood_still": True, "output_tail": "a customer's name",
}  # fmt: skip
LISTING = b'{"directory":"/srv","files":[["letter-to-anna","3","00"]],"missing":[]}'


@pytest.fixture
def house() -> Iterator[House]:
    made = open_house()
    yield made
    made.close()


def taken(decision: int, **more: Any) -> Preserved:
    given: dict[str, Any] = {
        "decision": decision, "snapshot": json.dumps(SNAPSHOT).encode(), "directory": LISTING, "files": 1, "bytes": 3,
        "missing": (), **more,
    }  # fmt: skip
    return Preserved(**given)


def stopped(house: House, state: str = "interrupted_confirmed") -> int:
    entry = house.ask(house.run()).entry
    house.settle(entry, state)
    return entry


@pytest.mark.requirement("R9.4")
@pytest.mark.requirement("R9.7")
def test_nothing_of_it_stands_in_the_entry_but_what_commits_to_it(house: House) -> None:
    decision = stopped(house)
    seq = house.do(preserve(taken(decision)))
    assert seq is not None
    body, secret = house.entries(seq)[0].body, house.secret(seq)
    assert (body.processes, body.took_us, body.files, body.bytes, body.complete) == (1, 1900, 1, 3, True)
    salt = bytes.fromhex(secret["salt"])
    assert body.snapshot == commitment(salt, secret["snapshot"].encode())
    assert body.directory == commitment(salt, LISTING)
    stored = house.storage.entry(seq)
    assert stored is not None
    for personal in (b"4000", b"customer's", b"letter", b"pay"):
        assert personal not in stored.data


@pytest.mark.parametrize("state", ["completed", "failed", "blocked", "unknown"])
def test_of_what_nobody_stopped_nothing_is_kept(house: House, state: str) -> None:
    assert house.do(preserve(taken(stopped(house, state)))) is None
    assert house.do(preserve(taken(10_000))) is None


@pytest.mark.parametrize(
    ("snapshot", "missing"),
    [
        (None, "it had ended, or was not seen"),
        (b"not JSON", "cannot be read"),
        (b"[]", "cannot be read"),
        (b'{"processes": 3, "took_us": 1, "missing": []}', "cannot be read"),
        (json.dumps(SNAPSHOT | {"stood_still": False}).encode(), "not all of it was seen to stand still"),
        (json.dumps(SNAPSHOT | {"missing": ["files of 2 processes: cut"]}).encode(), "files of 2 processes: cut"),
    ],
)
def test_what_a_snapshot_lacks_is_said(house: House, snapshot: bytes | None, missing: str) -> None:
    seq = house.do(preserve(taken(stopped(house), snapshot=snapshot, directory=None, files=0, bytes=0)))
    body = house.entries(seq or 0)[0].body
    assert missing in body.missing
    assert not body.complete


def test_what_an_honest_node_writes_is_faultless_and_what_was_edited_is_found(house: House) -> None:
    decision = stopped(house)
    seq = house.do(preserve(taken(decision)))
    entry = house.entries(seq or 0)[0]
    edits: dict[str, Any] = {
        "not all of it": {"missing": "a file"}, "none taken": {"complete": False},
        "no texts": {"snapshot": None, "directory": None},
        "another": {"decision": 3}, "fewer": {"files": -1}, "no directory": {"directory": None},
    }  # fmt: skip

    def fault(edited: Any) -> str | None:
        rules = StatesPreserved()
        for each in house.entries():
            if each.seq < entry.seq:
                assert rules.fault(each, house.state) is None
        return rules.fault(edited, house.state)

    assert fault(entry) is None
    for what, fields in edits.items():
        body = msgspec.structs.replace(entry.body, **fields)
        assert fault(msgspec.structs.replace(entry, body=body)) is not None, what
    envelopes: dict[str, Any] = {"by an agent": {"actor": f"agent:{AGENT}"}, "without its texts": {"blob": None}}
    for what, envelope in envelopes.items():
        assert fault(msgspec.structs.replace(entry, **envelope)) is not None, what
    rules = StatesPreserved()
    assert [rules.fault(each, house.state) for each in (*house.entries(), entry)][-1] is not None, "a second time"


def test_a_state_that_is_preserved_of_what_ran_on_is_found(house: House) -> None:
    decision = stopped(house, "completed")
    body = kinds.StatePreserved(
        decision=decision, processes=0, took_us=0, snapshot=None, directory=None, files=0, bytes=0, complete=False,
        missing="all",
    )  # fmt: skip
    house.write(Draft(body=body, actor="node", agent=AGENT))
    rules = StatesPreserved()
    assert "was not stopped" in str([rules.fault(each, house.state) for each in house.entries()][-1])
