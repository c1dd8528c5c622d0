"""Whether the examples of a contract name what it has. Whether they go as expected is what `contract test` tries."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from failwell.core.contract.examples import Example
from failwell.core.contract.judgment import RESERVED
from failwell.core.contract.model import Contract
from failwell.core.contract.nearest import meant
from failwell.core.contract.notes import Notes

#: How often an example can have had an action before it, and all examples together.
MAX_TIMES = 1_000
MAX_DONE_BEFORE = 10_000


def note_examples(contract: Contract, examples: Sequence[Example], notes: Notes) -> None:
    """Note what an example names that the contract does not have; that there is none."""
    if not examples:
        reason = "Nobody sees what it lets through before it is in force."
        mend = "Add examples: - {tool: payments.refund, arguments: {amount: 5}, expect: ALLOW}."
        notes.add("warning", notes.root, "The contract has no example.", reason, mend)
    tools = {tool.tool: tool for tool in contract.tools}
    rules = {*(limit.id for limit in contract.limits), *(clause.id for clause in contract.clauses)}
    for number, example in enumerate(examples):
        tool = tools.get(example.tool)
        if tool is None and example.expect != "DENY":
            mend = meant(example.tool, tools) or "What is not listed is denied: expect DENY."
            _error(notes, number, "tool", f"The example names {example.tool}.", "The tool is not listed.", mend)
        facts = set() if tool is None else {ask.name for ask in tool.facts}
        _known(notes, number, "by", example.by, {*rules, *RESERVED})
        _known(notes, number, "approved", example.approved, {*rules, *RESERVED})
        _known(notes, number, "facts", example.facts, facts)
        _done_before(notes, number, example)
    if sum(earlier.times for example in examples for earlier in example.after) > MAX_DONE_BEFORE:
        problem = f"The examples come after more than {MAX_DONE_BEFORE} actions."
        notes.error(notes.place("examples"), problem, "Each of them is judged.", "Lower times.")


def _done_before(notes: Notes, number: int, example: Example) -> None:
    for earlier in example.after:
        if not 1 <= earlier.times <= MAX_TIMES:
            problem = f"The example's after does {earlier.tool} {earlier.times} times."
            _error(notes, number, "after", problem, "Each of them is judged.", f"Write times: 1 to {MAX_TIMES}.")


def _known(notes: Notes, number: int, field: str, names: Iterable[str], known: set[str]) -> None:
    for name in names:
        # A floor's rules (FLOOR/ID) are not in the text: whether they speak shows when the example is tried.
        if name not in known and "/" not in name:
            reason = "The tool asks for no such fact." if field == "facts" else "There is no such clause or limit."
            mend = meant(name, known) or "Mend the name."
            _error(notes, number, field, f"The example's {field} names {name}.", reason, mend)


def _error(notes: Notes, number: int, field: str, problem: str, reason: str, mend: str) -> None:
    notes.error(notes.place("examples", number, field), problem, reason, mend)
