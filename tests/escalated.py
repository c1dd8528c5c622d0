"""Judges how people were told of incidents, from entries alone: no fold, no rule and no word of the product is used.

Takes entries as JSON (`kind`, `v`, `seq`, `at`, `actor`, `body`), what was handed over under which key, and when nobody
was there to do anything (`away`). Says what is wrong, in words; () where nothing is.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

#: The clock is looked at so often, and what waits for a commit may be that much later.
TICK_US = 5_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: Reasons for which a step is taken before its time.
_EARLY = frozenset({"could not be reached", "somebody else was asked for", "it does not wait any more"})
_AGAIN = frozenset({"reopened", "expired", "silent", "left"})
#: States of a case of which nobody is asked.
_OVER = frozenset({"RESOLVED", "LEARNED", "CLOSED", "MERGED", "FALSE_ALARM"})


@dataclass
class Cycle:
    """One run through a path."""

    number: int
    why: str
    path: list[dict[str, Any]]
    total_us: int
    since_us: int
    steps: list[dict[str, Any]] = field(default_factory=list)
    step_us: list[int] = field(default_factory=list)
    acknowledged: list[str] = field(default_factory=list)
    ended: str = ""
    ended_us: int = 0
    progress_us: int = 0


@dataclass
class Told:
    """What the history says of one incident."""

    cycles: list[Cycle] = field(default_factory=list)
    state: str = "OPEN"


@dataclass(frozen=True)
class Terms:
    """What the settings of the world say: how long it lasts that somebody took it, and until when they are heard of."""

    lasts_us: int
    progress_us: int


def us_of(at: str) -> int:
    """Microseconds since 1970 of an entry's time."""
    return (datetime.fromisoformat(at) - _EPOCH) // (datetime.resolution)


def judge(
    entries: Iterable[dict[str, Any]], delivered: Iterable[tuple[str, int]], away: list[tuple[int, int]], terms: Terms,
    now_us: int,
) -> tuple[str, ...]:  # fmt: skip
    """Everything that is wrong. `delivered`: (key, page) of each message that was handed over, in order."""
    judging = _Judging(away, terms)
    for entry in entries:
        judging.take(entry, us_of(entry["at"]))
    return (*judging.wrong, *judging.ends(now_us), *_keys(delivered, judging.pages))


