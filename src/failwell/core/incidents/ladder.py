"""Which response a signal asks for: the contract's `response` rules (first match wins), below them the default ladder.

Pure, from the state alone. The ladder answers in proportion: by severity and number, by what the tool can do to the
world, by how far the same thing has spread, by what stands behind a signal, and by what a stop itself would harm. What
a response does stands in `containing`, what follows for a whole group in `group`.
"""

from __future__ import annotations

from typing import NamedTuple

from failwell.core import contract as contracts
from failwell.core.contract import Contract
from failwell.core.errors import ContractError
from failwell.core.incidents.endings import held_without_case
from failwell.core.incidents.probation import relapse
from failwell.core.machines import SEVERITIES
from failwell.core.projections import Projections

#: signal prefix -> (at least, within, response) by severity: what happens when no rule of the contract matches.
#: A denial had no effect: one is worth a record, a burst of them means an agent that no longer knows its bounds.
_MINUTE_US = 60 * 1_000_000
CONTAIN: tuple[str, ...] = ("interrupt", "suspend", "hold", "notify")
LOOK_AT: tuple[str, ...] = ("hold", "notify")
#: Short of a suspension: tightened bounds, and what it is about is stopped.
CURB: tuple[str, ...] = ("restrict", "interrupt", "hold", "notify")
#: Where a stop does more harm than what was noticed, people weigh it; meanwhile as little as possible goes on.
WEIGH: tuple[str, ...] = ("ask", *CURB)
TELL: tuple[str, ...] = ("notify",)
_Rungs = tuple[tuple[int, int, tuple[str, ...]], ...]
#: The ladder of rules 1.
DEFAULT_LADDER: dict[tuple[str, str], _Rungs] = {
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
#: What rules 2 answer besides. Within one signal and severity the highest rung that is reached speaks.
LADDER: dict[tuple[str, str], _Rungs] = {
    **DEFAULT_LADDER,
    # Errors of tools are the tools' as often as the agent's: what is stopped is the run that goes on in spite of them.
    ("failed", "minor"): ((20, 10 * _MINUTE_US, ("interrupt", "notify")),),
    ("overdue", "minor"): ((10, 10 * _MINUTE_US, ("interrupt", "notify")),),
    ("overdue", "major"): ((3, 10 * _MINUTE_US, CURB),),
    # Nobody can say whether it happened. Of what cannot be undone, a few are enough to let no more of it pass unasked.
    ("unknown", "minor"): ((10, 60 * _MINUTE_US, TELL),),
    ("unknown", "major"): ((3, 60 * _MINUTE_US, ("restrict", "hold", "notify")),),
    ("ticket.denied", "minor"): ((5, 60 * _MINUTE_US, TELL),),
    # What somebody else than the gate noticed. On a word alone nobody is suspended below critical (`_weighed`).
    ("noticed", "minor"): ((10, 10 * _MINUTE_US, TELL),),
    ("noticed", "major"): ((3, 60 * _MINUTE_US, CONTAIN), (1, 0, TELL)),
    ("noticed", "critical"): ((1, 0, CONTAIN),),
    ("reported", "minor"): ((1, 0, TELL),),
    ("reported", "major"): ((1, 0, ("restrict", "hold", "notify")),),
    ("reported", "critical"): ((1, 0, CONTAIN),),
    # Another agent failed on work that this one handed over: its record is locked, since its own runs rest on that.
    ("delegate", "minor"): ((1, 0, LOOK_AT),),
    ("delegate", "major"): ((1, 0, LOOK_AT),),
    ("delegate", "critical"): ((1, 0, LOOK_AT),),
}

#: Denials because Failwell itself was not healthy, or people stopped everything: a dead guard suspends nobody.
NOT_THE_AGENTS = frozenset(f"denied({clause})" for clause in contracts.NOT_THE_AGENTS)
#: The same signal that suspended so many others of a group within this time suspends the group.
SPREAD, SPREAD_WITHIN_US = 2, 10 * _MINUTE_US

Answer = tuple[str, int, tuple[str, ...]]


class About(NamedTuple):
    """What a signal is about: the effect of the tool (the worst where no contract lists it), and what stands behind it:
    proven (the gate or a witness saw it), derived (computed from the record) or asserted (somebody says so).
    """

    effect: str = "irreversible"
    evidence: str = "proven"


#: What is taken for so where nothing else is known.
WORST = About()


def respond(
    state: Projections, agent: str, signal: str, severity: str, now_us: int, about: About = WORST
) -> Answer:  # fmt: skip
    """(which rule, how many of the signal so far with this one, response): contract rules, then the default ladder."""
    row = state.agent.get(agent)
    if row is not None and row.authority in ("SUSPENDED", "RETIRED") and not held_without_case(state, agent):
        # What a stopped agent still asks for sets nothing more in motion. What people say of it is heard all the same.
        return "already contained", 1, TELL if signal == "reported" else ("record",)
    if signal in NOT_THE_AGENTS:
        return "no fault of the agent", 1, ("record",)
    again = relapse(state, agent, signal, severity, now_us)
    if again is not None:
        return again
    contract = contract_of(state, agent)
    rules = () if contract is None else contract.response
    seen = 0
    for number, rule in enumerate(rules, 1):
        if rule.signal != signal:
            continue
        seen = 1 + state.signals_within(agent, signal, now_us, rule.within_us)
        if seen >= rule.at_least:
            return f"response[{number}]", seen, rule.do
    if any(rule.signal == signal for rule in rules):
        return "response: below its count", seen, ("record",)
    if not state.workspace or state.workspace[1].rules < 2:
        return _by_ladder(state, agent, signal, severity, now_us, DEFAULT_LADDER)
    answer = _by_ladder(state, agent, signal, severity, now_us, LADDER)
    return _weighed(state, agent, signal, severity, now_us, about, contract, answer)


def _by_ladder(
    state: Projections, agent: str, signal: str, severity: str, now_us: int, ladder: dict[tuple[str, str], _Rungs]
) -> Answer:  # fmt: skip
    seen = 0
    for at_least, within_us, response in ladder.get((signal.split("(", maxsplit=1)[0], severity), ()):
        seen = 1 + state.signals_within(agent, signal, now_us, within_us)
        if seen >= at_least:
            return "default ladder", seen, response
    return "default ladder", max(seen, 1), ("record",)


# ---- what the ladder weighs ----------------------------------------------------------------------------------


def _weighed(
    state: Projections, agent: str, signal: str, severity: str, now_us: int, about: About, contract: Contract | None,
    answer: Answer,
) -> Answer:  # fmt: skip
    """A suspension by the ladder, held against spread, reversibility, evidence and the harm of the stop itself."""
    rule, seen, response = answer
    if "suspend" not in response:
        return answer
    # Attack: a host says it of three agents of its own, and everybody else's in their group are stopped by its word.
    if about.evidence != "asserted" and len(_others(state, agent, signal, now_us)) >= SPREAD:
        return f"{rule}: it spread in its group", seen, (*response[:2], "suspend_group", *response[2:])
    if severity == "critical":  # whatever a stop harms, this harms more
        return answer
    if contract is not None and contract.stopping is not None and _graver(contract.stopping.harm, severity):
        return f"{rule}: a stop does {contract.stopping.harm} harm", seen, WEIGH
    if about.evidence == "asserted":
        return f"{rule}: nothing but somebody's word", seen, CURB
    if about.effect == "read" and state.agent[agent].authority != "RESTRICTED":
        # What only reads has changed nothing. Where tightened bounds have not helped, the next time suspends.
        return f"{rule}: the tool only reads", seen, CURB
    return answer


def _graver(one: str, other: str) -> bool:
    return SEVERITIES.index(one) > SEVERITIES.index(other)


def _others(state: Projections, agent: str, signal: str, now_us: int) -> tuple[str, ...]:
    """Other agents of a group of this one's that were suspended lately, and of whom the same was noticed."""
    row = state.agent.get(agent)
    groups = frozenset(() if row is None else row.groups)
    if not groups:
        return ()
    return tuple(
        other
        for other, its in state.agent.items()
        if other != agent and its.authority == "SUSPENDED" and groups & set(its.groups)
        and its.incident is not None and state.incident[its.incident].opened_us >= now_us - SPREAD_WITHIN_US
        and state.signals_within(other, signal, now_us, SPREAD_WITHIN_US)
    )  # fmt: skip


# ---- the contract --------------------------------------------------------------------------------------------


def contract_of(state: Projections, agent: str) -> Contract | None:
    """The contract in force. One that cannot be read keeps no denial and no failed stop from being recorded."""
    try:
        return state.contract_of(agent)
    except ContractError:
        return None


def effect_of(state: Projections, agent: str, tool: str) -> str:
    """What a tool does to the world, by the contract in force; the worst where it does not list it."""
    contract = contract_of(state, agent)
    tools = () if contract is None else contract.tools
    return next((each.effect for each in tools if each.tool == tool), "irreversible")
