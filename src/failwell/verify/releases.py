"""Authority given back, held against what had to be so: who, when, of what, and no longer than it was given (R23).

Whoever keeps the record can write none of it without the persons' keys (`verify.powers`). Here it is asked whether
those persons could give it back: whether they were two, whether the case still stood as it was proposed, whether what
one alone gave back went on after its time.
"""

from __future__ import annotations

from typing import Any

from failwell.core import kinds, orders
from failwell.core.errors import FailwellError, Refused
from failwell.core.incidents import binding, conditions, probation
from failwell.core.instants import parse_at
from failwell.core.records import Body, Entry
from failwell.core.state import State
from failwell.verify import standing

NEEDED: dict[type[Body], tuple[frozenset[str], ...]] = {
    kinds.ReleaseProposed2: (frozenset({"release.propose"}),),
    kinds.ReleaseApproved2: (frozenset({"release.approve"}),),
    kinds.ReleaseBroken: (frozenset({"release.break"}),),
    kinds.ReleaseReviewed: (frozenset({"release.review"}),),
}
#: Kinds as releases before these rules wrote them.
_EARLIER = (kinds.ReleaseProposed, kinds.ReleaseApproved)


class GivenBack:
    """See `verify.conduct.Rule`: takes the entries in order, each before it is folded."""

    code = "release"

    def __init__(self) -> None:
        self._at = ""
        self._orders: dict[str, orders.Order[Any]] = {}
        #: (agent, authority, by, incident, why) that the open commit gives back.
        self._gives: tuple[str, str, str, int, str] | None = None

    def fault(self, entry: Entry[Any], state: State) -> str | None:
        """What is wrong with an entry; None if nothing."""
        if entry.at != self._at:  # one commit has one ledger time
            self._at, self._orders, self._gives = entry.at, {}, None
        body = entry.body
        if isinstance(body, kinds.Order):
            self._note(body)
            return None
        if isinstance(body, kinds.Decision):
            return _late(entry, body, state)
        if isinstance(body, kinds.AuthorityChanged):
            return self._changed(entry, body, state)
        if isinstance(body, kinds.PersonEnrolled):
            return self._enrolled(entry, body)
        if type(body) in _EARLIER and state.workspace[1].rules >= 2:
            # Attack: a later release in the words of an earlier one, which was bound to less.
            return "it is of an earlier version than the rules in force"
        if type(body) in NEEDED:
            return self._release(entry, body, state)
        if isinstance(body, kinds.ReleaseOver) and (entry.actor, entry.blob) != ("node", None):
            return "no node says that this release is over"
        return None

    def _note(self, body: kinds.Order) -> None:
        try:
            self._orders[body.order] = orders.parse_order(body.text)
        except FailwellError:
            return  # found where its signature is held against its text

    def _enrolled(self, entry: Entry[Any], body: kinds.PersonEnrolled) -> str | None:
        order = self._orders.get("person.enrol") or self._orders.get("init")
        if order is None or entry.actor == f"person:{order.person}":
            return None
        return f"{body.person} was enrolled by {order.person}, and it names another one"

    def _release(self, entry: Entry[Any], body: Any, state: State) -> str | None:
        (power,) = NEEDED[type(body)][0]
        order, case = self._orders.get(power), state.incident.get(body.incident)
        if order is None:
            return None  # said by `verify.powers`
        if case is None or case.agent not in state.agent or entry.agent != case.agent:
            return "it is about no incident of this agent"
        if body.person != order.person or order.details.incident != body.incident:
            return "its person or incident is not that of the order"
        try:
            return self._held(entry, body, order, state)
        except Refused as error:
            return error.message

    def _held(self, entry: Entry[Any], body: Any, order: orders.Order[Any], state: State) -> str | None:
        now_us = parse_at(entry.at)
        match body:
            case kinds.ReleaseProposed2():
                return _proposed(entry, body, order.details, state, now_us)
            case kinds.ReleaseApproved2():
                release = conditions.approvable(state, body.incident, body.person, body.digest, now_us)
                until_us = None if release.probation_us is None else now_us + release.probation_us
                said = (body.authority, body.until_us, body.separated)
                why = f"release of incident {body.incident}"
                self._gives = (str(entry.agent), body.authority, entry.actor, body.incident, why)
                same = said == (release.authority, until_us, conditions.separated(release.user, body.user))
                return None if same else "authority, time or separation are not those of what was proposed"
            case kinds.ReleaseBroken():
                conditions.breakable(state, body.incident, body.person)
                why = f"given back by {body.person} alone for {order.details.minutes} minutes"
                self._gives = (str(entry.agent), "PROBATION", entry.actor, body.incident, why)
                same = body.until_us == now_us + order.details.minutes * orders.MINUTE_US
                same = same and body.why == order.details.reason
                return None if same else "it lasts longer than was ordered, or for another reason"
            case _:
                return _reviewed(body, order.details, state, now_us)

    def _changed(self, entry: Entry[Any], body: kinds.AuthorityChanged, state: State) -> str | None:
        """Nobody acts again but as far as somebody gave it back in this very commit."""
        back = body.now == "PROBATION" or (
            body.now == "ACTIVE"
            and body.was in ("PROBATION", "RESTRICTED")
            and not standing.answered(entry.agent, state)
        )
        if not back or state.workspace[1].rules < 2:
            return None
        if self._gives is None or self._gives[:3] != (entry.agent, body.now, body.by):
            return f"nobody gave it back as {body.now}"
        row = state.agent[str(entry.agent)]
        same = (*self._gives[3:], row.epoch + 1) == (body.incident, body.why, body.epoch)
        return None if same else "it gives back for another incident, reason or epoch than the release does"


def _proposed(
    entry: Entry[Any], body: kinds.ReleaseProposed2, details: orders.ReleasePropose, state: State, now_us: int
) -> str | None:  # fmt: skip
    conditions.releasable(state, body.incident, details.authority, now_us)
    if tuple(ref.seq for ref in entry.refs[1:]) != details.evidence:
        return "it rests on other entries than the order"
    case = state.incident[body.incident]
    lasts_us = conditions.lasts_us(details, case.severity)
    if (body.authority, body.probation_us) != (details.authority, lasts_us):
        return "its authority or time is not that of the order"
    if (body.bound, body.notified) != (binding.bound(state, body.incident), binding.notified(state, case) or ""):
        return "it is bound to another case, or to one that stood otherwise"
    return None


def _reviewed(
    body: kinds.ReleaseReviewed, details: orders.ReleaseReview, state: State, now_us: int
) -> str | None:  # fmt: skip
    if (body.broken, body.upheld, body.words) != (details.broken, details.upheld, details.words):
        return "it is another answer than was ordered"
    conditions.reviewable(state, body.incident, body.person, body.broken, now_us, upheld=body.upheld)
    return None


def _late(entry: Entry[Any], body: kinds.Decision, state: State) -> str | None:
    """Attack: nobody writes down that what one person alone gave back is over."""
    if body.verdict == "DENY":
        return None
    run = None if entry.run is None else state.run.get(entry.run)
    names = (str(entry.agent), *(() if run is None else run.chain))
    late = [name for name in names if name in state.agent and probation.over(state.agent[name], parse_at(entry.at))]
    return f"{body.verdict} after what one person alone gave back to {late[0]} was over" if late else None
