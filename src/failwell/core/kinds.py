"""The bodies: one frozen, versioned type for each kind of entry that this release writes.

Read top to bottom it is the life of a workspace: how it began, who may act in it, what they did, what went wrong,
how it was stopped, and who was told. Numbers are integers, times RFC 3339 UTC, durations integer microseconds
(`_us`), digests lower-case hex SHA-256, keys and signatures base64. Entries are cited by `seq`; the envelope's
`refs` carry the leaf as well. People and customers appear only as random tokens.
"""

from __future__ import annotations

from failwell.core.records import Body, register

# ---- the workspace and its node ------------------------------------------------------------------------------


@register("genesis")
class Genesis(Body, frozen=True, kw_only=True):
    """Entry 0. `mode` is live or backtest; `log_key` the verifier key (C2SP vkey) that checkpoints are signed with."""

    format: int
    mode: str
    log_key: str
    software: str


@register("config")
class Config(Body, frozen=True, kw_only=True):
    """The settings in force from here on: canonical JSON text and its digest. Holds paths of secrets, never secrets."""

    digest: str
    text: str


@register("clock")
class Clock(Body, frozen=True, kw_only=True):
    """Ledger time was set from the wall clock. `stepped_us` is the difference to where the ledger stood."""

    reason: str
    wall: str
    stepped_us: int


@register("node.started")
class NodeStarted(Body, frozen=True, kw_only=True):
    """A node took the workspace. `self_test` holds what was proven about stopping, with figures in microseconds."""

    software: str
    pid: int
    separation: str
    self_test: dict[str, str | int | bool | None]
    recovered: int


@register("node.stopped")
class NodeStopped(Body, frozen=True, kw_only=True):
    reason: str


@register("node.takeover")
class NodeTakeover(Body, frozen=True, kw_only=True):
    """The node that started just before this entry had stood by for another (process `pid`) and took its place.

    `why`: it died, it was silent, or it gave way, since it could record nothing. `late_us` is how old its last
    heartbeat was; `killed` says that it was ended for that.
    """

    pid: int
    why: str
    late_us: int
    killed: bool


@register("health")
class Health(Body, frozen=True, kw_only=True):
    """A part changed its state (ok, degraded, failed); written before the first verdict that it alters."""

    part: str
    state: str
    detail: str


@register("heads")
class Heads(Body, frozen=True, kw_only=True):
    """RFC 6962 root over the sorted lines `agent count leaf`, so that leaving out an agent's entry shows."""

    root: str
    agents: int
    upto: int


@register("log.key")
class LogKey(Body, frozen=True, kw_only=True):
    """The checkpoint key changed. Trees that hold this entry are signed by `key`, shorter ones by `was` (C2SP vkeys).

    `statement` is a C2SP signed note over `failwell/log-key/1`, origin, old vkey and new vkey (a line each), signed by
    both keys: who trusts the old one comes to trust the new one by it, and nobody names a key that they do not hold.
    """

    was: str
    key: str
    statement: str


@register("continued")
class Continued(Body, frozen=True, kw_only=True):
    """The log goes on under a new origin (the envelope's), after entries that its guard had signed were lost.

    It stands directly behind its order, which still bears the origin `was`; `size` and `root` are the tree head over
    everything before that order (so its own number is `size` + 1). `key` is the vkey of the new origin. `lost_*` is
    what the old guard had signed last, as far as it can still be told.
    """

    was: str
    size: int
    root: str
    key: str
    lost_size: int | None
    lost_root: str | None
    lost_note: str | None
    why: str


# ---- people, agents and what binds them ----------------------------------------------------------------------


@register("order")
class Order(Body, frozen=True, kw_only=True):
    """One signed use of a human power: the canonical order text and its signature. `source` is how it came in."""

    order: str
    person: str
    key: str
    text: str
    signature: str
    source: str


@register("person.enrolled")
class PersonEnrolled(Body, frozen=True, kw_only=True):
    """A person and the public key of their orders. The contact address lies in the blob."""

    person: str
    key: str
    roles: tuple[str, ...]


@register("contact.asked")
class ContactAsked(Body, frozen=True, kw_only=True):
    """A code goes to a person's contact address. `code` is SHA-256(salt || code), `due_us` when it is void.

    The salt lies in the blob: eight letters could be guessed from a digest that everybody can compute.
    """

    person: str
    contact: str
    code: str
    due_us: int


@register("contact.verified")
class ContactVerified(Body, frozen=True, kw_only=True):
    """A person was reached at the address they enrolled with. `how`: code (they sent it back), vouched (`by` did)."""

    person: str
    contact: str
    how: str
    by: str


@register("person.left")
class PersonLeft(Body, frozen=True, kw_only=True):
    """A person is gone: their key orders nothing any more, and who follows them is asked to take their agents."""

    person: str
    successor: str
    why: str


@register("host.registered")
class HostRegistered(Body, frozen=True, kw_only=True):
    host: str
    key: str
    agents: tuple[str, ...]


@register("agent.registered")
class AgentRegistered(Body, frozen=True, kw_only=True):
    name: str
    owner: str


