"""The impact of an incident of a house, as a node tells it: every value from the file, nothing from the test."""

from __future__ import annotations

from typing import Any

from failwell.core import contract as contracts
from failwell.core import kinds, rows
from failwell.core.contract import Contract
from failwell.core.instants import format_at, parse_at
from failwell.core.records import Draft, Entry
from failwell.gate import outcomes
from failwell.gate.ensured import Seen, end_check
from failwell.response.impact import TOLD_ACTS, Impact, Known, impact
from failwell.response.reach import reach
from tests.unit.gate.house import AGENT, RULES, TOOLS, House, open_house

#: From here on the rules of this release hold.
RULES_2 = Draft(body=kinds.ResponseRules(version=2), actor="node")


def ruled(rules: str = RULES, *, tools: str = TOOLS) -> House:
    """A house under the rules of this release, with people, one agent and its contract in force."""
    house = open_house(rules, tools=tools)
    house.write(RULES_2)
    return house


def impact_of(house: House, incident: int = 1, *, most: int = TOLD_ACTS) -> Impact:
    state = house.state
    row = state.incident[incident]
    adopted = {(each.agent, f"{each.id}@{each.version}"): each.document for each in state.contract.values()}

    def terms(agent: str, label: str) -> Contract | None:
        document = adopted.get((agent, label))
        return None if document is None else contracts.from_canonical(document.encode())

    def facts(decision: int) -> dict[str, Any]:
        blob = house.storage.blob(decision)
        found: dict[str, Any] = {} if blob is None else house.book.vault.open(blob)["facts"]
        return found

    def names(tokens: set[str]) -> dict[str, str]:
        return {
            each.token: house.book.vault.reveal(each)[1] for each in house.storage.tokens() if each.token in tokens
        }  # fmt: skip

    def run(seq: int) -> rows.Run | None:
        stored = house.storage.row("run", seq)
        return None if stored is None else rows.decode_row("run", stored)

    known = Known(terms=terms, facts=facts, names=names, row_of=run, said=state.customer)
    left = None
    if "SUSPENDED" in row.marks:
        entry = house.entries(row.marks["SUSPENDED"])[0]
        left = reach(state, row.agent, entry.seq, parse_at(entry.at), entry.body.was)

    def pages(first: int) -> list[Entry[Any]]:
        return house.entries(first)

    return impact(incident, row, state.agent.get(row.agent), pages, known, left, most=most)


def refund(
    house: House, run: int, order: str, customer: str, amount: str, *, state: str = "completed", agent: str = AGENT
) -> int:
    """A refund that was allowed and ended; its decision."""
    verdict = house.ask(run, amount, order=order, customer=customer, agent=agent)
    assert verdict.verdict == "ALLOW", verdict
    house.settle(verdict.entry, state)
    return verdict.entry


def see(
    house: House, ref: str, action: int | None, customer: str | None, *, tool: str = "payments.refund",
    agent: str = AGENT, witness: str = "bank",
) -> int:  # fmt: skip
    """The tool side's log says that it happened."""
    effect = outcomes.Witnessed(
        witness=witness, ref=ref, tool=tool, at=format_at(house.state.last_at_us), customer=customer, action=action,
        line="ab" * 32,
    )  # fmt: skip
    return house.do(outcomes.record_effects(agent, (effect,)))[0]


def looked(house: House, decision: int, name: str, state: str) -> int:
    """How the look at the world after an act ended, once its time is over."""
    row = house.state.check[f"{decision}/{name}"]
    house.clock.skip(max(0, row.due_us - house.state.last_at_us) + 1_000_000)
    entry = house.do(end_check(f"{decision}/{name}", Seen(state=state, tries=1)))
    assert entry is not None
    return entry
