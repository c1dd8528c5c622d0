"""Texts that would take long to look at are refused before they are: whoever lints, adopts or starts waits for none."""

from __future__ import annotations

import pytest

from failwell.core import contract as contracts
from failwell.core.contract.notes import MAX_ERRORS
from tests.unit.core.contract.contracts import REFUND_BOT, clause, errors, one_tool
from tests.unit.core.contract.test_floor import COMPANY

pytestmark = pytest.mark.timeout(20)  # each of these took minutes once


def listed(count: int, arguments: str = '{n: "int(0..9)"}') -> str:
    head = one_tool().partition("tools:\n")[0]
    tools = "".join(
        f"  - {{tool: t{number}, effect: read, custody: broker, arguments: {arguments}}}\n" for number in range(count)
    )
    return f"{head}tools:\n{tools}"


def rules(count: int, tools: int, when: str) -> str:
    names = ", ".join(f"t{number}" for number in range(tools))
    return "clauses:\n" + "".join(
        f"  - {{id: rule-{number}, deny: [{names}], when: '{when}'}}\n" for number in range(count)
    )


def test_a_text_of_a_thousand_mistakes_is_refused_by_the_first_hundred() -> None:
    """Attack: names that are nearly right, each compared with all that are right."""
    tools = "".join(f"  - {{tool: payments.refund.{number}, effect: read, custody: broker}}\n" for number in range(400))
    wrong = ", ".join(f"payments.refnd.{number}" for number in range(30))
    limits = "".join(f"  - {{id: l{n}, count: [{wrong}], at_most: 3, then: deny}}\n" for n in range(20))
    head = one_tool().partition("tools:\n")[0]
    found = errors(f"{head}tools:\n{tools}limits:\n{limits}")
    assert len(found) == MAX_ERRORS + 1
    assert "There is more to mend" in found[-1]
    assert all("Did you mean" in one for one in found[:-1])


def test_warnings_never_crowd_out_an_error() -> None:
    """Attack: a hundred weak tools before the one rule that is wrong, so that it would be passed over."""
    weak = "".join(f"  - {{tool: t{number}, effect: irreversible}}\n" for number in range(150))
    text = one_tool().partition("tools:\n")[0] + f"tools:\n{weak}clauses:\n  - {{id: a, deny: t1, when: context.x}}\n"
    assert any("clause a could fail" in one for one in errors(text))
    with pytest.raises(contracts.BrokenContract):
        contracts.load(text, name="t")


def test_what_is_too_large_to_be_signed_is_not_looked_at() -> None:
    text = one_tool(clauses="".join(clause("true", name=f"rule-{number}") for number in range(900)))
    found = errors(text)
    assert len(found) == 1
    assert "The contract is too large" in found[0] or "more than" in found[0]


def test_clauses_times_tools_are_bounded() -> None:
    """Attack: a page of clauses that each name every tool; every pair has to be proved, at every start."""
    when = " && ".join(["context.args.n > 3"] * 12)
    assert "The clauses are too large" in "\n".join(errors(listed(200) + rules(8, 200, when)))
    assert errors(listed(100) + rules(9, 100, "context.args.n > 3")) == []


def test_a_floor_for_every_tool_is_bounded_too() -> None:
    when = " && ".join(["context.args.n > 3"] * 12)
    head = COMPANY.partition("never:")[0]
    floor = head + "clauses:\n" + "".join(f"  - {{id: r{n}, deny: '*', when: '{when}'}}\n" for n in range(60))
    contract = contracts.load(listed(60), name="c")
    found = contracts.floor_findings(contract, contracts.load_floor(floor, name="f"))
    assert [one.problem for one in found] == ["There are too many clauses."]
    with pytest.raises(contracts.BrokenContract):
        contracts.compile(contract, [contracts.load_floor(floor, name="f")])


def test_a_text_of_very_many_values_is_refused_while_it_is_read() -> None:
    assert "more than 8000 values" in "\n".join(errors(REFUND_BOT + "x: [" + "a, " * 9000 + "a]\n"))


@pytest.mark.parametrize("times", [0, -1, 1001, 10**17])
def test_what_was_done_before_an_example_is_bounded(times: int) -> None:
    """Attack: an example after more actions than anybody waits for, in the file of a contract to be tried."""
    text = one_tool().partition("examples:")[0] + (
        f"examples: [{{tool: act, expect: ALLOW, after: [{{tool: act, times: {times}}}]}}]\n"
    )
    # 0 is what stands for nothing: once.
    assert (times == 0) == (errors(text) == [])
    many = ", ".join(["{tool: act, times: 1000}"] * 11)
    text = one_tool().partition("examples:")[0] + f"examples: [{{tool: act, expect: ALLOW, after: [{many}]}}]\n"
    assert "come after more than 10000 actions" in "\n".join(errors(text))
