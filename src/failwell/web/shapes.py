"""What is asked and answered over HTTP, one typed record each: the API's description is made from these alone.

Nothing else leaves: a field that the node tells and that is not named here stays inside.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

import msgspec

from failwell.web.bodies import MAX_NUMBER, RawObject

T = TypeVar("T", bound=msgspec.Struct)

Number = Annotated[int, msgspec.Meta(ge=0, le=MAX_NUMBER)]
Digest = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
CallId = Annotated[str, msgspec.Meta(pattern="^[ -~]{1,128}$")]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
Words = Annotated[str, msgspec.Meta(max_length=65_536)]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=60)]
Verdict3 = Literal["ALLOW", "DENY", "ESCALATE"]


class Shape(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Root of all of them."""


class Nothing(Shape, frozen=True):
    """No query, or an answer that says no more than its status."""


# ---- what is asked -------------------------------------------------------------------------------------------


class OpenRun(Shape, frozen=True, kw_only=True):
    """One task. A host names the `agent` that works, on behalf of which `principal`, because of which `request`; an
    agent opens its own, or hands the work of an open run of it (`parent`) over to another one.

    `model`, `prompt` and `tool_schemas` are SHA-256 digests of what the agent works with.
    """

    agent: Name | None = None
    principal: Annotated[str, msgspec.Meta(min_length=1, max_length=4096)] | None = None
    request: Words | None = None
    parent: Number | None = None
    model: Digest | None = None
    prompt: Digest | None = None
    tool_schemas: Digest | None = None


class CloseRun(Shape, frozen=True, kw_only=True):
    """Why a run is over."""

    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=200)] = "done"


class Propose(Shape, frozen=True, kw_only=True):
    """One action. `call` is the caller's own id for it within the run: the same call made again is answered with what
    was decided and what came of it, and nothing runs twice. `ticket` is the approved one that it rests on.
    """

    run: Number
    call: CallId
    tool: Name
    arguments: RawObject
    reason: Words | None = None
    ticket: Number | None = None


class ProposePermit(Propose, frozen=True, kw_only=True):
    """An action that the tool server `audience` executes, which checks the permit."""

    audience: Annotated[str, msgspec.Meta(pattern="^[!-~]{1,200}$")]


class ProposeBegin(Propose, frozen=True, kw_only=True):
    """An action that the caller executes itself, and is asked to stop over the event stream `stream`."""

    stream: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$")]


class Settle(Shape, frozen=True, kw_only=True):
    """The caller's own word on how its action ended; `result` is JSON text or plain text."""

    state: Literal["completed", "failed", "interrupted", "running"]
    result: Annotated[str, msgspec.Meta(max_length=4_194_304)] | None = None
    why: Annotated[str, msgspec.Meta(max_length=2000)] | None = None


class Explain(Shape, frozen=True, kw_only=True):
    """Why the agent did it, said afterwards."""

    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=65_536)]


class SignedOrder(Shape, frozen=True, kw_only=True):
    """An order's canonical text, the name of the key that signed it, and the signature in base64."""

    order: Annotated[str, msgspec.Meta(max_length=32_768)]
    key: Annotated[str, msgspec.Meta(max_length=64)]
    signature: Annotated[str, msgspec.Meta(max_length=128)]


class GiveOrders(Shape, frozen=True, kw_only=True):
    """One order, or the two that put a contract or a floor in force, with what they are about (`document`)."""

    orders: Annotated[tuple[SignedOrder, ...], msgspec.Meta(min_length=1, max_length=2)]
    document: Annotated[str, msgspec.Meta(max_length=1_048_576)] | None = None
    contact: Annotated[str, msgspec.Meta(max_length=320)] | None = None
    salt: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$")] | None = None
    code: Annotated[str, msgspec.Meta(max_length=64)] | None = None


class AskSight(Shape, frozen=True, kw_only=True):
    """What an order of kind `order` would be about."""

    order: Annotated[str, msgspec.Meta(max_length=64)]
    details: dict[str, Any]


class TicketsQuery(Shape, frozen=True, kw_only=True):
    """`live`: only those that can still be answered or used."""

    live: bool = True


class TicketQuery(Shape, frozen=True, kw_only=True):
    """`wait_s`: answered once somebody has answered the ticket or its time is over, at the latest after so long."""

    wait_s: Seconds = 0


# ---- what is answered ----------------------------------------------------------------------------------------


class About(Shape, frozen=True, kw_only=True):
    """What answers here: its release, the record that it keeps, and the node's name for as long as it runs."""

    product: str
    version: str
    api: str
    origin: str
    node: str
    protocol: int


class Health(Shape, frozen=True, kw_only=True):
    """One word: `ok`, or `failed` where nothing is permitted."""

    health: Literal["ok", "failed"]


