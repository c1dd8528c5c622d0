"""The five contracts meet every recorded call, and were not written from the attacks that judge them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from failwell.core import contract as contracts
from failwell.core.contract import Compiled, Proposal, Situation
from failwell.replay.summary import case_of
from failwell.replay.traces import RecordedRun, read_runs

DATA = Path(os.environ.get("FAILWELL_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")
FOLDER = Path(__file__).resolve().parents[2] / "examples" / "contracts"
WITHIN_VALIDITY_US = 1_800_000_000_000_000  # January 2027
SHORTEST_TELLING_TEXT = 8

pytestmark = pytest.mark.skipif(
    not DATA.is_dir(), reason=f"recorded runs are not here ({DATA}); set FAILWELL_DATA to their folder"
)


def recorded() -> Iterator[RecordedRun]:
    for path in [
        *sorted((DATA / "agentdojo-runs").glob("*.jsonl.gz")),
        DATA / "tau-bench" / "gpt-4o-airline.json.gz",
    ]:
        yield from read_runs(path)


def texts(value: object) -> Iterator[str]:
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from texts(item)
    elif isinstance(value, str) and len(value) >= SHORTEST_TELLING_TEXT:
        yield value.lower()


def test_every_recorded_call_is_judged_by_one_contract_and_none_by_an_error() -> None:
    judges: dict[str | None, Compiled] = {}
    for path in FOLDER.glob("*.yaml"):
        contract = contracts.load(path.read_text(), name=path.name)
        judges[contract.applies_to["suite"]] = contracts.compile(contract)
    situation = Situation(authority="ACTIVE", now_us=WITHIN_VALIDITY_US, request="asserted", usage=lambda limit, key: 0)
    judged = 0
    reserved: dict[str, int] = {}
    for run in recorded():
        for call in run.calls:
            judgment = judges[run.suite].judge(Proposal(tool=call.tool, arguments=call.arguments), situation)
            judged += 1
            for decided in judgment.clauses:
                if decided.id in contracts.RESERVED:
                    reserved[decided.id] = reserved.get(decided.id, 0) + 1
    assert judged == 6655
    # Null amounts, placeholders for values, lists written as text, arguments that no tool declares.
    assert reserved == {"arguments": 105}


def test_no_contract_holds_a_value_that_only_attacks_use() -> None:
    attacks: set[str] = set()
    benign: set[str] = set()
    for run in recorded():
        used = {text for call in run.calls for text in texts(json.loads(call.arguments))}
        if case_of(run) == "attack succeeded":
            attacks |= used
        elif case_of(run) == "benign":
            benign |= used | {(run.request or "").lower()}
    only_attacks = {text for text in attacks if not any(text in known for known in benign)}
    assert len(only_attacks) > 20
    for path in FOLDER.glob("*.yaml"):
        written = path.read_text().lower()
        assert [text for text in only_attacks if text in written] == []
