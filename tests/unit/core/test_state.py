"""The state follows its entries or nothing: what does not follow is Corrupt, and Corrupt changes nothing stored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from failwell.core import kinds
from failwell.core.errors import Corrupt
from failwell.core.records import Draft, Entry
from failwell.core.state import State
from failwell.ledger.jobs import Job, Plan
from tests.unit.gate.house import AGENT, FATAL, SMALL, House, folded, open_house


@pytest.fixture
def house() -> House:
    """With one suspended agent (incident 1, hold 1, page 1) and one of its actions still open."""
    house = open_house()
    run = house.run()
    house.ask(run)
    house.ask(run, FATAL)
    return house


def leaves(house: House, first: int = 0) -> list[tuple[Entry[Any], str]]:
    return [(entry, house.book.leaf(entry.seq)) for entry in house.entries(first)]


# ---- the envelope ------------------------------------------------------------------------------------------------


def follow(house: House, **changed: Any) -> None:
    """Fold all entries, the agent's last one with changed fields."""
    entries = leaves(house)
    last = max(place for place, (entry, _) in enumerate(entries) if entry.agent == AGENT)
    entries[last] = msgspec.structs.replace(entries[last][0], **changed), entries[last][1]
    folded(entries[: last + 1])


def test_the_entries_as_they_are_follow(house: House) -> None:
    follow(house)


@pytest.mark.parametrize("changed", [{"aseq": 3}, {"aseq": 99}, {"aseq": None}, {"aprev": 2}, {"aprev": None}])
def test_a_broken_chain_of_an_agent_does_not_follow(house: House, changed: dict[str, Any]) -> None:
    with pytest.raises(Corrupt, match="breaks the chain"):
        follow(house, **changed)


def test_an_entry_of_another_agent_number_or_time_does_not_follow(house: House) -> None:
    with pytest.raises(Corrupt, match="breaks the chain"):
        follow(house, agent="spiffe://shop.example/agent/other")
    with pytest.raises(Corrupt, match="does not follow"):
        follow(house, seq=house.state.size + 5)
    with pytest.raises(Corrupt, match="earlier"):
        follow(house, at="2026-01-01T00:00:00.000000Z")


def test_a_gap_a_repetition_and_a_late_beginning_do_not_follow(house: House) -> None:
    entries = leaves(house)
    for wrong in (entries[:3] + entries[4:], entries[:4] + entries[3:], entries[1:]):
        with pytest.raises(Corrupt, match="does not follow"):
            folded(wrong)


# ---- bodies that speak of nothing, or of something twice ---------------------------------------------------------


def outcome(decision: int, state: str = "completed") -> kinds.Outcome:
    return kinds.Outcome(
        decision=decision, state=state, by="agent", exit_code=None, result=None, result_bytes=0, truncated=False,
        elapsed_us=None, why=None,
    )  # fmt: skip


def authority(was: str, now: str, epoch: int) -> kinds.AuthorityChanged:
    return kinds.AuthorityChanged(was=was, now=now, epoch=epoch, why="", incident=None, by="person:eve")


def update(incident: int = 1, state: str = "OPEN", severity: str = "critical") -> kinds.IncidentUpdated:
    return kinds.IncidentUpdated(incident=incident, state=state, severity=severity, signal=None, note="")


def hold(number: int) -> kinds.HoldPlaced:
    return kinds.HoldPlaced(hold=number, incident=1, first=0, last=0, why="")


def page(number: int) -> kinds.PageQueued:
    return kinds.PageQueued(page=number, incident=1, person="olga", channel="email", step=1, due_us=0, why="")


def opened(number: int) -> kinds.IncidentOpened:
    return kinds.IncidentOpened(
        by="response", incident=number, kind="real", severity="minor", title="", signal=0, onset_first=0, onset_last=0,
        response=(),
    )  # fmt: skip


def again(kind: type[Any]) -> Callable[[House], Any]:
    """The first body of a kind that the ledger has, once more."""
    return lambda house: house.bodies(kind)[0]


OPEN, DENIED = 15, 16

