"""Counts falsified: the attacker writes into a `heads` entry that an agent has done less than it has.

A heads entry is what an extract is held against, so whoever strips an agent needs one that agrees with them.
"""

from __future__ import annotations

import pytest

from failwell.core import kinds
from failwell.core.heads import HeadsTree
from failwell.core.records import Draft
from failwell.core.state import State
from failwell.ledger.heads import Heads
from failwell.verify.finding import Report
from tests.attacks.ledger.judging import Ground, caught, fair
from tests.unit.verify import ledgers
from tests.unit.verify.forgery import replace


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    """A ledger with three heads entries."""
    path = tmp_path_factory.mktemp("counted") / "shop"
    with ledgers.fresh(path) as made:
        heads = Heads(made.book)
        ledgers.begin(made)
        made.do(heads.write)
        ledgers.work(made)
        made.do(heads.write)
        made.write(Draft(body=kinds.NodeStopped(reason="asked to"), actor="node"))
    return Ground(path)


def heads_of(ground: Ground) -> list[int]:
    return [entry.seq for entry in ground.entries if isinstance(entry.body, kinds.Heads)]


def named(report: Report, seq: int) -> None:
    """It or something before it is wrong; it is the one to look at."""
    caught(report, within=(0, seq), code="heads.root")
    assert report.first_bad == seq


@pytest.mark.requirement("R13.18")
def test_true_counts_are_not_accused(counted: Ground) -> None:
    fair(counted.forger().verify(counted.kept()))
    assert len(heads_of(counted)) >= 2


@pytest.mark.requirement("R13.18")
@pytest.mark.parametrize(
    ("field", "value"), [("root", "0" * 64), ("agents", 0), ("agents", 1), ("agents", 99), ("upto", 3), ("upto", 10**6)]
)
def test_a_count_that_says_something_else_is_found_at_its_entry(counted: Ground, field: str, value: object) -> None:
    """By whoever has the log key: hashes, rows and signature made new."""
    for seq in heads_of(counted):
        body = counted.entries[seq].body
        if getattr(body, field) == value:
            continue
        forger = counted.forger()
        forger.change(seq, lambda e: replace(e, body=replace(e.body, **{field: value})), resign=True)
        named(forger.verify(), seq)


def test_an_older_true_root_put_in_the_place_of_the_newer(counted: Ground) -> None:
    """As if the agent had done nothing since: a root that was true once."""
    first, *later = heads_of(counted)
    for seq in later:
        forger = counted.forger()
        old = counted.entries[first].body
        forger.change(
            seq, lambda e: replace(e, body=replace(e.body, root=old.root, agents=old.agents)), resign=True  # noqa: B023
        )  # fmt: skip
        named(forger.verify(), seq)


@pytest.mark.requirement("R13.18")
def test_a_root_over_fewer_entries_of_one_agent(counted: Ground) -> None:
    """Recomputed in good order, but with one agent's last entry left uncounted."""
    seq = heads_of(counted)[-1]
    state = State()
    for entry, leaf in zip(counted.entries[:seq], counted.leaves[:seq], strict=True):
        state.apply(entry, leaf.hex())
    agents = dict(state.head)
    row = agents[ledgers.AGENT]
    before = [entry.seq for entry in counted.entries[:seq] if entry.agent == ledgers.AGENT][-2]
    agents[ledgers.AGENT] = replace(row, count=row.count - 1, last=before, leaf=counted.leaves[before].hex())
    lie = HeadsTree(agents).root().hex()
    assert lie != counted.entries[seq].body.root
    forger = counted.forger()
    forger.change(seq, lambda e: replace(e, body=replace(e.body, root=lie)), resign=True)
    named(forger.verify(), seq)
