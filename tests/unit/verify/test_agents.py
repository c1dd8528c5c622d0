"""Each agent's own chain, from envelopes alone: what a stand-alone verifier sees without any fold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from failwell.core import merkle
from failwell.verify.agents import Agents
from failwell.verify.finding import COUNTS, Findings, Report
from tests.unit.verify.logs import Log

A, B = "spiffe://shop.example/agent/a", "spiffe://shop.example/agent/b"


@dataclass(frozen=True)
class Envelope:
    agent: str | None
    aseq: int | None
    aprev: int | None


HONEST = [
    Envelope(None, None, None), Envelope(A, 0, None), Envelope(B, 0, None), Envelope(A, 1, 1), Envelope(A, 2, 3),
    Envelope(B, 1, 2),
]  # fmt: skip


def taken(entries: list[Any]) -> tuple[Agents, Report]:
    """All entries through the chain; None is one that cannot be read."""
    findings = Findings()
    agents = Agents(findings)
    for seq, entry in enumerate(entries):
        if entry is None:
            agents.pass_over(seq)
        else:
            agents.take(entry, seq, bytes([seq]) * 32)
    return agents, findings.report(entries=len(entries), origin=None, root=None, size=len(entries), read={})


def test_gapless_chains_of_two_agents_hold_and_their_heads_stand_at_the_last_entries() -> None:
    agents, report = taken(HONEST)
    assert report.ok
    assert {agent: (head.count, head.leaf) for agent, head in agents.heads.items()} == {
        A: (3, "04" * 32), B: (2, "05" * 32),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("seq", "wrong"),
    [
        (1, Envelope(A, 1, None)),
        (1, Envelope(A, 0, 0)),
        (3, Envelope(A, 2, 1)),
        (3, Envelope(A, 1, 2)),
        (4, Envelope(A, 1, 3)),
        (4, Envelope(A, None, None)),
        (5, Envelope(B, 1, None)),
        (0, Envelope(None, 0, None)),
        (0, Envelope(None, None, 0)),
    ],
)
def test_a_count_or_predecessor_that_does_not_follow_is_named(seq: int, wrong: Envelope) -> None:
    report = taken([*HONEST[:seq], wrong, *HONEST[seq + 1 :]])[1]
    assert set(report.counts) == {"entry.agent"}
    found = report.findings[0]
    assert found.first is not None
    assert found.last is not None
    assert found.first <= seq <= found.last


def test_an_entry_of_an_agent_taken_out_is_found_by_the_next_of_the_same_agent() -> None:
    report = taken([*HONEST[:3], Envelope(None, None, None), *HONEST[4:]])[1]
    assert report.counts == {"entry.agent": 1}
    assert (report.findings[0].first, report.findings[0].last) == (2, 4)


def test_an_entry_that_cannot_be_read_accuses_no_later_one_that_counts_it() -> None:
    assert taken([*HONEST[:3], None, *HONEST[4:]])[1].ok
    # It counts one entry only: one that counts backwards past it is wrong all the same.
    assert not taken([*HONEST[:3], None, Envelope(A, 0, None), HONEST[5]])[1].ok


# ---- the root over all of them ---------------------------------------------------------------------------------------


def lines(log: Log) -> list[str]:
    """The sorted lines `AGENT COUNT LEAF` as they stand now, counted by hand."""
    leaves = [row[2].hex() for row in log.rows()]
    reached: dict[str, tuple[int, str]] = {}
    for entry, leaf in zip(log.entries, leaves, strict=True):
        if entry["agent"] is not None:
            reached[entry["agent"]] = reached.get(entry["agent"], (0, ""))[0] + 1, leaf
    return [f"{agent} {count} {leaf}" for agent, (count, leaf) in sorted(reached.items())]


def root(of: list[str]) -> str:
    return merkle.root_of(merkle.leaf_hash(line.encode()) for line in of).hex()


def busy(count: int) -> Log:
    """A log in which `count` agents wrote, one entry more than the one before each."""
    log = Log()
    for number in range(count):
        for _ in range(number % 5 + 1):
            log.add("run.closed", agent=f"spiffe://shop.example/agent/{number:03d}", reason="done")
    return log


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 40])
def test_the_root_over_all_agents_as_they_stand_before_it_holds_again_and_again(count: int) -> None:
    log = busy(count)
    for _ in range(3):
        found = lines(log)
        log.add("heads", root=root(found), agents=len(found), upto=log.size)
        log.add("run.opened", agent="spiffe://shop.example/agent/000")
        log.add("run.opened", agent=f"spiffe://shop.example/agent/new-{log.size}")
    report = log.verify()
    assert report.ok, report.findings
    assert (report.checks[COUNTS - 1].state, report.checks[COUNTS - 1].detail) == ("proved", "3 roots")


def test_a_root_that_leaves_out_an_agent_or_an_entry_or_counts_as_of_another_moment() -> None:
    honest = lines(busy(9))
    size = busy(9).size
    wrong: list[dict[str, Any]] = [
        {"root": root(honest[:-1]), "agents": 8, "upto": size},
        {"root": root(honest[:-1]), "agents": 9, "upto": size},
        {"root": root([*honest[:-1], honest[-1].replace(" 4 ", " 3 ")]), "agents": 9, "upto": size},
        {"root": root([*honest[:-1], honest[-1][:-64] + "0" * 64]), "agents": 9, "upto": size},
        {"root": root(sorted(honest, reverse=True)), "agents": 9, "upto": size},
        {"root": root(honest), "agents": 8, "upto": size},
        {"root": root(honest), "agents": 9, "upto": size - 1},
        {"root": root(honest).upper(), "agents": 9, "upto": size},
        {"root": "", "agents": 0, "upto": 0},
    ]
    for body in wrong:
        log = busy(9)
        seq = log.add("heads", **body)
        report = log.verify()
        assert report.counts == {"heads.root": 1}, body
        assert report.first_bad == seq


def test_a_root_behind_an_entry_that_cannot_be_read_is_said_to_be_not_checkable() -> None:
    log = busy(5)
    found = lines(log)
    log.add("heads", root=root(found), agents=len(found), upto=log.size)
    rows = log.rows()
    rows[3] = (3, rows[3][1] + b" ", *rows[3][2:])
    report = log.verify(rows=rows)
    assert "heads.root" not in report.counts
    assert report.checks[COUNTS - 1].state == "not checkable"
    assert report.first_bad == 3