@register("agent.registered", v=2)
class AgentRegistered2(AgentRegistered, frozen=True, kw_only=True):
    """Version 2: `groups` whose floors bind it; `detect_only`: it cannot be put behind a gate (D25)."""

    groups: tuple[str, ...]
    detect_only: bool


@register("agent.assigned")
class AgentAssigned(Body, frozen=True, kw_only=True):
    """Another person is accountable for the agent from here on."""

    was: str
    owner: str


@register("agent.grouped")
class AgentGrouped(Body, frozen=True, kw_only=True):
    """The agent joined a group; all its groups. Joining binds it by more floors, so it only takes away."""

    group: str
    groups: tuple[str, ...]


@register("agent.key")
class AgentKey(Body, frozen=True, kw_only=True):
    key: str
    status: str


@register("identity.issuer")
class IdentityIssuer(Body, frozen=True, kw_only=True):
    """The workspace's own certificate authority: its X.509 certificate (base64 DER) and the DER's SHA-256.

    A second one replaces the first: what that issued is void.
    """

    certificate: str
    digest: str
    why: str


@register("agent.certificate")
class AgentCertificate(Body, frozen=True, kw_only=True):
    """A short-lived certificate (X.509-SVID, base64 DER) that the issuer made out to the agent, for `key` (32 bytes).

    `issuer` is the digest of the issuer's own certificate.
    """

    serial: str
    key: str
    issuer: str
    certificate: str
    not_before: str
    not_after: str


@register("observation")
class Observation(Body, frozen=True, kw_only=True):
    """The agent is OBSERVED, which is not governed, until `until_us` (ledger time) and no longer (D25)."""

    until_us: int
    person: str
    why: str


@register("floor.adopted")
class FloorAdopted(Body, frozen=True, kw_only=True):
    """What every contract in `scope` (organisation, or group:NAME) is judged with besides its own rules."""

    floor: str
    version: int
    digest: str
    scope: str
    signer: str
    approver: str
    document: str


@register("contract.adopted")
class ContractAdopted(Body, frozen=True, kw_only=True):
    """A contract in force from this entry on. `document` is its canonical text; `mode` is live or backtest."""

    contract: str
    version: int
    digest: str
    owner: str
    approver: str
    document: str
    mode: str


@register("posture")
class Posture(Body, frozen=True, kw_only=True):
    """Digests of everything that governs the agent's next decisions; null is what was not declared."""

    contract: str | None
    contract_digest: str | None
    configuration: str
    baseline: str
    evaluator: str
    floors: str | None
    response: str | None
    model: str | None
    prompt: str | None
    tool_schemas: str | None


# ---- what agents do ------------------------------------------------------------------------------------------


@register("run.opened")
class RunOpened(Body, frozen=True, kw_only=True):
    """One task. `principal` is a token, `request` a salted commitment; each says where it comes from.

    `provenance` of each is verified, asserted or absent. `source` names a recorded run (backtests only).
    """

    host: str | None
    principal: str | None
    principal_provenance: str
    request: str | None
    request_provenance: str
    source: str | None


@register("run.opened", v=2)
class RunOpened2(RunOpened, frozen=True, kw_only=True):
    """Version 2. `principal_kind` is the part of the principal before its colon: `customer` of `customer:8841`.

    `parent` is the run whose agent handed this one over; `chain` the agents that did, from the first on, without the
    one who works (RFC 8693, `act`). `posture` is this run's own, where its model, prompt or tools were declared.
    """

    principal_kind: str | None
    parent: int | None
    chain: tuple[str, ...]
    posture: int | None


@register("run.closed")
class RunClosed(Body, frozen=True, kw_only=True):
    reason: str


class Fact(Body, frozen=True, kw_only=True):
    """One typed value a verdict was judged on: by value where the contract says it is public, else null (blob)."""

    value: int | str | bool | tuple[str, ...] | None
    public: bool
    provenance: str


class Decided(Body, frozen=True, kw_only=True):
    """A clause or limit that spoke: `then` is deny, escalate or record."""

    id: str
    then: str
    severity: str


class Use(Body, frozen=True, kw_only=True):
    """How far a limit was used when the verdict was made. `key` is a token for the values it is kept per."""

    limit: str
    key: str | None
    used: int
    at_most: int
    reserved: bool


class Use2(Use, frozen=True, kw_only=True):
    """Version 2. `agent` is whose limit it is (the one who works, or one of the chain); `adds` what this action takes.

    `measure` is the limit's kind. `limit` is its id, behind the short name and a slash where it is a delegator's or a
    floor's: `planner/refunds-per-hour`.
    """

    agent: str
    measure: str
    adds: int


class Lookup(Body, frozen=True, kw_only=True):
    """A trusted fact that the gate asked for: which fact, of which source, and how that went (answered, late, failed,
    wrong)."""

    fact: str
    source: str
    state: str
    elapsed_us: int


@register("decision")
class Decision(Body, frozen=True, kw_only=True):
    """A verdict, durable before the act. `arguments` is SHA-256(salt || text); text and salt lie in the blob."""

    call: str
    tool: str
    arguments: str
    arguments_bytes: int
    verdict: str
    clauses: tuple[Decided, ...]
    facts: dict[str, Fact]
    uses: tuple[Use, ...]
    customer: str | None
    resource: str | None
    reason: str | None
    reason_provenance: str
    principal: str | None
    chain: tuple[str, ...]
    posture: int | None
    contract: str | None
    evaluator: str
    authority: str
    epoch: int
    errors: tuple[str, ...]


