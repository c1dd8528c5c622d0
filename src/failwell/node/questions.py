"""Questions: what clients may read (D1). Nothing here changes anything.

State is looked at in the writer's turn, entries are read from the store outside it; both are true at the moment of
asking.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from failwell.core import kinds, rows
from failwell.core.errors import InputError, NotFound
from failwell.core.orders import POWERS
from failwell.core.records import Entry, decode_entry
from failwell.core.sight import digest_of, sight, sight_digest
from failwell.core.state import State
from failwell.ledger.jobs import Plan, Turn
from failwell.node import channels, settings, watch
from failwell.node.action_answers import ActionAnswers
from failwell.node.coverage_answers import CoverageAnswers
from failwell.node.digest_answers import DigestAnswers
from failwell.node.escalation_answers import EscalationAnswers
from failwell.node.feed_answers import FeedAnswers
from failwell.node.hold_answers import HoldAnswers
from failwell.node.impact_answers import ImpactAnswers
from failwell.node.incident_answers import IncidentAnswers
from failwell.node.recorded import Recorded
from failwell.node.run_answers import told_run
from failwell.node.stop_answers import StopAnswers
from failwell.node.ticket_answers import TicketAnswers
from failwell.node.work_answers import WorkAnswers
from failwell.response.containments import Containment, Report

if TYPE_CHECKING:
    from failwell.node.service import Node

PAGE = 2000


class Questions:
    """Answers by name; `about` in `NAMES` is all there is to ask."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.tickets = TicketAnswers(node)
        self.actions = ActionAnswers(node)
        self.stops = StopAnswers(node)
        self.holds = HoldAnswers(node)
        self.recorded = Recorded(node)
        self.incidents = IncidentAnswers(node)
        self.impacts = ImpactAnswers(node)
        self.escalations = EscalationAnswers(node)
        digests = DigestAnswers(node)
        feeds = FeedAnswers(node)
        coverage = CoverageAnswers(node)
        self._answers: dict[str, Callable[[Any], Any]] = {
            "status": self._status,
            "agents": lambda key: self._rows("agent"),
            "persons": lambda key: self._rows("person"),
            "hosts": lambda key: self._rows("host"),
            "floors": lambda key: self._rows("floor"),
            "clocks": lambda key: self._rows("clock"),
            "holds": self.holds.listed,
            "hold": self.holds.told,
            "incidents": self.incidents.listed,
            "digest": digests.told,
            "digests": digests.listed,
            "feed": feeds.told,
            "feeds": feeds.listed,
            "escalation": self.escalations.told,
            "escalations": self.escalations.listed,
            "channels": self._channels,
            "escalation-lint": coverage.linted,
            "teams": coverage.teams,
            "team": coverage.team,
            "pages": lambda key: self._rows("page"),
            "tickets": self.tickets.listed,
            "ticket": self.tickets.state,
            "evidence": self.tickets.evidence,
            "stops": self.stops.listed,
            "stop": self.stops.told,
            "custody": lambda key: self._rows("custody"),
            "secrets": lambda key: node.broker.check(),
            "contract": self._contract,
            "incident": self.incidents.told,
            "work": WorkAnswers(node).told,
            "impact": self.impacts.told,
            "customer-draft": self.impacts.draft,
            "sight": self._sight,
            "entries": self._entries,
            "entry": self._entry,
            "settings": self._settings,
            "checkpoint": self._checkpoint,
            "running": self._running,
            "action": self.actions.told,
            "run": lambda key: told_run(node, key),
            "undoings": self.actions.undoings,
            "permit-keys": node.permits.published,
            "webhook-keys": lambda key: channels.published(node),
            "containment": self._containment,
            "containments": self._containments,
        }

    def answer(self, about: str, key: Any) -> Any:
        """An awaitable answer; InputError for a question that is not known."""
        found = self._answers.get(about)
        if found is None:
            raise InputError(f"there is no question {about!r}", hint=f"Questions: {', '.join(sorted(self._answers))}.")
        return found(key)

    async def look(self, see: Callable[[State], Any]) -> Any:
        """`see(state)` in the writer's turn."""

        def job(turn: Turn) -> Plan[Any]:
            seen = see(turn.state)
            return Plan((), lambda entries: seen)

        return await self._node.writer.submit_async(job)

    # -- answers -----------------------------------------------------------------------------------------------

    async def _status(self, key: Any) -> dict[str, Any]:
        node = self._node

        def see(state: State) -> dict[str, Any]:
            return {
                "origin": state.origin,
                "mode": state.mode,
                "entries": state.size,
                "agents": len(state.agent),
                "suspended": sorted(row.name for row in state.agent.values() if row.authority == "SUSPENDED"),
                "stopped": sorted(scope for scope, row in state.stop.items() if row.closed),
                "not_governed": sorted(
                    row.name for row in state.agent.values() if row.authority == "OBSERVED" or row.detect_only
                ),
                "incidents_open": [
                    number
                    for number, row in state.incident.items()
                    if row.state not in ("CLOSED", "MERGED", "FALSE_ALARM")
                ],
                "unconfirmed": sorted(_unconfirmed(state)),
                "pages_queued": sorted(state.page),
                "undoing": sorted(state.compensation),
                "holds": self.holds.summed(state),
                "configuration": state.configuration,
                "last_at_us": state.last_at_us,
            }

        status: dict[str, Any] = await self.look(see)
        writer = node.writer
        failure = writer.read_only or writer.barred or writer.failure or writer.seals.late()
        newest = writer.seals.newest
        return status | {
            "sealed": 0 if newest is None else newest.size,
            "seal_ms": None if writer.seals.waited_s is None else round(writer.seals.waited_s * 1000, 1),
            "guard": node.workspace.guard_line() if node.workspace.guard.exists() else "",
            "pid": node.pid,
            "workspace": str(node.workspace.path),
            "health": "ok" if failure is None else failure.message,
            "hint": None if failure is None else failure.hint,
            "read_only": writer.read_only is not None,
            "self_test": node.self_test,
            "tested": node.tested.told(),
            "leftovers": {"found": node.leftovers.describe(), "alive": list(node.leftovers.alive())},
            "unproven": node.runner.endings.later.waiting(),
            "separation": node.separation,
            "running": len(node.fence.running()),
            "settings_changed": _settings_changed(node),
            "mail": node.settings.mail is not None,
            "reached": node.duties.asking_back.told,
            "ways": {name: way._asdict() for name, way in list(node.outbox.ways.items())},
            "inbox": node.duties.inbox.failed,
            "http": node.duties.web.told(),
            "interrupt_bound_ms": node.settings.node.interrupt_bound_ms,
        }

    async def _rows(self, table: str) -> dict[str, Any]:
        """All rows of a small table, by key."""
        stored = [(key, rows.decode_row(table, row)) for key, row in self._node.storage.rows(table)]
        return {str(key): msgspec.to_builtins(row) for key, row in stored}

    async def _channels(self, key: Any) -> list[dict[str, Any]]:
        """By which channels people would be asked, and when each was last shown to reach them."""
        return await self._node.duties.asking_back.listed()

    async def _contract(self, key: Any) -> dict[str, Any]:
        """The contract in force for an agent (id or short name)."""

        def see(state: State) -> dict[str, Any]:
            agent = state.agent_named(str(key))
            row = None if agent is None else state.agent[agent]
            if row is None:
                raise NotFound(f"no agent {key} is registered here", hint="failwell agent list")
            if row.contract is None:
                raise NotFound(f"no contract is adopted for {key}", hint="failwell contract adopt FILE")
            return {"digest": row.contract, **msgspec.to_builtins(state.contract[row.contract])}

        found: dict[str, Any] = await self.look(see)
        return found

    async def _sight(self, key: Any) -> dict[str, Any]:
        """What a person must be shown before an order, and the digest to sign."""
        try:
            kind = key["order"]
            details = msgspec.convert(key["details"], POWERS[kind].details, strict=False)
        except (KeyError, TypeError, msgspec.ValidationError) as error:
            raise InputError(f"this is no order to look at: {error}") from error

        def see(state: State) -> dict[str, Any]:
            shown = sight(state, kind, details)
            proposal = None
            if "incident" in shown:
                proposal = state.incident[shown["incident"]["incident"]].proposal
            return {
                "shown": shown,
                "digest": sight_digest(state, kind, details),
                "seen": digest_of(shown),
                "proposal": proposal,
            }

        found: dict[str, Any] = await self.look(see)
        return found

    async def _containments(self, key: Any) -> list[int]:
        """The orders to stop, by entry, newest first: those of incidents, and those of whole scopes."""

        def see(state: State) -> list[int]:
            of_cases = {row.marks["ORDERED"] for row in state.incident.values() if "ORDERED" in row.marks}
            return sorted(of_cases | {row.interrupted for row in state.stop.values()}, reverse=True)

        found: list[int] = await self.look(see)
        return found

    async def _containment(self, key: Any) -> dict[str, Any]:
        """The report of one order to stop, by its entry."""
        return msgspec.to_builtins(await asyncio.to_thread(self._report, int(key)))  # type: ignore[no-any-return]

    def _report(self, order: int) -> Containment:
        stored = self._node.storage.entry(order)
        entry = None if stored is None else decode_entry(stored.data)
        if entry is None or not isinstance(entry.body, kinds.InterruptOrdered):
            raise NotFound(f"entry {order} is no order to stop", hint="failwell stop report lists those there are.")
        report = Report()
        wanted = frozenset(entry.body.actions)
        report.take(self.decisions(sorted(wanted)))
        first = order
        while not report.ended(order) and (page := self._node.storage.entries(first, PAGE)):
            entries = [decode_entry(row.data) for row in page]
            report.take(one for one in entries if one.seq == order or _speaks_of(one.body, order, wanted))
            first = page[-1].seq + 1
        return report.containments()[0]

    def decisions(self, seqs: list[int]) -> list[Entry[Any]]:
        """These decisions, decoded."""
        stored = [self._node.storage.entry(seq) for seq in seqs]
        return [decode_entry(row.data) for row in stored if row is not None]

    def names(self, wanted: set[str | None]) -> dict[str, str]:
        """What the wanted tokens stand for."""
        vault = self._node.vault
        return {row.token: vault.reveal(row)[1] for row in self._node.storage.tokens() if row.token in wanted}

    def read(self, first: int) -> list[Entry[Any]]:
        """Entries from `first` to the end, decoded, a page at a time."""
        found: list[Entry[Any]] = []
        page = self._node.storage.entries(first, PAGE)
        while page:
            found += [decode_entry(stored.data) for stored in page]
            page = self._node.storage.entries(page[-1].seq + 1, PAGE)
        return found

    async def _entries(self, key: Any) -> list[dict[str, Any]]:
        """Up to 1,000 entries from `key` on."""
        page = self._node.storage.entries(int(key or 0), 1000)
        return [msgspec.to_builtins(decode_entry(stored.data)) for stored in page]

    async def _entry(self, key: Any) -> dict[str, Any]:
        """One entry, decoded."""
        stored = self._node.storage.entry(int(key))
        if stored is None:
            raise NotFound(f"there is no entry {key}")
        return msgspec.to_builtins(decode_entry(stored.data))  # type: ignore[no-any-return]

    async def _settings(self, key: Any) -> dict[str, str]:
        """The settings in force: the text of the newest `config` entry, and its digest."""
        text = settings.settings_text(self._node.settings)
        return {"text": text, "digest": watch.digest(text)}

    async def _checkpoint(self, key: Any) -> str:
        newest = self._node.writer.seals.newest
        return "" if newest is None else newest.note.decode()

    async def _running(self, key: Any) -> list[dict[str, Any]]:
        return [
            {"action": item.action, "agent": item.agent, "executor": item.executor, "ordered": item.ordered}
            for item in self._node.fence.running()
        ]


def _settings_changed(node: Node) -> bool:
    """Whether `failwell.toml` says something else than the settings in force."""
    try:
        return settings.read_settings(node.workspace.path) != node.settings
    except InputError:
        return True


def _unconfirmed(state: State) -> set[int]:
    """The actions of which nobody could say that they stopped, as long as two persons did not give back what they are
    held for: the agent that is suspended, or the scope that is stopped.
    """
    held = {row.incident for row in state.agent.values() if row.authority == "SUSPENDED"}
    cases = (row.failed for number, row in state.incident.items() if number in held)
    scopes = (row.failed for row in state.stop.values() if row.closed)
    return {action for failed in (*cases, *scopes) for action in failed}


def _speaks_of(body: Any, order: int, actions: frozenset[int]) -> bool:
    if isinstance(body, kinds.ContainmentMeasured):
        return body.order == order
    return getattr(body, "action", None) in actions or getattr(body, "decision", None) in actions
