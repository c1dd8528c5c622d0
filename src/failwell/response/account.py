"""The account of an incident: what happened, what was done, how long it took, what escaped (R11, R22, METRICS).

Pure: from the incident's row and the agent's entries since the onset. Every figure names the entry it comes from;
what no entry says is None, never a guess. Effects are counted from witnesses, not from what the agent's side says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from failwell.core import kinds, rows
from failwell.core.errors import InputError
from failwell.core.incidents.objectives import UNMET, Due
from failwell.core.instants import format_at, parse_at
from failwell.core.records import Entry
from failwell.response.containments import Report
from failwell.response.headline import happened
from failwell.response.moments import Moment, Moments, times
from failwell.response.standing import Told, asked, asked_last, done, left_open, told_whom
from failwell.response.steps import tell
from failwell.response.undone import Undoing, steps_begun, undoings


class Stop(msgspec.Struct, frozen=True, kw_only=True):
    """One action that was to be stopped: its class, how it ended, how many processes went, and how that was proven."""

    action: int
    tool: str
    executor: str
    state: str
    processes: int
    measured_ms: float | None
    proven_by: str


class Escaped(msgspec.Struct, frozen=True, kw_only=True):
    """Effects from the onset on, each counted once however many witnesses saw it. `after_fence` must be 0."""

    before_detection: int
    while_stopping: int
    after_fence: int
    counted_from: tuple[str, ...]
    without_verdict: int


class Harmed(msgspec.Struct, frozen=True, kw_only=True):
    """A customer whom effects reached, and which entries show it."""

    id: str
    effects: int
    entries: tuple[int, ...]


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the timeline."""

    entry: int
    at: str
    what: str
    detail: str


class Agreed(msgspec.Struct, frozen=True, kw_only=True):
    """An objective: acknowledge, investigate or resolve, until when; `state` is met, missed or open."""

    objective: str
    due: str
    state: str


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """Everything `incident show` tells, in its order. `happened`, `done` and `asked` are sentences for people.

    `governed` false: no contract binds the agent now, whatever else is told. `left` counts the runs that nobody took,
    `told` are its pages; `agreed` what was to happen until when, by severity. `holder` has the case, or had it where
    people are `asking` somebody to take it; `offered` is asked to take it over. `access` is how a detect-only agent's
    access stands since its suspension; None for an agent behind a gate.
    """

    incident: int
    title: str
    happened: str
    done: tuple[str, ...]
    asked: tuple[str, ...]
    kind: str
    severity: str
    state: str
    agent: str
    name: str
    owner: str
    authority: str
    governed: bool
    access: str | None
    onset: tuple[int, int]
    times: dict[str, Moment | None]
    bound: dict[str, Any]
    stops: tuple[Stop, ...]
    undoings: tuple[Undoing, ...]
    escaped_effects: Escaped
    customers: tuple[Harmed, ...]
    timeline: tuple[Line, ...]
    signals: int
    left: int
    told: tuple[Told, ...]
    agreed: tuple[Agreed, ...]
    holder: str | None
    offered: str | None
    serious: bool
    merged_into: int | None
    asking: bool = False


Reveal = Callable[[str], str]


def account(
    number: int, row: rows.Incident, agent: rows.Agent | None, entries: Sequence[Entry[Any]], *, stated_ms: int,
    reveal: Reveal, due: Sequence[Due] = (), asking: bool = False,
) -> Account:  # fmt: skip
    """Tell an incident from `entries`: its own and its agent's from the onset on, in order.

    `stated_ms` is the bound in force from the order to the last process gone; `reveal` turns a customer's token into
    the customer's id (or back into the token where it was erased); `due` are its objectives; `asking`: whether somebody
    is asked to take it now.
    """
    own = Moments(number, row.onset_first, row.onset_last, entries, detect_only=agent is not None and agent.detect_only)
    report = Report()
    report.take(entries)
    stops = _stops(own, entries, report)
    measured = [stop.measured_ms for stop in stops if stop.measured_ms is not None]
    bound = {
        "stated_ms": stated_ms,
        "measured_ms": max(measured) if measured and len(measured) == len(stops) else None,
        **_both_times(report.measured(number)),
        "proven_by": "; ".join(sorted({stop.proven_by for stop in stops}))
        or ("nothing was running" if own.access is None else "no gate stands before it: its vendor alone can stop it"),
    }
    unproven = sum(stop.state == "interrupted_unconfirmed" for stop in stops)
    effects = _effects(own, entries)
    return Account(
        incident=number, title=row.title, happened=_happened(number, row, agent, entries),
        done=done(number, row, agent, own, unproven, len(stops) - unproven),
        asked=(*asked(number, row, agent), *asked_last(number, row, agent)),
        kind=row.kind, severity=row.severity, state=row.state, agent=row.agent,
        name="" if agent is None else agent.name, owner="" if agent is None else agent.owner,
        authority="" if agent is None else agent.authority,
        governed=agent is not None and agent.authority != "OBSERVED" and not agent.detect_only, access=own.access,
        onset=(row.onset_first, row.onset_last),
        times=times(own), bound=bound, stops=stops, undoings=undoings(entries), escaped_effects=_escaped(effects, own),
        customers=_customers(effects, reveal), timeline=tuple(_timeline(number, own, entries, reveal)),
        signals=row.signals, left=left_open(number, entries), told=told_whom(number, entries),
        agreed=tuple(_agreed(row, one) for one in due), holder=row.holder, asking=asking,
        offered=row.offered,
        serious=row.serious is not None, merged_into=row.merged_into,
    )  # fmt: skip


