"""Which response a signal asks for: the contract's `response` rules (first match wins), below them the default ladder.

Pure, from the state alone. What a response does stands in `containing`.
"""

from __future__ import annotations

from failwell.core import contract as contracts
from failwell.core.contract import Rule
from failwell.core.errors import ContractError
from failwell.core.projections import Projections

#: signal prefix -> (at least, within, response) by severity: what happens when no rule of the contract matches.
#: A denial had no effect: one is worth a record, a burst of them means an agent that no longer knows its bounds.
_MINUTE_US = 60 * 1_000_000
CONTAIN: tuple[str, ...] = ("interrupt", "suspend", "hold", "notify")
LOOK_AT: tuple[str, ...] = ("hold", "notify")
DEFAULT_LADDER: dict[tuple[str, str], tuple[tuple[int, int, tuple[str, ...]], ...]] = {
    ("denied", "critical"): ((1, 0, CONTAIN),),
    ("denied", "major"): ((3, 10 * _MINUTE_US, CONTAIN),),
    ("denied", "minor"): ((20, 10 * _MINUTE_US, CONTAIN),),
    ("executor.unconfirmed", "critical"): ((1, 0, CONTAIN),),
    ("bypass", "critical"): ((1, 0, CONTAIN),),
    # A permitted act after which the world is not as promised had an effect, and is told later than a denial.
    ("ensure", "critical"): ((1, 0, CONTAIN),),
    ("ensure", "major"): ((3, 60 * _MINUTE_US, CONTAIN),),
    # What was not undone is no new misdeed of the agent: the record is locked, and people hear of it.
    ("compensate", "critical"): ((1, 0, LOOK_AT),),
    ("compensate", "major"): ((1, 0, LOOK_AT),),
}

#: Denials because Failwell itself was not healthy, or people stopped everything: a dead guard suspends nobody.
NOT_THE_AGENTS = frozenset(f"denied({clause})" for clause in contracts.NOT_THE_AGENTS)


def respond(
    state: Projections, agent: str, signal: str, severity: str, now_us: int
) -> tuple[str, int, tuple[str, ...]]:  # fmt: skip
    """(which rule, how many of the signal so far with this one, response): contract rules, then the default ladder."""
    row = state.agent.get(agent)
    if row is not None and row.authority in ("SUSPENDED", "RETIRED"):
        return (
            "already contained",
            1,
            ("record",),
        )  # what a stopped agent still asks for sets nothing more in motion
    if signal in NOT_THE_AGENTS:
        return "no fault of the agent", 1, ("record",)
    rules = rules_of(state, agent)
    seen = 0
    for number, rule in enumerate(rules, 1):
        if rule.signal != signal:
            continue
        seen = 1 + state.signals_within(agent, signal, now_us, rule.within_us)
        if seen >= rule.at_least:
            return f"response[{number}]", seen, rule.do
    if any(rule.signal == signal for rule in rules):
        return "response: below its count", seen, ("record",)
    for at_least, within_us, response in DEFAULT_LADDER.get((signal.split("(", maxsplit=1)[0], severity), ()):
        seen = 1 + state.signals_within(agent, signal, now_us, within_us)
        if seen >= at_least:
            return "default ladder", seen, response
    return "default ladder", max(seen, 1), ("record",)


def rules_of(state: Projections, agent: str) -> tuple[Rule, ...]:
    """The contract's response rules. One that cannot be read keeps no denial and no failed stop from being recorded."""
    try:
        contract = state.contract_of(agent)
    except ContractError:
        return ()
    return () if contract is None else contract.response
