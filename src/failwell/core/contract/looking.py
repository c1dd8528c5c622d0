"""Facts that the gate asks a trusted source for: the questions of one action, and answers held against their types.

Who asks, over which road and for how long is the node's (D23). An answer is the source's word, never the agent's:
a name of its own in the contract, a place of its own in the clauses (`context.facts`), and `verified` in the record.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from failwell.core.contract.argument import Mismatch, Type
from failwell.core.contract.judgment import Fact, Judgment, Looked, Question
from failwell.core.contract.model import Lookup
from failwell.core.fact_keys import LOOKED

#: A question of the contract, the type of its answer, and whether the answer is public.
Asked = tuple[Lookup, Type, bool]


def fact_name(name: str) -> str:
    """The name of a looked-up fact among the facts of a decision: no argument can have a dot in its name."""
    return f"{LOOKED}{name}"


def questions(asked: Iterable[Asked], facts: Mapping[str, Fact]) -> tuple[Question, ...]:
    """What has to be asked before the action whose arguments gave `facts` is decided."""
    return tuple(
        Question(
            fact=ask.name, source=ask.lookup,
            arguments={name: _plain(facts[name].value) for name in ask.given},
        )
        for ask, _, _ in asked
    )  # fmt: skip


def answers(asked: Iterable[Asked], looked: Mapping[str, Looked], facts: dict[str, Fact]) -> list[str]:
    """Put the typed answers among the facts; what is wrong with them, naming sources and never values."""
    errors = []
    for ask, of, public in asked:
        answer = looked.get(ask.name)
        if answer is None or answer.source != ask.lookup:
            errors.append(f"{ask.name} was not asked of {ask.lookup}")
        elif answer.state != "answered":
            why = f"{answer.state}, {answer.detail}" if answer.detail else answer.state
            errors.append(f"{ask.lookup} gave no {ask.name}: {why}")
        else:
            try:
                value = of.read(answer.value)
            except Mismatch as mismatch:
                errors.append(f"what {ask.lookup} says of {ask.name} is {mismatch.message}")
                continue
            if value is None:  # of an opaque type, which is never a fact: clauses would not see it
                errors.append(f"{ask.name} is of a type that no clause can read")
                continue
            facts[fact_name(ask.name)] = Fact(type=of.text, value=value, public=public, provenance="verified")
    return errors


def state_of(fact: str, answer: Looked, judgment: Judgment) -> str:
    """How a question went as the record tells it: an answer that is not of its type is a wrong one."""
    untyped = answer.state == "answered" and fact_name(fact) not in judgment.facts
    return "wrong" if untyped and any(clause.id == "facts" for clause in judgment.clauses) else answer.state


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value
