"""The tables of the projections as they lie in memory: rows by key (`core.rows.TABLES`), changed by folds alone."""

from __future__ import annotations

from failwell.core import rows


class Tables:
    """One attribute a table, named as it is stored."""

    def __init__(self) -> None:
        self.workspace: dict[int, rows.Workspace] = {}
        self.head: dict[str, rows.Head] = {}
        self.order: dict[int, rows.OrderRow] = {}
        self.person: dict[str, rows.Person] = {}
        self.host: dict[str, rows.Host] = {}
        self.agent: dict[str, rows.Agent] = {}
        self.contract: dict[str, rows.ContractRow] = {}
        self.floor: dict[str, rows.FloorRow] = {}
        self.run: dict[int, rows.Run] = {}
        self.action: dict[int, rows.Action] = {}
        self.signal: dict[int, rows.SignalRow] = {}
        self.incident: dict[int, rows.Incident] = {}
        self.hold: dict[int, rows.Hold] = {}
        self.page: dict[int, rows.Page] = {}
        self.witness: dict[str, rows.WitnessRow] = {}
        self.ticket: dict[int, rows.Ticket] = {}
        #: Looks at the world that are still owed.
        self.check: dict[str, rows.Check] = {}
        self.stop: dict[str, rows.Stop] = {}
        self.compensation: dict[int, rows.Compensation] = {}
        self.custody: dict[str, rows.Custody] = {}
        self.customer: dict[str, rows.Customer] = {}
        self.work: dict[str, rows.Work] = {}
        self.escalation: dict[int, rows.Escalation] = {}
        self.cover: dict[int, rows.Cover] = {}
        self.on_call: dict[str, rows.OnCall] = {}
        self.channel: dict[str, rows.Channel] = {}
        self.digest: dict[int, rows.Digest] = {}
        self.clock: dict[str, rows.RunningClock] = {}
        self.feed: dict[str, rows.Feed] = {}