@register("decision", v=2)
class Decision2(Decision, frozen=True, kw_only=True):
    """Version 2. `governed` false: the agent is OBSERVED, the action runs whatever the verdict is and proves nothing.

    `ticket` is the ticket (its decision's entry) whose approval this decision used up. `principal_provenance` is that
    of the run. `floors` are the floors it was judged under too, as `NAME@VERSION`.
    """

    uses: tuple[Use2, ...]
    governed: bool
    ticket: int | None
    principal_provenance: str
    lookups: tuple[Lookup, ...]
    floors: tuple[str, ...]


@register("reason.given")
class ReasonGiven(Body, frozen=True, kw_only=True):
    """Why the agent says that it did what it did, given after the decision: asserted, and in hindsight."""

    decision: int
    reason: str


@register("ticket.opened")
class TicketOpened(Body, frozen=True, kw_only=True):
    """The question that an ESCALATE leaves. It is named by its decision's entry, and `arguments` binds it to its call.

    `clauses` are those that a person has to answer for; `asked` the persons who may, `expires_us` until when (ledger
    time). Nobody answers: denied.
    """

    ticket: int
    tool: str
    arguments: str
    clauses: tuple[str, ...]
    asked: tuple[str, ...]
    expires_us: int


@register("ticket.decided")
class TicketDecided(Body, frozen=True, kw_only=True):
    """A person's answer (approved or denied). An approval is good for one action, until `expires_us`.

    `measured` false: how well it was looked at is not known, so that it counts as no review.
    """

    ticket: int
    answer: str
    person: str
    expires_us: int
    measured: bool


@register("ticket.expired")
class TicketExpired(Body, frozen=True, kw_only=True):
    """Nobody answered in time, or nobody used the answer: denied."""

    ticket: int
    was: str


@register("started")
class Started(Body, frozen=True, kw_only=True):
    """Written behind, never awaited: which process runs the action, and by which command.

    `command` is SHA-256(salt || canonical command), whose text lies in the blob; null where the caller executes.
    """

    decision: int
    command: str | None
    executor: str
    pid: int
    start_ticks: int


@register("outcome")
class Outcome(Body, frozen=True, kw_only=True):
    """What came of an action. `by` is who says so: supervisor, agent or recovery. The result lies in the blob."""

    decision: int
    state: str
    by: str
    exit_code: int | None
    result: str | None
    result_bytes: int
    truncated: bool
    elapsed_us: int | None
    why: str | None


@register("ensured")
class Ensured(Body, frozen=True, kw_only=True):
    """The world was looked at after an act: held, missed, or unknown where its source gave no answer in time (D23).

    `saw` is SHA-256(salt || canonical answer), which lies in the blob.
    """

    decision: int
    check: str
    state: str
    severity: str
    source: str
    tries: int
    elapsed_us: int
    saw: str | None
    detail: str


@register("effect.witnessed")
class EffectWitnessed(Body, frozen=True, kw_only=True):
    """An effect in the tool side's own log. `at_tool` is the tool side's time; `decision` null: no verdict was found.

    `fault` says why a line could not be read; it counts all the same. `cursor`, on the last entry of a reading, is
    where the log was read up to.
    """

    witness: str
    ref: str
    tool: str
    at_tool: str | None
    fault: str | None
    cursor: str | None
    customer: str | None
    decision: int | None
    line: str


@register("refusals")
class Refusals(Body, frozen=True, kw_only=True):
    """Callers that proved no identity, counted: one summary per source and second, so a stranger fills no disk."""

    source: str
    reason: str
    count: int
    since: str


# ---- what goes wrong, and what follows -----------------------------------------------------------------------


@register("signal")
class Signal(Body, frozen=True, kw_only=True):
    """Something noticed. `response` is what the first matching rule asks for, applied unless `applied` is false.

    `by` is who asks for the response: the rules (`response`) or a person (`person:NAME`).
    """

    by: str
    signal: str
    severity: str
    about: int
    count: int
    rule: str
    response: tuple[str, ...]
    applied: bool


@register("incident.opened")
class IncidentOpened(Body, frozen=True, kw_only=True):
    """A case. The onset is the range of entries in which the failure began; `response` what is set in motion."""

    by: str
    incident: int
    kind: str
    severity: str
    title: str
    signal: int
    onset_first: int
    onset_last: int
    response: tuple[str, ...]


@register("incident.updated")
class IncidentUpdated(Body, frozen=True, kw_only=True):
    """A further signal, or a change of state or severity (severity only upward)."""

    incident: int
    state: str
    severity: str
    signal: int | None
    note: str


@register("interrupt.ordered")
class InterruptOrdered(Body, frozen=True, kw_only=True):
    """Stop these running actions (decisions). An empty list says that nothing was running."""

    incident: int | None
    actions: tuple[int, ...]
    why: str


