"""What people may order about incidents, drawn: the right thing mostly, now and then what they must not (I7)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

from failwell.core import orders
from failwell.core.instants import format_at
from failwell.core.state import State
from failwell.ledger.vault import commitment

PERSONS = ("olga", "piet", "quan", "rita", "sara")
SALT = bytes(16)
CHANGES = ("contract", "tool", "prompt", "training", "other")


@dataclass(frozen=True)
class Drawn:
    """One order that somebody means to give, and the text that it is bound to."""

    person: str
    kind: str
    details: Any
    text: str | None = None


class People:
    """Draws what they order next, from what stands in the record."""

    def __init__(self, rng: Random, state: Callable[[], State]) -> None:
        self._rng = rng
        self._state = state
        self._written = 0
        #: Orders by their digests, so that somebody can agree to them.
        self.digests: dict[str, str] = {}

    def draw(self) -> Drawn | None:
        """Something that somebody orders; None where there is nothing that it could be about."""
        kinds, weights = zip(*_WEIGHTS, strict=True)
        kind = self._rng.choices(kinds, weights)[0]
        made = getattr(self, "_" + kind.replace(".", "_"))()
        if made is None:
            return None
        details, text = made if isinstance(made, tuple) else (made, None)
        return Drawn(self._rng.choice(PERSONS), kind, details, text)

    # -- what somebody who means well does next

    def lead(self) -> Drawn | None:
        """The next step to give back, to lift a stop, to end a case or let go of its lock; None where there is none."""
        return self._rng.choice((self._give_back, self._lift, self._end, self._let_go))()

    def _give_back(self) -> Drawn | None:
        state = self._state()
        for agent, row in state.agent.items():
            if row.authority != "SUSPENDED" or row.incident is None:
                continue
            number, case = row.incident, state.incident[row.incident]
            if "ACKNOWLEDGED" not in case.marks:
                return Drawn("olga", "incident.acknowledge", orders.IncidentAcknowledge(incident=number))
            if case.proposal is None or self._rng.random() < 0.2:
                return Drawn("olga", "release.propose", orders.ReleasePropose(
                    incident=number, agent=agent, authority="PROBATION", conditions="it is mended",
                    evidence=(case.opened,), probation_minutes=self._rng.choice((0, 1, 10)),
                ))  # fmt: skip
            approve = orders.ReleaseApprove(incident=number, agent=agent, proposal=case.proposal)
            return Drawn(self._rng.choice(("piet", "quan", "rita")), "release.approve", approve)
        return None

    def _lift(self) -> Drawn | None:
        for scope, row in self._state().stop.items():
            if row.closed and row.proposal is None:
                details = orders.LiftPropose(scope=scope, epoch=row.epoch, conditions="it is mended", evidence=(3,))
                return Drawn("olga", "stop.propose", details)
            if row.closed and row.proposal is not None:
                agree = orders.LiftApprove(scope=scope, epoch=row.epoch, proposal=str(row.proposal))
                return Drawn(self._rng.choice(("piet", "quan", "rita")), "stop.lift", agree)
        return None

    def _end(self) -> Drawn | None:
        """Take it, find something out, resolve it, propose that nothing is to be changed, and agree."""
        state = self._state()
        live = [
            number for number, row in state.incident.items() if row.state not in ("CLOSED", "MERGED", "FALSE_ALARM")
        ]
        if not live:
            return None
        number = live[0] if self._rng.random() < 0.7 else self._rng.choice(live)
        row = state.incident[number]
        words, text = self._said()
        if row.tasks and (row.state == "LEARNED" or self._rng.random() < 0.4):
            ended = orders.IncidentEndTask(incident=number, task=row.tasks[0].number, state="done", words=None)
            return Drawn(row.tasks[0].person, "incident.finish", ended)
        if row.serious and not row.informed:
            at = format_at(state.last_at_us)
            inform = orders.IncidentInform(incident=number, authority="the authority", at=at, complete=True, words=None)
            return Drawn("olga", "incident.inform", inform)
        if row.state in ("OPEN", "REOPENED"):
            return Drawn("olga", "incident.acknowledge", orders.IncidentAcknowledge(incident=number))
        if row.state == "TRIAGED" or (row.state == "INVESTIGATING" and not row.factors):
            sort = "factor" if row.findings else "finding"
            found = orders.IncidentNote(incident=number, sort=sort, words=words, cites=(row.opened,))
            return Drawn("olga", "incident.note", found, text)
        if row.state == "INVESTIGATING":
            return Drawn("olga", "incident.resolve", orders.IncidentResolve(incident=number, reason="it is mended"))
        if row.state == "LEARNED":
            return Drawn("olga", "incident.close", orders.IncidentClose(incident=number))
        if row.proposed is None:
            none = orders.IncidentPropose(
                incident=number, what="none", value="-", reason="a chance of one in a million"
            )
            return Drawn("olga", "incident.propose", none)
        agree = orders.IncidentAgree(incident=number, proposal=row.proposed.digest)
        return Drawn(self._rng.choice(("piet", "sara")), "incident.agree", agree)

    def _let_go(self) -> Drawn | None:
        """Two lift the hold of a case that is over."""
        state = self._state()
        for number, row in state.hold.items():
            case = None if row.incident is None else state.incident[row.incident]
            if row.lifted is not None or (case is not None and case.state != "CLOSED"):
                continue
            if row.proposal is None:
                return Drawn("olga", "hold.propose", orders.HoldPropose(hold=number, reason="it is over"))
            lift = orders.HoldLift(hold=number, proposal=str(row.proposal))
            return Drawn(self._rng.choice(("piet", "sara")), "hold.lift", lift)
        return None

    # -- what it is about

    def _incident(self) -> int | None:
        """Mostly one that somebody works on, and the newest above all."""
        rows = self._state().incident
        live = [number for number, row in rows.items() if row.state not in ("CLOSED", "MERGED", "FALSE_ALARM")]
        known = list(rows)
        if not known:
            return None
        if live and self._rng.random() < 0.9:
            return live[-1] if self._rng.random() < 0.6 else self._rng.choice(live)
        return self._rng.choice(known)

    def _said(self) -> tuple[str, str]:
        self._written += 1
        text = f"what was seen, number {self._written}"
        return commitment(SALT, text.encode()), text

    def _about(self, make: Callable[[int], Any]) -> Any:
        number = self._incident()
        return None if number is None else make(number)

    def _worded(self, make: Callable[[int, str], Any]) -> Any:
        words, text = self._said()
        return self._about(lambda number: (make(number, words), text))

    def _entries(self) -> tuple[int, ...]:
        size = self._state().size
        return tuple(sorted({self._rng.randrange(size) for _ in range(self._rng.randint(1, 3))}))

    def _agent(self) -> str:
        return self._rng.choice(list(self._state().agent))

    # -- stopping

    def _agent_suspend(self) -> Any:
        return orders.AgentSuspend(agent=self._agent(), reason="it looks wrong")

    def _stop(self) -> Any:
        scope = self._rng.choice(("all", "group:night", "tool:payments.refund", "contract:other-bot"))
        return orders.StopScope(scope=scope, reason="it looks wrong everywhere")

    def _run_stop(self) -> Any:
        runs = list(self._state().run)
        return orders.RunStop(run=self._rng.choice(runs), reason="this run is wrong") if runs else None

    def _action_stop(self) -> Any:
        actions = list(self._state().action)
        return orders.ActionStop(action=self._rng.choice(actions), reason="this one is wrong") if actions else None

    # -- cases

    def _incident_report(self) -> Any:
        words, text = self._said()
        state = self._state()
        aware = format_at(state.last_at_us - self._rng.choice((0, 10**9))) if self._rng.random() < 0.5 else None
        return orders.IncidentReport(
            report=self._rng.choice(("real", "drill", "canary", "external", "near-miss")),
            agent=self._rng.choice((None, self._agent())), severity=self._rng.choice(("minor", "major", "critical")),
            title="a customer called", words=words, aware=aware, first=None, last=None,
        ), text  # fmt: skip

    def _incident_acknowledge(self) -> Any:
        return self._about(lambda number: orders.IncidentAcknowledge(incident=number))

    def _incident_note(self) -> Any:
        sort = self._rng.choice(("note", "finding", "finding", "factor"))
        return self._worded(
            lambda number, words: orders.IncidentNote(
                incident=number, sort=sort, words=words, cites=() if sort == "note" else self._entries()
            )
        )

    def _incident_task(self) -> Any:
        due = format_at(self._state().last_at_us + 3_600_000_000) if self._rng.random() < 0.5 else None
        return self._worded(
            lambda number, words: orders.IncidentGiveTask(
                incident=number, person=self._rng.choice(PERSONS), due=due, words=words
            )
        )

    def _incident_finish(self) -> Any:
        open_tasks = [(number, task.number) for number, row in self._state().incident.items() for task in row.tasks]
        if not open_tasks:
            return None
        number, task = self._rng.choice(open_tasks)
        return orders.IncidentEndTask(
            incident=number, task=task, state=self._rng.choice(("done", "dropped")), words=None
        )

    def _incident_hand(self) -> Any:
        return self._about(
            lambda number: orders.IncidentHand(incident=number, to=self._rng.choice(PERSONS), words=None)
        )

    def _incident_raise(self) -> Any:
        severity = self._rng.choice(("minor", "major", "critical"))
        return self._about(
            lambda number: orders.IncidentRaise(incident=number, severity=severity, reason="it is worse")
        )

    def _incident_serious(self) -> Any:
        return self._about(lambda number: orders.IncidentSerious(incident=number, reason="somebody was hurt"))

    def _incident_inform(self) -> Any:
        at = format_at(self._state().last_at_us)
        return self._about(
            lambda number: orders.IncidentInform(
                incident=number, authority="the market authority", at=at, complete=self._rng.random() < 0.5, words=None
            )
        )

    def _incident_merge(self) -> Any:
        rows = list(self._state().incident)
        if len(rows) < 2:
            return None
        return self._about(
            lambda number: orders.IncidentMerge(incident=number, into=self._rng.choice(rows), reason="the same failure")
        )

    def _incident_reopen(self) -> Any:
        over = [
            number for number, row in self._state().incident.items()
            if row.state in ("RESOLVED", "LEARNED", "CLOSED", "FALSE_ALARM")
        ]  # fmt: skip
        if not over:
            return None
        return orders.IncidentReopen(incident=self._rng.choice(over), reason="it happened again")

    def _incident_resolve(self) -> Any:
        return self._about(lambda number: orders.IncidentResolve(incident=number, reason="nothing is wrong any more"))

    def _incident_propose(self) -> Any:
        what = self._rng.choice(("severity", "false-alarm", "none", "none", "none", "not-serious"))
        value = self._rng.choice(("minor", "major")) if what == "severity" else "-"
        return self._about(
            lambda number: orders.IncidentPropose(incident=number, what=what, value=value, reason="as I see it")
        )

    def _incident_agree(self) -> Any:
        waits = [(number, row.proposed) for number, row in self._state().incident.items() if row.proposed]
        if not waits:
            return None
        number, proposed = self._rng.choice(waits)
        digest = proposed.digest if self._rng.random() < 0.9 else hashlib.sha256(b"stale").hexdigest()
        return orders.IncidentAgree(incident=number, proposal=digest)

    def _incident_claim(self) -> Any:
        return self._worded(
            lambda number, words: orders.IncidentClaim(incident=number, change=self._rng.choice(CHANGES), words=words)
        )

    def _incident_close(self) -> Any:
        return self._about(lambda number: orders.IncidentClose(incident=number))

    # -- customers, work, holds

    def _customers(self) -> Iterator[tuple[int, str, int]]:
        state = self._state()
        for number, row in state.incident.items():
            for seq, action in state.action.items():
                if action.agent == row.agent and action.customer is not None:
                    yield number, action.customer, seq

    def _customer(self, make: Callable[[int, str, int, str], Any]) -> Any:
        found = list(self._customers())
        if not found:
            return None
        number, token, shown = self._rng.choice(found)
        words, text = self._said()
        return make(number, token, shown, words), text

    def _customer_tell(self) -> Any:
        return self._customer(
            lambda number, token, shown, words: orders.CustomerTell(
                incident=number, customer=token, shown=shown, how="phone", words=words
            )
        )

    def _customer_restore(self) -> Any:
        return self._customer(
            lambda number, token, shown, words: orders.CustomerRestore(
                incident=number, customer=token, shown=shown, words=words
            )
        )

    def _work_end(self) -> Any:
        left = list(self._state().work)
        if not left:
            return None
        number, _, run = self._rng.choice(left).partition("/")
        return orders.WorkEnd(
            incident=int(number), run=int(run), state=self._rng.choice(("taken", "finished", "dropped")), words=None
        )

    def _hold_place(self) -> Any:
        agent = self._agent() if self._rng.random() < 0.7 else None
        return orders.HoldPlace(agent=agent, incident=None, reason="counsel asked for it")

    def _hold_propose(self) -> Any:
        standing = [number for number, row in self._state().hold.items() if row.lifted is None]
        return orders.HoldPropose(hold=self._rng.choice(standing), reason="it is over") if standing else None

    def _hold_lift(self) -> Any:
        waits = [(number, row.proposal) for number, row in self._state().hold.items() if row.proposal]
        if not waits:
            return None
        number, digest = self._rng.choice(waits)
        return orders.HoldLift(hold=number, proposal=digest)

    # -- giving back

    def _suspended(self) -> tuple[int, str] | None:
        found = [
            (row.incident, agent) for agent, row in self._state().agent.items()
            if row.incident is not None and row.authority in ("SUSPENDED", "RESTRICTED", "PROBATION")
        ]  # fmt: skip
        return self._rng.choice(found) if found else None

    def _release_propose(self) -> Any:
        found = self._suspended()
        if found is None:
            return None
        authority = "PROBATION" if self._rng.random() < 0.8 else "ACTIVE"
        minutes = self._rng.choice((0, 1, 60)) if authority == "PROBATION" else 0
        return orders.ReleasePropose(
            incident=found[0], agent=found[1], authority=authority, conditions="the template is mended",
            evidence=self._entries(), probation_minutes=minutes,
        )  # fmt: skip

    def _release_approve(self) -> Any:
        waits = [(number, row) for number, row in self._state().incident.items() if row.proposal and row.agent]
        if not waits:
            return None
        number, row = self._rng.choice(waits)
        return orders.ReleaseApprove(incident=number, agent=row.agent, proposal=str(row.proposal))

    def _release_break(self) -> Any:
        found = self._suspended()
        if found is None:
            return None
        return orders.ReleaseBreak(incident=found[0], agent=found[1], reason="the night shift needs it", minutes=30)

    def _release_review(self) -> Any:
        owed = [(number, row.broken) for number, row in self._state().incident.items() if row.broken]
        if not owed:
            return None
        number, broken = self._rng.choice(owed)
        words, text = self._said()
        upheld = self._rng.random() < 0.5
        return orders.ReleaseReview(incident=number, broken=broken, upheld=upheld, words=words), text

    def _stop_propose(self) -> Any:
        closed = [(scope, row.epoch) for scope, row in self._state().stop.items() if row.closed]
        if not closed:
            return None
        scope, epoch = self._rng.choice(closed)
        return orders.LiftPropose(scope=scope, epoch=epoch, conditions="it is mended", evidence=self._entries())

    def _stop_lift(self) -> Any:
        waits = [(scope, row) for scope, row in self._state().stop.items() if row.closed and row.proposal]
        if not waits:
            return None
        scope, row = self._rng.choice(waits)
        return orders.LiftApprove(scope=scope, epoch=row.epoch, proposal=str(row.proposal))


#: Every order about incidents, and how often somebody means to give it.
_WEIGHTS: tuple[tuple[str, float], ...] = (
    ("agent.suspend", 2), ("stop", 0.4), ("run.stop", 0.7), ("action.stop", 0.7), ("incident.report", 1.5),
    ("incident.acknowledge", 5), ("incident.note", 4), ("incident.task", 1.5), ("incident.finish", 2),
    ("incident.hand", 1), ("incident.raise", 1.5), ("incident.serious", 0.6), ("incident.inform", 1),
    ("incident.merge", 0.7), ("incident.reopen", 1), ("incident.resolve", 2.5), ("incident.propose", 3),
    ("incident.agree", 4), ("incident.claim", 1), ("incident.close", 1.5), ("customer.tell", 1),
    ("customer.restore", 1), ("work.end", 2), ("hold.place", 0.7), ("hold.propose", 1.2), ("hold.lift", 2),
    ("release.propose", 6), ("release.approve", 7), ("release.break", 0.7), ("release.review", 2),
    ("stop.propose", 3), ("stop.lift", 4),
)  # fmt: skip
ORDERS = tuple(kind for kind, _ in _WEIGHTS)
