"""What the entries must tell of incidents by themselves: a part of the independent checker (I5, I7, I8, D5, D30).

It shares no code with the product: the machine and the table of powers are typed off the design a second time, and
nothing is taken from a projection. `tests.invariants` has every ledger that it reads judged by it too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

Json = dict[str, Any]

#: The case, as the design draws it (D30).
STEPS = {
    "OPEN": {"TRIAGED", "MERGED", "FALSE_ALARM"},
    "TRIAGED": {"INVESTIGATING", "MERGED", "FALSE_ALARM"},
    "INVESTIGATING": {"RESOLVED", "MERGED", "FALSE_ALARM"},
    "RESOLVED": {"LEARNED", "REOPENED"},
    "LEARNED": {"CLOSED", "REOPENED"},
    "CLOSED": {"REOPENED"},
    "REOPENED": {"TRIAGED", "INVESTIGATING", "MERGED"},
    "MERGED": set(),
    "FALSE_ALARM": {"REOPENED"},
}  # fmt: skip
#: What an agent may do, and the steps between (D30).
AUTHORITY = {
    "REGISTERED": {"OBSERVED", "ACTIVE", "SUSPENDED", "RETIRED"},
    "OBSERVED": {"REGISTERED", "ACTIVE", "RESTRICTED", "SUSPENDED", "RETIRED"},
    "ACTIVE": {"RESTRICTED", "SUSPENDED", "RETIRED"},
    "RESTRICTED": {"ACTIVE", "SUSPENDED", "RETIRED"},
    "SUSPENDED": {"PROBATION", "RETIRED"},
    "PROBATION": {"ACTIVE", "RESTRICTED", "SUSPENDED", "RETIRED"},
    "RETIRED": set(),
}  # fmt: skip
OVER = {"CLOSED", "MERGED", "FALSE_ALARM"}
SEVERITIES = ("minor", "major", "critical")
#: What a person alone may say, and the order that it must rest on (I7).
OF_ORDER = {
    "acknowledged": "incident.acknowledge", "incident.noted": "incident.note", "incident.task": "incident.task",
    "incident.task.ended": "incident.finish", "incident.offered": "incident.hand", "incident.merged": "incident.merge",
    "incident.proposed": "incident.propose", "change.claimed": "incident.claim", "customer.told": "customer.tell",
    "customer.restored": "customer.restore", "authority.informed": "incident.inform", "work.ended": "work.end",
    "hold.proposed": "hold.propose", "hold.lifted": "hold.lift", "release.proposed": "release.propose",
    "release.approved": "release.approve", "release.broken": "release.break", "release.reviewed": "release.review",
}  # fmt: skip
#: Orders that restrict: each must have had its effect by the next thing that anybody does (I8).
AT_ONCE = {"agent.suspend", "stop", "run.stop", "action.stop", "hold.place", "incident.raise", "incident.reopen"}
#: What follows from nothing by rule: somebody did it, or it happened.
ACTS = {
    "order", "decision", "run.opened", "run.closed", "started", "interrupt.attempted", "page.attempted", "clock",
    "effect.witnessed", "health", "node.started", "node.stopped", "directory.preserved", "heads",
}  # fmt: skip
#: What release needs of the containment, each seen in an entry of its own.
NEEDED = ("ORDERED", "SUSPENDED", "HELD", "NOTIFIED", "ACKNOWLEDGED")


def micros(at: str) -> int:
    """Microseconds of an RFC 3339 time."""
    return round(datetime.fromisoformat(at).timestamp() * 1_000_000)


@dataclass
class Case:
    """One incident as far as the entries up to now tell it."""

    agent: str | None
    severity: str
    opened: int
    state: str = "OPEN"
    kind: str = "real"
    serious: bool = False
    informed: bool = False
    marks: set[str] = field(default_factory=set)
    stopped_by: set[str] = field(default_factory=set)
    waiting: set[int] = field(default_factory=set)
    failed: set[int] = field(default_factory=set)
    notes: int = 0
    findings: int = 0
    tasked: int = 0
    tasks: set[int] = field(default_factory=set)
    missed: set[str] = field(default_factory=set)
    claimed: bool = False
    left: set[int] = field(default_factory=set)
    #: (what, value, person, digest) that waits for another person; and the release that does.
    proposed: tuple[str, str, str, str] | None = None
    release: tuple[str, str] | None = None
    takers: set[str] = field(default_factory=set)
    notified: str = ""
    #: The release by one person alone that owes a review: its entry, and whose it was.
    broken: tuple[int, str] | None = None


@dataclass
class Hold:
    """One lock on the record."""

    incident: int | None
    proposal: tuple[str, str] | None = None
    lifted: bool = False
    preserved: set[str] = field(default_factory=set)


class Cases:
    """Takes entries in order and says what does not hold."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._tell = say
        self.cases: dict[int, Case] = {}
        self.holds: dict[int, Hold] = {}
        self._orders: dict[int, Json] = {}
        self._authority: dict[str, str] = {}
        #: Allowed and not ended, by agent; the case that an agent is contained for; which case waits for a signal.
        self._running: dict[str, set[int]] = {}
        self._current: dict[str, int | None] = {}
        self._owed: list[tuple[int, str, Callable[[Json], bool]]] = []
        #: Until when an agent acts that one person alone gave back.
        self._until: dict[str, int] = {}
        self._mail = False
        self._pages: dict[int, Json] = {}
        self._people_at: set[int] = set()
        self._ordered: set[int] = set()
        self._settled: set[int] = set()
        self._stopped: set[str] = set()

    def _say(self, invariant: str, entry: Json, text: str) -> None:
        self._tell(f"{invariant}: entry {entry['seq']} ({entry['kind']}) {text}")

    def take(self, entry: Json) -> None:
        body = entry["body"]
        self._pay(entry)
        wanted = OF_ORDER.get(entry["kind"])
        if wanted is not None:
            self._of_order(entry, body, wanted)
        named = body.get("incident")
        if named is not None and named not in self.cases and entry["kind"] != "incident.opened":
            self._say("D30", entry, f"speaks of incident {named}, which nothing opened")
            return
        take = getattr(self, "_" + entry["kind"].replace(".", "_"), None)
        if take is not None:
            take(entry, body)

    # -- what an entry owes to the ones right behind it: they are one commit (D4, D5)

    def _owe(self, entry: Json, what: str, paid: Callable[[Json], bool]) -> None:
        self._owed.append((entry["seq"], what, paid))

    def _pay(self, entry: Json) -> None:
        """What was owed must come before anything that is no consequence."""
        self._owed = [(seq, what, paid) for seq, what, paid in self._owed if not paid(entry)]
        if entry["kind"] in ACTS:
            self._unpaid(self._owed)
            self._owed = []

    def _unpaid(self, owed: list[tuple[int, str, Callable[[Json], bool]]]) -> None:
        for seq, what, _ in owed:
            self._tell(f"I8: entry {seq} sets in motion {what}, and its commit does not hold that")

    # -- people

    def _order(self, entry: Json, body: Json) -> None:
        order = json.loads(body["text"])
        digest = hashlib.sha256(body["text"].encode()).hexdigest()
        kept = {"person": body["person"], "order": body["order"], "details": order["details"], "digest": digest}
        self._orders[entry["seq"]] = kept
        if body["order"] in AT_ONCE:
            self._restricts(entry, kept)

    def _config(self, entry: Json, body: Json) -> None:
        self._mail = "mail" in json.loads(body["text"])

    def _restricts(self, entry: Json, order: Json) -> None:
        kind, details, agent = order["order"], order["details"], entry["agent"]
        seq = entry["seq"]

        def of(wanted: str, **fields: Any) -> Callable[[Json], bool]:
            return lambda later: (
                later["kind"] == wanted
                and later["seq"] > seq
                and all(later["body"].get(name) == value for name, value in fields.items())
            )

        if kind == "agent.suspend" and self._authority.get(agent) not in ("SUSPENDED", "RETIRED"):
            self._owe(entry, "a suspension", of("authority.changed", now="SUSPENDED"))
        elif kind == "stop":
            self._owe(entry, f"the stop of {details['scope']}", of("scope.stopped", scope=details["scope"]))
        elif kind == "run.stop":
            self._owe(entry, f"the stop of run {details['run']}", of("run.stopped"))
        elif kind == "action.stop" and details["action"] not in self._settled | self._ordered:
            action = details["action"]
            self._owe(
                entry, f"the stop of action {action}",
                lambda later: later["kind"] == "interrupt.ordered" and action in later["body"]["actions"],
            )  # fmt: skip
        elif kind == "hold.place":
            self._owe(entry, "a hold", of("hold.placed", incident=details["incident"]))
        elif kind == "incident.reopen":
            self._owe(entry, "the case's opening", of("incident.changed", incident=details["incident"], now="REOPENED"))
        elif kind == "incident.raise":
            case = self.cases.get(details["incident"])
            if case is not None and _worse(case.severity, details["severity"]) != case.severity:
                self._owe(entry, "the severity", of("incident.changed", what="severity", now=details["severity"]))

    def _cited(self, entry: Json, wanted: str) -> Json | None:
        for _, seq, _ in entry["refs"]:
            if seq in self._orders and self._orders[seq]["order"] == wanted:
                return self._orders[seq]
        return None

    def _of_order(self, entry: Json, body: Json, wanted: str) -> None:
        order = self._cited(entry, wanted)
        if order is None:
            self._say("I7", entry, f"rests on no order {wanted}")
            return
        if order["person"] != body.get("person", order["person"]) and entry["kind"] != "incident.task":
            self._say("I7", entry, f"is by the word of {order['person']}, and says {body['person']}")
        for name in ("incident", "hold", "run", "customer"):
            if name in body and name in order["details"] and order["details"][name] != body[name]:
                self._say("I7", entry, f"is about {name} {body[name]}, ordered was {order['details'][name]}")

    def _two(self, entry: Json, case: Case, what: str, value: str) -> None:
        """It takes two: somebody proposed exactly this, and somebody else agreed to that very order."""
        agreed, proposed = self._cited(entry, "incident.agree"), case.proposed
        if agreed is None or proposed is None or entry["body"].get("proposal") != proposed[3]:
            self._say("I7", entry, f"takes {what} by no proposal that another person agreed to")
        elif agreed["details"]["proposal"] != proposed[3] or proposed[0] != what or proposed[1] not in ("-", value):
            self._say("I7", entry, f"takes {what} to {value}; agreed was {proposed[0]} to {proposed[1]}")
        elif agreed["person"] == proposed[2]:
            self._say("I7", entry, f"was proposed and agreed to by {proposed[2]} alone")

    # -- noticing and opening

    def _signal(self, entry: Json, body: Json) -> None:
        """No signal that a response was asked for is swallowed: it opens a case, or is told of one that is not over."""
        asks_only = body["signal"].startswith("escalated(") and set(body["response"]) <= {"record", "ask"}
        if not body["applied"] or asks_only:
            return
        seq = entry["seq"]
        self._owe(
            entry, f"a case for the signal {body['signal']}",
            lambda later: (
                later["kind"] in ("incident.opened", "incident.updated", "incident.changed")
                and (later["body"].get("signal") == seq or seq in {cited for _, cited, _ in later["refs"]})
            ),
        )  # fmt: skip

    def _incident_opened(self, entry: Json, body: Json) -> None:
        number = body["incident"]
        if number != len(self.cases) + 1:
            self._say("D30", entry, f"is incident {number} after {len(self.cases)}")
        case = Case(entry["agent"], body["severity"], entry["seq"], kind=body["kind"])
        self.cases[number] = case
        if body["by"].startswith("person:"):
            case.stopped_by.add(body["by"].removeprefix("person:"))
        if entry["agent"] is not None:
            self._current[entry["agent"]] = number
        self._sets_in_motion(entry, number, case, body["response"])

    def _sets_in_motion(self, entry: Json, number: int, case: Case, response: list[str]) -> None:
        """D5: stop, lock and page are in the commit of the case."""
        agent, after = entry["agent"], entry["seq"]
        if agent is None:
            return

        def mine(kind: str) -> Callable[[Json], bool]:
            return lambda later: (
                later["kind"] == kind and later["seq"] > after and later["body"].get("incident") == number
            )

        if "suspend" in response:
            self._owe(entry, "an order to stop what runs", mine("interrupt.ordered"))
            if self._authority.get(agent) not in ("SUSPENDED", "RETIRED"):
                self._owe(entry, "a suspension", mine("authority.changed"))
        if "hold" in response:
            self._owe(entry, "a hold", mine("hold.placed"))
        if "notify" in response:
            self._owe(entry, "a page", mine("page.queued"))

    def _incident_updated(self, entry: Json, body: Json) -> None:
        case = self.cases[body["incident"]]
        if body["signal"] is not None and case.state in OVER:
            self._say("D30", entry, f"puts a signal into incident {body['incident']}, which is {case.state}")
        if body["state"] != case.state:
            waits = case.proposed
            self._step(entry, case, body["state"])
            case.proposed = waits
        if _worse(case.severity, body["severity"]) != body["severity"]:
            self._say("I7", entry, f"lowers the severity of incident {body['incident']}")
        case.severity = body["severity"]

    def _step(self, entry: Json, case: Case, now: str) -> None:
        if now not in STEPS[case.state]:
            self._say("D30", entry, f"takes a case from {case.state} to {now}")
        if now in ("FALSE_ALARM", "LEARNED"):
            self._two(entry, case, {"FALSE_ALARM": "false-alarm", "LEARNED": "none"}[now], "-")
        if now == "INVESTIGATING" and not case.findings and case.state == "TRIAGED":
            self._say("D30", entry, "investigates without a finding")
        if now == "CLOSED" and (case.tasks or case.waiting):
            self._say("D30", entry, "closes a case with something open in it")
        if now == "REOPENED":  # its objectives begin anew
            case.missed = set()
        case.state, case.proposed = now, None

    def _incident_changed(self, entry: Json, body: Json) -> None:
        case, what, now = self.cases[body["incident"]], body["what"], body["now"]
        if what == "state":
            if body["was"] != case.state:
                self._say("D30", entry, f"says {body['was']}, the case was {case.state}")
            self._step(entry, case, now)
        elif what == "severity":
            if _worse(case.severity, now) != now:
                self._two(entry, case, "severity", now)
            case.severity = now
        elif what == "serious":
            if now != "yes":
                self._two(entry, case, "not-serious", "-")
            elif self._cited(entry, "incident.serious") is None:
                self._say("I7", entry, "marks a case as serious by nobody's order")
            case.serious = now == "yes"
        elif what == "kind":
            case.kind = now

    def _incident_proposed(self, entry: Json, body: Json) -> None:
        order = self._cited(entry, "incident.propose")
        if order is not None and (order["digest"], order["details"]["what"]) != (body["digest"], body["what"]):
            self._say("I7", entry, "proposes something else than what was ordered")
        self.cases[body["incident"]].proposed = (body["what"], body["value"], body["person"], body["digest"])

    def _incident_merged(self, entry: Json, body: Json) -> None:
        case, into = self.cases[body["incident"]], self.cases.get(body["into"])
        if into is None or into is case or into.state in OVER:
            self._say("D30", entry, f"merges into incident {body['into']}, where nobody works on it")
            return
        self._step(entry, case, "MERGED")
        into.severity = _worse(into.severity, case.severity)
        into.missed |= case.missed

    # -- what people do about it

    def _acknowledged(self, entry: Json, body: Json) -> None:
        self.cases[body["incident"]].marks.add("ACKNOWLEDGED")
        self.cases[body["incident"]].takers.add(body["person"])

    def _incident_noted(self, entry: Json, body: Json) -> None:
        case = self.cases[body["incident"]]
        case.notes += 1
        case.findings += body["sort"] != "note"
        if body["note"] != case.notes or [seq for seq in body["cites"] if seq >= entry["seq"]]:
            self._say("D30", entry, f"is note {body['note']} after {case.notes - 1}, or cites what is not there yet")

    def _incident_task(self, entry: Json, body: Json) -> None:
        case = self.cases[body["incident"]]
        case.tasked += 1
        case.tasks.add(body["task"])
        if body["task"] != case.tasked:
            self._say("D30", entry, f"is task {body['task']} after {case.tasked - 1}")

    def _incident_task_ended(self, entry: Json, body: Json) -> None:
        case = self.cases[body["incident"]]
        if body["task"] not in case.tasks:
            self._say("D30", entry, f"ends task {body['task']}, which is not open")
        case.tasks.discard(body["task"])

    def _objective_missed(self, entry: Json, body: Json) -> None:
        case = self.cases[body["incident"]]
        if body["objective"] in case.missed or micros(entry["at"]) < body["due_us"]:
            self._say("D30", entry, f"says that {body['objective']} was missed, a second time or too early")
        case.missed.add(body["objective"])

    def _change_claimed(self, entry: Json, body: Json) -> None:
        self.cases[body["incident"]].claimed = True

    def _authority_informed(self, entry: Json, body: Json) -> None:
        self.cases[body["incident"]].informed = True

    def _work_left(self, entry: Json, body: Json) -> None:
        self.cases[body["incident"]].left |= set(body["runs"])

    def _work_ended(self, entry: Json, body: Json) -> None:
        case = self.cases[body["incident"]]
        if body["run"] not in case.left:
            self._say("D30", entry, f"ends the work of run {body['run']}, which nobody left or is ended")
        if body["state"] != "taken":
            case.left.discard(body["run"])

    # -- the lock, of I5

    def _hold_placed(self, entry: Json, body: Json) -> None:
        if body["hold"] != len(self.holds) + 1:
            self._say("I5", entry, f"is hold {body['hold']} after {len(self.holds)}")
        self.holds[body["hold"]] = Hold(body["incident"])
        if body["incident"] is not None:
            self.cases[body["incident"]].marks.add("HELD")

    def _hold(self, entry: Json, body: Json) -> Hold | None:
        hold = self.holds.get(body["hold"])
        if hold is None or (hold.lifted and entry["kind"] != "directory.preserved"):
            self._say("I5", entry, f"is about hold {body['hold']}, which does not stand")
            return None
        return hold

    def _hold_proposed(self, entry: Json, body: Json) -> None:
        hold = self._hold(entry, body)
        if hold is not None:
            hold.proposal = (body["person"], body["digest"])

    def _hold_lifted(self, entry: Json, body: Json) -> None:
        hold = self._hold(entry, body)
        if hold is None:
            return
        if hold.proposal is None or hold.proposal[1] != body["digest"] or hold.proposal[0] == body["person"]:
            self._say("I5", entry, f"lifts hold {body['hold']} by one person, or by no proposal that stands")
        case = None if hold.incident is None else self.cases[hold.incident]
        if case is not None:
            self._locked(entry, case)
        hold.lifted = True

    def _directory_preserved(self, entry: Json, body: Json) -> None:
        hold = self._hold(entry, body)
        if hold is not None and body["name"] in hold.preserved:
            self._say("I5", entry, f"keeps {body['name']} a second time for hold {body['hold']}")
        elif hold is not None:
            hold.preserved.add(body["name"])

    def _locked(self, entry: Json, case: Case) -> None:
        """Lock before fix: what permits waits until an authority was told of a serious case."""
        if case.serious and not case.informed and case.state not in OVER:
            self._say("I5", entry, "permits while a serious case waits for its authority to be informed")

    # -- stopping, which is I8

    def _decision(self, entry: Json, body: Json) -> None:
        if body["verdict"] == "ALLOW" or body.get("governed") is False:
            until = self._until.get(entry["agent"])
            if until is not None and micros(entry["at"]) >= until:
                self._say("I7", entry, f"allows {entry['agent']}, whose time by one person's word is over")
            self._running.setdefault(entry["agent"], set()).add(entry["seq"])

    def _outcome(self, entry: Json, body: Json) -> None:
        self._settled.add(body["decision"])
        self._running.get(entry["agent"], set()).discard(body["decision"])

    def _interrupt_ordered(self, entry: Json, body: Json) -> None:
        self._ordered |= set(body["actions"])
        if body["incident"] is not None:
            case = self.cases[body["incident"]]
            case.marks.add("ORDERED")
            case.waiting |= set(body["actions"])

    def _interrupt_confirmed(self, entry: Json, body: Json) -> None:
        for case in self.cases.values():
            case.waiting.discard(body["action"])
            case.failed.discard(body["action"])

    def _interrupt_unconfirmed(self, entry: Json, body: Json) -> None:
        for case in self.cases.values():
            if body["action"] in case.waiting:
                case.waiting.discard(body["action"])
                case.failed.add(body["action"])
                case.marks.add("CONTAINMENT_FAILED")

    def _scope_stopped(self, entry: Json, body: Json) -> None:
        self._stopped.add(body["scope"])

    def _authority_changed(self, entry: Json, body: Json) -> None:
        agent = entry["agent"]
        was = self._authority.get(agent, "REGISTERED")
        if body["was"] != was or body["now"] not in AUTHORITY[was]:
            self._say("D30", entry, f"takes {agent} from {body['was']} to {body['now']}; it was {was}")
        self._authority[agent] = body["now"]
        if body["now"] in ("SUSPENDED", "ACTIVE", "RETIRED"):
            self._until.pop(agent, None)
        number = body["incident"]
        if body["now"] == "SUSPENDED":
            left = self._running.get(agent, set()) - self._ordered
            if left:
                self._owe(
                    entry, f"an order to stop {sorted(left)}",
                    lambda later: later["kind"] == "interrupt.ordered"
                    and not left - self._ordered - self._settled - set(later["body"]["actions"]),
                )  # fmt: skip
            if number is not None:
                self.cases[number].marks.add("SUSPENDED")
        if number is not None and body["by"].startswith("person:") and body["now"] in ("SUSPENDED", "RESTRICTED"):
            self.cases[number].stopped_by.add(body["by"].removeprefix("person:"))
        if body["now"] in ("PROBATION", "ACTIVE"):
            self._current[agent] = None

    # -- pages, of R10

    def _page_queued(self, entry: Json, body: Json) -> None:
        if body["page"] != len(self._pages) + 1:
            self._say("D30", entry, f"is page {body['page']} after {len(self._pages)}")
        self._pages[body["page"]] = {"incident": body["incident"], "attempts": 0, "accepted": False}

    def _page_attempted(self, entry: Json, body: Json) -> None:
        page = self._pages.get(body["page"])
        if page is None or page["accepted"] or body["attempt"] != page["attempts"] + 1:
            self._say("D30", entry, f"is attempt {body['attempt']} of page {body['page']}, which was {page}")
            return
        page["attempts"], page["accepted"] = body["attempt"], body["accepted"]
        if body["accepted"] and page["incident"] is not None:
            self.cases[page["incident"]].marks.add("NOTIFIED")

    # -- giving back, of I7

    def _release_proposed(self, entry: Json, body: Json) -> None:
        case = self.cases[body["incident"]]
        case.release, case.notified = (body["person"], body["digest"]), body.get("notified", "")

    def _release_approved(self, entry: Json, body: Json) -> None:
        case, by = self.cases[body["incident"]], body["person"]
        if case.release is None or case.release[1] != body["digest"] or case.release[0] == by:
            self._say("I7", entry, f"gives authority back by {by} alone, or by no proposal that stands")
        if by in case.stopped_by:
            self._say("I7", entry, f"gives back by {by}, who had stopped the agent")
        # Where no mail is set up nobody can be notified by it: that somebody took the case stands for it.
        stands = case.notified in case.takers and not self._mail
        missing = [mark for mark in NEEDED if mark not in case.marks and not (mark == "NOTIFIED" and stands)]
        if self._authority.get(str(case.agent)) == "SUSPENDED" and (missing or case.waiting):
            self._say("D30", entry, f"gives back before its containment is complete: {missing} {sorted(case.waiting)}")
        self._locked(entry, case)
        case.release = None

    def _release_broken(self, entry: Json, body: Json) -> None:
        """One alone: not who stopped it, for a while, and others hear of it in the same commit."""
        case = self.cases[body["incident"]]
        if body["person"] in case.stopped_by:
            self._say("I7", entry, f"gives back by {body['person']}, who had stopped the agent")
        if body["until_us"] <= micros(entry["at"]):
            self._say("I7", entry, "gives back for no time at all")
        self._locked(entry, case)
        self._until[entry["agent"]] = body["until_us"]
        case.broken = entry["seq"], body["person"]
        self._owe(entry, "a page to others", lambda later: later["body"].get("about") == "break-glass")

    def _release_reviewed(self, entry: Json, body: Json) -> None:
        case = self.cases[body["incident"]]
        if case.broken is None or case.broken[0] != body["broken"] or case.broken[1] == body["person"]:
            self._say("I7", entry, f"reviews {body['broken']} by who broke the glass, or a second time")
        case.broken = None

    # -- the end

    def close(self, at_rest: bool) -> None:
        self._unpaid(self._owed)
        for number, case in self.cases.items():
            if at_rest and case.waiting:
                self._tell(f"I8: incident {number} waits for {sorted(case.waiting)}, and nothing runs any more")


def _worse(one: str, other: str) -> str:
    return max(one, other, key=SEVERITIES.index)