@register("interrupt.attempted")
class InterruptAttempted(Body, frozen=True, kw_only=True):
    action: int
    method: str


@register("interrupt.confirmed")
class InterruptConfirmed(Body, frozen=True, kw_only=True):
    """Nothing of the action is left: `processes` were stopped, the last at `ended_mono_us` of the boot clock."""

    action: int
    state: str
    processes: int
    ended_mono_us: int
    proven_by: str


@register("interrupt.unconfirmed")
class InterruptUnconfirmed(Body, frozen=True, kw_only=True):
    action: int
    why: str


@register("authority.changed")
class AuthorityChanged(Body, frozen=True, kw_only=True):
    """What the agent may do now. `epoch` voids every permit of a lower one."""

    was: str
    now: str
    epoch: int
    why: str
    incident: int | None
    by: str


@register("scope.stopped")
class ScopeStopped(Body, frozen=True, kw_only=True):
    """Nothing within `scope` starts any more, whoever asks: `all`, `group:NAME`, `tool:NAME` or `contract:NAME`.

    `epoch` voids every permit of a lower one for the scope. What ran there is in `interrupt.ordered` beside it.
    """

    scope: str
    epoch: int
    why: str
    by: str


@register("scope.proposed")
class ScopeProposed(Body, frozen=True, kw_only=True):
    """One person proposes to lift the stop of a scope; `digest` is of the order, `references` cite the evidence."""

    scope: str
    epoch: int
    person: str
    digest: str
    conditions: str


@register("scope.lifted")
class ScopeLifted(Body, frozen=True, kw_only=True):
    """A second person agreed: what is within the scope may start again, with new permits."""

    scope: str
    epoch: int
    person: str
    digest: str


@register("access.revoked")
class AccessRevoked(Body, frozen=True, kw_only=True):
    """A detect-only agent's access was taken away: confirmed by its vendor's own answer, or unconfirmed and why."""

    state: str
    method: str
    tries: int
    elapsed_us: int
    detail: str
    incident: int | None


@register("containment.measured")
class ContainmentMeasured(Body, frozen=True, kw_only=True):
    """How long one order to stop took, by the boot clock of its node, written once every action it named has its end;
    and again when what could not be confirmed then is confirmed later.

    `order` is the `interrupt.ordered` entry. `received_mono_us` is when the order (or the decision that tripped a
    rule) reached the node, `fenced_mono_us` when nothing new of it could start any more (null: only what ran was to
    be stopped), `ended_mono_us` when the last of it ended: null while that is not proven of every action. `bound_us`
    is what the settings in force state. `classes` counts the actions as `supervised.interrupted_confirmed`.
    """

    order: int
    incident: int | None
    received_mono_us: int
    fenced_mono_us: int | None
    ended_mono_us: int | None
    bound_us: int
    actions: int
    unconfirmed: int
    classes: dict[str, int]


@register("state.preserved")
class StatePreserved(Body, frozen=True, kw_only=True):
    """The working state of an action that was stopped, as it was while everything stood still and just after (R9).

    `snapshot` is SHA-256(salt || canonical text) of the processes, their open files and environment names, and the
    tail of the output; `directory` of the listing (path, size, SHA-256) of where it worked. Both texts lie in the
    blob. `complete` false: `missing` says what was not taken.
    """

    decision: int
    processes: int
    took_us: int
    snapshot: str | None
    directory: str | None
    files: int
    bytes: int
    complete: bool
    missing: str | None


@register("executor.tested")
class ExecutorTested(Body, frozen=True, kw_only=True):
    """What was shown, with real processes, about one executor class: at a start, or at intervals after it.

    `state`: ok, degraded (a mechanism was given up, the class still holds), failed (nothing of the class starts) or
    untested (nothing of it is ours to test). `figures` are of the machine, in microseconds and processes.
    """

    executor: str
    state: str
    mechanisms: tuple[str, ...]
    elapsed_us: int
    figures: dict[str, int]
    detail: str


@register("leftovers.swept")
class LeftoversSwept(Body, frozen=True, kw_only=True):
    """What an earlier node's tools had left running, found and stopped at a start; `left` could not be."""

    processes: int
    supervisors: int
    left: int
    actions: tuple[int, ...]
    detail: str


@register("permit.key")
class PermitKey(Body, frozen=True, kw_only=True):
    """The key that permits are signed with that leave the node, as its JWK thumbprint (RFC 7638) and public half."""

    kid: str
    key: str


@register("permit.issued")
class PermitIssued(Body, frozen=True, kw_only=True):
    """A permit left the node: single-use leave for one action, which a tool server checks offline until `expires`."""

    decision: int
    jti: str
    kid: str
    audience: str
    expires: str


@register("upstream.listed")
class UpstreamListed(Body, frozen=True, kw_only=True):
    """What a tool server offered an agent's session, at its start and whenever it changed: the definitions lie in the
    blob, `tools` is the SHA-256 over their digests (of the RFC 8785 text of each, one a line), `count` how many.

    `kind` is stdio or http, `protocol` the revision that was agreed on. `refused`: names that are not offered because
    their definition is not the accepted one (`refused_more` counts those beyond the first).
    """

    upstream: str
    session: str
    kind: str
    protocol: str
    tools: str
    count: int
    refused: tuple[str, ...]
    refused_more: int


