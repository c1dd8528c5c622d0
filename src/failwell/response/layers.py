"""The layers between an agent and harm, as they stood in an incident: what fired, was bypassed, or was missing (R22).

Pure: from the contract that the incident's actions were decided under and the entries since the onset. Asked of each
tool that was used; what the contract does not declare is called missing, for nobody can say that it would have helped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import msgspec

from failwell.core import kinds, owing
from failwell.core.contract import Contract, Tool
from failwell.core.errors import ContractError
from failwell.core.records import Entry
from failwell.core.state import State
from failwell.core.ways import place_of
from failwell.response.parts import Material, Part

FIRED, SILENT, BYPASSED, MISSING = "fired", "silent", "bypassed", "missing"
_ORDER = (FIRED, BYPASSED, MISSING, SILENT)


class Layer(msgspec.Struct, frozen=True, kw_only=True):
    """One layer of one tool. `state`: fired (it spoke, `times`, first at `entry`), bypassed, missing, or silent."""

    layer: str
    tool: str
    state: str
    says: str
    times: int = 0
    entry: int | None = None


class Layers(msgspec.Struct, frozen=True, kw_only=True):
    """All layers of the tools that were used, those that fired first; `contract` is `NAME@VERSION`."""

    contract: str | None
    layers: tuple[Layer, ...]


class _Seen(NamedTuple):
    contracts: dict[str, Contract]
    #: Tools that were found reachable round the gate.
    bypassable: frozenset[str]


class _Spoke:
    """What spoke in the span, by what it is about: how often, and the first entry that says so."""

    def __init__(self, entries: Iterable[Entry[Any]]) -> None:
        self.tools: dict[str, int] = {}
        self.contract: str | None = None
        self._times: dict[tuple[str, str], int] = {}
        self._first: dict[tuple[str, str], int] = {}
        decided: dict[int, str] = {}
        for entry in entries:
            body = entry.body
            if isinstance(body, kinds.Decision):
                decided[entry.seq] = body.tool
                self.tools.setdefault(body.tool, entry.seq)
                self.contract = body.contract or self.contract
                for clause in body.clauses:
                    self._note(body.tool, clause.id, entry.seq)
                if body.verdict == "ESCALATE":
                    self._note(body.tool, "a person", entry.seq)
            elif isinstance(body, kinds.Ensured) and body.state != "held":
                self._note(decided.get(body.decision, ""), owing.signal_of(body.check), entry.seq)
            elif isinstance(body, kinds.EffectWitnessed) and body.decision is None:
                self._note(body.tool, "no verdict", entry.seq)
            elif isinstance(body, kinds.CompensationOrdered):
                self._note(body.tool, "compensate", entry.seq)

    def _note(self, tool: str, what: str, seq: int) -> None:
        place = (tool, what)
        self._times[place] = self._times.get(place, 0) + 1
        self._first.setdefault(place, seq)

    def layer(self, name: str, tool: str, what: str, *, silent: str) -> Layer:
        """The layer as it spoke, or as it was silent."""
        times = self._times.get((tool, what), 0)
        if not times:
            return Layer(layer=name, tool=tool, state=SILENT, says=silent)
        often = "once" if times == 1 else f"{times} times"
        return Layer(
            layer=name, tool=tool, state=FIRED, says=f"it spoke {often}", times=times, entry=self._first[tool, what]
        )

    def unasked(self, tool: str) -> int | None:
        """The first effect of a tool that no verdict was asked for."""
        return self._first.get((tool, "no verdict"))


def layers(entries: Iterable[Entry[Any]], contracts: dict[str, Contract], bypassable: frozenset[str]) -> Layers:
    """Tell the layers from an incident's entries. `contracts` are those adopted, by `NAME@VERSION`."""
    spoke = _Spoke(entries)
    contract = None if spoke.contract is None else contracts.get(spoke.contract)
    declared = {} if contract is None else {tool.tool: tool for tool in contract.tools}
    found: list[Layer] = []
    for tool in sorted(spoke.tools):
        if contract is None or tool not in declared:
            says = "no contract was in force" if contract is None else "the contract does not list it: it is denied"
            state = MISSING if contract is None else FIRED
            found.append(Layer(layer="contract", tool=tool, state=state, says=says, entry=spoke.tools[tool]))
            continue
        found += _rules(spoke, contract, tool)
        if declared[tool].effect != "read":
            found += _around(spoke, declared[tool], bypassable)
    return Layers(contract=spoke.contract, layers=tuple(sorted(found, key=lambda one: _ORDER.index(one.state))))


def _rules(spoke: _Spoke, contract: Contract, tool: str) -> Iterator[Layer]:
    for clause in contract.clauses:
        if tool in clause.tools:
            yield spoke.layer(f"clause {clause.id}", tool, clause.id, silent="nothing it is about came up")
    limits = [limit for limit in contract.limits if tool in limit.tools]
    for limit in limits:
        yield spoke.layer(f"limit {limit.id}", tool, limit.id, silent="it was not reached")
    if not limits and any(each.tool == tool and each.effect != "read" for each in contract.tools):
        yield Layer(layer="limit", tool=tool, state=MISSING, says="nothing bounds how often, or how much")


def _around(spoke: _Spoke, tool: Tool, bypassable: frozenset[str]) -> Iterator[Layer]:
    """What stands around a tool with an effect, beside the rules."""
    name, unasked = tool.tool, spoke.unasked(tool.tool)
    if unasked is not None or name in bypassable:
        says = "it was used without a verdict" if unasked is not None else "it was reached round the gate in a test"
        yield Layer(layer="gate", tool=name, state=BYPASSED, says=says, entry=unasked)
    if tool.custody == "none":
        yield Layer(layer="custody", tool=name, state=MISSING, says="the agent's side holds its credential: advisory")
    for ensure in tool.ensure:
        signal = owing.signal_of(ensure.name)
        yield spoke.layer(f"ensure {ensure.name}", name, signal, silent="the world was as promised, or not yet due")
    declared = (
        ("ensure", tool.ensure, "nobody looks at the world after it"),
        ("witness", tool.witness, "no log of the tool side is read"),
        ("deadline", tool.deadline_us, "nothing ends it by itself"),
    )
    for layer, there, without in declared:
        if not there:
            yield Layer(layer=layer, tool=name, state=MISSING, says=without)
    if tool.compensate is not None:
        yield spoke.layer("compensate", name, "compensate", silent="nothing was to be undone")
    elif tool.effect == "reversible":
        yield Layer(layer="compensate", tool=name, state=MISSING, says="reversible, and nothing undoes it")


def _look(state: State, number: int) -> _Seen:
    agent = state.incident[number].agent
    contracts: dict[str, Contract] = {}
    for digest, row in state.contract.items():
        if row.agent != agent:
            continue
        try:
            contract = state.contract_at(digest)
        except ContractError:  # of another release: told as not there
            contract = None
        if contract is not None:
            contracts[f"{row.id}@{row.version}"] = contract
    tools = {tool.tool for contract in contracts.values() for tool in contract.tools}
    found = {tool: state.custody.get(place_of(agent, tool)) for tool in tools}
    return _Seen(contracts, frozenset(tool for tool, row in found.items() if row and row.state == "bypassable"))


def _tell(material: Material, seen: _Seen) -> Layers:
    onset = material.row.onset_first
    entries = (entry for entry in material.entries if entry.seq >= onset and entry.agent == material.row.agent)
    return layers(entries, seen.contracts, seen.bypassable)


PART = Part("layers", _look, _tell)
