"""That what a person ordered about an incident was done, once: the entry that it leads to stands in its commit.

Attack: the order to mark a case as serious, to hold a record or to write down a finding is recorded as it came, and
what it leads to is left out. Nothing is locked, nobody hears of it, and every signature holds. Or it is done twice.
"""

from __future__ import annotations

from typing import Any

from failwell.core import kinds
from failwell.core.records import Body, Entry
from failwell.core.state import State
from failwell.verify.finding import ORDERS, Findings

#: What each order leads to by itself, whatever else follows from that.
LEADS_TO: dict[str, type[Body]] = {
    "channel.ask": kinds.ChannelAsked,
    "channel.confirm": kinds.ChannelProven,
    "clock.end": kinds.ClockEnded,
    "clock.meet": kinds.ClockMet,
    "clock.start": kinds.ClockStarted,
    "customer.restore": kinds.CustomerRestored,
    "customer.tell": kinds.CustomerTold,
    "digest.receive": kinds.DigestReceived,
    "hold.lift": kinds.HoldLifted,
    "hold.place": kinds.HoldPlaced,
    "hold.propose": kinds.HoldProposed,
    "incident.acknowledge": kinds.Acknowledged,
    "incident.agree": kinds.IncidentChanged,
    "incident.claim": kinds.ChangeClaimed,
    "incident.close": kinds.IncidentChanged,
    "incident.escalate": kinds.EscalationStepped,
    "incident.finish": kinds.IncidentTaskEnded,
    "incident.hand": kinds.IncidentOffered,
    "incident.inform": kinds.AuthorityInformed,
    "incident.merge": kinds.IncidentMerged,
    "incident.note": kinds.IncidentNoted,
    "incident.propose": kinds.IncidentProposed,
    "incident.raise": kinds.IncidentChanged,
    "incident.reopen": kinds.IncidentChanged,
    "incident.report": kinds.Noticed,
    "incident.resolve": kinds.IncidentChanged,
    "incident.serious": kinds.IncidentChanged,
    "incident.task": kinds.IncidentTask,
    "release.approve": kinds.ReleaseApproved2,
    "release.break": kinds.ReleaseBroken,
    "release.propose": kinds.ReleaseProposed2,
    "release.review": kinds.ReleaseReviewed,
    "work.end": kinds.WorkEnded,
}
#: And what it leads to instead, where that has not begun: nobody was asked about the incident yet.
_BEGINS: dict[str, type[Body]] = {"incident.escalate": kinds.EscalationStarted}
_KINDS = frozenset({*LEADS_TO.values(), *_BEGINS.values()})


class Followed:
    """Takes the entries in order. One commit has one ledger time."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._at = ""
        #: The orders of the open commit that nothing has followed from yet, by entry.
        self._open: dict[int, kinds.Order] = {}

    def take(self, entry: Entry[Any], state: State) -> None:
        """Note an order, or what one leads to; `state` is the one that the entry met."""
        if entry.at != self._at:
            self.end()
            self._at = entry.at
        body = entry.body
        if isinstance(body, kinds.Order):
            if body.order in LEADS_TO and state.workspace and state.workspace[1].rules >= 2:
                self._open[entry.seq] = body
        elif type(body) in _KINDS and entry.actor.startswith("person:"):
            self._led(entry, state)
        self._words(entry)

    def end(self) -> None:
        """After the last entry of a commit: no order is left."""
        for seq, order in self._open.items():
            wrong = f"nothing came of the order {order.order} of {order.person}: what it leads to was left out"
            self._findings.add(ORDERS, "order.followed", f"entry {seq}: {wrong}", entry=seq + 1)
        self._open.clear()

    def _led(self, entry: Entry[Any], state: State) -> None:
        order = self._open.get(entry.refs[0].seq) if entry.refs else None
        if order is not None and type(entry.body) in (LEADS_TO[order.order], _BEGINS.get(order.order)):
            del self._open[entry.refs[0].seq]
        elif state.workspace[1].rules >= 2:
            self._say(entry.seq, "it cites no order that led to it, or one that was carried out already")

    def _words(self, entry: Entry[Any]) -> None:
        """What a person wrote lies in the blob: it is there where the entry commits to it, and only there."""
        if type(entry.body) not in _KINDS or not hasattr(entry.body, "words"):
            return
        if (entry.body.words is None) != (entry.blob is None):
            wrong = "it commits to words, and there are none" if entry.blob is None else "nothing commits to its blob"
            self._say(entry.seq, wrong)

    def _say(self, seq: int, wrong: str) -> None:
        self._findings.add(ORDERS, "order.followed", f"entry {seq}: {wrong}", entry=seq)