def _both_times(measured: kinds.ContainmentMeasured | None) -> dict[str, float | None]:
    """From the order's arrival until nothing new could start (T1), and until the last effect had ended (T2)."""
    if measured is None:
        return {"t1_ms": None, "t2_ms": None}
    ends = (measured.fenced_mono_us, measured.ended_mono_us)
    t1_ms, t2_ms = (None if end is None else (end - measured.received_mono_us) / 1000 for end in ends)
    return {"t1_ms": t1_ms, "t2_ms": t2_ms}


def _stops(own: Moments, entries: Sequence[Entry[Any]], report: Report) -> tuple[Stop, ...]:
    """Per action that was ordered to stop: from the order's boot clock to the moment its last process was gone."""
    tools = {entry.seq: entry.body.tool for entry in entries if isinstance(entry.body, kinds.Decision)}
    return tuple(
        _stop(action, tools.get(action, "?"), report.executor(action), ordered, own.ends.get(action))
        for action, ordered in sorted(own.actions.items())
    )


def _stop(action: int, tool: str, executor: str, ordered: Entry[Any], end: Entry[Any] | None) -> Stop:
    state, processes, measured_ms, proven_by = "interrupted_unconfirmed", 0, None, "not proven: no end on record"
    if end is not None and isinstance(end.body, kinds.InterruptConfirmed):
        state, processes = end.body.state, end.body.processes
        measured_ms, proven_by = _measure(ordered, end.body)
    elif end is not None:
        proven_by = f"not proven: {end.body.why}"
    return Stop(
        action=action, tool=tool, executor=executor, state=state, processes=processes, measured_ms=measured_ms,
        proven_by=proven_by,
    )  # fmt: skip


def _measure(ordered: Entry[Any], body: kinds.InterruptConfirmed) -> tuple[float | None, str]:
    """Milliseconds from the order on record to the last process gone, and what shows it.

    An action that was stopped while the node stood still had ended before its order came on record: that is no
    measurement of how long a stop takes, and is not told as one.
    """
    if not body.ended_mono_us:
        return 0.0, body.proven_by
    if body.ended_mono_us < ordered.mono_us:
        return None, f"{body.proven_by}; it had ended before the order came on record: not measured"
    return (body.ended_mono_us - ordered.mono_us) / 1000, body.proven_by


# ---- what escaped --------------------------------------------------------------------------------------------

_Effects = dict[tuple[str, str], list[Entry[Any]]]


def _effects(own: Moments, entries: Sequence[Entry[Any]]) -> _Effects:
    """Effects from the onset to the release, grouped by what they are: two witnesses of one effect are one effect."""
    onset = own.moments.get("onset") or own.moments.get("detected")
    onset_us = parse_at(onset.at) if onset is not None else 0
    found: _Effects = {}
    steps = steps_begun(entries)
    for entry in entries:
        body = entry.body
        if not isinstance(body, kinds.EffectWitnessed) or (body.decision, body.tool) in steps:
            continue
        # An effect whose time cannot be read is never left out: it counts as one since the onset.
        at_us = _at_tool_us(body)
        if (at_us is None or at_us >= onset_us) and not _since_release(own, body, at_us):
            found.setdefault((body.tool, body.ref), []).append(entry)
    return found


def _since_release(own: Moments, body: kinds.EffectWitnessed, at_us: int | None) -> bool:
    """Whether an effect is of the time after the agent was given back: no part of this incident any more."""
    released = own.moments.get("released")
    if released is None:
        return False
    if body.decision is not None:
        return body.decision > released.seq
    return at_us is not None and at_us > parse_at(released.at)


def _at_tool_us(body: kinds.EffectWitnessed) -> int | None:
    """When the effect happened by the tool side's clock, None where that cannot be read."""
    try:
        return None if body.at_tool is None else parse_at(body.at_tool)
    except InputError:
        return None


