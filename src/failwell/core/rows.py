"""The rows of the projections: what the node must know at once, derived from entries alone.

One table per noun; a row is canonical JSON of the struct here. Rows are frozen: a change replaces the row, so that
what is written to storage is exactly what the fold computed (`core.state`).
"""

from __future__ import annotations

from typing import Any

import msgspec


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Root of all projection rows."""


class Workspace(Row, frozen=True, kw_only=True):
    """The one row about the whole.

    `withheld_us`: forward jumps of the wall clock that freed no limit window (D7). `failed`: parts whose newest health
    entry says so; while there are any, every verdict is a denial. `origins`: the log's names, each with the entry from
    which it holds; a log that was continued has more than one. `log_key`: the vkey that heads are signed by now.
    """

    mode: str
    origins: tuple[tuple[int, str], ...]
    log_key: str
    configuration: str
    configured: int | None
    withheld_us: int
    failed: tuple[str, ...]


class Head(Row, frozen=True, kw_only=True):
    """Newest entry of an agent (registered or not): how many there are, and the last one's seq and leaf."""

    count: int
    last: int
    leaf: str


class OrderRow(Row, frozen=True, kw_only=True):
    """A used order: its nonce is never accepted again."""

    person: str
    order: str
    nonce: str


class Person(Row, frozen=True, kw_only=True):
    key: str
    roles: tuple[str, ...]
    enrolled: int


class Host(Row, frozen=True, kw_only=True):
    key: str
    agents: tuple[str, ...]
    registered: int


class Agent(Row, frozen=True, kw_only=True):
    """`onsets`: by tool, what the first signal was about that no incident answers for, and when the last one was."""

    name: str
    owner: str
    key: str | None
    authority: str
    epoch: int
    contract: str | None
    posture: int | None
    incident: int | None
    registered: int
    suspended_by: str | None
    onsets: dict[str, tuple[int, int]]


class ContractRow(Row, frozen=True, kw_only=True):
    id: str
    version: int
    agent: str
    owner: str
    approver: str
    document: str
    mode: str
    adopted: int


class Run(Row, frozen=True, kw_only=True):
    agent: str
    host: str | None
    principal: str | None
    request: str
    open: bool


class Action(Row, frozen=True, kw_only=True):
    """A decided action. `state` is denied, escalated, open, or the outcome's state; `held` the limits it reserved.

    `limit_us` is the ledger time that limit windows count by (`State.limit_us`).
    """

    agent: str
    run: int | None
    call: str
    tool: str
    verdict: str
    state: str
    limit_us: int
    customer: str | None
    held: tuple[tuple[str, str | None], ...]


class SignalRow(Row, frozen=True, kw_only=True):
    agent: str
    signal: str
    at_us: int
    about: int
    incident: int | None


class Incident(Row, frozen=True, kw_only=True):
    """`marks` are the containment marks with the entry that made each (D30); `waiting` the actions not yet ended.

    `stopped_by` are the persons who ordered this stop: they do not approve the release (R23).
    """

    kind: str
    severity: str
    state: str
    title: str
    agent: str
    opened: int
    onset_first: int
    onset_last: int
    response: tuple[str, ...]
    marks: dict[str, int]
    waiting: tuple[int, ...]
    signals: int
    proposed_by: str | None
    proposal: str | None
    stopped_by: tuple[str, ...]


class Hold(Row, frozen=True, kw_only=True):
    agent: str
    incident: int | None
    first: int
    last: int
    why: str


class WitnessRow(Row, frozen=True, kw_only=True):
    """How far a tool side's log was read."""

    cursor: str
    effects: int


class Page(Row, frozen=True, kw_only=True):
    """An outbox row: `state` is queued, accepted or failed; `due_us` when it is tried next."""

    incident: int | None
    person: str
    channel: str
    step: int
    state: str
    attempts: int
    due_us: int
    why: str


#: table name -> (row type, whether the key is an integer). The order is the order of rebuild and of verification.
TABLES: dict[str, tuple[type[Row], bool]] = {
    "workspace": (Workspace, True),
    "head": (Head, False),
    "order": (OrderRow, True),
    "person": (Person, False),
    "host": (Host, False),
    "agent": (Agent, False),
    "contract": (ContractRow, False),
    "run": (Run, True),
    "action": (Action, True),
    "signal": (SignalRow, True),
    "incident": (Incident, True),
    "hold": (Hold, True),
    "page": (Page, True),
    "witness": (WitnessRow, False),
}

_ENCODER = msgspec.json.Encoder(order="sorted")
_DECODERS: dict[str, msgspec.json.Decoder[Any]] = {
    name: msgspec.json.Decoder(kind) for name, (kind, _) in TABLES.items()
}


def encode_row(row: Row) -> str:
    """Canonical JSON text of a row."""
    return _ENCODER.encode(row).decode()


def decode_row(table: str, text: str | bytes) -> Any:
    """The row of `table` that `text` spells; msgspec.ValidationError when it is not one."""
    return _DECODERS[table].decode(text)
