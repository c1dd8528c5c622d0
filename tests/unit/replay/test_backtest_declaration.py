"""A backtest is declared whole before it begins, and its pace is the same however fast it runs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from failwell.core import contract as contracts
from failwell.core.contract import BrokenContract, Contract
from failwell.core.errors import InputError, NotFound
from failwell.core.instants import format_at
from failwell.replay.declaration import MAX_TRACES, Declaration, call_of, declare, differences, source_of
from failwell.replay.pace import BOOT, Pace, PacedClock, check_room, start_us

SECOND_US = 1_000_000
PACE = Pace(5 * SECOND_US, 3600 * SECOND_US)

TEXT = """\
contract: {name}
version: 1
agent: spiffe://shop.example/agent/{name}
owner: shop-owner
purpose: Read.
{more}
tools:
  - {{tool: read, effect: read, custody: broker, deadline: 5s, arguments: {{}}}}
escalation:
  - {{notify: owner, by: [email]}}
"""
RUN = '{"messages": [{"role": "user", "content": "%s"}], "metadata": {"suite_name": "%s"}}\n'


def text(name: str, suite: str | None = None, valid: str | None = None) -> str:
    more = [f"applies_to: {{suite: {suite}}}"] if suite else []
    return TEXT.format(name=name, more="\n".join([*more, f"valid: {valid}"] if valid else more))


def contract(name: str, valid: str | None = None) -> Contract:
    return contracts.load(text(name, valid=valid), name=name)


def written(path: Path, *lines: str) -> Path:
    path.write_text("".join(lines))
    return path


def declared(folder: Path, evaluator: str = "e/1", pace: Pace = PACE, trace: str = "runs.jsonl") -> Declaration:
    bank = written(folder / "bank.yaml", text("bank", "banking"))
    chat = written(folder / "chat.yaml", text("chat", "slack"))
    runs = written(folder / trace, RUN % ("one", "banking"), RUN % ("two", "slack"))
    return declare([bank, chat], [runs], pace, evaluator)


# -- pace --------------------------------------------------------------------------------------------------


def test_calls_follow_each_other_and_runs_keep_their_distance() -> None:
    assert [PACE.call_us(100, ordinal) for ordinal in (1, 2)] == [100 + 5 * SECOND_US, 100 + 10 * SECOND_US]
    assert PACE.next_us(100, 2) - PACE.call_us(100, 2) == 3600 * SECOND_US
    assert PACE.next_us(100, 0) - 100 == 3600 * SECOND_US


def test_the_clock_stands_still_until_it_is_moved() -> None:
    clock = PacedClock(1_000)
    assert (clock.mono_us(), clock.wall_us(), clock.mono_us()) == (0, 1_000, 0)
    clock.move(7)
    assert (clock.mono_us(), clock.wall_us()) == (7, 1_007)


def test_the_boot_is_32_hex_digits_and_says_recorded() -> None:
    assert len(BOOT) == 32
    assert bytes.fromhex(BOOT).rstrip(b"\0") == b"recorded"


def test_ledger_time_starts_when_the_last_contract_comes_into_force() -> None:
    both = [contract("a", "{from: 2026-11-01}"), contract("b", "{from: 2026-12-24}"), contract("c")]
    assert format_at(start_us(both)) == "2026-12-24T00:00:00.000000Z"
    assert format_at(start_us([contract("c")])) == "2026-01-01T00:00:00.000000Z"


def test_time_may_not_run_out_of_any_contract() -> None:
    bound = [contract("a", "{from: 2026-11-01, until: 2026-11-02}"), contract("b")]
    began_us = start_us(bound)
    day_us = 24 * 3600 * SECOND_US
    check_room(bound, began_us, began_us + day_us - 1)
    with pytest.raises(InputError, match="until 2026-11-02, but contract a is valid until 2026-11-02"):
        check_room(bound, began_us, began_us + day_us)
    later = [*bound, contract("c", "{from: 2026-11-02}")]
    with pytest.raises(InputError, match="contract a is valid until 2026-11-02, before another one begins"):
        check_room(later, start_us(later), start_us(later))


# -- declaration -------------------------------------------------------------------------------------------


def test_a_declaration_counts_what_it_is_over(tmp_path: Path) -> None:
    found = declared(tmp_path)
    assert (found.runs, found.calls) == (2, 0)
    assert [(run.ordinal, found.contract_of(run).contract) for run in found.read()] == [(1, "bank"), (2, "chat")]


def test_a_contract_without_applies_to_is_for_every_run(tmp_path: Path) -> None:
    both = written(tmp_path / "runs.jsonl", RUN % ("one", "banking"), RUN % ("two", "slack"))
    found = declare([written(tmp_path / "any.yaml", text("any"))], [both], PACE, "e/1")
    assert {found.contract_of(run).contract for run in found.read()} == {"any"}


def test_ids_name_the_file_by_digest(tmp_path: Path) -> None:
    messages = '{"messages": [{"role": "assistant", "function_call": {"name": "read", "arguments": "{}"}}]}'
    runs = written(tmp_path / "runs.jsonl", messages)
    found = declare([written(tmp_path / "any.yaml", text("any"))], [runs], PACE, "e/1")
    (run,) = found.read()
    assert source_of(run) == f"{found.traces[0].digest}:1"
    assert call_of(run, run.calls[0]) == f"{found.traces[0].digest}:1:1"


def test_a_file_that_changes_after_it_was_declared_is_noticed(tmp_path: Path) -> None:
    found = declared(tmp_path)
    written(tmp_path / "runs.jsonl", RUN % ("other", "banking"))
    with pytest.raises(InputError, match="changed while"):
        list(found.read())


def test_what_differs_is_said(tmp_path: Path) -> None:
    found = declared(tmp_path)
    stored = found.text()
    assert differences(stored, declared(tmp_path)) is None
    assert "e/1, this is e/2" in str(differences(stored, declared(tmp_path, evaluator="e/2")))
    assert "pace" in str(differences(stored, declared(tmp_path, pace=Pace(1, 2))))
    assert "runs.jsonl became renamed.jsonl" in str(differences(stored, declared(tmp_path, trace="renamed.jsonl")))
    assert "another release" in str(differences('{"backtest":2}', found))


def test_the_order_in_which_contracts_are_given_does_not_matter(tmp_path: Path) -> None:
    found = declared(tmp_path)
    files = [tmp_path / "chat.yaml", tmp_path / "bank.yaml"]
    assert declare(files, [tmp_path / "runs.jsonl"], PACE, "e/1").text() == found.text()


def test_contracts_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    runs = written(tmp_path / "runs.jsonl", RUN % ("one", "banking"))
    good = written(tmp_path / "good.yaml", text("good"))
    with pytest.raises(InputError, match="is given already"):
        declare([good, good], [runs], PACE, "e/1")
    with pytest.raises(BrokenContract, match=r"bad\.yaml"):
        declare([written(tmp_path / "bad.yaml", "contract: x")], [runs], PACE, "e/1")
    with pytest.raises(NotFound, match="no such file"):
        declare([tmp_path / "none.yaml"], [runs], PACE, "e/1")
    odd = text("odd", "banking").replace("suite:", "model:")
    with pytest.raises(InputError, match="applies_to names model"):
        declare([written(tmp_path / "odd.yaml", odd)], [runs], PACE, "e/1")


def test_recordings_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    good = written(tmp_path / "good.yaml", text("good"))
    runs = written(tmp_path / "runs.jsonl", RUN % ("one", "banking"))
    for traces in ([], [runs] * (MAX_TRACES + 1)):
        with pytest.raises(InputError, match="recorded files"):
            declare([good], traces, PACE, "e/1")
    with pytest.raises(InputError, match="given twice"):
        declare([good], [runs, runs], PACE, "e/1")


def test_a_pipe_is_not_a_recording(tmp_path: Path) -> None:
    good = written(tmp_path / "good.yaml", text("good"))
    reading, writing = os.pipe()
    try:
        with pytest.raises(InputError, match="is not a file"):
            declare([good], [Path(f"/dev/fd/{reading}")], PACE, "e/1")
    finally:
        os.close(reading)
        os.close(writing)