class _Judging:
    def __init__(self, away: list[tuple[int, int]], terms: Terms) -> None:
        self.wrong: list[str] = []
        self.told: dict[int, Told] = defaultdict(Told)
        self.pages: dict[int, dict[str, Any]] = {}
        self._places: Counter[tuple[Any, ...]] = Counter()
        self._away = away
        self._terms = terms
        self._left: set[str] = set()
        self._covers: dict[int, dict[str, Any]] = {}
        #: Incidents that as many have taken as were asked for, by the last acknowledgment: the next entry says so.
        self._taken: dict[int, int] = {}
        #: Pages that a step must be followed by: (incident, cycle, step, round) -> (person, channel).
        self._owed: dict[tuple[int, int, int, int], set[tuple[str, str]]] = {}

    def take(self, entry: dict[str, Any], at_us: int) -> None:
        body = entry["body"]
        handle = {
            "escalation.started": self._started, "escalation.ended": self._ended,
            "acknowledged": self._acknowledged, "page.queued": self._queued, "person.left": self._gone,
            "incident.changed": self._changed, "incident.merged": self._changed, "team.covered": self._covered,
            "team.uncovered": self._uncovered,
        }.get(entry["kind"])  # fmt: skip
        if entry["kind"] == "escalation.stepped":
            self._asked_for(body, entry["actor"])
            self._stepped(entry["seq"], body, entry["actor"].removeprefix("person:"), at_us)
        if handle is not None:
            handle(entry["seq"], body, at_us)
        if entry["actor"].startswith("person:") and isinstance(body.get("incident"), int):
            cycle = self._cycle(body["incident"])
            if cycle is not None and cycle.ended == "taken":
                cycle.progress_us = at_us

    def _asked_for(self, body: dict[str, Any], actor: str) -> None:
        """A person asks for somebody else: what they took they have no more, and what was taken waits again."""
        cycle = self._cycle(body["incident"])
        if cycle is None or body["why"] != "somebody else was asked for":
            return
        if cycle.ended == "taken":
            cycle.ended, cycle.acknowledged = "", []
        cycle.acknowledged = [person for person in cycle.acknowledged if actor != f"person:{person}"]

    def _say(self, seq: int, what: str) -> None:
        self.wrong.append(f"entry {seq}: {what}")

    def _cycle(self, incident: int) -> Cycle | None:
        cycles = self.told[incident].cycles if incident in self.told else []
        return cycles[-1] if cycles else None

    def _started(self, seq: int, body: dict[str, Any], at_us: int) -> None:
        before = self._cycle(body["incident"])
        if body["cycle"] != (1 if before is None else before.number + 1):
            self._say(seq, f"cycle {body['cycle']} follows {before and before.number}")
        if before is not None and not before.ended:
            self._say(seq, "a cycle begins while one runs")
        over, state = before is not None and before.ended == "over", self.told[body["incident"]].state
        if (body["why"] == "reopened" and state != "REOPENED") or (over and body["why"] != "reopened"):
            self._say(seq, f"it is asked because {body['why']}, and is {state}")
        if before is not None and body["why"] not in _AGAIN:
            self._say(seq, f"a further cycle begins because {body['why']}")
        if before is not None and body["why"] in ("expired", "silent"):
            due_us = self._lapses_us(before)
            if at_us < due_us:
                self._say(seq, f"it is asked again {(due_us - at_us) / 1e6:.0f} s too early")
            if at_us > self._by(due_us):
                self._say(seq, f"it is asked again {(at_us - due_us) / 1e6:.0f} s too late")
        steps = body["path"]
        total_us = sum(step["within_us"] * step["rounds"] for step in steps if not step["last_resort"])
        if not steps or not steps[-1]["last_resort"] or total_us != body["total_us"]:
            self._say(seq, "its path has no last resort at its end, or states another total")
        self.told[body["incident"]].cycles.append(Cycle(body["cycle"], body["why"], steps, total_us, at_us))

    def _stepped(self, seq: int, body: dict[str, Any], asking: str, at_us: int) -> None:
        cycle = self._cycle(body["incident"])
        if cycle is None or cycle.number != body["cycle"] or cycle.ended:
            self._say(seq, "a step of no cycle that runs")
            return
        last = cycle.steps[-1] if cycle.steps else {"step": 0, "round": 0, "due_us": cycle.since_us}
        self._order(seq, cycle, last, body)
        if body["incident"] in self._taken and body["why"] != "somebody else was asked for":
            self._say(seq, f"a step of what was taken at entry {self._taken[body['incident']]}")
        self._taken.pop(body["incident"], None)
        early = body["why"] in _EARLY or not cycle.steps
        if not early and at_us < last["due_us"]:
            self._say(seq, f"step {body['step']} comes {(last['due_us'] - at_us) / 1e6:.0f} s early")
        if body["why"] not in _EARLY and at_us > self._by(last["due_us"]):
            self._say(seq, f"step {body['step']} comes {(at_us - last['due_us']) / 1e6:.0f} s late")
        if not body["persons"]:
            self._say(seq, "a step that asks nobody")
        word, _, team = cycle.path[body["step"] - 1]["notify"].partition(":")
        if word == "team":
            self._by_cover(seq, team, body["persons"], asking, at_us)
        within_us = cycle.path[body["step"] - 1]["within_us"]
        if body["due_us"] < min(at_us, last["due_us"]) + within_us:
            self._say(seq, "a step with less time than its path gives it")
        cycle.steps.append(body)
        cycle.step_us.append(at_us)
        untaken = [person for person in body["persons"] if person not in cycle.acknowledged] or body["persons"]
        owed = {(person, "email") for person in untaken} if "email" in body["by"] else set()
        owed |= {("", channel) for channel in body["by"] if channel != "email"}
        self._owed[body["incident"], body["cycle"], body["step"], body["round"]] = owed

    def _order(self, seq: int, cycle: Cycle, last: dict[str, Any], body: dict[str, Any]) -> None:
        step, end = body["step"], len(cycle.path)
        if body["passed"] != list(range(last["step"] + 1, step)):
            self._say(seq, f"step {step} after {last['step']} passes over {body['passed']}")
        if step == last["step"]:
            more = body["round"] == last["round"] + 1
            if not more or (body["round"] > cycle.path[step - 1]["rounds"] and step != end):
                self._say(seq, f"round {body['round']} of step {step} after {last['round']}")
            return
        if step < last["step"] or body["round"] != 1:
            self._say(seq, f"step {step}.{body['round']} after {last['step']}.{last['round']}")
        rounds = cycle.path[last["step"] - 1]["rounds"] if last["step"] else 0
        if last["step"] and last["round"] < rounds and body["why"] == "nobody in time" and not body.get("gone"):
            # Fewer rounds than its path says: only where nobody is there any more whom it names.
            self._say(seq, f"step {last['step']} had {last['round']} of {rounds} rounds")

    def _ended(self, seq: int, body: dict[str, Any], at_us: int) -> None:
        cycle = self._cycle(body["incident"])
        if cycle is None or cycle.number != body["cycle"] or cycle.ended == "over" or cycle.ended == body["outcome"]:
            self._say(seq, f"it ends as {body['outcome']} what does not run")
            return
        if (body["outcome"] == "over") != (self.told[body["incident"]].state in _OVER):
            self._say(seq, f"it ends as {body['outcome']}, and is {self.told[body['incident']].state}")
        if body["outcome"] == "taken" and set(body["persons"]) not in self._takings(cycle):
            self._say(seq, f"it is said to be taken by {body['persons']}; {cycle.acknowledged} took it")
        self._taken.pop(body["incident"], None)
        cycle.ended, cycle.ended_us, cycle.progress_us = body["outcome"], at_us, at_us

    def _takings(self, cycle: Cycle) -> list[set[str]]:
        """By whom it is taken, by each step that as many took it as it asks for. Nobody waits for who has left."""
        asked: dict[int, set[str]] = defaultdict(set)
        for step in cycle.steps:
            asked[step["step"]] |= set(step["persons"])
        found = []
        for number, persons in asked.items():
            require, there = cycle.path[number - 1]["require"], persons - self._left
            took = set(cycle.acknowledged) if require == "any" else there & set(cycle.acknowledged)
            least = len(there) if require == "all" else 1 if require == "any" else int(require)
            if took and len(took) >= min(least, len(there) or 1):
                found.append(took)
        return found

    def _acknowledged(self, seq: int, body: dict[str, Any], at_us: int) -> None:
        cycle = self._cycle(body["incident"])
        if cycle is not None and cycle.ended != "over":
            cycle.acknowledged.append(body["person"])
            if cycle.ended == "taken":
                cycle.ended_us = cycle.progress_us = at_us
            elif self._takings(cycle):
                self._taken[body["incident"]] = seq

    def _gone(self, seq: int, body: dict[str, Any], at_us: int) -> None:
        self._left.add(body["person"])

    def _changed(self, seq: int, body: dict[str, Any], at_us: int) -> None:
        if body.get("what", "state") == "state":
            self.told[body["incident"]].state = body.get("now", "MERGED")

    def _covered(self, seq: int, body: dict[str, Any], at_us: int) -> None:
        self._covers[seq] = body

    def _uncovered(self, seq: int, body: dict[str, Any], at_us: int) -> None:
        if self._covers.pop(body["cover"], None) is None:
            self._say(seq, "a cover ends that there is not")

    def _by_cover(self, seq: int, team: str, persons: list[str], asking: str, at_us: int) -> None:
        """Whoever covers for a team is asked, and whose turn they cover is left alone.

        `asking`: who asked for somebody else by this step, and is not asked by it themselves.
        """
        covers = [
            body for body in self._covers.values()
            if body["team"] == team and body["since_us"] <= at_us < body["until_us"]
            and body["person"] not in self._left
        ]  # fmt: skip
        covering = {body["person"] for body in covers}
        if missing := covering - set(persons) - {asking}:
            self._say(seq, f"{sorted(missing)} covers {team} and is not asked")
        if relieved := {body["instead_of"] for body in covers} & (set(persons) - covering):
            self._say(seq, f"{sorted(relieved)} is asked in spite of a cover")

    def _queued(self, seq: int, body: dict[str, Any], at_us: int) -> None:
        self.pages[body["page"]] = body
        if not body.get("cycle") or body["about"] not in ("", "step"):
            return
        who = body["person"] if body["channel"] == "email" else ""
        place = (body["incident"], body["cycle"], body["step"], body["round"])
        self._places[(*place, who, body["channel"])] += 1
        if self._places[(*place, who, body["channel"])] > 1:
            self._say(seq, f"a second page of {place} to {who or body['channel']}")
        self._owed.get(place, set()).discard((who, body["channel"]))

    # -- at the end

    def _lapses_us(self, cycle: Cycle) -> int:
        return min(cycle.ended_us + self._terms.lasts_us, cycle.progress_us + self._terms.progress_us)

    def _by(self, due_us: int) -> int:
        """Until when what is due then has to be done: within a tick that a node was there for from begin to end."""
        from_us = due_us
        for gone_us, back_us in sorted(self._away):
            if gone_us <= from_us + TICK_US and back_us > from_us:
                from_us = back_us
        return from_us + TICK_US

    def ends(self, now_us: int) -> Iterator[str]:
        """Every incident is taken, over, or asked of the last resort by its stated total; every page was queued."""
        for place, owed in self._owed.items():
            if owed:
                yield f"step {place} tells {sorted(owed)} nothing"
        for incident, seq in self._taken.items():
            yield f"incident {incident}: as many took it at entry {seq} as its path asks for, and it is not said"
        for incident, told in self.told.items():
            for cycle in told.cycles[-1:]:
                if (cycle.ended == "over") != (told.state in _OVER):
                    yield f"incident {incident} is {told.state}, and its asking {cycle.ended or 'goes on'}"
                if cycle.ended == "taken" and now_us > self._by(self._lapses_us(cycle)):
                    yield f"incident {incident}: taken, then nothing, and nobody is asked again"
                if not cycle.ended:
                    yield from self._running(incident, cycle, now_us)

    def _running(self, incident: int, cycle: Cycle, now_us: int) -> Iterator[str]:
        if not cycle.steps:
            yield f"incident {incident}: nobody was asked"
            return
        if now_us > self._by(cycle.steps[-1]["due_us"]):
            yield f"incident {incident}: step {cycle.steps[-1]['step']} was the last, and it is over"
        waited_us = sum(
            max(0, body["due_us"] - at_us - cycle.path[body["step"] - 1]["within_us"])
            for body, at_us in zip(cycle.steps, cycle.step_us, strict=True)
        )  # what quiet hours held back
        late_us = sum(back_us - gone_us + TICK_US for gone_us, back_us in self._away if back_us > cycle.since_us)
        slack_us = waited_us + late_us + TICK_US * (len(cycle.steps) + 1)
        reached = cycle.steps[-1]["step"] == len(cycle.path)
        if now_us > cycle.since_us + cycle.total_us + slack_us and not reached:
            yield f"incident {incident}: its total is over and the last resort was not asked"


def _keys(delivered: Iterable[tuple[str, int]], pages: dict[int, Any]) -> Iterator[str]:
    """One page has one key however often it was sent, and one key is of one page."""
    key_of: dict[int, str] = {}
    page_of: dict[str, int] = {}
    for key, page in delivered:
        if key_of.setdefault(page, key) != key:
            yield f"page {page} went out as {key} and as {key_of[page]}"
        if page_of.setdefault(key, page) != page:
            yield f"pages {page} and {page_of[key]} went out as {key}"
        if page not in pages:
            yield f"page {page} went out and was never queued"