@register("upstream.ended")
class UpstreamEnded(Body, frozen=True, kw_only=True):
    """A session's tool server is gone. `state` as of an outcome (completed: it ended as it was asked to)."""

    upstream: str
    session: str
    state: str
    why: str | None
    processes: int
    proven_by: str


@register("compensation.ordered")
class CompensationOrdered(Body, frozen=True, kw_only=True):
    """What an action may have done is to be undone by the step that a contract declares; run once, outside any lock.

    `contract` is the digest of that contract, `after` how the action ended, `by` who asked for it: `interrupt`, or a
    person.
    """

    decision: int
    tool: str
    step: str
    contract: str
    within_us: int
    after: str
    by: str


@register("compensation.begun")
class CompensationBegun(Body, frozen=True, kw_only=True):
    """The step is about to be started, for the `tries`th time: durable before it is, so that none is started twice
    unless it does no harm twice. Its processes carry this entry's number.
    """

    decision: int
    tool: str
    step: str
    tries: int


@register("compensated")
class Compensated(Body, frozen=True, kw_only=True):
    """How an undoing ended: reversed, partly, not, or unknown where nobody can say.

    `detail` is ours to say; the step's own words lie in the blob.
    """

    decision: int
    tool: str
    step: str
    state: str
    exit_code: int | None
    elapsed_us: int | None
    detail: str


@register("custody.probed")
class CustodyProbed(Body, frozen=True, kw_only=True):
    """What was tried, from where the agent runs, to reach a tool round the gate.

    `state`: bypassable (one of `ways` worked) or held (all that was tried failed; what was not tried is not known).
    """

    tool: str
    state: str
    ways: tuple[str, ...]
    tried: tuple[str, ...]
    uid: int


@register("hold.placed")
class HoldPlaced(Body, frozen=True, kw_only=True):
    """Nothing of this agent from entry `first` on is altered, erased or expires while the hold stands."""

    hold: int
    incident: int | None
    first: int
    last: int
    why: str


@register("page.queued")
class PageQueued(Body, frozen=True, kw_only=True):
    """Somebody is to be told: a durable outbox row. `due_us` is ledger time in microseconds since the epoch."""

    page: int
    incident: int | None
    person: str
    channel: str
    step: int
    due_us: int
    why: str


@register("page.queued", v=2)
class PageQueued2(PageQueued, frozen=True, kw_only=True):
    """Version 2. `ticket` is the one that the person is asked to answer; then there is no incident."""

    ticket: int | None


@register("page.queued", v=3)
class PageQueued3(PageQueued2, frozen=True, kw_only=True):
    """Version 3. `about` says which letter it is (`core.incidents.letters`): what the person is asked to do."""

    about: str


@register("page.attempted")
class PageAttempted(Body, frozen=True, kw_only=True):
    """One try. Accepted is not seen, seen is not acknowledged. `checkpoint` is the tree size that travelled with it."""

    page: int
    attempt: int
    accepted: bool
    detail: str
    checkpoint: int
    next_due_us: int | None


@register("seen")
class Seen(Body, frozen=True, kw_only=True):
    incident: int
    person: str | None
    what: str


@register("acknowledged")
class Acknowledged(Body, frozen=True, kw_only=True):
    incident: int
    person: str


@register("release.proposed")
class ReleaseProposed(Body, frozen=True, kw_only=True):
    """A request to give authority back; `digest` binds incident, evidence, contract and conditions."""

    incident: int
    person: str
    digest: str
    conditions: str


@register("release.proposed", v=2)
class ReleaseProposed2(ReleaseProposed, frozen=True, kw_only=True):
    """Version 2. It refers to its evidence, and `bound` is the digest of what else it is for: how the case and its
    agent stand (`core.incidents.binding`). Once they stand otherwise nobody approves it.

    `probation_us`: how long PROBATION is to last at least; None where `authority` is ACTIVE. `notified`: `mail`, or who
    took the case where no mail is set up. `user`: whose process of the operating system gave the order, where the
    socket told that.
    """

    authority: str
    probation_us: int | None
    bound: str
    notified: str
    user: str | None


@register("release.approved")
class ReleaseApproved(Body, frozen=True, kw_only=True):
    """Signed by a person who neither proposed the release nor suspended the agent."""

    incident: int
    person: str
    digest: str
    authority: str


@register("release.approved", v=2)
class ReleaseApproved2(ReleaseApproved, frozen=True, kw_only=True):
    """Version 2. `until_us` (ledger time): how long PROBATION lasts at least; None where it is into ACTIVE.

    `user` as in `release.proposed`; `separated` says whether proposer and approver gave their orders as two users of
    the operating system: yes, no, or unknown. Where it is no, the two persons may be one.
    """

    until_us: int | None
    user: str | None
    separated: str


@register("release.broken")
class ReleaseBroken(Body, frozen=True, kw_only=True):
    """One person alone gave authority back (break-glass), until `until_us` (ledger time) and no longer. A review by
    another person is owed from here on.
    """

    incident: int
    person: str
    why: str
    until_us: int


