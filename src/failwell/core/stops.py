"""Stops of more than one agent: what is within a scope, what an order to stop one leads to, and how it is lifted.

A scope is `all`, `group:NAME`, `tool:NAME` or `contract:NAME`. While one is closed nothing within it starts, whoever
asks; no agent's own authority changes. The folds here are entered with all others (`core.folds`), and what follows
from an order is a reaction (`core.react`), so that a stop and what it interrupts are one commit. An entry that opens
what two persons did not open does not fold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import msgspec

from failwell.core import kinds, rows
from failwell.core.contract import STOPPED
from failwell.core.errors import Corrupt, NotFound
from failwell.core.instants import parse_at
from failwell.core.orders import parse_order
from failwell.core.projections import Projections
from failwell.core.records import Draft, Entry

ALL, GROUP, TOOL, CONTRACT = "all", "group:", "tool:", "contract:"
ORDER = "stop"
#: Actions that one entry orders to stop: however many are open, a stop must not be too big to write (65,535 bytes).
INTERRUPTED_AT_ONCE = 4000
#: Persons that are written to about one stop, operators and owners of what ran first; others find it in the list.
MAILED_AT_ONCE = 128
_MAIL = "stop "

replace = msgspec.structs.replace


# ---- what is within a scope ----------------------------------------------------------------------------------


def scopes_of(state: Projections, agents: Iterable[str], tool: str) -> tuple[str, ...]:
    """Every scope that an action is within: of its tool, and of each agent that works on it or handed it over."""
    found = [ALL, TOOL + tool]
    for agent in agents:
        row = state.agent.get(agent)
        if row is None:
            continue
        if row.contract is not None:
            found.append(CONTRACT + state.contract[row.contract].id)
        for group in row.groups:
            found.append(GROUP + group)
    return tuple(found)


def epochs_of(state: Projections, scopes: Iterable[str]) -> tuple[tuple[str, int], ...]:
    """The scopes, each with the epoch of now: 0 where it was never stopped."""
    stops = state.stop
    if not stops:
        return tuple([(scope, 0) for scope in scopes])
    return tuple([(scope, stops[scope].epoch if scope in stops else 0) for scope in scopes])


def closed_by(state: Projections, agents: Sequence[str], tool: str) -> str | None:
    """The first scope that is closed to an action; None where none is. It costs nothing where nothing was stopped."""
    if not state.stop:
        return None
    for scope in scopes_of(state, agents, tool):
        row = state.stop.get(scope)
        if row is not None and row.closed:
            return scope
    return None


def barred(state: Projections, agents: Sequence[str], tool: str) -> tuple[str, str] | None:
    """The clause and the words by which a stop denies an action; None where none does."""
    scope = closed_by(state, agents, tool)
    return None if scope is None else (STOPPED, told(scope, state.stop[scope]))


def told(scope: str, row: rows.Stop) -> str:
    """What a stop says to whoever wants to act within it; why it was ordered is for people."""
    by = ordered_by(row.stopped_by)
    named = words(scope)
    return f"{named[0].upper()}{named[1:]} is stopped by {by} (entry {row.ordered}). Two other persons lift it."


def ordered_by(stopped_by: Iterable[str]) -> str:
    """Who ordered a stop, in words: persons, or the rule that contained a whole group."""
    return " and ".join(by.removeprefix("person:") if by.startswith("person:") else "rule" for by in stopped_by)


def words(scope: str) -> str:
    """A scope in words: `everything`, `group payments`."""
    return "everything" if scope == ALL else scope.replace(":", " ", 1)


def agents_in(state: Projections, scope: str) -> tuple[str, ...]:
    """The agents that a scope is about now, by id; of a tool those whose contract lists it. Retired ones do nothing."""
    kind, _, name = scope.partition(":")
    return tuple(
        agent
        for agent, row in sorted(state.agent.items())
        if row.authority != "RETIRED" and _is_in(state, row, kind, name)
    )


def _is_in(state: Projections, row: rows.Agent, kind: str, name: str) -> bool:
    if kind == ALL:
        return True
    if kind == "group":
        return name in row.groups
    if row.contract is None:
        return False
    if kind == "contract":
        return state.contract[row.contract].id == name
    # The text as it was adopted: a contract that this release cannot read is stopped like any other (I8).
    return any(tool.get("tool") == name for tool in _tools(state.contract[row.contract].document))


class _Document(msgspec.Struct):
    tools: list[dict[str, Any]] = []


def _tools(document: str) -> list[dict[str, Any]]:
    try:
        return msgspec.json.decode(document, type=_Document).tools
    except msgspec.MsgspecError:
        return []


def actions_in(state: Projections, scope: str) -> tuple[int, ...]:
    """Open actions within a scope, oldest first: those that run, and those that may start still."""
    return tuple(
        seq
        for seq, action in state.action.items()
        if action.state == "open" and scope in scopes_of(state, (action.agent, *action.chain), action.tool)
    )


def awaits(state: Projections, action: int) -> bool:
    """Whether a stop waits for the end of an action: of a scope, of its run, or of it alone."""
    row = state.action.get(action)
    return (row is not None and row.ordered) or any(action in stop.waiting for stop in state.stop.values())


# ---- what follows from an order ------------------------------------------------------------------------------


def after_order(state: Projections, entry: Entry[Any], body: kinds.Order, actor: str) -> tuple[Draft, ...]:
    """What an order to stop leads to, in its own commit: the scope closed, what runs interrupted, people told.

    Ordered again while it stands, it is one more person's stop, and what still runs is ordered to stop once more; no
    permit of it is left to be voided and nobody is mailed a second time.
    """
    details = parse_order(body.text).details
    scope: str = details.scope
    row = state.stop.get(scope)
    again = row is not None and row.closed
    epoch = 1 if row is None else row.epoch if again else row.epoch + 1
    stopped = kinds.ScopeStopped(scope=scope, epoch=epoch, why=details.reason, by=entry.actor)
    running = actions_in(state, scope)
    bodies: list[Any] = [stopped, *interrupts(running, f"{words(scope)} stopped: {details.reason}")]
    if not again:
        bodies += _mails(state, scope, running, parse_at(entry.at))
    return tuple(Draft(body=each, actor=actor, refs=(entry.seq,)) for each in bodies)


def interrupts(running: tuple[int, ...], why: str, incident: int | None = None) -> Iterator[kinds.InterruptOrdered]:
    """Orders to stop these actions, one at least: that nothing ran is told too."""
    for first in range(0, max(1, len(running)), INTERRUPTED_AT_ONCE):
        yield kinds.InterruptOrdered(incident=incident, actions=running[first:][:INTERRUPTED_AT_ONCE], why=why)


def _mails(state: Projections, scope: str, running: tuple[int, ...], now_us: int) -> Iterator[kinds.PageQueued]:
    """One mail to each owner of an agent that is stopped, and to each operator, whoever ordered it."""
    agents = dict.fromkeys(agent for seq in running for agent in (state.action[seq].agent, *state.action[seq].chain))
    agents |= dict.fromkeys(agents_in(state, scope))
    owners = (state.reachable(state.agent[agent].owner) for agent in agents if agent in state.agent)
    operators = sorted(name for name, row in state.person.items() if row.left is None and "operator" in row.roles)
    for number, person in enumerate([*dict.fromkeys((*operators, *owners))][:MAILED_AT_ONCE], 1):
        yield kinds.PageQueued(
            page=state.pages + number, incident=None, person=person, channel="email", step=1,
            due_us=now_us, why=_MAIL + scope,
        )  # fmt: skip


def scope_of(page: rows.Page) -> str | None:
    """The scope whose stop a mail is about; None for a mail about anything else."""
    about = page.agent is None and page.incident is None and page.ticket is None and page.why.startswith(_MAIL)
    return page.why.removeprefix(_MAIL) if about else None


def after_joined(state: Projections, entry: Entry[Any], actor: str) -> tuple[Draft, ...]:
    """An agent came within a scope that is closed, by its group or its contract: what runs of it is stopped too.

    Attack: a run under way joins a stopped group, and goes on under what it was permitted before.
    """
    scope = joined(entry.body)
    row = None if scope is None else state.stop.get(scope)
    if row is None or not row.closed:
        return ()
    running = tuple(seq for seq in state.running(str(entry.agent)) if seq not in row.waiting)
    why = f"{words(str(scope))} is stopped: {row.why}"
    bodies = interrupts(running, why) if running else ()
    return tuple(Draft(body=each, actor=actor, refs=(entry.seq, row.ordered)) for each in bodies)


def joined(body: Any) -> str | None:
    """The scope that an agent comes within by this entry about it."""
    if isinstance(body, kinds.AgentGrouped):
        return GROUP + body.group
    return CONTRACT + body.contract if isinstance(body, kinds.ContractAdopted) else None


def leaves_closed(state: Projections, agent: str, contract: str) -> str | None:
    """The closed scope that `agent` would get out of under a contract of another name; None where there is none.

    Attack: owner and approver give the contract another name, and what a third person stopped acts again.
    """
    row = state.agent.get(agent)
    if row is None or row.contract is None or not state.stop:
        return None
    scope = CONTRACT + state.contract[row.contract].id
    stop = state.stop.get(scope)
    return scope if stop is not None and stop.closed and scope != CONTRACT + contract else None


# ---- sight ---------------------------------------------------------------------------------------------------


def sight_of(state: Projections, scope: str) -> dict[str, Any]:
    """What a person is shown before a stop is lifted; NotFound where nothing of that name is stopped.

    Whoever stops it once more, or a tool that turns out not to have stopped, makes it another sight.
    """
    row = state.stop.get(scope)
    if row is None or not row.closed:
        raise NotFound(f"{words(scope)} is not stopped", hint="failwell stop list shows what is.")
    return {
        "scope": scope,
        "epoch": row.epoch,
        "ordered": row.ordered,
        "stopped_by": list(row.stopped_by),
        "why": row.why,
        "waiting": list(row.waiting),
        "not_confirmed": list(row.failed),
    }


# ---- folds ---------------------------------------------------------------------------------------------------


def _stopped(state: Projections, entry: Entry[Any], body: kinds.ScopeStopped, at_us: int) -> None:
    row = state.stop.get(body.scope)
    again = row is not None and row.closed
    follows = 1 if row is None else row.epoch if again else row.epoch + 1
    if body.epoch != follows or not entry.refs:
        raise Corrupt(f"entry {entry.seq} stops {body.scope} in epoch {body.epoch}, which is not the next")
    known = row if again else None
    by = () if known is None else known.stopped_by
    state.put("stop", body.scope, rows.Stop(
        epoch=body.epoch, closed=True, ordered=entry.refs[0].seq, interrupted=entry.refs[0].seq,
        stopped_by=by if body.by in by else (*by, body.by), why=body.why,
        waiting=() if known is None else known.waiting, failed=() if known is None else known.failed,
        proposed_by=None, proposal=None,
    ))  # fmt: skip


def interrupted(state: Projections, entry: Entry[Any], body: kinds.InterruptOrdered) -> None:
    """The stop that an order follows from waits for the ends of what it names, whether or not an incident does too."""
    cited = {ref.seq for ref in entry.refs}
    for scope, row in list(state.stop.items()):
        if row.ordered in cited:
            # The first of an order's own is where its report is found.
            first = entry.seq if row.interrupted == row.ordered else row.interrupted
            state.change(
                "stop", scope, waiting=tuple(sorted({*row.waiting, *body.actions})), interrupted=first
            )  # fmt: skip


def ended(state: Projections, action: int, *, confirmed: bool) -> None:
    """An action that stops may wait for has its end, proven or not."""
    for scope, row in list(state.stop.items()):
        if action in row.waiting:
            waiting = tuple(seq for seq in row.waiting if seq != action)
            failed = row.failed if confirmed else (*row.failed, action)
            state.change("stop", scope, waiting=waiting, failed=failed)
        elif confirmed and action in row.failed:  # shown after all
            state.change("stop", scope, failed=tuple(seq for seq in row.failed if seq != action))


def _proposed(state: Projections, entry: Entry[Any], body: kinds.ScopeProposed, at_us: int) -> None:
    _closed(state, entry, body.scope, body.epoch)
    state.change("stop", body.scope, proposed_by=body.person, proposal=body.digest)


def _lifted(state: Projections, entry: Entry[Any], body: kinds.ScopeLifted, at_us: int) -> None:
    row = _closed(state, entry, body.scope, body.epoch)
    if row.waiting or row.proposal is None or row.proposal != body.digest:
        raise Corrupt(f"entry {entry.seq} lifts the stop of {body.scope}, and that was not proposed, or waits")
    state.change("stop", body.scope, closed=False, proposed_by=None, proposal=None)


def _closed(state: Projections, entry: Entry[Any], scope: str, epoch: int) -> rows.Stop:
    row = state.stop.get(scope)
    if row is None or not row.closed or row.epoch != epoch:
        raise Corrupt(f"entry {entry.seq} speaks of a stop of {scope} in epoch {epoch}, which is not in force")
    return row


FOLDS: dict[type, Callable[[Projections, Entry[Any], Any, int], None]] = {
    kinds.ScopeStopped: _stopped,
    kinds.ScopeProposed: _proposed,
    kinds.ScopeLifted: _lifted,
}
