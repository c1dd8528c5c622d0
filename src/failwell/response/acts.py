"""The acts of an incident: what its agent did or may have done since the onset, what shows it, what says it was wrong.

Pure, from entries alone, taken in order and not kept. What was handed over by the agent is its act too. An act is wrong
where the record says so: a limit that only records, a look at the world, an outcome, a tool side's log, a person. What
nothing speaks against is in the span all the same, and told as such: that nobody objected proves nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import msgspec

from failwell.core import kinds
from failwell.core.errors import InputError
from failwell.core.instants import parse_at
from failwell.core.records import Entry

#: Outcomes after which the act has had its effect, as far as whoever ran it can say.
DONE = ("completed", "completed_after_interrupt", "bypassed")
NOT_STARTED = "blocked"
#: What a signal says that makes the act it is about a wrong one.
_SAYS = {
    "recorded": "{} spoke: it passed, and was noticed",
    "denied": "{} would have denied it: it was not governed",
    "escalated": "{} would have asked a person: it was not governed",
    "failed": "{} failed",
    "unknown": "nobody can say how {} ended",
    "overdue": "{} ran into its deadline",
}
#: Signals that say nothing against the act: how its stop or its undoing went.
_NOT_THE_ACT = frozenset({"executor.unconfirmed", "compensate", "ensure", "bypass"})
#: States of a case, and of its agent, with which its span ends.
_OVER = frozenset({"RESOLVED", "MERGED", "FALSE_ALARM"})


class Wrong(msgspec.Struct, frozen=True, kw_only=True):
    """What says that an act was wrong: `what` is limit, ensure, outcome, no-verdict, customer, finding or report."""

    what: str
    says: str
    entry: int


class Act(NamedTuple):
    """One act: its decision (None where no verdict was asked for), how it ended, its effects, what speaks against it.

    `effects` are what witnesses saw, by (tool, reference): two witnesses of one effect are one.
    """

    decision: Entry[kinds.Decision] | None
    outcome: Entry[kinds.Outcome] | None
    effects: dict[tuple[str, str], list[Entry[kinds.EffectWitnessed]]]
    undoing: str | None
    wrong: tuple[Wrong, ...]

    @property
    def agent(self) -> str:
        return str(self.first.agent)

    @property
    def first(self) -> Entry[Any]:
        return self.decision or next(iter(self.effects.values()))[0]

    @property
    def tool(self) -> str:
        return str(self.first.body.tool)

    @property
    def shown_by(self) -> str:
        """`witnessed`: a log of the tool side has it; `outcome`: whoever ran it says so; `unknown`: nobody can say."""
        if self.effects:
            return "witnessed"
        return "outcome" if self.outcome is not None and self.outcome.body.state in DONE else "unknown"

    @property
    def happened(self) -> str:
        """`yes`, or `perhaps` where nobody can say that it did not."""
        return "perhaps" if self.shown_by == "unknown" else "yes"

    @property
    def at(self) -> str:
        """When it happened by the tool side's clock; where no log says, when it was decided."""
        times = [at for seen in self.effects.values() for entry in seen if (at := at_tool(entry.body)) is not None]
        return min(times, default=self.first.at)

    @property
    def entries(self) -> tuple[int, ...]:
        """The entries that show it, oldest first."""
        shown = [entry.seq for entry in (self.decision, self.outcome) if entry is not None]
        return tuple(sorted({*shown, *(entry.seq for seen in self.effects.values() for entry in seen)}))

    def customers(self) -> Iterator[tuple[str, int]]:
        """(token, effects) of each customer whom it reached, or was to reach."""
        reached: dict[str, int] = {}
        for seen in self.effects.values():
            token = next((entry.body.customer for entry in seen if entry.body.customer is not None), None)
            if token is not None:
                reached[token] = reached.get(token, 0) + 1
        if not reached and self.decision is not None and self.decision.body.customer is not None:
            reached[self.decision.body.customer] = max(1, len(self.effects))
        yield from reached.items()


def at_tool(body: kinds.EffectWitnessed) -> str | None:
    """The tool side's time of an effect, None where it cannot be read."""
    try:
        return None if body.at_tool is None or parse_at(body.at_tool) < 0 else body.at_tool
    except InputError:
        return None