@register("release.over")
class ReleaseOver(Body, frozen=True, kw_only=True):
    """The time is over for which one person alone gave authority back (entry `broken`)."""

    incident: int
    broken: int
    why: str


@register("release.reviewed")
class ReleaseReviewed(Body, frozen=True, kw_only=True):
    """Another person's answer to a release that one alone gave (entry `broken`): upheld, or not."""

    incident: int
    broken: int
    person: str
    upheld: bool
    words: str


# ---- cases: what people and rules do about an incident -------------------------------------------------------
# `words` are SHA-256(salt || text) of what a person wrote; text and salt lie in the blob, for they may be personal.


@register("response.rules")
class ResponseRules(Body, frozen=True, kw_only=True):
    """From here on what follows from an entry is told by this version of the rules (`core.react`). A ledger without one
    is told by version 1, for ever (I6).
    """

    version: int


@register("noticed")
class Noticed(Body, frozen=True, kw_only=True):
    """Somebody else than the gate noticed something: a host, a detector, or a person (`by`: `host:NAME`, ...).

    `evidence` is asserted (somebody says so) or derived (computed from the record). `first` and `last` are the entries
    it is about, where it can say so. `aware` is when whoever is accountable learned of it (a failure learned from
    outside), RFC 3339.
    """

    by: str
    signal: str
    severity: str
    evidence: str
    kind: str
    first: int | None
    last: int | None
    aware: str | None
    title: str
    words: str | None


@register("incident.changed")
class IncidentChanged(Body, frozen=True, kw_only=True):
    """One thing about an incident is another now. `what`: state, severity, kind, serious, or since when it is known of
    (aware).

    `proposal` is the digest of the order that a second person agreed to, where it takes two.
    """

    incident: int
    what: str
    was: str
    now: str
    why: str
    proposal: str | None


@register("incident.proposed")
class IncidentProposed(Body, frozen=True, kw_only=True):
    """A person proposes what takes two: a lower severity, a false alarm, that nothing is to be changed (`none`), that
    it is not serious after all.
    """

    incident: int
    what: str
    value: str
    person: str
    digest: str
    why: str


@register("incident.merged")
class IncidentMerged(Body, frozen=True, kw_only=True):
    """It is the same failure as `into`, and told there. What it holds and whom it suspended stays its own."""

    incident: int
    into: int
    person: str
    why: str


@register("incident.noted")
class IncidentNoted(Body, frozen=True, kw_only=True):
    """What a person wrote: `sort` is note, finding (it cites entries) or factor (a finding on what contributed)."""

    incident: int
    note: int
    sort: str
    person: str
    words: str
    cites: tuple[int, ...]


@register("incident.task")
class IncidentTask(Body, frozen=True, kw_only=True):
    """Something that a person is to do; `due_us` is ledger time."""

    incident: int
    task: int
    person: str
    by: str
    due_us: int | None
    words: str


@register("incident.task.ended")
class IncidentTaskEnded(Body, frozen=True, kw_only=True):
    """`state`: done or dropped."""

    incident: int
    task: int
    person: str
    state: str
    words: str | None


@register("incident.offered")
class IncidentOffered(Body, frozen=True, kw_only=True):
    """The holder asks another person to take it over. It is theirs once they acknowledge it, and not before."""

    incident: int
    person: str
    to: str
    words: str | None


@register("objective.missed")
class ObjectiveMissed(Body, frozen=True, kw_only=True):
    """What was agreed by severity did not happen in time: acknowledge, investigate or resolve, due at `due_us`."""

    incident: int
    objective: str
    severity: str
    due_us: int


@register("change.claimed")
class ChangeClaimed(Body, frozen=True, kw_only=True):
    """A person says that something was changed so that it does not happen again: contract, tool, prompt, model, roster,
    training or other. Claimed is not proven: the incident stays RESOLVED.
    """

    incident: int
    change: str
    person: str
    words: str


@register("customer.told")
class CustomerTold(Body, frozen=True, kw_only=True):
    """A customer (token) was told what happened to them, by a person who says so; `how`: mail, phone, letter...

    `shown` is the decision or the effect by which it happened to them.
    """

    incident: int
    customer: str
    shown: int
    person: str
    how: str
    words: str


@register("customer.restored")
class CustomerRestored(Body, frozen=True, kw_only=True):
    """A customer (token) was made whole, or needed nothing, by a person who says so; `shown` as in `customer.told`."""

    incident: int
    customer: str
    shown: int
    person: str
    words: str


@register("authority.informed")
class AuthorityInformed(Body, frozen=True, kw_only=True):
    """A person informed a public authority of a serious incident; `informed_at` is when (RFC 3339), by their word."""

    incident: int
    authority: str
    person: str
    informed_at: str
    complete: bool
    words: str | None


@register("work.left")
class WorkLeft(Body, frozen=True, kw_only=True):
    """Runs that a stopped agent left unfinished, and the persons who are asked to take them."""

    incident: int
    runs: tuple[int, ...]
    to: tuple[str, ...]
    more: int


@register("work.ended")
class WorkEnded(Body, frozen=True, kw_only=True):
    """What became of one of these runs, by a person's word: taken, finished or dropped."""

    incident: int
    run: int
    person: str
    state: str
    words: str | None


