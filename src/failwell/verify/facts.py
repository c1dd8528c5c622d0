"""Facts held against the questions of the contracts: what is verified was asked for, and answered by its source.

Whoever keeps the record can write *verified* beside what an agent asserted, or an ALLOW where a trusted source was
silent. Which sources a tool's contracts ask is in force with them, and each answer stands in the decision.
"""

from __future__ import annotations

from collections.abc import Iterator

from failwell.core import kinds
from failwell.core.fact_keys import LOOKED, is_key, name_of
from failwell.core.records import Entry
from failwell.core.state import State


def fact_faults(entry: Entry[kinds.Decision], state: State) -> Iterator[str]:
    """What a decision says of its facts that cannot be so."""
    body = entry.body
    if not isinstance(body, kinds.Decision2):
        return
    answered = {each.fact: each.source for each in body.lookups if each.state == "answered"}
    for key, fact in sorted(body.facts.items()):
        if not is_key(key):
            yield f"the fact {key} is spelled as no name is"
        looked = key.startswith(LOOKED)
        if (fact.provenance == "verified") != looked:
            yield f"the fact {name_of(key)} is {fact.provenance}"
        elif looked and key.removeprefix(LOOKED) not in answered:
            yield f"the fact {key} has no answer of a source"
    if body.verdict != "ALLOW":
        return
    for asked, source in _asked(entry, body, state):
        if answered.get(asked) != source:
            yield f"an ALLOW without an answer of {source} to {asked}"
        elif "/" not in asked and LOOKED + asked not in body.facts:
            yield f"an ALLOW without the fact {asked} that {source} was asked for"


def _asked(entry: Entry[kinds.Decision], body: kinds.Decision, state: State) -> Iterator[tuple[str, str]]:
    """(fact, source) that the contracts of the chain ask for, as a decision names them."""
    run = None if entry.run is None else state.run.get(entry.run)
    for agent in (*(() if run is None else run.chain), str(entry.agent)):
        contract, row = state.contract_of(agent), state.agent.get(agent)
        tool = None if contract is None else next((each for each in contract.tools if each.tool == body.tool), None)
        prefix = "" if row is None or agent == entry.agent else f"{row.name}/"
        for ask in () if tool is None else tool.facts:
            yield prefix + ask.name, ask.lookup
