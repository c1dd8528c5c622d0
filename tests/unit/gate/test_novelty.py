"""Novelty comes from whoever keeps the baselines; while nobody does nothing is new, and clauses can decide on that."""

from __future__ import annotations

import pytest

from failwell.gate.novelty import NoBaseline
from failwell.gate.verdicts import Gate
from failwell.ports.novelty import Novel, Novelty
from tests.unit.gate.house import AGENT, House, open_house

CLAUSES = """
clauses:
  - {id: unlearned, escalate: payments.refund, when: context.baseline == "absent", severity: minor}
  - {id: new-order, deny: payments.refund, when: 'context.novel.contains("order_id")', severity: minor}
  - {id: new-tool, deny: payments.refund, when: 'context.novel.contains("tool")', severity: minor}
"""


class Knows:
    """A baseline that holds one order."""

    def of(self, agent: str, run: int | None, tool: str, arguments: bytes) -> Novel:
        assert (agent, tool) == (AGENT, "payments.refund")
        return Novel(novel=() if b'"o-known"' in arguments else ("order_id",), baseline="locked")


def ask(novelty: Novelty | None, order: str) -> tuple[str, tuple[str, ...]]:
    house: House = open_house(CLAUSES)
    house.gate = Gate("test/1", novelty)
    verdict = house.ask(house.run(), order=order)
    house.close()
    return verdict.verdict, verdict.clauses


@pytest.mark.parametrize("novelty", [None, NoBaseline()])
def test_without_a_baseline_nothing_is_new_and_a_clause_can_decide_on_its_absence(novelty: Novelty | None) -> None:
    assert NoBaseline().of(AGENT, 1, "payments.refund", b"{}") == ((), "absent")
    assert ask(novelty, "o-known") == ("ESCALATE", ("unlearned",))


def test_what_a_baseline_says_is_new_reaches_the_clauses() -> None:
    assert ask(Knows(), "o-known") == ("ALLOW", ())
    assert ask(Knows(), "o-strange") == ("DENY", ("new-order",))
