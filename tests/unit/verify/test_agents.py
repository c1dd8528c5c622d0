"""Each agent's own chain, from envelopes alone: what a stand-alone verifier sees without any fold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from failwell.verify.agents import Agents
from failwell.verify.finding import Findings, Report

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
