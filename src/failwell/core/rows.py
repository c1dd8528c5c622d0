"""The rows of the projections: what the node must know at once, derived from entries alone.

One table per noun; a row is canonical JSON of the struct here. Rows are frozen: a change replaces the row, so that
what is written to storage is exactly what the fold computed (`core.state`).
"""

from __future__ import annotations

from typing import Any

import msgspec

from failwell.core.kinds import Deadline, PathStep


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Root of all projection rows."""


class Workspace(Row, frozen=True, kw_only=True):
    """The one row about the whole.

    `withheld_us`: forward jumps of the wall clock that freed no limit window (D7). `failed`: parts whose newest health
    entry says so; while there are any, every verdict is a denial. `origins`: the log's names, each with the entry from
    which it holds; a log that was continued has more than one. `log_key`: the vkey that heads are signed by now.
    `issuer`: the entry and digest of the authority whose certificates hold.
    `mail`: whether the settings in force say how mail goes out. `permit_key`: the entry and id of the key that permits
    are signed with. `rules` is the version of the rules by which entries follow from others (`core.react`);
    `objectives` are (severity, objective, microseconds), `keepers` (tool pattern, person) and `preserve` (agent,
    directory) of the settings, `escalation` what they say of how people are told. `zones` are the offsets by which
    local times are told, written down at `zoned` (ledger time).
    """

    mode: str
    origins: tuple[tuple[int, str], ...]
    log_key: str
    configuration: str
    configured: int | None
    mail: bool
    withheld_us: int
    failed: tuple[str, ...]
    issuer: tuple[int, str] | None = None
    permit_key: tuple[int, str] | None = None
    rules: int = 1
    objectives: tuple[tuple[str, str, int], ...] = ()
    keepers: tuple[tuple[str, str], ...] = ()
    preserve: tuple[tuple[str, str], ...] = ()
    escalation: Escalating | None = None
    zones: tuple[tuple[str, tuple[tuple[int, int], ...]], ...] = ()
    zoned: int | None = None


class Escalating(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """What the settings say of how people are told: the house's `path` (a contract's goes before it), its teams and the
    channels that are not a person's own. `zone` is the house's own for `hours` and `quiet` times; `digest` is the time
    of day at which early indicators are told, "" where they are not.
    """

    path: tuple[PathStep, ...] = ()
    teams: tuple[tuple[str, Team], ...] = ()
    channels: tuple[tuple[str, str], ...] = ()
    zone: str = "UTC"
    lasts_us: int = 8 * 3_600_000_000
    progress_us: int = 4 * 3_600_000_000
    quiet: str = ""
    prove_us: int = 30 * 86_400_000_000
    digest: str = ""


class Team(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """Who is on call in turn, in one or more layers: whoever is in any of them."""

    zone: str
    turns: tuple[Turns, ...]


class Turns(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """One layer: its members in order, how often it is the next one's turn (0: all of them always), when the first
    one's began (`since`, local time `YYYY-MM-DDTHH:MM`) and at which hours it is on call at all ("": always).
    """

    members: tuple[str, ...]
    every_us: int
    since: str
    hours: str


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
    """`contact` and `verified` are commitments to the address they enrolled with, and to that they were reached at.

    `asked` is the entry of the newest code that was sent, good until `due_us` (ledger time), `tries` how often one was
    given; `vouched_by` who says that they were reached (None: the code came back); `left` the entry by which they are
    gone, `successor` who follows; `by` who enrolled them.
    """

    key: str
    roles: tuple[str, ...]
    enrolled: int
    contact: str | None
    asked: int | None
    due_us: int
    tries: int
    verified: str | None
    vouched_by: str | None
    left: int | None
    successor: str | None
    by: str | None = None


class Host(Row, frozen=True, kw_only=True):
    key: str
    agents: tuple[str, ...]
    registered: int


class Certificate(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """A certificate of an agent that was in force when its row was last written: until `not_after_us` (ledger time)."""

    serial: str
    key: str
    not_after_us: int
    entry: int


class Agent(Row, frozen=True, kw_only=True):
    """`onsets`: by tool, what the first signal was about that no incident answers for, and when the last one was; by
    the signal of a check, the first act after which the world was not as promised.

    `observed_until_us` is when an OBSERVED agent's time is over. `orphaned`: its owner left, so it is RESTRICTED until
    another one stands for it. `keyed` is the entry of its newest key: certificates before it are void. `asked_us` is
    when people were last written to about a ticket of it. `acted`: by tool, what the newest signal was about that tells
    of more than a denial, since which no near-miss is one. `early`: what was noticed of it without a case of its own
    since its owner was last told, and how often; the first of it at `early_us`.
    """

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
    groups: tuple[str, ...]
    detect_only: bool
    observed_until_us: int | None
    orphaned: bool
    keyed: int | None
    certificates: tuple[Certificate, ...] = ()
    asked_us: int | None
    probation: Probation | None = None
    acted: dict[str, int] = {}
    early: dict[str, int] = {}
    early_us: int = 0


class Probation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """How an agent in PROBATION came by it: the incident it was released from, since when nothing was noticed of it and
    until when at least (ledger time). `broken`: one person alone gave it back, and it ends at `until_us` unless another
    person upheld it. `minor`: when the last minor signals of it were, as far as they count.
    """

    incident: int
    since_us: int
    until_us: int
    broken: int | None
    minor: tuple[int, ...] = ()


class ContractRow(Row, frozen=True, kw_only=True):
    id: str
    version: int
    agent: str
    owner: str
    approver: str
    document: str
    mode: str
    adopted: int


class FloorRow(Row, frozen=True, kw_only=True):
    """A floor in force, by its name."""

    version: int
    digest: str
    scope: str
    document: str
    adopted: int


class Run(Row, frozen=True, kw_only=True):
    """`chain`: the agents that handed the run over, from the first on. `posture` is its own, where it declared one.

    `done`: what a later action may need to stand on, `AGENT LIMIT` or `AGENT LIMIT KEY`, the newest last.
    """

    agent: str
    host: str | None
    principal: str | None
    principal_provenance: str
    principal_kind: str | None
    request: str
    parent: int | None
    chain: tuple[str, ...]
    posture: int | None
    done: tuple[str, ...]
    open: bool


class Held(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """What an action took of one limit: whose limit it is, its id, the key it is kept per, how much, and its kind.

    `measure` gives: the action is one that a sequence needs, and took nothing.
    """

    agent: str
    limit: str
    key: str | None
    adds: int
    measure: str


class Owed(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """A contract (by digest) whose `ensure` checks an action owes once done; `prefix` stands before their names."""

    prefix: str
    contract: str


class Action(Row, frozen=True, kw_only=True, omit_defaults=True):
    """A decided action. `state` is denied, escalated, open, or the outcome's state; `held` the limits it reserved.

    `governed` false: it ran whatever the verdict was (OBSERVED). `ticket` is the one that it used up. `chain` as the
    run's: a stop of any of them stops it.

    `limit_us` is the ledger time that limit windows count by (`State.limit_us`). `cut`: it ended because its node or
    supervisor died, and nobody wanted that (`core.resumed`). `undo` is the digest of the contract by which it
    is undone, `stopped` that somebody tried to stop it on its way, `ended` its outcome's entry (`core.undoing`).
    `ordered`: a person or a rule ordered it to stop by itself, or with its run.
    """

    agent: str
    run: int | None
    call: str
    tool: str
    verdict: str
    state: str
    limit_us: int
    customer: str | None
    governed: bool
    ticket: int | None
    chain: tuple[str, ...]
    held: tuple[Held, ...]
    owes: tuple[Owed, ...]
    cut: bool = False
    undo: str | None = None
    stopped: bool = False
    ended: int | None = None
    ordered: bool = False


class Ticket(Row, frozen=True, kw_only=True):
    """By its decision's entry. `state` is open, approved, used, denied or expired; `used_by` the decision that it let
    pass. `ended`: nothing changes it any more; a used one has ended once its action has.

    `principal`, its provenance and `chain` are those of the run: another run may use it where all are the same.
    """

    agent: str
    run: int | None
    principal: str | None
    principal_provenance: str
    chain: tuple[str, ...]
    tool: str
    arguments: str
    clauses: tuple[str, ...]
    asked: tuple[str, ...]
    state: str
    expires_us: int
    opened: int
    person: str | None
    used_by: int | None
    ended: bool


class Check(Row, frozen=True, kw_only=True):
    """A look at the world that an act owes, by `DECISION/NAME`: owed, held, missed or unknown.

    `contract` is the digest of the contract that has it (`tool` and the name without what stands before a slash lead
    to it there), `since_us` when the act was done, `due_us` until when it may come true (ledger time).
    """

    agent: str
    decision: int
    name: str
    contract: str
    tool: str
    severity: str
    since_us: int
    due_us: int
    state: str


class SignalRow(Row, frozen=True, kw_only=True):
    agent: str
    signal: str
    at_us: int
    about: int
    incident: int | None


class Incident(Row, frozen=True, kw_only=True):
    """`marks` are the containment marks with the entry that made each (D30); `waiting` the actions not yet ended.

    `failed` are those of which nobody can say that they stopped: one that is shown to have stopped later falls out.
    `stopped_by` are the persons who ordered this stop: they do not approve the release (R23).

    `agent` is "" where nobody knows yet which agent it was. `aware_us`: when it was learned of from outside. `holder`
    has it now, `offered` is asked to take it over. `serious` is the entry of a person's mark with legal consequence,
    `informed` those that say which authority was told. `tasks` that are open, `proposed` what waits for a second person
    about the case (`proposal` is a release's). `claimed`: a change that nobody has proven. `missed`: objectives that
    were. `opened_us` is when it was detected, `reopened_us` when it turned out not to be over; `state_us` when it came
    into its state. `broken` is a release by one person
    alone that is owed a review, `broken_by` who ever gave one, `authors` who changed since what binds its agent.
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
    failed: tuple[int, ...] = ()
    opened_us: int = 0
    state_us: int = 0
    aware_us: int | None = None
    holder: str | None = None
    offered: str | None = None
    serious: int | None = None
    informed: tuple[int, ...] = ()
    notes: int = 0
    findings: int = 0
    factors: int = 0
    tasks: tuple[Task, ...] = ()
    tasked: int = 0
    proposed: Proposed | None = None
    claimed: int | None = None
    missed: tuple[str, ...] = ()
    merged_into: int | None = None
    reopened_us: int | None = None
    broken: int | None = None
    broken_by: tuple[str, ...] = ()
    authors: tuple[str, ...] = ()
    release: Release | None = None


class Release(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """The release that stands proposed: its entry, into what authority and how long PROBATION lasts, the digest of how
    case and agent stood, the conditions, (entry, leaf) of its evidence, how people were told, and whose process it was.
    """

    entry: int
    authority: str
    probation_us: int | None
    bound: str
    conditions: str
    evidence: tuple[tuple[int, str], ...]
    notified: str
    user: str | None


class Task(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """An open task of an incident, by its number; `due_us` is ledger time."""

    number: int
    person: str
    due_us: int | None
    entry: int


class Proposed(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """What one person proposed about a case and another may agree to; `digest` is of the proposing order."""

    what: str
    value: str
    person: str
    digest: str
    entry: int
    why: str = ""


class Customer(Row, frozen=True, kw_only=True):
    """A customer of an incident of whom a person said something, by `INCIDENT/TOKEN`: the entries that say so."""

    told: int | None
    restored: int | None


class Work(Row, frozen=True, kw_only=True):
    """A run that a stopped agent left, by `INCIDENT/RUN`: left, taken, finished or dropped."""

    agent: str
    to: tuple[str, ...]
    state: str
    person: str | None
    entry: int


class Stop(Row, frozen=True, kw_only=True):
    """A scope that was stopped by a person's order, by its name; kept after it was lifted, for its epoch.

    `closed`: nothing within it starts. `ordered` is the entry of the newest order, `interrupted` that of the
    `interrupt.ordered` that followed from it, `waiting` the actions it named that
    have not ended, `failed` those of which nobody can say that they stopped. `proposal` is a lift that waits for its
    second person.
    """

    epoch: int
    closed: bool
    ordered: int
    interrupted: int
    stopped_by: tuple[str, ...]
    why: str
    waiting: tuple[int, ...]
    failed: tuple[int, ...]
    proposed_by: str | None
    proposal: str | None


class Compensation(Row, frozen=True, kw_only=True):
    """The undoing of an action, by its decision: owed, begun, reversed, partly, not or unknown.

    `step` is the compensating tool, `contract` the digest of the contract that declares it. `waits`: nobody can say
    that the action has ended; it is given up at `due_us` (ledger time). `begun` is the newest entry that a step is
    started behind, `outcome` the action's end and `ended` its own.
    """

    agent: str
    tool: str
    step: str
    contract: str
    within_us: int
    ordered: int
    by: str
    after: str
    state: str
    waits: bool
    due_us: int
    tries: int
    begun: int | None
    outcome: int
    ended: int | None


class Custody(Row, frozen=True, kw_only=True):
    """How a tool was last found from where an agent runs, by its name: bypassable or held."""

    agent: str
    state: str
    ways: tuple[str, ...]
    probed: int


class Hold(Row, frozen=True, kw_only=True):
    """`agent` is "" for a hold on everything. `directories` are those of which a copy is owed, `preserved` those that
    have been dealt with.

    `placed_us` is ledger time; `lifted` the entry by which two persons let go of it.
    """

    agent: str
    incident: int | None
    first: int
    last: int
    why: str
    placed_us: int = 0
    directories: tuple[str, ...] = ()
    preserved: tuple[Preserved, ...] = ()
    proposed_by: str | None = None
    proposal: str | None = None
    lifted: int | None = None


class Preserved(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """A directory that has been dealt with, by entry `entry`; `digest` names its copy, None where there is none."""

    name: str
    entry: int
    digest: str | None


class WitnessRow(Row, frozen=True, kw_only=True):
    """How far a tool side's log was read."""

    cursor: str
    effects: int


class Page(Row, frozen=True, kw_only=True):
    """An outbox row: `state` is queued, accepted or failed; `due_us` when it is tried next. `ticket`: what it asks.

    `agent` is whom it is about; where nothing else is, `why` is all there is to tell. `about` names the letter, where
    it is not the first page of its incident, ticket or stop. `cycle` and `round` are its escalation's (0: of none),
    `persons` all who are told by it, where a channel tells several at once. `permanent`: the newest attempt failed for
    good. `into`: the page whose letter tells it.
    """

    incident: int | None
    agent: str | None
    ticket: int | None
    person: str
    channel: str
    step: int
    state: str
    attempts: int
    due_us: int
    why: str
    about: str = ""
    cycle: int = 0
    round: int = 1
    persons: tuple[str, ...] = ()
    digest: int | None = None
    permanent: bool = False
    into: int | None = None
    bundled: tuple[tuple[int, str], ...] = ()


class Escalation(Row, frozen=True, kw_only=True):
    """How far the telling of an incident has come, by its number. `state` is asking, taken or over.

    `path` is its cycle's own; `step` and `round` were begun at `stepped_us` (ledger time) and told to `asked`, of each
    step in turn. `acknowledged` who took it in this cycle. `due_us` is the timer: of the next step while it asks, of
    the acknowledgment once it is taken; `progress_us` is when a person last did something about it. `told` are the
    pages of this cycle, which outlive their own rows; `ringing` the channels (with cycle, person) that were told and
    have not heard yet that it is over. `last_resort` once that is asked, `why` the cycle began.
    """

    cycle: int
    state: str
    source: str
    path: tuple[PathStep, ...]
    step: int = 0
    round: int = 0
    asked: tuple[tuple[str, ...], ...] = ()
    acknowledged: tuple[str, ...] = ()
    since_us: int = 0
    stepped_us: int = 0
    due_us: int = 0
    taken_us: int = 0
    progress_us: int = 0
    told: tuple[Told, ...] = ()
    last_resort: bool = False
    ringing: tuple[tuple[str, int, str], ...] = ()
    why: str = "opened"


class Told(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """A page of the running cycle: queued, accepted, failed (for good) or bounced; `token` is the digest of what
    answers it, `answered` the entry in which that came back.
    """

    page: int
    step: int
    round: int
    person: str
    channel: str
    state: str
    token: str | None = None
    answered: int | None = None


class Cover(Row, frozen=True, kw_only=True):
    """Somebody is on call for a team who is not by its turns, by the entry that says so."""

    team: str
    person: str
    instead_of: str | None
    since_us: int
    until_us: int
    ended: bool = False


class OnCall(Row, frozen=True, kw_only=True):
    """Who was on call for a team when that was last written down."""

    persons: tuple[str, ...]
    entry: int


class Channel(Row, frozen=True, kw_only=True):
    """What is known of a channel to a person, by `CHANNEL PERSON`: the newest asking that waits (its entry, the digest
    of what is to come back, until when), and when it was last proven (ledger time), how, by which entry.
    """

    asked: int | None = None
    page: int = 0
    token: str | None = None
    due_us: int = 0
    proven: int | None = None
    proven_us: int = 0
    how: str = ""


class Digest(Row, frozen=True, kw_only=True):
    """Early indicators that were told to a person. `token` is the digest of what they answer with, `received` the entry
    that says that they have them.
    """

    person: str
    made: int
    since: int
    until: int
    token: str | None = None
    received: int | None = None


class RunningClock(Row, frozen=True, kw_only=True):
    """A duty to inform about an incident, by `INCIDENT/CLOCK`, that `person` started: running or ended. `met` are
    (deadline, entry), `missed` and `reminded` (deadline, microseconds left) what was said of them.
    """

    title: str
    source: str
    aware_us: int
    deadlines: tuple[Deadline, ...]
    entry: int
    person: str = ""
    state: str = "running"
    met: tuple[tuple[str, int], ...] = ()
    missed: tuple[str, ...] = ()
    reminded: tuple[tuple[str, int], ...] = ()


class Feed(Row, frozen=True, kw_only=True):
    """How far another system was told of incidents: up to entry `last`; since then `attempts` failed, the next is due
    at `due_us`. `theirs`: what it calls an incident.
    """

    last: int
    attempts: int = 0
    due_us: int = 0
    detail: str = ""
    theirs: tuple[tuple[int, str], ...] = ()


#: table name -> (row type, whether the key is an integer). The order is the order of rebuild and of verification.
TABLES: dict[str, tuple[type[Row], bool]] = {
    "workspace": (Workspace, True),
    "head": (Head, False),
    "order": (OrderRow, True),
    "person": (Person, False),
    "host": (Host, False),
    "agent": (Agent, False),
    "contract": (ContractRow, False),
    "floor": (FloorRow, False),
    "run": (Run, True),
    "action": (Action, True),
    "signal": (SignalRow, True),
    "incident": (Incident, True),
    "hold": (Hold, True),
    "page": (Page, True),
    "witness": (WitnessRow, False),
    "ticket": (Ticket, True),
    "check": (Check, False),
    "stop": (Stop, False),
    "compensation": (Compensation, True),
    "custody": (Custody, False),
    "customer": (Customer, False),
    "work": (Work, False),
    "escalation": (Escalation, True),
    "cover": (Cover, True),
    "on_call": (OnCall, False),
    "channel": (Channel, False),
    "digest": (Digest, True),
    "clock": (RunningClock, False),
    "feed": (Feed, False),
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