class Agent(Shape, frozen=True, kw_only=True):
    """An agent as it stands; `agent` is its full name, `contract` the digest of the one in force."""

    agent: str
    name: str
    owner: str
    authority: str
    epoch: int
    contract: str | None
    incident: int | None
    groups: tuple[str, ...]
    detect_only: bool


class Run(Shape, frozen=True, kw_only=True):
    """A run, with where it is known from on whose behalf it is and what was asked for."""

    run: Number
    agent: str
    host: str | None
    principal_provenance: str
    request_provenance: str
    parent: Number | None
    chain: tuple[str, ...]
    open: bool


class Opened(Shape, frozen=True, kw_only=True):
    """The run's number, which is that of its entry."""

    run: Number


class Recorded(Shape, frozen=True, kw_only=True):
    """The entry that holds it."""

    entry: Number


class Verdict(Shape, frozen=True, kw_only=True):
    """A decided action: ALLOW, DENY or ESCALATE, by which clauses; `entry` is its number in the record.

    `repeated`: this call was decided before, nothing runs for it again, and `state` is what came of it. `ticket` is the
    question that a person answers. `governed` false: the agent is OBSERVED, and the action runs whatever the verdict.
    """

    verdict: Verdict3
    entry: Number
    clauses: tuple[str, ...]
    because: str
    hint: str | None
    ticket: Number | None
    repeated: bool
    state: str
    governed: bool
    irreversible: bool


class Outcome(Shape, frozen=True, kw_only=True):
    """What came of it: `result` is the JSON value that the tool gave, else its text; `output` its very bytes (base64).

    `truncated`: it gave more than is kept. `erased`: why the result is not there any more.
    """

    state: str
    entry: Number
    result: Any
    output: str
    truncated: bool
    exit_code: int | None
    why: str | None
    erased: str | None


class Decided(Shape, frozen=True, kw_only=True):
    """The verdict; for a call that was made before, also its outcome, where it has ended."""

    verdict: Verdict
    outcome: Outcome | None


class Executed(Shape, frozen=True, kw_only=True):
    """An action that was started, and what came of it. Only `completed` means that it was done."""

    verdict: Verdict
    outcome: Outcome


class Permit(Shape, frozen=True, kw_only=True):
    """Leave for one call of one tool server; `token` goes along with it."""

    verdict: Verdict
    token: str
    audience: str
    expires: str
    entry: Number


class Action(Shape, frozen=True, kw_only=True):
    """An action as the record has it. `arguments` is the commitment to what it was decided on, `outcome` the entry by
    which it ended, `result` what its tool gave (text).
    """

    action: Number
    at: str
    agent: str
    tool: str
    verdict: str
    state: str
    contract: str | None
    arguments: str
    outcome: Number | None
    why: str | None
    result: str | None


class Ticket(Shape, frozen=True, kw_only=True):
    """A question for a person, as it stands: open, approved, used, denied or expired."""

    ticket: Number
    state: str
    agent: str
    name: str
    tool: str
    clauses: tuple[str, ...]
    asked: tuple[str, ...]
    expires_at: str
    person: str | None
    used_by: Number | None


class Incident(Shape, frozen=True, kw_only=True):
    """A case, in short; GET it by its number for all that is known of it. `happened` is its `title` in words.

    `agent` is empty while nobody knows which it was. `holder` has it, or had it where people are `asking` somebody to
    take it; `missed` are objectives not met in time.
    """

    incident: Number
    kind: str
    agent: str
    name: str
    title: str
    happened: str
    severity: str
    state: str
    holder: str | None
    asking: bool
    missed: tuple[str, ...]
    merged_into: Number | None


class Sight(Shape, frozen=True, kw_only=True):
    """What a person sees before they sign (`shown`), and the digest that the order names (`digest`)."""

    shown: dict[str, Any]
    digest: str
    seen: str
    proposal: str | None


class Given(Shape, frozen=True, kw_only=True):
    """An order that was carried out, and what the node said of it: mostly the entry that it left."""

    answer: Any


class Left(Shape, frozen=True, kw_only=True):
    """A stop that the node did not confirm: it lies in the workspace for it, and `sent` running tools were told."""

    confirmed: Literal[False]
    why: str
    sent: int


class State(Shape, frozen=True, kw_only=True):
    """The workspace as it stands."""

    origin: str
    mode: str
    entries: int
    sealed: int
    health: str
    hint: str | None
    agents: int
    suspended: tuple[str, ...]
    stopped: tuple[str, ...]
    not_governed: tuple[str, ...]
    incidents_open: tuple[int, ...]
    unconfirmed: tuple[int, ...]
    running: int
    read_only: bool
    separation: str
    settings_changed: bool


def take(kind: type[T], told: dict[str, Any], **more: Any) -> T:
    """A record of `kind` from what the node told; fields that it does not have stay inside."""
    found = {name: told[name] for name in kind.__struct_fields__ if name in told}
    return msgspec.convert({**found, **more}, kind)