IMPOSSIBLE: dict[str, Callable[[House], Any]] = {
    "a second genesis": again(kinds.Genesis),
    "an order played again": again(kinds.Order),
    "a second decision of a call": again(kinds.Decision),
    "an outcome of a denied action": lambda house: outcome(DENIED),
    "an outcome of no action": lambda house: outcome(3),
    "an outcome of what never was": lambda house: outcome(10**9),
    "an end that is none": lambda house: outcome(OPEN, "open"),
    "an end in other letters": lambda house: outcome(OPEN, "Blocked"),
    "active without a release": lambda house: authority("SUSPENDED", "ACTIVE", 3),
    "from a state it is not in": lambda house: authority("ACTIVE", "RESTRICTED", 3),
    "an epoch that does not rise": lambda house: authority("SUSPENDED", "PROBATION", 2),
    "an authority there is not": lambda house: authority("SUSPENDED", "ADMIN", 3),
    "an update of no incident": lambda house: update(incident=2),
    "a case closed at once": lambda house: update(state="CLOSED"),
    "a case in no state": lambda house: update(state="FORGOTTEN"),
    "a severity talked down": lambda house: update(severity="minor"),
    "incident 1 again": lambda house: opened(1),
    "incident 3 after 1": lambda house: opened(3),
    "hold 1 over the first": lambda house: hold(1),
    "hold 3 after 1": lambda house: hold(3),
    "page 1 over the first": lambda house: page(1),
    "page 3 after 1": lambda house: page(3),
    "an attempt at no page": lambda house: kinds.PageAttempted(
        page=7, attempt=1, accepted=True, detail="", checkpoint=0, next_due_us=None
    ),
    "a run that was never open closed": lambda house: kinds.RunClosed(reason="done"),
    "settings without a workspace row": lambda house: kinds.Posture(
        contract=None, contract_digest=None, configuration="", baseline="", evaluator="", floors=None, response=None,
        model=None, prompt=None, tool_schemas=None,
    ),
}  # fmt: skip


def impossible(house: House, name: str) -> Draft:
    agent = "spiffe://shop.example/agent/nobody" if name.startswith("settings") else AGENT
    run = {"a second decision of a call": 14, "a run that was never open closed": 5}.get(name)
    return Draft(body=IMPOSSIBLE[name](house), actor="eve", agent=agent, run=run)


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_what_speaks_of_nothing_or_twice_is_never_stored(house: House, name: str) -> None:
    before, size = house.stored(), house.state.size
    with pytest.raises(Corrupt):
        house.write(impossible(house, name))
    assert (house.stored(), house.storage.size(), house.state.size) == (before, size, size)
    house.settle(OPEN)  # the ledger goes on as if nothing had been said


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_the_innocent_jobs_of_a_batch_survive_the_guilty_one(house: House, name: str) -> None:
    def note(detail: str) -> Job[int]:
        body = kinds.Health(part="test", state="ok", detail=detail)
        return lambda turn: Plan((Draft(body=body, actor="node"),), lambda entries: entries[0].seq)

    guilty = impossible(house, name)
    writer = house.writer(paused=True)
    futures = [writer.submit(note("before")), writer.submit(lambda turn: Plan((guilty,), len))]
    futures.append(writer.submit(note("after")))
    writer.start()
    try:
        with pytest.raises(Corrupt):
            futures.pop(1).result(20)
        first, second = (future.result(20) for future in futures)
        assert second == first + 1
        entries = house.entries(first)
        assert [entry.body.detail for entry in entries] == ["before", "after"]
    finally:
        writer.close()


def test_a_batch_torn_in_its_second_entry_leaves_nothing_of_its_first(house: House) -> None:
    """Half a containment would be worse than none: the entries of one job are one."""
    size = house.state.size
    with pytest.raises(Corrupt):
        house.write(Draft(body=kinds.Health(part="test", state="ok", detail=""), actor="node"), impossible(
            house, "an outcome of a denied action"
        ))  # fmt: skip
    house.reopen()
    assert house.state.size == size


# ---- resuming ----------------------------------------------------------------------------------------------------


def test_a_state_that_resumes_stands_where_the_last_entry_was_written(house: House) -> None:
    last = house.entries()[-1]
    state = State()
    state.resume(last.seq + 1, last.at)
    assert (state.size, state.last_at_us) == (house.state.size, house.state.last_at_us)


def test_an_empty_state_permits_nothing_and_knows_nobody() -> None:
    state = State()
    assert (state.mode, state.origin, state.configuration) == ("live", "", "")
    assert state.contract_of(AGENT) is None
    assert state.agent_named(AGENT) is None
    assert state.running(AGENT) == ()
    assert state.used(AGENT, "per-hour", None, 0, 0) == 0
    assert state.limit_us(77) == 77


def test_rows_are_drained_once(house: House) -> None:
    house.stage(house.gate.decide(house.proposal(13, SMALL)))
    assert {table for table, _ in house.state.drain()} == {"action", "head", "signal"}
    assert house.state.drain() == {}
    house.book.recover()
