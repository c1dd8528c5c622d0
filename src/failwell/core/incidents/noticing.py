"""What is noticed besides verdicts: how actions end, what people answer and report, how our own parts do (R5, R28).

Each is a signal, which the ladder answers like any other. Nothing here suspends anybody by itself.
"""

from __future__ import annotations

from typing import Any

from failwell.core import kinds, rows
from failwell.core.following import Fold, Reaction, case_of
from failwell.core.incidents import reporting
from failwell.core.incidents.ladder import contract_of, effect_of
from failwell.core.incidents.opening import draft_signal
from failwell.core.incidents.reporting import REPORTED
from failwell.core.instants import parse_at
from failwell.core.owing import note_onset
from failwell.core.projections import Projections
from failwell.core.records import Draft, Entry

#: The signal of a tool that failed, ended as nobody can say, or ran into its deadline: with its name in brackets.
FAILED, UNKNOWN, OVERDUE = "failed", "unknown", "overdue"
TICKET_DENIED = "ticket.denied"
NOTICED, DELEGATE, HEALTH, OBJECTIVE = "noticed", "delegate", "health", "objective"
#: What an outcome says of an action that its deadline ended.
_DEADLINE = "deadline"
#: The name in a signal about a tool that the agent's contract does not list.
UNLISTED = "tool.unlisted"
#: Agents that hear of one whom they handed work to, when it is suspended: so many follow in one commit.
HEARING = 20


# ---- folds ---------------------------------------------------------------------------------------------------


def _rules(state: Projections, entry: Entry[Any], body: kinds.ResponseRules, at_us: int) -> None:
    state.change("workspace", 1, rules=body.version)


def _noticed(state: Projections, entry: Entry[Any], body: kinds.Noticed, at_us: int) -> None:
    state.lately.note(entry.seq, body)


def note_ended(state: Projections, entry: Entry[Any], row: rows.Action) -> None:
    """Keep an action at hand that came to no good end: its signal names its tool, which its outcome does not."""
    ended = _ended_as(entry.body)
    if ended is None or not state.workspace or state.workspace[1].rules < 2:
        return
    state.lately.ended[entry.seq] = row
    note_onset(state, row.agent, f"{ended}({_tool_in(state, row)})", entry.body.decision, parse_at(entry.at))


def _ended_as(outcome: kinds.Outcome) -> str | None:
    """What an outcome is noticed as; None for one that is nothing to notice, or that somebody wanted."""
    if outcome.why == _DEADLINE and outcome.state not in ("completed", "blocked"):
        return OVERDUE
    return outcome.state if outcome.state in (FAILED, UNKNOWN) else None


# ---- what follows --------------------------------------------------------------------------------------------


def _after_outcome(state: Projections, entry: Entry[Any], body: kinds.Outcome) -> tuple[Draft, ...]:
    ended, row = _ended_as(body), state.lately.ended.get(entry.seq)
    if ended is None or row is None:
        return ()
    graver = ended != FAILED and effect_of(state, row.agent, row.tool) == "irreversible"
    name = f"{ended}({_tool_in(state, row)})"
    return (draft_signal(state, entry, name, "major" if graver else "minor"),)


def _tool_in(state: Projections, row: rows.Action) -> str:
    """Attack: an observed agent calls tools by names without end, each of which is counted for itself."""
    contract = contract_of(state, row.agent)
    listed = contract is not None and any(tool.tool == row.tool for tool in contract.tools)
    return row.tool if listed else UNLISTED


def _after_ticket(state: Projections, entry: Entry[Any], body: kinds.TicketDecided) -> tuple[Draft, ...]:
    return (draft_signal(state, entry, TICKET_DENIED, "minor"),) if body.answer == "denied" else ()


def _after_health(state: Projections, entry: Entry[Any], body: kinds.Health) -> tuple[Draft, ...]:
    """Of the workspace and no agent's: people are told by the alarm, which needs no record."""
    return (draft_signal(state, entry, f"{HEALTH}({body.part})", "major"),) if body.state == "failed" else ()


def _after_noticed(state: Projections, entry: Entry[Any], body: kinds.Noticed) -> tuple[Draft, ...]:
    if reporting.is_report(body):
        return (reporting.answered(draft_signal(state, entry, REPORTED, body.severity), body),)
    return (draft_signal(state, entry, f"{NOTICED}({body.signal})", body.severity),)


def _after_authority(state: Projections, entry: Entry[Any], body: kinds.AuthorityChanged) -> tuple[Draft, ...]:
    """Whoever handed work over hears that the one who has it was suspended: what they were handed back may be wrong."""
    if body.now != "SUSPENDED" or body.incident is None:
        return ()
    agent, severity = str(entry.agent), state.incident[body.incident].severity
    handed: dict[str, int] = {}
    for row in state.run.values():
        if row.agent == agent and row.parent is not None and row.chain:
            handed.setdefault(row.chain[-1], row.parent)
    name = f"{DELEGATE}({state.agent[agent].name})"
    return tuple(
        draft_signal(state, entry, name, severity, agent=other, run=run)
        for other, run in [*handed.items()][:HEARING]
        if other in state.agent
    )


def _after_missed(state: Projections, entry: Entry[Any], body: kinds.ObjectiveMissed) -> tuple[Draft, ...]:
    """What people did not do in time is no fault of the agent's; what its contract says to that is another matter."""
    row = case_of(state, entry, body.incident)
    return (draft_signal(state, entry, f"{OBJECTIVE}({body.objective})", row.severity, agent=row.agent or None),)


FOLDS: dict[type, Fold] = {kinds.ResponseRules: _rules, kinds.Noticed: _noticed}
REACTIONS: dict[type, Reaction] = {
    kinds.Outcome: _after_outcome,
    kinds.TicketDecided: _after_ticket,
    kinds.Health: _after_health,
    kinds.Noticed: _after_noticed,
    kinds.AuthorityChanged: _after_authority,
    kinds.ObjectiveMissed: _after_missed,
}