@register("hold.described")
class HoldDescribed(Body, frozen=True, kw_only=True):
    """How its agent stood when the record was locked: what governed it, what ran, which runs and tickets were open.

    Of more than 1,000 of a kind the first are named, and `more` counts the rest. `directories` are those that the
    settings in force declare for it: a copy of each is owed. Of a hold on everything there is no one authority ("").
    """

    hold: int
    authority: str
    epoch: int
    contract: str | None
    posture: int | None
    configuration: str
    running: tuple[int, ...]
    runs: tuple[int, ...]
    tickets: tuple[int, ...]
    directories: tuple[str, ...]
    more: int


@register("directory.preserved")
class DirectoryPreserved(Body, frozen=True, kw_only=True):
    """A working directory that the settings declare for an agent, as it was after its hold: an encrypted copy.

    `digest` is the SHA-256 of the copy's file, which names it; `listing` is SHA-256(salt || canonical listing) of path,
    size and SHA-256 of each file, and lies in the copy. Key and salt lie in the blob. Both are None where nothing was
    there to copy. `complete` false: `missing` says what was not taken.
    """

    hold: int
    name: str
    files: int
    bytes: int
    digest: str | None
    listing: str | None
    complete: bool
    missing: str | None
    took_us: int


@register("preservation.asked")
class PreservationAsked(Body, frozen=True, kw_only=True):
    """Who keeps tools' own records is asked to keep what belongs to a hold: of these tools, from the time of entry
    `first` on.
    """

    hold: int
    tools: tuple[str, ...]
    person: str
    first: int


@register("hold.proposed")
class HoldProposed(Body, frozen=True, kw_only=True):
    """One person proposes to lift a hold."""

    hold: int
    person: str
    digest: str
    why: str


@register("hold.lifted")
class HoldLifted(Body, frozen=True, kw_only=True):
    """Another person agreed: what it locked may be erased or expire again."""

    hold: int
    person: str
    digest: str


@register("run.stopped")
class RunStopped(Body, frozen=True, kw_only=True):
    """Nothing new starts in these runs (the one that was meant, and those it was handed over to), by a person's order
    or a rule. What ran is in `interrupt.ordered` beside it.
    """

    runs: tuple[int, ...]
    why: str
    by: str


# ---- who is told, until somebody takes it --------------------------------------------------------------------


class PathStep(Body, frozen=True, kw_only=True):
    """One step of the path of an incident as it was when its cycle began: `notify` is owner, team:NAME, role:NAME or
    person:NAME, `by` are channels. So many `rounds` pass before the next step, each after `within_us`; `require` is
    any, all or a number of those asked. `severity` and `hours` say for which incidents and when it is taken at all.
    """

    notify: str
    by: tuple[str, ...]
    within_us: int
    rounds: int
    require: str
    severity: str
    hours: str
    last_resort: bool


@register("escalation.started")
class EscalationStarted(Body, frozen=True, kw_only=True):
    """People are told of an incident along `path`, until one of them takes it. `source`: whose path it is (a contract
    by name and version, or the house's). A further `cycle` begins when the one before led to nothing that lasted: `why`
    is opened, reopened, expired, silent or left. `total_us`: after how long at most the last resort is asked.
    """

    incident: int
    cycle: int
    source: str
    path: tuple[PathStep, ...]
    total_us: int
    why: str


@register("escalation.stepped")
class EscalationStepped(Body, frozen=True, kw_only=True):
    """A step of the path is taken: these persons are told, by these channels. Steps `passed` over since the one before
    did not apply now. `due_us`: when the next one follows, if nobody takes it.
    """

    incident: int
    cycle: int
    step: int
    round: int
    persons: tuple[str, ...]
    by: tuple[str, ...]
    passed: tuple[int, ...]
    due_us: int
    why: str


@register("escalation.ended")
class EscalationEnded(Body, frozen=True, kw_only=True):
    """A cycle is over. `outcome`: taken (by `persons`, as many as the path asks for) or over (there is nothing to take
    any more).
    """

    incident: int
    cycle: int
    outcome: str
    persons: tuple[str, ...]
    why: str


@register("page.queued", v=4)
class PageQueued4(PageQueued3, frozen=True, kw_only=True):
    """Version 4. Of an escalation: its `cycle` (0: of none) and the step's `round`. A channel that is not a person's
    own is told once for all `persons`. `digest`: which one it brings.
    """

    cycle: int
    round: int
    persons: tuple[str, ...]
    digest: int | None


@register("page.attempted", v=2)
class PageAttempted2(PageAttempted, frozen=True, kw_only=True):
    """Version 2. `permanent`: the same again will not do. `token`: SHA-256 (hex) of the answer token that
    travelled with it. `provider`: who took it over, who may not be who delivers it.
    """

    permanent: bool
    token: str | None
    provider: str


@register("page.bounced")
class PageBounced(Body, frozen=True, kw_only=True):
    """What was taken over came back. `message` is the SHA-256 (hex) of the notice, which lies in the entry's blob."""

    page: int
    permanent: bool
    detail: str
    message: str