def _escaped(effects: _Effects, own: Moments) -> Escaped:
    before = stopping = after = unpaired = 0
    detected = own.moments.get("detected")
    suspended, ended_us = own.moments.get("suspended"), _ended_us(own)
    for seen in effects.values():
        times = [_at_tool_us(entry.body) for entry in seen]
        # Without a readable time it happened before it was witnessed, and more is not known: counted at its latest.
        at_us = min((time for time in times if time is not None), default=parse_at(seen[0].at))
        decision = next((entry.body.decision for entry in seen if entry.body.decision is not None), None)
        started_after = suspended is not None and decision is not None and decision > suspended.seq
        unpaired += decision is None
        if detected is None or at_us < parse_at(detected.at):
            before += 1
        elif started_after or (ended_us is not None and at_us > ended_us):
            after += 1
        else:
            stopping += 1
    witnesses = tuple(sorted({entry.body.witness for seen in effects.values() for entry in seen}))
    return Escaped(
        before_detection=before, while_stopping=stopping, after_fence=after, counted_from=witnesses,
        without_verdict=unpaired,
    )  # fmt: skip


def _ended_us(own: Moments) -> int | None:
    """Ledger time at which the last process was gone; the order's own time when nothing ran; None while unproven."""
    ordered = own.moments.get("ordered")
    if own.access is not None:
        stopped = own.moments.get("stopped")
        return None if stopped is None else parse_at(stopped.at)
    if ordered is None or not own.actions.keys() <= own.ends.keys():
        return None
    ends = [end for end in own.ends.values() if isinstance(end.body, kinds.InterruptConfirmed)]
    if len(ends) < len(own.ends):
        return None
    latest_us = max((end.body.ended_mono_us for end in ends), default=ordered.mono_us)
    return parse_at(ordered.at) + max(0, latest_us - ordered.mono_us)


def _customers(effects: _Effects, reveal: Reveal) -> tuple[Harmed, ...]:
    reached: dict[str, list[int]] = {}
    for seen in effects.values():
        token = next((entry.body.customer for entry in seen if entry.body.customer is not None), None)
        if token is not None:
            reached.setdefault(token, []).append(seen[0].seq)
    harmed = [Harmed(id=reveal(token), effects=len(seqs), entries=tuple(seqs)) for token, seqs in reached.items()]
    return tuple(sorted(harmed, key=lambda one: (-one.effects, one.id)))


# ---- the story -----------------------------------------------------------------------------------------------


def _timeline(number: int, own: Moments, entries: Sequence[Entry[Any]], reveal: Reveal) -> Iterable[Line]:
    onset = own.moments.get("onset") or own.moments.get("detected")
    released = own.moments.get("released")
    for entry in entries:
        if released is not None and entry.seq > released.seq and getattr(entry.body, "incident", None) != number:
            continue  # what the agent did since then is another story
        if isinstance(entry.body, kinds.PageAttempted) and entry.body.page not in own.pages:
            continue  # a mail about a ticket of the agent, or about its next owner
        told = tell(entry.body)
        if told is not None and (onset is None or entry.seq >= onset.seq):
            what, detail = told
            if isinstance(entry.body, kinds.CustomerTold | kinds.CustomerRestored):
                detail = detail.replace(entry.body.customer, reveal(entry.body.customer))
            yield Line(entry=entry.seq, at=entry.at, what=what, detail=detail)


def _happened(number: int, row: rows.Incident, agent: rows.Agent | None, entries: Sequence[Entry[Any]]) -> str:
    """What the signal that opened the case was about, in words."""
    opened = next((one.body for one in entries if _opens(one.body, number)), None)
    signal = None if opened is None else next((one for one in entries if one.seq == opened.signal), None)
    about, tool, count = None, None, 1
    if signal is not None and isinstance(signal.body, kinds.Signal):
        count = signal.body.count
        about = next((one for one in entries if one.seq == signal.body.about), None)
        named = None if about is None else getattr(about.body, "decision", getattr(about.body, "action", about.seq))
        decided = next((one.body for one in entries if one.seq == named), about and about.body)
        tool = getattr(decided, "tool", None)
    return happened("" if agent is None else agent.name, row.title, row.kind, about, tool, count)


def _opens(body: Any, number: int) -> bool:
    return isinstance(body, kinds.IncidentOpened) and body.incident == number


def _agreed(row: rows.Incident, due: Due) -> Agreed:
    missed, unmet = due.objective in row.missed, row.state in UNMET[due.objective]
    state = "missed" if missed else "open" if unmet else "met"
    return Agreed(objective=due.objective, due=format_at(due.due_us), state=state)