class Acts:
    """Takes the entries of a span in order. `earlier` are decisions before it that speak of the incident too."""

    def __init__(self, number: int, agent: str, first: int, earlier: frozenset[int] = frozenset()) -> None:
        self._number = number
        self._agent = agent
        self._handed = f"agent:{agent}"
        self._first = first
        self._earlier = earlier
        self._onset: str | None = None
        self._decisions: dict[int, Entry[Any]] = {}
        self._outcomes: dict[int, Entry[Any]] = {}
        self._effects: dict[int, dict[tuple[str, str], list[Entry[Any]]]] = {}
        self._loose: dict[tuple[str, str], list[Entry[Any]]] = {}
        self._undoings: dict[int, str] = {}
        self._steps: set[tuple[int | None, str]] = set()
        self._wrong: dict[int, list[Wrong]] = {}
        self._reported: list[Entry[kinds.Noticed]] = []
        #: Entries that speak of one of the decisions.
        self._named: dict[int, int] = {}
        #: What was denied or left to a person in the span: what it might have done.
        self.refused: list[Entry[kinds.Decision]] = []
        self.witnesses: set[str] = set()
        #: The entry with which the span ends (released, resolved), None while it goes on.
        self.over: int | None = None

    def take(self, entry: Entry[Any]) -> None:
        """Note what an entry says of the incident's acts."""
        body = entry.body
        if entry.seq >= self._first and self._onset is None:
            self._onset = entry.at
        if isinstance(body, kinds.Decision):
            self._decided(entry, body)
        elif isinstance(body, kinds.EffectWitnessed):
            self._effect(entry, body)
        elif isinstance(body, kinds.Signal):
            self._signal(entry, body)
        elif isinstance(body, kinds.AuthorityChanged | kinds.IncidentChanged | kinds.IncidentUpdated):
            self._stands(entry, body)
        elif isinstance(body, kinds.IncidentNoted | kinds.Noticed):
            self._said(entry, body)
        else:
            self._speaks(entry, body)

    def acts(self) -> list[Act]:
        """What was done or may have been, oldest first."""
        for report in self._reported:
            first, last = report.body.first, report.body.last
            for decision in self._decisions:
                if first is not None and first <= decision <= (first if last is None else last):
                    self._against(decision, "report", "a person reported it", report.seq)
        found = [act for decision in sorted(self._decisions) if (act := self._act(decision)) is not None]
        loose = [self._unasked(place, seen) for place, seen in self._loose.items()]
        return sorted([*found, *loose], key=lambda act: act.first.seq)

    # -- taking ------------------------------------------------------------------------------------------------

    def _decided(self, entry: Entry[Any], body: kinds.Decision) -> None:
        if entry.agent != self._agent and self._handed not in body.chain:
            return
        if entry.seq not in self._earlier and (entry.seq < self._first or self._is_over(entry.seq)):
            return
        if body.verdict == "ALLOW" or not getattr(body, "governed", True):
            self._decisions[entry.seq] = entry
        elif entry.seq >= self._first:
            self.refused.append(entry)

    def _is_over(self, seq: int) -> bool:
        return self.over is not None and seq > self.over

    def _effect(self, entry: Entry[Any], body: kinds.EffectWitnessed) -> None:
        place = body.tool, body.ref
        if (body.decision, body.tool) in self._steps:
            return  # it undoes, and harmed nobody
        if body.decision in self._decisions:
            self.witnesses.add(body.witness)
            self._effects.setdefault(body.decision, {}).setdefault(place, []).append(entry)
        elif body.decision is None and entry.agent == self._agent and self._within(entry, body):
            self.witnesses.add(body.witness)
            self._loose.setdefault(place, []).append(entry)

    def _within(self, entry: Entry[Any], body: kinds.EffectWitnessed) -> bool:
        """Whether an effect without a verdict is of the span; one whose time cannot be read is never left out."""
        at = at_tool(body)
        if self._is_over(entry.seq) and at is None:
            return False
        return entry.seq >= self._first and (at is None or self._onset is None or at >= self._onset)

    def _signal(self, entry: Entry[Any], body: kinds.Signal) -> None:
        name, _, inside = body.signal.rstrip(")").partition("(")
        decision = body.about if body.about in self._decisions else self._named.get(body.about)
        if decision is None or name in _NOT_THE_ACT or body.by != "response":
            return
        if name == "recorded" and getattr(self._decisions[decision].body, "ticket", None) is not None:
            return  # a person looked at it and let it pass
        says = _SAYS.get(name, "signal {}").format(inside or name)
        self._against(decision, "limit" if name in ("recorded", "denied", "escalated") else "outcome", says, entry.seq)

    def _stands(self, entry: Entry[Any], body: Any) -> None:
        """Whether the span ends here, or goes on after all."""
        if body.incident != self._number:
            return
        if isinstance(body, kinds.AuthorityChanged):
            ends, goes_on = body.was == "SUSPENDED", body.now == "SUSPENDED"
        else:
            now = body.now if isinstance(body, kinds.IncidentChanged) else body.state
            ends, goes_on = now in _OVER, now == "REOPENED"
        if ends and self.over is None:
            self.over = entry.seq
        elif goes_on:
            self.over = None

    def _said(self, entry: Entry[Any], body: Any) -> None:
        """What people say: a finding names the very decision that it calls wrong, a report a range of entries."""
        if isinstance(body, kinds.Noticed):
            if body.first is not None and entry.agent == self._agent:
                self._reported.append(entry)
        elif body.incident == self._number and body.sort != "note":
            for cited in body.cites:
                if cited in self._decisions:
                    self._against(cited, "finding", f"finding {body.note} of {body.person} cites it", entry.seq)

    def _speaks(self, entry: Entry[Any], body: Any) -> None:
        """What became of an action, and of its undoing."""
        decision = getattr(body, "decision", getattr(body, "action", None))
        if decision not in self._decisions:
            return
        self._named[entry.seq] = decision
        if isinstance(body, kinds.Outcome):
            self._outcomes[decision] = entry
        elif isinstance(body, kinds.Ensured) and body.state != "held":
            says = "the world is not as promised" if body.state == "missed" else "nobody can say if it is as promised"
            self._against(decision, "ensure", f"{body.check}: {says}", entry.seq)
        elif isinstance(body, kinds.CompensationOrdered):
            self._undoings[decision] = "owed"
        elif isinstance(body, kinds.CompensationBegun):
            self._undoings[decision] = "begun"
            self._steps.add((decision, body.step))
        elif isinstance(body, kinds.Compensated):
            self._undoings[decision] = body.state

    def _against(self, decision: int, what: str, says: str, entry: int) -> None:
        self._wrong.setdefault(decision, []).append(Wrong(what=what, says=says, entry=entry))

    # -- telling -----------------------------------------------------------------------------------------------

    def _act(self, decision: int) -> Act | None:
        entry, outcome = self._decisions[decision], self._outcomes.get(decision)
        effects = self._effects.get(decision, {})
        if outcome is not None and outcome.body.state == NOT_STARTED and not effects:
            return None
        wrong = list(self._wrong.get(decision, ()))
        # Attack: the right amount to the wrong customer, under a verdict about another one.
        for seen in effects.values():
            wrong += [
                Wrong(what="customer", says=f"{each.body.witness} saw another customer than was decided on",
                      entry=each.seq)
                for each in seen
                if entry.body.customer is not None and each.body.customer not in (None, entry.body.customer)
            ]  # fmt: skip
        wrong.sort(key=lambda each: each.entry)
        return Act(entry, outcome, effects, self._undoings.get(decision), tuple(wrong))

    def _unasked(self, place: tuple[str, str], seen: list[Entry[Any]]) -> Act:
        says = "no verdict was asked for: it went round the gate"
        return Act(None, None, {place: seen}, None, (Wrong(what="no-verdict", says=says, entry=seen[0].seq),))


def spoken_of_before(number: int, agent: str, first: int, entries: Iterable[Entry[Any]]) -> frozenset[int]:
    """Decisions before the onset that entries from there on speak of: looks at the world, outcomes that were noticed,
    findings, and the stop of what ran already.
    """
    found: set[int] = set()
    named: dict[int, int] = {}
    for entry in entries:
        body = entry.body
        if isinstance(body, kinds.IncidentNoted | kinds.InterruptOrdered):
            if body.incident == number:
                found.update(body.actions if isinstance(body, kinds.InterruptOrdered) else body.cites)
        elif entry.agent != agent:
            continue
        elif isinstance(body, kinds.Ensured | kinds.Outcome):
            named[entry.seq] = body.decision
            if isinstance(body, kinds.Ensured) and body.state != "held":
                found.add(body.decision)
        elif isinstance(body, kinds.Signal) and body.about in named:
            found.add(named[body.about])
    return frozenset(seq for seq in found if seq < first)