@register("page.bundled")
class PageBundled(Body, frozen=True, kw_only=True):
    """Too much for one person at once: these pages are told by the letter of another one. Never a first page."""

    pages: tuple[int, ...]
    into: int


@register("page.answered")
class PageAnswered(Body, frozen=True, kw_only=True):
    """Somebody answered a page without a key: who holds what was sent (link, reply), or the on-call service
    (pagerduty).

    `token` is the SHA-256 (hex) of the token or code; `detail` says what is known of who gave it.
    """

    page: int
    how: str
    token: str
    person: str
    detail: str


@register("acknowledged", v=2)
class Acknowledged2(Acknowledged, frozen=True, kw_only=True):
    """Version 2. `by`: order (a key signed it), or as the page was answered: link, reply, pagerduty."""

    by: str
    page: int | None


@register("team.covered")
class TeamCovered(Body, frozen=True, kw_only=True):
    """`person` is on call for a team in this time, instead of another member, or (None) beside whoever is."""

    team: str
    person: str
    instead_of: str | None
    since_us: int
    until_us: int


@register("team.uncovered")
class TeamUncovered(Body, frozen=True, kw_only=True):
    """A cover, by its entry, holds no longer."""

    cover: int
    person: str


@register("team.turned")
class TeamTurned(Body, frozen=True, kw_only=True):
    """Other persons of a team are on call from here on."""

    team: str
    was: tuple[str, ...]
    now: tuple[str, ...]


@register("time.zones")
class TimeZones(Body, frozen=True, kw_only=True):
    """By which offsets local times are told: (zone, (from when (UTC), seconds ahead of UTC)...). `source` is the
    release of the time zone database.
    """

    zones: tuple[tuple[str, tuple[tuple[int, int], ...]], ...]
    source: str


@register("channel.asked")
class ChannelAsked(Body, frozen=True, kw_only=True):
    """A person is asked to show that they are reached by a channel; `token` is SHA-256 (hex) of what they give back, of
    which `page` carries the secret.
    """

    channel: str
    person: str
    page: int
    token: str
    due_us: int


@register("channel.proven")
class ChannelProven(Body, frozen=True, kw_only=True):
    """What was sent by a channel came back from its reader: link, reply or (given beside an order) code. `asked` is the
    entry of the asking, `token` what its message carried (SHA-256, hex).
    """

    channel: str
    person: str
    how: str
    asked: int
    token: str


@register("digest.made")
class DigestMade(Body, frozen=True, kw_only=True):
    """What was noticed of a person's agents without a case of its own, between two entries: (agent, signal, times)."""

    digest: int
    person: str
    since: int
    until: int
    counts: tuple[tuple[str, str, int], ...]
    more: int


@register("digest.received")
class DigestReceived(Body, frozen=True, kw_only=True):
    """The person has it: by order, link or reply. `token` is the SHA-256 (hex) of what answered, "" for an order."""

    digest: int
    person: str
    how: str
    token: str


class Deadline(Body, frozen=True, kw_only=True):
    """What is due by when, and whether it may be incomplete then."""

    deadline: str
    due_us: int
    incomplete: bool


@register("clock.started")
class ClockStarted(Body, frozen=True, kw_only=True):
    """A person says that a duty to inform somebody applies to an incident, and runs from `aware_us`. `data` is the
    SHA-256 (hex) of the data file that says so, `source` the legal text it names. Whether it applies is for counsel.
    """

    incident: int
    clock: str
    title: str
    source: str
    data: str
    aware_us: int
    deadlines: tuple[Deadline, ...]
    person: str


@register("clock.reminded")
class ClockReminded(Body, frozen=True, kw_only=True):
    """A deadline comes near; `left_us` is left of its time."""

    incident: int
    clock: str
    deadline: str
    left_us: int


@register("clock.missed")
class ClockMissed(Body, frozen=True, kw_only=True):
    """A deadline is over, and nobody said that whom it is about was informed."""

    incident: int
    clock: str
    deadline: str
    due_us: int


@register("clock.met")
class ClockMet(Body, frozen=True, kw_only=True):
    """Whom it is about was informed, by a person's word: `told` at `informed_at` (RFC 3339). `complete` false: more
    follows. `late_us` is 0 where that was in time.
    """

    incident: int
    clock: str
    deadline: str
    person: str
    told: str
    informed_at: str
    complete: bool
    late_us: int
    words: str | None


@register("clock.ended")
class ClockEnded(Body, frozen=True, kw_only=True):
    """Another person than the one who started it says that the duty does not apply after all."""

    incident: int
    clock: str
    person: str
    why: str


@register("feed.delivered")
class FeedDelivered(Body, frozen=True, kw_only=True):
    """What entries up to `last` say of incidents was taken over by another system. `theirs`: (incident, what it calls
    it) as far as it said.
    """

    feed: str
    last: int
    count: int
    theirs: tuple[tuple[int, str], ...]


@register("feed.failed")
class FeedFailed(Body, frozen=True, kw_only=True):
    """What begins with entry `at` was not taken over; it is tried again at `due_us`."""

    feed: str
    at: int
    attempt: int
    detail: str
    due_us: int
